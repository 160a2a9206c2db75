"""Chat load: clients in rooms, each message numbered and stamped, every reception written down.

`stacklab.bench.load` runs one process a CPU of the generator; each has every so-many-th client. Rooms are filled
evenly, in an order of their own: clients that follow each other are given instances in turn by round robin,
and must not by that alone end up with their room on one instance. Clients connect slowly, one after the
other over `ramp_s`, and begin to send at random times; what is sent before every client has tried to
connect, and a little after, is warm-up. A client whose connection ends comes back as the chat page does,
after a growing random wait.

Rows (CSV): sent (client, n, sent_s, warmup), received (client, sender's name at the server, n, message id,
received_s, instance), connections (see `Connection`).
"""

from __future__ import annotations

import random
from dataclasses import astuple, dataclass

import gevent
import labchat
from chatsocket import ABNORMAL, ChatSocket, Closed
from gevent.lock import BoundedSemaphore
from labchat import Message, Welcome
from locust import User, events, task
from locust.exception import StopUser
from share import Share, error_text

CONNECTING_AT_ONCE = 100  # more TLS starts in one process only make each other wait
FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 15.0  # as in the chat page (app/chat/static/chat/chat.js)
FINAL_CODES = {4409}  # the room's name is not allowed: the page does not try again either
ROOMS_SEED = 1  # the same in all processes, and in all runs that are to be compared
SETTLE_S = 2.0  # between the last client's first attempt and the start of counting
RESEND_AFTER_S = 1.0
QUIET_S, LONGEST_DRAIN_S = 2.0, 15.0
GOODBYE_S = 3.0
NORMAL = 1000


@dataclass
class Connection:
    """One attempt to connect, and what became of it: a row, written when it is over."""

    client: int
    room: int
    server_name: str | None  # what the server calls this socket
    source_address: str | None
    instance: str | None
    connect_start_s: float
    connect_s: float | None = None  # until the welcome
    end_s: float | None = None
    close_code: int | None = None
    error: str | None = None
    attempt: int = 1


class Crowd:
    """All clients of this process, their rows, and the phases they go through together."""

    def __init__(self, share: Share):
        self.share = share
        self.chat = labchat  # how the chat under load is spoken
        load = share.workload
        self.indexes = iter(range(share.number, load["clients"], share.processes))
        self.size = len(range(share.number, load["clients"], share.processes))
        self.rooms = [client % load["rooms"] for client in range(load["clients"])]
        random.Random(ROOMS_SEED).shuffle(self.rooms)
        self.gate = BoundedSemaphore(CONNECTING_AT_ONCE)
        self.text = "x" * load["size_bytes"]
        self.phase = "ready"
        self.members: list[Client] = []
        self.tried = self.connected = self.ever_connected = self.troubles = self.received = 0
        self.start_s = self.count_from_s = self.received_s = 0.0
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
            gevent.sleep(SETTLE_S)
            self.phase = "settled"
            share.words["count"].wait()
            self.count_from_s = share.now()
            self.phase = "load"
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
        for member in self.members:
            member.leave()
        deadline_s = self.share.now() + GOODBYE_S
        while self.connected and self.share.now() < deadline_s:
            gevent.sleep(0.05)

    @property
    def sending(self) -> bool:
        return self.phase in ("ramp", "settled", "load")

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
    environment.crowd = Crowd(Share())
    environment.crowd.share.listen(environment)
    gevent.spawn(environment.crowd.run, environment)
    gevent.spawn(environment.crowd.share.keep_reporting, environment.crowd.status)


@events.quitting.add_listener
def close(environment, **_) -> None:
    """Everything is on disk when the process ends: also the connections that are open until the very end."""
    for member in environment.crowd.members:
        member.write_connection()
    environment.crowd.share.close()


class Client(User):
    """One client of the chat, for the whole of the load."""

    @task
    def chat(self) -> None:
        self.crowd: Crowd = self.environment.crowd
        self.share = self.crowd.share
        self.index = next(self.crowd.indexes)
        self.crowd.members.append(self)
        self.room = self.crowd.rooms[self.index]
        self.socket: ChatSocket | None = None
        self.connection: Connection | None = None
        self.welcomed = False
        self.attempts = self.retries = self.numbered = 0
        self.last_id: str | None = None  # the newest message seen, where the server keeps history
        self.unconfirmed: dict[int, str] = {}  # sent, and not come back yet; kept only with history

        self.share.words["go"].wait()
        load = self.share.workload
        gevent.sleep(self.crowd.start_s + load["ramp_s"] * self.index / load["clients"] - self.share.now())
        if load["messages_per_s"]:
            gevent.spawn(self.keep_sending, load["messages_per_s"])
        self.stay()
        raise StopUser

    # -- the connection -------------------------------------------------------------------------

    def stay(self) -> None:
        """Be in the room until the load is over, however often the connection ends."""
        while self.crowd.phase != "over":
            code = self.connect_and_read()
            if code in FINAL_CODES or self.crowd.phase == "over":
                return
            longest_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2**self.retries)
            self.retries += 1
            gevent.sleep(random.uniform(longest_s / 2, longest_s))

    def connect_and_read(self) -> int | None:
        """One connection, from its first packet to its end. Returns the close code, if there was one."""
        self.attempts += 1
        source_address = self.share.source_address(self.index)
        row = Connection(self.index, self.room, None, source_address, None, self.share.now(), attempt=self.attempts)
        self.connection = row
        with self.crowd.gate:  # a wait for it is a wait to come in, as the client feels it
            try:
                self.socket = ChatSocket(self.share, self.crowd.chat.join(f"load-{self.room}"), source_address)
            except OSError as error:
                row.error = error_text(error)
        if self.socket:
            try:
                for texts in self.socket.blocks():
                    self.take(texts, self.share.now())
            except Closed as closed:
                row.close_code = closed.code
            except OSError as error:
                row.error = error_text(error)
            self.socket.close()
        self.gone()
        return row.close_code

    def gone(self) -> None:
        """The connection has ended, or never came to be."""
        if self.connection.connect_s is None:
            self.try_is_over()
        self.crowd.connected -= self.welcomed
        self.crowd.troubles += self.crowd.phase != "over"
        self.welcomed = False
        self.socket = None
        self.write_connection()

    def try_is_over(self) -> None:
        """The first attempt has succeeded or failed: the ramp-up waits for that of every client."""
        if self.attempts == 1:
            self.crowd.tried += 1

    def write_connection(self) -> None:
        """Write the row of the connection that has ended, or that the end of the load cuts off."""
        row, self.connection = self.connection, None
        if row is None:
            return
        row.end_s = self.share.now()
        if self.crowd.phase == "over" and row.close_code in (None, ABNORMAL) and row.connect_s is not None:
            row.close_code, row.error = NORMAL, None  # we said goodbye and did not wait for the answer
        self.crowd.connection_rows.writerow(astuple(row))

    def leave(self) -> None:
        """Say goodbye, if there is somebody to say it to."""
        if self.welcomed:
            try:
                self.socket.say_goodbye(NORMAL)
            except OSError:
                pass  # it ended in this moment; the reader sees that too

    # -- what arrives ---------------------------------------------------------------------------

    def take(self, texts: list[bytes], received_s: float) -> None:
        """Frames have arrived."""
        for text in texts:
            what = self.crowd.chat.recognise(text)
            if isinstance(what, Message):
                self.take_message(what, received_s)
            elif isinstance(what, Welcome):
                self.take_welcome(what, received_s)

    def take_message(self, message: Message, received_s: float) -> None:
        crowd = self.crowd
        crowd.received += 1
        crowd.received_s = received_s
        crowd.received_rows.writerow(
            (self.index, message.sender, message.n, message.id, received_s, message.instance)
        )
        if self.last_id is not None:
            self.last_id = max(self.last_id, message.id, key=order)
            if message.sender in self.own_names:
                self.unconfirmed.pop(message.n, None)

    def take_welcome(self, welcome: Welcome, received_s: float) -> None:
        row = self.connection
        row.connect_s = received_s - row.connect_start_s
        row.server_name, row.instance = welcome.name, welcome.instance
        self.try_is_over()
        self.welcomed = True
        self.retries = 0
        self.crowd.connected += 1
        self.crowd.ever_connected += 1
        if welcome.last_id is None:
            return
        if self.last_id is None:
            self.last_id, self.own_names = welcome.last_id, {welcome.name}
            return
        self.own_names.add(welcome.name)
        self.socket.send(self.crowd.chat.resume(self.last_id))
        if self.unconfirmed:
            gevent.spawn(self.resend, self.socket, welcome.last_id, [*self.unconfirmed])

    # -- what is sent ---------------------------------------------------------------------------

    def keep_sending(self, messages_per_s: float) -> None:
        """Send at random times, whatever became of the message before."""
        due_s = self.share.now()
        while self.crowd.sending or self.crowd.phase == "ready":
            due_s += random.expovariate(messages_per_s)
            gevent.sleep(due_s - self.share.now())
            if self.welcomed and self.crowd.sending:
                self.say()

    def say(self) -> None:
        """Send the next message, numbered and stamped."""
        self.numbered += 1
        sent_s = self.share.now()
        text = self.crowd.chat.send(self.connection.server_name, self.numbered, sent_s, self.crowd.text)
        if self.last_id is not None:
            self.unconfirmed[self.numbered] = text
        self.crowd.sent_rows.writerow((self.index, self.numbered, sent_s, self.crowd.phase != "load"))
        try:
            self.socket.send(text)
        except OSError:
            pass  # the connection ended in this moment: sent, as far as the sender knew

    def resend(self, socket: ChatSocket, joined_id: str, earlier: list[int]) -> None:
        """Where history is kept, nothing is lost: once the history has been read, repeat what was said `earlier`,
        over the connection that ended, and did not come back.
        """
        while order(self.last_id) < order(joined_id) and self.socket is socket:
            gevent.sleep(0.1)
        gevent.sleep(RESEND_AFTER_S)
        for text in [self.unconfirmed[n] for n in earlier if n in self.unconfirmed]:
            if self.socket is not socket:
                return
            try:
                socket.send(text)
            except OSError:
                return


def order(message_id: str) -> tuple[int, int]:
    """The place of a message's id in the room's history ("milliseconds-number") among others."""
    milliseconds, _, number = message_id.partition("-")
    return int(milliseconds), int(number)
