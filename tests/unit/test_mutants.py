"""`make mutants`: every module has tests that may find its faults, and a fault's function is the innermost around it."""

import mutants

CODE = """
@outer
def one():
    def two():
        return 1
    return two

THREE = 3
"""


def test_every_module_that_is_mutated_has_tests():
    modules = mutants.modules()
    assert len(modules) > 60 and not [module for module in modules if not mutants.tests_of(module)]
    assert mutants.tests_of("stacklab/runs/flow.py")[0] == "tests/unit/test_flow.py"
    assert "tests/unit/test_power.py" not in mutants.tests_of("stacklab/study/power.py"), "which cuts it"


def test_those_that_call_the_innermost_function_around_a_fault_are_asked_and_else_those_that_call_the_module(monkeypatch):
    tests = {
        "both": {"duration_s": 2.0, "called": [["m.py", 2], ["m.py", 4]]}, "quick": {"duration_s": 1.0, "called": [["m.py", 4]]},
        "outer": {"duration_s": 0.5, "called": [["m.py", 2]]}, "other": {"duration_s": 0.1, "called": [["n.py", 4]]},
    }  # fmt: skip
    monkeypatch.setattr(mutants, "tests_of", lambda module: ["a file"])
    monkeypatch.setattr(mutants, "calls_of", lambda file: tests)
    assert [next(mutants.calling("m.py", line, CODE))[1] for line in (5, 6, 8)] == [
        ["quick", "both"], ["outer", "both"], ["outer", "quick", "both"],
    ]  # fmt: skip
    assert next(mutants.calling("m.py", 5, CODE))[2] == 3.0
    assert next(mutants.calling("o.py", 5, CODE))[1] == ["other", "outer", "quick", "both"], "it runs in a process of its own"
