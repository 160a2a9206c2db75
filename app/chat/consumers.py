"""The chat itself: one consumer for each open socket."""

import json
import secrets
import time
from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings

from chat import frames
from chat.presence import presence
from chat.rooms import group_name, room_problem

# What a client may say: so many frames at once, and so many a second in the long run.
FRAMES_AT_ONCE, FRAMES_PER_S = 40, 20


class ChatConsumer(AsyncJsonWebsocketConsumer):
    """Joins the room, passes on what its client says, and hands its client what the room says."""

    group = ""
    closing = False

    async def connect(self) -> None:
        """A client opened a socket: join its room, and say so."""
        self.room = self.scope["url_route"]["kwargs"]["room"]
        await self.accept()
        if room_problem(self.room):
            await self.close(frames.BAD_ROOM)
            return
        self.client, self.sent = secrets.token_hex(8), 0
        self.allowance, self.allowance_s = float(FRAMES_AT_ONCE), time.monotonic()
        self.group = group_name(self.room)
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.send_json({
            "type": "welcome", "instance": settings.CHAT_INSTANCE, "room": self.room, "client": self.client,
            "present": presence.count(self.group) + 1, "last_id": None,
        })  # fmt: skip
        presence.join(self)

    async def disconnect(self, code: int) -> None:
        """The socket is closed, by whichever side."""
        if self.group:
            presence.leave(self)
            await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """The client sent a frame; one that is not what it should be closes the socket."""
        if self.closing:
            return
        try:
            if text_data is None:
                raise frames.FrameError("the chat takes text", frames.BINARY)
            self.spend_allowance()
            await super().receive(text_data=text_data, **kwargs)
        except frames.FrameError as error:
            await self.close(error.code)

    def spend_allowance(self) -> None:
        """One more frame; FrameError if that is too many. No timer: the allowance grows when it is asked for."""
        now_s = time.monotonic()
        grown = self.allowance + (now_s - self.allowance_s) * FRAMES_PER_S
        self.allowance, self.allowance_s = min(FRAMES_AT_ONCE, grown) - 1, now_s
        if self.allowance < 0:
            raise frames.FrameError("too many frames", frames.TOO_MANY)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """The client says something to its room."""
        said = frames.checked(content)
        self.sent += 1
        await self.pass_on({"id": f"{self.client}-{self.sent}", "client": self.client, "via": settings.CHAT_INSTANCE, **said})

    async def pass_on(self, message: dict[str, Any]) -> None:
        """Send the client's message to everybody in the room, itself included."""
        await self.channel_layer.group_send(self.group, {"type": "chat.message", **message})

    async def chat_message(self, event: dict[str, Any]) -> None:
        """Somebody in the room said something."""
        await self.send_json({**event, "type": "message", "instance": settings.CHAT_INSTANCE})

    async def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Close the socket; frames that still arrive are passed over."""
        self.closing = True
        await super().close(code, reason)

    @classmethod
    async def decode_json(cls, text_data: str) -> Any:
        """JSON as the standard has it: Python would read NaN and Infinity too, which no browser reads back."""
        try:
            return json.loads(text_data, parse_constant=frames.no_constant)
        except (ValueError, RecursionError) as error:
            raise frames.FrameError(f"not JSON: {error}") from error

    @classmethod
    async def encode_json(cls, content: Any) -> str:
        """Compact JSON, in the scripts that people wrote rather than in \\u escapes."""
        return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
