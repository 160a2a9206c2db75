"""A real container lab for the tests, with a name and a subnet of its own, made once for all of them."""

import os
from pathlib import Path

import pytest

from stacklab.errors import LabError
from stacklab.labs.asroot import check_possible
from stacklab.labs.container import ContainerLab

# Two test runs at the same time need two names.
LAB_NAME = os.environ.get("STACKLAB_TEST_LAB", "stacklab-test")


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("lab")


@pytest.fixture(scope="session")
def container_labs():
    """Skips, and says why, on a computer that cannot have a container lab."""
    try:
        check_possible()
    except LabError as error:
        pytest.skip(f"NO CONTAINER LAB HERE: {error}")


@pytest.fixture(scope="session")
def lab(container_labs):
    """A running container lab, pinned where there are CPUs for it, with nothing provisioned."""
    lab = ContainerLab(LAB_NAME)
    lab.destroy()
    try:
        lab.up(pin=True)
        yield lab
    finally:
        lab.destroy()


@pytest.fixture
def other(container_labs):
    """A second lab, not yet up; nothing is left of it afterwards."""
    lab = ContainerLab(f"{LAB_NAME}-other")
    lab.destroy()
    yield lab
    lab.destroy()


@pytest.fixture(scope="session")
def host(lab):
    """The lab's web host with the stack on it, at the default settings."""
    from stacklab import stack

    host = lab.web()
    stack.provision(host)
    yield host
    host.close()
