"""What strangers send, on a real web host: it is theirs alone, and nobody else notices."""

import http.client
import re
import ssl

import pytest
from matrix import by_count
from strangers import ANSWER_S, Honest, Site, head, send_all

from stacklab import stack
from stacklab.settings import StackSettings

ERRORS = "/var/log/nginx/error.log"
LONG = "7" * 5_000


@pytest.fixture(scope="module")
def reached(host) -> Site:
    """The site, as strangers reach it."""
    return Site(host.address, ssl.create_default_context(cadata=stack.ca_certificate(host)))


@pytest.fixture
def complaints(at_defaults):
    """`complaints()`: what nginx has had to say of its upstreams since the test began; not of how an open socket ended, which
    counts against nobody."""
    begin = int(at_defaults.run(f"stat -c %s {ERRORS}", sudo=True))
    said = "^(?!.*while proxying upgraded connection).*upstream.*"
    return lambda: re.findall(said, at_defaults.run(f"tail -c +{begin + 1} {ERRORS}", sudo=True), re.MULTILINE)


def page(path: str = "/", method: str = "GET", body: bytes = b"", **headers: str) -> bytes:
    """A request as a browser makes one."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{n.replace('_', '-')}: {v}" for n, v in {"Host": "localhost", **headers}.items())]
    lines += [f"Content-Length: {len(body)}"] if body else []
    return ("\r\n".join([*lines, "Connection: close"]) + "\r\n\r\n").encode("latin1") + body


# ---------------------------------------------------------------- what they send to the chat

# Daphne, or the library below it, repeats each of these in its answer, which may then be longer than nginx takes.
REPEATED = {
    "version": head(Sec_WebSocket_Version=LONG), "not a version": head(Sec_WebSocket_Version="x" * 5000),
    "key": head(Sec_WebSocket_Key=LONG), "port": head(Host="localhost:" + "x" * 5000), "origin": head(Origin="x" * 5000),
    "protocols": head(Sec_WebSocket_Protocol=f"{LONG},{LONG[:2000]},{LONG}"), "fragment": head("/ws/chat/x/#" + LONG),
    "method": head(method="A" * 5000), "upgrade": head(Upgrade="websocket, " + LONG), "query": head("/ws/chat/x/?q=" + LONG),
    "not a handshake": page("/ws/chat/x/?q=" + LONG), "Host": page("/ws/chat/x/", Host="x" * 5000),
    "many": head(**{f"X_{number}": "1" for number in range(1200)}), "too much": head(Cookie="a=" + "b" * 8000, X="y" * 8000),
    "body": head(method="POST", Content_Length="900000") + b"x" * 900_000, "port of a proxy": head(X_Forwarded_Port="x"),
    "beyond ASCII": head(Sec_WebSocket_Protocol="\xff"), "length": head(Content_Length=LONG),
}  # fmt: skip


@pytest.mark.parametrize("daphne_tls", [True, False])
def test_what_a_client_sends_is_never_held_against_an_instance(at_defaults, reached, complaints, daphne_tls):
    stack.apply(at_defaults, StackSettings(daphne_tls=daphne_tls))
    statuses = {name: {reached.status(data) for _ in range(4)} for name, data in REPEATED.items()}
    assert complaints() == []
    for _ in range(6):
        reached.chat().close()
    assert {name: seen for name, seen in statuses.items() if any(status >= 500 or status == 0 for status in seen)} == {}


def test_a_get_on_a_socket_path_is_told_what_belongs_there(reached):
    for data in (page("/ws/chat/x/"), head(Upgrade="h2c"), head(Sec_WebSocket_Version="8")):
        answer = reached.send(data)
        assert answer.startswith(b"HTTP/1.1 426 ") and b"Upgrade: websocket\r\n" in answer
        assert b"Sec-WebSocket-Version: 13\r\n" in answer and b"WebSocket" in answer.partition(b"\r\n\r\n")[2]
    assert reached.status(head(method="POST")) == 405
    assert reached.status(head(Sec_WebSocket_Key="short")) == 400


def test_an_honest_handshake_passes_with_all_that_a_browser_sends(reached):
    for extra in (
        {"Upgrade": "WebSocket"}, {"Sec_WebSocket_Protocol": "chat, superchat"}, {"Cookie": "a=" + "b" * 8_000},
        {"Sec_WebSocket_Extensions": "permessage-deflate; client_max_window_bits"}, {"Content_Length": "0"},
        {"Origin": "https://localhost:8443", "Host": "localhost:8443"}, {"User_Agent": "Mozilla/5.0 " + "x" * 300},
    ):  # fmt: skip
        assert reached.status(head(**extra)) == 101, extra


def test_a_refused_origin_stands_where_a_person_looks(at_defaults, reached, fab):
    reached.send(head(Origin="https://elsewhere.example"))
    said = fab("logs", "nginx", "--lines", "20", "--no-follow").stdout
    assert "WebSocket refused with 403" in said and "https://elsewhere.example" in said


@pytest.mark.parametrize("count", by_count(500, 20_000, "{:,} handshakes by lot"))
def test_an_honest_client_never_notices_what_strangers_send(at_defaults, reached, complaints, count):
    pids = "systemctl show -P MainPID nginx uwsgi daphne@1 daphne@2 daphne@3 redis-server"
    before = at_defaults.run(pids)
    with Honest(reached) as honest:
        seen = send_all(reached, count, seed=count)
    assert honest.noticed == []
    assert min(honest.done["talk"], honest.done["come"], honest.done["look"]) >= 3, honest.done
    assert seen["101"] > count / 100 and seen["400"] > count / 10 and sum(seen.values()) == count, seen
    assert not {"500", "502", "503", "504"} & set(seen), seen
    assert complaints() == [] and at_defaults.run(pids) == before


# ---------------------------------------------------------------- what they send to the pages


@pytest.mark.parametrize("size", [4_000, 5_000, 7_000, 8_100])
def test_a_cookie_or_a_query_that_nginx_takes_is_answered_by_the_page(reached, size):
    cookies = page(Cookie="a=" + "b" * size, User_Agent="Mozilla/5.0 " + "x" * 200, Accept="text/html", Accept_Language="en")
    assert reached.status(cookies) == 200
    assert reached.status(page("/?q=" + "a" * size)) == 200
    assert reached.status(page("/cpu?ms=1&q=" + "a" * size)) == 301, "to /cpu/, with all of the query repeated"


def test_a_redirect_may_be_as_long_as_django_makes_one(reached, complaints):
    assert reached.status(page("/chat/" + "\x80" * 3_200)) == 301, "each of these takes five bytes in Location"
    assert reached.status(page("/chat/" + "\x80" * 7_900)) == 400, "and Django makes none beyond 16,384"
    assert complaints() == []


@pytest.mark.parametrize("size", [9_000, 40_000, 200_000])
def test_what_is_too_long_is_refused_by_nginx_and_reaches_nobody(reached, complaints, size):
    assert reached.status(page(Cookie="a" * size)) == 400
    assert reached.status(page("/?" + "a" * size)) == 414
    assert reached.status(page(**{f"X_{n}": "1" for n in range(size // 8)})) == 400 or size < 20_000
    assert complaints() == []


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_a_body_that_nobody_reads_is_answered_every_time(reached, complaints, method):
    right = 200 if method == "GET" else 405
    sizes = [1, 5_000, 100_000, 300_000, 900_000]
    assert [reached.status(page(method=method, body=b"x" * size)) for size in sizes * 6] == [right] * 30
    chunked = page(method=method, Transfer_Encoding="chunked") + b"186a0\r\n" + b"x" * 100_000 + b"\r\n0\r\n\r\n"
    assert [reached.status(chunked) for _ in range(6)] == [right] * 6
    assert complaints() == []


def test_a_body_that_is_too_long_is_refused_by_name(reached):
    assert reached.status(page(method="POST", body=b"x" * 1_100_000)) == 413


def test_a_post_is_told_in_one_line_that_pages_are_only_read(reached):
    answer = reached.send(page("/chat/", "POST", b"a=b"))
    assert answer.startswith(b"HTTP/1.1 405 ") and b"Allow: GET, HEAD" in answer


@pytest.mark.parametrize("path", ["/ws", "/static/chat"])
def test_a_redirect_keeps_the_port_by_which_one_came(reached, path):
    answer = reached.send(page(path, Host="localhost:8443"))
    assert re.search(rb"Location: (https://localhost:8443)?/(ws|static/chat)/\r\n", answer), answer


def test_plain_http_on_the_port_of_https_is_sent_there(host):
    site = http.client.HTTPConnection(host.address, 443, timeout=ANSWER_S)
    site.request("GET", "/chat/?a=b", headers={"Host": "localhost:8443"})
    answer = site.getresponse()
    assert (answer.status, answer.headers["Location"]) == (308, "https://localhost:8443/chat/?a=b")
    site.close()


def test_static_files_are_compressed_and_asked_about_again(reached):
    answer = reached.send(page("/static/chat/chat.js", Accept_Encoding="gzip"))
    for line in (b"Content-Encoding: gzip\r\n", b"Cache-Control: no-cache\r\n", b"Vary: Accept-Encoding\r\n"):
        assert line in answer
    etag = re.search(rb"ETag: (.+)\r\n", answer)[1].decode()
    assert reached.status(page("/static/chat/chat.js", If_None_Match=etag, Accept_Encoding="gzip")) == 304


@pytest.mark.parametrize("daphne_tls", [True, False])
def test_daphne_knows_that_its_client_came_by_https(at_defaults, reached, daphne_tls):
    stack.apply(at_defaults, StackSettings(daphne_tls=daphne_tls))
    assert reached.status(page("/ws/chat/x/")) == 426, "and no redirect to itself"
    ask = (
        f"import http.client, ssl; daphne = http.client.{'HTTPS' if daphne_tls else 'HTTP'}Connection('127.0.0.1', 8443, "
        f"{'context=ssl._create_unverified_context()' if daphne_tls else 'timeout=5'}); "
        "daphne.request('GET', '/healthz', headers={'Host': 'localhost', 'X-Forwarded-Proto': 'https'}); "
        "print(daphne.getresponse().status)"
    )
    assert at_defaults.run(f'python3 -c "{ask}"') == "200\n"
    assert reached.status(page(X_Forwarded_Proto="http")) == 200, "what a client writes there counts for nothing"
