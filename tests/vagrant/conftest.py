"""The acceptance test of the classroom lab runs for many minutes, and only when it is asked for: make test-vagrant."""

import pytest


def pytest_addoption(parser):
    parser.addoption("--vagrant", action="store_true", help="run the acceptance test of `vagrant up` (90 minutes by emulation)")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--vagrant", default=False):
        skip = pytest.mark.skip(reason="a real `vagrant up` takes many minutes: make test-vagrant")
        for item in items:
            if "tests/vagrant" in item.path.as_posix():
                item.add_marker(skip)


def pytest_runtest_makereport(item, call):
    """The steps build on each other: after one that failed, the rest would only repeat it."""
    if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception):
        item.parent.failed_step = item.name


def pytest_runtest_setup(item):
    failed = getattr(item.parent, "failed_step", None)
    if failed and not getattr(item.function, "always", False):
        pytest.skip(f"{failed} failed")
