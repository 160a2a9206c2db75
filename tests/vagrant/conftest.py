"""The classroom's acceptance test: by Docker's engine in `make test`, by libvirt where it is asked for."""

import pytest


def pytest_addoption(parser):
    parser.addoption("--libvirt", action="store_true", help="`vagrant up` by libvirt (90 minutes by emulation), not by Docker")


def pytest_runtest_makereport(item, call):
    """The steps of the acceptance test build on each other: after one that failed, the rest would only repeat it."""
    not_run = (pytest.skip.Exception, pytest.xfail.Exception)
    if item.path.stem == "test_classroom" and call.excinfo is not None and not call.excinfo.errisinstance(not_run):
        item.parent.failed_step = item.name


def pytest_runtest_setup(item):
    failed = getattr(item.parent, "failed_step", None)
    if failed and not getattr(item.function, "always", False):
        pytest.xfail(f"{failed} failed")
