"""`measure` one run; `run_experiment` all the runs, or slices, of an Experiment, resumable."""

from __future__ import annotations

import fcntl
import platform
import shutil
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from stacklab import stack
from stacklab.bench import serverlog
from stacklab.bench.events import Event, Events
from stacklab.bench.found import go_back, going_back, left_behind
from stacklab.bench.load import Progress, from_networks, run_load
from stacklab.bench.looks import look_at
from stacklab.bench.measuring import Hold, by_whom, measuring, who
from stacklab.bench.onsite import made_on, on_site
from stacklab.bench.plan import Experiment, Planned
from stacklab.bench.plans import run_plan
from stacklab.bench.resume import open_plan, require_disk, set_aside
from stacklab.bench.sampling import sampling
from stacklab.bench.slices import BETWEEN_SLICES_S, BYTES_PER_BLOCK, slicing
from stacklab.bench.tools import versions_of
from stacklab.bench.unreached import telling_why
from stacklab.errors import LabError, LabNotRunning
from stacklab.files import RESULTS, ROOT, make_folder
from stacklab.labs import Lab, cpus
from stacklab.labs.host import Host
from stacklab.runs.calibration import calibration_for
from stacklab.runs.draft import writing_run
from stacklab.runs.results import RUN_FILE, DamagedRunWarning, Run, UnfinishedRunWarning, load_runs, read_run
from stacklab.runs.validity import check
from stacklab.settings import StackSettings
from stacklab.site import LAB, Site
from stacklab.surroundings import GIT, git, own
from stacklab.version import code_version
from stacklab.workload import ChatLoad, HttpLoad, Look, PlanLoad, Workload

# For the estimate before an experiment starts, until a run on this machine says better.
GUESSED_REQUESTS_PER_S = 700.0
BETWEEN_RUNS_S = 5.0
PLAN_S, PLAN_START_S, PLAN_ROWS = 30.0, 4.0, 40_000  # as the post's own; of others nobody knows
LOOK_S = 4.0  # each of its rounds …
TRIAL_S = {"most_clients": 14.0, "most_requests": 6.0}  # … and each trial of a search, which is a load
BYTES_PER_REQUEST = 60
BYTES_PER_RUN = 300_000

# What a chat run shows must not hang on the runs before it. A Daphne keeps the memory that earlier sockets took. And
# nginx holds an instance that failed once for failed until a connection made after `balance_fail_timeout_s` has ended,
# which a chat socket does not for long (ngx_http_upstream_round_robin.c, `ngx_http_upstream_free_round_robin_peer`).
CHAT_BEGINS_WITH_NEW = ("daphne", "nginx")

MACHINE = """nproc
awk '/MemTotal/ {print $2}' /proc/meminfo
echo $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)
echo $(cat /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor 2>/dev/null | sort -u)"""


# ---------------------------------------------------------------- one run


@dataclass(frozen=True)
class Bench:
    """What the runs of one session share: the lab, its host, the site under test, the right to measure it, its CA on this
    disk, and who the machines are.
    """

    lab: Lab
    host: Host
    hold: Hold
    ca: Path
    environment: dict[str, Any]
    generator_cpus: Sequence[int] | None
    client_addresses: Sequence[str]
    site: Site = LAB

    def noting(self, *lines: str) -> Bench:
        """The same, each of whose runs says these lines too."""
        return self.knowing(notes=[*self.environment.get("notes", ()), *lines])

    def knowing(self, **facts: Any) -> Bench:
        """The same, in each of whose runs' environments these stand too."""
        return replace(self, environment=self.environment | facts)

    def bearing(self, settings: StackSettings | None = None) -> list[str]:
        """What bears against a run that was just made, a sentence each: the lab could have been measured by others, the CPUs of
        this computer are driven otherwise than when the session began; and, if `settings` were to be in force, others are.
        """
        others = settings is not None and stack.current(self.host) != settings
        before, now = self.environment["desk"]["power"], cpus.power()
        changed = [
            f"{name} was {before.get(name)}, then {now.get(name)}" for name in before | now if before.get(name) != now.get(name)
        ]
        return [
            *(["The settings were changed by somebody else during the run."] if others else []), *self.hold.problems,
            *([f"The computer's power changed meanwhile: {'; '.join(changed)}."] if changed else []),
        ]  # fmt: skip


@contextmanager
def bench(lab: Lab, root: Path = RESULTS, what: str = "a measurement") -> Iterator[Bench]:
    """The lab, ready to be measured, and nobody else measuring it, from wherever; `what` tells others what we do.

    LabNotRunning if it is not up; LabError if another measurement of this lab is under way.
    """
    folder = root / ".bench" / lab.name.replace("/", "_")
    make_folder(folder)
    host = lab.web()
    certificate = stack.ca_certificate(host)
    with measuring(host, what) as hold, telling_why(host):
        ca = folder / "ca.crt"
        ca.write_text(certificate)
        go_back(host)
        status = lab.status()
        site = stack.site_of(host)
        known = environment(lab, host, status, site)
        with cpus.out_of_the_way(status.get("pinned_cpus"), status.get("generator_cpus")):
            yield Bench(
                lab, host, hold, ca, known, status.get("generator_cpus"), status.get("client_addresses") or (), site
            )


@contextmanager
def alone(lock: Path, experiment: str) -> Iterator[None]:
    """Hold the lock file of an experiment's folder while the block runs; LabError if another process measures into it."""
    make_folder(lock.parent)
    with open(lock, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise LabError(f"{by_whom(f'the experiment {experiment}', file.read())}; wait for it to end") from None
        file.truncate(0)
        file.write(who(f"experiment {experiment}"))
        file.flush()
        yield


def environment(lab: Lab, host: Host, status: dict[str, Any], site: Site = LAB) -> dict[str, Any]:
    """The machines, the versions and the site under test, as run.json keeps them."""
    count, memory_kib, model, governor, *_ = [*host.run(MACHINE).split("\n"), "", ""]
    here, power, one_computer = cpus.look(cpus.allowed()), cpus.power(), lab.kind == "container" or host.is_on_this_computer()
    return {
        "versions": stack.versions(host),
        "web": {"cpus": int(count), "memory_bytes": int(memory_kib) * 1024, "model": model, "governor": governor},
        "desk": {
            "os": platform.platform(), "python": platform.python_version(), "cpus": len(here),
            "memory_bytes": psutil.virtual_memory().total, "locust": version("locust"), **cpus.describe(here),
            "power": power,
        },
        "site": site.to_dict(),
        "lab": lab.name,
        "kind": lab.kind,
        "one_computer": one_computer,
        "notes": [*cpus.power_words(power), *_notes(lab.kind, one_computer, status.get("pinned_cpus"), governor)],
        "pinned_cpus": status.get("pinned_cpus"),
        "generator_cpus": status.get("generator_cpus"),
        "client_addresses": status.get("client_addresses") or [],
        "stacklab": code_version(ROOT),
        "commit": _commit(),
    }


def _notes(kind: str, one_computer: bool, pinned: Sequence[int] | None, governor: str) -> list[str]:
    """What one should know of where web host and load generator ran, a sentence each; no reason to doubt the run."""
    notes = []
    if one_computer and not pinned:
        notes.append("Web host and load generator were not kept on different cores.")
    if kind == "vagrant" and not one_computer:
        notes.append("Whether web and desk share physical cores cannot be seen from within them; only libvirt keeps them apart.")
    if not one_computer and governor == "powersave":
        notes.append("The web host's governor was powersave.")
    return notes


def _commit() -> str | None:
    """The commit of this checkout, "…-dirty" if files differ from it.

    None where it is no clone, or there is no git, or it only lies within somebody else's repository.
    """
    if shutil.which("git") is None:
        return None

    def say(*words: str) -> str:
        return subprocess.run(
            git(*words, folder=ROOT), env=own(**GIT), capture_output=True, text=True, errors="replace", check=False
        ).stdout.strip()

    top = say("rev-parse", "--show-toplevel")
    return say("describe", "--always", "--dirty") or None if top and Path(top).resolve() == ROOT else None


def measure(
    on: Bench,
    settings: StackSettings,
    workload: Workload,
    *,
    folder: Path = RESULTS / "adhoc",
    name: str | None = None,
    point: str = "",
    repeat: int = 1,
    position: int = 1,
    events: Sequence[Event] = (),
    progress: Callable[[Progress], None] | None = None,
) -> Run:
    """Apply `settings`, put `workload` on the stack, and save everything that was seen as one immutable Run.

    Chat begins with new processes (CHAT_BEGINS_WITH_NEW). What the site under test lacks is measured otherwise (`load_on`),
    and noted. The run goes to `folder`/`name` (by default results/adhoc/<time>). Raises ApplyError, LoadError,
    LabNotRunning; nothing is saved then.
    """
    workload, said = made_on(workload, on.site)
    on = on.noting(*said)
    if isinstance(workload, Look):
        return look_at(on, settings, workload, folder=folder, name=name, point=point, repeat=repeat, position=position)
    on.hold.take()
    applied = stack.apply(on.host, settings, anew=CHAT_BEGINS_WITH_NEW if isinstance(workload, ChatLoad) else ())
    with writing_run(folder, name) as draft:
        out = draft.path
        before = serverlog.mark(on.host)
        with sampling(on.host, out) as samples, Events(events, on.host, settings, progress) as happened:
            started_s = time.time()
            if isinstance(workload, PlanLoad):
                told = run_plan(workload, on.host.url, out, on.ca, cpus=on.generator_cpus, progress=happened.progress)
                on = on.noting(*told.pop("notes")).knowing(generator=versions_of([workload]), **told)
            else:
                run_load(
                    workload, on.host.url, out, on.ca, cpus=on.generator_cpus,
                    client_addresses=from_networks(on.client_addresses, workload), progress=happened.progress, site=on.site,
                )
            ended_s = time.time()
        serverlog.collect(on.host, before, out)
        problems = [*samples.problems, *on.bearing(happened.settings)]
        problems += [f"The load ended before this was to happen: {what}." for what in happened.missed]
        run = Run(
            path=out, settings=settings, workload=workload, observed=applied.observed, environment=on.environment,
            experiment=folder.name, run=draft.name, point=point, repeat=repeat, position=position,
            started_s=started_s, ended_s=ended_s, under_load_s=under_load_s(out, workload), events=happened.done,
            clock_offset_s=samples.clock_offset_s, clock_error_s=samples.clock_error_s,
        )
        draft.record(replace(run, validity=check(run, problems, calibration_for(on.environment, folder))))
    return draft.run


def under_load_s(out: Path, workload: Workload) -> float:
    """Seconds from the first request (warm-up included) or connection to the end of the last, as a summary tells it of wrk."""
    import pandas as pd

    if (out / "stated.parquet").is_file():
        stated = pd.read_parquet(out / "stated.parquet")
        return float(stated.loc[stated["quantity"] == "duration_s", "value"].max())
    if isinstance(workload, HttpLoad | PlanLoad):
        rows = pd.read_parquet(out / "requests.parquet", columns=["start_s", "duration_s"])
        return float((rows.start_s + rows.duration_s).max() - rows.start_s.min())
    rows = pd.read_parquet(out / "connections.parquet", columns=["connect_start_s", "end_s"])
    return float(rows.end_s.max() - rows.connect_start_s.min())


# ---------------------------------------------------------------- all the runs of an experiment


@dataclass(frozen=True)
class Estimate:
    """What an experiment will still take: runs (or blocks of slices), seconds, bytes on disk."""

    runs: int
    duration_s: float
    disk_bytes: int


def estimate(experiment: Experiment, root: Path = RESULTS, fresh: bool = False) -> Estimate:
    """How much is left to do (all of it, if it starts `fresh`), by the pace of earlier runs of the same point."""
    folder = root / experiment.name
    with warnings.catch_warnings():  # of runs that were cut off: they are about to be measured again. And the end tells of all
        warnings.simplefilter("ignore", UnfinishedRunWarning)
        warnings.simplefilter("ignore", DamagedRunWarning)
        known = {run.point: run.under_load_s for run in load_runs(folder)} if folder.is_dir() else {}
    if experiment.slice_s:
        blocks = sum(fresh or not _kept(folder, experiment, repeat) for repeat in range(1, experiment.repeats + 1))
        each_s = len(experiment.points) * (experiment.slice_s + experiment.guard_s + BETWEEN_SLICES_S)
        return Estimate(blocks, blocks * each_s, blocks * BYTES_PER_BLOCK)
    left = [planned for planned in experiment.plan() if fresh or not (folder / planned.name / RUN_FILE).exists()]
    seconds = sum(known.get(p.point.label) or guessed_s(p.point.workload) for p in left)
    disk = sum(BYTES_PER_RUN + BYTES_PER_REQUEST * rows_of(p.point.workload) for p in left)
    return Estimate(len(left), seconds + BETWEEN_RUNS_S * len(left), disk)


def guessed_s(workload: Workload) -> float:
    """Seconds under load, before anything was measured here."""
    if isinstance(workload, PlanLoad):
        seconds = workload.named().get("duration_s", "")
        return float(seconds) + PLAN_START_S if seconds.isdecimal() else PLAN_S
    if isinstance(workload, Look):
        return workload.rounds * TRIAL_S.get(workload.sight, LOOK_S)
    if isinstance(workload, ChatLoad):
        return workload.ramp_s + workload.duration_s
    per_s = workload.requests_per_s or GUESSED_REQUESTS_PER_S
    if workload.wait_s:
        per_s = min(per_s, workload.users / workload.wait_s)
    return workload.ramp_s + workload.warmup_s + workload.requests / per_s


def rows_of(workload: Workload) -> int:
    """About how many rows a run of it leaves (client's and server's)."""
    if isinstance(workload, PlanLoad):
        return PLAN_ROWS
    if isinstance(workload, Look):
        return workload.rounds
    if isinstance(workload, HttpLoad):
        return 2 * workload.requests
    receivers = sum(size**2 for size in workload.room_sizes()) / workload.clients  # of a message, on average
    burst = workload.burst_messages * workload.room_sizes()[0] if workload.burst_at_s is not None else 0
    comers = workload.churn_per_s * workload.duration_s
    return int(workload.clients + comers + workload.talkers * workload.messages_per_s * workload.duration_s * receivers + burst)


def run_experiment(
    experiment: Experiment,
    lab: Lab,
    root: Path = RESULTS,
    *,
    fresh: bool = False,
    on_run: Callable[[Planned, int, int], None] = lambda planned, number, total: None,
    on_block: Callable[[int], None] = lambda repeat: None,
    progress: Callable[[Progress], None] | None = None,
) -> list[Run]:
    """Measure every run of the plan that is not on disk yet; all runs of the experiment, old and new.

    Interrupted at any point, the next call goes on where it stopped; with `fresh` it starts over, and the runs
    so far are kept under another name. The settings that the host had before the experiment are back when it
    ends, also after an error; after a kill, when the next call ends. `on_run(planned, number, total)` is called
    before each run, `on_block(repeat)` after each block, when nothing is being measured. On somebody's own site it is
    measured as `on_site` has it. LabError if the folder holds another plan, or runs of another lab, site or versions, or the
    disk is too small.
    """
    experiment, _ = on_site(experiment, site_under(lab))
    folder = root / experiment.name
    with alone(root / ".bench" / f"{experiment.name}.lock", experiment.name):
        if fresh:
            set_aside(experiment.name, root)
        left = estimate(experiment, root)
        if left.runs or (lab and left_behind(lab)):
            require_disk(root, left.disk_bytes)
            with bench(lab, root, f"experiment {experiment.name}") as on:
                tools = versions_of(experiment.loads(PlanLoad)) or None  # of all of them: a run has those of its own
                open_plan(experiment, folder, on.lab.name, on.environment | {"generator": tools})
                with going_back(on.host):
                    _measure_all(experiment, folder, on.noting(*experiment.notes), on_run, on_block, progress)
    folders = {name for repeat in range(1, experiment.most_repeats + 1) for name in experiment.folders(repeat)}
    return [run for run in load_runs(folder) if run.path.name in folders]


def site_under(lab: Lab | None) -> Site:
    """The site under test in a lab; the lab's own where there is no lab that one could ask."""
    try:
        return stack.site_of(lab.web()) if lab else LAB
    except LabNotRunning:
        return LAB


def _measure_all(experiment, folder, on, on_run, on_block, progress) -> None:
    if experiment.slice_s:
        with slicing(on, experiment, folder, on_run) as slicer:
            for repeat in _blocks_to_measure(experiment, folder):
                slicer.block(repeat)
                on_block(repeat)
        return
    for repeat in _blocks_to_measure(experiment, folder):
        for planned in experiment.block(repeat):
            if (folder / planned.name / RUN_FILE).exists():
                continue
            each = len(experiment.points)
            on_run(planned, (repeat - 1) * each + planned.position, max(experiment.repeats, repeat) * each)
            measure(
                on, planned.point.settings, planned.point.workload, folder=folder, name=planned.name,
                point=planned.point.label, repeat=repeat, position=planned.position, events=planned.point.events,
                progress=progress,
            )
        on_block(repeat)


def _blocks_to_measure(experiment: Experiment, folder: Path) -> Iterator[int]:
    """The blocks that are not on disk, then some more in place of those that were disturbed: up to half as many again."""
    for repeat in range(1, experiment.most_repeats + 1):
        kept = [_kept(folder, experiment, earlier) for earlier in range(1, experiment.most_repeats + 1)]
        sound = sum(bool(runs) and all(run.validity.valid for run in runs) for runs in kept)
        if repeat > experiment.repeats and sound >= experiment.repeats:
            return
        if not kept[repeat - 1]:
            yield repeat


def _kept(folder: Path, experiment: Experiment, repeat: int) -> list[Run]:
    """The runs of a block, if all of it is on disk."""
    paths = [folder / name for name in experiment.folders(repeat)]
    return [read_run(path) for path in paths] if all((path / RUN_FILE).exists() for path in paths) else []
