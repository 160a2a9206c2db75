"""The report: one file that stands alone, says what was asked, found and doubted, and copes with what is missing."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import pytest
import synthetic

from stacklab.errors import ResultsError
from stacklab.settings import StackSettings
from stacklab.study.report import write_report
from stacklab.workload import ChatLoad, HttpLoad

LOAD = HttpLoad(requests=300, users=10, ramp_s=0.5, warmup_s=0.5)
CHAT = ChatLoad(clients=30, rooms=3, messages_per_s=0.5, duration_s=10, ramp_s=3)


class Page(HTMLParser):
    """What a browser would see: images, their words, links, tables, text."""

    VOID = {"meta", "img", "br", "link", "input", "hr"}

    def __init__(self, html: str):
        super().__init__()
        self.images, self.alts, self.links, self.cells, self.open = [], [], [], [], []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        if tag == "img":
            self.images.append(named["src"])
            self.alts.append(named["alt"])
        self.links += [named[name] for name in ("href", "src", "action") if name in named]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open}"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data.strip())
        if "style" not in self.open:
            self.text += data


def page_of(runs, tmp_path) -> Page:
    page = Page(write_report(runs, tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return synthetic.eight_cases(tmp_path_factory.mktemp("results"), requests=300)


@pytest.fixture(scope="module")
def eight(cases, tmp_path_factory):
    return page_of(cases, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    return page_of(synthetic.one_vs_three(tmp_path_factory.mktemp("results")), tmp_path_factory.mktemp("report"))


def test_it_stands_alone(eight, chat):
    for page in (eight, chat):
        assert all(link.startswith(("data:image/svg+xml;base64,", "#")) for link in page.links)
        for image in page.images:
            svg = base64.b64decode(image.partition(",")[2]).decode()
            assert svg.lstrip().startswith("<?xml")
            outside = [link for link in re.findall(r'(?:href|src)="([^"]+)"', svg) if not link.startswith("#")]
            assert outside == []


def test_sockets_that_said_nothing_have_no_pictures_of_messages(chat, tmp_path):
    silent = page_of([synthetic.chat_run(tmp_path, "silent", workload=CHAT.replace(messages_per_s=0))], tmp_path)
    of_messages = [words for words in chat.alts if "sender to receiver" in words or "messages delivered" in words]
    assert len(of_messages) == 2 and silent.images
    assert not [words for words in silent.alts if "sender to receiver" in words or "messages delivered" in words]


def test_every_picture_is_told_in_words_too(eight, chat):
    assert len(eight.images) == 7
    assert len(chat.images) == 10
    assert all(len(alt) > 30 and alt.endswith(".") for alt in eight.alts + chat.alts)
    assert "The median response time runs from" in eight.alts[0]


def test_it_says_what_was_asked(eight):
    assert "8 cases, each run 3 times, in random order within each repeat" in eight.text
    assert "300 requests for / by 100 users; 600 requests for / by 200 users" in eight.text
    assert "nginx_worker_connections (1024, 4000); uwsgi_processes (5, 10)" in eight.text


def test_its_table_has_a_row_for_each_case(eight):
    for users in (100, 200):
        for case in ("1024/5", "1024/10", "4000/5", "4000/10"):
            assert f"{users} users, {case}" in eight.cells
    assert "3 (1 disturbed)" in eight.cells


def test_it_judges_the_claims_with_intervals(eight, chat):
    for claim in ("C3", "C4", "C5"):
        assert f"{claim} " in eight.text
    assert "Undecided." in eight.text or "Makes no difference within ± 5 %." in eight.text
    assert any(re.fullmatch(r"× [\d.]+", cell) for cell in eight.cells)
    assert any(re.fullmatch(r"[\d.]+ to [\d.]+", cell) for cell in eight.cells)
    assert "Contradicted." in chat.text


def test_it_says_which_runs_are_disturbed_and_why(eight, cases):
    [disturbed] = [run for run in cases if not run.validity.valid]
    assert disturbed.run in eight.cells
    assert disturbed.validity.reasons[0] in eight.cells
    assert "24 runs" in eight.text and "1 disturbed" in eight.text
    assert all(run.run in eight.text for run in cases)


def test_it_says_where_and_how_to_measure_again(eight, chat):
    assert "1.26.3" in eight.cells
    assert "4,096 MiB" in eight.cells
    assert "fab experiment eight-cases --repeats 3" in eight.text
    assert "fab experiment one-vs-three --repeats 3" in chat.text


def test_runs_by_hand_are_repeated_by_their_settings_and_load(tmp_path):
    run = synthetic.http_run(tmp_path / "adhoc", "by-hand", StackSettings(uwsgi_processes=9), LOAD)
    page = page_of([run], tmp_path)
    assert "fab reset && fab set --uwsgi-processes 9" in page.text
    assert "fab http --requests 300 --users 10 --ramp-s 0.5 --warmup-s 0.5" in page.text


def test_a_quick_experiment_is_repeated_quickly(tmp_path):
    run = synthetic.http_run(tmp_path / "eight-cases-quick", "r1", workload=LOAD, point="a case", per_s=500)
    assert "fab experiment eight-cases --quick --repeats 1" in page_of([run], tmp_path).text
    run = synthetic.http_run(tmp_path / "eight-cases-quick@shop", "r1", workload=LOAD, point="a case", per_s=500)
    assert "fab experiment eight-cases --quick --repeats 1" in page_of([run], tmp_path).text, "as on the site of then"


def test_one_run_makes_a_report_that_asks_for_more(tmp_path):
    page = page_of([synthetic.http_run(tmp_path / "e", "r1", workload=LOAD, point="a case", per_s=500)], tmp_path)
    assert "One case, run once" in page.text
    assert "One repeat cannot tell luck from effect" in page.text
    assert "Valid is this one" in " ".join(page.text.split())
    assert len(page.images) == 6


def test_one_repeat_of_several_cases_gives_no_verdict(cases, tmp_path):
    page = page_of([run for run in cases if run.repeat == 1], tmp_path)
    assert "Undecided." in page.text
    assert "Contradicted" not in page.text and "Supported" not in page.text


@pytest.mark.parametrize("missing", ["requests", "server", "resources", "gauges", "generator"])
def test_a_missing_table_is_said_in_words(missing, tmp_path):
    case = dict(workload=LOAD, point="a case", tables_without=(missing,))
    runs = [synthetic.http_run(tmp_path / "e", f"r{repeat}", repeat=repeat, **case) for repeat in (1, 2)]
    page = page_of(runs, tmp_path)
    assert f"The table {missing} is missing." in page.text


@pytest.mark.parametrize("missing", ["messages", "connections", "resources"])
def test_a_missing_chat_table_is_said_in_words(missing, tmp_path):
    run = synthetic.chat_run(tmp_path / "e", "r1", workload=CHAT, point="a case")
    run.path.joinpath(f"{missing}.parquet").unlink()
    page = page_of([replace(run, point="a case")], tmp_path)
    assert "a case" in page.cells


def test_a_run_that_was_hit_by_an_event_shows_when(tmp_path):
    page = page_of([synthetic.chat_run(tmp_path / "failover", "r1", workload=CHAT, kill_s=4, point="kill")], tmp_path)
    assert "The run r1: sockets closed early: 10. kill daphne@3 at 4.0 s." in page.text
    assert any("Clients connected to each instance over time" in alt for alt in page.alts)


def test_http_and_chat_runs_have_a_section_each(tmp_path):
    one = synthetic.http_run(tmp_path / "adhoc", "one", workload=LOAD)
    two = synthetic.chat_run(tmp_path / "adhoc", "two", workload=CHAT)
    text = page_of([one, two], tmp_path).text
    assert "HTTP" in text and "Chat" in text


def test_names_with_markup_and_any_script_are_shown_as_they_are(tmp_path):
    point = "<script>alert(1)</script> 방 & غرفة"
    run = synthetic.http_run(tmp_path / "a & b", "r1", workload=LOAD, point=point)
    page = page_of([run], tmp_path)
    assert point in page.cells
    assert "script" not in page.open
    assert "a & b" in page.text


def test_many_cases_are_all_in_the_table(tmp_path):
    run = synthetic.http_run(tmp_path / "e", "r1", workload=LOAD, point="case 0")
    runs = [replace(run, run=f"r{n}", point=f"case {n}", started_s=run.started_s + n) for n in range(20)]
    page = page_of(runs, tmp_path)
    assert "case 19" in page.cells
    assert "The pictures show the first 16 of 20 cases" in page.text


def test_a_damaged_table_is_one_clear_error(tmp_path):
    run = synthetic.http_run(tmp_path / "e", "r1", workload=LOAD)
    file = run.path / "resources.parquet"
    file.chmod(0o644)
    file.write_bytes(b"PAR1")
    with pytest.raises(ResultsError, match=r"resources\.parquet"):
        write_report([run], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_no_runs_are_refused(tmp_path):
    with pytest.raises(ResultsError, match="no runs to report on"):
        write_report([], tmp_path / "report.html")


def test_a_folder_is_given_a_report_of_the_usual_name(tmp_path):
    run = synthetic.http_run(tmp_path / "e", "r1", workload=LOAD)
    assert write_report([run], tmp_path) == tmp_path / "report.html"


def test_it_leaves_no_figure_of_pyplot_behind(cases, tmp_path):
    plt.close("all")
    page_of(cases[:2], tmp_path)
    assert plt.get_fignums() == []
