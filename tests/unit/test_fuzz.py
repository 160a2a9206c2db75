"""What people edit by hand, spoiled anywhere: stacklab.toml and run.json are read, or refused in one clear line."""

import json
import tomllib
import warnings

import pytest
import synthetic
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_site import WHOLE

from stacklab.errors import LabError
from stacklab.runs.results import DamagedRunWarning, UnfinishedRunWarning, load_runs
from stacklab.settings import StackSettings
from stacklab.site import FILE, Site, read_project
from stacklab.stack.render import render
from stacklab.study.summary import summarize

ODD = ["/", "..", "/ws/", "a;b", "a b", "{room}", "$x", "~", "\x00", "\n", "x.y:z", "²", "1e999"]
TEXTS = st.text(max_size=30) | st.sampled_from(ODD)
LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | TEXTS
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=5)
WHERE = st.lists(st.integers(0, 30), min_size=1, max_size=5)
PATIENT = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def spoiled(whole, where, what, value):
    """A copy of `whole`, whose value at `where` (which child of which …) is replaced, taken out, or given a neighbour."""
    copy = json.loads(json.dumps(whole))
    at, path = copy, list(where)
    while True:
        keys = sorted(at) if isinstance(at, dict) else range(len(at))
        key = keys[path.pop(0) % len(keys)]
        if not path or not isinstance(at[key], dict | list) or not at[key]:
            break
        at = at[key]
    if what == "replace":
        at[key] = value
    elif what == "take out":
        del at[key]
    elif isinstance(at, dict):
        at[json.dumps(value)[:20]] = value
    else:
        at.append(value)
    return copy


def toml(value) -> str:
    """`value` as TOML has it; what it has not, None, as a text."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(key))} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool | float | int):
        return str(value).lower()
    return '"' + "".join(f"\\U{ord(letter):08x}" for letter in str(value)) + '"'


@PATIENT
@given(where=WHERE, what=st.sampled_from(["replace", "take out", "add"]), value=VALUES, cut=st.none() | st.integers(0, 800))
def test_a_stacklab_toml_is_a_site_or_one_clear_line(tmp_path_factory, where, what, value, cut):
    root = tmp_path_factory.mktemp("project")
    for name in ("requirements.txt", "manage.py"):
        (root / name).touch()
    text = "\n".join(f"{toml(key)} = {toml(inner)}" for key, inner in spoiled(tomllib.loads(WHOLE), where, what, value).items())
    (root / FILE).write_bytes(text.encode("utf-8", "replace")[:cut])
    try:
        site = read_project(root).site
    except LabError as error:
        assert FILE in str(error) and "\n" not in str(error), error
        return
    assert Site.from_dict(json.loads(json.dumps(site.to_dict()))) == site
    for file in render(StackSettings(), site):
        assert not [letter for letter in file.text if ord(letter) < 32 and letter not in "\n\t"]


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """A run, and what its run.json says."""
    run = synthetic.http_run(tmp_path_factory.mktemp("results"), "one")
    return run, json.loads((run.path / "run.json").read_text())


@PATIENT
@given(where=WHERE, what=st.sampled_from(["replace", "take out", "add"]), value=VALUES, cut=st.none() | st.integers(0, 3000))
def test_a_run_json_is_a_run_or_left_out_with_one_clear_line(described, where, what, value, cut):
    run, whole = described
    (run.path / "run.json").chmod(0o644)
    of_before_there_were_sums = spoiled(whole | {"format": 2}, where, what, value)
    (run.path / "run.json").write_text(json.dumps(of_before_there_were_sums)[:cut])
    (run.path / "SHA256SUMS").unlink(missing_ok=True)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        runs = load_runs(run.path.parent)
    assert len(runs) + len(said) == 1 and {warning.category for warning in said} <= {DamagedRunWarning, UnfinishedRunWarning}
    assert not [warning for warning in said if "\n" in str(warning.message)]
    summarize(runs)
