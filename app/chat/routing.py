"""Which consumer answers which WebSocket path."""

from channels.security.websocket import WebsocketDenier
from django.urls import path, re_path

from chat.consumers import ChatConsumer

websocket_urlpatterns = [
    # `path` and not `str`: a name with a slash in it belongs to the consumer, which says what is wrong with it
    path("ws/chat/<path:room>/", ChatConsumer.as_asgi()),
    # URLRouter raises where nothing matches; this refuses
    re_path(r"", WebsocketDenier.as_asgi()),
]
