"""The queueing network: held against what queueing theory knows exactly, and what it foretells of runs."""

import math

import numpy as np
import pytest

from stacklab.study.queueing import Host, Page, knee, response_times, throughput


def erlang_c(servers, offered):
    """The share of arrivals that wait, of M/M/c (Erlang 1917)."""
    last = offered**servers / math.factorial(servers) * servers / (servers - offered)
    return last / (sum(offered**k / math.factorial(k) for k in range(servers)) + last)


@pytest.mark.parametrize(("cpus", "share"), [(1, 0.4), (1, 0.6), (3, 0.7)])
def test_it_waits_as_theory_has_it(cpus, share):
    work_s = 0.01
    per_s = share * cpus / work_s
    taken = response_times(Page(0.0, work_s), Host(cpus, processes=50), per_s, 8_000)
    waiting_s = erlang_c(cpus, share * cpus) * work_s / (cpus * (1 - share))
    assert taken.mean() == pytest.approx(work_s + waiting_s, rel=0.2)
    if cpus == 1:  # the response times of M/M/1 are exponential themselves
        assert np.quantile(taken, 0.95) == pytest.approx(-math.log(0.05) * work_s / (1 - share), rel=0.2)


def test_a_process_that_waits_holds_up_others_and_uses_no_cpu():
    waits = Page(0.0001, 0.0004).at("/io/?ms=50")
    for processes in (1, 4):
        assert throughput(waits, Host(1, processes), users=50) == pytest.approx(processes / 0.0504, rel=0.05)
    assert throughput(waits, Host(1, 200), users=500) == pytest.approx(1 / 0.0005, rel=0.1), "in the end the CPU is all there is"
    assert Page(0.0, 0.001).at("/io/").wait_s == 0.05 and Page(0.0, 0.001).at("/cpu/").process_s == pytest.approx(0.021)


def test_what_computes_is_done_by_cpus_however_many_processes():
    computes = Page(0.0005, 0.001).at("/cpu/?ms=20")
    for cpus, processes, at_once in ((1, 1, 1), (1, 8, 1), (2, 8, 2)):
        per_s = throughput(computes, Host(cpus, processes), users=50)
        assert per_s == pytest.approx(at_once / 0.0215, rel=0.1)


def test_the_knee_is_where_the_host_is_full_and_a_slower_one_has_a_lower_one():
    full = 1 / 0.0015
    assert knee(Page(0.0005, 0.001), Host(1, 5)) == pytest.approx(full, rel=0.2)
    assert knee(Page(0.0005, 0.001), Host(1, 5), p95_s=0.02) < 0.95 * knee(Page(0.0005, 0.001), Host(1, 5))
    assert knee(Page(0.05, 0.1), Host(1, 5), p95_s=0.1) == 0.0, "alone it takes longer"


def test_the_same_lot_gives_the_same_times():
    page, host = Page(0.001, 0.002), Host(1, 5)
    assert np.array_equal(response_times(page, host, 200, 500), response_times(page, host, 200, 500))
    assert not np.array_equal(response_times(page, host, 200, 500), response_times(page, host, 200, 500, seed=2))
