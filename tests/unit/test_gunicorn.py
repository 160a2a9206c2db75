"""gunicorn's configuration, as Python and gunicorn read it, and what its workers' notes say."""

import json
from types import SimpleNamespace

import pytest

from stacklab.settings import StackSettings
from stacklab.stack.render import render
from stacklab.stack.services import gunicorn


@pytest.fixture
def config(tmp_path):
    """The rendered file, run."""
    settings = StackSettings(wsgi_server="gunicorn", uwsgi_processes=3, uwsgi_threads=2, uwsgi_listen=70)
    text = next(file.text for file in render(settings) if file.path == gunicorn.CONFIG)
    names: dict = {}
    exec(text, names)  # no statement but imports and definitions
    return names | {"ready": tmp_path / "ready"}


def own(config) -> dict:
    not_its = ("__builtins__", "contextlib", "json", "os", "Path", "ready")
    return {name: value for name, value in config.items() if name not in not_its}


def test_gunicorn_knows_every_name_in_it(config):
    settings = pytest.importorskip("gunicorn.config").Config()
    assert not set(own(config)) - set(settings.settings), "an unknown name would be passed over"
    for name, value in own(config).items():
        settings.set(name, value)
    assert (settings.workers, settings.threads, settings.backlog) == (3, 2, 70)
    assert settings.worker_class_str == "gthread"


def test_a_worker_that_has_loaded_the_site_says_so_until_it_ends(config, monkeypatch):
    (variable,) = config["raw_env"]
    monkeypatch.setenv(*variable.split("="))
    ready = config["ready"]
    config["post_worker_init"].__globals__["ready"] = ready
    config["post_worker_init"](SimpleNamespace(pid=7, cfg=SimpleNamespace(threads=2)))
    config["post_worker_init"](SimpleNamespace(pid=8, cfg=SimpleNamespace(threads=2)))
    note = {"threads": 2, "database": "sqlite"}
    assert {path.name: json.loads(path.read_text()) for path in ready.iterdir()} == {"7": note, "8": note}
    config["child_exit"](None, SimpleNamespace(pid=7))
    assert [path.name for path in ready.iterdir()] == ["8"]
    config["child_exit"](None, SimpleNamespace(pid=9))  # it never was ready


def test_a_body_that_the_site_left_is_read_and_one_that_breaks_off_is_no_fault(config):
    left = iter([b"x" * 65536, b"x", b""])
    config["post_request"](None, SimpleNamespace(body=SimpleNamespace(read=lambda size: next(left))), {}, None)
    assert next(left, None) is None

    def reset(size):
        raise ConnectionResetError

    config["post_request"](None, SimpleNamespace(body=SimpleNamespace(read=reset)), {}, None)


@pytest.mark.parametrize(("notes", "ready"), [
    ({}, set()), ({1: ""}, set()), ({1: '{"threads": 2}', 2: ""}, set()), ({1: '{"threads": 2}', 2: '{"threads": 2}'}, {1, 2}),
])  # fmt: skip
def test_workers_are_ready_once_each_child_of_the_master_says_so(notes, ready):
    machine = SimpleNamespace(
        main_pid=lambda unit: 100, children=lambda pid: list(notes), text_of=lambda path: notes[int(path.rpartition("/")[2])]
    )
    assert gunicorn.workers(machine) == ready
    assert gunicorn.GUNICORN.settings["uwsgi_threads"].read(machine) == (2 if any(notes.values()) else 0)
