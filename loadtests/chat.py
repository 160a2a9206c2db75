"""The lab's chat by Locust alone, with the lab's lean WebSocket: an ordinary locustfile, whose numbers are Locust's own.

    locust -f loadtests/chat.py --headless -u 100 -r 20 -t 30s --host https://10.83.0.2 --rooms 10 --messages-per-s 0.2

Its table has three lines, connect, message and heard: what they are, guests.py says.
('fab chat' knows of each message who was to hear it, and keeps it so: chatters.py.)
"""

from __future__ import annotations

import random

from guests import Guest, guests_of
from locust import User, events, task

QUIET_S = 60.0  # between two tasks of a user who says nothing


@events.init_command_line_parser.add_listener
def tell(parser) -> None:
    """What can be told of the load, besides Locust's own."""
    parser.add_argument("--rooms", type=int, default=30, help="rooms, filled evenly in each process")
    parser.add_argument("--messages-per-s", type=float, default=0.2, help="messages a second that each user says")
    parser.add_argument("--size-bytes", type=int, default=100, help="length of a message's text")


class Member(User):
    """Somebody in a room, who says something now and then, and comes back when the connection ends."""

    def __init__(self, environment):
        super().__init__(environment)
        self.guests = guests_of(environment, environment.parsed_options.size_bytes)

    def on_start(self) -> None:
        """Come in; who is not in yet says nothing."""
        self.guest = Guest(self.guests, self.environment.parsed_options.rooms)

    def wait_time(self) -> float:
        """Seconds until it says something again, whatever became of what it said."""
        per_s = self.environment.parsed_options.messages_per_s
        return random.expovariate(per_s) if per_s else QUIET_S

    @task
    def say(self) -> None:
        """One message."""
        if self.environment.parsed_options.messages_per_s:
            self.guest.say()

    def on_stop(self) -> None:
        """It has had enough of it."""
        self.guest.leave()
