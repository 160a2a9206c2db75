"""`Guests`: the people of one process in the lab's chat, whose every connect and message is an event of Locust's.

connect: from the first packet until somebody is in the room; and what a connection ended of. message: from when somebody says
something until it has that back itself; after LOST_AFTER_S it counts as lost. heard: the same of what others said, by
the clocks of both, so it means little where workers are on several computers.
"""

from __future__ import annotations

import itertools

import alone
import gevent
import labchat
from chatclient import GOODBYE_S, Client, Company, Connection
from labchat import Message
from locust import events
from locust.env import Environment

KIND = "WSS"
LOST_AFTER_S = 10.0


@events.test_start.add_listener
def begin(environment: Environment, **_) -> None:
    """Nobody is there yet."""
    environment.guests = None


@events.test_stop.add_listener
def end(environment: Environment, **_) -> None:
    """What is under way now is not lost."""
    if getattr(environment, "guests", None):
        environment.guests.looking.kill()


def guests_of(environment: Environment, size_bytes: int) -> Guests:
    """Those of this process, who say texts of this length."""
    if environment.guests is None:
        environment.guests = Guests(environment, size_bytes)
    return environment.guests


class Guests(Company):
    """All of this process; what they tell becomes Locust's events."""

    def __init__(self, environment: Environment, size_bytes: int):
        super().__init__(alone.site(environment), labchat, size_bytes)
        self.environment = environment
        self.indexes = itertools.count()
        self.unheard: dict[tuple[Client, str, int], float] = {}  # {(sender, its name, n): sent_s}
        self.looking = gevent.spawn(self.look_for_losses)

    def tell(self, name: str, start_s: float, duration_s: float, size: int = 0, error: str | None = None) -> None:
        alone.tell_locust(self.environment, KIND, name, start_s, duration_s, size, error)

    def said(self, client: Client, n: int, sent_s: float, burst: bool) -> None:
        self.unheard[client, client.connection.server_name, n] = sent_s

    def heard(self, client: Client, message: Message, received_s: float) -> None:
        sent_s = self.unheard.pop((client, message.sender, message.n), None)
        if sent_s is not None:
            self.tell("message", sent_s, received_s - sent_s, len(self.text))
        elif message.sent_s is not None:
            self.tell("heard", message.sent_s, max(0.0, received_s - message.sent_s), len(self.text))

    def came_in(self, connection: Connection) -> None:
        super().came_in(connection)
        self.tell("connect", connection.connect_start_s, connection.connect_s)

    def ended(self, connection: Connection) -> None:
        if not connection.left:
            error = connection.error or f"closed with {connection.close_code}"
            self.tell("connect", connection.connect_start_s, connection.end_s - connection.connect_start_s, error=error)

    def look_for_losses(self) -> None:
        """What is not back after LOST_AFTER_S does not come."""
        while True:
            gevent.sleep(1.0)
            before_s = self.target.now() - LOST_AFTER_S
            lost = [said for said, sent_s in self.unheard.items() if sent_s < before_s]
            for said in lost:
                sent_s = self.unheard.pop(said)
                self.tell("message", sent_s, LOST_AFTER_S, error=f"not back within {LOST_AFTER_S:g} s")


class Guest(Client):
    """The next of them, in one of so many rooms, which are filled evenly: it comes in, and stays until it leaves."""

    def __init__(self, guests: Guests, rooms: int):
        index = next(guests.indexes)
        super().__init__(guests, index, index % rooms, "talker")
        self.staying = gevent.spawn(self.stay)

    def leave(self) -> None:
        """Say goodbye, and wait a little for the answer. What it said and has not back by now is not lost: it is away."""
        super().leave()
        self.staying.join(GOODBYE_S)
        self.staying.kill()
        for said in [said for said in self.company.unheard if said[0] is self]:
            del self.company.unheard[said]
