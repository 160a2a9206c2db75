"""A lesson: what a notebook does with a lab, cell by cell, and what was predicted of it.

`begin` gives the lesson. With STACKLAB_REPLAY=1 nothing is measured: each cell shows what was recorded of a real lab
(`notebooks/recorded/`), and says so. With STACKLAB_RECORD=1 a live lesson is kept there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stacklab import console, lesson_words, notebook, onpage, show
from stacklab.bench.comparison import Comparison
from stacklab.bench.plan import Experiment, Point
from stacklab.errors import LabError
from stacklab.files import RESULTS, make_folder, write_json
from stacklab.predictions import Predictions, score
from stacklab.recorded import RECORDED, Live, Recording, Replay
from stacklab.runs import load_runs
from stacklab.runs.results import Run
from stacklab.settings import StackSettings
from stacklab.study import CLAIMS, judge, stack_diagram
from stacklab.study.paired import UNDECIDED
from stacklab.study.verdicts import NOT_TESTED
from stacklab.study.words import NOTHING, judgement_words, number, when

KEPT = RESULTS / "lessons"
BY_ID = {claim.id: claim for claim in CLAIMS}


def begin(name: str, language: str = "en", *, asks: Sequence[str] = (), chats: bool = False) -> Lesson:
    """The lesson `name`, its lab at the default settings; `end` goes back to those that were found.

    `asks`: the pages of the lab's own that it asks for. `chats`: whether it puts a chat under load. LabError, before anything
    is changed, where the lab is not up or the site under test cannot be asked so; or where there is no recording to replay.
    """
    if os.environ.get("STACKLAB_REPLAY") == "1":
        notebook.show_here()
        plt.rcParams["figure.hooks"] = ["stacklab.lesson:mark_recorded"]
        lesson = Lesson(name, language, Replay(RECORDED / name).ask)
        lesson.say("replayed")
        return lesson
    lab, _ = notebook.begin(asks, chats)
    live = Live(lab)
    if os.environ.get("STACKLAB_RECORD") != "1":
        return Lesson(name, language, live.ask, KEPT / f"found-{lab.name}.json")
    live.apply(live.defaults())  # where a replay begins too
    return Lesson(name, language, Recording(live, RECORDED / name).ask)


def mark_recorded(figure: Figure) -> None:
    """Write on a picture that it was recorded: Matplotlib calls this for each new one."""
    figure.text(0.998, 0.002, "recorded", ha="right", va="bottom", fontsize=8, color="#B04A00")


class Lesson:
    """A lesson under way. `ask(of, **asked)` is whom it asks: a lab, or a recording."""

    def __init__(self, name: str, language: str, ask: Any, found_file: Path | None = None) -> None:
        self.name, self.language, self._ask, self._found_file = name, language, ask, found_file
        self.predictions = Predictions(KEPT / (f"{name}-replayed.json" if self.replays else f"{name}.json"))
        self._asked: set[str] = set()  # questions without a prediction yet
        self._found = self._settings_found()
        self.reset()

    # ------------------------------------------------------------ words

    def words(self, key: str, **values: Any) -> str:
        """A sentence of the lesson's own, in its language."""
        return lesson_words.WORDS[self.language][key].format(**values)

    def say(self, key: str, **values: Any) -> None:
        """Show such a sentence."""
        notebook.say(self.words(key, **values))

    # ------------------------------------------------------------ the lab

    def _settings_found(self) -> StackSettings:
        """Those in force now; or, where these are what a lesson left that never came to its end, those that it had found."""
        now = self._ask("settings")
        if self._found_file is not None:
            with suppress(OSError, ValueError, LabError, KeyError, TypeError, AttributeError):
                kept = json.loads(self._found_file.read_text())
                if kept["left"] == now.to_dict():
                    return StackSettings.from_dict(kept["found"])
        return now

    def _apply(self, settings: StackSettings) -> Any:
        """What the change did; None where there was nothing to change. What a lesson leaves is noted beside what it found."""
        if settings == self._ask("settings"):
            return None
        applied = self._ask("apply", settings=settings)
        if self._found_file is not None:
            with suppress(OSError):  # a disk that is full or read-only: then a killed kernel's settings stay
                make_folder(self._found_file.parent)
                write_json(self._found_file, {"found": self._found.to_dict(), "left": settings.to_dict()})
        return applied

    @property
    def settings(self) -> StackSettings:
        """The settings in force."""
        return self._ask("settings")

    def status(self) -> None:
        """What the services say of themselves, beside what was asked of them: `fab status`."""
        print(self._ask("status"), end="")

    def set(self, **changes: Any) -> None:
        """Change the settings named and keep the rest, as `fab set` does; show what became of the files."""
        applied = self._apply(self.settings.replace(**changes))
        if applied is None:
            self.say("nothing_to_change")
        else:
            notebook.show_change(applied)

    def reset(self) -> None:
        """The default settings again: `fab reset`."""
        self._apply(self._ask("defaults"))

    def end(self) -> None:
        """Back to the settings that the lesson found."""
        applied = self._apply(self._found)
        if self._found_file is not None:
            with suppress(OSError):
                self._found_file.unlink(missing_ok=True)
        if applied is None:
            self.say("as_found")
        else:
            notebook.show_change(applied)

    def processes(self) -> pd.DataFrame:
        """The processes of the stack, a row each."""
        return self._ask("processes")

    def diagram(self, before: pd.DataFrame | None = None) -> Axes:
        """The stack as it stands now; processes that were not there `before` stand out."""
        return stack_diagram(self.processes(), before=before)

    @property
    def cpus(self) -> int:
        """How many CPUs the web host may use."""
        return self._ask("observe")["cpus"]

    def say_where_to_chat(self) -> None:
        """The address of the chat's page, where there is one to open."""
        if self.replays:
            self.say("no_chat_here")
        else:
            notebook.say(self._ask("where_to_chat"))

    def shell(self, command: str) -> None:
        """What a command on the web host prints."""
        print(self._ask("shell", command=command), end="")

    # ------------------------------------------------------------ measuring

    def http(self, point: str = "", **load: Any) -> Run:
        """HTTP load on the stack as it is set: `fab http`."""
        self._measures()
        return self._shown(self._ask("http", point=point, load=load))

    def chat(self, point: str = "", **load: Any) -> Run:
        """Chat load on the stack as it is set: `fab chat`."""
        self._measures()
        return self._shown(self._ask("chat", point=point, load=load))

    def _shown(self, run: Run) -> Run:
        if self.replays:  # without the place of a folder that is the recording's
            print(console.run_text(run).replace(f"\n{run.path}", ""))
        return run

    def experiment(self, plan: Experiment) -> list[Run]:
        """Measure what is not measured yet of an experiment: `fab experiment`. All its runs."""
        self._measures()
        runs = self._ask("experiment", plan=plan)
        if self.on_page:
            display(HTML(onpage.figure(runs)))
        return runs

    def compare(self, a: Point, b: Point, budget_s: float) -> Comparison:
        """Measure two points in turn until it is decided which is better, or the budget is over: `fab compare`."""
        self._measures()
        drawing = notebook.closing()
        answer = self._ask("compare", a=a, b=b, budget_s=budget_s, on_block=drawing)
        if self.replays:
            drawing(answer)
        said = show.comparison_text(answer)
        print(said.rsplit("\n", 2)[0] if self.replays else said)  # of a recording neither machine nor folder is here
        return answer

    def _measures(self) -> None:
        """What was asked and not predicted until now is late: the measurement begins to show."""
        for question in self._asked:
            self.predictions.shown(question)
        self._asked.clear()

    @property
    def replays(self) -> bool:
        """Whether all of it is a recording."""
        return os.environ.get("STACKLAB_REPLAY") == "1"

    @property
    def on_page(self) -> bool:
        """Whether it becomes a page of the course, where nobody runs a cell."""
        return self.replays and os.environ.get("STACKLAB_PAGE") == "1"

    # ------------------------------------------------------------ predictions

    def predict(self, question: str, answers: Mapping[str, Any], choices: Sequence[str] = ()) -> None:
        """Seal what the reader predicts: `answers`, numbers or, where there are `choices`, one of these; or ask for it in a form.

        The first complete prediction counts. LabError, which names the answer, where it is of the wrong kind.
        """
        if self.on_page:
            display(HTML(onpage.prediction(question, list(answers), choices)))
            return
        if not self._sealed(question, answers, choices):
            self.say("no_prediction")
            self._asked.add(question)
            seal = notebook.form(
                answers, choices, self.words("seal"),
                lambda given: self._sealed(question, given, choices) or self.say("one_is_missing"),
            )  # fmt: skip
            display(seal)

    def _sealed(self, question: str, answers: Mapping[str, Any], choices: Sequence[str]) -> bool:
        """Seal it, and say so; False while an answer is missing."""
        sealed = self.predictions.seal(question, answers, choices)
        if sealed is None:
            return False
        self._asked.discard(question)
        said = "; ".join(f"{what}: **{show.value(answer)}**" for what, answer in sealed.answers.items())
        self.say("sealed_late" if sealed.late else "sealed", said=said)
        return True

    def predict_anew(self) -> None:
        """Forget what was predicted in this lesson, for the next reader."""
        self.predictions.forget()

    def score(self, question: str, measured: Mapping[str, Any]) -> None:
        """The prediction beside what was measured: for each answer a number, (estimate, low, high), or a word."""
        if self.on_page:
            display(HTML(onpage.scored(question, measured)))
            return
        sealed = self.predictions.of(question)
        self.predictions.shown(question)
        answers = dict.fromkeys(measured) | (dict(sealed.answers) if sealed else {})
        rows = score(answers, measured)
        shown = {
            self.words("what"): rows["what"],
            self.words("predicted"): rows["predicted"].map(_figure),
            self.words("measured"): [_interval(row) for row in rows.itertuples()],
        }
        if sealed:
            shown[self.words("how_near")] = [self._nearness(row) for row in rows.itertuples()]
        display(notebook.table(pd.DataFrame(shown)))
        if not sealed:
            self.say("not_predicted")

    def _nearness(self, row: Any) -> str:
        if row.hit:
            return self.words("hit")
        return self.words("miss") if row.times_off != row.times_off else self.words("off", times=_figure(row.times_off))

    # ------------------------------------------------------------ verdicts

    def conclude(self, claim: str, runs: Sequence[Run]) -> None:
        """What the reader's own runs say of one of the post's claims; where they leave it open, also what recorded ones said."""
        own = judge(BY_ID[claim], notebook.full_size(runs))
        notebook.show_judgement(own)
        if self.replays or own.verdict not in (UNDECIDED, NOT_TESTED):
            return
        for shipped in RECORDED.glob(f"*/runs/{runs[0].experiment.removesuffix('-quick')}"):
            recorded = load_runs(shipped)
            words = judgement_words(judge(BY_ID[claim], recorded))
            self.say("recorded_says", verdict=words["verdict"], when=when(recorded))


def _figure(value: Any) -> str:
    return NOTHING if value is None else number(value) if isinstance(value, float) else str(value)


def _interval(row: Any) -> str:
    if row.low == row.low and row.high == row.high:
        return f"{_figure(row.measured)} ({_figure(row.low)} … {_figure(row.high)})"
    return _figure(row.measured)
