"""`speeds`: a core of one host against that of another, by the same work."""

import subprocess
import sys

import pytest

from stacklab import tasks
from stacklab.bench.speed import speeds
from stacklab.errors import HostError, LabError


class Here:
    """A host that is this computer, whose Python is made to do its work `times` over."""

    def __init__(self, name, times=1):
        self.name, self.times, self.asked = name, times, 0

    def run(self, command, input):
        self.asked += 1
        assert command == "python3 -"
        more = input.replace("spin(2000000)", f"[spin(200000) for _ in range({self.times})]")
        return subprocess.run([sys.executable, "-"], input=more, capture_output=True, text=True, check=True).stdout


def test_a_host_that_takes_four_times_as_long_is_a_quarter_as_quick():
    slow, quick = Here("slow", 4), Here("quick")
    ratios = speeds(slow, quick, pairs=5)
    assert len(ratios) == slow.asked == quick.asked == 5
    assert 0.1 < sorted(ratios)[2] < 0.5


def test_a_host_whose_python_says_something_else_is_told():
    class Odd(Here):
        def run(self, command, input):
            return "Python 2.7"

    with pytest.raises(HostError, match="odd: python3 said 'Python 2.7'"):
        speeds(Odd("odd"), Here("quick"), pairs=1)


def test_there_is_no_small_version_of_it():
    with pytest.raises(LabError, match="--quick is not for --host"):
        tasks.calibrate(quick=True, host="user@10.1.2.3")
