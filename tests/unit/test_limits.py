"""How many clients the settings hold: what was measured is 15/32 of the connections."""

import pytest

from stacklab.settings import StackSettings
from stacklab.stack.limits import clients_held, raised_for


@pytest.mark.parametrize(("connections", "workers", "held"), [(64, 1, 30), (1024, 1, 480), (16_000, 1, 7500), (1024, 4, 1920)])
def test_a_client_takes_two_connections_and_a_sixteenth_is_never_had(connections, workers, held):
    assert clients_held(StackSettings(nginx_worker_connections=connections, nginx_worker_processes=workers)) == held


def test_what_is_enough_is_not_raised():
    settings = StackSettings(nginx_worker_connections=1024, nginx_worker_processes=1)
    assert raised_for(480, settings) is settings
    raised = raised_for(481, settings)
    assert (raised.nginx_worker_processes, raised.nginx_worker_connections) == (1, 1232), "a fifth more than 1,026.1"


def test_beyond_what_one_worker_may_open_there_are_more_workers():
    raised = raised_for(10_000, StackSettings(nginx_worker_processes=1))
    assert (raised.nginx_worker_processes, raised.nginx_worker_connections) == (2, 12_800)
    assert raised_for(10_000, StackSettings(nginx_worker_processes=4)).nginx_worker_processes == 4
    most, beyond = (raised_for(clients, StackSettings(nginx_worker_processes=1)) for clients in (6250, 6251))
    assert (most.nginx_worker_processes, most.nginx_worker_connections) == (1, 16_000) and beyond.nginx_worker_processes == 2
