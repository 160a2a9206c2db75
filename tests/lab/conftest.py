"""A real container lab for the tests, with a name and a subnet of its own, made once for all of them."""

import http.client
import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from stacklab.errors import LabError
from stacklab.labs.asroot import check_possible
from stacklab.labs.container import ContainerLab

# Two test runs at the same time need two names; so do the workers of one (`-n`), each of which has a lab of its own.
LAB_NAME = "-".join(filter(None, (os.environ.get("STACKLAB_TEST_LAB", "stacklab-test"), os.environ.get("PYTEST_XDIST_WORKER"))))
LONGEST = "test_notebooks_run"


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("lab")
    # A worker that takes a file takes all of it: the one that takes longest must not be the last.
    items.sort(key=lambda item: item.path.stem != LONGEST)


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


@pytest.fixture
def at_defaults(host):
    """The host at the default settings, and back at them after the test, whatever it left."""
    from stacklab import stack
    from stacklab.settings import StackSettings

    stack.apply(host, StackSettings())
    yield host
    stack.apply(host, StackSettings())


@pytest.fixture(scope="session")
def site(host):
    """`site(path)` asks the site from the desk, the lab's own CA verified: (status, body)."""
    from stacklab import stack

    tls = ssl.create_default_context(cadata=stack.ca_certificate(host))

    def ask(path: str = "/healthz", headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(host.address, context=tls, timeout=10)
        try:
            connection.request("GET", path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    return ask


@pytest.fixture
def fab(lab, tmp_path):
    """The `fab` command on the test's lab, as a person types it; results go to the test's own folder."""
    from stacklab.files import ROOT

    ours = {"STACKLAB_LAB": lab.name, "STACKLAB_RESULTS": str(tmp_path / "results"), "COLUMNS": "80"}

    def run(*words: str, **variables: str) -> subprocess.CompletedProcess:
        command = [Path(sys.executable).with_name("fab"), *words]
        return subprocess.run(command, cwd=ROOT, env=os.environ | ours | variables, capture_output=True, text=True)

    return run
