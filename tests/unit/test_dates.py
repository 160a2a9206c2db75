"""Times as other tools' files write them: which format it is, and what it leaves open."""

import datetime

import numpy as np
import pyarrow as pa
import pytest

from stacklab.runs.foreign.dates import DAY_S, Dates


def column(*texts: str) -> pa.Array:
    return pa.array(texts, pa.binary())


def at(*when: int) -> float:
    return datetime.datetime(*when, tzinfo=datetime.UTC).timestamp()


@pytest.mark.parametrize(("text", "seconds"), [
    ("2024-01-13 03:04:05", at(2024, 1, 13, 3, 4, 5)), ("2024-01-13T03:04:05.250", at(2024, 1, 13, 3, 4, 5) + 0.25),
    ("2024/01/13 03:04:05,250", at(2024, 1, 13, 3, 4, 5) + 0.25), ("13.01.2024 03:04:05", at(2024, 1, 13, 3, 4, 5)),
    ("01/13/2024 03:04:05", at(2024, 1, 13, 3, 4, 5)), ("13/01/24 03:04:05", at(2024, 1, 13, 3, 4, 5)),
    (" 2024-01-13 03:04:05 ", at(2024, 1, 13, 3, 4, 5)),
])  # fmt: skip
def test_a_format_that_leaves_nothing_open_is_read_as_utc_which_is_told(text, seconds):
    dates = Dates([column(text)])
    assert dates.seconds(column(text, "no time")) == pytest.approx([seconds, np.nan], nan_ok=True, rel=0, abs=1e-5)
    assert dates.has_day and len(dates.notes) == 1 and "UTC" in dates.notes[0]


@pytest.mark.parametrize(("texts", "order", "days"), [
    (("03/04/2024 10:00:00", "03/05/2024 10:00:00"), "the month first", 1),
    (("04/03/2024 10:00:00", "05/03/2024 10:00:00"), "the day first", 1),
])  # fmt: skip
def test_where_days_and_months_look_alike_the_shorter_reading_is_taken_and_told(texts, order, days):
    dates = Dates([column(*texts)])
    first, second = dates.seconds(column(*texts))
    assert second - first == days * DAY_S and not dates.has_day
    assert len(dates.notes) == 2 and f"read with {order}" in dates.notes[1]


def test_a_later_row_may_tell_which_is_the_month():
    pieces = [column("03/04/2024 10:00:00", "03/05/2024 10:00:00"), column("13/05/2024 10:00:00")]
    dates = Dates(pieces)
    assert dates.has_day and len(dates.notes) == 1
    assert dates.seconds(pieces[0]).tolist() == [at(2024, 4, 3, 10), at(2024, 5, 3, 10)]


def test_a_day_that_is_the_same_either_way_is_sure():
    dates = Dates([column("02/02/2024 10:00:00")])
    assert dates.has_day and len(dates.notes) == 1


def test_one_row_that_is_no_time_does_not_decide_the_format():
    dates = Dates([column("x", "2024-01-02 00:00:01", "2024-01-02 00:00:02", "00:00:03")])
    assert np.isnan(dates.seconds(column("00:00:03"))).all() and dates.has_day


def test_a_fraction_that_some_rows_leave_out_is_none():
    texts = ("13.01.2024 03:04:05.250", "13.01.2024 03:04:6", "13.01.2024 03:04:06,5")
    dates = Dates([column(*texts)])
    assert dates.seconds(column(*texts)) - at(2024, 1, 13, 3, 4, 5) == pytest.approx([0.25, 1, 1.5], abs=1e-5)
