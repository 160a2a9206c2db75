"""Every error a person can meet in the lab. Each message says what, which value, and what to do."""

from enum import StrEnum


class LabError(Exception):
    """The root of all errors of the lab: one clear line, never a bare traceback."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows of it, and so a notebook and whoever executes one: the message alone."""
        return [f"{type(self).__name__}: {self}"]


class SettingsError(LabError, ValueError):
    """A setting or a workload that is unknown, of the wrong type, or out of its range."""


class LabNotRunning(LabError):
    """The lab's machine is not up, or does not answer on SSH."""


class Refusal(StrEnum):
    """What stands between us and a machine that is there, each with its word: the same in `fab status`, `up` and notebooks."""

    UNKNOWN_KEY = "unknown host key"
    CHANGED_KEY = "changed host key"
    REVOKED_KEY = "revoked host key"
    WRONG_LOGIN = "login refused"
    UNUSABLE_KEY = "unusable key"
    NO_RIGHT = "no right to look"


class HostRefused(LabError):
    """The machine is there and will not have us, or we not it: a refusal is no absence. `why` is which of them it is."""

    def __init__(self, message: str, why: Refusal):
        super().__init__(message)
        self.why = why

    def __str__(self) -> str:
        return f"{self.why}: {super().__str__()}"

    def as_state(self) -> dict[str, str]:
        """What a lab's status says of it: {"state", "why"}."""
        return {"state": str(self.why), "why": super().__str__()}


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
