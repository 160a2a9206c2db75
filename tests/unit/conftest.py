"""For several tests: a small HTTPS site to put load on, and commit-settings as a module. Pictures that no screen is needed for,
closed after each test.
"""

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path

import matplotlib
import pytest
from certificates import make_ca
from load_site import Site

from stacklab.files import ROOT

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


@pytest.fixture(scope="session")
def of_loadtests():
    """`of_loadtests(name)`: a module of loadtests/, which import each other by their plain names."""

    def load(name):
        sys.path.insert(0, str(ROOT / "loadtests"))
        try:
            return importlib.import_module(name)
        finally:
            sys.path.remove(str(ROOT / "loadtests"))

    return load


@pytest.fixture
def commit(tmp_path, monkeypatch):
    """provision/commit-settings as a module, with nothing of this computer in its reach."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(ROOT / "provision"))
    loader = importlib.machinery.SourceFileLoader("commit_settings", str(ROOT / "provision/commit-settings"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("commit_settings", loader))
    loader.exec_module(module)
    module.STATE = tmp_path / "state"
    module.STAGE = module.STATE / "stage"
    module.JOURNAL = module.STATE / "journal.json"
    module.changing.LOCK = tmp_path / "lock"
    module.live.SETTINGS = tmp_path / "etc" / "settings.json"
    module.live.WRITTEN = tmp_path / "written.json"
    module.STATE.mkdir()
    return module
