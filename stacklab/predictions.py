"""Predictions: said before the measurement, sealed, and held against it afterwards."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import pandas as pd

from stacklab.errors import LabError
from stacklab.files import make_folder, write_json

COLUMNS = ("what", "predicted", "measured", "low", "high", "times_off", "hit")


@dataclass(frozen=True)
class Sealed:
    """What was predicted of a question, and when; `late` if the measurement had been shown by then."""

    answers: Mapping[str, Any]
    sealed_s: float
    late: bool = False


class Predictions:
    """The predictions of one lesson, kept in a JSON file: {question: {"answers", "sealed_s", "late", "shown"}}.

    The first complete answer to a question is sealed. One that comes after the measurement was shown is kept as late.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def of(self, question: str) -> Sealed | None:
        """What was sealed of it, if anything was."""
        kept = self._read().get(question, {})
        return Sealed(kept["answers"], kept["sealed_s"], kept["late"]) if "answers" in kept else None

    def seal(self, question: str, answers: Mapping[str, Any], choices: Sequence[str] = ()) -> Sealed | None:
        """Keep `answers`, numbers or, where there are `choices`, one of these each; None while one is missing (None, or "").

        What was sealed before stays. LabError, which names the answer, for one of another kind; then nothing is kept.
        """
        checked = {what: checked_answer(what, answer, choices) for what, answer in answers.items()}
        if (sealed := self.of(question)) or None in checked.values():
            return sealed
        kept = self._read()
        late = bool(kept.get(question, {}).get("shown"))
        kept[question] = kept.get(question, {}) | {"answers": checked, "sealed_s": time.time(), "late": late}
        self._write(kept)
        return self.of(question)

    def shown(self, question: str) -> None:
        """The measurement is shown now: what is said from here on is no prediction."""
        kept = self._read()
        kept.setdefault(question, {})["shown"] = True
        self._write(kept)

    def forget(self) -> None:
        """Begin anew."""
        self._file.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        try:
            kept = json.loads(self._file.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise LabError(f"{self._file}: is no file of predictions ({error}); delete it to predict anew") from error
        if not isinstance(kept, dict):
            raise LabError(f"{self._file}: is no file of predictions; delete it to predict anew")
        return kept

    def _write(self, kept: dict[str, Any]) -> None:
        try:
            make_folder(self._file.parent)
            write_json(self._file, kept)
        except OSError as error:
            raise LabError(
                f"{self._file}: cannot be written ({error}); STACKLAB_RESULTS names another folder for results"
            ) from error


def checked_answer(what: str, answer: Any, choices: Sequence[str] = ()) -> Any:
    """`answer` as it is kept: a float, one of `choices`, or None if there is none yet. LabError if it is something else."""
    if answer is None or answer == "":
        return None
    if choices:
        if answer not in choices:
            raise LabError(f"the prediction {what!r} is {answer!r}; it can be one of: {', '.join(choices)}")
        return answer
    if isinstance(answer, bool) or not isinstance(answer, Real) or not math.isfinite(answer):
        raise LabError(f"the prediction {what!r} is {answer!r}; it wants a number, such as 2 or 0.5")
    return float(answer)


def score(answers: Mapping[str, Any], measured: Mapping[str, Any]) -> pd.DataFrame:
    """A row an answer, with the columns of COLUMNS: how far off each was, and whether it was a hit.

    `measured` has for each answer a number, (estimate, low, high), or a word. A number is a hit where it lies in the interval,
    or, where there is none, within a tenth of what was measured; a word where it is that word. What was not measured is no hit.
    """
    rows = []
    for what, answer in answers.items():
        found = measured.get(what)
        if found is None or isinstance(found, str):
            rows.append((what, answer, found, math.nan, math.nan, math.nan, answer == found))
            continue
        value, low, high = found if isinstance(found, (tuple, list)) else (found, math.nan, math.nan)
        if answer is None or value != value:
            rows.append((what, answer, value, low, high, math.nan, False))
            continue
        off = _times_off(answer, value)
        hit = low <= answer <= high if low == low and high == high else off <= 1.1
        rows.append((what, answer, value, low, high, off, bool(hit)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _times_off(answer: float, value: float) -> float:
    """How many times too large or too small; infinite where one of them is 0 and the other is not."""
    if answer == value:
        return 1.0
    return max(answer / value, value / answer) if answer * value > 0 else math.inf
