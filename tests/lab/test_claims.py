"""What is looked at for the claims, and a unit that stands still, on the real lab, in the quickest form."""

import threading
import time

import pytest
from here import wait_until

from stacklab import stack
from stacklab.bench.events import Event
from stacklab.bench.experiment import run_experiment
from stacklab.bench.plan import Experiment, Point
from stacklab.settings import StackSettings
from stacklab.study import judge, summarize
from stacklab.study.claims import CLAIMS
from stacklab.workload import HttpLoad, Look

pytestmark = pytest.mark.lab
BY_ID = {claim.id: claim for claim in CLAIMS}


@pytest.fixture
def look(lab, at_defaults, tmp_path):
    """Look at points once each; the rows of their summary, by label."""

    def at(**points):
        plan = Experiment(name="looks", repeats=1, points=tuple(
            Point(label, settings, Look(**fields)) for label, (settings, fields) in points.items()
        ))  # fmt: skip
        runs = run_experiment(plan, lab, tmp_path)
        assert stack.current(at_defaults) == StackSettings()
        assert all(run.validity.valid and run.environment["versions"] for run in runs)
        return summarize(runs).set_index("point"), runs

    return at


def test_nginx_holds_half_as_many_chat_clients_as_it_has_connections(look):
    rows, runs = look(c128=(StackSettings(nginx_worker_connections=128), {"sight": "clients_held"}))
    row = rows.loc["c128"]
    assert 0.35 < row["held_of_limit"] <= 0.5 and row["first_refused"] <= 65
    assert judge(BY_ID["C1"], runs).tests["estimate"].iloc[0] == pytest.approx(row["held_of_limit"])


@pytest.mark.faults
def test_daphnes_v_is_verbosity(look):
    rows, _ = look(**{f"v{n}": (StackSettings(), {"sight": "daphne_processes", "verbosity": n}) for n in (1, 2)})
    assert rows["daphne_processes"].tolist() == [1, 1]


@pytest.mark.faults
def test_threads_under_synchronous_requests_are_counted(look):
    threads = {"four": 4, "sixteen": 16}
    rows, _ = look(**{name: (StackSettings(asgi_threads=n), {"sight": "sync_threads"}) for name, n in threads.items()})
    assert rows.loc["four", "sync_threads"] >= 1 and rows.loc["four", "sync_per_s"] > 1
    # Four threads that wait 100 ms each answer 40 times a second at most; sixteen do more. Synchronous views do not care.
    assert rows.loc["four", "pool_per_s"] < min(41, rows.loc["sixteen", "pool_per_s"])


def test_starts_are_looked_at_again_and_again(look):
    rows, _ = look(plain=(StackSettings(), {"sight": "starts", "ready": False, "rounds": 2}))
    assert rows.loc["plain", "starts"] == 2 and rows.loc["plain", "active_not_listening"] >= 1


def test_sixty_clients_meet_three_instances_twenty_each_and_their_words_are_not_logged(look):
    rows, _ = look(turns=(StackSettings(), {"sight": "socket_shares"}))
    assert rows.loc["turns", ["busiest_share", "instances_met_share", "lines_per_socket"]].tolist() == pytest.approx([1, 1, 2])


# ---------------------------------------------------------------- a standstill


def standing(host) -> set[str]:
    pids = host.run("cat /sys/fs/cgroup/system.slice/uwsgi.service/cgroup.procs 2>/dev/null || pgrep -x uwsgi", sudo=True)
    return set(host.run(f"ps -o stat= -p {','.join(pids.split())}").split())


def test_a_standstill_shows_in_a_schedules_slow_tenth_and_hardly_in_a_loops(lab, at_defaults, tmp_path):
    frozen = (Event(2, freeze="uwsgi", for_s=2),)
    common = {"requests": 600, "users": 5, "ramp_s": 0.5, "warmup_s": 0.5}
    points = (
        Point("loop", StackSettings(), HttpLoad(wait_s=0.05, **common), frozen),
        Point("schedule", StackSettings(), HttpLoad(requests_per_s=100.0, arrivals="poisson", **common), frozen),
    )
    runs = run_experiment(Experiment(name="freeze", points=points, repeats=1), lab, tmp_path)
    rows = summarize(runs).set_index("point")
    assert (rows["errors"] == 0).all()
    slow = {run.point: (run.table("requests")["duration_s"] > 1).sum() for run in runs}
    assert 0 < slow["loop"] <= 10 and slow["schedule"] > 60, "one of each of five users; and a tenth of those that were due"
    assert not any("T" in state for state in standing(at_defaults))
    assert [event["what"] for event in runs[0].events] == ["freeze uwsgi for 2 s"]


@pytest.mark.fault("the desk is gone while a service stands still", "desk")
def test_what_stands_still_goes_on_also_if_the_desk_is_gone(lab, host):
    own = lab.web()
    thread = threading.Thread(target=lambda: _until_it_breaks(own), daemon=True)
    thread.start()
    time.sleep(1.5)
    assert any("T" in state for state in standing(host))
    own.close()  # as when the desk dies
    wait_until(lambda: not any("T" in state for state in standing(host)), "it goes on", 15)


def _until_it_breaks(host) -> None:
    try:
        Event(0, freeze="uwsgi", for_s=4).happen(host, StackSettings())
    except Exception:
        pass  # the connection broke, as it was to
