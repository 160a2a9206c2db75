"""The direction of the arrows: who may import whom, read from the source."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

from stacklab import version
from stacklab.files import ROOT

PACKAGE = ROOT / "stacklab"

# DESIGN's wings: each imports only from those before it, `runs` from none of them. Below them stand the words, above
# them what people see.
WORDS = ("errors", "files", "settings", "workload", "visits", "version", "surroundings", "site")
WINGS = ("labs", "runs", "stack", "study", "bench")
TOP = (
    "show", "doctor", "console", "notebook", "typed", "tasks", "commandline", "command",
    "predictions", "recorded", "lesson_words", "onpage", "lesson", "exercises",
)  # fmt: skip
FLOORS = {name: floor for floor, names in enumerate((WORDS, *((wing,) for wing in WINGS), TOP)) for name in names}
NOT_ASKED = {"runs": {"labs"}, "study": {"labs"}}  # earlier in the list, and yet none of theirs
HEAVY = {"pandas", "matplotlib", "pyarrow", "scipy", "locust", "jinja2", "numpy"}


@functools.cache
def modules() -> dict[str, Path]:
    """{name, such as "labs.host": its file}; a wing's own `__init__` is called like the wing."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts != ("__init__",):
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


@functools.cache
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
    """The modules of the package that a file imports, as names of `modules`."""
    found = set()
    for name in imports(path):
        if name.startswith("stacklab."):
            inner = name.removeprefix("stacklab.")
            found.add(inner if inner in modules() else inner.rpartition(".")[0])
    return found & set(modules())


def reached(*names: str) -> set[str]:
    """The modules of the package that `names` import, those that these import, and themselves."""
    seen: set[str] = set()
    left = set(names)
    while left:
        seen.add(name := left.pop())
        left |= of_stacklab(modules()[name]) - seen
    return seen


def floor_of(name: str) -> str:
    return name.partition(".")[0]


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_module_imports_only_from_its_own_floor_and_those_below(name):
    floor = floor_of(name)
    assert floor in FLOORS, f"{name} stands in no wing, nor among the words or the top"
    for other in map(floor_of, of_stacklab(modules()[name])):
        assert FLOORS[other] <= FLOORS[floor] and other not in NOT_ASKED.get(floor, ()), f"{name} imports {other}"


def test_study_asks_of_the_stack_only_what_its_services_are_called():
    users = [name for name in modules() if floor_of(name) == "study"]
    asked = set().union(*(of_stacklab(modules()[name]) for name in users))
    assert {name for name in asked if floor_of(name) == "stack"} == {"stack.services"}


@pytest.mark.parametrize("name", ["study.report", "tasks", "commandline", "doctor"])
def test_the_top_is_not_imported_from_below(name):
    users = {module for module, path in modules().items() if name in of_stacklab(path)}
    assert users <= {"tasks", "commandline", "notebook", "recorded"}, users


def test_nothing_is_imported_in_a_circle():
    # A wing's own `__init__` is its front door: it hands out what stands behind it, and is asked from there too.
    rooms = {name: path for name, path in modules().items() if name not in WINGS}
    arrows = {name: (of_stacklab(path) & set(rooms)) - {name} for name, path in rooms.items()}
    done: set[str] = set()
    while left := {name: others - done for name, others in arrows.items() if name not in done}:
        free = {name for name, others in left.items() if not others}
        assert free, f"a circle among {sorted(left)}"
        done |= free


def test_no_room_is_too_large_to_read():
    assert {name: lines for name, path in modules().items() if (lines := len(path.read_text().splitlines())) > 420} == {}


def test_results_can_be_studied_where_there_is_no_lab():
    for path in (modules()[name] for name in reached("runs", "study.report", "runs.validity")):
        assert not {"fabric", "paramiko", "invoke", "locust"} & {n.split(".")[0] for n in imports(path)}, path


def test_only_the_load_tests_import_locust():
    sources = [p for top in ("stacklab", "app", "provision", "tests") for p in (ROOT / top).rglob("*.py")]
    for path in [*sources, ROOT / "fabfile.py"]:
        assert "locust" not in {name.split(".")[0] for name in imports(path)}, path


def test_the_web_host_needs_nothing_but_jinja2():
    allowed = set(sys.stdlib_module_names) | {"stacklab", "jinja2"}
    shipped = version.modules(PACKAGE)
    for name in shipped:
        assert {n.split(".")[0] for n in imports(PACKAGE / name)} <= allowed, name
        assert {modules()[other].relative_to(PACKAGE).as_posix() for other in of_stacklab(PACKAGE / name)} <= set(shipped), name
    for path in (ROOT / "provision" / "live.py", ROOT / "provision" / "files" / "sampler.py"):
        assert {n.split(".")[0] for n in imports(path)} <= set(sys.stdlib_module_names), path


@pytest.mark.parametrize("module", ["stacklab.tasks", "stacklab.bench.experiment", "fabfile"])
def test_fab_starts_without_the_heavy_libraries(module):
    light = HEAVY - {"jinja2"} if module != "stacklab.bench.experiment" else {"locust", "matplotlib", "scipy"}
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


@pytest.mark.parametrize("wing", ["labs", "runs", "stack", "study", "bench"])
def test_what_a_wing_hands_out_is_called_otherwise_than_its_modules(wing):
    # Importing a module puts it into its wing by its name, over whatever is handed out by that name.
    folder = ROOT / "stacklab" / wing
    modules = {path.stem for path in folder.iterdir()}
    tables = [node for node in ast.walk(ast.parse((folder / "__init__.py").read_text())) if isinstance(node, ast.Dict)]
    handed_out = {key.value for table in tables for key in table.keys if isinstance(key, ast.Constant)}
    assert not handed_out & modules
