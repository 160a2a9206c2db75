"""Every notebook, from top to bottom, in quick mode on the real lab, as a student runs it."""

import foreign_sites
import nbclient
import pytest
from here import all_drawn, slowly

from course.languages import in_language, names
from stacklab import stack
from stacklab.files import ROOT
from stacklab.runs.results import load_runs
from stacklab.site import read_project

QUICKEST = ("00_start_here", "04_eight_cases", "05_daphne")  # of the course, a lesson of each kind; the others in make faults


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Where the runs of these tests are kept."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture
def executed(at_defaults, lab, results, tmp_path, monkeypatch):
    """`executed(name, (old, new) …)` is that notebook, changed so, after a run in a folder that has nothing to do with the
    project.
    """
    monkeypatch.setenv("STACKLAB_LAB", lab.name)
    monkeypatch.setenv("STACKLAB_RESULTS", str(results))
    monkeypatch.delenv("STACKLAB_FULL", raising=False)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def run(name, *changes):
        source = (ROOT / "notebooks" / "src" / f"{name}.py").read_text()
        # Two blocks of the eight cases are as good as five to see that every cell works, and a minute and a half.
        source = source.replace("eight_cases(quick=QUICK)", "eight_cases(quick=QUICK, repeats=2)")
        source = source.replace("budget_s=120", "budget_s=25")
        source = source.replace("capacity(quick=QUICK)", "capacity(quick=QUICK, repeats=1)")
        for old, new in changes:
            assert old in source, old
            source = source.replace(old, new)
        notebook = in_language(source, "ko" if name == QUICKEST[0] else "en")
        client = nbclient.NotebookClient(
            notebook, timeout=600, startup_timeout=300, resources={"metadata": {"path": str(elsewhere)}}
        )
        client.execute()  # raises on the first cell that fails
        assert not list(elsewhere.iterdir()), "a notebook leaves nothing where it was opened"
        return notebook

    return run


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


@pytest.mark.parametrize("name", [*QUICKEST, *slowly(*(name for name in names() if name not in QUICKEST))])
def test_a_notebook_runs_from_top_to_bottom_and_puts_the_settings_back(name, executed, at_defaults, results):
    found = stack.current(at_defaults).replace(nginx_worker_connections=2048)
    stack.apply(at_defaults, found)
    notebook = executed(name)

    assert all_drawn(notebook) >= 2
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
    warnings = [output.text for output in outputs(notebook) if output.get("name") == "stderr" and "Warning" in output.text]
    assert not warnings
    assert load_runs(results)
    assert stack.current(at_defaults) == found


# ---------------------------------------------------------------- on somebody's own site

SMALL = """
from dataclasses import replace
talk = {"clients": 6, "rooms": 6, "messages_per_s": 2.0, "duration_s": 4.0, "ramp_s": 0.5}
points = tuple(replace(point, workload=point.workload.replace(**talk)) for point in plan.points[:2])
plan = replace(plan, points=points)
"""


@pytest.fixture
def echo_site(at_defaults, tmp_path):
    """A site with a WebSocket and none of the lab's own pages is under test, and then the lab's own again."""
    stack.use_site(at_defaults, read_project(foreign_sites.echo(tmp_path)))
    yield
    stack.use_site(at_defaults, None)


@pytest.mark.faults
def test_on_somebodys_own_site_a_notebook_asks_what_there_is_and_says_so(echo_site, executed, results):
    notebook = executed("00_start_here", ('"requests": 400', '"requests": 60'), ('"requests": 200', '"requests": 60'))
    words = "".join(output.data.get("text/markdown", "") for output in outputs(notebook) if "data" in output)
    assert "no page `/io/?ms=50` and no `/cpu/?ms=20`: `/admin/login/` is asked instead" in words and "--site lab" in words
    runs = [run for run in load_runs(results / "adhoc") if run.site.name == "echosite"]
    assert {run.workload.path for run in runs} == {"/admin/login/"}
    assert all((run.table("requests")["status"] == 200).all() for run in runs)

    once = "clients=30, rooms=3, messages_per_s=0.5, duration_s=10, ramp_s=2"
    executed(
        "05_daphne", (once, "clients=3, rooms=3, messages_per_s=2, duration_s=2, ramp_s=0.5"),
        ("runs = lab.experiment(one_vs_three(quick=QUICK))",
         f"plan = one_vs_three(quick=QUICK){SMALL}runs = lab.experiment(plan)"),
    )  # fmt: skip
    runs = load_runs(results / "one-vs-three-quick@echosite")
    met = {run.settings.daphne_instances: set(run.table("connections")["instance"]) for run in runs}
    assert met == {1: {"daphne@1"}, 3: {"daphne@1", "daphne@2", "daphne@3"}}, "nginx tells which took a socket"
    assert all(run.table("messages")["copies"].eq(1).all() for run in runs), "each hears itself"


@pytest.mark.faults
def test_a_notebook_run_again_measures_nothing_twice(executed, results):
    folder = results / "eight-cases-quick"
    if not folder.is_dir():
        executed("04_eight_cases")
    before = {run.run: run.started_s for run in load_runs(folder)}
    executed("04_eight_cases")
    assert before == {run.run: run.started_s for run in load_runs(folder)}
