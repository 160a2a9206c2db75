"""Pages by Locust alone, with the lab's lean client: an ordinary locustfile, whose numbers are Locust's own.

    locust -f loadtests/pages.py --headless -u 20 -r 20 -t 10s --host https://10.83.0.2 --path /

Without --headless it has Locust's web page; --processes, --master, --worker and --csv are Locust's too.
('fab http' makes exactly so many requests, from one pool and on one clock, and keeps each: pool.py.)
"""

from __future__ import annotations

import time

import alone
from connection import Connection
from locust import User, constant, constant_pacing, events, task


@events.init_command_line_parser.add_listener
def tell(parser) -> None:
    """What can be told of the load, besides Locust's own."""
    parser.add_argument("--path", default="/", help="the path to ask for, with its query")
    parser.add_argument("--wait-s", type=float, default=0.0, help="seconds a user waits after each answer")
    parser.add_argument(
        "--pace-s", type=float, default=0.0,
        help="seconds from one request of a user to its next, however long the answer takes within them; 0: as --wait-s says",
    )  # fmt: skip


class Visitor(User):
    """Asks again after each answer, on one connection that is kept."""

    def __init__(self, environment):
        super().__init__(environment)
        self.connection = Connection(alone.site(environment), environment.parsed_options.path, None)

    def wait_time(self) -> float:
        """Seconds until its next request."""
        told = self.environment.parsed_options
        return constant_pacing(told.pace_s)(self) if told.pace_s else constant(told.wait_s)(self)

    @task
    def page(self) -> None:
        """One request."""
        connection = self.connection
        start_s, began = self.environment.site.now(), time.perf_counter()
        status, size, error, _ = connection.get()
        alone.tell_locust(self.environment, "GET", connection.path, start_s, time.perf_counter() - began, size, error, status)

    def on_stop(self) -> None:
        """Locust has had enough of it."""
        self.connection.close()
