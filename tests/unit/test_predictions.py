"""What was predicted is kept, and held against what came."""

import math

import pytest

from stacklab.errors import LabError
from stacklab.predictions import Predictions, score


@pytest.fixture
def predictions(tmp_path):
    return Predictions(tmp_path / "lessons" / "00.json")


def test_the_first_complete_prediction_is_sealed_and_stays(predictions):
    assert predictions.seal("pages", {"five": None, "ten": 200}) is None, "one is missing"
    first = predictions.seal("pages", {"five": 100, "ten": 200})
    assert first.answers == {"five": 100.0, "ten": 200.0} and not first.late
    assert predictions.seal("pages", {"five": 93, "ten": 187}) == first
    assert predictions.seal("pages", {"five": None, "ten": None}) == first, "also where the cell is run again without"
    assert Predictions(predictions._file).of("pages") == first, "and after the kernel was started anew"


def test_what_is_said_after_the_measurement_was_shown_is_kept_as_late(predictions):
    predictions.shown("pages")
    assert predictions.of("pages") is None
    assert predictions.seal("pages", {"five": 93}).late
    assert not predictions.seal("others", {"five": 93}).late


@pytest.mark.parametrize("wrong", ["many", True, math.nan, math.inf, [1], {}])
def test_a_prediction_of_the_wrong_kind_is_named_and_nothing_is_kept(predictions, wrong):
    with pytest.raises(LabError, match="the prediction 'ten' is .*; it wants a number, such as 2 or 0.5"):
        predictions.seal("pages", {"five": 1, "ten": wrong})
    assert predictions.of("pages") is None


def test_of_choices_one_is_wanted(predictions):
    with pytest.raises(LabError, match="'1024/6'; it can be one of: 1024/5, 4000/10"):
        predictions.seal("fastest", {"100 users": "1024/6"}, ["1024/5", "4000/10"])
    assert predictions.seal("fastest", {"100 users": "4000/10"}, ["1024/5", "4000/10"]).answers == {"100 users": "4000/10"}


def test_a_file_that_is_none_says_what_to_do(predictions):
    predictions.seal("pages", {"five": 1})
    for text in ("{", "[]"):
        predictions._file.write_text(text)
        with pytest.raises(LabError, match="is no file of predictions.*; delete it to predict anew"):
            predictions.of("pages")
    predictions.forget()
    assert predictions.of("pages") is None


def test_a_number_is_held_against_the_interval_or_within_a_tenth_and_a_word_against_the_word():
    rows = score(
        {"in": 2.0, "out": 3.0, "near": 95.0, "far": 25.0, "none": 0.0, "word": "hash", "other": "hash", "lost": 1.0},
        {
            "in": (2.4, 1.9, 2.5),
            "out": (2.4, 1.9, 2.5),
            "near": 100.0,
            "far": 100.0,
            "none": 3.0,
            "word": "hash",
            "other": "ip_hash",
        },
    ).set_index("what")
    assert rows["hit"].to_dict() == {
        "in": True, "out": False, "near": True, "far": False, "none": False, "word": True, "other": False, "lost": False
    }  # fmt: skip
    assert rows.loc["far", "times_off"] == 4 and rows.loc["out", "times_off"] == pytest.approx(1.25)
    assert rows.loc["none", "times_off"] == math.inf and math.isnan(rows.loc["lost", "times_off"])
    assert score({"zero": 0.0}, {"zero": 0.0})["hit"].all()
