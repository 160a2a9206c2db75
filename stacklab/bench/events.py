"""What is done to the stack while it is being measured: units killed, stopped or frozen for a while, a setting changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stacklab import stack
from stacklab.bench.load import PHASES, Progress
from stacklab.errors import LabError, SettingsError
from stacklab.labs.host import Host
from stacklab.settings import StackSettings


@dataclass(frozen=True)
class Event:
    """One thing that happens `at_s` seconds after a phase of the load began: "load", which is what counts, or "ramp".

    So that it comes when it should also where clients take long to connect. (Chat has no "warmup".)

    `kill`: these units (names with blanks between) get SIGKILL. `stop`: this unit is stopped for `for_s` seconds and
    started again. `freeze`: all processes of this unit stand still (SIGSTOP) for `for_s` seconds, and go on. `change`: these
    settings are applied.
    """

    at_s: float
    kill: str = ""
    stop: str = ""
    freeze: str = ""
    for_s: float = 0.0
    change: tuple[tuple[str, Any], ...] = ()
    phase: str = "load"

    def __post_init__(self) -> None:
        if sum(map(bool, (self.kill, self.stop, self.freeze, self.change))) != 1:
            raise SettingsError(f"an event either kills units, stops or freezes a unit, or changes settings, not {self.what!r}")
        if self.phase not in PHASES:
            raise SettingsError(f"phase={self.phase!r} of an event must be one of {', '.join(PHASES)}")

    @property
    def what(self) -> str:
        """In words, for run.json and plots."""
        if self.kill:
            return f"kill {self.kill}"
        if self.stop:
            return f"stop {self.stop} for {self.for_s:g} s"
        if self.freeze:
            return f"freeze {self.freeze} for {self.for_s:g} s"
        return ", ".join(f"{name}={value}" for name, value in self.change)

    def to_dict(self) -> dict[str, Any]:
        """{at_s, phase, what}, ready for JSON."""
        return {"at_s": self.at_s, "phase": self.phase, "what": self.what}

    def happen(self, host: Host, settings: StackSettings) -> StackSettings:
        """Do it; the settings that hold afterwards. HostError or ApplyError if it cannot be done."""
        if self.kill:
            host.run(f"systemctl kill --signal=KILL {self.kill}", sudo=True)
            return settings
        if self.stop:
            # one command, so that the unit is started also if this computer is cut off meanwhile
            host.run(f"systemctl stop {self.stop}; sleep {self.for_s:g}; systemctl start {self.stop}", sudo=True)
            return settings
        if self.freeze:
            # A unit of its own, so that the thaw comes also if this computer, and the connection, are gone by then.
            kill = f"systemctl kill {self.freeze} --signal"
            there = f"{kill}=STOP; sleep {self.for_s:g}; {kill}=CONT"
            host.run(f"systemd-run --collect --quiet --wait sh -c '{there}'", sudo=True, timeout_s=60 + self.for_s)
            return settings
        changed = settings.replace(**dict(self.change))
        stack.apply(host, changed)
        return changed


class Events:
    """Has each event happen at its time, in a thread of its own, while a run is measured.

        with Events(events, host, settings, progress) as happened:
            run_load(…, progress=happened.progress)
        happened.done       # [{"what", "began_s", "ended_s"}], seconds since the epoch on the desk's clock
        happened.missed     # what was to happen after the load had ended already, in words

    Time counts from the first Progress of the event's phase, or of one after it. Leaving the block waits for an event
    that is under way, drops those to come, and raises the LabError of one that failed.
    """

    def __init__(
        self, events: Sequence[Event], host: Host, settings: StackSettings, progress: Callable[[Progress], None] | None
    ):
        self.done: list[dict[str, Any]] = []
        self.missed: list[str] = []
        self.settings = settings  # those that hold now
        self._events, self._host = sorted(events, key=lambda event: (PHASES.index(event.phase), event.at_s)), host
        self._forward = progress or (lambda progress: None)
        self._begun = {phase: threading.Event() for phase in PHASES}
        self._begun_s: dict[str, float] = {}
        self._over = threading.Event()
        self._error: LabError | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def progress(self, progress: Progress) -> None:
        """Pass the progress on; the first one of a phase starts its clock."""
        for phase in PHASES[: PHASES.index(progress.phase) + 1]:
            self._begun_s.setdefault(phase, time.monotonic())
            self._begun[phase].set()
        self._forward(progress)

    def __enter__(self) -> Events:
        if self._events:
            self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._over.set()
        for begun in self._begun.values():  # so that nobody waits for a phase that never came
            begun.set()
        if self._events:
            self._thread.join()
        self.missed = [event.what for event in self._events[len(self.done) :]]
        if self._error and kind is None:
            raise self._error

    def _run(self) -> None:
        for event in self._events:
            self._begun[event.phase].wait()
            due_s = self._begun_s.get(event.phase, 0.0) + event.at_s  # (0.0: the load is over, and had no such phase)
            if self._over.wait(max(0.0, due_s - time.monotonic())):
                return
            began_s = time.time()
            try:
                self.settings = event.happen(self._host, self.settings)
            except LabError as error:
                self._error = error
                return
            self.done.append({"what": event.what, "began_s": began_s, "ended_s": time.time()})
