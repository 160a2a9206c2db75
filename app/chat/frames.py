"""The JSON text frames of the chat: what a client may send, and what it is sent.

client → server  {"type": "message", "text": …, "n"?: whole number, "sent_s"?: number}
server → client  welcome, message, presence
With improvements on also: resume from the client; resumed, undelivered to it.
"""

from typing import Any

TEXT_LIMIT = 4096
# What JavaScript can count to, and msgpack can carry.
LARGEST_NUMBER = 2**53

# Close codes.
MALFORMED = 4400
BAD_ROOM = 4409
TOO_LONG = 4413
BINARY = 4415
TOO_MANY = 4429
TRY_AGAIN_LATER = 4503


class FrameError(ValueError):
    """A frame that closes the socket, with `code`."""

    def __init__(self, reason: str, code: int = MALFORMED) -> None:
        super().__init__(reason)
        self.code = code


def checked(frame: Any) -> dict[str, Any]:
    """What a client says: `text`, and its own number `n` and time `sent_s` or None; FrameError for anything else."""
    if not isinstance(frame, dict) or frame.get("type") != "message":
        raise FrameError("the frame is of no known type")
    text, n, sent_s = frame.get("text"), frame.get("n"), frame.get("sent_s")
    if not isinstance(text, str):
        raise FrameError("a message has a text")
    if len(text) > TEXT_LIMIT:
        raise FrameError(f"a message has at most {TEXT_LIMIT} characters; this one has {len(text)}", TOO_LONG)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise FrameError("half of a surrogate pair is no character") from error
    if n is not None and not (type(n) is int and abs(n) <= LARGEST_NUMBER):
        raise FrameError("n is a whole number")
    if sent_s is not None and not (type(sent_s) in (int, float) and abs(sent_s) <= LARGEST_NUMBER):
        raise FrameError("sent_s is a number of seconds")
    return {"text": text, "n": n, "sent_s": sent_s}


def no_constant(name: str) -> None:
    """For `json.loads`: NaN and Infinity are not JSON."""
    raise FrameError(f"{name} is not JSON")
