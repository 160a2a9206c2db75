"""Which consumer answers which WebSocket path."""

from typing import Any

from django.urls import path, re_path

from chat.consumers import ChatConsumer


async def no_such_socket(scope: dict, receive: Any, send: Any) -> None:
    """Refuse the handshake of any other path."""
    await send({"type": "websocket.close"})


websocket_urlpatterns = [
    # `path` and not `str`: a name with a slash in it belongs to the consumer, which says what is wrong with it
    path("ws/chat/<path:room>/", ChatConsumer.as_asgi()),
    re_path(r"", no_such_socket),
]
