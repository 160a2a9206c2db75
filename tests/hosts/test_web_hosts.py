"""A web host on each Debian that provision/web.sh takes, reached over SSH as a machine that somebody lends: `make test-hosts`."""

import os
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from stacklab import stack
from stacklab.errors import LabError
from stacklab.files import ROOT
from stacklab.labs import open_lab
from stacklab.labs.asroot import check_possible
from stacklab.labs.container import ContainerLab

LAB = os.environ.get("STACKLAB_TEST_LAB", "stacklab-test")


@pytest.fixture(params=["bookworm", "trixie"])
def borrowed(request, tmp_path_factory):
    """(suite, home, the SSH lab) of a machine of that Debian which this computer knows by its SSH configuration alone."""
    try:
        check_possible()
    except LabError as error:
        pytest.skip(f"NO CONTAINER LAB HERE: {error}")
    home = tmp_path_factory.mktemp("home")
    lender = ContainerLab(f"{LAB}-{request.param}")
    lender.destroy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STACKLAB_SUITE", request.param)
        patch.setenv("HOME", str(home))
        patch.delenv("SSH_AUTH_SOCK", raising=False)
        try:
            lender.up()
            (home / ".ssh").mkdir()
            (home / ".ssh/known_hosts").write_text(lender._machine.known_hosts_path.read_text())
            (home / ".ssh/config").write_text(
                f"Host borrowed\n HostName {lender.status()['address']}\n IdentityFile {lender._machine.key_path}\n"
            )
            yield request.param, home, open_lab("stacklab@borrowed")
        finally:
            lender.destroy()


def test_a_borrowed_debian_becomes_a_web_host_that_the_strictest_client_trusts(borrowed):
    suite, home, lab = borrowed
    host = lab.up()
    assert host.run(". /etc/os-release; echo $VERSION_CODENAME").strip() == suite
    stack.provision(host)
    assert stack.provision(host).changed == ()
    trust = ssl.create_default_context(cadata=stack.ca_certificate(host))
    trust.verify_flags |= ssl.VERIFY_X509_STRICT
    assert urllib.request.urlopen(f"{host.url}/healthz", context=trust, timeout=60).read() == b"ok\n"
    assert host.run("systemctl --failed --no-legend").strip() == ""
    observed = stack.observe(host)
    assert set(observed["units"].values()) == {"active"} and observed["uwsgi_processes"] == 5
    host.close()
    environment = os.environ | {"STACKLAB_LAB": "stacklab@borrowed", "STACKLAB_RESULTS": str(home / "results")}
    fab = Path(sys.executable).with_name("fab")
    for words, told in (
        (["set", "--uwsgi-processes", "2", "--daphne-instances", "2"], "taken up by"),
        (["http", "--users", "5", "--requests", "200"], "0 errors"),
        (["chat", "--clients", "10", "--rooms", "2", "--duration-s", "3"], "100.00% of"),
    ):
        done = subprocess.run([fab, *words], cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0 and told in done.stdout, done.stdout + done.stderr
