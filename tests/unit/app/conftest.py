"""Django set up for the tests of the site, and fixtures that run its processes for real."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from site_under_test import APP, Daphne, RedisServer, free_base_port, manage, site_environment

for name, value in site_environment(Path("/nonexistent")).items():
    if name.startswith(("STACKLAB_", "DJANGO_")):
        os.environ.setdefault(name, value)
os.environ["STACKLAB_DATABASE"] = ":memory:"
sys.path.insert(0, str(APP))


@pytest.fixture(scope="session", autouse=True)
def django_ready() -> None:
    """Django with its tables, in memory."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A running Redis on a unix socket in tmp_path."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def daphne(tmp_path: Path, redis: RedisServer) -> Iterator[Callable[..., Daphne]]:
    """`daphne(1, STACKLAB_…="…")` starts instance 1 with this environment; all are gone after the test."""
    base_port = free_base_port()
    started: list[Daphne] = []

    def start(number: int = 1, **environment: str) -> Daphne:
        started.append(Daphne(tmp_path, base_port, number, **environment))
        return started[-1].start()

    yield start
    for instance in started:
        instance.kill()


@pytest.fixture
def site_folder(tmp_path: Path) -> Path:
    """A folder with a migrated database."""
    manage(tmp_path, "migrate", "-v0")
    return tmp_path
