"""The lab's chat by Locust alone, with the lab's lean WebSocket: an ordinary locustfile, whose numbers are Locust's own.

    locust -f loadtests/chat.py --headless -u 100 -r 20 -t 30s --host https://10.83.0.2 --rooms 10 --messages-per-s 0.2

Its table has three lines. connect: from the first packet until the user is in its room; and what a connection ended of.
message: from when a user says something until it has that back itself; after 10 s it counts as lost. heard: the same of
what others said, by the clocks of both, so it means little where workers are on several computers.
('fab chat' knows of each message who was to hear it, and keeps it so: chatters.py.)
"""

from __future__ import annotations

import itertools
import random

import alone
import gevent
import labchat
from chatclient import GOODBYE_S, Client, Company, Connection
from labchat import Message
from locust import User, events, task

KIND = "WSS"
LOST_AFTER_S = 10.0
QUIET_S = 60.0  # between two tasks of a user who says nothing


@events.init_command_line_parser.add_listener
def tell(parser) -> None:
    """What can be told of the load, besides Locust's own."""
    parser.add_argument("--rooms", type=int, default=30, help="rooms, filled evenly in each process")
    parser.add_argument("--messages-per-s", type=float, default=0.2, help="messages a second that each user says")
    parser.add_argument("--size-bytes", type=int, default=100, help="length of a message's text")


@events.test_start.add_listener
def begin(environment, **_) -> None:
    """Nobody is there yet."""
    environment.guests = None


@events.test_stop.add_listener
def end(environment, **_) -> None:
    """What is under way now is not lost."""
    if getattr(environment, "guests", None):
        environment.guests.looking.kill()


class Guests(Company):
    """All users of this process; what they tell becomes Locust's events."""

    def __init__(self, environment):
        told = environment.parsed_options
        super().__init__(alone.site(environment), labchat, told.size_bytes)
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


class Member(User):
    """Somebody in a room, who says something now and then, and comes back when the connection ends."""

    def __init__(self, environment):
        super().__init__(environment)
        if environment.guests is None:
            environment.guests = Guests(environment)

    def on_start(self) -> None:
        """Come in; who is not in yet says nothing."""
        guests = self.environment.guests
        index = next(guests.indexes)
        self.client = Client(guests, index, index % self.environment.parsed_options.rooms, "talker")
        self.staying = gevent.spawn(self.client.stay)

    def wait_time(self) -> float:
        """Seconds until it says something again, whatever became of what it said."""
        per_s = self.environment.parsed_options.messages_per_s
        return random.expovariate(per_s) if per_s else QUIET_S

    @task
    def say(self) -> None:
        """One message."""
        if self.environment.parsed_options.messages_per_s:
            self.client.say()

    def on_stop(self) -> None:
        """Say goodbye, and wait a little for the answer."""
        self.client.leave()
        self.staying.join(GOODBYE_S)
        self.staying.kill()
