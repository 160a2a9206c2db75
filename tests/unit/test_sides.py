"""Two sides of runs: files and kept runs, of which the run is the unit."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from synthetic import http_run

from stacklab import tasks
from stacklab.commandline import gathered
from stacklab.errors import LabError, ResultsError
from stacklab.runs import export_csv, load_runs, read
from stacklab.runs.foreign.keeping import keep, named
from stacklab.study import compare, summarize, write_report
from stacklab.study.sides import NOT_TOLD, ONE_RUN, OTHERWISE, compare_sides, text
from stacklab.study.verdicts import judge_results

START_MS = 1_700_000_000_000
WRK = (
    "Running 10s test @ http://x/\n  4 threads and 100 connections\n    Latency     1.90ms    2.36ms  64.56ms   99.10%\n"
    "     50%    2.07ms\n     99%    3.81ms\n  4875 requests in 10.10s, 63.69MB read\nRequests/sec:    482.68\n"
)


@pytest.fixture
def run_of(tmp_path):
    """A file of JMeter with 100 samples of about `ms` ms, `at` minutes after the first file's; the first `fail` failed."""

    def write(name: str, ms: float, at: int = 0, fail: int = 0, labels=("GET /",), seed: int = 1):
        rng = np.random.default_rng(seed)
        rows = [
            f"{START_MS + at * 60_000 + n * 50},{max(1, int(ms * rng.lognormal(0, 0.3)))},{labels[n % len(labels)]},"
            f"{'false' if n < fail else 'true'}"
            for n in range(100)
        ]
        path = tmp_path / name
        path.write_text("timeStamp,elapsed,label,success\n" + "\n".join(rows) + "\n")
        [run] = read(path)
        return run

    return write


def lines_of(sides, label=None):
    return {line.metric: line for line in sides.lines if line.label == label}


def test_one_run_a_side_has_numbers_and_never_a_verdict(run_of):
    sides = compare_sides([run_of("a.jtl", 20)], [run_of("b.jtl", 200)])
    assert {line.verdict for line in sides.lines} == {ONE_RUN}
    assert lines_of(sides)["p50_s"].ratio == pytest.approx(10, rel=0.1)
    assert {(line.low, line.high) for line in sides.lines} == {(None, None)}
    assert text(sides).count(ONE_RUN) == 1 and sides.to_dict()["decided_by"] == ONE_RUN


def test_several_runs_against_one_are_not_decided_either(run_of):
    a = [run_of(f"a{n}.jtl", 20, seed=n) for n in range(7)]
    sides = compare_sides(a, [run_of("b.jtl", 200)])
    assert {line.verdict for line in sides.lines} == {ONE_RUN}
    assert "7 runs stand against 1" in sides.notes[0]


def test_two_runs_a_side_are_too_few(run_of):
    a, b = ([run_of(f"{side}{n}.jtl", ms, seed=n) for n in range(2)] for side, ms in (("a", 20), ("b", 200)))
    said = lines_of(compare_sides(a, b))["p50_s"].verdict
    assert said == "undecided: 2 pairs of runs; 6 are the fewest that can decide"


def in_turn(run_of, factor: float, pairs: int = 8, **given):
    """Pairs of runs one after the other, on a machine whose every pair is quicker or slower than the last."""
    rng = np.random.default_rng(7)
    a, b = [], []
    for n in range(pairs):
        speed = float(np.exp(rng.normal(0, 0.4)))
        a.append(run_of(f"a{n}.jtl", 2000 * speed, at=2 * n, seed=n, **given))
        b.append(run_of(f"b{n}.jtl", 2000 * speed * factor * float(np.exp(rng.normal(0, 0.01))), at=2 * n + 1, seed=n, **given))
    return a, b


def test_pairs_of_runs_decide_what_samples_may_not(run_of):
    sides = compare_sides(*in_turn(run_of, 1.25))
    line = lines_of(sides)["p50_s"]
    assert line.verdict == "B is worse" and line.low < 1.25 < line.high
    assert lines_of(sides)["error_share"].verdict == "the same within ± 0.5 %"
    same = compare_sides(*in_turn(run_of, 1.0))
    assert lines_of(same)["mean_s"].verdict == "the same within ± 5 %" and same.notes == ()


def test_labels_are_compared_each_and_hold_together(run_of):
    sides = compare_sides(*in_turn(run_of, 1.25, labels=("a", "b", "c")))
    assert [line.label for line in sides.lines][::6] == [None, "a", "b", "c"]
    wide, narrow = lines_of(sides, "b")["mean_s"], lines_of(sides)["mean_s"]
    assert wide.verdict == "B is worse" and wide.high / wide.low > narrow.high / narrow.low


def test_no_label_among_others_is_compared_too(run_of):
    a, b = (run_of(name, 20, labels=("a", "a", "")) for name in ("a.jtl", "b.jtl"))
    sides = compare_sides([a], [b])
    assert lines_of(sides)["throughput_per_s"].a[0] > 2 * lines_of(sides, "")["throughput_per_s"].a[0]
    assert "all samples together" in text(sides) and "no label" in text(sides)


def test_what_files_do_not_tell_is_said_of_several_too(tmp_path):
    for n in range(4):
        (tmp_path / f"{n}.txt").write_text(WRK)
        (tmp_path / f"{n}.jtl").write_text("elapsed,label\n10,a\n20,a\n")
    wrk, bare = ([run for n in range(4) for run in read(tmp_path / f"{n}.{ending}")] for ending in ("txt", "jtl"))
    assert lines_of(compare_sides(wrk[:2], wrk[2:]))["p95_s"].verdict == NOT_TOLD
    found = lines_of(compare_sides(bare[:2], bare[2:]))
    assert found["error_share"].verdict == found["throughput_per_s"].verdict == NOT_TOLD != found["p50_s"].verdict
    assert lines_of(compare_sides(wrk[:2], bare[:2]))["p50_s"].verdict == OTHERWISE


def test_whole_milliseconds_of_0_do_not_hide_what_is_20_times_slower(tmp_path):
    def runs(side, *many):
        for n, ms in enumerate(many):
            path = tmp_path / f"{side}{n}.jtl"
            path.write_text("elapsed,label,success\n" + f"{ms},a,true\n" * 9)
            yield from read(path)

    slower = lines_of(compare_sides([*runs("a", 0, *[1] * 7)], [*runs("b", *[20] * 8)]))["p50_s"]
    assert (slower.verdict, slower.scale) == ("B is worse", "difference")
    nothing = lines_of(compare_sides([*runs("c", *[0] * 8)], [*runs("d", *[0] * 8)]))["p50_s"]
    assert nothing.verdict == "the same within ± 5 %" and nothing.ratio is None


def test_one_label_is_no_label(run_of):
    assert {line.label for line in compare_sides([run_of("a.jtl", 20)], [run_of("b.jtl", 20)]).lines} == {None}


def test_failures_are_apart_from_successes(run_of, tmp_path):
    sides = compare_sides([run_of("a.jtl", 20)], [run_of("b.jtl", 20, fail=40)])
    found = lines_of(sides)
    assert found["error_share"].b == (0.4,) and found["p50_s"].of == "successes" and found["throughput_per_s"].of == "all"
    (tmp_path / "w.txt").write_text(WRK.replace("Requests/sec", "  Non-2xx or 3xx responses: 3\nRequests/sec"))
    mixed = lines_of(compare_sides([run_of("a.jtl", 20)], read(tmp_path / "w.txt")))
    assert mixed["mean_s"].of == "all"  # where one file does not tell them apart


def test_percentiles_of_two_definitions_are_shown_and_not_compared(run_of, tmp_path):
    (tmp_path / "w.txt").write_text(WRK)
    line = lines_of(compare_sides([run_of("a.jtl", 20)], read(tmp_path / "w.txt")))["p50_s"]
    assert (line.verdict, line.ratio) == (OTHERWISE, None)
    assert line.definition == "nearest rank / wrk's own, printed to three digits"


def test_a_summary_is_compared_by_its_own_definition(run_of, tmp_path):
    metrics = {"http_reqs": {"count": 100, "rate": 20.0}, "http_req_failed": {"passes": 0},
               "http_req_duration": {"avg": 20.0, "med": 19.0, "p(95)": 30.0}}  # fmt: skip
    (tmp_path / "k6.json").write_text(json.dumps({"metrics": metrics}))
    line = lines_of(compare_sides([run_of("a.jtl", 20)], read(tmp_path / "k6.json")))["p95_s"]
    assert line.definition == "linear" and line.ratio is not None


def test_all_of_one_side_first_is_said(run_of):
    a, b = ([run_of(f"{side}{n}.jtl", 20, at=at + n) for n in range(2)] for side, at in (("a", 0), ("b", 5)))
    assert "measure them in turn" in compare_sides(a, b).notes[0]


def test_kept_runs_of_ours_are_compared_too_and_disturbed_ones_judge_nothing(run_of, tmp_path):
    root = tmp_path / "results"
    ours = [http_run(root / "mine", f"r{n}", start_s=1_763_800_000 + 100 * n, seed=n) for n in range(2)]
    bad = http_run(root / "bad", "r1", steal=0.5)
    sides = compare_sides(named(["mine"], root), [run_of("a.jtl", 20), bad])
    assert lines_of(sides)["throughput_per_s"].a[0] == pytest.approx(1000 / figures_span(ours[0]))
    assert "disturbed" in " ".join(sides.notes) and "1 pairs of runs" in lines_of(sides)["p50_s"].verdict


def test_points_of_an_experiment_are_not_pooled(tmp_path):
    for n in range(2):
        http_run(tmp_path / "mine", f"r{n}", point=f"users-{n}")
    with pytest.raises(ResultsError, match=r"runs of 2 points \(users-0, users-1\); name some by mine/r0"):
        named(["mine"], tmp_path)
    assert len(named(["mine/r0", "mine/r1"], tmp_path)) == 2


def figures_span(run) -> float:
    table = run.table("requests")
    counted = table[~table["warmup"]]
    return (counted["start_s"] + counted["duration_s"]).max() - counted["start_s"].min()


def test_what_has_no_request_is_refused(run_of, tmp_path):
    with pytest.raises(ResultsError, match="no run is named"):
        compare_sides([run_of("a.jtl", 20)], [])
    (tmp_path / "k6.json").write_text(json.dumps({"metrics": {"http_reqs": {"count": 0}, "http_req_duration": {}}}))
    [nothing] = read(tmp_path / "k6.json")
    with pytest.raises(ResultsError, match="k6.json: holds no request, and nothing else is compared here"):
        compare_sides([run_of("a.jtl", 20)], [replace(nothing, held={})])


def test_what_is_left_out_is_said(run_of):
    a = [run_of(f"a{n}.jtl", 20, at=4 * n, labels=("a", "b", "c")) for n in range(2)]
    b = [run_of(f"b{n}.jtl", 20, at=2 + 7 * n, labels="abd") for n in range(3)]
    sides = compare_sides(a, b)
    assert sides.notes == ("2 runs stand against 3: the last 1 are shown, and judge nothing",
                           "2 labels are not in every run, and are left out")  # fmt: skip
    assert [line.label for line in sides.lines][::6] == [None, "a", "b"]


# ---------------------------------------------------------------- the tasks


@pytest.fixture
def results(tmp_path, monkeypatch):
    for name in ("stacklab.files.RESULTS", "stacklab.study.sides.RESULTS"):
        monkeypatch.setattr(name, tmp_path / "results")
    return tmp_path / "results"


def test_import_tells_and_keeps(run_of, results, capsys):
    run = run_of("a.jtl", 20, fail=3)
    [told] = tasks.import_([run.path], json=True)
    assert json.loads(capsys.readouterr().out) == [told] and not results.exists()
    assert tasks.import_(run.path) == [told]
    capsys.readouterr()
    expected = {"tool", "samples", "failures", "duration_s", "p50_ms", "p95_ms", "p99_ms", "percentile", "cannot_tell"}
    assert expected <= set(told)
    tasks.import_(str(run.path), as_="old")
    said = capsys.readouterr().out
    assert "100 samples, 3 failed" in said and "JMeter's dashboard" in said and str(results / "old" / "a.jtl") in said
    with pytest.raises(ResultsError, match="exists already"):
        tasks.import_(str(run.path), as_="old")


def test_compare_takes_files_and_kept_runs(run_of, results, capsys):
    keep(run_of("a.jtl", 20), results / "old")
    sides = tasks.compare(files="old", with_=str(run_of("b.jtl", 40).path), json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["a"][0]["samples"] == 100 and {line["verdict"] for line in told["metrics"]} == {ONE_RUN} and sides.pairs == 1


@pytest.mark.parametrize(
    "given", [{"files": "a"}, {"with_": "b"}, *({"files": "a", "with_": "b"} | more for more in (
        {"users": "5,9"}, {"budget_s": "300"}, {"chat": True}, {"seed": 1}, {"fresh": True}, {"lab": "x"}))],
)  # fmt: skip
def test_compare_of_files_measures_nothing(given):
    more = [f"no --{name.replace('_', '-')}:" for name in given if name not in ("files", "with_")]
    with pytest.raises(LabError, match=f"--files A1,A2 --with B1,B2, and {''.join(more)}" if more else "B1,B2, both"):
        tasks.compare(**given)


def test_none_is_what_was_not_given(run_of):
    files = str(run_of("a.jtl", 20).path)
    assert tasks.compare(files=files, with_=files, budget_s=None, seed=None).pairs == 1
    with pytest.raises(LabError, match="margin=None is not allowed"):
        tasks.compare(files=files, with_=files, margin=None)


def test_all_files_of_import_are_one_word_for_invoke():
    assert gathered(["import", "a", "--as", "n", "b c", "--json"]) == ["import", "a\nb c", "--as", "n", "--json"]
    assert gathered(["import", "--json"]) == ["import", "--json"]
    assert gathered(["compare", "import", "a", "b"]) == ["compare", "import", "a", "b"]


# ---------------------------------------------------------------- what else is made of runs


@pytest.fixture
def mixed(run_of, results, tmp_path):
    """Kept runs of samples, of a summary, and one of ours."""
    (tmp_path / "w.txt").write_text(WRK)
    for run in (run_of("a.jtl", 20, fail=5), run_of("=b.jtl", 40, labels=("=1+1", "-x", "ok")), *read(tmp_path / "w.txt")):
        keep(run, results / "old")
    http_run(results / "old", "ours", point="ours")
    return load_runs(results / "old")


def test_summaries_have_what_there_is(mixed):
    table = summarize(mixed).set_index("run")
    assert table.loc["a.jtl", ["counted", "errors", "times_of", "of_tool"]].tolist() == [100, 5, "successes", "JMeter"]
    assert table.loc["a.jtl", "throughput_per_s"] == pytest.approx(95 / table.loc["a.jtl", "load_s"])
    assert table.loc["w.txt", "p50_s"] == pytest.approx(0.00207) and np.isnan(table.loc["w.txt", "p95_s"])
    assert table.loc["ours", "kind"] == "http" and table["valid"].all()
    alone = [run for run in mixed if run.settings is None]
    assert set(compare(alone, "p50_s")["metric"]) == {"p50_s"}


def test_a_report_says_what_is_not_known(mixed, tmp_path):
    page = write_report(mixed, tmp_path / "report.html").read_text()
    assert "Other tools&#39; results" in page and "cannot tell p95, time of day, labels" in page
    assert "Of another tool&#39;s file nothing is known" in page or "Of another tool's file nothing is known" in page
    alone = write_report([run for run in mixed if run.run == "w.txt"], tmp_path / "one.html").read_text()
    assert "at a time that no file tells" in alone and "fab import w.txt --as old" in alone


def test_a_report_of_runs_that_were_not_kept(run_of, tmp_path):
    assert write_report([run_of("a.jtl", 20)], tmp_path / "report.html").stat().st_size > 10_000


def test_an_exported_label_is_no_formula(mixed, tmp_path):
    files = {path.name: pd.read_csv(path) for path in export_csv(mixed, tmp_path / "out")}
    assert set(files) >= {"runs.csv", "requests.csv", "stated.csv"}
    assert {"'=1+1", "'-x", "ok"} <= set(files["requests.csv"]["name"]) and "'=b.jtl" in set(files["runs.csv"]["run"])
    assert not any(str(name).startswith("=") for table in files.values() for name in table.select_dtypes("str").stack())


def test_claims_are_judged_beside_foreign_runs(mixed, results):
    (results / "old").rename(results / "eight-cases")
    assert judge_results(results)


def test_notebooks_see_them(mixed):
    from stacklab.console import run_text

    assert "measurement unknown" in run_text(next(run for run in mixed if run.run == "a.jtl"))
