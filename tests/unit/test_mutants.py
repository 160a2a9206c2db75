"""`make mutants`: every module has tests that may find its faults."""

import mutants


def test_every_module_that_is_mutated_has_tests():
    modules = mutants.modules()
    assert len(modules) > 60 and not [module for module in modules if not mutants.tests_of(module)]
    assert mutants.tests_of("stacklab/runs/flow.py")[0] == "tests/unit/test_flow.py"
    assert "tests/unit/test_power.py" not in mutants.tests_of("stacklab/study/power.py"), "which cuts it"
