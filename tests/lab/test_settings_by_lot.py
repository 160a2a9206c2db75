"""Settings by lot: the real validators read thousands of them, and what is accepted is what then runs."""

import json
import random

import pytest

from stacklab import stack
from stacklab.errors import ApplyError, SettingsError
from stacklab.settings import NEEDS_LAYER, NEEDS_SERVER, StackSettings
from stacklab.site import LAB
from stacklab.stack.render import render

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]

RULES = StackSettings.rules()
MANY, WHOLE = 10_000, 150  # nginx reads all; the services that load the site for it, some
CHANGES = 40
# On the web host, as root. nginx's checker takes a moment, the others a second: {"settings", "files", "parts"} → why not, or "".
CHECK = r"""
import importlib.machinery, importlib.util, json, sys
loader = importlib.machinery.SourceFileLoader("commit", "/opt/stacklab/provision/commit-settings")
commit = importlib.util.module_from_spec(importlib.util.spec_from_loader("commit", loader))
loader.exec_module(commit)
with commit.locked(60):
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            commit.check_limits(asked["settings"])
            commit.validate(asked["settings"], asked["files"], set(asked["parts"]), asked["place"])
            print(json.dumps(""))
        except commit.Refused as refused:
            print(json.dumps(str(refused)))
"""


def by_lot(lot: random.Random) -> StackSettings:
    """Some that are allowed: a few fields are others, at the ends of their ranges as often as between."""
    values = StackSettings().to_dict()
    for name in lot.sample(sorted(RULES), lot.randint(1, 6)):
        rule = RULES[name]
        if rule.choices:
            values[name] = lot.choice(rule.choices)
        elif rule.kind is bool:
            values[name] = lot.random() < 0.5
        elif rule.kind in (int, float):
            low, high = rule.low, rule.high
            between = lot.randint(low, high) if rule.kind is int else lot.uniform(low, high)
            values[name] = lot.choice([low, high, between, min(high, low + 3), *([None] if rule.optional else [])])
    for needs, setting in ((NEEDS_LAYER, "channel_layer"), (NEEDS_SERVER, "asgi_server")):
        for name, among in needs.items():
            if values[setting] not in among:
                values[name] = StackSettings().to_dict()[name]
    try:
        return StackSettings.from_dict(values)
    except SettingsError:  # two that do not go together
        return by_lot(lot)


@pytest.mark.fault("10,000 settings by lot, read by the services' own checkers", "web")
def test_the_real_validators_read_whatever_is_rendered(at_defaults):
    lot = random.Random(1)
    asked = []
    for number in range(MANY):
        settings = by_lot(lot)
        files = [file.to_dict() for file in render(settings)]
        parts = {file["unit"] for file in files} if number < WHOLE else {"nginx"}
        asked.append(json.dumps({"settings": settings.to_dict(), "files": files, "parts": sorted(parts), "place": LAB.place}))
    before = stack.state(at_defaults)
    at_defaults.write("/tmp/check-settings.py", CHECK)
    said = at_defaults.run("python3 /tmp/check-settings.py", sudo=True, input="\n".join(asked), timeout_s=3000).splitlines()
    refused = [json.loads(line) for line in said if json.loads(line)]
    assert len(said) == MANY and len(refused) < MANY / 2
    assert all("memory" in why or "open files" in why for why in refused), {why for why in refused}
    assert stack.state(at_defaults) == before


@pytest.mark.fault("40 changes to settings by lot", "web")
def test_what_is_accepted_runs_and_what_is_refused_changes_nothing(at_defaults, site):
    lot = random.Random(2)
    outcomes = {"accepted": 0, "refused": 0}
    for _ in range(CHANGES):
        before, settings = stack.current(at_defaults), by_lot(lot)
        try:
            observed = stack.apply(at_defaults, settings).observed
            outcomes["accepted"] += 1
        except ApplyError as error:
            assert "The old settings are in force" in str(error), error
            settings, observed = before, stack.observe(at_defaults)
            outcomes["refused"] += 1
        assert stack.current(at_defaults) == settings
        assert not {name: observed[name] for name, value in settings.to_dict().items() if observed.get(name, value) != value}
        for file in render(settings):
            assert at_defaults.run(f"cat {file.path}", sudo=True) == file.text, file.path
        assert site() == (200, b"ok\n")
        state = stack.state(at_defaults)
        assert not state["unfinished"] and not state["changing"]
    assert outcomes["accepted"] > CHANGES / 2, outcomes
