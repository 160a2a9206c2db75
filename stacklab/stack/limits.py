"""How many chat clients the settings can hold, and which settings would hold more. Pure."""

from __future__ import annotations

import math

from stacklab.settings import StackSettings

# A proxied client takes two connections, and nginx begins to close reusable ones at 15/16 of the limit
# (ngx_event.c, `ngx_drain_connections`): so clients fail at worker_connections × 15/32.
CONNECTIONS_PER_CLIENT = 2
USABLE_SHARE = 15 / 16
# Where the machine's hard limit of open files is 20,000, as in a container on many computers.
MOST_CONNECTIONS_PER_WORKER = 16_000


def clients_held(settings: StackSettings) -> int:
    """The proxied clients that nginx can hold at once, if its workers share them evenly."""
    connections = settings.nginx_worker_processes * settings.nginx_worker_connections
    return int(connections * USABLE_SHARE / CONNECTIONS_PER_CLIENT)


def raised_for(clients: int, settings: StackSettings) -> StackSettings:
    """`settings` with nginx's limits raised, where they must be, to hold `clients`; a fifth more, as workers share unevenly."""
    if clients_held(settings) >= clients:
        return settings
    needed = math.ceil(clients * CONNECTIONS_PER_CLIENT / USABLE_SHARE * 1.2)
    workers = max(settings.nginx_worker_processes, math.ceil(needed / MOST_CONNECTIONS_PER_WORKER))
    return settings.replace(nginx_worker_processes=workers, nginx_worker_connections=math.ceil(needed / workers))
