"""A lesson under way: it changes, measures and goes back; what it was told can be told again without a lab."""

import html
import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from synthetic import eight_cases, http_run

from stacklab import lesson, notebook
from stacklab.bench.comparison import Comparison
from stacklab.bench.plan import Experiment, Point
from stacklab.errors import LabError
from stacklab.lesson import Lesson
from stacklab.recorded import TOLD, Live, Recording, Replay
from stacklab.runs import load_runs
from stacklab.settings import StackSettings
from stacklab.stack import Applied
from stacklab.study.paired import MetricVerdict
from stacklab.workload import HttpLoad

TEN = StackSettings(uwsgi_processes=10)
A, B = (Point(label, StackSettings(), HttpLoad()) for label in "AB")
EIGHT = Experiment(name="eight-cases-quick", points=(A, B), repeats=1)


class Machine(Live):
    """Without a lab: what it is set to, and runs that were made up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = StackSettings(uwsgi_processes=3)
        self.measured = 0

    def settings(self):
        return self.now

    def defaults(self):
        return StackSettings()

    def apply(self, settings):
        self.now = settings
        return Applied(changed=("/etc/uwsgi/stacklab.ini",), diff=f"+processes = {settings.uwsgi_processes}", reloaded=("uwsgi",))

    def processes(self):
        rows = range(self.now.uwsgi_processes)
        return pd.DataFrame({"service": ["uwsgi" for _ in rows], "pid": [100 * self.now.uwsgi_processes + row for row in rows]})

    def observe(self):
        return {"cpus": 2}

    def status(self):
        return "all is well\n"

    def shell(self, command):
        return f"{command}: done\n"

    def http(self, point, load):
        self.measured += 1
        return http_run(
            self.folder / "adhoc",
            f"run-{self.measured}",
            self.now,
            HttpLoad(**load),
            per_s=20 * self.now.uwsgi_processes,
            point=point,
        )

    def experiment(self, plan):
        eight_cases(self.folder, repeats=2, requests=100)
        return load_runs(self.folder / "eight-cases")

    def compare(self, a, b, budget_s, on_block):
        verdict = MetricVerdict("throughput_per_s", 8, "ratio", 0.9, 0.8, 0.95, "worse", 0.05, 0.1, 0.0)
        return Comparison(a.label, b.label, 8, 1, 60.0, (verdict,), self.folder / "compare" / "a-or-b", each=(0.9, 0.91))


@pytest.fixture(autouse=True)
def places(monkeypatch, tmp_path):
    """Lessons keep what they keep in the test's own folder, and nothing of this computer's environment is heard."""
    monkeypatch.setattr(lesson, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(lesson, "RECORDED", tmp_path / "recorded")
    for name in ("STACKLAB_REPLAY", "STACKLAB_RECORD", "STACKLAB_PAGE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def shown(monkeypatch):
    """What was displayed, as text."""
    found = []
    for module in (notebook, lesson):
        monkeypatch.setattr(
            module, "display", lambda thing: found.append(thing.to_html() if hasattr(thing, "to_html") else thing.data)
        )
    monkeypatch.setattr(notebook, "form", lambda answers, *_: pd.DataFrame({"form": list(answers)}))
    return found


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path / "results")


def live(machine, file=None) -> Lesson:
    return Lesson("00_start_here", "en", machine.ask, file)


LOAD = {"users": 5, "requests": 100}


def whole(lab: Lesson) -> dict:
    """A lesson, from its beginning to its end."""
    before = lab.processes()
    five = lab.http(point="5", **LOAD)
    lab.set(uwsgi_processes=10)
    after, ten = lab.processes(), lab.http(point="10", **LOAD)
    lab.status()
    lab.shell("uptime")
    told = {
        "before": before, "after": after, "runs": (five, ten), "cpus": lab.cpus, "eight": lab.experiment(EIGHT),
        "compared": lab.compare(A, B, budget_s=10),
    }  # fmt: skip
    lab.end()
    return told


def same(mine: dict, yours: dict) -> None:
    for name in ("before", "after"):
        pd.testing.assert_frame_equal(mine[name], yours[name])
    for one, other in zip((*mine["runs"], *mine["eight"]), (*yours["runs"], *yours["eight"]), strict=True):
        assert one.settings == other.settings and one.point == other.point
        pd.testing.assert_frame_equal(one.table("requests"), other.table("requests"))
    assert mine["cpus"] == yours["cpus"] and mine["compared"].metrics == yours["compared"].metrics
    assert mine["compared"].each == yours["compared"].each


def test_a_lesson_begins_with_the_lab_that_is_up(machine, shown, monkeypatch, tmp_path):
    monkeypatch.setattr(notebook, "begin", lambda asks, chats: (SimpleNamespace(name="x", web=lambda: None), None))
    for name in ("settings", "defaults", "apply"):
        monkeypatch.setattr(Live, name, getattr(type(machine), name))
    monkeypatch.setattr(Live, "now", machine.now, raising=False)
    lab = lesson.begin("00_start_here")
    assert lab.settings == StackSettings() and (tmp_path / "kept" / "found-x.json").is_file()
    lab.end()
    assert lab.settings == machine.now and not (tmp_path / "kept" / "found-x.json").exists()


def test_a_lesson_begins_at_the_defaults_and_goes_back_to_what_it_found(machine, shown):
    found = machine.now
    lab = live(machine)
    assert machine.now == StackSettings() == lab.settings
    lab.set(uwsgi_processes=10)
    assert machine.now == TEN and "processes = 10" in shown[-2]
    lab.set(uwsgi_processes=10)
    assert "Nothing to change" in shown[-1]
    lab.end()
    assert machine.now == found


def test_what_somebody_set_after_a_lesson_that_was_never_ended_is_what_the_next_one_finds(machine, shown, tmp_path):
    file = tmp_path / "kept" / "found-x.json"
    live(machine, file).set(uwsgi_processes=10)
    machine.now = StackSettings(uwsgi_processes=7)
    live(machine, file).end()
    assert machine.now.uwsgi_processes == 7


def test_after_a_kernel_was_killed_the_next_lesson_goes_back_to_what_the_first_had_found(machine, shown, tmp_path):
    found, file = machine.now, tmp_path / "kept" / "found-x.json"
    live(machine, file).set(uwsgi_processes=10)
    live(machine, file).end()
    assert machine.now == found and not file.exists()
    file.write_text("{")
    live(machine, file).end()
    assert machine.now == found, "a file that says nothing is none"


def test_what_was_recorded_is_told_again_without_a_lab(machine, shown, tmp_path, capsys):
    mine = whole(Lesson("x", "en", Recording(machine, tmp_path / "tape").ask))
    said = capsys.readouterr().out
    kept = [path.suffix for path in (tmp_path / "tape").rglob("*") if path.is_file()]
    assert set(kept) == {".json", ".parquet", ""}, "no logs; SHA256SUMS"
    tape = Replay(tmp_path / "tape")
    same(mine, whole(Lesson("x", "en", tape.ask)))
    assert "all is well" in said and capsys.readouterr().out.startswith("all is well\nuptime: done\n")
    same(mine, whole(Lesson("x", "en", tape.ask))), "and once more: cells may be run twice"


def test_what_was_not_recorded_is_said_with_what_there_is(machine, shown, tmp_path):
    whole(Lesson("x", "en", Recording(machine, tmp_path / "tape").ask))
    lab = Lesson("x", "en", Replay(tmp_path / "tape").ask)
    with pytest.raises(
        LabError, match="this lesson is a recording, and it has no http with point=5, users=6.*It has: .*point=10, users=5"
    ):
        lab.http(point="5", users=6, requests=100)
    with pytest.raises(LabError, match="no apply with uwsgi_processes=20"):
        lab.set(uwsgi_processes=20)
    assert lab.settings == StackSettings(), "and nothing was changed"
    with pytest.raises(LabError, match="no http with point=10, users=5, requests=100. It has"):
        lab.http(point="10", **LOAD)  # it was measured with ten processes


@pytest.mark.parametrize("text", [None, "{", "[]", "{}"])
def test_a_recording_that_is_not_there_is_one_line(tmp_path, text):
    (tmp_path / "tape").mkdir()
    if text is not None:
        (tmp_path / "tape" / TOLD).write_text(text)
    with pytest.raises(LabError, match="there is no recording of this lesson .*; without STACKLAB_REPLAY=1 it measures"):
        Replay(tmp_path / "tape")


def test_a_point_that_is_another_now_is_not_told_as_the_recorded_one(machine, shown, tmp_path):
    whole(Lesson("x", "en", Recording(machine, tmp_path / "tape").ask))
    lab = Lesson("x", "en", Replay(tmp_path / "tape").ask)
    case = lab.experiment(EIGHT)[0]
    other = Point(case.point, StackSettings(uwsgi_processes=7), case.workload)
    with pytest.raises(LabError, match=f"in it '{case.point}' of eight-cases was another"):
        lab.experiment(Experiment(name="eight-cases-quick", points=(other, B), repeats=1))
    with pytest.raises(LabError, match="no compare with label=A, .*users=7"):
        lab.compare(Point("A", StackSettings(), HttpLoad(users=7)), B, budget_s=10)


def test_in_a_replay_one_may_always_go_back_to_the_defaults(machine, shown, tmp_path):
    whole(Lesson("x", "en", Recording(machine, tmp_path / "tape").ask))
    lab = Lesson("x", "en", Replay(tmp_path / "tape").ask)
    lab.set(uwsgi_processes=10)
    lab.reset()
    assert lab.settings == StackSettings()
    lab.end()


def test_a_replay_begins_without_a_lab_and_marks_its_pictures(machine, shown, tmp_path, monkeypatch):
    import matplotlib.pyplot as plt

    whole(Lesson("x", "en", Recording(machine, tmp_path / "recorded" / "00_start_here").ask))
    monkeypatch.setenv("STACKLAB_REPLAY", "1")
    monkeypatch.setenv("STACKLAB_LAB", "no-lab-of-this-name")
    with plt.rc_context():
        lab = lesson.begin("00_start_here", "ko")
        assert "녹화본입니다" in shown[-1] and lab.cpus == 2
        figure, _ = plt.subplots()
        assert [text.get_text() for text in figure.texts] == ["recorded"]
        plt.close(figure)


def test_a_prediction_is_asked_for_sealed_and_scored(machine, shown):
    lab = live(machine)
    lab.predict("pages", {"5": None, "10": None})
    assert "Nothing is predicted yet" in shown[-2] and "form" in shown[-1]
    lab.predict("pages", {"5": 100, "10": 400})
    assert "Sealed: 5: **100.0**; 10: **400.0**" in shown[-1]
    lab.score("pages", {"5": 98.0, "10": (190.0, 180.0, 200.0)})
    assert "a hit" in shown[-1] and "2.11 times off" in shown[-1] and "190 (180 … 200)" in shown[-1]
    lab.score("others", {"5": 98.0})
    assert "You predicted nothing here." in shown[-1] and "98" in shown[-2]
    lab.predict("others", {"5": 98})
    assert "had been shown by then" in shown[-1]
    lab.predict("third", {"5": None})
    lab.http(point="5", **LOAD)
    lab.predict("third", {"5": 98})
    assert "had been shown by then" in shown[-1], "who waits until the numbers stand there predicts nothing"
    lab.predict_anew()
    lab.predict("pages", {"5": 1, "10": 2})
    assert "Sealed: 5: **1.0**" in shown[-1]
    with pytest.raises(LabError, match="'many'"):
        lab.predict("more", {"5": "many"})


def test_a_conclusion_is_the_readers_own_and_where_it_is_open_a_recorded_one_stands_beside(machine, shown, tmp_path):
    eight_cases(tmp_path / "recorded" / "04_eight_cases" / "runs", repeats=6, requests=400)
    own = machine.experiment(EIGHT)[:8]
    live(machine).conclude("C3", own)
    assert any("The runs say: **undecided" in text for text in shown)
    assert "So on your machine it is open. Runs recorded on another" in shown[-1]


def test_on_a_page_nobody_runs_a_cell_so_it_holds_what_a_script_needs(machine, shown, monkeypatch):
    lab = live(machine)
    monkeypatch.setenv("STACKLAB_REPLAY", "1")
    monkeypatch.setenv("STACKLAB_PAGE", "1")
    lab.predict("pages", {"5 <b>": None}, choices=["more", "less"])
    assert 'class="prediction" data-question="pages"' in shown[-1] and "5 &lt;b&gt;" in shown[-1]
    lab.score("pages", {"5 <b>": (2.0, 1.0, float("nan")), "word": "more"})
    assert json.loads(html.unescape(shown[-1].split('data-measured="')[1].split('"')[0])) == {
        "5 <b>": [2.0, 1.0, None], "word": "more"
    }  # fmt: skip
    lab.experiment(EIGHT)
    assert 'class="recorded" data-title="eight-cases"' in shown[-1] and "throughput_per_s" in shown[-1]
