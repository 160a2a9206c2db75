"""What Daphne serves: the chat's WebSockets. (HTTP works here too, though nginx sends that to uWSGI.)"""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django_asgi_app = get_asgi_application()  # loads Django's apps, which the imports below need

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from chat.routing import websocket_urlpatterns  # noqa: E402

application = ProtocolTypeRouter({
    "http": django_asgi_app,
    # Where people log in, AuthMiddlewareStack stands around the URLRouter. Nobody logs in here: it would look for a session
    # at each handshake, in tables that this site does not have, for a user that no consumer asks for.
    "websocket": AllowedHostsOriginValidator(URLRouter(websocket_urlpatterns)),
})  # fmt: skip
