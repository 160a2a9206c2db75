"""What holds for every test."""

import os
import signal
from pathlib import Path

import hypothesis
import pytest
from traps import set_traps

# A shell that starts the tests in the background has them ignore Ctrl-C, and with them whatever they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example may take says how busy the computer is.
hypothesis.settings.register_profile("stacklab", deadline=None)
hypothesis.settings.load_profile("stacklab")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A test that this computer cannot run is a skip that says why; in CI, where all is there to run it, a failure."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI"):
        report.outcome, report.longrepr = "failed", f"not run, and this is CI: {report.longrepr[-1]}"
    return report


@pytest.fixture
def trapped(tmp_path, monkeypatch) -> Path:
    """A HOME and an environment that are full of traps: see `traps`."""
    home = tmp_path / "home"
    set_traps(home, monkeypatch)
    return home
