"""Every error a person can meet in the lab. Each message says what, which value, and what to do."""


class LabError(Exception):
    """The root of all errors of the lab: one clear line, never a bare traceback."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows of it, and so a notebook and whoever executes one: the message alone."""
        return [f"{type(self).__name__}: {self}"]


class SettingsError(LabError, ValueError):
    """A setting or a workload that is unknown, of the wrong type, or out of its range."""


class LabNotRunning(LabError):
    """The lab's machine is not up, or does not answer on SSH."""


class HostRefused(LabNotRunning):
    """The machine answers and will not have us, or is not the one we know: a refusal is no absence."""


class HostError(LabError):
    """A command on a host failed. `command`, `exit_code` and `stderr` are the host's own words."""

    def __init__(self, message: str, *, command: str = "", exit_code: int | None = None, stderr: str = ""):
        super().__init__(message)
        self.command, self.exit_code, self.stderr = command, exit_code, stderr


class ApplyError(LabError):
    """A change of settings was refused or undone; the old settings are serving.

    `unit` is the service that refused, `journal` its own words, `diff` the change that was tried.
    """

    def __init__(self, message: str, *, unit: str = "", journal: str = "", diff: str = ""):
        super().__init__(message)
        self.unit, self.journal, self.diff = unit, journal, diff

    def __str__(self) -> str:
        words = super().__str__()
        return f"{words}\n{self.journal.rstrip()}" if self.journal else words


class LoadError(LabError):
    """The load generator failed. `log` is the tail of its own log."""

    def __init__(self, message: str, *, log: str = ""):
        super().__init__(message)
        self.log = log

    def __str__(self) -> str:
        words = super().__str__()
        return f"{words}\n{self.log.rstrip()}" if self.log else words


class ResultsError(LabError, ValueError):
    """Results on disk that are missing, unfinished, or written by another version."""
