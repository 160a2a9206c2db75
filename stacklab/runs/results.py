"""Runs on disk: `load_runs` reads them; `draft.writing_run` saves one.

A run is a folder `results/<experiment>/<run>/` that holds run.json, the tables of `TABLES` as parquet, logs, and
SHA256SUMS of them all.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.parquet

from stacklab.errors import ResultsError, SettingsError
from stacklab.runs.sums import AGAIN, SUMS_FILE, check_sums
from stacklab.runs.tables import SAMPLED, SINCE, TABLES, TIME_COLUMNS, WEB_CLOCK_TABLES
from stacklab.settings import StackSettings
from stacklab.site import LAB, Site
from stacklab.workload import ChatLoad, Foreign, HttpLoad, Look, PlanLoad, Workload

FORMAT = 6
KINDS = {  # what each field of run.json is
    "settings": dict | None, "workload": dict, "observed": dict, "environment": dict, "validity": dict, "experiment": str,
    "run": str, "point": str, "repeat": int, "position": int, "started_s": float | int | None, "ended_s": float | int | None,
    "under_load_s": float | int, "clock_offset_s": float | int | None, "clock_error_s": float | int | None, "events": list,
    "slices": list,
}  # fmt: skip
FORMAT_HISTORY = {
    1: "the first: settings asked and observed, workload, environment, clock offset, validity, times of the run",
    2: "slices: parts of one load, each with settings, a workload and a time of its own (none: the whole run is one); "
    "validity in two answers, measurement and service, with numbers (before: state, and reasons of both kinds)",
    3: "SHA256SUMS beside it, with the sum of every file of the run (before: damage passed unseen)",
    4: "runs of other tools: no settings, a workload of kind foreign, times that may be null, the tables `stated` and `apart`",
    5: "loads of kind plan: somebody's own JMeter plan, named by its file and its sum",
    6: "plans of Locust, k6 and wrk too, whose first warmup_s seconds do not count (before: all did); of wrk `stated`, and no "
    "`requests`; in `server` the connection, which of its requests that was, and whether TLS was resumed",
}
"""What each format version of run.json brought. A reader knows all versions up to `FORMAT`."""

RUN_FILE = "run.json"
PARTIAL_PREFIX = ".partial-"

MARGIN_S = 1.0  # samples this long before and after a slice belong to it too: they are read between

WORKLOADS: dict[str, type[Workload]] = {
    "http": HttpLoad, "chat": ChatLoad, "plan": PlanLoad, "look": Look, "foreign": Foreign,
}  # fmt: skip
OF_REQUESTS = ("http", "plan", "foreign")
"""The kinds of runs whose rows are requests."""


class UnfinishedRunWarning(UserWarning):
    """Folders of runs that were cut off, or are being written now, were passed over."""


class DamagedRunWarning(UserWarning):
    """A run that is not what was written, or that this version cannot read, was left out."""


@dataclass(frozen=True)
class Validity:
    """Two questions that have nothing to do with each other.

    `measurement`: "sound", or "disturbed" with a sentence for each of `reasons`: it may not decide. `service`: "ok", or
    "degraded" with a sentence for each of `failures`: a result. `numbers` are what the disturbances' limits were held
    against, also where none was passed, so that other limits can be held against them later. `known`: whether anything is
    known of both; of another tool's file nothing is.
    """

    reasons: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    known: bool = True

    @property
    def measurement(self) -> str:
        return "disturbed" if self.reasons else "sound" if self.known else "unknown"

    @property
    def service(self) -> str:
        return "degraded" if self.failures else "ok" if self.known else "unknown"

    @property
    def valid(self) -> bool:
        """Whether it may decide."""
        return not self.reasons

    def to_dict(self) -> dict[str, Any]:
        """Its fields and both answers, ready for JSON."""
        return {
            "measurement": self.measurement, "service": self.service, "reasons": list(self.reasons),
            "failures": list(self.failures), "numbers": dict(self.numbers),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Validity:
        """What `to_dict` gave; or what format 1 kept, where an error of the service was a reason like any other."""
        known = values.get("measurement") != "unknown"
        numbers = {str(name): float(value) for name, value in values.get("numbers", {}).items()}
        return cls(tuple(map(str, values["reasons"])), tuple(map(str, values.get("failures", ()))), numbers, known)


NOT_CHECKED = Validity(("This run was not checked.",))


@dataclass(frozen=True, kw_only=True)
class Run:
    """One measured execution of one workload under one StackSettings; its tables are read when asked for.

    `settings` were asked for, `observed` is what the services themselves said. `experiment`, `run`
    (the folder's name), `point`, `repeat` and `position` (in the order of execution) place it in its
    experiment. Times are seconds since the epoch on the desk's clock; `clock_offset_s` is what the web
    host's clock shows more than the desk's, known to within `clock_error_s` (both None: not measured).
    `events` is what was done to the stack meanwhile: [{"what", "began_s", "ended_s"}], on the desk's clock.

    A block of slices is one run on disk: `slices` holds {"point", "settings", "workload", "observed", "start_s",
    "end_s", "validity"} of each, in their order, and `cut` makes a run of each, from `start_s` to `end_s` of the `whole`.

    Of another tool's file (`runs.foreign`) there are no `settings`, and what it does not tell is None. Until it is saved, its
    `path` is that file, and its tables are `held`.
    """

    path: Path
    settings: StackSettings | None
    workload: Workload
    observed: Mapping[str, Any]
    environment: Mapping[str, Any]
    validity: Validity = NOT_CHECKED
    experiment: str
    run: str
    point: str = ""
    repeat: int = 1
    position: int = 1
    started_s: float | None
    ended_s: float | None
    under_load_s: float = 0.0
    clock_offset_s: float | None = None
    clock_error_s: float | None = None
    events: Sequence[Mapping[str, Any]] = ()
    slices: Sequence[Mapping[str, Any]] = ()
    whole: Run | None = field(default=None, repr=False, compare=False)
    start_s: float | None = None
    end_s: float | None = None
    held: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    _known: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def has(self, name: str) -> bool:
        """Whether the run holds the table `name`."""
        return name in self.held or (self.path / f"{name}.parquet").is_file()

    def table(self, name: str) -> pd.DataFrame:
        """The table `name` of `TABLES`, as it was measured. Read once; the copy you get is yours to change.

        ResultsError if the run has no such table, or if the file is damaged or lacks a column.
        """
        return self.once(name, lambda: self._read(name)).copy(deep=False)

    def _read(self, name: str) -> pd.DataFrame:
        if name in self.held:
            return self.held[name].to_pandas()
        return self._cut_out(name) if self.whole else read_table(self.path / f"{name}.parquet", name)

    def _cut_out(self, name: str) -> pd.DataFrame:
        """The rows of the slice; of requests those that began in it, also in nginx's own log."""
        table = self.whole.table(name)
        times = table[TIME_COLUMNS[name]] - ((self.clock_offset_s or 0.0) if name in WEB_CLOCK_TABLES else 0.0)
        if name == "server":
            times -= table["duration_s"]
        margin_s = MARGIN_S if name in SAMPLED else 0.0
        return table[times.between(self.start_s - margin_s, self.end_s + margin_s)].reset_index(drop=True)

    def cut(self) -> list[Run]:
        """A run for each of its slices; itself, if it has none."""
        return [
            replace(
                self, whole=self, slices=(), run=f"{self.run}-{position:02d}", position=position, point=part["point"],
                settings=StackSettings.from_dict(part["settings"]), workload=_workload(part["workload"]),
                observed=part["observed"], validity=Validity.from_dict(part["validity"]),
                start_s=part["start_s"], end_s=part["end_s"], started_s=part["start_s"], ended_s=part["end_s"],
                under_load_s=part["end_s"] - part["start_s"],
            )
            for position, part in enumerate(self.slices, start=1)
        ] or [self]

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make()` returned when `name` was first asked for. A saved run does not change, so it still holds."""
        if name not in self._known:
            self._known[name] = make()
        return self._known[name]

    @property
    def site(self) -> Site:
        """The site that was measured; the lab's own in runs of before there could be another."""
        return Site.from_dict(self.environment.get("site") or LAB.to_dict())

    @property
    def kind(self) -> str:
        """"http", "chat", "plan", "look" or "foreign"."""
        return next(kind for kind, of in WORKLOADS.items() if isinstance(self.workload, of))

    def to_dict(self) -> dict[str, Any]:
        """What run.json holds."""
        return {
            "format": FORMAT,
            "experiment": self.experiment,
            "run": self.run,
            "point": self.point,
            "repeat": self.repeat,
            "position": self.position,
            "started_s": self.started_s,
            "ended_s": self.ended_s,
            "under_load_s": self.under_load_s,
            "settings": self.settings and self.settings.to_dict(),
            "observed": dict(self.observed),
            "workload": {"kind": self.kind, **self.workload.to_dict()},
            "environment": dict(self.environment),
            "clock_offset_s": self.clock_offset_s,
            "clock_error_s": self.clock_error_s,
            "events": [dict(event) for event in self.events],
            "slices": [dict(part) for part in self.slices],
            "validity": self.validity.to_dict(),
        }


def read_table(path: Path, name: str) -> pd.DataFrame:
    """The parquet file at `path` as the table `name`; ResultsError, naming it, if it is missing, damaged, or lacks a column."""
    try:
        table = pyarrow.parquet.read_table(path, page_checksum_verification=True).to_pandas()
    except FileNotFoundError:
        raise ResultsError(f"{path}: there is no such table in this run") from None
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise ResultsError(f"{path}: cannot be read as parquet ({error}); {AGAIN}") from error
    table = table.assign(**{column: value for column, value in SINCE.get(name, {}).items() if column not in table})
    missing = [column for column in TABLES[name] if column not in table]
    if missing:
        raise ResultsError(f"{path}: lacks the columns {', '.join(missing)}; was it written by another version?")
    return table


def read_run(path: Path) -> Run:
    """The run in the folder `path`, from its run.json alone: whether its files are whole, `load_runs` looks.

    FileNotFoundError if there is no run.json; ResultsError if it is damaged or newer than this reader.
    """
    file = path / RUN_FILE
    text = file.read_bytes()
    try:
        values = json.loads(text)
        version = values["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ResultsError(f"{file}: is not a run's description ({error!r}); {AGAIN}") from error
    if type(version) is not int or version not in FORMAT_HISTORY:
        raise ResultsError(
            f"{file}: has format {version!r}, this StackLab reads up to {FORMAT}; "
            "read it with the version that wrote it, or a newer one"
        )
    if version >= 3 and not (path / SUMS_FILE).is_file():
        raise ResultsError(f"{path}: lacks its {SUMS_FILE}, so nobody can tell whether it is whole; {AGAIN}")
    values = {"events": [], "slices": []} | values
    for name, kind in KINDS.items():
        if name not in values or not isinstance(values[name], kind):
            raise ResultsError(f"{file}: lacks or garbles {name!r}; {AGAIN}")
    try:
        run = Run(
            path=path,
            **{name: values[name] for name in KINDS}
            | {
                "settings": None if values["settings"] is None else StackSettings.from_dict(values["settings"]),
                "workload": _workload(values["workload"], version),
                "validity": Validity.from_dict(values["validity"]),
                "events": tuple({**event, "began_s": float(event["began_s"])} for event in values["events"]),
                "slices": tuple(values["slices"]),
            },
        )
        run.cut()
        return run
    except SettingsError as error:
        raise ResultsError(f"{file}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ResultsError(f"{file}: lacks or garbles {error}; {AGAIN}") from error


def _workload(values: Mapping[str, Any], version: int = FORMAT) -> Workload:
    fields = dict(values)
    if version < 6 and fields["kind"] == "plan":
        fields["warmup_s"] = 0.0
    return WORKLOADS[fields.pop("kind")].from_dict(fields)


def load_runs(root: str | Path) -> list[Run]:
    """The whole runs under `root` (a run, an experiment's folder, or results/), by their time of start.

    A block of slices gives one run for each slice.

    Every file is held against its sum; tables are read when asked for. A run that is damaged, or that this version cannot
    read, is left out with a DamagedRunWarning that says why; folders of runs that were cut off or are being written now
    are passed over with an UnfinishedRunWarning that counts them. ResultsError if `root` does not exist.
    """
    root = Path(root)
    if not root.is_dir():
        raise ResultsError(f"{root}: there are no results here; give a run, an experiment's folder, or results/")
    runs: list[Run] = []
    unfinished: list[Path] = []
    damaged: list[ResultsError] = []
    _collect(root, 2, runs, unfinished, damaged)
    for error in damaged:
        warnings.warn(f"left out: {error}", DamagedRunWarning, stacklevel=2)
    if unfinished:
        names = ", ".join(sorted(str(path.relative_to(root)) for path in unfinished))
        warnings.warn(f"passed over {len(unfinished)} unfinished run(s): {names}", UnfinishedRunWarning, stacklevel=2)
    return sorted(runs, key=lambda run: (run.started_s or 0.0, run.run))


def _collect(folder: Path, depth: int, runs: list[Run], unfinished: list[Path], damaged: list[ResultsError]) -> None:
    """Add the runs at most `depth` folders below `folder` to `runs`, half-written ones to `unfinished`; why not, to `damaged`."""
    try:
        run = read_run(folder)
        check_sums(folder)
        runs += run.cut()
        return
    except FileNotFoundError:
        pass  # not a run (or one that was deleted this moment): look inside
    except ResultsError as error:
        damaged.append(error)
        return
    try:
        children = sorted(child for child in folder.iterdir() if child.is_dir())
        holds_tables = any(folder.glob("*.parquet"))
    except FileNotFoundError:
        return
    if holds_tables:
        unfinished.append(folder)
        return
    unfinished += [child for child in children if child.name.startswith(PARTIAL_PREFIX)]
    if depth:
        for child in children:
            if not child.name.startswith("."):
                _collect(child, depth - 1, runs, unfinished, damaged)
