"""Each ASGI server behind nginx: it serves what Daphne serves, takes its place without a dropped handshake, and comes back."""

import json
import ssl
import threading
import time
from collections import Counter

import pytest
import websocket
from strangers import Site

from stacklab import stack
from stacklab.errors import ApplyError, SettingsError
from stacklab.settings import ASGI_SERVERS, StackSettings
from stacklab.stack.processes import processes


@pytest.fixture(scope="module")
def reached(host):
    return Site(host.address, ssl.create_default_context(cadata=stack.ca_certificate(host)))


@pytest.fixture(scope="module", params=ASGI_SERVERS)
def served(request, host):
    """The host with one server after the other."""
    stack.apply(host, StackSettings(asgi_server=request.param))
    yield host, request.param
    if request.param == ASGI_SERVERS[-1]:
        stack.apply(host, StackSettings())


def says(chat: websocket.WebSocket, text: str) -> None:
    chat.send(json.dumps({"type": "message", "text": text, "n": 1, "sent_s": 0.0}))


def hears(chat: websocket.WebSocket, text: str) -> str:
    """The frame in which `text` comes."""
    while text not in (frame := chat.recv()):
        assert frame, "the socket was closed"
    return frame


def instances(reached) -> set[str]:
    """Whom six sockets met; what one of them says, all hear."""
    chats = [reached.chat("servers") for _ in range(6)]
    assert hears(chats[0], '"present":6'), "they are counted together, whomever they met"
    says(chats[0], "across")
    assert all(hears(chat, "across") for chat in chats)
    found = set()
    for number, chat in enumerate(chats):
        says(chat, f"who of {number}?")
        found.add(json.loads(hears(chat, f"who of {number}?"))["via"])
        chat.close()
    return found


@pytest.mark.parametrize("tls", [True, False])
def test_the_chat_and_the_rest_of_the_site(served, reached, site, tls):
    host, server = served
    applied = stack.apply(host, StackSettings(asgi_server=server, daphne_tls=tls))
    seen = applied.observed
    assert (seen["asgi_server"], seen["daphne_tls"], seen["daphne_instances"]) == (server, tls, 3)
    assert {unit for unit in seen["units"] if "@" in unit} == {f"{server}@{n}" for n in (1, 2, 3)}
    assert instances(reached) == {f"{server}@{n}" for n in (1, 2, 3)}
    assert site("/")[0] == 200 and site("/static/chat")[0] == 301
    ask = (
        "import http.client as h, ssl; tls = ssl._create_unverified_context();"
        f" c = h.HTTP{'S' if tls else ''}Connection('127.0.0.1', 8443, timeout=5{', context=tls' if tls else ''});"
        " c.request('GET', '/healthz', headers={'Host': 'localhost', 'X-Forwarded-Proto': 'https'});"
        " print(c.getresponse().status)"
    )
    assert host.run(f'python3 -c "{ask}"').strip() == "200", "and speaks TLS, or does not, as asked"


def test_it_has_the_daemons_user_its_files_and_its_sandbox(served):
    host, server = served
    table = processes(host)
    mine = table[table["service"].str.startswith(f"{server}@")]
    assert set(mine["user"]) == {"daphne"} and (mine["role"] == "instance").sum() == 3
    assert not table["service"].str.match("|".join(f"{other}@" for other in ASGI_SERVERS if other != server)).any()
    shown = host.run(f"systemctl show {server}@1 -p NoNewPrivileges,ProtectSystem,PrivateTmp,ProtectHome,LimitNOFILE")
    assert set(shown.split()) == {
        "LimitNOFILE=65536", "NoNewPrivileges=yes", "PrivateTmp=yes", "ProtectHome=yes", "ProtectSystem=strict",
    }  # fmt: skip


@pytest.mark.fault("kill -9 of an instance of uvicorn, Hypercorn, Granian", "web")
def test_an_instance_that_is_killed_is_back(served, reached):
    host, server = served
    pid = host.run(f"systemctl show -P MainPID {server}@2").strip()
    host.run(f"systemctl kill --signal=KILL {server}@2", sudo=True)
    host.run(f"until systemctl is-active -q {server}@2; do sleep 0.1; done", timeout_s=60)
    assert host.run(f"systemctl show -P MainPID {server}@2").strip() != pid
    stack.apply(host, stack.current(host), anew=("nginx",))
    assert f"{server}@2" in instances(reached)


def test_fab_shows_and_changes_it(at_defaults, fab):
    assert "taken up by" in (said := fab("set", "--asgi-server", "uvicorn").stdout) and "uvicorn" in said
    lines = [line.split() for line in fab("status").stdout.splitlines()]
    assert ["asgi_server", "uvicorn", "uvicorn"] in lines and ["uvicorn@1", "active"] in lines
    refused = fab("set", "--daphne-drain-s", "9")
    assert refused.returncode == 1 and "daphne_drain_s=9 is not allowed with asgi_server='uvicorn'" in refused.stderr


def test_a_setting_that_only_daphne_knows_is_refused_before_anything_happens():
    with pytest.raises(SettingsError, match="asgi_threads=4 is not allowed with asgi_server='granian', which knows no such"):
        StackSettings(asgi_server="granian", asgi_threads=4)


def test_a_server_that_does_not_start_leaves_the_one_before_serving(at_defaults, reached):
    program = "/opt/stacklab/venv/bin/hypercorn"
    broken = "#!/bin/sh\\necho no such thing >&2; exit 3\\n"
    at_defaults.run(f"mv {program} {program}.away; printf '{broken}' > {program}; chmod 755 {program}", sudo=True)
    try:
        with pytest.raises(ApplyError, match="The old settings are in force") as refused:
            stack.apply(at_defaults, StackSettings(asgi_server="hypercorn"))
    finally:
        at_defaults.run(f"mv {program}.away {program}", sudo=True)
    assert refused.value.unit == "hypercorn" and "no such thing" in refused.value.journal
    observed = stack.observe(at_defaults)
    assert (observed["asgi_server"], observed["daphne_instances"]) == ("daphne", 3)
    assert not [unit for unit in observed["units"] if unit.startswith("hypercorn")], "none of the other is left"
    assert instances(reached) == {"daphne@1", "daphne@2", "daphne@3"}


def test_one_server_takes_anothers_place_and_no_handshake_or_page_is_dropped(at_defaults, reached, site):
    over, seen, refused, change = threading.Event(), Counter(), [], ""

    def chatting() -> None:
        """Comes into the room, says something, leaves: what is open when its instance stops is cut, and only that.

        An open socket can be cut before its room has welcomed it, too.
        """
        while not over.is_set():
            try:
                chat = reached.handshake("change")
            except (OSError, websocket.WebSocketException) as error:
                refused.append((change, f"{type(error).__name__}: {error}"[:90]))
                continue
            try:
                says(chat, "here")
                hears(chat, "here")
                seen["said"] += 1
            except (OSError, AssertionError, websocket.WebSocketException):
                seen["cut"] += 1
            chat.shutdown()
            time.sleep(0.05)

    def reading() -> None:
        while not over.is_set():
            seen[f"page {site()[0]}"] += 1

    people = [threading.Thread(target=who) for who in (chatting, chatting, chatting, reading)]
    for person in people:
        person.start()
    try:
        before = "daphne"
        for server in ("uvicorn", "hypercorn", "granian", "daphne"):
            change, before = f"{before} to {server}", server
            stack.apply(at_defaults, StackSettings(asgi_server=server))
            seen[server] = seen["said"]
    finally:
        over.set()
        for person in people:
            person.join()
    # uvicorn alone, told to stop, answers a handshake that is under way with 500 instead of finishing it (`shutdown` in its
    # websockets_impl.py), and that is an answer, which nginx hands on.
    assert all(when == "uvicorn to hypercorn" and "Handshake status 500" in what for when, what in refused), refused
    assert {what for what in seen if what.startswith("page")} == {"page 200"}
    assert 0 < seen["uvicorn"] < seen["hypercorn"] < seen["granian"] < seen["daphne"], "there was talk all the time"
    assert seen["cut"] <= 3 * 3 * 4, "at most what each of three people had open at each of three instances, four times"
