"""An experiment goes on only where what it was measured with is still the same."""

import pytest

from stacklab.bench.plan import Experiment, Point
from stacklab.bench.resume import differences, open_plan
from stacklab.errors import LabError
from stacklab.settings import StackSettings
from stacklab.workload import HttpLoad

PLAN = Experiment(name="x", points=(Point("p", StackSettings(), HttpLoad(requests=10)),), repeats=1, seed=1)
THEN = {
    "kind": "container", "one_computer": True, "pinned_cpus": [0], "generator_cpus": [1], "stacklab": "0.1.0+aaa",
    "versions": {"daphne": "4.2.3", "nginx": "1.26.3"}, "web": {"cpus": 1, "model": "A", "memory_bytes": 1},
    "desk": {"cpus": 2, "python": "3.11.2", "locust": "2.47.0", "os": "Linux 6.1"},
}  # fmt: skip


def test_the_same_lab_goes_on(tmp_path):
    open_plan(PLAN, tmp_path, "a", THEN)
    before = (tmp_path / "experiment.json").read_text()
    breathing = THEN | {"web": THEN["web"] | {"memory_bytes": 2}, "commit": "abc-dirty"}
    open_plan(PLAN, tmp_path, "a", breathing)
    assert (tmp_path / "experiment.json").read_text() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"versions": {"daphne": "4.2.4", "nginx": "1.26.3"}}, "daphne was 4.2.3, and is 4.2.4"),
        ({"pinned_cpus": None}, r"pinned_cpus was \[0\], and is None"),
        ({"generator_cpus": [0, 1]}, r"generator_cpus was \[1\], and is \[0, 1\]"),
        ({"stacklab": "0.1.0+bbb"}, r"stacklab was 0.1.0\+aaa"),
        ({"web": {"cpus": 4, "model": "A"}}, "web.cpus was 1, and is 4"),
        ({"desk": THEN["desk"] | {"locust": "3.0"}}, "desk.locust was 2.47.0"),
    ],
)
def test_what_is_another_is_named_and_nothing_is_touched(tmp_path, change, words):
    open_plan(PLAN, tmp_path, "a", THEN)
    before = (tmp_path / "experiment.json").read_text()
    with pytest.raises(LabError, match=words) as caught:
        open_plan(PLAN, tmp_path, "a", THEN | change)
    assert "--fresh" in str(caught.value)
    assert (tmp_path / "experiment.json").read_text() == before


def test_an_experiment_from_before_this_was_noted_goes_on(tmp_path):
    assert differences({}, THEN) == []
    assert differences({"pinned_cpus": [0]}, {"pinned_cpus": (0,)}) == []
