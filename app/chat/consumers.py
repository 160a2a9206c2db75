"""The chat itself: one consumer for each open socket."""

import secrets
from typing import Any

from channels.consumer import AsyncConsumer, get_handler_name
from channels.exceptions import StopConsumer
from django.conf import settings

from chat import frames
from chat.allowance import Allowance
from chat.connections import REDIS_AWAY
from chat.history import order
from chat.origin import origin_allowed
from chat.rooms import group_name, room_problem
from chat.shared import history, presence


class ChatConsumer(AsyncConsumer):
    """Joins the room, passes on what its client says, and hands its client what the room says.

    Every method below is called by Channels: `websocket_…` for what the client does, `chat_…` for what
    arrives from the channel layer. They run one after the other, which keeps each sender's messages in order.
    """

    accepted = False
    closing = False
    group = ""
    last_id: str | None = None

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        if not origin_allowed(scope["headers"]):
            await send({"type": "websocket.close"})  # before accept: the handshake is answered with 403
            return
        self.base_send = send
        try:
            await super().__call__(scope, receive, send)
        except REDIS_AWAY:
            await self.accept()
            await self.close(frames.TRY_AGAIN_LATER)
        finally:
            await self.leave()

    async def dispatch(self, message: dict) -> None:
        """Channels would look for stale database connections at each message; this consumer uses no database."""
        await getattr(self, get_handler_name(message))(message)

    async def websocket_connect(self, event: dict) -> None:
        """A client opened a socket: join its room and say so."""
        await self.accept()
        self.room = self.scope["url_route"]["kwargs"]["room"]
        if room_problem(self.room):
            await self.close(frames.BAD_ROOM)
            return
        self.client = secrets.token_hex(8)
        self.sent = 0
        self.allowance = Allowance()
        self.group = group_name(self.room)
        await self.channel_layer.group_add(self.group, self.channel_name)
        present = await presence().join(self)
        if settings.CHAT_RESUME:
            self.last_id = self.joined_id = await history().last_id(self.group)
        await self.send_text(
            frames.to_json(
                {
                    "type": "welcome",
                    "instance": settings.CHAT_INSTANCE,
                    "room": self.room,
                    "present": present,
                    "client": self.client,
                    "last_id": self.last_id,
                }
            )
        )

    async def websocket_receive(self, event: dict) -> None:
        """The client sent a frame."""
        if self.closing:
            return
        if event.get("text") is None:
            await self.close(frames.BINARY)
        elif not self.allowance.take():
            await self.close(frames.TOO_MANY)
        else:
            try:
                frame = frames.read_frame(event["text"])
            except frames.FrameError as error:
                await self.close(error.code)
                return
            if isinstance(frame, frames.Message):
                await self.pass_on(frame)
            else:
                await self.resume(frame)

    async def pass_on(self, message: frames.Message) -> None:
        """Send the client's message to the room, or tell the client that nobody got it."""
        body = frames.message_body(message, self.client, settings.CHAT_INSTANCE)
        self.sent += 1
        event = {"type": "chat.message", "id": f"{self.client}-{self.sent}", "body": body}
        try:
            if settings.CHAT_RESUME:
                event["id"], event["before"] = await history().append(self.group, body)
            await self.channel_layer.group_send(self.group, event)
        except REDIS_AWAY:
            await self.send_text(frames.to_json({"type": "undelivered", "n": message.n}))

    async def resume(self, asked: frames.Resume) -> None:
        """Send what the client missed between the last message it saw and the moment it joined again."""
        if not settings.CHAT_RESUME:
            await self.close(frames.MALFORMED)
            return
        for entry in await history().between(self.group, asked.last_id, self.joined_id):
            await self.deliver(entry.id, entry.body)

    async def chat_message(self, event: dict) -> None:
        """Somebody in the room said something."""
        if settings.CHAT_RESUME:
            await self.deliver_in_order(event)
        else:
            await self.deliver(event["id"], event["body"])

    async def deliver_in_order(self, event: dict) -> None:
        """Deliver the message, after any that this socket missed before it, and none of them twice."""
        if event["before"] == self.last_id:
            self.last_id = event["id"]
            await self.deliver(event["id"], event["body"])
        elif order(event["id"]) > order(self.last_id):
            try:
                missed = await history().between(self.group, self.last_id, event["id"])
            except REDIS_AWAY:
                return  # the next message brings this one along
            self.last_id = event["id"]
            for entry in missed:
                await self.deliver(entry.id, entry.body)

    async def deliver(self, message_id: str, body: str) -> None:
        """One message to this client."""
        await self.send_text(frames.message_frame(body, message_id, settings.CHAT_INSTANCE))

    async def chat_presence(self, event: dict) -> None:
        """Somebody came or went."""
        await self.send_text(f'{{"type":"presence","present":{event["present"]}}}')

    async def websocket_disconnect(self, event: dict) -> None:
        """The socket is closed, by whichever side."""
        raise StopConsumer

    async def leave(self) -> None:
        """Leave the room, if the client had come as far as joining it."""
        if self.group:
            presence().leave(self)
            try:
                await self.channel_layer.group_discard(self.group, self.channel_name)
            except REDIS_AWAY:
                pass  # a Redis that comes back empty has forgotten the group; one that kept it lets it expire

    async def accept(self) -> None:
        """Open the socket, once."""
        if not self.accepted:
            self.accepted = True
            await self.send({"type": "websocket.accept"})

    async def close(self, code: int) -> None:
        """Close the socket with `code`; frames that still arrive are ignored."""
        self.closing = True
        await self.send({"type": "websocket.close", "code": code})

    async def send_text(self, text: str) -> None:
        """One text frame to the client."""
        await self.send({"type": "websocket.send", "text": text})
