"""Django set up for the tests of the site, and fixtures that run its processes for real."""

import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from site_under_test import APP, Daphne, RedisServer, free_base_port, site_environment

for name, value in site_environment(Path("/nonexistent")).items():
    if name.startswith(("STACKLAB_", "DJANGO_")):
        os.environ[name] = value  # whatever is exported for another project
os.environ["STACKLAB_DATABASE"] = ":memory:"
sys.path.insert(0, str(APP))


@pytest.fixture(scope="session", autouse=True)
def django_ready() -> None:
    """Django with its tables, in memory."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


@pytest.fixture(scope="session")
def redis_installed() -> None:
    """Skips, loudly, where there is no Redis to run."""
    if shutil.which("redis-server") is None:
        pytest.skip("NO REDIS HERE: apt-get install redis-server")


@pytest.fixture
def redis(tmp_path: Path, redis_installed: None) -> Iterator[RedisServer]:
    """A running Redis on a unix socket in tmp_path, which the test may stop and start."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def daphne(tmp_path: Path, redis: RedisServer) -> Iterator[Callable[..., Daphne]]:
    """`daphne(1, channel_layer="core")` starts an instance of the test's own, to be killed and drained."""
    started: list[Daphne] = []
    yield starter(tmp_path, started)
    for instance in started:
        instance.kill()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, redis_installed: None) -> Iterator[Callable[..., Daphne]]:
    """`shared(1, channel_layer="core")` is a running instance that other tests use as well, in rooms of their own."""
    started: list[Daphne] = []
    starters: dict[tuple, Callable[..., Daphne]] = {}
    running: dict[tuple, Daphne] = {}
    servers: list[RedisServer] = []
    folder = tmp_path_factory.mktemp("shared")

    def get(number: int = 1, **settings: Any) -> Daphne:
        options = tuple(sorted(settings.items()))
        if (number, options) not in running:
            if options not in starters:
                own = folder / f"site{len(starters)}"
                own.mkdir()
                servers.append(RedisServer(own))
                servers[-1].start()
                starters[options] = starter(own, started)
            running[number, options] = starters[options](number, **settings)
        return running[number, options]

    yield get
    for instance in started:
        instance.kill()
    for server in servers:
        server.stop()


@pytest.fixture
def room() -> str:
    """The name of a room in which no other test talks."""
    return f"room {uuid.uuid4().hex}"


def starter(folder: Path, started: list[Daphne]) -> Callable[..., Daphne]:
    """A function that starts instances with their files in `folder`, on ports side by side."""
    base_port = free_base_port()

    def start(number: int = 1, **settings: Any) -> Daphne:
        started.append(Daphne(folder, base_port, number, **settings))
        return started[-1].start()

    return start
