"""Sizes and times agree along the way: what one side lets through, the next one takes. Read from what runs."""

import itertools
import re
import ssl
import string
from collections.abc import Iterator

import pytest
from strangers import Site, head

from stacklab import stack
from stacklab.settings import StackSettings

UNITS = {"": 1, "k": 1024, "m": 1024**2, "s": 1, "min": 60, "h": 3600}
# What the Python side holds: Twisted's limits of a head, Daphne's and Django's own, those of the improvements.
PYTHON = """
from twisted.web.http import HTTPChannel
from django.http.response import MAX_URL_REDIRECT_LENGTH
from daphne.cli import CommandLineInterface
from improvements.daphne_drain import CLOSE_ANSWER_S
from improvements.layer_reconnects import POOL_WAIT_S
import re
unit = open("/etc/systemd/system/daphne@.service").read().replace(chr(92) + chr(10), " ")
command = re.search("exec (?:.*daphne|.*improvements.server) (.*)" + chr(39), unit)[1].replace("$$((8442 + %i))", "8443")
daphne = CommandLineInterface().parser.parse_args(command.split())
print({"head": HTTPChannel.totalHeadersSize, "headers": HTTPChannel.maxHeaders, "redirect": MAX_URL_REDIRECT_LENGTH,
    "ping": daphne.ping_interval + daphne.ping_timeout, "answer": daphne.ping_timeout, "every": daphne.ping_interval,
    "close": CLOSE_ANSWER_S, "connect": daphne.websocket_connect_timeout, "pool": POOL_WAIT_S,
    "end": daphne.application_close_timeout})
"""


def quantity(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(\w*)", text).groups()
    return int(number) * UNITS[unit]


@pytest.fixture(scope="module")
def nginx(host):
    """`nginx("client_max_body_size")`: the quantities after a directive, as nginx itself has read it."""
    config = host.run("nginx -T 2>/dev/null", sudo=True)

    def directive(name: str) -> list[int]:
        found = re.findall(rf"^\s*{name} (.+);", config, re.MULTILINE)
        assert len(set(found)) == 1, (name, found)
        return [quantity(word) for word in found[0].split()]

    directive.text = config
    return directive


@pytest.fixture(scope="module")
def uwsgi(host) -> dict[str, str]:
    lines = host.run("cat /etc/uwsgi/stacklab.ini").splitlines()
    return dict(line.split(" = ", 1) for line in lines if " = " in line)


@pytest.fixture(scope="module")
def python(host) -> dict[str, int]:
    run = f"cd /opt/stacklab/app && set -a && . /etc/stacklab/app.env && /opt/stacklab/venv/bin/python -B -c '{PYTHON}'"
    return eval(host.run(run, sudo=True))


@pytest.fixture(scope="module")
def reached(host) -> Site:
    return Site(host.address, ssl.create_default_context(cadata=stack.ca_certificate(host)))


def longest_head(nginx) -> int:
    """What nginx takes of a request's head: its first buffer, and as many large ones as there may be."""
    (first,), (count, large) = nginx("client_header_buffer_size"), nginx("large_client_header_buffers")
    return first + count * large


def names() -> Iterator[str]:
    """Different names for headers, the shortest first; none that means anything."""
    letters = string.ascii_lowercase.replace("e", "")  # TE, Range, Date …
    return ("".join(name) for length in (1, 2, 3) for name in itertools.product(letters, repeat=length))


def test_uwsgi_takes_every_head_that_nginx_does(nginx, uwsgi, reached):
    # On the way each header grows by "HTTP_" and four bytes of lengths: the more there are, and the shorter, the more it grows.
    (large,) = nginx("large_client_header_buffers")[1:]
    many, packed, left = 0, 2 * large + 1000, longest_head(nginx) - large  # the line's own, which nginx tells twice
    for name in names():
        if (left := left - len(name) - 2) < 0:
            break
        many, packed = many + 1, packed + len(name) + 9
    assert packed < int(uwsgi["buffer-size"])
    assert many < int(uwsgi["max-vars"])
    seen = {}
    for size in (600, 1_000, 2_000, 4_000, 8_000, 16_000, longest_head(nginx) - 400):
        headers = "".join(f"{name}:\n" for name in itertools.islice(names(), size // 5))
        seen[size] = reached.status(f"GET / HTTP/1.1\nHost: localhost\nConnection: close\n{headers}\n".encode())
    assert seen[600] == seen[1_000] == seen[4_000] == 200, seen
    assert set(seen.values()) <= {200, 400}, "400: newer versions of nginx take no more than 1,000 headers"


def test_nginx_takes_every_head_that_the_site_answers_with(nginx, python):
    (size,) = nginx("uwsgi_buffer_size")
    assert python["redirect"] + 4096 < size
    assert size <= nginx("uwsgi_busy_buffers_size")[0]


def test_a_body_that_nginx_takes_is_read_whole(nginx, uwsgi):
    assert int(uwsgi["post-buffering"]) > 0 and "limit-post" not in uwsgi
    assert nginx("client_max_body_size") == [1024**2]


def test_daphne_takes_every_handshake_that_nginx_does(nginx, python, reached):
    longest = 10 ** int(re.search(r'"~\^\[0-9\]\{1,(\d)\}\$" 0;', nginx.text)[1]) - 1
    added = 500  # X-Forwarded-For and the like
    assert longest < longest_head(nginx) and longest + added < python["head"]
    assert nginx.text.count("proxy_set_header") < python["headers"]
    filler = longest - len(head(Cookie="", User_Agent=""))
    for more, status in ((0, 101), (1, 400)):
        data = head(Cookie="a" * 8000, User_Agent="b" * (filler - 8000 + more))
        assert (len(data), reached.status(data)) == (longest + more, status)


@pytest.mark.parametrize("daphne_tls", [True, False])
def test_nginx_takes_every_answer_to_a_handshake_whatever_is_repeated_in_it(at_defaults, nginx, reached, daphne_tls):
    words, host_name = (int(number) for number in re.findall(r'~\^\[[^"]*\]\{1,(\d+)\}\$" \$', nginx.text)[::-1])
    assert words + 2 * host_name + 300 < nginx("proxy_buffer_size")[0], "autobahn repeats the Host twice"
    stack.apply(at_defaults, StackSettings(daphne_tls=daphne_tls))
    room = words - len("https://localhost/ws/chat/x/")
    for refused in (
        head("/ws/chat/x/", Sec_WebSocket_Protocol=f"{'a' * (room // 2 - 1)},{'a' * (room // 2 - 1)}"),
        head("/ws/chat/x/#" + "f" * (room - 1)), head("/ws/chat/x/", Origin="h" * room), head("/ws/[" + "x" * room),
        head(Host="localhost:" + "p" * (host_name - 10)),
    ):  # fmt: skip
        answer = reached.send(refused)
        assert 400 <= int(answer[9:12]) < 404 and b"nginx" in answer and b"malformed" not in answer, answer[:200]


def test_who_waits_for_another_waits_longer(host, nginx, uwsgi, python):
    assert int(uwsgi["harakiri"]) < nginx("uwsgi_read_timeout")[0]
    (silence,) = nginx("proxy_read_timeout")
    assert max(python["ping"], python["connect"]) < silence <= nginx("worker_shutdown_timeout")[0]
    assert python["answer"] < python["every"], "at a second ping autobahn forgets the first one's timer, which then fires"
    assert python["pool"] < python["end"], "who leaves may have to wait for a connection to Redis"
    stop = host.run("systemctl show -P TimeoutStopUSec daphne@1").split()
    seconds = sum(quantity(part) for part in stop)
    assert StackSettings.rules()["daphne_drain_s"].high + 2 * python["close"] < seconds
