"""What disturbed a measurement: which samples count, and how unequal the slices of a block were."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import synthetic
from synthetic import with_table

from stacklab.runs.disturbance import load_window, numbers_of, uneven, usually_uneven


@pytest.fixture(scope="module")
def http(tmp_path_factory):
    return synthetic.http_run(tmp_path_factory.mktemp("http"), "run")


def steal(at_s: list[float], stolen_s: list[float]) -> pd.DataFrame:
    """Gauges of a computer that was busy all the time, and had CPU time stolen; times on the desk's clock."""
    names = {"host_steal_s": stolen_s, "host_cpu_s": at_s, "machine_cpu_s": at_s, "sampler_cpu_s": [0.0] * len(at_s)}
    times = np.array(at_s) + synthetic.OFFSET_S
    return pd.concat([pd.DataFrame({"time_s": times, "name": name, "value": v}) for name, v in names.items()])


def test_what_a_computer_did_before_and_after_the_load_is_not_counted(http, tmp_path):
    start, end = load_window(http)
    gauges = steal([start - 1.2, start - 0.9, end + 0.9, end + 1.2], [0, 50, 50 + (end - start + 1.8) / 4, 100])
    numbers = numbers_of(with_table(http, tmp_path, "gauges", lambda _: gauges))
    assert numbers["steal_share"] == pytest.approx(0.2), "a quarter as much as it got: a fifth of what it wanted"


def test_between_two_readings_it_went_on_evenly(http, tmp_path):
    """A slice of three seconds has six: what came half a second before it is not the slice's."""
    start, end = load_window(http)
    at_s = [start - 0.75, start - 0.25, start + 0.25, end - 0.25, end + 0.25, end + 0.75]
    stolen_s = np.cumsum([0, 9, 0.2, (end - start - 0.5) / 4, 0.05, 9])
    numbers = numbers_of(with_table(http, tmp_path, "gauges", lambda _: steal(at_s, list(stolen_s))))
    seconds = end - start
    stolen = 0.1 + (seconds - 0.5) / 4 + 0.025
    assert numbers["steal_share"] == pytest.approx(stolen / (stolen + seconds))


def test_one_reading_says_nothing(http, tmp_path):
    start, _ = load_window(http)
    numbers = numbers_of(with_table(http, tmp_path, "gauges", lambda _: steal([start], [3])))
    assert "steal_share" not in numbers and "others_cores" not in numbers and "generator_cores" in numbers


def test_a_computer_that_did_nothing_has_no_share_of_steal(http, tmp_path):
    at_s = list(load_window(http))
    idle = steal(at_s, [0.0, 0.0]).assign(value=0.0)
    assert "steal_share" not in numbers_of(with_table(http, tmp_path, "gauges", lambda _: idle))


def test_what_no_slice_measured_differed_by_nothing():
    assert usually_uneven([[{}, {}]]) == usually_uneven([]) == {"steal_share": 0.0, "others_cores": 0.0}
    assert uneven([{}, {"steal_share": 0.5}]) == []


def window(kind: str, of: str, table: dict, **known) -> tuple[float, float]:
    """Of a run that has one table."""
    run = SimpleNamespace(
        kind=kind, whole=None, has=lambda name: name == of, table=lambda name: pd.DataFrame(table),
        once=lambda name, make: make(), **known,
    )  # fmt: skip
    return load_window(run)


def test_a_burst_has_all_the_time_that_was_asked_for():
    said = {"warmup": False, "sent_s": [12.0, 12.5], "received_s": [13.0, np.nan], "burst": True}
    asked = SimpleNamespace(burst_at_s=2.0, duration_s=10.0)
    assert window("chat", "messages", said, workload=asked) == (10.0, 20.0)
    assert window("chat", "messages", said | {"received_s": [13.0, 21.0]}, workload=asked) == (10.0, 21.0)
    assert window("chat", "messages", said | {"burst": False}, workload=asked) == (12.0, 13.0)


def test_of_a_tool_without_samples_the_load_is_what_nginx_logged():
    assert window("plan", "server", {"end_s": [11.0, 13.0], "duration_s": [1.5, 0.5]}, clock_offset_s=1.0) == (8.5, 12.0)
