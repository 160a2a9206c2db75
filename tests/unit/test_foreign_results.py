"""Real result files of other tools, with their right values: a folder that STACKLAB_FOREIGN_RESULTS names.

Its README.md has, below a heading for each set of files, a block of JSON. The values in it were computed from the files by
other means than ours, so what is read here is held against what is so.
"""

import json
import os
import re
from datetime import datetime
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from stacklab.errors import ResultsError
from stacklab.runs import read
from stacklab.study.figures import figures, to_dict
from stacklab.study.percentiles import jmeter_dashboard, linear, nearest_rank

if "STACKLAB_FOREIGN_RESULTS" not in os.environ:  # named by hand; else nothing here is collected, and test_foreign.py says so
    pytest.skip("STACKLAB_FOREIGN_RESULTS names no folder of real result files", allow_module_level=True)
FOLDER = Path(os.environ["STACKLAB_FOREIGN_RESULTS"])
ROUNDED = 0.0011  # both sides are rounded to 0.001
PLAIN = ("samples", "failures", "duration_s", "throughput_per_s", "mean_ms", "min_ms", "max_ms", "p50_ms", "p95_ms", "p99_ms")
NOT_READ = {
    "vegeta-1.bin": "vegeta report -type=hdrplot", "gatling-1.log": "awk", "gatling-2.log": "awk",
    "gatling-3.log": "binary log of Gatling 3.14.3", "ab-1.tsv": "awk", "hey-1.csv": "awk", "artillery-1.json": "Artillery",
    "autocannon-1.json": "autocannon",
}  # fmt: skip
ONE_RUN = ["jmeter-5.csv", *(f"jmeter-{number}.jtl" for number in (1, 4, 7, 8, 19, 20, 21, 22, 23, 24, 29))]
IN_PIECES = {"jmeter-2.jtl", "jmeter-3.jtl"}


@cache
def right_values() -> dict[str, tuple[list[str], dict]]:
    """{set: (its files, its values)}."""
    found = {}
    for part in (FOLDER / "README.md").read_text().split("\n## ")[1:]:
        files = re.search(r"^- Files: (.+)$", part, re.M)
        values = re.search(r"```json\n(.*?)\n```", part, re.S)
        if files and values:
            found[part.partition("\n")[0]] = re.findall(r"`([^`]+)`", files[1]), json.loads(values[1])
    return found


def seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def hold(told: dict, right: dict) -> int:
    """What is told against what is right; how many values were compared."""
    compared = 0
    for name, value in right.items():
        if name in PLAIN:
            assert told[name] == pytest.approx(value, abs=ROUNDED), name
        elif name in ("first_start", "last_end"):
            assert told["started_s" if name == "first_start" else "ended_s"] == pytest.approx(seconds(value), abs=ROUNDED)
        elif name in ("linear_ms", "jmeter_dashboard_ms"):
            words = "linear" if name == "linear_ms" else "JMeter's dashboard, p(n+1) of the last 20,000"
            if words in told.get("definitions", {}):
                for share in ("p50", "p95", "p99"):
                    assert told["definitions"][words][f"{share}_ms"] == pytest.approx(value[share], abs=0.006), (name, share)
        elif name == "successes_only":
            hold(told["successes"], {n: v for n, v in value.items() if n != "failures"})
        elif name == "labels":
            for label, values in value.items():
                compared += hold(told["labels"][label], values)
        elif name == "labels_count":
            assert len(told["labels"]) == value
        else:
            continue
        compared += 1
    return compared


def times_ms(runs) -> np.ndarray:
    tables = [run.table(name) for run in runs for name in ("requests", "apart") if run.has(name)]
    return np.sort(np.concatenate([table["duration_s"] for table in tables])) * 1000


def hold_times(times: np.ndarray, right: dict) -> None:
    """All rows of a file, also where they are of several runs, or sums of each other."""
    assert len(times) == right["samples"] and times.mean() == pytest.approx(right["mean_ms"], abs=ROUNDED)
    for name, define in (("linear_ms", linear), ("jmeter_dashboard_ms", jmeter_dashboard)):
        for share, value in right[name].items():
            assert define(times, int(share[1:]) / 100) == pytest.approx(value, abs=0.006), (name, share)
    for share in ("p50", "p95", "p99"):
        assert nearest_rank(times, int(share[1:]) / 100) == pytest.approx(right[f"{share}_ms"], abs=ROUNDED)


@pytest.mark.parametrize("name", ONE_RUN)
def test_one_run_of_jmeter(name):
    [run] = read(FOLDER / name)
    assert hold(to_dict(run), right_values()[name][1]["all_rows"]) >= 14
    if run.held["requests"].last <= 20_000:
        hold_times(times_ms([run]), right_values()[name][1]["all_rows"])


@pytest.mark.parametrize("name", sorted(IN_PIECES))
def test_runs_that_were_appended_are_cut_apart(name):
    runs, right = read(FOLDER / name), right_values()[name][1]
    assert len(runs) == right["pieces_split_at_gaps_over_30s"] == len(right["pieces"])
    for run, piece in zip(runs, right["pieces"], strict=True):
        assert hold(to_dict(run), piece) >= 10
    hold_times(times_ms(runs), right["all_rows"])
    assert sum(to_dict(run)["failures"] for run in runs) == right["all_rows"]["failures"]


def test_transactions_are_told_from_their_parts():
    [run] = read(FOLDER / "jmeter-6.csv")
    right, told = right_values()["jmeter-6.csv"][1], to_dict(run)
    assert hold(told, right["without_transaction_rows"]) >= 40
    alone = right["transaction_rows_only"]
    hold(told["apart"], {name: value for name, value in alone.items() if name in PLAIN})
    for label, values in alone["labels"].items():
        assert hold(told["apart"]["labels"][label], values) == 8
    hold_times(times_ms([run]), right["all_rows"])


@pytest.mark.parametrize("name", ["jmeter-9.jtl", "jmeter-10.jtl"])
def test_jmeters_xml(name):
    [run] = read(FOLDER / name)
    right, told = right_values()[name][1], to_dict(run)
    assert hold(told, right["top_level"]) >= 14
    if nested := right.get("nested"):
        hold(told["apart"], {name: value for name, value in nested.items() if name in PLAIN})
        for label, values in nested["labels"].items():
            assert hold(told["apart"]["labels"][label], values) == 8
    assert told["apart"].get("samples", 0) == right["nested_samples"]


def hold_stats(told: dict, stats: dict) -> None:
    """Locust's statistics, each row of them."""
    for label, right in stats.items():
        mine = told if label in ("Aggregated", "None Aggregated", "None Total", "Total") else told["labels"][label]
        right = {"p50_ms": right.get("median_ms", right.get("p50_ms"))} | right
        assert hold(mine, right) >= 5, label
        if "requests_per_s" in right:
            assert mine["throughput_per_s"] == pytest.approx(right["requests_per_s"], abs=ROUNDED)


@pytest.mark.parametrize("ending", ["requests", "distribution"])
def test_locusts_oldest_files_are_one_run_whichever_is_given(ending):
    [run] = read(FOLDER / f"locust-1_{ending}.csv")
    right = right_values()["locust-1"][1]
    hold_stats(to_dict(run), right["stats"])
    hold_stats(to_dict(run), right["distribution"])
    assert run.environment["cannot_tell"] == ["duration", "time of day", "times of successes apart"]


@pytest.mark.parametrize("number", [2, 3, 4])
def test_locusts_statistics(number):
    right = right_values()[f"locust-{number}"][1]
    [run] = read(FOLDER / f"locust-{number}_stats.csv")
    hold_stats(to_dict(run), right["stats"])
    whole = right["stats"].get("Aggregated") or right["stats"]["None Aggregated"]
    history = right["history"]
    ends_before = history["last_total_requests"] < whole["samples"]
    assert to_dict(run)["duration_s"] == (None if ends_before else history["duration_s"])
    assert any(f"up to {history['max_users']} users" in note for note in run.environment["notes"])
    if right["failures"]["kinds"]:
        assert any(f"{right['failures']['occurrences']:,} in all" in note for note in run.environment["notes"])
    for ending in ("failures", *(["exceptions"] if number == 3 else [])):
        [part] = read(FOLDER / f"locust-{number}_{ending}.csv")
        assert part.path == run.path


@pytest.mark.parametrize("number", [2, 3, 4])
def test_locusts_history(number):
    [run] = read(FOLDER / f"locust-{number}_stats_history.csv")
    told, right = to_dict(run), right_values()[f"locust-{number}"][1]["history"]
    assert (told["samples"], told["failures"]) == (right["last_total_requests"], right["last_total_failures"])
    assert told["duration_s"] == right["duration_s"]
    assert [told["started_s"], told["ended_s"]] == [seconds(right["first_timestamp"]), seconds(right["last_timestamp"])]
    assert told["p95_ms"] is None and {"p95", "p99"} <= set(told["cannot_tell"])


def test_locusts_log_of_requests():
    [run] = read(FOLDER / "locust-4_requests.csv")
    assert hold(to_dict(run), right_values()["locust-4"][1]["requests"]) >= 25


def test_k6_line_by_line():
    [run] = read(FOLDER / "k6-1.json")
    assert hold(to_dict(run), right_values()["k6-1.json"][1]["http_req_duration"]) >= 25


def test_k6_as_csv():
    [run] = read(FOLDER / "k6-2.csv")
    told, right = to_dict(run), right_values()["k6-2.csv"][1]
    assert hold(told, right["http_req_duration"]) >= 20
    assert told["failures"] == right["http_req_failed"]
    assert told["duration_s"] is None and "duration" in told["cannot_tell"]


def test_k6s_summary():
    [run] = read(FOLDER / "k6-3.json")
    told, right = to_dict(run), right_values()["k6-3.json"][1]
    times = right["http_req_duration_ms"]
    assert told["samples"] == right["http_reqs"]["count"] and told["failures"] == right["http_req_failed"]["passes"]
    assert told["throughput_per_s"] == pytest.approx(right["http_reqs"]["rate"], abs=ROUNDED)
    assert told["duration_s"] == pytest.approx(right["test_run_duration_ms"] / 1000, abs=ROUNDED)
    shown = [told[name] for name in ("mean_ms", "min_ms", "p50_ms", "p95_ms", "max_ms")]
    assert shown == pytest.approx([times[name] for name in ("avg", "min", "med", "p(95)", "max")], abs=0.0011)
    assert told["p99_ms"] is None and "p99" in told["cannot_tell"] and told["percentile"] == "linear"


@pytest.mark.parametrize("name", ["wrk-1.txt", "wrk-2.txt", "wrk2-1.txt"])
def test_wrk(name):
    runs, right = read(FOLDER / name), right_values()[name][1]["runs"]
    for run, one in zip(runs, right, strict=True):
        told, stated = to_dict(run), run.table("stated").set_index("quantity")["value"]
        hold(told, one | {"samples": one["requests"], "failures": one["non_2xx_3xx"]})
        for prefix, percentiles in (("", one.get("percentiles_ms", {})), ("uncorrected_", one.get("uncorrected_ms", {}))):
            for share, value in percentiles.items():
                assert stated[f"{prefix}{share}_s"] * 1000 == pytest.approx(value, abs=ROUNDED)
        for kind, count in (one["socket_errors"] or {}).items():
            assert stated[f"socket_errors_{kind}"] == count
        assert [share for share in ("p50", "p95", "p99") if told[f"{share}_ms"] is None] == [
            share for share in ("p50", "p95", "p99") if share in told["cannot_tell"]
        ]
    if name == "wrk2-1.txt":
        assert any("9,991" in note for note in runs[0].environment["notes"])


def test_hdrhistograms_table():
    [run] = read(FOLDER / "hdr-1.hgrm")
    told, right = to_dict(run), right_values()["hdr-1.hgrm"][1]
    assert hold(told, right | {"samples": right["total_count"]}) == 6
    stated = run.table("stated").set_index("quantity")["value"]
    assert stated["p99.9_s"] * 1000 == pytest.approx(right["p99.9_ms"])
    assert {"duration", "failures", "unit", "time of day"} <= set(told["cannot_tell"])


def test_hdrhistograms_log():
    pytest.importorskip("hdrh")
    [run] = read(FOLDER / "hdr-1.hlog")
    told, right = to_dict(run), right_values()["hdr-1.hlog"][1]
    all_of_it = right["tags"]["(none)"]
    assert hold(told, all_of_it | {"samples": all_of_it["total_count"], "duration_s": right["span_s"]}) == 7
    assert told["started_s"] == pytest.approx(seconds(right["start"]) + 0.127)


@pytest.mark.parametrize(("name", "says"), NOT_READ.items())
def test_what_is_not_read_is_known_and_told_what_to_make_of_it(name, says):
    with pytest.raises(ResultsError) as caught:
        read(FOLDER / name)
    assert says in str(caught.value) and "\n" not in str(caught.value) and str(FOLDER / name) in str(caught.value)


def test_all_files_were_tried():
    pytest.importorskip("hdrh")
    there = {path.name for path in FOLDER.iterdir()} - {"README.md"}
    assert {file for files, _ in right_values().values() for file in files} == there
    assert there - set(NOT_READ) == {path.name for path in FOLDER.iterdir() if path.name != "README.md" and _is_read(path)}


def _is_read(path: Path) -> bool:
    try:
        return bool(read(path)) and all(figures(run) for run in read(path))
    except ResultsError:
        return False
