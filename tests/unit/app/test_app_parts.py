"""The parts of the chat that need no socket: names of rooms, frames, the allowance, the log filter."""

import asyncio
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st


def parsed(text: str):
    """What the consumer makes of a frame of this text."""
    from chat.consumers import ChatConsumer
    from chat.frames import checked

    return checked(asyncio.run(ChatConsumer.decode_json(text)))


def read(**frame):
    return parsed(json.dumps(frame))


def refusal(text: str) -> int:
    """The close code for this frame."""
    with pytest.raises((ValueError, RecursionError)) as refused:
        parsed(text)
    return getattr(refused.value, "code", 4400)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=4096), st.none() | st.integers(-(2**53), 2**53))
def test_any_text_comes_out_as_it_went_in(text, n):
    from chat.consumers import ChatConsumer

    said = read(type="message", text=text, n=n, sent_s=1.5)
    assert said == {"text": text, "n": n, "sent_s": 1.5}
    assert json.loads(asyncio.run(ChatConsumer.encode_json(said))) == said


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "7", '"text"', "{}", '{"type":"nonsense"}', '{"type":["message"]}', "[" * 50_000,
        '{"type":"message"}', '{"type":"message","text":7}', '{"type":"message","text":"\\ud800"}',
        '{"type":"message","text":"x","n":"1"}', '{"type":"message","text":"x","n":true}',
        '{"type":"message","text":"x","n":1e400}', '{"type":"message","text":"x","n":99999999999999999999}',
        '{"type":"message","text":"x","sent_s":NaN}', '{"type":"message","text":"x","sent_s":Infinity}',
        '{"type":"message","text":"x","sent_s":1e999}', '{"type":"message","text":"x","n":' + "9" * 5000 + "}",
        '{"type":"resume","last_id":"0-0"}',
    ],
)  # fmt: skip
def test_malformed_frames_are_refused_with_4400(text):
    assert refusal(text) == 4400


def test_the_limit_of_a_message_counts_characters():
    assert read(type="message", text="🎈" * 4096)["text"] == "🎈" * 4096
    assert refusal(json.dumps({"type": "message", "text": "🎈" * 4097})) == 4413


def test_the_longest_message_fits_into_a_frame_however_it_is_written():
    from improvements.bounded_sockets import FRAME_LIMIT_BYTES

    for character in ("🎈", "\u0000", '"', "한"):
        assert len(json.dumps({"type": "message", "text": character * 4096, "n": -(2**53)})) < FRAME_LIMIT_BYTES


@given(st.text(min_size=1, max_size=64))
def test_a_group_name_is_one_that_channels_takes(room):
    from channels.layers import BaseChannelLayer
    from chat.rooms import group_name, room_problem

    if room_problem(room) is None:
        assert BaseChannelLayer().require_valid_group_name(group_name(room))


@pytest.mark.parametrize("room", ["a", "수업", "👩‍👩‍👧‍👦", "a b", "..." , "x" * 64, "\u202bשלום", "\u1112\u1161\u11ab" * 64])
def test_these_names_are_allowed(room):
    from chat.rooms import room_problem

    assert room_problem(room) is None


@pytest.mark.parametrize("room", [
    "", " ", ".", "..", "a/b", "x" * 65, "a\nb", "\x00", "\ud800", "\ufffd", "\u2028",
    "\u200b", "\u200d\u2060 \ufeff", "\u3164", "\ufe0f", "\u00ad\u2800", "\U000e0041\U000e0100",
])  # fmt: skip
def test_these_names_are_not(room):
    from chat.rooms import room_problem

    assert room_problem(room)


def test_an_allowance_is_spent_and_fills_again(monkeypatch):
    from chat import consumers
    from chat.frames import TOO_MANY, FrameError

    now_s = 100.0
    monkeypatch.setattr(consumers.time, "monotonic", lambda: now_s)
    mine = consumers.ChatConsumer()
    mine.allowance, mine.allowance_s = 40.0, now_s

    def spent() -> int:
        """How many frames fit into what is left."""
        for number in range(100):
            try:
                mine.spend_allowance()
            except FrameError as error:
                assert error.code == TOO_MANY
                mine.allowance = 0.0  # a socket is closed after one too many; here it goes on
                return number
        return 100

    assert spent() == 40
    now_s += 0.5
    assert spent() == 10
    now_s += 3600
    assert spent() == 40


def complaint(message: str, error: Exception | None = None, level: int = logging.ERROR, line: int = 0) -> logging.LogRecord:
    return logging.LogRecord("x", level, "", line, message, ("a",), (type(error), error, None) if error else None)


def test_the_same_complaint_is_written_once_a_minute(monkeypatch):
    from config import log

    now_s = 1000.0
    monkeypatch.setattr(log.time, "monotonic", lambda: now_s)
    calm = log.Calm()
    assert [calm.filter(complaint("%s failed")) for _ in range(3)] == [True, False, False]
    assert calm.filter(complaint("another %s", line=7)) and calm.filter(complaint("%s failed", ValueError()))
    assert calm.filter(complaint("%s failed", level=logging.INFO))
    now_s += 61
    record = complaint("%s failed")
    assert calm.filter(record) and record.getMessage() == "a failed (2 more like this since the last)"


def test_what_a_client_wrote_makes_no_complaint_another_one():
    """Django's, of a Host that it does not allow, has the Host in the message itself."""
    from config.log import KINDS, Calm

    calm = Calm()
    assert sum(calm.filter(complaint(f"Invalid HTTP_HOST header: {number}")) for number in range(3000)) == 1
    assert sum(calm.filter(complaint("a fault of its own", line=line)) for line in range(10 * KINDS)) == KINDS
    assert len(calm._next_s) <= KINDS + 1 and len(calm._held_back) <= KINDS + 1


def test_a_service_that_is_away_gets_one_line_and_no_stack_trace():
    from config.log import Calm

    record = complaint("%s failed", ConnectionRefusedError("nobody there"))
    assert Calm().filter(record)
    assert record.getMessage() == "a failed: nobody there" and record.exc_info is None


def test_a_fault_of_the_sites_own_is_not_the_clients():
    """A ValueError behind the parsing ends the consumer, and is seen; it is no 4400."""
    from chat.consumers import ChatConsumer

    class Faulty(ChatConsumer):
        allowance, allowance_s, client, sent = 40.0, 0.0, "x", 0

        async def pass_on(self, message):
            raise ValueError("a fault of the site's own")

    with pytest.raises(ValueError, match="of the site's own"):
        asyncio.run(Faulty().receive(text_data='{"type":"message","text":"x"}'))


class Reader:
    """What Resuming stands before: keeps what it is given."""

    def __init__(self) -> None:
        self.given = []

    async def chat_message(self, event: dict) -> None:
        self.given.append(event)

    async def pass_on(self, message: dict) -> None:
        raise self.fault

    async def close(self, code: int) -> None:
        self.given.append(code)


class Kept:
    """What stands for the history: `messages`, or the fault that asking for them ends in."""

    def __init__(self, *messages: dict, fault: Exception | None = None) -> None:
        self.messages, self.fault = list(messages), fault

    async def append(self, group: str, message: dict) -> tuple[str, str]:
        if self.fault:
            raise self.fault
        self.messages.append(message)
        return f"{len(self.messages)}-0", f"{len(self.messages) - 1}-0"

    async def between(self, group: str, after: str, last: str) -> list[dict]:
        return self.messages


@pytest.fixture
def reader(monkeypatch):
    """`reader(*kept)`: a Resuming reader of a room whose history is that."""
    from improvements import chat_resume

    def make(*messages: dict, **options) -> Reader:
        kept = Kept(*messages, **options)
        monkeypatch.setattr(chat_resume, "history", lambda: kept)
        made = type("Both", (chat_resume.Resuming, Reader), {"group": "g"})()
        made.kept = kept
        return made

    return make


def test_what_is_written_down_is_said_though_the_layer_fails(reader):
    """Its sender must not be told to say it again: the next message brings it along, and then all would have it twice."""
    from redis.exceptions import ConnectionError, ResponseError

    speaker = reader()
    speaker.fault = ConnectionError("away")
    asyncio.run(speaker.pass_on({"id": "x-1", "n": 1}))
    assert len(speaker.kept.messages) == 1
    speaker.fault = ResponseError("OOM command not allowed")
    with pytest.raises(ResponseError):  # Redis is there, and refuses: not for a client to wait out
        asyncio.run(speaker.pass_on({"id": "x-2", "n": 2}))
    with pytest.raises(ConnectionError):
        asyncio.run(reader(fault=ConnectionError("away")).pass_on({"id": "x-3", "n": 3}))


def message(number: int, **more) -> dict:
    return {"id": f"{number}-0", "text": f"{number}", **more}


def test_who_missed_a_page_or_more_is_sent_to_come_back_and_ask_for_it(reader):
    from improvements.chat_resume import PAGE

    few = reader(*map(message, range(1, PAGE)))
    asyncio.run(few.chat_message(message(900, before="899-0")))
    assert [event["text"] for event in few.given] == [*map(str, range(1, PAGE)), "900"] and few.last_id == "900-0"
    many = reader(*map(message, range(1, PAGE + 1)))
    asyncio.run(many.chat_message(message(900, before="899-0")))
    assert many.given == [4503] and many.last_id == "0-0"


def test_a_history_that_redis_has_forgotten_keeps_no_message_back(reader):
    one = reader()
    asyncio.run(one.chat_message(message(7, before="6-0")))
    assert [event["text"] for event in one.given] == ["7"]



def test_what_an_instance_without_history_says_is_passed_on():
    """While the setting changes, some instances have it and some have not."""
    from improvements.chat_resume import Resuming

    reader = type("Both", (Resuming, Reader), {})()
    asyncio.run(reader.chat_message({"type": "chat.message", "id": "abc-1", "text": "x"}))
    assert [event["text"] for event in reader.given] == ["x"] and reader.last_id == "0-0"


def test_every_id_that_resume_takes_is_one_that_redis_takes():
    from improvements.chat_resume import STREAM_ID, order

    for text in ("1770000000000-12", "0-0", "9" * 18 + "-" + "9" * 18):
        assert STREAM_ID.fullmatch(text) and max(order(text)) < 2**63
    for text in ("9" * 19 + "-0", "0-" + "9" * 20, f"{2**64}-0", "1", "-1-0", "١-٠"):
        assert not STREAM_ID.fullmatch(text)


class Transport:
    """Whether it reads."""

    reads = True

    def pauseProducing(self) -> None:
        self.reads = False

    def resumeProducing(self) -> None:
        self.reads = True


def test_a_socket_closed_for_a_flood_is_not_read_again_when_its_buffer_is_empty():
    from improvements.bounded_sockets import BoundedSocket

    class Stock:
        STATE_OPEN, state = 3, 3

        def onFrameBegin(self) -> None:
            pass

        def sendCloseFrame(self, code: int) -> None:
            self.state, self.closed_with = 2, code

    def socket():
        made = type("Both", (BoundedSocket, Stock), {})()
        made.transport, made.allowance_s = Transport(), 0.0
        return made

    slow, flooding = socket(), socket()
    for each in (slow, flooding):
        each.pauseProducing()
    while flooding.state == flooding.STATE_OPEN:
        flooding.onFrameBegin()
    for each in (slow, flooding):
        each.resumeProducing()
    assert slow.transport.reads and not flooding.transport.reads
    assert flooding.closed_with == 4429


def test_the_queue_of_a_newcomer_who_has_not_said_hello_is_no_leftover():
    from improvements.tidy_channels import LEFTOVERS, TidyChannels, forget

    class Layer:
        receive_buffer = dict.fromkeys(map(str, range(LEFTOVERS + 2)))

    class Stock:
        group, channel_layer = "", Layer()

        async def __call__(self, scope, receive, send):
            self.channel_name = "newcomer"
            kept = self.channel_layer.receive_buffer
            kept["newcomer"] = "a queue that it waits on"
            await forget(self.channel_layer, "somebody else")
            assert set(kept) == {"newcomer"}

    newcomer = type("Newcomer", (TidyChannels, Stock), {})()
    asyncio.run(newcomer(None, None, None))
    assert not newcomer.channel_layer.receive_buffer
