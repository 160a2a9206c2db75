"""Every notebook, from top to bottom, in quick mode on the real lab, as a student runs it."""

import base64

import jupytext
import nbclient
import pytest

from stacklab import stack
from stacklab.files import ROOT
from stacklab.runs.results import load_runs

NAMES = sorted(path.stem for path in (ROOT / "notebooks" / "src").glob("*.py"))
IMAGES = {"00_start_here": 8, "01_eight_cases": 9, "02_chat_and_daphne": 4, "03_balancing": 5, "04_failover": 3}
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Where the runs of these tests are kept."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture
def executed(at_defaults, lab, results, tmp_path, monkeypatch):
    """`executed(name)` is that notebook after a run in a folder that has nothing to do with the project."""
    monkeypatch.setenv("STACKLAB_LAB", lab.name)
    monkeypatch.setenv("STACKLAB_RESULTS", str(results))
    monkeypatch.delenv("STACKLAB_FULL", raising=False)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def run(name):
        source = (ROOT / "notebooks" / "src" / f"{name}.py").read_text()
        # Two blocks of the eight cases are as good as five to see that every cell works, and a minute and a half.
        source = source.replace("eight_cases(quick=QUICK)", "eight_cases(quick=QUICK, repeats=2)")
        source = source.replace("budget_s=120", "budget_s=25")
        notebook = jupytext.reads(source, fmt="py:percent")
        client = nbclient.NotebookClient(
            notebook, timeout=600, startup_timeout=300, resources={"metadata": {"path": str(elsewhere)}}
        )
        client.execute()  # raises on the first cell that fails
        assert not list(elsewhere.iterdir()), "a notebook leaves nothing where it was opened"
        return notebook

    return run


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_from_top_to_bottom_and_puts_the_settings_back(name, executed, at_defaults, results):
    found = stack.current(at_defaults).replace(nginx_worker_connections=2048)
    stack.apply(at_defaults, found)
    notebook = executed(name)

    images = [base64.b64decode(output.data["image/png"]) for output in outputs(notebook) if "image/png" in output.get("data", {})]
    assert len(images) >= IMAGES[name] and all(image.startswith(PNG) for image in images)
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
    warnings = [output.text for output in outputs(notebook) if output.get("name") == "stderr" and "Warning" in output.text]
    assert not warnings
    assert load_runs(results)
    assert stack.current(at_defaults) == found


def test_a_notebook_run_again_measures_nothing_twice(executed, results):
    folder = results / "eight-cases-quick"
    if not folder.is_dir():
        executed("01_eight_cases")
    before = {run.run: run.started_s for run in load_runs(folder)}
    executed("01_eight_cases")
    assert before == {run.run: run.started_s for run in load_runs(folder)}
