"""What holds for every test."""

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


@pytest.fixture
def trapped(tmp_path, monkeypatch) -> Path:
    """A HOME and an environment that are full of traps: see `traps`."""
    home = tmp_path / "home"
    set_traps(home, monkeypatch)
    return home
