"""The live line of a run: how far it is, and how it ended."""

import pytest

from stacklab.bench.load import Progress
from stacklab.console import Bar


def last_line(capsys) -> str:
    return capsys.readouterr().err.strip().split("\r")[-1]


def test_a_line_says_phase_count_rate_errors_and_time_left(capsys):
    with Bar() as bar:
        bar(Progress(done=30, total=100, rate_per_s=12.3, errors=2, left_s=5.7, phase="load"))
        line = last_line(capsys)
    for words in ("load", "30%", "30/100", "12/s", "2 errors", "6 s left"):
        assert words in line


def test_the_line_of_a_run_that_ended_is_full(capsys):
    with Bar() as bar:
        bar(Progress(done=97, total=100, rate_per_s=12.3, errors=0, left_s=1.0, phase="load"))
    line = last_line(capsys)
    assert "100/100" in line and "left" not in line


def test_the_line_of_a_run_that_broke_off_stays_where_it_was(capsys):
    with pytest.raises(KeyboardInterrupt), Bar() as bar:
        bar(Progress(done=30, total=100, rate_per_s=12.3, errors=0, left_s=1.0, phase="load"))
        raise KeyboardInterrupt
    assert "30/100" in last_line(capsys)


def test_what_is_counted_may_change_with_the_phase(capsys):
    with Bar() as bar:
        bar(Progress(done=60, total=60, rate_per_s=20, errors=0, left_s=None, phase="ramp"))
        bar(Progress(done=3, total=10, rate_per_s=20, errors=0, left_s=7, phase="load"))
        assert "3/10" in last_line(capsys)


def test_a_bar_that_was_told_nothing_draws_nothing(capsys):
    with Bar():
        pass
    assert capsys.readouterr().err == ""
