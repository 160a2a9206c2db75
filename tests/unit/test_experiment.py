"""Plans, estimates, and experiments that are interrupted: measured here without a lab."""

import json
import os
import signal
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from here import wait_until
from hypothesis import given
from hypothesis import strategies as st
from local_host import LocalHost

from stacklab.bench import experiment as module
from stacklab.bench import found, measuring
from stacklab.bench.events import Event, Events
from stacklab.bench.experiment import estimate, from_networks, guessed_s, rows_of, run_experiment
from stacklab.bench.experiments import EXPERIMENTS, experiment_named
from stacklab.bench.load import Progress
from stacklab.bench.onsite import on_site
from stacklab.bench.plan import Experiment, Point
from stacklab.bench.resume import set_aside
from stacklab.errors import LabError, SettingsError
from stacklab.runs.draft import writing_run
from stacklab.runs.results import Run, Validity
from stacklab.settings import StackSettings
from stacklab.site import LAB, Site
from stacklab.workload import ChatLoad, HttpLoad

LOAD = HttpLoad(requests=100, users=5)
POINTS = tuple(Point(f"{n} processes", StackSettings(uwsgi_processes=n), LOAD) for n in (1, 2, 3, 4))


# ---------------------------------------------------------------- the plan


@given(st.integers(1, 6), st.integers())
def test_each_repeat_holds_every_point_once_in_an_order_that_the_seed_gives(repeats, seed):
    plan = Experiment(name="x", points=POINTS, repeats=repeats, seed=seed).plan()
    for repeat in range(1, repeats + 1):
        block = [planned for planned in plan if planned.repeat == repeat]
        assert sorted(planned.point.label for planned in block) == sorted(point.label for point in POINTS)
        assert [planned.position for planned in block] == [1, 2, 3, 4]
    assert len({planned.name for planned in plan}) == len(plan)
    assert plan == Experiment(name="x", points=POINTS, repeats=repeats, seed=seed).plan()


def test_repeats_are_shuffled_anew_and_more_repeats_keep_the_first_ones():
    longer = Experiment(name="x", points=POINTS, repeats=8).plan()
    orders = {tuple(p.point.label for p in longer if p.repeat == repeat) for repeat in range(1, 9)}
    assert len(orders) > 1
    assert longer[:12] == Experiment(name="x", points=POINTS, repeats=3).plan()


@pytest.mark.parametrize("repeats", [0, 1001, -1])
def test_repeats_have_a_range(repeats):
    with pytest.raises(SettingsError, match=f"repeats={repeats} is not allowed: repeats takes a whole number from 1 to 1000"):
        Experiment(name="x", points=POINTS, repeats=repeats)


def test_points_need_labels_of_their_own():
    with pytest.raises(SettingsError, match="need different labels"):
        Experiment(name="x", points=(POINTS[0], POINTS[0]))


def test_an_unknown_experiment_names_those_there_are():
    with pytest.raises(SettingsError, match="there is no experiment 'nope'; there are eight-cases, one-vs-three"):
        experiment_named("nope")


def test_the_eight_cases_are_the_posts():
    plan = experiment_named("eight-cases")
    seen = {
        (p.workload.users, p.settings.nginx_worker_connections, p.settings.uwsgi_processes)
        for p in plan.points
    }  # fmt: skip
    assert seen == {(u, c, w) for u in (100, 200) for c in (1024, 4000) for w in (5, 10)}
    assert (plan.name, plan.repeats, plan.points[0].workload.path) == ("eight-cases", 18, "/")
    quick = experiment_named("eight-cases", quick=True)
    assert (quick.name, quick.repeats, quick.slice_s) == ("eight-cases-quick", 5, plan.slice_s)
    assert experiment_named("eight-cases", quick=True, repeats=2).repeats == 2


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("quick", [True, False])
def test_every_experiment_can_be_planned_estimated_and_written_down(name, quick, tmp_path):
    plan = experiment_named(name, quick=quick)
    left = estimate(plan, tmp_path)
    assert left.runs == plan.repeats * (1 if plan.slice_s else len(plan.points))
    assert left.duration_s > 0 and left.disk_bytes > 0
    json.dumps(plan.to_dict())


# ---------------------------------------------------------------- estimates


def test_a_guess_counts_ramp_and_warmup_and_follows_schedule_or_wait():
    closed = HttpLoad(requests=7000, ramp_s=3, warmup_s=2)
    assert guessed_s(closed) == pytest.approx(5 + 7000 / module.GUESSED_REQUESTS_PER_S)
    assert guessed_s(closed.replace(requests_per_s=100.0)) == pytest.approx(5 + 70)
    assert guessed_s(closed.replace(users=10, wait_s=1.0)) == pytest.approx(5 + 700)
    assert guessed_s(ChatLoad(ramp_s=10, duration_s=30)) == 40


def test_rows_of_a_chat_grow_with_messages_and_receivers():
    few = ChatLoad(clients=100, rooms=10, messages_per_s=0.1, duration_s=10)
    assert rows_of(few) == 100 * (1 + 10)
    assert rows_of(HttpLoad(requests=100)) == 200


def test_clients_come_from_as_many_networks_as_asked():
    addresses = ["10.0.0.10", "10.0.0.11", "10.0.1.10", "10.0.2.10"]
    assert from_networks(addresses, ChatLoad(networks=2)) == ["10.0.0.10", "10.0.0.11", "10.0.1.10"]
    assert from_networks(addresses, HttpLoad()) == addresses
    assert from_networks([], ChatLoad()) == []


# ---------------------------------------------------------------- running, stopping, going on


class Web(LocalHost):
    """A web host that only knows its settings, and what a measurement keeps there: that is in files here."""

    def __init__(self, settings=StackSettings()):  # noqa: B008  (frozen)
        self.settings = settings
        self.changing = False


class Lab:
    name, kind = "here", "container"

    def __init__(self, host):
        self.host = host

    def web(self):
        return self.host

    def status(self):
        return {}


@pytest.fixture
def web(monkeypatch, tmp_path):
    web = Web(StackSettings(uwsgi_threads=7))
    monkeypatch.setattr(measuring, "LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(found, "FOUND", str(tmp_path / "found.json"))
    monkeypatch.setattr(module.stack, "current", lambda host: host.settings)
    monkeypatch.setattr(module.stack, "state", lambda host: {"changing": host.changing})
    monkeypatch.setattr(module.stack, "apply", lambda host, settings: setattr(host, "settings", settings))
    monkeypatch.setattr(module.stack, "ca_certificate", lambda host: "")
    monkeypatch.setattr(module.stack, "site_of", lambda host: LAB)
    monkeypatch.setattr(module, "environment", lambda *_: {})
    return web


@pytest.fixture
def measured(monkeypatch):
    """The names of the runs that were measured; `measured.at[n]` is called instead of the n-th measurement."""
    log = SimpleNamespace(names=[], notes=[], at={}, disturbed=set())

    def measure(on, settings, workload, *, folder, name, point, repeat, position, events, progress):
        on.host.settings = settings
        log.names.append(name)
        log.notes.append(on.environment["notes"])
        with writing_run(folder, name) as draft:
            if interrupt := log.at.pop(len(log.names), None):
                interrupt()
            run = Run(
                path=draft.path, settings=settings, workload=workload, observed={}, environment={}, experiment=folder.name,
                run=name, point=point, repeat=repeat, position=position, started_s=time.time(), ended_s=time.time(),
                under_load_s=8.0, validity=Validity(("Steal.",) if name in log.disturbed else ()),
            )  # fmt: skip
            draft.record(run)

    monkeypatch.setattr(module, "measure", measure)
    return log


PLAN = Experiment(name="processes", points=POINTS, repeats=2)


def stop():
    raise KeyboardInterrupt


def fail():
    raise LabError("the load failed")


def test_each_run_on_somebodys_site_says_what_it_was_asked_instead(tmp_path, web, measured, monkeypatch):
    site = Site(name="plain", code="1", wsgi="a:b", health="/hello/")
    monkeypatch.setattr(module.stack, "site_of", lambda host: site)
    plan, said = on_site(PLAN, site)  # as `fab experiment` has done before it measures
    assert len(run_experiment(plan, Lab(web), tmp_path)) == 8
    assert measured.notes == [said] * 8 and "/hello/ is asked in its place" in said[0]


@pytest.mark.parametrize("interrupt", [stop, fail])
def test_an_interrupted_experiment_goes_on_where_it_stopped_and_counts_nothing_twice(tmp_path, web, measured, interrupt):
    measured.at[4] = interrupt
    with pytest.raises((KeyboardInterrupt, LabError)):
        run_experiment(PLAN, Lab(web), tmp_path)
    assert web.settings == StackSettings(uwsgi_threads=7), "the settings it found are back"
    assert estimate(PLAN, tmp_path).runs == 5
    runs = run_experiment(PLAN, Lab(web), tmp_path)
    order = [planned.name for planned in PLAN.plan()]
    assert measured.names == order[:4] + order[3:]
    assert sorted(run.run for run in runs) == sorted(order)
    assert web.settings == StackSettings(uwsgi_threads=7)


def test_a_block_in_place_of_a_disturbed_one_up_to_half_as_many(tmp_path, web, measured):
    plan = Experiment(name="processes", points=POINTS, repeats=4)
    measured.disturbed = {plan.block(2)[1].name}
    assert len(run_experiment(plan, Lab(web), tmp_path)) == 5 * 4
    assert {run_name[:2] for run_name in measured.names} == {"r1", "r2", "r3", "r4", "r5"}
    assert len(run_experiment(plan, Lab(web), tmp_path)) == 5 * 4 == len(measured.names)

    worse = Experiment(name="worse", points=POINTS, repeats=4)
    measured.disturbed = {planned.name for repeat in range(1, 9) for planned in worse.block(repeat)}
    assert len(run_experiment(worse, Lab(web), tmp_path)) == 6 * 4, "half as many again, and no more"


def test_a_killed_experiment_goes_on_and_restores_what_it_found_at_its_first_start(tmp_path, web, measured):
    pid = os.fork()
    if pid == 0:
        measured.at[3] = lambda: os.kill(os.getpid(), signal.SIGKILL)
        run_experiment(PLAN, Lab(web), tmp_path)
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    order = [planned.name for planned in PLAN.plan()]
    assert sorted(path.name for path in (tmp_path / "processes").glob("r*")) == sorted(order[:2])

    web.settings = POINTS[0].settings  # what the killed one left on the host
    runs = run_experiment(PLAN, Lab(web), tmp_path)
    assert measured.names == order[2:]
    assert len(runs) == 8 and len({run.run for run in runs}) == 8
    assert web.settings == StackSettings(uwsgi_threads=7)
    assert not list((tmp_path / "processes").glob(".partial*"))


def test_what_another_experiment_found_before_it_was_killed_is_back_after_this_one(tmp_path, web, measured):
    run_experiment(PLAN, Lab(web), tmp_path)
    (tmp_path / "found.json").write_text(json.dumps(StackSettings(uwsgi_threads=3).to_dict()))
    other = Experiment(name="other", points=POINTS, repeats=1)
    run_experiment(other, Lab(web), tmp_path)
    assert web.settings == StackSettings(uwsgi_threads=3) and not (tmp_path / "found.json").exists()


def test_what_the_user_sets_after_a_kill_counts(tmp_path, web, measured):
    (tmp_path / "found.json").write_text(json.dumps(StackSettings(uwsgi_threads=3).to_dict()))
    found.forget(web)
    run_experiment(PLAN, Lab(web), tmp_path)
    assert web.settings == StackSettings(uwsgi_threads=7)


def test_a_kill_after_the_last_run_still_ends_in_the_settings_found(tmp_path, web, measured, monkeypatch):
    run_experiment(PLAN, Lab(web), tmp_path)
    (tmp_path / "found.json").write_text(json.dumps(StackSettings(uwsgi_threads=3).to_dict()))
    run_experiment(PLAN, Lab(web), tmp_path)
    assert web.settings == StackSettings(uwsgi_threads=3)
    assert len(measured.names) == 8


def test_settings_found_that_nobody_can_read_any_more_are_no_obstacle(tmp_path, web, measured):
    (tmp_path / "found.json").write_text('{"no_such_setting": 1}')
    run_experiment(PLAN, Lab(web), tmp_path)
    assert web.settings == StackSettings(uwsgi_threads=7)


def test_a_whole_experiment_asks_nothing_of_a_lab_that_somebody_else_measures(tmp_path, web, measured):
    run_experiment(PLAN, Lab(web), tmp_path)
    (tmp_path / "found.json").write_text(json.dumps(StackSettings(uwsgi_threads=3).to_dict()))
    with measuring.measuring(LocalHost(), "fab http"):
        assert len(run_experiment(PLAN, Lab(web), tmp_path)) == 8
    assert web.settings == StackSettings(uwsgi_threads=7), "what the other found is the other's to go back to"


def test_an_experiment_that_is_lengthened_later_restores_what_it_found_then(tmp_path, web, measured):
    run_experiment(PLAN, Lab(web), tmp_path)
    web.settings = StackSettings(uwsgi_threads=2)
    runs = run_experiment(Experiment(name="processes", points=POINTS, repeats=3), Lab(web), tmp_path)
    assert len(runs) == 12
    assert web.settings == StackSettings(uwsgi_threads=2)


def test_a_whole_experiment_is_not_measured_again_and_needs_no_lab(tmp_path, web, measured):
    run_experiment(PLAN, Lab(web), tmp_path)
    runs = run_experiment(PLAN, None, tmp_path)
    assert len(runs) == 8 and len(measured.names) == 8


def test_a_restore_waits_for_a_change_that_an_interrupt_left_under_way(tmp_path, web, measured):
    def change_under_way():
        web.changing = True
        threading.Timer(0.7, lambda: setattr(web, "changing", False)).start()
        raise KeyboardInterrupt

    measured.at[1] = change_under_way
    with pytest.raises(KeyboardInterrupt):
        run_experiment(PLAN, Lab(web), tmp_path)
    assert not web.changing and web.settings == StackSettings(uwsgi_threads=7)


def test_another_plan_of_the_same_name_is_refused_and_fresh_keeps_the_old_runs(tmp_path, web, measured):
    run_experiment(PLAN, Lab(web), tmp_path)
    other = Experiment(name="processes", points=POINTS[:2], repeats=2)
    with pytest.raises(LabError, match="holds runs of another plan of the same name; start over with --fresh"):
        run_experiment(Experiment(name="processes", points=POINTS, repeats=3, seed=9), Lab(web), tmp_path)
    assert len(run_experiment(other, Lab(web), tmp_path, fresh=True)) == 4
    assert len(list((tmp_path / "processes.1").glob("r*"))) == 8
    assert web.settings == StackSettings(uwsgi_threads=7)


def test_runs_of_two_labs_are_not_mixed(tmp_path, web, measured):
    run_experiment(PLAN, Lab(web), tmp_path)
    elsewhere = Lab(web)
    elsewhere.name = "elsewhere"
    longer = Experiment(name="processes", points=POINTS, repeats=3)
    with pytest.raises(LabError, match="holds runs of the lab here, and runs of two machines cannot be compared"):
        run_experiment(longer, elsewhere, tmp_path)


def test_two_measurements_at_once_exclude_each_other(tmp_path, web, measured):
    by = r"being measured by .* \(experiment processes\)"

    def second():
        other = Experiment(name="other", points=POINTS)
        with pytest.raises(LabError, match=rf"the lab web is {by}, for \d+ s now; wait for it to end"):
            run_experiment(other, Lab(web), tmp_path / "elsewhere")
        with pytest.raises(LabError, match=rf"the experiment processes is {by}; wait for it to end"):
            run_experiment(PLAN, Lab(web), tmp_path, fresh=True)

    measured.at[2] = second
    assert len(run_experiment(PLAN, Lab(web), tmp_path)) == 8


def test_a_disk_that_is_too_small_is_noticed_before_anything_starts(tmp_path, web, measured, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=10 << 20))
    with pytest.raises(LabError, match="has 10 MiB free, and this needs about .* MiB; make room first"):
        run_experiment(PLAN, Lab(web), tmp_path)
    assert measured.names == [] and web.settings == StackSettings(uwsgi_threads=7)


def test_the_pace_of_earlier_runs_makes_the_estimate(tmp_path, web, measured, recwarn):
    measured.at[5] = stop
    with pytest.raises(KeyboardInterrupt):
        run_experiment(PLAN, Lab(web), tmp_path)
    left = estimate(PLAN, tmp_path)
    assert left.runs == 4
    assert left.duration_s == pytest.approx(4 * (8.0 + module.BETWEEN_RUNS_S))
    assert estimate(PLAN, tmp_path, fresh=True).runs == 8
    assert not recwarn.list, "a run that was cut off is not worth a warning here"


def test_setting_aside_finds_the_next_free_name(tmp_path):
    assert set_aside("x", tmp_path) is None
    for number in (1, 2):
        (tmp_path / "x").mkdir()
        assert set_aside("x", tmp_path) == tmp_path / f"x.{number}"


# ---------------------------------------------------------------- events


def test_an_event_kills_stops_or_changes_one_of_them():
    assert Event(at_s=1, kill="daphne@1").to_dict() == {"at_s": 1, "phase": "load", "what": "kill daphne@1"}
    assert Event(at_s=1, change=(("daphne_instances", 1),)).what == "daphne_instances=1"
    assert Event(at_s=1, stop="redis-server", for_s=2.5).what == "stop redis-server for 2.5 s"
    assert Event(at_s=1, freeze="uwsgi", for_s=2.5).what == "freeze uwsgi for 2.5 s"
    two = ({"change": (("a", 1),)}, {"stop": "nginx"}, {"freeze": "nginx"})
    mixed = ({}, *({"kill": "nginx"} | other for other in two))
    for wrong in (*mixed, {"kill": "nginx", "phase": "later"}):
        with pytest.raises(SettingsError):
            Event(at_s=1, **wrong)


def test_an_event_that_comes_too_late_is_named():
    late = Event(at_s=60, kill="daphne@2")
    with Events((late,), None, StackSettings(), None) as happened:
        happened.progress(Progress(0, 1, 0.0, 0, None, "ramp"))
    assert happened.done == [] and happened.missed == ["kill daphne@2"]


def test_an_event_waits_for_its_phase_however_long_the_clients_take_to_connect():
    happened_in = []

    class Host:
        def run(self, command, sudo):
            happened_in.append((command.split()[-1], phase))

    kill = Event(at_s=0.05, kill="daphne@2")
    with Events((kill, replace(kill, kill="daphne@1", phase="ramp")), Host(), StackSettings(), None) as happened:
        for phase in ("ramp", "load"):
            happened.progress(Progress(0, 1, 0.0, 0, None, phase))
            wait_until(lambda phase=phase: phase in [when for _, when in happened_in], f"what belongs to the {phase} happens")
    assert happened_in == [("daphne@1", "ramp"), ("daphne@2", "load")] and not happened.missed


def test_a_computer_without_git_can_measure(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert module._commit() is None
