"""HTTP load of the lab's runs: exactly N counted requests from one shared pool, every one of them written down.

Three ways to make them, each a Locust user class; `stacklab.bench.load` names one on the command line:

    Visitor    a closed loop: `users` visitors, each asks again `wait_s` after its answer
    Timetable  an open schedule: requests start every 1/requests_per_s seconds, or with `arrivals` "poisson" so often on
               average and at random, however slow answers are
    Crowd      a closed loop without an end: the desk says how many ask for which path, and may say so again

Requests of the ramp-up and of `warmup_s` at full load are written too, flagged, and not counted.
Rows (CSV): start_s, duration_s, status, bytes, error, warmup, scheduled_s, retried.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator

import gevent
from connection import Connection
from gevent.event import Event
from gevent.pool import Group
from locust import User, events, task
from locust.exception import StopUser
from share import Share

CONNECTS_PER_S = 200  # of a crowd that grows
UNANSWERED_S = 0.2  # a visitor of a crowd waits so long before it tries again
ARRIVALS_SEED = 1  # the same arrivals in all runs that are to be compared
HOPELESS_AFTER_S = 3  # at full load without one answer: going on would only repeat the same error


class Pool:
    """The requests still to be made, shared by everybody, and the rows of those that were."""

    def __init__(self, share: Share):
        self.share = share
        load = share.workload
        self.total: int = load["requests"]
        self.taken = self.done = self.errors = self.answered = self.failed = 0
        self.users_started = self.users_finished = 0
        self.start_s = self.full_load_s = self.count_from_s = float("inf")
        self._rows = share.rows("requests")

    def start(self) -> None:
        """The ramp-up begins now."""
        self.start_s = self.share.now()
        self.full_load_s = self.start_s + self.share.workload["ramp_s"]
        self.count_from_s = self.full_load_s + self.share.workload["warmup_s"]

    def take(self, due_s: float) -> bool | None:
        """For a request due at `due_s`: True if it is warm-up, False if it counts, None if none is left."""
        if due_s < self.count_from_s:
            return True
        if self.taken == self.total or self.hopeless():
            return None
        self.taken += 1
        return False

    def hopeless(self) -> bool:
        """Whether nothing at all was ever answered, after a fair trial."""
        return not self.answered and self.failed > 0 and self.share.now() > self.full_load_s + HOPELESS_AFTER_S

    def request(self, connection: Connection, warmup: bool, scheduled_s: float | None = None) -> bool:
        """Make one request and write its row. Whether there was an answer."""
        start_s = self.share.now()
        began = time.perf_counter()
        status, size, error, retried = connection.get()
        duration_s = time.perf_counter() - began
        self._rows.writerow((start_s, duration_s, status, size, error, warmup, scheduled_s, retried))
        if status:
            self.answered += 1
        else:
            self.failed += 1
        if not warmup:
            self.done += 1
            self.errors += error is not None
        return status > 0

    def phase(self) -> str:
        now = self.share.now()
        return "ramp" if now < self.full_load_s else "warmup" if now < self.count_from_s else "load"

    def status(self) -> dict:
        """How far the load has come, as the desk is told."""
        return {"done": self.done, "total": self.total, "errors": self.errors, "phase": self.phase()}


@events.init.add_listener
def prepare(environment, **_) -> None:
    """Before the first user: read the share, open the rows, follow the desk, tell it now and then."""
    environment.pool = Pool(Share())
    environment.pool.share.listen(environment)
    gevent.spawn(environment.pool.share.keep_reporting, environment.pool.status)


@events.quitting.add_listener
def close(environment, **_) -> None:
    """Everything is on disk when the process ends."""
    environment.pool.share.close()


def finish(environment) -> None:
    """The last word to the desk, then the end of Locust (from a greenlet of its own: it stops the users)."""
    environment.pool.share.report(**environment.pool.status())
    gevent.spawn(environment.runner.quit)


def due_times(start_s: float, per_s: float, arrivals: str) -> Iterator[float]:
    """When the requests of a schedule are due: `per_s` a second from `start_s` on.

    "even": one after each 1/per_s. "poisson": after gaps that are exponentially distributed, seeded.
    """
    chance = random.Random(ARRIVALS_SEED)
    gap_s = {"even": lambda: 1 / per_s, "poisson": lambda: chance.expovariate(per_s)}[arrivals]
    return itertools.accumulate((gap_s() for _ in itertools.count()), initial=start_s)


class Visitor(User):
    """One of `users` visitors; together they empty the pool."""

    @task
    def visit(self) -> None:
        pool = self.environment.pool
        load = pool.share.workload
        index = pool.users_started
        pool.users_started += 1
        if index == 0:
            pool.start()
        gevent.sleep(pool.start_s + load["ramp_s"] * index / load["users"] - pool.share.now())
        connection = Connection(pool.share, load["path"], pool.share.source_address(index))
        while (warmup := pool.take(pool.share.now())) is not None:
            pool.request(connection, warmup)
            if load["wait_s"]:
                gevent.sleep(load["wait_s"])
        connection.close()
        pool.users_finished += 1
        if pool.users_finished == load["users"]:
            finish(self.environment)
        raise StopUser


class Timetable(User):
    """Starts each request at its time. `users` connections are opened in the ramp-up, more when all are busy."""

    fixed_count = 1

    @task
    def keep(self) -> None:
        pool = self.environment.pool
        load = pool.share.workload
        self.idle: list[Connection] = []
        self.opened = 0
        self.under_way = Group()
        pool.start()
        for index in range(load["users"]):
            gevent.sleep(pool.start_s + load["ramp_s"] * index / load["users"] - pool.share.now())
            self.under_way.spawn(self._request, self._connection(), True, None)

        for due_s in due_times(pool.full_load_s, load["requests_per_s"], load["arrivals"]):
            if (wait_s := due_s - pool.share.now()) > 0:
                gevent.sleep(wait_s)
            if (warmup := pool.take(due_s)) is None:
                break
            connection = self.idle.pop() if self.idle else self._connection()
            self.under_way.spawn(self._request, connection, warmup, due_s)
        self.under_way.join()
        finish(self.environment)
        raise StopUser

    def _connection(self) -> Connection:
        share = self.environment.pool.share
        self.opened += 1
        return Connection(share, share.workload["path"], share.source_address(self.opened))

    def _request(self, connection: Connection, warmup: bool, scheduled_s: float | None) -> None:
        self.environment.pool.request(connection, warmup, scheduled_s)
        self.idle.append(connection)


class Crowd(User):
    """One of `users` visitors of a load that goes on while settings change, and is cut into slices afterwards.

    The desk says {"users": 50, "path": "/", "wait_s": 0.0}, as often as it likes: so many ask for that from now on,
    the others wait. And {"cut": 7}: "cut": 7 is reported once all requests that began before are on disk; "cut": 0
    when the crowd begins to hear. It ends when the desk does.
    """

    under_way: dict[int, float] = {}  # {visitor: when its request began}
    load = {"users": 0, "path": "/", "wait_s": 0.0}
    changed = Event()

    @task
    def visit(self) -> None:
        pool = self.environment.pool
        index = pool.users_started
        pool.users_started += 1
        if index == 0:
            pool.start()
            pool.share.told = self.hear
            pool.share.report(**pool.status(), cut=0)  # now it hears
        connection = Connection(pool.share, "/", pool.share.source_address(index))
        while True:
            if index >= self.load["users"]:
                connection.close()
                self.changed.wait()
                gevent.sleep(index / CONNECTS_PER_S)  # not all of them at once
                continue
            connection.path = self.load["path"]
            self.under_way[index] = pool.share.now()
            answered = pool.request(connection, warmup=False)
            del self.under_way[index]
            if not answered:
                gevent.sleep(UNANSWERED_S)
            if self.load["wait_s"]:
                gevent.sleep(self.load["wait_s"])

    def hear(self, message: dict) -> None:
        """Do what the desk says."""
        pool = self.environment.pool
        if "users" in message:
            before, Crowd.load, Crowd.changed = self.changed, message, Event()
            before.set()
            return
        now_s = pool.share.now()
        while any(began_s <= now_s for began_s in self.under_way.values()):
            gevent.sleep(0.01)
        pool.share.flush()
        pool.share.report(**pool.status(), cut=message["cut"])
