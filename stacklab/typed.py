"""What somebody typed, as what it stands for: text from a command line, or values from a notebook, checked. Pure."""

from __future__ import annotations

from typing import Any

from stacklab.errors import SettingsError
from stacklab.settings import Checked


def values(of: type[Checked], given: dict[str, Any]) -> dict[str, Any]:
    """What was given, checked: text is parsed, None (not given) left out."""
    texts = {name: value for name, value in given.items() if isinstance(value, str)}
    others = {name: value for name, value in given.items() if value is not None and not isinstance(value, str)}
    return others | of.parse(texts)


BETWEEN = "\n"
"""Stands between names of files that were words of their own: they may hold anything else."""


def whole_number(name: str, given: str | int | None, low: int | None = None) -> int | None:
    """A whole number, at least `low`, from a command line; SettingsError if it is none."""
    if given is None:
        return None
    try:
        number = int(given)
    except ValueError:
        number = None
    if number is None or (low is not None and number < low):
        words = "a whole number" if low is None else f"a whole number from {low} up"
        raise SettingsError(f"{name}={given!r} is not allowed: {name} takes {words}")
    return number


def decimal(name: str, given: str | float, low: float, high: float) -> float:
    """A number between `low` and `high` from a command line; SettingsError if it is none."""
    try:
        number = float(given)
    except (TypeError, ValueError):
        number = float("nan")
    if not low <= number <= high:
        raise SettingsError(f"{name}={given!r} is not allowed: {name} takes a number from {low:g} to {high:g}")
    return number
