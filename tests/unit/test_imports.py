"""The direction of the arrows: who may import whom, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from stacklab.stack import ROOT

PACKAGE = ROOT / "stacklab"

# DESIGN's lines: each imports only from lines above it. Other modules are helpers, and stand between them.
LINES = (
    ("errors",),
    ("settings", "workload"),
    ("host",),
    ("render", "labs", "sampling", "loadgen", "results"),
    ("stack", "validity"),
    ("experiment", "analysis"),
    ("plots",),
    ("report", "doctor"),
    ("tasks",),
)
HEIGHT = {name: height for height, names in enumerate(LINES) for name in names}
WITHOUT_A_LAB = ("results", "validity", "analysis", "plots")
HEAVY = {"pandas", "matplotlib", "pyarrow", "scipy", "locust", "jinja2", "numpy"}


def modules() -> dict[str, list[Path]]:
    """{name: its files}; a package is one name."""
    found: dict[str, list[Path]] = {}
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if name != "__init__":
            found.setdefault(name, []).append(path)
    return found


def imports(path: Path) -> set[str]:
    """The modules that a file names in its imports, also inside functions. Those for type checkers do not count."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "stacklab":
            found.update(f"stacklab.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def of_stacklab(path: Path) -> set[str]:
    names = {name.split(".")[1] for name in imports(path) if name.startswith("stacklab.")}
    return names & set(modules())


def reached(name: str) -> set[str]:
    """All modules of the package that `name` imports, and those that these import."""
    seen: set[str] = set()
    left = {name}
    while left:
        module = left.pop()
        seen.add(module)
        for path in modules()[module]:
            left |= of_stacklab(path) - seen
    return seen


@pytest.mark.parametrize("name", HEIGHT)
def test_a_module_imports_only_from_the_lines_above_it(name):
    for other in reached(name) & set(HEIGHT):
        # Those of one line may know each other, in one direction: see the test of circles.
        assert HEIGHT[other] <= HEIGHT[name], f"{name} imports {other}"


@pytest.mark.parametrize("name", ["report", "tasks", "doctor"])
def test_the_top_is_not_imported_from_below(name):
    users = {module for module, paths in modules().items() for path in paths if name in of_stacklab(path)}
    assert users <= {"tasks", "notebook"}, users


def test_nothing_is_imported_in_a_circle():
    arrows = {name: set().union(*map(of_stacklab, paths)) - {name} for name, paths in modules().items()}
    done: set[str] = set()
    while left := {name: others - done for name, others in arrows.items() if name not in done}:
        free = {name for name, others in left.items() if not others}
        assert free, f"a circle among {sorted(left)}"
        done |= free


@pytest.mark.parametrize("name", WITHOUT_A_LAB)
def test_results_can_be_studied_where_there_is_no_lab(name):
    assert not {"host", "labs", "stack", "experiment", "sampling", "loadgen"} & reached(name)
    for path in (path for module in reached(name) for path in modules()[module]):
        assert not {"fabric", "paramiko", "invoke", "locust"} & {n.split(".")[0] for n in imports(path)}, path


def test_only_the_load_tests_import_locust():
    sources = [p for top in ("stacklab", "app", "provision", "tests") for p in (ROOT / top).rglob("*.py")]
    for path in [*sources, ROOT / "fabfile.py"]:
        assert "locust" not in {name.split(".")[0] for name in imports(path)}, path


def test_the_web_host_needs_nothing_but_jinja2():
    allowed = set(sys.stdlib_module_names) | {"stacklab", "jinja2"}
    for name in ("errors", "settings", "render", "version"):
        assert {n.split(".")[0] for n in imports(PACKAGE / f"{name}.py")} <= allowed, name
    for path in (ROOT / "provision" / "live.py", ROOT / "provision" / "files" / "sampler.py"):
        assert {n.split(".")[0] for n in imports(path)} <= set(sys.stdlib_module_names), path


@pytest.mark.parametrize("module", ["stacklab.tasks", "stacklab.experiment", "fabfile"])
def test_fab_starts_without_the_heavy_libraries(module):
    light = HEAVY - {"jinja2"} if module != "stacklab.experiment" else {"locust", "matplotlib", "scipy"}
    code = f"import sys, {module}; print(*({light!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_importing_does_nothing():
    code = "import threading; before = threading.active_count()\n" + "".join(
        f"import stacklab.{name}\n" for name in sorted(modules())
    )
    code += "assert threading.active_count() == before\n"
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
