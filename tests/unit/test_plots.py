"""Every picture shows what the table says, tells disturbed runs apart, and says so when there is nothing to show."""

import inspect
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import synthetic
from matplotlib.colors import to_hex

from stacklab import study
from stacklab.runs.results import Validity
from stacklab.settings import StackSettings
from stacklab.study import crowdplots, plots, servers
from stacklab.workload import ChatLoad, HttpLoad


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return synthetic.eight_cases(tmp_path_factory.mktemp("results"), requests=300)


@pytest.fixture(scope="module")
def chats(tmp_path_factory):
    return synthetic.one_vs_three(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    load = ChatLoad(clients=30, rooms=3, messages_per_s=0.5, duration_s=10, ramp_s=3)
    return [synthetic.chat_run(tmp_path_factory.mktemp("chat"), "killed", workload=load, kill_s=4)]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()] if ax.get_legend() else []


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def dots(ax, marker="o"):
    return [line for line in ax.lines if line.get_marker() == marker]


LOOKS = pd.DataFrame([
    {"metric": "throughput_per_s", "blocks": 8, "scale": "ratio", "estimate": 0.93, "low": 0.80, "high": 1.08,
     "verdict": "undecided", "margin": 0.05},
    {"metric": "throughput_per_s", "blocks": 11, "scale": "ratio", "estimate": 0.925, "low": 0.89, "high": 0.96,
     "verdict": "worse", "margin": 0.05},
])  # fmt: skip


def test_each_block_is_a_dot_and_each_look_an_interval_whose_verdict_is_the_title():
    ax = plots.interval_closing([0.9, 0.95, 0.92], LOOKS)
    assert ax.get_title(loc="left") == "Throughput, B to A: worse"
    assert dots(ax)[0].get_ydata().tolist() == [0.9, 0.95, 0.92]
    assert [line.get_xdata().tolist() for line in dots(ax, "D")] == [[8], [11]]
    assert plots.interval_closing([0.9], LOOKS[:0]).get_title(loc="left") == "B to A: no look yet"


def every_plot(cases, chats, killed):
    summary, chat = study.summarize(cases), study.summarize(chats)
    return {
        "response_times_by_case": lambda ax=None: plots.response_times_by_case(summary, ax),
        "throughput_by_case": lambda ax=None: plots.throughput_by_case(summary, ax),
        "cpu_over_time": lambda ax=None: plots.cpu_over_time(study.resources(cases[:1]), ax),
        "memory_over_time": lambda ax=None: plots.memory_over_time(study.resources(cases[:1]), ax),
        "client_vs_server": lambda ax=None: plots.client_vs_server(summary, ax),
        "latency_distribution": lambda ax=None: plots.latency_distribution(study.requests(cases), ax),
        "messages_latency_by_point": lambda ax=None: plots.messages_latency_by_point(chat, ax),
        "delivered_by_point": lambda ax=None: plots.delivered_by_point(chat, ax),
        "daphne_cost_by_point": lambda ax=None: plots.daphne_cost_by_point(chat, ax),
        "access_log_share": lambda ax=None: plots.access_log_share(study.connections(chats), ax),
        "failover_timeline": lambda ax=None: plots.failover_timeline(
            study.connections(killed), study.messages(killed), ax, study.events(killed)
        ),
        "memory_per_socket": lambda ax=None: plots.memory_per_socket(study.sockets(chats), ax),
        "gauge_over_time": lambda ax=None: plots.gauge_over_time(study.gauges(cases[:1]), ["nginx_active"], ax),
        "interval_closing": lambda ax=None: plots.interval_closing([0.9, 0.95, 0.92] * 5, LOOKS, ax),
        "comparison": lambda ax=None: plots.comparison(study.compare(cases, "p50_s", by="uwsgi_processes"), ax),
        "percentiles_to_the_tail": lambda ax=None: plots.percentiles_to_the_tail(study.requests(cases), ax),
        "claims": lambda ax=None: plots.claims([study.judge(claim, [*cases, *chats]) for claim in study.CLAIMS], ax),
    }


PLOTS = [
    name
    for name, function in inspect.getmembers(plots, inspect.isfunction)
    if not name.startswith("_") and function.__module__ == plots.__name__
]


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_draws_on_given_axes_or_on_its_own_with_title_and_units(name, cases, chats, killed):
    draw = every_plot(cases, chats, killed)[name]
    _, given = plt.subplots()
    assert draw(given) is given
    ax = draw()
    assert ax is not given
    assert ax.get_title(loc="left")
    assert ax.get_xlabel() or ticks(ax.xaxis)
    ax.figure.canvas.draw()


@pytest.mark.parametrize("name", PLOTS)
def test_no_plot_lets_its_words_overlap_or_fall_off_the_picture(name, cases, chats, killed):
    ax = every_plot(cases, chats, killed)[name]()
    figure = ax.figure
    figure.canvas.draw()
    page = figure.bbox
    for axis in (ax.xaxis, ax.yaxis):
        boxes = [label.get_window_extent() for label in axis.get_ticklabels() if label.get_text() and label.get_visible()]
        boxes = [box for box in boxes if box.width and page.x0 <= box.x0 <= page.x1]
        for one, other in zip(boxes, boxes[1:], strict=False):
            assert not one.overlaps(other), [label.get_text() for label in axis.get_ticklabels()]
    shown = [ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label]
    shown += [ax.get_legend()] if ax.get_legend() else []
    for words in shown:
        box = words.get_window_extent()
        assert box.width == 0 or (box.x0 >= page.x0 - 1 and box.x1 <= page.x1 + 1 and box.y1 <= page.y1 + 1)


@pytest.mark.parametrize("name", PLOTS)
def test_with_nothing_to_show_every_plot_says_so(name, cases, chats, killed):
    summary = study.summarize(cases)[["experiment", "run", "point", "repeat", "valid"]]
    nothing = {
        "failover_timeline": lambda: plots.failover_timeline(study.connections([]), study.messages([])),
        "access_log_share": lambda: plots.access_log_share(study.connections([])),
        "memory_per_socket": lambda: plots.memory_per_socket(study.sockets([])),
        "latency_distribution": lambda: plots.latency_distribution(study.requests([])),
        "gauge_over_time": lambda: plots.gauge_over_time(study.gauges([]), ["nginx_active"]),
        "cpu_over_time": lambda: plots.cpu_over_time(study.resources([])),
        "memory_over_time": lambda: plots.memory_over_time(study.resources([])),
        "interval_closing": lambda: plots.interval_closing([], LOOKS[:0]),
        "comparison": lambda: plots.comparison(study.compare(cases[:1], "p50_s")),
        "percentiles_to_the_tail": lambda: plots.percentiles_to_the_tail(study.requests([])),
        "claims": lambda: plots.claims([study.judge(claim, []) for claim in study.CLAIMS]),
    }
    ax = nothing.get(name, lambda: getattr(plots, name)(summary))()
    assert len(ax.texts) == 1
    assert ax.texts[0].get_text().endswith(".")
    assert not ax.lines and not ax.patches


def test_every_repeat_of_every_case_is_a_dot_and_disturbed_ones_are_hollow(cases):
    ax = plots.response_times_by_case(study.summarize(cases))
    assert len(dots(ax, "o")) == len(dots(ax, "s")) == len(dots(ax, "^")) == 24
    hollow = [line for line in dots(ax, "o") if line.get_markerfacecolor() == "white"]
    assert len(hollow) == sum(not run.validity.valid for run in cases) == 1
    assert legend(ax) == ["median", "95th percentile", "99th percentile", "disturbed run"]
    assert ticks(ax.xaxis)[0] == "100 users,\n1024/5"


def test_dots_are_at_the_summarys_values_in_milliseconds(cases):
    summary = study.summarize(cases)
    ax = plots.response_times_by_case(summary)
    assert sorted(line.get_ydata()[0] for line in dots(ax, "o")) == pytest.approx(sorted(summary["p50_s"] * 1000))


def test_valid_runs_need_no_word_on_disturbed_ones(cases):
    sound = [run for run in cases if run.validity.valid]
    assert "disturbed run" not in legend(plots.response_times_by_case(study.summarize(sound)))


@pytest.mark.parametrize(("why", "line", "hollow"), [((), "-", False), (("Steal.",), "--", True)])
def test_a_disturbed_run_is_drawn_so(cases, chats, why, line, hollow):
    http, chat = ([replace(runs[0], validity=Validity(why))] for runs in (cases, chats))
    for draw in (plots.latency_distribution, plots.percentiles_to_the_tail):
        assert [drawn.get_linestyle() for drawn in draw(study.requests(http)).lines] == [line], draw.__name__
    for ax in (plots.client_vs_server(study.summarize(http)), plots.memory_per_socket(study.sockets(chat))):
        shown = [marks for marks in ax.collections if len(marks.get_offsets())]
        assert shown and all((len(marks.get_facecolor()) == 0) == hollow for marks in shown)
        assert ("disturbed run" in legend(ax)) == hollow


def test_twenty_cases_are_drawn_in_twenty_ways(cases, tmp_path):
    chat = [synthetic.chat_run(tmp_path, "run", workload=ChatLoad(clients=60, rooms=6, duration_s=4, ramp_s=14))]
    for draw, table in (
        (plots.latency_distribution, study.requests(cases[:1])), (plots.percentiles_to_the_tail, study.requests(cases[:1])),
        (plots.memory_per_socket, study.sockets(chat)), (crowdplots.latency_by_room_size, study.messages(chat)),
    ):  # fmt: skip
        ax = draw(pd.concat([table.assign(point=f"case {n:02}") for n in range(20)]))
        of = lambda line: (line.get_color(), line.get_marker(), line.get_linestyle())  # noqa: E731
        assert len({of(handle) for handle in ax.get_legend().legend_handles}) == 20, draw.__name__
        lines = {(line.get_color(), line.get_linestyle()) for line in ax.lines}
        assert len(lines) == len(ax.lines), f"{draw.__name__}: each line is as its case's"


def test_throughput_names_the_failures(cases):
    ax = plots.throughput_by_case(study.summarize(cases))
    assert [text.get_text() for text in ax.texts] == ["0.8%\nfailed"]
    assert ax.get_ylim()[0] == 0


def test_one_moment_and_one_request_are_drawn_without_a_warning(cases, chats):
    usage, sockets, requests = study.resources(cases[:1]), study.connections(chats[:1]), study.requests(cases[:1])
    plots.memory_over_time(usage[usage.t_s == usage.dropna(subset="pss_bytes").t_s.iloc[0]]).figure.canvas.draw()
    plots.failover_timeline(sockets[:1].assign(closed_s=np.nan), study.messages([])).figure.canvas.draw()
    plots.percentiles_to_the_tail(requests[requests.error.isna() & ~requests.warmup.astype(bool)][:1]).figure.canvas.draw()


def test_services_have_the_same_colours_on_every_picture(cases, killed):
    for runs in (cases[:1], killed):
        for draw in (plots.cpu_over_time, plots.memory_over_time):
            ax = draw(study.resources(runs))
            colours = {
                text.get_text(): to_hex(patch.get_facecolor())
                for text, patch in zip(ax.get_legend().get_texts(), ax.get_legend().get_patches(), strict=True)
            }
            assert colours["nginx"] == "#0072b2"
            assert colours["uwsgi"] == "#e69f00"
            assert len(set(colours.values())) == len(colours)


def test_stacked_cpu_adds_up_to_what_was_used(cases):
    resources = study.resources(cases[:1])
    ax = plots.cpu_over_time(resources)
    top = max(area.get_paths()[0].vertices[:, 1].max() for area in ax.collections)
    assert top == pytest.approx(resources.groupby("t_s")["cpu_share"].sum().max(), rel=0.01)


def test_of_several_runs_cpu_is_the_mean(cases):
    one = plots.cpu_over_time(study.resources(cases[:1]))
    many = plots.cpu_over_time(study.resources(cases[:4]))
    assert many.get_ylim()[1] == pytest.approx(one.get_ylim()[1], rel=0.25)


def test_many_daphnes_are_one_area(tmp_path):
    run = synthetic.http_run(tmp_path, "run", StackSettings(daphne_instances=16), HttpLoad(requests=50, users=5))
    assert legend(plots.memory_over_time(study.resources([run]))) == ["redis", "daphne", "uwsgi", "nginx"]


def test_sixteen_instances_can_be_told_in_the_access_logs(tmp_path):
    load = ChatLoad(clients=64, rooms=8, duration_s=2, ramp_s=1)
    run = synthetic.chat_run(tmp_path, "run", StackSettings(daphne_instances=16), load)
    ax = plots.access_log_share(study.connections([run]))
    assert legend(ax) == [f"daphne@{number}" for number in range(1, 17)]
    assert sum(bar.get_width() for bar in ax.patches) == pytest.approx(1)


def test_access_log_shares_are_those_of_the_connections(killed):
    ax = plots.access_log_share(study.connections(killed))
    assert [text.get_text() for text in ax.texts] == ["50%", "25%", "25%"]


def test_the_timeline_shows_clients_leave_and_come_back_and_the_event(killed):
    ax = plots.failover_timeline(study.connections(killed), study.messages(killed), events=study.events(killed))
    assert "kill daphne@3" in [text.get_text() for text in ax.texts]
    top = ax.collections[-1].get_paths()[0].vertices
    after = top[(top[:, 0] > 4.3) & (top[:, 0] < 4.9)]
    assert after[:, 1].max() == 20
    assert top[:, 1].max() == 30


def test_memory_per_socket_states_the_slope_where_there_are_readings_enough(chats, tmp_path):
    run = synthetic.chat_run(tmp_path, "slow", workload=ChatLoad(clients=60, rooms=6, duration_s=4, ramp_s=14), point="slow")
    words = legend(plots.memory_per_socket(study.sockets([run])))
    assert words == [f"slow\n{servers.costs([run])['kib_per_connection'].item():.0f} KiB a socket"], "the same in all of a report"
    assert 55 <= int(words[0].split()[-4]) <= 62
    assert "socket" not in "".join(legend(plots.memory_per_socket(study.sockets(chats)))), "three readings make no slope"


def test_delivery_counts_what_was_lost(chats):
    summary = study.summarize(chats)
    ax = plots.delivered_by_point(summary)
    lost = int(summary["lost"].sum())
    assert sorted(text.get_text() for text in ax.texts) == sorted(["none lost", "none lost", f"{lost:,} lost"])


def test_shares_end_at_none_and_all_however_little_was_delivered(chats):
    ax = plots.delivered_by_point(study.summarize(chats).assign(delivered_share=np.linspace(0.01, 1, len(chats))))
    assert min(ax.get_yticks()) >= 0 and max(ax.get_yticks()) == pytest.approx(1)


def test_daphnes_cost_is_cpu_or_memory(chats):
    summary = study.summarize(chats)
    cpu = plots.daphne_cost_by_point(summary)
    memory = plots.daphne_cost_by_point(summary, metric="pss_peak_bytes_daphne")
    assert cpu.get_ylabel() == "CPU seconds per 1000 deliveries"
    assert plots.daphne_cost_by_point(summary, metric="cpu_s_daphne").get_ylabel() == "CPU seconds under load"
    assert memory.get_ylabel() == "peak PSS, MiB"
    assert memory.patches[0].get_height() == pytest.approx(63.6e6 / (1 << 20), rel=0.01)


def test_a_comparison_shows_its_intervals_and_verdicts(chats):
    effects = study.compare(chats, "latency_p50_s", base="one")
    ax = plots.comparison(effects)
    assert [text.get_text() for text in ax.texts] == ["slower", "faster"]
    assert ax.get_title(loc="left") == "Median latency"
    assert ax.get_xlabel() == "ratio to one"


def test_long_labels_are_broken_and_kept_apart():
    rows = [
        {"experiment": "e", "run": f"r{n}", "point": f"case {n} with a rather long name of its own", "repeat": 1, "valid": True,
         "throughput_per_s": 100.0 + n} for n in range(8)
    ]  # fmt: skip
    ax = plots.throughput_by_case(pd.DataFrame(rows))
    ax.figure.canvas.draw()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert not any(one.overlaps(other) for one, other in zip(boxes, boxes[1:], strict=False))


def test_names_that_do_not_fit_beside_each_other_stand_aslant_and_whole():
    rows = [
        {"experiment": "e", "run": f"r{n}", "point": f"2026112{n}-19{n}513", "repeat": 1, "valid": True, "cpu_s_daphne": 1.0}
        for n in range(6)
    ]
    _, (left, _) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    plots.daphne_cost_by_point(pd.DataFrame(rows), left, metric="cpu_s_daphne")
    labels = left.get_xticklabels()
    assert [label.get_text() for label in labels] == [row["point"] for row in rows]
    assert {label.get_rotation() for label in labels} == {35}


def test_an_instance_has_the_same_colour_whichever_others_are_there(killed):
    connections = study.connections(killed)
    all_three = plots.access_log_share(connections).get_legend().get_patches()
    [alone] = plots.access_log_share(connections[connections["instance"] == "daphne@2"]).get_legend().get_patches()
    assert to_hex(alone.get_facecolor()) == to_hex(all_three[1].get_facecolor())


def test_a_hundred_thousand_requests_are_a_light_picture(tmp_path):
    rows = pd.DataFrame(
        {"experiment": "e", "run": "r", "point": "p", "repeat": 1, "valid": True, "warmup": False, "error": None,
         "response_s": np.random.default_rng(0).lognormal(-2, 0.5, 100_000)}
    )  # fmt: skip
    ax = plots.latency_distribution(rows)
    assert len(ax.lines[0].get_xdata()) < 1000
