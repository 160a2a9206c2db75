"""The lab's chat as the load speaks it: how to join a room, how to send a message, how to recognise one.

All that the load knows of a chat's frames stands here. Another chat (sitechat) has its own `join`, `enter`, `send` and
`recognise`; one without a welcome counts as joined once its handshake is done, one without a history never says `last_id`.
"""

from __future__ import annotations

import json
from typing import NamedTuple
from urllib.parse import quote


class Welcome(NamedTuple):
    """The socket is in its room."""

    name: str  # what the server calls this socket: its messages carry it as `sender`
    instance: str | None
    last_id: str | None = None  # the newest message of the room's history, where one is kept


class Resumed(NamedTuple):
    """A page of the history has arrived, up to the message `last_id`; `more` is to be asked for from there."""

    last_id: str
    more: bool


class Message(NamedTuple):
    """Somebody's message, as it arrives."""

    sender: str
    n: int
    id: str
    instance: str | None
    sent_s: float | None = None  # by its sender's clock, where the chat passes that on


def join(room: str) -> str:
    """The path of the room's WebSocket."""
    return f"/ws/chat/{quote(room)}/"


def enter(room: str, name: str) -> tuple[Welcome | None, str | None]:
    """Who is in the room once connected, and what it must say first: nobody yet and nothing, as a welcome comes."""
    return None, None


def send(sender: str, n: int, sent_s: float, text: str) -> str:
    """The frame that says `text`. (`sender` is for a chat whose messages do not tell whose they are.)"""
    return f'{{"type":"message","text":"{text}","n":{n},"sent_s":{sent_s!r}}}'


def resume(last_id: str) -> str:
    """The frame that asks for what came after the message `last_id`."""
    return json.dumps({"type": "resume", "last_id": last_id})


def recognise(frame: bytes) -> Welcome | Message | Resumed | None:
    """What has arrived; None for what the load does not look at."""
    said = json.loads(frame)
    if said["type"] == "message":
        return Message(said["client"], said["n"], said["id"], said["instance"], said.get("sent_s"))
    if said["type"] == "welcome":
        return Welcome(said["client"], said["instance"], said["last_id"])
    if said["type"] == "resumed":
        return Resumed(said["last_id"], said["more"])
    return None
