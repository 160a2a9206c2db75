"""A small HTTPS site, for the tests of what puts load on one; pictures that no screen is needed for, closed after each test."""

import os
import sys
from pathlib import Path

import matplotlib
import pytest
from certificates import make_ca
from load_site import Site

matplotlib.use("Agg")
# Real result files of other tools are tried where a folder of them is named; test_foreign.py says where they were not.
if not Path(os.environ.get("STACKLAB_FOREIGN_RESULTS", "nowhere"), "README.md").is_file():
    collect_ignore = ["test_foreign_results.py"]


@pytest.fixture(autouse=True)
def closed():
    yield
    if plt := sys.modules.get("matplotlib.pyplot"):
        plt.close("all")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """The files of a CA, and of a certificate and key for 127.0.0.1."""
    return make_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def site(certificates):
    """The site while a module's tests run."""
    with Site(*certificates[1:]) as site:
        yield site
