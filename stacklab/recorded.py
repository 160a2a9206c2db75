"""What a lesson asks of a lab: of one that is up (`Live`), and kept meanwhile (`Recording`), or of what was kept (`Replay`).

A recording is a folder: told.json, a list of {"of", "asked", "under", "told"}, and runs/, which its runs are in. `under` are
the settings in force, as far as they are not the defaults: what is told of one setting is never told of another.
"""

from __future__ import annotations

import io
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow
import pyarrow.parquet

from stacklab import console, notebook, stack, tasks
from stacklab.bench import comparison
from stacklab.bench.onsite import on_site
from stacklab.bench.plan import Experiment, Point
from stacklab.errors import LabError
from stacklab.files import ROOT, make_folder
from stacklab.labs import Lab
from stacklab.runs import load_runs
from stacklab.runs.results import Run
from stacklab.runs.sums import write_sums
from stacklab.settings import StackSettings
from stacklab.stack import Applied
from stacklab.stack.processes import processes
from stacklab.study.paired import MetricVerdict

RECORDED = ROOT / "notebooks" / "recorded"
TOLD = "told.json"
KEPT = (".json", ".jsonl")  # of a run, beside its tables; its logs stay where it was measured


class Live:
    """A lab that is up. Each method is what the task of that name does, and gives back what it found."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.host = lab.web()

    def ask(self, of: str, **asked: Any) -> Any:
        """What the method `of` finds."""
        return getattr(self, of)(**asked)

    def status(self) -> str:
        with redirect_stdout(io.StringIO()) as said:
            tasks.status()
        return said.getvalue()

    def settings(self) -> StackSettings:
        return stack.current(self.host)

    def defaults(self) -> StackSettings:
        return stack.fitting(StackSettings(), stack.site_of(self.host))

    def apply(self, settings: StackSettings) -> Applied:
        with redirect_stdout(io.StringIO()):  # a lesson shows it in its own way
            return tasks.apply_on(self.lab, settings, stack.current(self.host))

    def processes(self) -> pd.DataFrame:
        return processes(self.host)

    def observe(self) -> dict[str, Any]:
        return stack.observe(self.host)

    def where_to_chat(self) -> str:
        return notebook.where_to_chat(self.host)

    def shell(self, command: str) -> str:
        return self.host.run(command, sudo=True)

    def http(self, point: str, load: Mapping[str, Any]) -> Run:
        return tasks.http(point=point, **load)

    def chat(self, point: str, load: Mapping[str, Any]) -> Run:
        return tasks.chat(point=point, **load)

    def experiment(self, plan: Experiment) -> list[Run]:
        made, said = on_site(plan, stack.site_of(self.host))
        print("".join(f"{line}\n" for line in said), end="")
        return console.measure_plan(made, self.lab, fresh=False)

    def compare(self, a: Point, b: Point, budget_s: float, on_block: Callable[[Any], None]) -> comparison.Comparison:
        return comparison.compare(a, b, self.lab, budget_s=budget_s, on_block=on_block)


# ---------------------------------------------------------------- how what is told stands in a file


class Form(NamedTuple):
    """How what is told is written down, and read again. `folder` is the recording's."""

    written: Callable[[Any, Path], Any]
    read: Callable[[Any, Path], Any]


def _kept_runs(runs: list[Run], folder: Path) -> list[str]:
    """Copies of the runs' folders in the recording, without their logs; their names there."""
    places = sorted({(run.whole or run).path for run in runs})
    names = []
    for place in places:
        name = f"{place.parent.name}/{place.name}"
        target = folder / "runs" / name
        if not target.exists():
            target.mkdir(parents=True)
            for file in place.iterdir():
                if file.suffix == ".parquet":
                    _written_small(file, target / file.name)
                elif file.suffix == ".json":
                    (target / file.name).write_text(_compact(json.loads(file.read_text())))
                elif file.suffix in KEPT:
                    shutil.copy(file, target)
            write_sums(target)
        names.append(name)
    return names


def _compact(value: Any) -> str:
    """JSON on one line: nobody reads a recording by eye, and in the history each of its lines would count."""
    return json.dumps(value, separators=(",", ":")) + "\n"


def _written_small(file: Path, target: Path) -> None:
    """The same table in less room: a run is written quickly, a recording is shipped."""
    table = pyarrow.parquet.read_table(file)
    decimal = [column.name for column in table.schema if pyarrow.types.is_floating(column.type)]
    pyarrow.parquet.write_table(
        table, target, compression="zstd", compression_level=15, use_byte_stream_split=decimal,
        use_dictionary=[name for name in table.column_names if name not in decimal], write_page_checksum=True,
    )  # fmt: skip


def _runs(names: list[str], folder: Path) -> list[Run]:
    runs = [run for name in names for run in load_runs(folder / "runs" / name)]
    if not runs:
        raise LabError(f"the recording's runs in {folder / 'runs'} are damaged or gone: {', '.join(names)}")
    return runs


def _compared(told: dict[str, Any], folder: Path) -> comparison.Comparison:
    verdicts = tuple(MetricVerdict(**verdict) for verdict in told["metrics"])
    return comparison.Comparison(**told | {"metrics": verdicts, "path": Path(told["path"]), "each": tuple(told["each"])})


WHATEVER_IS_SET = ("experiment", "compare", "observe")  # the first two bring settings of their own
PLAIN = Form(lambda told, folder: told, lambda told, folder: told)
FORMS = {
    "apply": Form(lambda told, folder: told.to_dict(), lambda told, folder: Applied(**told)),
    "processes": Form(lambda told, folder: told.to_dict("list"), lambda told, folder: pd.DataFrame(told)),
    "http": Form(lambda told, folder: _kept_runs([told], folder), lambda told, folder: _runs(told, folder)[0]),
    "chat": Form(lambda told, folder: _kept_runs([told], folder), lambda told, folder: _runs(told, folder)[0]),
    "experiment": Form(_kept_runs, _runs),
    "compare": Form(
        lambda told, folder: asdict(told) | {"path": told.path.name, "calibration": None}, _compared
    ),
    "status": PLAIN,
    "observe": PLAIN,
    "where_to_chat": PLAIN,
    "shell": PLAIN,
}  # fmt: skip


def asked_in_words(of: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What tells one question from another, in JSON's types."""
    if of == "experiment":  # a recording has it at one size
        return {"plan": asked["plan"].name.removesuffix("-quick")}
    if of == "compare":
        return {
            side: {"label": asked[side].label, **changed(asked[side].settings), **asked[side].workload.to_dict()} for side in "ab"
        }
    if of == "apply":
        return {"settings": changed(asked["settings"])}
    return json.loads(json.dumps(asked))


def changed(settings: StackSettings) -> dict[str, Any]:
    """The settings that are not the defaults."""
    defaults = StackSettings().to_dict()
    return {name: value for name, value in settings.to_dict().items() if value != defaults[name]}


class Recording:
    """A live lab, whose answers are kept in `folder` as they are given, in the place of what was there."""

    def __init__(self, live: Live, folder: Path) -> None:
        self._live, self._folder = live, folder
        self._told: list[dict[str, Any]] = []
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)

    def ask(self, of: str, **asked: Any) -> Any:
        """What the live lab tells."""
        under = changed(self._live.settings())
        told = self._live.ask(of, **asked)
        if of not in FORMS:  # which a replay knows by itself
            return told
        entry = {"of": of, "asked": asked_in_words(of, asked), "under": under, "told": FORMS[of].written(told, self._folder)}
        self._told.append(json.loads(json.dumps(entry)))
        (self._folder / TOLD).write_text(_compact({"told": self._told}))
        return told


class Replay:
    """What a recording tells: asked the same under the same settings, the same; what was measured several times, in turn.

    LabError, which says what there is, for what was never asked when it was recorded.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            self._told = json.loads((folder / TOLD).read_text())["told"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LabError(
                f"there is no recording of this lesson ({folder / TOLD}: {error}); without STACKLAB_REPLAY=1 it measures"
            ) from error
        self._times: Counter[str] = Counter()
        self._settings = StackSettings()

    def ask(self, of: str, **asked: Any) -> Any:
        """What was told when it was recorded."""
        if of == "settings":
            return self._settings
        if of == "defaults":
            return StackSettings()
        words = asked_in_words(of, asked)
        under = changed(self._settings)
        there = [entry for entry in self._told if entry["of"] == of]
        fits = [
            entry["told"] for entry in there if entry["asked"] == words and (of in WHATEVER_IS_SET or entry["under"] == under)
        ]
        if of == "apply":
            if not fits and words["settings"]:  # back to the defaults one may always go
                raise self._lacks(of, words, under)
            self._settings = asked["settings"]
            return FORMS[of].read(fits[0], self._folder) if fits else Applied()
        if not fits:
            raise self._lacks(of, words, under)
        key = json.dumps([of, words, under], sort_keys=True)
        told = FORMS[of].read(fits[self._times[key] % len(fits)], self._folder)
        self._times[key] += 1
        if of == "experiment":
            self._check(asked["plan"], told)
        return told

    def _lacks(self, of: str, words: Mapping[str, Any], under: Mapping[str, Any]) -> LabError:
        known = (
            "; ".join(sorted({_said(entry["asked"], entry["under"]) for entry in self._told if entry["of"] == of})) or "nothing"
        )
        return LabError(f"this lesson is a recording, and it has no {of} with {_said(words, under)}. It has: {known}")

    def _check(self, plan: Experiment, runs: list[Run]) -> None:
        """LabError where a point of the plan was recorded with other settings, or, at the same size, under another load."""
        for run in runs:
            for point in plan.points:
                same_size = plan.name == run.experiment
                if point.label == run.point and (
                    point.settings != run.settings or (same_size and point.workload != run.workload)
                ):
                    raise LabError(
                        f"this lesson is a recording, and in it {point.label!r} of {run.experiment} was another; {run.settings}"
                    )


def _said(asked: Mapping[str, Any], under: Mapping[str, Any]) -> str:
    def words(values: Mapping[str, Any]) -> str:
        flat = [
            pair for name, value in values.items() for pair in (value.items() if isinstance(value, Mapping) else [(name, value)])
        ]
        return ", ".join(f"{name}={value}" for name, value in flat if value != "") or "the defaults"

    return f"{words(asked)}, under {words(under)}" if under else words(asked)
