"""What holds for every test."""

import os
import signal
from pathlib import Path

import hypothesis
import matrix
import pytest
from matrix import told  # noqa: F401  (a fixture)
from traps import set_traps

# A shell that starts the tests in the background has them ignore Ctrl-C, and with them whatever they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example may take says how busy the computer is.
hypothesis.settings.register_profile("stacklab", deadline=None)
hypothesis.settings.load_profile("stacklab")


def pytest_addoption(parser):
    parser.addoption("--faults", action="store_true", help="the fault matrix, and the lab's slow tests; no others")
    parser.addoption("--quick", action="store_true", help="of the fault matrix what is not slow")


def pytest_collection_modifyitems(config, items):
    """Slow tests (`faults`) and rows of the matrix (`fault`) are what --faults runs; without it, what is not slow is run."""
    matrix.mark(items)
    only, quick = config.getoption("--faults"), config.getoption("--quick")

    def wanted(item) -> bool:
        slow, row = bool(item.get_closest_marker("faults")), bool(item.get_closest_marker("fault"))
        return (row and not (quick and slow)) or (slow and not quick) if only else not slow

    if left := [item for item in items if not wanted(item)]:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if wanted(item)]


def pytest_terminal_summary(terminalreporter, config):
    if config.getoption("--faults"):
        reports = [report for found in terminalreporter.stats.values() for report in found if hasattr(report, "when")]
        seen = matrix.rows(sorted(reports, key=lambda report: report.nodeid))
        matrix.keep(seen)
        terminalreporter.section("the fault matrix")
        terminalreporter.write(matrix.table(seen))


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
