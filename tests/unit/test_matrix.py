"""The fault matrix's own arithmetic: rows of reports, and their table."""

from types import SimpleNamespace

import matrix


def report(fault=None, outcome="passed", when="call", **told):
    properties = [("fault", fault)] if fault else []
    properties += [("told", {"back_s": told.pop("back_s", None), "lost": told})] if told else []
    return SimpleNamespace(
        user_properties=properties, when=when, passed=outcome == "passed", skipped=outcome == "skipped", nodeid="x"
    )


KILL, FULL = ("kill -9 of nginx", "web"), ("disk full", "desk")


def test_tests_of_one_fault_are_one_row_with_sums_and_the_longest_time():
    seen = matrix.rows([
        report(), report(KILL, when="setup"), report(KILL, pages=(1, 20), back_s=0.5), report(KILL, pages=(2, 30), back_s=1.5),
        report(FULL), report(FULL, when="teardown"),
    ])  # fmt: skip
    assert seen == [
        {"fault": KILL[0], "where": "web", "survived": True, "lost": {"pages": [3, 50]}, "back_s": 1.5, "tries": 2},
        {"fault": FULL[0], "where": "desk", "survived": True, "lost": {}, "back_s": None, "tries": 1},
    ]
    assert matrix.table(seen).splitlines()[2:] == [
        "| kill -9 of nginx | web | yes (2 tries) | 3 of 50 pages | 1.5 s |", "| disk full | desk | yes | – | – |",
    ]  # fmt: skip


def test_one_promise_not_kept_is_a_fault_not_survived_and_what_was_not_tried_says_so():
    for bad in (report(KILL, "failed"), report(KILL, "failed", "setup"), report(KILL, "failed", "teardown")):
        for order in ([bad, report(KILL)], [report(KILL), bad]):
            [row] = matrix.rows(order)
            assert row["survived"] is False and "**no**" in matrix.table([row])
    [row] = matrix.rows([report(FULL, "skipped", "setup")])
    assert row["survived"] is None and "not tried" in matrix.table([row])
