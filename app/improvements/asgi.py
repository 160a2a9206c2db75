"""`config.asgi` with the improvements that are switched on: the same routes, to a consumer with more to it."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "improvements.settings")

from config.asgi import django_asgi_app  # noqa: E402, isort: skip  (it loads Django's apps)

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from chat.consumers import ChatConsumer  # noqa: E402
from chat.routing import websocket_urlpatterns  # noqa: E402
from django.conf import settings  # noqa: E402
from django.urls import path  # noqa: E402

from improvements.chat_resume import Resuming  # noqa: E402
from improvements.layer_reconnects import Patient  # noqa: E402
from improvements.lean_dispatch import LeanDispatch  # noqa: E402
from improvements.tidy_channels import TidyChannels, look_often  # noqa: E402

SWITCHED = {
    Patient: settings.LAYER_RECONNECTS, Resuming: settings.CHAT_RESUME, TidyChannels: settings.TIDY_CHANNELS,
    LeanDispatch: settings.LEAN_DISPATCH,
}  # fmt: skip
Improved = type("Improved", (*(part for part, on in SWITCHED.items() if on), ChatConsumer), {})

routes = [path("ws/chat/<path:room>/", Improved.as_asgi()), *websocket_urlpatterns]
application = ProtocolTypeRouter(
    {"http": django_asgi_app, "websocket": AllowedHostsOriginValidator(URLRouter(routes))}
)
if settings.TIDY_CHANNELS:
    look_often()
