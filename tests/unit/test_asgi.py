"""What is seen of the instances on a web host, whichever server's they are."""

from types import SimpleNamespace

import pytest

from stacklab.stack.services import SERVICES
from stacklab.stack.services.asgi import COMMON, DIFFERENT, running

DAPHNE = SERVICES["daphne"]


def machine(*environments: dict, states=(), ports=(), server: str = "daphne") -> SimpleNamespace:
    """A web host with an instance for each environment; all are active where `states` says nothing else."""
    states = states or ["active"] * len(environments)
    units = {f"{server}@{n}": (state, 100 + n) for n, state in enumerate(states, start=1)} | {"nginx": ("active", 7)}
    told = {100 + n: environment for n, environment in enumerate(environments, start=1)}
    return SimpleNamespace(units=units, environment=told.get, listening_ports=lambda: set(ports))


def test_instances_that_are_not_active_are_not_counted():
    host = machine({}, {}, {}, states=("active", "activating", "active"))
    assert running(host) == ["daphne@1", "daphne@3"] and COMMON["daphne_instances"].read(host) == 2
    assert COMMON["asgi_server"].read(host) == "daphne" and COMMON["asgi_server"].read(machine()) is None
    assert COMMON["asgi_server"].read(machine({}, server="uvicorn")) == "uvicorn"
    both = machine({})
    both.units["granian@2"] = ("active", 102)
    assert COMMON["asgi_server"].read(both) == DIFFERENT


@pytest.mark.parametrize(("name", "variable", "text", "value"), [
    ("daphne_tls", "STACKLAB_DAPHNE_TLS", "1", True), ("daphne_tls", "STACKLAB_DAPHNE_TLS", "0", False),
    ("channel_layer", "STACKLAB_CHANNEL_LAYER", "pubsub", "pubsub"), ("channel_capacity", "STACKLAB_CHANNEL_CAPACITY", "7", 7),
    ("redis_pool", "STACKLAB_REDIS_POOL", "3", 3), ("lean_dispatch", "STACKLAB_LEAN_DISPATCH", "1", True),
])  # fmt: skip
def test_a_setting_is_what_all_instances_were_started_with(name, variable, text, value):
    read = COMMON[name].read
    assert read(machine({variable: text}, {variable: text})) == value
    assert read(machine({variable: text}, {variable: "other"})) == DIFFERENT and read(machine({variable: text}, {})) == DIFFERENT
    assert read(machine({}, {})) is None and read(machine()) is None


def test_ports_are_told_that_are_the_instances_alone():
    read = DAPHNE.shows["daphne_ports"]
    assert read(machine(ports=(22, 8442, 8443, 8450))) == [8443, 8450]
    assert read(machine(ports=range(65536)))[0] == 8443 and len(read(machine(ports=range(65536)))) == 16


def test_an_instance_that_does_not_listen_is_no_success():
    assert DAPHNE.unproven({"daphne_instances": 2}, {"daphne_ports": [8443, 8444, 8450]}) == ""
    words = DAPHNE.unproven({"daphne_instances": 2}, {"daphne_ports": [8443]})
    assert words == f"{DAPHNE.label} was to listen on [8443, 8444] and listens on [8443]"


def test_a_role_is_told_by_title_and_by_who_started_it():
    nginx, uwsgi = SERVICES["nginx"], SERVICES["uwsgi"]
    assert nginx.role("nginx: worker process is shutting down", True) == "leaving"
    assert (nginx.role("nginx: worker process", True), nginx.role("nginx: master", False)) == ("worker", "master")
    assert uwsgi.role("shutting down", True) == uwsgi.roles[1] and DAPHNE.role("python", True) == "instance"


def test_commands_are_those_of_the_parts_that_changed():
    reread = ("systemctl", "daemon-reload")
    assert DAPHNE.commands({"daphne"}) == {reread: "daphne"} and DAPHNE.commands({"daphne.target"}) == {reread: "daphne.target"}
    assert DAPHNE.commands({"nginx"}) == {}
