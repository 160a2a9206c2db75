"""The lean clients of loadtests/ beside others' on the same bytes: `Connection` beside h11, `ChatSocket` beside wsproto."""

from __future__ import annotations

from types import SimpleNamespace

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection as Peer
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage


@pytest.fixture(scope="module")
def lean(of_loadtests):
    """The modules of the two clients."""
    return SimpleNamespace(Connection=of_loadtests("connection").Connection, chatsocket=of_loadtests("chatsocket"))


class Wire:
    """A socket's other end has these pieces to say, then ends; what it is told is kept."""

    def __init__(self, pieces: list[bytes]):
        self.pieces, self.told = [*pieces], b""

    def recv(self, size: int) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def sendall(self, data: bytes) -> None:
        self.told += data

    def close(self) -> None:
        pass


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` as it may arrive: cut at these places."""
    at = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in zip(at, at[1:], strict=False)]


# -- HTTP -----------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nServer: nginx\r\n"
ANSWERS = {
    "with a length": HEAD + b"Content-Length: 11\r\n\r\nhello there",
    "empty": HEAD + b"Content-Length: 0\r\n\r\n",
    "in chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1a\r\n" + b"x" * 26 + b"\r\n0\r\n\r\n",
    "in chunks, with a trailer": HEAD + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
    "until the end": HEAD + b"\r\nall that comes",
    "the last": HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nok",
    "of HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "204": b"HTTP/1.1 204 No Content\r\nServer: nginx\r\n\r\n",
    "304": b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n',
    "302": b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
    "502": b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nbad",
    "100, then 200": b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 2\r\n\r\nok",
    "103, then 503": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: 1\r\n\r\n!",
    "cut off in its head": HEAD[:-5],
    "cut off in its body": HEAD + b"Content-Length: 11\r\n\r\nhello",
    "cut off in a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "cut off before the last chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\r\n",
    "of no length that is one": HEAD + b"Content-Length: many\r\n\r\nhello",
    "of a chunk that has no size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n",
}


def by_h11(pieces: list[bytes]) -> tuple[int, int, bool]:
    """(status, bytes of the body, whether the connection may be used again) as h11 reads it; status 0: no answer."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    status = size = 0
    left = [*pieces, b""]
    try:
        while True:
            event = client.next_event()
            if event is h11.NEED_DATA:
                client.receive_data(left.pop(0))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                size += len(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return status, size, bool(left) and client.our_state is client.their_state is h11.DONE
            elif not isinstance(event, h11.InformationalResponse):
                return 0, 0, False
    except h11.RemoteProtocolError:
        return 0, 0, False


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@given(cuts=st.lists(st.integers(0, 10_000), max_size=8))
def test_an_answer_is_read_as_h11_reads_it_however_it_is_cut(lean, answer, cuts):
    pieces = pieces_of(answer, cuts)
    client = lean.Connection(SimpleNamespace(authority="x"), "/", None)
    client._socket = Wire(pieces)
    outcome = client.get()
    assert (outcome.status, outcome.bytes, client._socket is not None) == by_h11(pieces), outcome
    assert (outcome.error is None) == (200 <= outcome.status < 300) and not outcome.retried


@pytest.mark.parametrize("path", ["/", "/io/?ms=50", "/a%20b/?q=%C3%A9&x="])
def test_a_request_is_what_h11_takes_for_one(lean, path):
    wire = Wire([ANSWERS["with a length"]])
    client = lean.Connection(SimpleNamespace(authority="web.example:8443"), path, None)
    client._socket = wire
    client.get()
    server = h11.Connection(h11.SERVER)
    server.receive_data(wire.told)
    request = server.next_event()
    assert (request.method, request.target, request.http_version) == (b"GET", path.encode(), b"1.1")
    headers = dict(request.headers)
    assert headers[b"host"] == b"web.example:8443" and b"connection" not in headers
    assert isinstance(server.next_event(), h11.EndOfMessage) and server.next_event() is h11.NEED_DATA


# -- WebSocket ------------------------------------------------------------------------------------

FRAMES = st.lists(
    st.one_of(
        st.builds(TextMessage, st.text(max_size=300)),
        st.builds(lambda size: TextMessage("x" * size), st.sampled_from([0, 125, 126, 127, 65_535, 65_536])),
        st.builds(Ping, st.binary(max_size=125)),
        st.builds(Pong, st.binary(max_size=125)),
    ),
    max_size=6,
)
ENDS = st.one_of(
    st.none(), st.builds(CloseConnection, st.sampled_from([1000, 1001, 1005, 1011, 1012, 4409, 4999]), st.text("ab", max_size=40))
)


def by_wsproto(data: bytes, role: ConnectionType) -> tuple[list[str], bytes, int | None]:
    """(texts, pongs that it answers, close code) as wsproto reads what its peer sent."""
    peer = Peer(role)
    peer.receive_data(data)
    texts, parts, pongs, code = [], [], [], None
    for event in peer.events():
        if isinstance(event, TextMessage):
            parts.append(event.data)
            if event.message_finished:
                texts.append("".join(parts))
                parts.clear()
        elif isinstance(event, Ping):
            pongs.append(bytes(event.payload))
        elif isinstance(event, CloseConnection):
            code = event.code
        assert not isinstance(event, BytesMessage)
    return texts, pongs, code


@given(frames=FRAMES, end=ENDS, cuts=st.lists(st.integers(0, 200_000), max_size=8))
def test_frames_are_read_as_wsproto_reads_them_however_they_are_cut(lean, frames, end, cuts):
    server = Peer(ConnectionType.SERVER)
    stream = b"".join(server.send(frame) for frame in [*frames, *([end] if end else [])])
    wire = Wire(pieces_of(stream, cuts))
    client = object.__new__(lean.chatsocket.ChatSocket)
    client._socket, client._unread = wire, b""
    texts, code = [], None
    try:
        for block in client.blocks():
            texts += [text.decode() for text in block]
    except lean.chatsocket.Closed as closed:
        code = closed.code
    expected, pongs, closed_with = by_wsproto(stream, ConnectionType.CLIENT)
    assert code == (closed_with if end else lean.chatsocket.ABNORMAL)
    assert texts == expected
    answered = Peer(ConnectionType.SERVER)
    answered.receive_data(wire.told)
    assert [bytes(event.payload) for event in answered.events()] == pongs


TEXTS = st.lists(st.one_of(st.text(max_size=300), st.sampled_from(["x" * 126, "x" * 65_536])), max_size=4)


@given(texts=TEXTS, code=st.integers(3000, 4999))
def test_what_is_sent_is_what_wsproto_takes(lean, texts, code):
    wire = Wire([])
    client = object.__new__(lean.chatsocket.ChatSocket)
    client._socket = wire
    for text in texts:
        client.send(text)
    client.say_goodbye(code)
    assert by_wsproto(wire.told, ConnectionType.SERVER) == (texts, [], code)
