"""The chat over real sockets, to real instances, with a real Redis between them."""

import contextlib
import json
import signal
import time

import pytest
import websocket
from here import wait_until

LAYERS = ["core", "pubsub"]


@pytest.mark.parametrize("layer", LAYERS)
def test_two_instances_hear_each_other(shared, room, layer):
    ann = shared(1, channel_layer=layer).client(room)
    bob = shared(2, channel_layer=layer).client(room)
    ann_is, bob_is = ann.welcome(), bob.welcome()
    assert (ann_is["instance"], bob_is["instance"]) == ("daphne@1", "daphne@2")
    assert bob_is["last_id"] is None
    ann.wait_for_presence(2)
    ann.send(type="message", text="hello", n=7, sent_s=12.5)
    heard = bob.next("message")
    assert heard == {
        "type": "message", "id": heard["id"], "client": ann_is["client"], "text": "hello", "n": 7,
        "sent_s": 12.5, "instance": "daphne@2", "via": "daphne@1",
    }  # fmt: skip
    assert ann.next("message")["id"] == heard["id"], "the sender hears itself, under the same id"


def test_with_the_memory_layer_an_instance_is_an_island(shared, room):
    ann = shared(1, channel_layer="memory").client(room)
    near = shared(2, channel_layer="memory").client(room)
    assert ann.welcome()["present"] == 1 and near.welcome()["present"] == 1
    ann.say("is anybody there?")
    assert ann.next("message")["text"] == "is anybody there?"
    assert near.heard() == []


@pytest.mark.parametrize("layer", LAYERS)
def test_each_senders_messages_arrive_in_order(shared, room, layer):
    ann = shared(1, channel_layer=layer).client(room)
    bob = shared(2, channel_layer=layer).client(room)
    ann.welcome(), bob.welcome()
    for n in range(35):
        ann.say("x", n)
    assert [bob.next("message")["n"] for _ in range(35)] == list(range(35))


@pytest.mark.parametrize("room", ["수업", "한글 방 2", "👩‍👩‍👧‍👦", "مختبر", "a%2Fb?#&", "x" * 64])
def test_rooms_have_names_in_any_script(shared, room):
    instance = shared()
    ann, other = instance.client(room), instance.client(room + "!" if len(room) < 64 else "y")
    assert ann.welcome()["room"] == room
    other.welcome()
    ann.say("‏שלום \u0000 <b>&amp;</b> 🎈")
    assert ann.next("message")["text"] == "‏שלום \u0000 <b>&amp;</b> 🎈"
    assert other.heard(0.3) == []


def test_composed_and_decomposed_names_are_one_room(shared, room):
    instance = shared()
    composed, decomposed = instance.client("한"), instance.client("\u1112\u1161\u11ab")
    composed.welcome(), decomposed.welcome()
    composed.say("same room")
    assert decomposed.next("message")["text"] == "same room"


NOT_ALLOWED = ["x" * 65, "a/b", " ", ".", "\u0007", "\u200b\u200d", "\udcff".encode(errors="surrogateescape")]


@pytest.mark.parametrize("room", NOT_ALLOWED)
def test_a_room_name_that_is_not_allowed_closes_with_4409(shared, room):
    assert shared().client(room).close_code() == 4409


def flood(client):
    """Says too much, in one piece: what comes after the socket was closed would reset the connection, and its code be lost."""
    frame = websocket.ABNF.create_frame(json.dumps({"type": "message", "text": "x"}), websocket.ABNF.OPCODE_TEXT)
    client.socket.sock.sendall(frame.format() * 500)


def test_what_a_client_may_not_send_closes_its_own_socket_alone(shared, room):
    instance = shared()
    witness = instance.client(room)
    witness.welcome()
    for code, misbehave in {
        4400: lambda client: client.socket.send("{"),
        4413: lambda client: client.say("x" * 4097),
        4415: lambda client: client.socket.send_binary(b"{}"),
        4429: flood,
    }.items():
        client = instance.client(room + "!")
        client.welcome()
        misbehave(client)
        assert client.close_code() == code
    huge = instance.client(room + "!")
    huge.welcome()
    huge.say("x" * 300_000)
    assert huge.close_code() == 4413
    witness.say("still here")
    assert witness.next("message")["text"] == "still here"
    assert "Traceback" not in instance.errors.read_text()


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "https://localhost.evil.example"]
)
def test_a_foreign_origin_is_refused_at_the_handshake(shared, origin):
    instance = shared()
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        instance.client(origin=origin)
    assert refused.value.status_code == 403
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        instance.client(suppress_origin=True)
    assert refused.value.status_code == 403


@pytest.mark.parametrize(
    "origin", ["https://localhost:8443", "https://127.0.0.1", "https://web.example:1", "https://[::1]", "http://localhost"]
)
def test_an_allowed_host_is_welcome_on_any_port_and_by_any_scheme(shared, origin):
    """AllowedHostsOriginValidator looks at the host alone."""
    assert shared().client(origin=origin).welcome()


def test_an_unknown_path_is_refused(shared):
    with pytest.raises(websocket.WebSocketBadStatusException):
        websocket.create_connection(f"ws://localhost:{shared().port}/ws/other/", origin="https://localhost")


@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
def test_presence_counts_over_all_instances_and_forgets_a_killed_one(daphne, server):
    first, second = daphne(1, called=server), daphne(2, called=server)
    ann, bob, eve = first.client(), second.client(), second.client()
    for client in (ann, bob, eve):
        client.welcome()
    ann.wait_for_presence(3)
    eve.close()
    ann.wait_for_presence(2)
    second.kill()
    ann.wait_for_presence(1)


@pytest.mark.parametrize("layer", LAYERS)
def test_with_layer_reconnects_the_chat_goes_on_by_itself_after_redis_was_away(daphne, redis, layer):
    instances = [daphne(number, channel_layer=layer, layer_reconnects=True) for number in (1, 2)]
    ann, bob = instances[0].client(), instances[1].client()
    ann.welcome(), bob.welcome()
    redis.stop()
    ann.say("into the void", 1)
    assert ann.next("undelivered")["n"] == 1
    late = instances[1].client()
    assert late.close_code() == 4503, "who comes while Redis is away is told to try again later"
    time.sleep(2)
    redis.start()

    def heard_again() -> bool:
        ann.say("back?")
        return bool(bob.heard(0.5))

    wait_until(heard_again, "messages pass again")
    assert instances[1].client().welcome()["present"] >= 1
    ann.wait_for_presence(3)
    for instance in instances:
        assert instance.process.poll() is None
        assert instance.errors.read_text().count("Traceback") <= 3, "a fault is logged once, not for each socket"


def test_stock_core_ends_every_socket_when_redis_goes_away(daphne, redis):
    """Visible: channels_redis raises in every consumer that waits for a message. On a slow computer Daphne ends a socket
    before its 1011 has gone out."""
    clients = [daphne(number, channel_layer="core").client() for number in (1, 2)]
    for client in clients:
        client.welcome()
    redis.stop()
    assert {client.close_code() for client in clients} <= {1011, 1006}


def test_stock_pubsub_cuts_off_who_speaks_while_redis_is_away(daphne, redis):
    """Visible: and only them. The others hear again when Redis is back."""
    speaker, listener, witness = (daphne(number).client() for number in (1, 2, 3))
    for client in (speaker, listener, witness):
        client.welcome()
    redis.stop()
    speaker.say("into the void")
    assert speaker.close_code() == 1011
    redis.start()

    def heard_again() -> bool:
        witness.say("back?")
        return bool(listener.heard(0.5))

    wait_until(heard_again, "messages pass again")


def test_a_client_that_was_away_resumes_where_it_was(shared, room):
    instances = [shared(number, chat_resume=True) for number in (1, 2)]
    ann, bob = instances[0].client(room), instances[1].client(room)
    ann.welcome(), bob.welcome()
    ann.say("one")
    seen = bob.next("message")["id"]
    bob.close()
    for text in ("two", "three"):
        ann.say(text)
        ann.next("message")
    bob = instances[0].client(room)
    assert bob.welcome()["last_id"] > seen
    bob.send(type="resume", last_id=seen)
    ann.next("presence")
    ann.say("four")
    assert [bob.next("message")["text"] for _ in range(3)] == ["two", "three", "four"]
    assert bob.heard(0.3) == []


def test_who_missed_much_gets_it_page_by_page_and_is_not_cut_off_for_it(shared, room):
    """Nearly two megabytes at once would be more than a socket may have waiting (4408), however fast its client reads."""
    instance = shared(chat_resume=True, bounded_sockets=True)
    ann, bob = instance.client(room), instance.client(room)
    ann.welcome()
    seen = bob.welcome()["last_id"]
    bob.close()
    for number in range(140):
        ann.say("\u20ac" * 4096, n=number)
        assert ann.next("message")["n"] == number
        time.sleep(0.05)  # as fast as anybody may speak
    bob = instance.client(room)
    bob.welcome()
    pages = []
    while not pages or pages[-1]["more"]:
        bob.send(type="resume", last_id=seen)
        heard = [bob.next("message")["n"] for _ in range(min(40, 140 - 40 * len(pages)))]
        assert heard == list(range(40 * len(pages), 40 * len(pages) + len(heard)))
        pages.append(bob.next("resumed"))
        seen = pages[-1]["last_id"]
    assert [page["more"] for page in pages] == [True, True, True, False]
    bob.send(type="resume", last_id=seen)
    assert bob.close_code() == 4400, "a socket resumes once"


def test_with_history_a_message_that_the_layer_lost_comes_with_the_next(daphne, redis):
    """The channel layer delivers at most once; the stream tells a receiver what it missed."""
    import redis as redis_client

    ann = daphne(1, chat_resume=True).client()
    ann.welcome()
    ann.say("first")
    ann.next("message")
    stream = redis_client.Redis.from_url(redis.url)
    [key] = stream.keys("stacklab:history:*")
    stream.xadd(key, {"body": '{"client":"other","text":"lost on the way","n":null,"sent_s":null,"via":"daphne@2"}'})
    ann.say("last")
    assert [ann.next("message")["text"] for _ in range(2)] == ["lost on the way", "last"]


@pytest.mark.parametrize("frame", [{"type": "resume", "last_id": "0-0"}, {"type": "resume", "last_id": "now"}])
def test_resuming_without_history_or_without_an_id_is_malformed(shared, frame):
    client = shared(chat_resume=frame["last_id"] != "0-0").client()
    client.welcome()
    client.send(**frame)
    assert client.close_code() == 4400


def test_sigint_and_sigterm_close_every_socket_with_1012_where_instances_drain(daphne):
    for number in (signal.SIGTERM, signal.SIGINT):
        instance = daphne(1, daphne_drain_s=1)
        clients = [instance.client() for _ in range(20)]
        instance.signal(number)
        assert {client.close_code() for client in clients} == {1012}
        assert instance.wait() == 0


def test_stock_daphne_drops_every_socket_when_it_is_stopped(daphne):
    """Visible: with no word, as after a crash."""
    for number in (signal.SIGTERM, signal.SIGINT):
        instance = daphne(1)
        clients = [instance.client() for _ in range(20)]
        for client in clients:
            client.welcome()
        instance.signal(number)
        assert {client.close_code() for client in clients} == {1006}
        assert instance.wait() == 0


def come_speak_and_leave(instance, number: int) -> None:
    """So many at once, three times. Whoever is refused or cut off meanwhile is not waited for."""
    for _ in range(3):
        clients = []
        for _ in range(number):
            with contextlib.suppress(ConnectionError, websocket.WebSocketException):
                clients.append(instance.client())
        for client in clients:
            with contextlib.suppress(ConnectionError, websocket.WebSocketException):
                client.say("x")
        for client in clients:
            client.close()


def test_stock_core_with_few_connections_fails_those_who_are_too_many(daphne):
    """Visible: redis-py's pool raises, in a consumer that speaks as in one that leaves."""
    instance = daphne(1, channel_layer="core", redis_pool=2)

    def one_too_many() -> bool:
        come_speak_and_leave(instance, 30)
        return "Too many connections" in instance.errors.read_text()

    wait_until(one_too_many, "somebody was one too many")


def test_all_improvements_together_carry_a_chat(shared, room):
    from stacklab.settings import APP_IMPROVEMENTS

    on = dict.fromkeys(APP_IMPROVEMENTS, True) | {"bounded_sockets": True, "daphne_drain_s": 1}
    ann, bob = (shared(number, **on).client(room) for number in (1, 2))
    ann.welcome(), bob.welcome()
    for n in range(30):
        ann.say("x", n)
    assert [bob.next("message")["n"] for _ in range(30)] == list(range(30))
    bob.send(type="resume", last_id="0-0")
    ann.wait_for_presence(2)
