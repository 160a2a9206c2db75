"""`run_plan`: put the load of somebody's own plan on the site, by its tool, and make what that wrote the tables of a run."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from stacklab import visits
from stacklab.bench.load import LOG_TAIL_LINES, SAMPLE_INTERVAL_S, STOP_S, Progress
from stacklab.bench.tools import TOOLS, VISITS_END, Job, Tool, tool_of
from stacklab.errors import LoadError, ResultsError, SettingsError
from stacklab.files import ROOT, place
from stacklab.labs.cpus import allowed
from stacklab.surroundings import own
from stacklab.workload import PLAN_TOOLS, PlanLoad

CONNECTS_WITHIN_S = 15.0
MOST_WARNINGS = 5  # of the tool's, that a run notes
IS_IT_UP = "Is the stack up, and is the CA this lab's?"
TOLD_OF = ("notes", "cannot_tell", "percentile")  # what a run's environment has of what its tool wrote


def plan_load(file: str | Path, parameters: str = "", warmup_s: float | None = None) -> PlanLoad:
    """The load of the plan in `file`. SettingsError if that is no plan of a tool that is known."""
    path = place(file).absolute()
    suffix = path.suffix.lower()
    if suffix not in PLAN_TOOLS:
        known = ", ".join(f"{end} ({tool})" for end, tool in PLAN_TOOLS.items())
        raise SettingsError(f"{file}: is no plan that is run here, which end in {known}")
    try:
        plan = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read ({error.strerror})") from error
    tool = TOOLS[PLAN_TOOLS[suffix]]
    if suffix == VISITS_END:
        _check_visits(file, plan)
    elif not any(mark in plan for mark in tool.marks):
        raise SettingsError(f"{file}: is no plan of {tool.name} ({suffix}): nothing in it says {tool.marks[0].decode()}")
    if tool.name == "Locust" and "," in os.fspath(path):
        raise SettingsError(f"{path}: has a comma in it, at which Locust ends the name of a file; call it otherwise")
    asked = PlanLoad(
        file=os.fspath(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path),
        sha256=hashlib.sha256(plan).hexdigest(), parameters=",".join(part.strip() for part in parameters.split(",")),
    )  # fmt: skip
    named = asked.named()
    users = named.get("users", named.get("threads", ""))
    changes = {"users": int(users)} if re.fullmatch("[0-9]{1,9}", users) else {}
    return asked.replace(**changes, **({} if warmup_s is None else {"warmup_s": warmup_s}))


def _check_visits(file: str | Path, plan: bytes) -> None:
    try:
        visits.parse(plan.decode("utf-8-sig"))
    except (UnicodeDecodeError, SettingsError) as error:
        raise SettingsError(f"{file}: {error}") from error


def read_plan(workload: PlanLoad) -> bytes:
    """The plan of `workload`; LoadError if the file is not there, or is another by now."""
    try:
        plan = (ROOT / workload.file).read_bytes()
    except OSError as error:
        raise LoadError(f"{workload.file}: cannot be read ({error.strerror})") from error
    if hashlib.sha256(plan).hexdigest() != workload.sha256:
        raise LoadError(f"{workload.file} is another plan by now than this load was made of; begin anew with --fresh")
    return plan


def verify(url: str, ca: Path) -> None:
    """LoadError unless the site has a certificate of the CA, for its name: wrk, and JMeter by itself, take any."""
    site = urlsplit(url)
    if site.scheme != "https":
        return
    try:
        tls = ssl.create_default_context(cafile=ca)
        with socket.create_connection((site.hostname, site.port or 443), CONNECTS_WITHIN_S) as plain:
            tls.wrap_socket(plain, server_hostname=site.hostname).close()
    except OSError as error:
        raise LoadError(f"{url} shows no certificate of the CA: {error}. {IS_IT_UP}") from error


def run_plan(
    workload: PlanLoad,
    url: str,
    out: Path,
    ca: Path,
    *,
    cpus: Sequence[int] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Run the plan against `url`, and write into the existing folder `out` what `run_load` writes of HTTP load.

    That is requests.parquet (a sample each; of transactions and the like apart.parquet), or stated.parquet of a tool that
    tells no samples; generator.parquet; what the tool said; and the plan itself. Samples of the first `warmup_s` seconds are not
    counted. The plan is told url, host, port, scheme and ca, and what `workload` names; `cpus` pins its tool. Of a tool of many
    threads generator_cpu_busiest is its share of the cores it may use; how late it was nobody tells.
    Returns what its results say of themselves: TOLD_OF.
    Errors: LoadError, with the end of the tool's log, when the plan is another than was asked for, the tool fails, or nothing
    was answered; what it wrote is kept, beside `out`, where it cannot be read. However this ends (on Linux also by the death of
    this process), the tool is not left running.
    """
    tool, plan = tool_of(workload), read_plan(workload)
    found = tool.found()
    verify(url, ca)
    raw = (out / "raw").resolve()
    shutil.rmtree(raw, ignore_errors=True)
    raw.mkdir()
    (out / f"plan{Path(workload.file).suffix}").write_bytes(plan)
    job = Job(workload, url, ca.resolve(), raw)
    said = out / f"{tool.name.lower()}.out"
    results = raw / tool.results if tool.results else said
    samples: list[tuple[float, str, float]] = []
    process = None
    with open(said, "wb") as file:
        try:
            process = subprocess.Popen(
                [*_bound(), *tool.command(found, job)], cwd=raw, env=own(HOME=os.fspath(raw), **tool.variables(job)),
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            if cpus and hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(process.pid, cpus)
            cores = 1 if tool.is_one_thread else len(cpus or allowed())
            _follow(process, tool, results, samples, cores, progress)
        finally:
            if process:
                _stop(process)
            _write_gauges(samples, out)
    if process.returncode not in tool.fine:
        raise _error(tool, out, f"{tool.name} ended with exit code {process.returncode}")
    told = _write_rows(workload, results, out)
    shutil.rmtree(raw)
    return told


def _bound() -> list[str]:
    """What has a command end with the process that started it, where there is such."""
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


def _follow(process, tool: Tool, results: Path, samples: list, cores: int, progress) -> None:
    """Until it has ended: sample its CPU and memory, count the rows of its file."""
    seen, before = psutil.Process(process.pid), None
    done = failed = at = 0
    began_s = 0.0
    while process.poll() is None:
        time.sleep(SAMPLE_INTERVAL_S)
        try:
            now, used_s, rss_bytes = time.time(), sum(seen.cpu_times()[:2]), seen.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        if before and rss_bytes:
            share = (used_s - before[1]) / (now - before[0])
            samples += [(now, "generator_cpu", share), (now, "generator_cpu_busiest", share / cores)]
            samples.append((now, "generator_rss_bytes", float(rss_bytes)))
        before = now, used_s
        if results.is_file():
            began_s = began_s or time.monotonic() - SAMPLE_INTERVAL_S
            with open(results, "rb") as file:
                file.seek(at)
                more = file.read()
            rows, bad = tool.seen(more)
            at, done, failed = at + len(more), done + rows, failed + bad
        if progress and done:  # how many there will be, only the plan knows
            progress(Progress(done, done, done / (time.monotonic() - began_s), failed, None, "load"))


def _stop(process: subprocess.Popen) -> None:
    """End it and what it started, gently, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                continue


def _write_gauges(samples: Sequence[tuple[float, str, float]], out: Path) -> None:
    from stacklab.runs import rows  # it loads pyarrow, which those who only import this module need not wait for

    rows.write_gauges(samples, out / "generator.parquet")


def _write_rows(workload: PlanLoad, results: Path, out: Path) -> dict[str, Any]:
    """What the tool wrote → requests.parquet and apart.parquet, or stated.parquet; and what there is to say of it."""
    import pyarrow as pa

    from stacklab.runs.foreign import read
    from stacklab.runs.results import PARTIAL_PREFIX
    from stacklab.runs.tables import write_table

    tool = tool_of(workload)
    if tool.results and not (results.is_file() and tool.seen(_beginning(results))[0]):
        raise _error(tool, out, f"{tool.name} made no sample: is there anything in the plan that asks for a page?")
    try:
        (run,) = read(results, is_one_run=True)
    except ResultsError as error:
        kept = out.parent / f"{out.name.removeprefix(PARTIAL_PREFIX)}{results.suffix}"  # where no later run clears it away
        shutil.move(results, kept)
        raise _error(tool, out, f"what {tool.name} wrote cannot be read, and is kept as {kept} ({error})") from error
    told = {name: run.environment[name] for name in TOLD_OF if name in run.environment}
    told["notes"] = [*told.get("notes", ()), *_warnings(tool, out)]
    for name, held in run.held.items():
        if isinstance(held, pa.Table):
            _check_summary(held, tool, out)
            write_table(held, out / f"{name}.parquet")
            told["notes"] = [*told["notes"], f"{tool.name} tells no samples, so its first seconds are counted too."]
            continue
        table = _from(pa.concat_tables(held.tables()), workload.warmup_s, run.started_s)
        if name == "requests":
            _check_answers(table, workload, out)
        write_table(table, out / f"{name}.parquet")
    return told


def _warnings(tool: Tool, out: Path) -> list[str]:
    """What the tool warned of, each once, the first few."""
    if tool.warning is None:
        return []
    said = (out / f"{tool.name.lower()}.out").read_text(encoding="utf-8", errors="replace")
    told = [f"{tool.name}: {words}" for words in dict.fromkeys(re.findall(tool.warning, said))]
    more = len(told) - MOST_WARNINGS
    return [*told[:MOST_WARNINGS], *([f"{tool.name} warned of {more} things more, which stand in its log"] if more > 0 else [])]


def _beginning(results: Path) -> bytes:
    with open(results, "rb") as file:
        return file.read(1 << 20)


def _from(table, warmup_s: float, started_s: float | None):
    """The samples by their start; those of the first seconds do not count."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from stacklab.runs.tables import SCHEMAS

    table = table.unify_dictionaries().cast(SCHEMAS["requests"]).sort_by("start_s")
    if started_s is None or not warmup_s:
        return table
    early = pc.less(table["start_s"], pa.scalar(started_s + warmup_s))
    return table.set_column(table.schema.get_field_index("warmup"), "warmup", early)


def _check_answers(table, workload: PlanLoad, out: Path) -> None:
    """LoadError unless something was answered, and something counts."""
    tool, rows = tool_of(workload), table.select(["status", "error", "warmup"]).to_pandas()
    if rows["error"].notna().all() and (rows["status"].isna() | (rows["status"] == 0)).all():
        error = rows["error"].value_counts().index[0]
        raise _error(tool, out, f"not one request was answered: {error}. {IS_IT_UP}")
    if rows["warmup"].all():
        raise LoadError(
            f"{workload.file} asked for nothing after its first {workload.warmup_s:g} s, which are not counted: have it ask for "
            "longer, or give --warmup-s 0"
        )


def _check_summary(table, tool: Tool, out: Path) -> None:
    told = {row["quantity"]: row["value"] for row in table.to_pylist() if row["name"] is None}
    if not told.get("samples"):
        raise _error(tool, out, f"not one request was answered. {IS_IT_UP}")


def _error(tool: Tool, out: Path, words: str) -> LoadError:
    """One with the last lines of the tool's log, or of what it printed."""
    said = ""
    for file in (out / f"{tool.name.lower()}{end}" for end in (".out", ".log")):
        if file.is_file() and (text := file.read_text(encoding="utf-8", errors="replace").strip()):
            said = "\n".join(text.splitlines()[-LOG_TAIL_LINES:])
    return LoadError(words, log=said)
