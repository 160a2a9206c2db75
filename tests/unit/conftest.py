"""A small HTTPS site, for the tests of what puts load on one."""

import pytest
from certificates import make_ca
from load_site import Site


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """The files of a CA, and of a certificate and key for 127.0.0.1."""
    return make_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def site(certificates):
    """The site while a module's tests run."""
    with Site(*certificates[1:]) as site:
        yield site
