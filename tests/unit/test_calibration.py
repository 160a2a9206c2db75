"""A calibration: what recorded noise says of verdicts, on disk, found again for its machine alone, and in words."""

import json
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import synthetic

from stacklab import show
from stacklab.bench import calibration as module
from stacklab.bench.calibration import METRICS, _judged
from stacklab.bench.comparison import Comparison
from stacklab.errors import LabError, ResultsError
from stacklab.runs.calibration import FILE, Calibration, calibration_for, calibration_of, in_words, machine_of, read_calibration
from stacklab.settings import StackSettings
from stacklab.site import LAB
from stacklab.study import power, steal
from stacklab.study.report import write_report
from stacklab.study.verdicts import NOT_TESTED, judge_all, judge_results
from stacklab.workload import HttpLoad

NOISES = {
    "even": np.random.default_rng(1).normal(0, 0.1, 30),
    "heavy tails": np.random.default_rng(2).standard_t(2, 30) * 0.05,
    "lopsided": np.random.default_rng(3).lognormal(-2, 0.8, 30),
}


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_a_thing_is_seldom_called_different_from_itself_whatever_the_noise(noise):
    rng = np.random.default_rng(0)
    assert power.false_share(noise, rng) <= 0.075  # 5 % and what 400 comparisons may add by luck
    assert power.claims_false_share(noise, 18, rng) <= 0.075


def test_more_blocks_find_smaller_effects_and_fewer_than_a_look_takes_find_none():
    few, some, many = power.smallest_effects(NOISES["even"], [5, 11, 48], np.random.default_rng(0))
    assert np.isnan(few) and 0.01 < many < some < 0.5


def test_the_smallest_effect_is_what_comparisons_find_four_times_in_five():
    """The long way round: comparisons of something that much better, one by one."""
    noise, blocks = NOISES["even"], 20
    [effect] = power.smallest_effects(noise, [blocks], np.random.default_rng(0))
    rng = np.random.default_rng(7)
    said = [power.compared(power.drawn(noise, blocks, rng) + np.log1p(effect), margin=0.0) for _ in range(400)]
    assert np.mean([one.verdict == "better" for one in said]) == pytest.approx(0.8, abs=0.07)


def test_noise_that_leaves_nothing_to_be_found_is_said():
    assert np.isnan(power.smallest_effects(NOISES["even"] * 100, [11], np.random.default_rng(0))[0])


LOAD = HttpLoad(requests=4000, users=20, ramp_s=0, warmup_s=0)


NUMBERS = {"steal_share": 0.02, "others_cores": 0.1, "sampler_cores": 0.01}


def block(folder, repeat: int):
    start_s = synthetic.START_S + 100 * repeat
    parts = [
        {
            "point": label, "settings": StackSettings().to_dict(), "workload": {"kind": "http", **LOAD.to_dict()},
            "observed": synthetic.observed(StackSettings()), "start_s": begin_s, "end_s": begin_s + 1.0,
            "validity": {"reasons": [], "failures": [], "numbers": NUMBERS},
        }
        for label, begin_s in (("A", start_s + 0.5), ("B", start_s + 2.5))
    ]  # fmt: skip
    return synthetic.http_run(folder, f"b{repeat:03d}", workload=LOAD, seed=repeat, start_s=start_s, repeat=repeat, slices=parts)


KNOWN = {
    "noise": {"throughput_per_s": 0.06}, "false_share": {"throughput_per_s": 0.03}, "false_share_claims": 0.04,
    "smallest": {"throughput_per_s": {"2": 0.12, "5": 0.07, "10": 0.05}}, "sampler_cores": 0.02,
    "usual": {"steal_share": 0.02}, "uneven": {"steal_share": 0.04},
}  # fmt: skip


def calibration(folder, **known) -> Calibration:
    return Calibration(**{
        "machine": machine_of(synthetic.ENVIRONMENT), "made_s": 1.0, "quick": False, "blocks": 27, "disturbed": 1, "slice_s": 3.0,
        "ceiling_per_s": 5400.0, "path": folder, **KNOWN, **known,
    })  # fmt: skip


def saved(root, name: str, **known) -> Calibration:
    (folder := root / "calibration" / name).mkdir(parents=True)
    made = calibration(folder, **known)
    made.save()
    return made


def test_blocks_of_a_page_against_itself_become_figures(tmp_path):
    known = _judged([block(tmp_path, repeat) for repeat in range(1, 6)], block_s=11.0)
    assert set(known["noise"]) == set(known["false_share"]) == set(known["smallest"]) == set(METRICS)
    assert 0 < known["noise"]["throughput_per_s"] < 0.2 and all(share <= 0.1 for share in known["false_share"].values())
    assert known["usual"] == {"steal_share": 0.02, "others_cores": 0.1} and known["sampler_cores"] == 0.01
    made = calibration(tmp_path, **known)
    json.dumps(made.to_dict(), allow_nan=False)
    assert show.calibration_text(made).count("%") > 5 * len(METRICS)


@pytest.mark.parametrize(("disturbed", "tried"), [(4, 7), (99, 12)])
def test_disturbed_blocks_are_measured_again_up_to_a_limit(monkeypatch, tmp_path, disturbed, tried):
    made = []

    class Slicer:
        def block(self, number):
            reasons = ("somebody computes.",) if number <= disturbed else ()
            made.append(SimpleNamespace(validity=SimpleNamespace(valid=not reasons, reasons=reasons), started_s=number))
            return made[-1]

    @contextmanager
    def given(what, *_):
        yield what

    bench = SimpleNamespace(host=None, site=LAB, environment=synthetic.ENVIRONMENT, noting=lambda *_: bench)
    for name, what in {"bench": bench, "going_back": StackSettings(), "slicing": Slicer()}.items():
        monkeypatch.setattr(module, name, partial(given, what))
    monkeypatch.setattr(module, "QUICK_BUDGET_S", 0.0)
    monkeypatch.setattr(module, "_ceiling", lambda *_: 5000.0)
    monkeypatch.setattr(Calibration, "save", lambda self: None)
    monkeypatch.setattr(module, "_judged", lambda sound, block_s: pytest.fail("too few") if len(sound) < 3 else KNOWN)
    if disturbed > tried:
        with pytest.raises(LabError, match="0 of 12 blocks were sound, too few: somebody computes"):
            module.calibrate(None, quick=True, root=tmp_path)
    else:
        assert module.calibrate(None, quick=True, root=tmp_path).disturbed == disturbed
    assert len(made) == tried


def test_it_is_found_again_for_its_machine_the_newest_first_and_for_no_other(tmp_path):
    run = synthetic.http_run(tmp_path / "e", "one")
    assert calibration_of([run]) is None
    saved(tmp_path, "old", made_s=1.0)
    newest = saved(tmp_path, "new", made_s=2.0)
    saved(tmp_path, "elsewhere", made_s=3.0, machine=machine_of(synthetic.ENVIRONMENT | {"pinned_cpus": [0, 1]}))
    saved(tmp_path, "quick", made_s=4.0, quick=True)
    assert calibration_of([run]) == newest
    other = synthetic.ENVIRONMENT | {"web": {**synthetic.ENVIRONMENT["web"], "cpus": 4}}
    assert calibration_for(other, run.path) is None
    assert calibration_for(synthetic.ENVIRONMENT, tmp_path / "compare" / "a-or-b") == newest


def test_memory_that_breathes_by_a_few_megabytes_makes_no_other_machine():
    other = synthetic.ENVIRONMENT | {"web": {**synthetic.ENVIRONMENT["web"], "memory_bytes": (4 << 30) - (7 << 20)}}
    assert machine_of(other) == machine_of(synthetic.ENVIRONMENT)


def test_of_somebodys_page_it_says_nothing_about_the_labs(tmp_path):
    theirs = synthetic.ENVIRONMENT | {"site": {"name": "theirs"}}
    saved(tmp_path, "theirs", machine=machine_of(theirs))
    assert calibration_for(theirs, tmp_path / "e") and not calibration_for(synthetic.ENVIRONMENT, tmp_path / "e")
    earlier = {name: value for name, value in machine_of(synthetic.ENVIRONMENT).items() if name != "site"}
    saved(tmp_path, "earlier", machine=earlier)
    assert calibration_for(synthetic.ENVIRONMENT, tmp_path / "e").path.name == "earlier"


def test_what_is_kept_is_read_only_and_read_back_whole(tmp_path):
    made = saved(tmp_path, "one")
    assert (made.path / FILE).stat().st_mode & 0o222 == 0
    read = read_calibration(made.path)
    assert read == made and read.path == made.path


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99}', '{"format": 1, "machine": {}}'])
def test_a_damaged_one_is_one_line_and_as_good_as_none(tmp_path, text):
    made = saved(tmp_path, "one")
    (made.path / FILE).unlink()
    (made.path / FILE).write_text(text)
    with pytest.raises(ResultsError, match="is no calibration"):
        read_calibration(made.path)
    assert calibration_for(synthetic.ENVIRONMENT, tmp_path / "e") is None


def test_every_report_says_what_the_machine_can_tell(tmp_path):
    run = synthetic.http_run(tmp_path / "e", "one", point="a")
    assert "not calibrated: fab calibrate" in write_report([run], tmp_path).read_text()
    saved(tmp_path, "one")
    assert "7.0% of throughput in 5 minutes is the smallest effect" in write_report([run], tmp_path).read_text()


def test_so_does_every_judgement_and_its_json(tmp_path):
    runs = synthetic.one_vs_three(tmp_path, repeats=2)
    made = saved(tmp_path, "one")
    for judgements in (judge_all(runs), [one for one in judge_results(tmp_path) if one.verdict != NOT_TESTED]):
        assert judgements and all(judgement.calibration == made for judgement in judgements)
        assert all(judgement.to_dict()["machine"] == made.figures() for judgement in judgements)
    assert all(one.to_dict()["machine"] is None for one in judge_results(tmp_path) if one.verdict == NOT_TESTED)


def test_verdicts_in_words_end_with_what_the_machine_of_each_can_tell(tmp_path):
    runs, made = synthetic.one_vs_three(tmp_path, repeats=2), saved(tmp_path, "one")
    judgement = judge_all(runs)[0]
    assert show.verdicts_text([judgement]).endswith(f"\n\n{steal.SAID}\n{in_words(made)}")
    another = replace(judgement, calibration=None)
    text = show.verdicts_text([judgement, replace(another, claim=replace(judgement.claim, id="C99"))])
    assert text.endswith(f"\n{judgement.claim.id}: {in_words(made)}\nC99: not calibrated: fab calibrate")


def test_so_does_every_comparison_in_words_and_in_json(tmp_path):
    seen = Comparison("a", "b", 8, 0, 60.0, (), tmp_path)
    assert "not calibrated: fab calibrate" in show.comparison_text(seen) and seen.to_dict()["machine"] is None
    seen = Comparison("a", "b", 8, 0, 60.0, (), tmp_path, calibration=calibration(tmp_path))
    assert "called different from itself in 3.0% of comparisons" in show.comparison_text(seen)
    assert seen.to_dict()["machine"]["smallest"]["throughput_per_s"]["5"] == 0.07


def test_the_table_says_what_was_not_found_or_not_measured(tmp_path):
    blind = calibration(tmp_path, smallest={"throughput_per_s": {"10": 0.4}}, ceiling_per_s=None, quick=True)
    text = show.calibration_text(blind)
    assert text.count("none") >= 2 and "40.0%" in text and "ceiling: not measured" in text
    assert "(quickly)" in in_words(blind) and "40.0% of throughput in 10 minutes" in in_words(blind)
    assert "no effect on throughput" in in_words(calibration(tmp_path, smallest={}))
