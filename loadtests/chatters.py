"""Chat load of the lab's runs: clients in rooms, each message numbered and stamped, every reception written down.

`stacklab.bench.load` runs one process a CPU of the generator; each has every so-many-th client. Which room a client
is in, and whether it talks, is settled there (`ChatLoad.places`). Clients connect slowly, one after the other over
`ramp_s`, and begin to send at random times; what is sent before every client has tried to connect, and a little
after, is warm-up. A client whose connection ends comes back as the chat page does, after a growing random wait.
Where clients come and go, one that leaves is another's place in the same room from then on: numbers of clients go up.

Rows (CSV): sent (client, n, sent_s, warmup, burst), received (client, sender's name at the server, n, message id,
received_s, instance), connections (see `Connection`).
"""

from __future__ import annotations

import itertools
import random
from contextlib import AbstractContextManager, nullcontext
from dataclasses import astuple

import gevent
import labchat
from chatclient import GOODBYE_S, Client, Company, Connection
from gevent.lock import BoundedSemaphore
from gevent.pool import Group
from labchat import Message
from locust import User, events, task
from locust.exception import StopUser
from share import Share
from sitechat import SiteChat

CONNECTING_AT_ONCE = 100  # more TLS starts in one process only make each other wait
SETTLE_S = 2.0  # between the last client's first attempt and the start of counting
QUIET_S, LONGEST_DRAIN_S = 2.0, 15.0
TRIES_TO_LEAVE = 20


class Chatters(Company):
    """All clients of this process, their rows, and the phases they go through together."""

    def __init__(self, share: Share):
        self.share = share
        chat = labchat if share.site["name"] == "lab" else SiteChat(share.site)
        super().__init__(share, chat, share.workload["size_bytes"])
        self.indexes = itertools.count(share.number, share.processes)  # the first of them came with the load, the others later
        self.places = iter(share.places)
        self.size = len(share.places)
        self.phase = "ready"
        self.users: list[Member] = []
        self.staying = Group()
        self.received = 0
        self.start_s = self.count_from_s = self.received_s = 0.0
        self.coming_in = BoundedSemaphore(CONNECTING_AT_ONCE)
        self.sent_rows = share.rows("sent")
        self.received_rows = share.rows("received")
        self.connection_rows = share.rows("connections")

    def run(self, environment) -> None:
        """From the first connection to the last goodbye."""
        share, load = self.share, self.share.workload
        share.words["go"].wait()
        self.start_s = share.now()
        self.phase = "ramp"
        while self.tried < self.size:
            gevent.sleep(0.1)
        if self.ever_connected:
            if load["churn_per_s"]:
                gevent.spawn(self.keep_changing, load["churn_per_s"] * self.size / load["clients"])
            gevent.sleep(SETTLE_S)
            self.phase = "settled"
            share.words["count"].wait()
            self.count_from_s = share.now()
            self.phase = "load"
            for at_s, what in ((load["burst_at_s"], self.burst), (load["storm_at_s"], self.storm)):
                if at_s is not None:
                    gevent.spawn_later(at_s, what)
            gevent.sleep(load["duration_s"])
            self.drain()
        self.say_goodbye()
        share.report(**self.status())
        environment.runner.quit()

    def drain(self) -> None:
        """Nobody sends any more; wait until nothing has arrived for a while."""
        self.phase = "drain"
        ended_s = self.share.now()
        last_s = ended_s + LONGEST_DRAIN_S
        while self.share.now() < min(last_s, max(self.received_s, ended_s) + QUIET_S):
            gevent.sleep(0.1)

    def say_goodbye(self) -> None:
        """Close every socket properly, and do not wait for the slow."""
        self.phase = "over"
        self.over.set()
        for client in [*self.connecting]:
            client.say_goodbye()
        deadline_s = self.share.now() + GOODBYE_S
        while self.connected and self.share.now() < deadline_s:
            gevent.sleep(0.05)

    # -- what clients tell, as rows -------------------------------------------------------------

    def said(self, client: Client, n: int, sent_s: float, burst: bool) -> None:
        self.sent_rows.writerow((client.index, n, sent_s, self.phase != "load", burst))

    def heard(self, client: Client, message: Message, received_s: float) -> None:
        self.received += 1
        self.received_s = received_s
        instance = message.instance or client.socket.instance
        self.received_rows.writerow((client.index, message.sender, message.n, message.id, received_s, instance))

    def ended(self, connection: Connection) -> None:
        self.connection_rows.writerow(astuple(connection))

    # -- what happens meanwhile -----------------------------------------------------------------

    def keep_changing(self, changes_per_s: float) -> None:
        """At random times, somebody who is there leaves, and somebody else comes; until nobody sends any more."""
        due_s = self.share.now()
        while self.sending:
            due_s += random.expovariate(changes_per_s)
            gevent.sleep(due_s - self.share.now())
            for user in random.choices(self.users, k=TRIES_TO_LEAVE if self.sending else 0):
                if user.client.welcomed and user.client.role != "slow_reader" and not user.client.leaving.is_set():
                    user.client.leave()
                    break

    def burst(self) -> None:
        """Those of the largest room whose part it is each say one thing, all in this moment."""
        for user in self.users:
            if user.in_burst:
                user.client.say(burst=True)

    def storm(self) -> None:
        """Everybody's connection ends, and everybody comes back, all in this moment. (Who does not read does not notice.)"""
        for user in self.users:
            user.client.lose_connection()

    @property
    def gate(self) -> AbstractContextManager:
        """What a client comes in by: one door while all arrive, none once they have."""
        return self.coming_in if self.phase == "ramp" else nullcontext()

    @property
    def sending(self) -> bool:
        return self.phase in ("ready", "ramp", "settled", "load")

    def status(self) -> dict:
        """How far the load has come, as the desk is told."""
        connecting = self.phase in ("ready", "ramp", "settled")
        duration_s = self.share.workload["duration_s"]
        done, total = self.connected, self.size
        if not connecting:
            done, total = min(duration_s, self.share.now() - self.count_from_s), duration_s
        return {
            "done": done, "total": total, "errors": self.troubles, "received": self.received, "phase": self.phase,
        }  # fmt: skip


@events.init.add_listener
def prepare(environment, **_) -> None:
    """Before the first client: read the share, open the rows, follow the desk, tell it now and then."""
    environment.chatters = Chatters(Share())
    environment.chatters.share.listen(environment)
    gevent.spawn(environment.chatters.run, environment)
    gevent.spawn(environment.chatters.share.keep_reporting, environment.chatters.status)


@events.quitting.add_listener
def close(environment, **_) -> None:
    """Everything is on disk when the process ends: also the connections that are open until the very end."""
    chatters: Chatters = environment.chatters
    chatters.staying.kill()
    for client in [*chatters.connecting]:
        client.write_connection()
    chatters.share.close()


class Member(User):
    """A place in a room, and the clients who have it one after the other."""

    @task
    def people(self) -> None:
        chatters: Chatters = self.environment.chatters
        index = next(chatters.indexes)
        room, role, self.in_burst = next(chatters.places)
        messages_per_s = chatters.share.workload["messages_per_s"] if role == "talker" else 0.0
        self.client = Client(chatters, index, room, role, messages_per_s)
        chatters.users.append(self)
        share, load = chatters.share, chatters.share.workload
        share.words["go"].wait()
        gevent.sleep(chatters.start_s + load["ramp_s"] * index / load["clients"] - share.now())
        while True:
            staying = chatters.staying.spawn(self.client.stay)
            gevent.wait([staying, self.client.leaving], count=1)
            if not self.client.leaving.is_set():
                staying.get()
                raise StopUser
            self.client = Client(chatters, next(chatters.indexes), room, role, messages_per_s)
