"""What the notebooks share: errors in one line, changes and tables that read well."""

from dataclasses import replace
from types import SimpleNamespace

import nbclient
import nbformat
import numpy as np
import pandas as pd
import pytest
from pandas.io.formats.style import Styler
from synthetic import eight_cases, http_run
from test_calibration import saved

from stacklab import bench, notebook, recorded, study
from stacklab.errors import LabError, LabNotRunning
from stacklab.settings import StackSettings
from stacklab.site import LAB, Chat, Site
from stacklab.stack import Applied


@pytest.fixture
def shown(monkeypatch):
    """What was displayed, as text."""
    found = []
    monkeypatch.setattr(
        notebook, "display", lambda thing: found.append(thing.to_html() if isinstance(thing, Styler) else thing.data)
    )
    return found


def run_cells(*sources):
    """The cells after a run that fails, and what nbclient says of it."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    with pytest.raises(nbclient.exceptions.CellExecutionError) as error:
        nbclient.execute(book, timeout=600, startup_timeout=300)
    return book.cells, str(error.value)


def test_a_lab_that_is_not_up_is_one_line_and_the_cells_after_it_do_not_run(monkeypatch):
    monkeypatch.setenv("STACKLAB_LAB", "no-lab-of-this-name")
    (first, second), said = run_cells("from stacklab import notebook\nlab, host = notebook.begin()", "print('after')")
    (output,) = first.outputs
    (line,) = output.traceback
    assert line.startswith("LabNotRunning: ") and "fab up" in line, "the message, and no traceback"
    assert line in said, "also where nobody looks at the page"
    assert not second.outputs


def test_a_lab_that_is_halted_says_how_it_is_started(monkeypatch):
    class Halted:
        name, kind, how_to_start = "vagrant", "vagrant", "say 'vagrant up web' on the computer that runs Vagrant"

        def web(self):
            return None  # its address is known, also while it is off

        def status(self):
            return {"state": "halted"}

    monkeypatch.setattr(notebook, "open_lab", Halted)
    with pytest.raises(LabNotRunning, match="^the lab vagrant is halted; say 'vagrant up web' on the computer"):
        notebook.begin()


BEGINS = """
from types import SimpleNamespace as Of
from stacklab import notebook
status = {"state": "running"}
WEB = Of(url="https://192.0.2.7", run=lambda command: "")
notebook.open_lab = lambda: Of(name="x", kind="container", web=lambda: WEB, status=lambda: status)
notebook.begin()"""
DRAWS = """
import matplotlib.pyplot as plt
plt.plot([1, 2], [3, 4])
plt.show()
print(plt.get_backend(), plt.rcParams["text.usetex"], plt.rcParams["axes.facecolor"])"""


def test_a_picture_is_on_the_page_whatever_ipython_and_matplotlib_are_told_at_home(trapped):
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in (BEGINS, DRAWS)])
    nbclient.execute(book, timeout=600, startup_timeout=300)
    outputs = book.cells[1].outputs
    assert [output.data["image/png"][:8] for output in outputs if output.output_type == "display_data"] == ["iVBORw0K"]
    (words,) = [output.text for output in outputs if output.output_type == "stream"]
    assert "inline False white" in words


# ---------------------------------------------------------------- on somebody's own site

PLAIN = Site(name="plain", code="1", wsgi="a:b", health="/hello/")
CHATTY = replace(PLAIN, asgi="a:c", websocket="/ws/", chat=Chat(path="/ws/{room}/", send="{text}"), pages=("/", "/io/"))


@pytest.fixture
def begun(monkeypatch, shown):
    """`begun(site, …)`: what `begin` shows where that site is under test."""
    monkeypatch.setattr(notebook, "is_provisioned", lambda host: True)
    running = SimpleNamespace(name="x", kind="container", web=lambda: WEB, status=lambda: {"state": "running"})
    monkeypatch.setattr(notebook, "open_lab", lambda: running)

    def begin(site, **asked):
        monkeypatch.setattr(notebook, "site_of", lambda host: site)
        shown.clear()
        notebook.begin(**asked)
        return shown[1:]

    return begin


WEB = SimpleNamespace(url="https://192.0.2.7")


@pytest.mark.parametrize(("site", "lacks"), [(PLAIN, "no WebSocket"), (replace(CHATTY, chat=None), r"no \[chat\]")])
def test_where_nobody_can_chat_a_notebook_of_chats_says_so_before_it_changes_anything(begun, site, lacks):
    with pytest.raises(LabError, match=f"the site plain has {lacks} .*'fab provision --site lab' goes back to the lab's own$"):
        begun(site, chats=True)


def test_pages_that_the_site_lacks_are_named_with_what_is_asked_instead(begun):
    _, lacking = begun(PLAIN, asks=["/io/?ms=50", "/cpu/?ms=20"])
    assert "no page `/io/?ms=50` and no `/cpu/?ms=20`: `/hello/` is asked instead" in lacking and "--site lab" in lacking


def test_where_the_path_names_no_room_it_is_said_what_hash_does(begun):
    _, words = begun(replace(CHATTY, chat=Chat(path="/ws/", send="{text}", heard_by="all")), chats=True)
    assert "`balance=hash` brings them all to one instance" in words


def test_where_the_site_has_all_that_a_notebook_asks_nothing_is_said_of_pages(begun):
    assert len(begun(CHATTY, asks=["/", "/io/?ms=50"], chats=True)) == 1
    assert begun(LAB, asks=["/cpu/?ms=20"], chats=True) == [], "and of the lab's own site nothing"


def test_a_plan_is_measured_as_the_site_bears_it_and_what_is_left_out_is_said(monkeypatch, capsys):
    monkeypatch.setattr(recorded.console, "measure_plan", lambda plan, lab, fresh: plan)
    live = recorded.Live(SimpleNamespace(web=lambda: WEB))
    monkeypatch.setattr(recorded.stack, "site_of", lambda host: CHATTY)
    assert live.experiment(bench.failover(quick=True)).name == "failover-quick@plain"
    assert "Left out: hash, chat_resume" in capsys.readouterr().out
    monkeypatch.setattr(recorded.stack, "site_of", lambda host: LAB)
    assert live.experiment(bench.failover(quick=True)) == bench.failover(quick=True) and capsys.readouterr().out == ""


def test_the_chats_address_is_the_pages_or_what_is_known_of_the_sites_own(begun):
    begun(LAB)
    assert "https://192.0.2.7/chat/" in notebook.where_to_chat(WEB)
    begun(CHATTY)
    assert "`/ws/{room}/`" in (said := notebook.where_to_chat(WEB)) and "/chat/" not in said


def test_runs_at_full_size_judge_where_they_are_of_the_same_site(tmp_path):
    full = [http_run(tmp_path / "eight-cases", "r1-01-a"), http_run(tmp_path / "eight-cases@plain", "r1-01-a")]
    quick = http_run(tmp_path / "eight-cases-quick", "r1-01-a")
    assert [run.path for run in notebook.full_size([quick])] == [full[0].path]
    elsewhere = http_run(tmp_path / "other-quick", "r1-01-a")
    assert notebook.full_size([elsewhere]) == [elsewhere], "there are none"
    plains = http_run(tmp_path / "eight-cases-quick@plain", "r1-01-a")
    plains = replace(plains, environment=plains.environment | {"site": PLAIN.to_dict()})
    assert notebook.full_size([plains]) == [plains], "those that there are, are of other code"


def test_a_form_gives_what_was_typed_as_a_cell_would_and_says_what_is_wrong(capsys):
    given = []

    def seal(answers):
        if "many" in answers.values():
            raise LabError("many is no number")
        given.append(answers)

    typed = notebook.form(["five", "ten"], (), "Seal it", seal)
    (five, ten), button = [line.children[1] for line in typed.children[:2]], typed.children[2]
    five.value, ten.value = "100", "many"
    button.click()
    assert given == [] and "many is no number" in capsys.readouterr().out
    ten.value = "2e2"
    button.click()
    chosen = notebook.form(["fastest"], ["1024/5", "4000/10"], "Seal it", seal)
    chosen.children[0].children[1].value = "4000/10"
    chosen.children[1].click()
    assert given == [{"five": 100.0, "ten": 200.0}, {"fastest": "4000/10"}]


def test_settings_whose_default_is_none_are_put_back_too(monkeypatch):
    done = []
    monkeypatch.setattr(recorded.stack, "current", lambda host: StackSettings(asgi_threads=8))
    monkeypatch.setattr(recorded.tasks, "apply_on", lambda lab, settings, expect: done.append((settings, expect)))
    recorded.Live(SimpleNamespace(web=lambda: WEB)).apply(StackSettings())
    assert done == [(StackSettings(), StackSettings(asgi_threads=8))]


def test_quick_is_the_rule_and_the_environment_can_ask_for_full_size(monkeypatch):
    monkeypatch.delenv("STACKLAB_FULL", raising=False)
    assert notebook.quick_mode()
    monkeypatch.setenv("STACKLAB_FULL", "1")
    assert not notebook.quick_mode()


def test_a_change_shows_its_lines_in_colour_and_safely(shown):
    diff = "--- /etc/x\n+++ /etc/x\n@@ -1 +1 @@\n-processes = 5\n+processes = <10>"
    notebook.show_change(Applied(("/etc/x",), diff, ("uwsgi",), {"reload": 1.2345}))
    page, steps = shown
    assert notebook.LINE_COLOURS["-"] in page and notebook.LINE_COLOURS["+"] in page
    assert "&lt;10&gt;" in page and "<10>" not in page
    assert "uwsgi" in steps and "1.23 s" in steps


def test_no_change_is_said_in_words(shown):
    notebook.show_change(Applied())
    assert shown == ["Nothing to change: these settings are in force already."]


def test_a_table_has_units_that_people_read():
    page = notebook.table(
        pd.DataFrame(
            {"point": ["a"], "p50_s": [0.0123], "pss_peak_bytes": [2 << 20], "delivered_share": [0.5], "cpu_s": [1.5],
             "throughput_per_s": [100.0], "valid": [True], "ports": [(443, 8080)], "latency_p95_s": [np.nan]}
        )
    ).to_html()  # fmt: skip
    for words in (
        "median response time, ms",
        ">12<",
        "MiB",
        ">2.0<",
        "50.00 %",
        "throughput, per second",
        ">true<",
        ">443, 8080<",
        ">–<",
    ):
        assert words in page, words


def test_a_table_of_every_summary_can_be_shown(tmp_path):
    summary = study.summarize(eight_cases(tmp_path, repeats=1, requests=200))
    assert "100 users" in notebook.table(study.in_order(summary)).to_html()


def test_a_judgement_shows_claim_verdict_and_numbers(tmp_path, shown):
    runs = eight_cases(tmp_path, repeats=3, requests=200)
    claims = {claim.id: claim for claim in study.CLAIMS}
    judgement = study.judge(claims["C5"], runs)
    notebook.show_judgement(judgement)
    assert judgement.verdict in shown[0] and "C5" in shown[0]
    assert "nginx_worker_connections=4000" in shown[1] and "×" in shown[2]
    assert shown[3] == "The machine: not calibrated: fab calibrate."


def test_beside_a_verdict_stands_what_its_machine_can_tell(tmp_path, shown):
    runs = eight_cases(tmp_path, repeats=2, requests=100)
    saved(tmp_path, "one")
    notebook.show_judgement(study.judge({claim.id: claim for claim in study.CLAIMS}["C5"], runs))
    assert "called different from itself in 3.0% of comparisons" in shown[-1]


def test_a_claim_that_no_runs_can_decide_says_where_to_look(tmp_path, shown):
    claims = {claim.id: claim for claim in study.CLAIMS}
    notebook.show_judgement(study.judge(claims["C6"], eight_cases(tmp_path, repeats=1, requests=50)))
    assert shown[-1] == claims["C6"].note
