"""Times as somebody's format wrote them: which format that is, and what it leaves open. They have no zone; UTC stands for it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

DAY_S = 86_400
DAYS = ("%Y-%m-%d ", "%Y-%m-%dT", "%Y/%m/%d ", "%m/%d/%Y ", "%d/%m/%Y ", "%m/%d/%y ", "%d/%m/%y ", "%d.%m.%Y ", "")
FORMATS = [f"{day}%H:%M:%S.%f" for day in DAYS]


class Dates:
    """Of one file. `notes` on what is not sure, `has_day` whether it tells the day."""

    def __init__(self, columns: Iterable[pa.Array]):
        """`columns` are those of the whole file, in pieces: more than one is taken if days and months look alike."""
        forms, fits = FORMATS, dict.fromkeys(FORMATS, 0)
        spans = dict.fromkeys(FORMATS, (np.inf, -np.inf))
        for column in columns:
            for form in forms:
                stamps = _parsed(column, form)
                stamps = stamps[~np.isnan(stamps)]
                fits[form] += len(stamps)
                first, last = spans[form]
                spans[form] = min(first, stamps.min(initial=np.inf)), max(last, stamps.max(initial=-np.inf))
            forms = [form for form in forms if fits[form] == max(map(fits.get, forms))]
            if len(forms) == 1:
                break
        self._form = min(forms, key=lambda form: spans[form][1] - spans[form][0])
        self._last_s: float | None = None
        is_sure = len({spans[form] for form in forms}) == 1
        self.has_day = is_sure and "%d" in self._form
        self.notes = ["times are local ones of a machine whose zone the file does not tell; they are read as UTC"]
        if not is_sure:
            order = "the month first" if self._form.startswith("%m") else "the day first"
            self.notes.append(f"its dates may have day or month first: read with {order}, for it is no shorter otherwise")
        elif not self.has_day:
            self.notes.append("its times have no date: where one is half a day before the one above it, another day has begun")

    def seconds(self, column: pa.Array) -> np.ndarray:
        """The next piece, in seconds of 1970's (or, without days, of the first one); NaN where it is no such time."""
        stamps = _parsed(column, self._form)
        told = ~np.isnan(stamps)
        if "%d" not in self._form and told.any():
            clocks = stamps[told] % DAY_S
            days = np.unwrap(np.append(clocks[0] if self._last_s is None else self._last_s, clocks), period=DAY_S)[1:]
            stamps[told], self._last_s = days, days[-1]
        return stamps


def _parsed(column: pa.Array, form: str) -> np.ndarray:
    texts = pc.replace_substring(pc.utf8_trim_whitespace(column.cast(pa.string())), ",", ".")
    whole = pc.replace_substring_regex(texts, r"(:\d\d?)$", r"\1.0")  # some tools leave a fraction out where it is none
    stamps = pd.to_datetime(whole.to_pandas(), format=form, errors="coerce")
    return ((stamps - pd.Timestamp(0)) / pd.Timedelta(seconds=1)).to_numpy(dtype=float, copy=True)
