"""`run_plan`: put somebody's JMeter plan on the site, and make its result file the table of a run.

JMeter is not part of the lab, and nothing else here needs Java: it is looked for, and asked for where it is not.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from stacklab.bench.load import GRACE_S, LOG_TAIL_LINES, SAMPLE_INTERVAL_S, STOP_S, Progress
from stacklab.errors import LoadError, ResultsError, SettingsError
from stacklab.files import ROOT, place
from stacklab.labs.cpus import allowed
from stacklab.surroundings import own
from stacklab.workload import PlanLoad

JAR = Path("bin", "ApacheJMeter.jar")
HEAP = "-Xmx512m"
NO_JMETER = (
    "there is no JMeter here: 'make jmeter' gets one and says its JMETER_HOME; or unpack Apache's (5.6) and name its folder so, "
    "or put its bin/ on the PATH"
)
NO_JAVA = "JMeter needs Java: install openjdk-17-jre-headless, or your Debian's default-jre-headless, or name one in JAVA_HOME"
SAY_VERSION = {"jmeter": "Implementation-Version: ", "java": r"java\.version = "}
# What the result file is to hold, whatever a user.properties says: what `stacklab.runs.foreign` reads times and failures from.
COLUMNS = ("timestamp_format=ms", "time=true", "label=true", "response_code=true", "response_message=true", "successful=true",
           "assertion_results_failure_message=true", "bytes=true", "output_format=csv", "print_field_names=true")  # fmt: skip


def find_jmeter(environment: Mapping[str, str] | None = None) -> list[str]:
    """The command of this computer's JMeter, without its arguments: that of JMETER_HOME, else of the PATH.

    LoadError, which says how to get one, if there is none, or no Java.
    """
    environment = os.environ if environment is None else environment
    path = environment.get("PATH")
    if home := environment.get("JMETER_HOME", "").strip():
        jar = place(home) / JAR
        if not jar.is_file():
            raise LoadError(f"JMETER_HOME={home} holds no {JAR}")
    else:
        script = shutil.which("jmeter", path=path)
        if script is None:
            raise LoadError(NO_JMETER)
        jar = Path(script).resolve().with_name(JAR.name)
        if not jar.is_file():
            raise LoadError(f"{script} is no JMeter that can be run here (no {JAR.name} beside it): {NO_JMETER}")
    java_home = environment.get("JAVA_HOME", "").strip()
    java = shutil.which("java", path=os.fspath(Path(java_home, "bin")) if java_home else path)
    if java is None:
        raise LoadError(NO_JAVA)
    return [java, HEAP, "-Djava.awt.headless=true", "-jar", os.fspath(jar.resolve())]


def versions() -> dict[str, str]:
    """The versions of this computer's JMeter and Java. LoadError where there is none, or one does not say its own."""
    java, *_, jar = find_jmeter()
    try:
        said = zipfile.ZipFile(jar).read("META-INF/MANIFEST.MF").decode(errors="replace")
        said += subprocess.run(
            [java, "-XshowSettings:properties", "-version"], env=own(), capture_output=True, text=True, errors="replace",
            check=True, timeout=GRACE_S,
        ).stderr  # fmt: skip
    except (OSError, KeyError, zipfile.BadZipFile, subprocess.SubprocessError) as error:
        raise LoadError(f"{jar}, by {java}, does not say its version ({error}): is it a JMeter that runs here?") from error
    found = {name: re.search(rf"^\s*{of}(\S+)", said, re.MULTILINE) for name, of in SAY_VERSION.items()}
    return {name: match[1] for name, match in found.items() if match}


def plan_load(file: str | Path, parameters: str = "") -> PlanLoad:
    """The load of the plan in `file`. SettingsError if that is no JMeter plan."""
    path = place(file).absolute()
    if path.suffix.lower() == ".py":
        raise SettingsError(f"{file}: a locustfile of one's own is not run, a JMeter plan (.jmx) is; 'fab http' is Locust's load")
    try:
        plan = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read ({error.strerror})") from error
    if b"<jmeterTestPlan" not in plan:
        raise SettingsError(f"{file}: is no JMeter plan (.jmx)")
    asked = PlanLoad(
        file=os.fspath(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path),
        sha256=hashlib.sha256(plan).hexdigest(), parameters=",".join(part.strip() for part in parameters.split(",")),
    )  # fmt: skip
    threads = asked.named().get("threads", "")
    return asked.replace(users=int(threads)) if re.fullmatch("[0-9]{1,9}", threads) else asked


def read_plan(workload: PlanLoad) -> bytes:
    """The plan of `workload`; LoadError if the file is not there, or is another by now."""
    try:
        plan = (ROOT / workload.file).read_bytes()
    except OSError as error:
        raise LoadError(f"{workload.file}: cannot be read ({error.strerror})") from error
    if hashlib.sha256(plan).hexdigest() != workload.sha256:
        raise LoadError(f"{workload.file} is another plan by now than this load was made of; begin anew with --fresh")
    return plan


def run_plan(
    workload: PlanLoad,
    url: str,
    out: Path,
    ca: Path,
    *,
    cpus: Sequence[int] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, list[str]]:
    """Run the plan against `url`, and write into the existing folder `out` what `run_load` writes of HTTP load.

    That is requests.parquet (a sample each; of transactions and the like apart.parquet), generator.parquet, jmeter.log; and
    plan.jmx, the plan itself. It is told host, port, scheme and ca, and what `workload` names; `cpus` pins it. JMeter is one
    process of many threads: generator_cpu_busiest is its share of the cores it may use, and how late it was nobody tells.
    Returns the `notes` of who read its result file, and what that `cannot_tell`.
    Errors: LoadError, with the end of JMeter's log, when the plan is another than was asked for, JMeter fails, or nothing was
    answered; what it wrote is kept, beside `out`, where it cannot be read. However this ends (on Linux also by the death of
    this process), no JMeter is left running.
    """
    plan = read_plan(workload)
    raw = out / "raw"
    shutil.rmtree(raw, ignore_errors=True)
    raw.mkdir()
    (out / "plan.jmx").write_bytes(plan)
    java, *words = find_jmeter()
    # Java's preferences lie in its user's home, which it takes from the list of users, not from HOME: that is where nothing is.
    home = os.fspath(raw.resolve())
    command = [*_bound(), java, f"-Duser.home={home}", *words, *_arguments(workload, url, out, ca)]
    samples: list[tuple[float, str, float]] = []
    process = None
    with open(out / "jmeter.out", "wb") as said:
        try:
            process = subprocess.Popen(
                command, cwd=raw, env=own(HOME=home), stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
            if cpus and hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(process.pid, cpus)
            _follow(process, raw / "run.jtl", samples, len(cpus or allowed()), progress)
        finally:
            if process:
                _stop(process)
            _write_gauges(samples, out)
    if process.returncode:
        raise LoadError(f"JMeter ended with exit code {process.returncode}", log=_log_tail(out))
    told = _write_rows(raw / "run.jtl", out)
    shutil.rmtree(raw)
    return told


def _bound() -> list[str]:
    """What has a command end with the process that started it, where there is such."""
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


def _arguments(workload: PlanLoad, url: str, out: Path, ca: Path) -> list[str]:
    site, here = urlsplit(url), out.resolve()
    told = {
        "host": site.hostname, "port": site.port or {"https": 443, "http": 80}[site.scheme], "scheme": site.scheme,
        "ca": ca.resolve(), **workload.named(),
    }  # fmt: skip
    files = ["-n", "-f", "-t", ROOT / workload.file, "-l", here / "raw" / "run.jtl", "-j", here / "jmeter.log"]
    saved = [f"-Jjmeter.save.saveservice.{column}" for column in COLUMNS]
    return [os.fspath(word) for word in files] + saved + [f"-J{name}={value}" for name, value in told.items()]


def _follow(process, results: Path, samples: list, cores: int, progress) -> None:
    """Until it has ended: sample its CPU and memory, count the rows of its file."""
    seen, before = psutil.Process(process.pid), None
    rows = failed = at = 0
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
            at, rows, failed = at + len(more), rows + more.count(b"\n"), failed + more.count(b",false,")
        if progress and rows > 1:
            done = rows - 1  # without the names; how many there will be, only the plan knows
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


def _write_rows(results: Path, out: Path) -> dict[str, list[str]]:
    """What JMeter wrote → requests.parquet and apart.parquet; its `notes`, and what it `cannot_tell`."""
    import pyarrow as pa
    import pyarrow.parquet

    from stacklab.runs.foreign import read
    from stacklab.runs.results import PARTIAL_PREFIX
    from stacklab.runs.tables import SCHEMAS, write_table

    if not results.is_file() or results.read_bytes().count(b"\n") < 2:
        raise LoadError("JMeter made no sample: is there a thread group in the plan that is enabled?", log=_log_tail(out))
    try:
        (run,) = read(results, is_one_run=True)
    except ResultsError as error:
        kept = out.parent / f"{out.name.removeprefix(PARTIAL_PREFIX)}.jtl"  # where no later run clears it away
        results.replace(kept)
        raise LoadError(f"what JMeter wrote cannot be read, and is kept as {kept} ({error})", log=_log_tail(out)) from error
    for name, samples in run.held.items():
        table = pa.concat_tables(part.cast(SCHEMAS[name]) for part in samples.tables())
        write_table(table.sort_by("start_s"), out / f"{name}.parquet")
    _check_answers(pyarrow.parquet.read_table(out / "requests.parquet"), out)
    return {name: run.environment[name] for name in ("notes", "cannot_tell")}


def _check_answers(table, out: Path) -> None:
    """LoadError unless something was answered."""
    rows = table.select(["status", "error"]).to_pandas()
    if rows["error"].notna().all() and rows["status"].isna().all():
        error = rows["error"].value_counts().index[0]
        raise LoadError(f"not one request was answered: {error}. Is the stack up, and is the CA this lab's?", log=_log_tail(out))


def _log_tail(out: Path) -> str:
    """The last lines of JMeter's log, or of what it said before it had one."""
    for name in ("jmeter.log", "jmeter.out"):
        if (out / name).is_file() and (text := (out / name).read_text(encoding="utf-8", errors="replace").strip()):
            return "\n".join(text.splitlines()[-LOG_TAIL_LINES:])
    return ""
