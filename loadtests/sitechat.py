"""Somebody's own chat as the load speaks it: by what [chat] in the project's stacklab.toml says. (The lab's is labchat.)

A message carries its sender and its number in its text, and whatever comes back with that mark in it is that message,
however the site wraps it. Where nothing is known of how to talk, sockets stay open, and say nothing.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from labchat import Message, Welcome

MARK = re.compile(rb"load\.([0-9.]+)\.([0-9]+)\.")


class SiteChat:
    """`site`: what the web host says of it (`stacklab.site.Site`)."""

    def __init__(self, site: dict):
        self._chat = site["chat"] or {"path": site["websocket"], "join": None, "send": "{text}"}

    def join(self, room: str) -> str:
        """The path of the room's WebSocket. Rooms are called by letters, digits and _, which any site takes."""
        return self._chat["path"].replace("{room}", quote(_called(room)))

    def enter(self, room: str, name: str) -> tuple[Welcome | None, str | None]:
        """Who has just connected is in the room at once; what it must say there first, if anything."""
        join = self._chat["join"]
        return Welcome(name, None), join.replace("{room}", _called(room)) if join else None

    def send(self, sender: str, n: int, sent_s: float, text: str) -> str:
        """The frame that says `text`, which begins with the mark."""
        mark = f"load.{sender}.{n}."
        return self._chat["send"].replace("{text}", mark + text[len(mark) :])

    def recognise(self, frame: bytes) -> Message | None:
        """A message of ours; None for everything else."""
        found = MARK.search(frame)
        return Message(found[1].decode(), int(found[2]), found[0].decode(), None) if found else None


def _called(room: str) -> str:
    return room.replace("-", "_")
