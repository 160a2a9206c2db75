"""Whether requests flowed as they must, by numbers that one can check by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from stacklab.runs import flow
from stacklab.workload import HttpLoad


def slice_of(starts, durations=0.0, seconds: float = 100.0, offset_s: float | None = None, **load) -> SimpleNamespace:
    """As much of a slice as is asked for here, from 0 to `seconds` on the desk's clock; nginx began the requests at `starts`."""
    starts = np.asarray(starts, dtype=float)
    server = pd.DataFrame({"end_s": starts + durations + (offset_s or 0.0), "duration_s": np.zeros(len(starts)) + durations})
    return SimpleNamespace(
        whole=True, start_s=0.0, end_s=seconds, clock_offset_s=offset_s, has=lambda name: True, table=lambda name: server,
        kind="http", events=(), workload=HttpLoad(**load),
    )  # fmt: skip


def requests(starts, warmup=False) -> pd.DataFrame:
    return pd.DataFrame({"start_s": np.asarray(starts, dtype=float)}).assign(warmup=warmup)


def even(count: int, seconds: float = 100.0) -> np.ndarray:
    return np.arange(count) * seconds / count


def test_users_are_those_under_way_and_those_who_wait():
    starts, durations = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 1.0])
    assert flow.little_users(starts, durations, 0, 3, 0.0) == pytest.approx(1)
    assert flow.little_users(starts, durations, 0, 3, 0.5) == pytest.approx(1.5), "one a second, each waits half a second"
    assert flow.little_users(starts, durations, 1, 2, 0.5) == pytest.approx(1.5), "who begins at the end belongs to what follows"
    assert flow.little_users(starts, durations, 0.5, 2.5, 0.0) == pytest.approx(1), "of two only halves lie within"
    assert flow.little_users(starts, durations, 9, 10, 1.0) == 0
    assert np.isnan(flow.little_users(starts, durations, 1, 1, 1.0))


@pytest.mark.parametrize(("logged", "said"), [(1079, 0), (1081, 1), (921, 0), (919, 1)])
def test_the_rates_of_client_and_nginx_may_differ_by_a_twentieth_and_thirty(logged, said):
    assert len(list(flow.rates(slice_of(even(logged)), requests(even(1000))))) == said
    assert len(list(flow.rates(slice_of(even(logged), offset_s=50.0), requests(even(1000))))) == said


def test_without_a_log_or_a_time_no_rates_are_held_against_each_other():
    assert not list(flow.rates(slice_of([]), requests(even(1000))))
    assert not list(flow.rates(slice_of(even(9), seconds=0.0), requests(even(1000))))


@pytest.mark.parametrize(("end_s", "said"), [(0.5, 0), (0.49, 1)])
def test_half_a_second_is_the_least(end_s, said):
    run = slice_of(even(10), seconds=end_s)
    assert len(list(flow.window(run))) == said


def whole(run: SimpleNamespace, table: pd.DataFrame) -> SimpleNamespace:
    """The run of which a slice was one, with the client's own table."""
    tables = {"requests": table, "server": run.table("server")}
    return SimpleNamespace(**{**vars(run), "whole": None, "table": tables.get})


@pytest.mark.parametrize(("per_s", "said"), [(100, 0), (101, 1)])
def test_half_of_what_the_generator_can_make_is_its_limit(per_s, said):
    table = requests([*even(100 * per_s), 100.0])
    run = whole(slice_of(even(10)), table)
    assert len(list(flow.ceiling(run, SimpleNamespace(ceiling_per_s=200.0)))) == said
    assert not list(flow.ceiling(run, None)) and not list(flow.ceiling(run, SimpleNamespace(ceiling_per_s=None)))


def parts(counts) -> pd.DataFrame:
    """Requests of which so many began in each tenth of the time."""
    starts = np.concatenate([place + (np.arange(count) + 0.5) / count for place, count in enumerate(counts)])
    starts[0], starts[-1] = 0.0, len(counts)
    return requests(starts)


def drifted(counts, run_is=None, usual: float = 0.0) -> list[str]:
    run = whole(slice_of(even(10)), parts(counts))
    vars(run).update(run_is or {})
    return list(flow.drift(run, SimpleNamespace(noise={"throughput_per_s": usual}) if usual else None))


def grown(change: float, least: float = 1000) -> list[int]:
    """Ten counts that grow evenly, `change` times as many at the end."""
    return [round(least * change ** (place / 9)) for place in range(10)]


def test_a_drift_of_more_than_a_fifth_is_said_with_how_much_it_was():
    assert not drifted(grown(1.17)) and not drifted(grown(1 / 1.17))
    [up], [down] = drifted(grown(1.25)), drifted(grown(1 / 1.5))
    assert "drifted by +25% within the run, more than 20%" in up and "drifted by -33%" in down
    assert not drifted(grown(1.25), usual=0.1) and drifted(grown(1.35), usual=0.1), "three times what is usual is no matter"


def test_a_drift_must_be_one_that_luck_makes_once_in_a_hundred():
    """Of 45 pairs of tenths 37 rise and 8 fall: 29 more. With 36 and 9 it may be luck."""
    counts = grown(2)
    assert drifted([counts[8], *counts[:8], counts[9]]) and not drifted([counts[9], *counts[:9]])


def test_few_requests_a_schedule_and_events_are_not_asked_whether_they_drifted():
    assert drifted(grown(2, least=31)) and not drifted(grown(2, least=29))
    counts = grown(2)
    assert not drifted(counts, {"events": ({},)}) and not drifted(counts, {"kind": "plan"})
    assert not drifted(counts, {"workload": HttpLoad(requests_per_s=100)})


@pytest.mark.parametrize(("duration_s", "per_s", "said"), [
    (0.91, 10, []), (0.89, 10, ["makes 8.9 users, 10 were asked for (-11%)"]), (1.09, 10, []), (1.11, 10, ["makes 11.1 users"]),
    (0.0051, 1000, []), (0.0049, 1000, ["makes 4.9 users"]),
])  # fmt: skip
def test_a_tenth_of_the_users_or_five_milliseconds_a_request_may_be_outside_nginx(duration_s, per_s, said):
    starts = np.arange(-5, 105, 1 / per_s)
    run = slice_of(starts, duration_s, users=10)
    found = list(flow.little(run, requests(even(11)), requests(starts)))
    assert len(found) == len(said) and all(words in sentence for words, sentence in zip(said, found, strict=True))


def test_who_asked_once_was_in_no_loop():
    run = slice_of(even(1000), 0.0, users=10)
    assert list(flow.little(run, requests(even(11)), requests(even(11))))
    assert not list(flow.little(run, requests(even(10)), requests(even(10))))


def test_where_nginx_logs_nothing_of_a_path_nobody_was_missing():
    assert not list(flow.little(slice_of([], users=10), requests(even(1000)), requests(even(1000))))
    without = slice_of(even(1000), 0.0, users=10)
    without.has = lambda name: name != "server"
    assert not list(flow.little(without, requests(even(1000)), requests(even(1000))))
