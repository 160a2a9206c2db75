"""Three Daphnes started at once. STACKLAB_ROUNDS=100 for the long form."""

import os

import pytest

from stacklab.bench.starts import start_together

pytestmark = pytest.mark.lab

ROUNDS = int(os.environ.get("STACKLAB_ROUNDS", "5"))


def test_started_means_listening_however_often_all_start_at_once(host):
    rows = start_together(host, ROUNDS, ready=True)
    assert [row["active"] for row in rows] == [3] * ROUNDS
    assert [row["listening_at_return"] for row in rows] == [3] * ROUNDS


def test_without_readiness_systemd_calls_active_what_does_not_listen_yet(host):
    rows = start_together(host, 2, ready=False)
    assert all(row["active"] == 3 and row["listening_at_return"] < 3 for row in rows)
    assert all(row["listening"] == 3 for row in rows)
