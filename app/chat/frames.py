"""The JSON text frames of the chat: what a client may send, and what it is sent.

client → server  {"type": "message", "text": …, "n"?: whole number, "sent_s"?: number}
                 {"type": "resume", "last_id": …}            only where history is kept
server → client  welcome, message, presence, undelivered
"""

import json
import re
from dataclasses import dataclass
from typing import Any

TEXT_LIMIT = 4096
# What JavaScript can count to, and msgpack can carry.
LARGEST_NUMBER = 2**53
STREAM_ID = re.compile(r"\d{1,20}-\d{1,20}", re.ASCII)

MALFORMED = 4400
BAD_ROOM = 4409
TOO_LONG = 4413
BINARY = 4415
TOO_MANY = 4429
TRY_AGAIN_LATER = 1013


class FrameError(ValueError):
    """A frame that closes the socket. `code` is the close code."""

    def __init__(self, reason: str, code: int = MALFORMED) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class Message:
    """What a client says to its room. `n` and `sent_s` are its own, passed on untouched."""

    text: str
    n: int | None
    sent_s: float | None


@dataclass(frozen=True, slots=True)
class Resume:
    """A client that was away and asks for what came after `last_id`."""

    last_id: str


def read_frame(text: str) -> Message | Resume:
    """The client's frame; FrameError if it is malformed or too long."""
    try:
        frame = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise FrameError("the frame is not JSON") from None
    kind = frame.get("type") if isinstance(frame, dict) else None
    if kind == "message":
        return _message(frame)
    if kind == "resume":
        return _resume(frame)
    raise FrameError("the frame is of no known type")


def _no_constant(name: str) -> None:
    """Python reads NaN and Infinity, which are not JSON and which no browser would read back."""
    raise ValueError(name)


def _message(frame: dict[str, Any]) -> Message:
    text, n, sent_s = frame.get("text"), frame.get("n"), frame.get("sent_s")
    if not isinstance(text, str):
        raise FrameError("a message has a text")
    if len(text) > TEXT_LIMIT:
        raise FrameError(f"a message has at most {TEXT_LIMIT} characters; this one has {len(text)}", TOO_LONG)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise FrameError("the text holds half of a surrogate pair") from None
    if n is not None and not (type(n) is int and abs(n) <= LARGEST_NUMBER):
        raise FrameError("n is a whole number")
    if sent_s is not None and not (type(sent_s) in (int, float) and abs(sent_s) <= LARGEST_NUMBER):
        raise FrameError("sent_s is a number of seconds")
    return Message(text, n, sent_s)


def _resume(frame: dict[str, Any]) -> Resume:
    last_id = frame.get("last_id")
    if not (isinstance(last_id, str) and STREAM_ID.fullmatch(last_id)):
        raise FrameError("last_id is the id of a message")
    return Resume(last_id)


def to_json(frame: dict[str, Any]) -> str:
    """Compact JSON, in the scripts that people wrote rather than in \\u escapes."""
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":"))


def message_body(message: Message, client: str, via: str) -> str:
    """What every receiver of `message` gets alike, as JSON, written once by the sender's instance."""
    return to_json(
        {"client": client, "text": message.text, "n": message.n, "sent_s": message.sent_s, "via": via}
    )


def message_frame(body: str, message_id: str, instance: str) -> str:
    """The frame for one receiver: `body` plus the id and the receiver's own instance.

    Joined as text: with ten receivers a message, parsing and writing JSON again would be most of the work.
    """
    return f'{{"type":"message","id":"{message_id}","instance":"{instance}",{body[1:]}'
