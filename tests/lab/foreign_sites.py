"""Four projects that nobody of the lab wrote: made as their own documentation has it, by their own commands.

The versions are fixed, so that a test that fails tomorrow fails for the lab's own sake.
"""

import os
import subprocess
import sys
from pathlib import Path

from stacklab.files import ROOT

WAGTAIL, DJANGO_FOR_WAGTAIL = "7.4.4", "5.2.19"
SECRET = "of-this-test-alone-7Zq2"


def startproject(folder: Path, name: str) -> Path:
    """What `django-admin startproject NAME` makes."""
    root = folder / name
    root.mkdir(parents=True)
    django("startproject", name, str(root), cwd=folder)
    return root


def django(*words: str, cwd: Path, **variables: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"} | variables
    subprocess.run([sys.executable, "-P", "-m", "django", *words], cwd=cwd, env=environment, check=True, capture_output=True)


def describe(root: Path, text: str) -> Path:
    """Put a stacklab.toml into a project."""
    (root / "stacklab.toml").write_text(text)
    return root


def plain(folder: Path) -> Path:
    """A new project, untouched: no Channels, no requirements, DEBUG, nobody's host name but localhost."""
    return describe(startproject(folder, "plainsite"), '[site]\nwsgi = "plainsite.wsgi"\nhealth = "/admin/login/"\n')


def echo(folder: Path) -> Path:
    """A new project with one WebSocket, which says what it hears; no requirements."""
    root = startproject(folder, "echosite")
    (root / "echosite" / "asgi.py").write_text(ECHO)
    return describe(root, ECHO_SITE)


ECHO_SITE = """
[site]
wsgi = "echosite.wsgi"
asgi = "echosite.asgi"
health = "/admin/login/"
websocket = "/ws/echo/"
[chat]
send = "{text}"
heard_by = "sender"
"""

ECHO = """
import os

from channels.generic.websocket import WebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "echosite.settings")


class Echo(WebsocketConsumer):
    def receive(self, text_data=None, bytes_data=None):
        self.send(text_data=text_data)


sockets = URLRouter([path("ws/echo/", Echo.as_asgi())])
application = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": sockets})
"""


def tutorial(folder: Path) -> Path:
    """The chat of the Channels tutorial, parts 1 and 2, in a project called mysite; with the lab's own lock, hashes and all."""
    root = startproject(folder, "mysite")
    django("startapp", "chat", cwd=root)
    settings = root / "mysite" / "settings.py"
    settings.write_text(
        settings.read_text().replace("INSTALLED_APPS = [", 'INSTALLED_APPS = [\n    "daphne",\n    "chat",')
        + '\nASGI_APPLICATION = "mysite.asgi.application"\nCHANNEL_LAYERS = {"default": {\n'
        '    "BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [("127.0.0.1", 6379)]},\n}}\n'
    )
    for path, text in TUTORIAL.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / "requirements.lock").write_bytes((ROOT / "provision" / "requirements.lock").read_bytes())
    return describe(root, TUTORIAL_SITE)


TUTORIAL_SITE = """
[site]
wsgi = "mysite.wsgi:application"
asgi = "mysite.asgi:application"
requirements = "requirements.lock"
health = "/chat/"
websocket = "/ws/chat/"
pages = ["/chat/"]
[chat]
path = "/ws/chat/{room}/"
send = '{"message": "{text}"}'
"""

TUTORIAL = {
    "mysite/urls.py": """
from django.urls import include, path

urlpatterns = [path("chat/", include("chat.urls"))]
""",
    "mysite/asgi.py": """
import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
http = get_asgi_application()

from chat.routing import websocket_urlpatterns

websocket = AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))
application = ProtocolTypeRouter({"http": http, "websocket": websocket})
""",
    "chat/urls.py": """
from django.urls import path

from chat import views

urlpatterns = [path("", views.index), path("<str:room_name>/", views.room)]
""",
    "chat/views.py": """
from django.shortcuts import render


def index(request):
    return render(request, "chat/index.html")


def room(request, room_name):
    return render(request, "chat/room.html", {"room_name": room_name})
""",
    "chat/templates/chat/index.html": "<!doctype html><title>Rooms</title><input id='room' placeholder='Which room?'>\n",
    "chat/templates/chat/room.html": "<!doctype html><title>Room</title>{{ room_name|json_script:'room' }}<textarea>\n",
    "chat/routing.py": """
from django.urls import re_path

from chat.consumers import ChatConsumer

websocket_urlpatterns = [re_path(r"ws/chat/(?P<room_name>\\w+)/$", ChatConsumer.as_asgi())]
""",
    "chat/consumers.py": """
import json

from asgiref.sync import async_to_sync
from channels.generic.websocket import WebsocketConsumer


class ChatConsumer(WebsocketConsumer):
    def connect(self):
        self.group = "chat_" + self.scope["url_route"]["kwargs"]["room_name"]
        async_to_sync(self.channel_layer.group_add)(self.group, self.channel_name)
        self.accept()

    def disconnect(self, code):
        async_to_sync(self.channel_layer.group_discard)(self.group, self.channel_name)

    def receive(self, text_data):
        said = json.loads(text_data)["message"]
        async_to_sync(self.channel_layer.group_send)(self.group, {"type": "chat.message", "message": said})

    def chat_message(self, event):
        self.send(text_data=json.dumps({"message": event["message"]}))
""",
}


def wagtail(folder: Path) -> Path:
    """What `wagtail start` makes, for production: its own settings for that, hashed static files, a secret in the environment."""
    package = folder / "wagtail-alone"
    own_pip = [sys.executable, "-I", str(ROOT / "provision" / "own_pip.py"), "install", "-q", "--no-deps"]
    subprocess.run([*own_pip, "--target", str(package), f"wagtail=={WAGTAIL}"], check=True, capture_output=True)
    root = folder / "wagtailsite"
    root.mkdir()
    start = [sys.executable, "-P", "-m", "wagtail.bin.wagtail", "start", "wagtailsite", str(root)]
    subprocess.run(start, cwd=folder, env=os.environ | {"PYTHONPATH": str(package)}, check=True, capture_output=True)
    (root / "requirements.txt").write_text(f"Django=={DJANGO_FOR_WAGTAIL}\nwagtail=={WAGTAIL}\n")
    (root / "wagtailsite" / "settings" / "local.py").write_text(
        'import os\n\nSECRET_KEY = os.environ["SECRET_KEY"]\nALLOWED_HOSTS = ["localhost"]\n'
    )
    return describe(root, WAGTAIL_SITE)


WAGTAIL_SITE = f"""
[site]
wsgi = "wagtailsite.wsgi"
requirements = "requirements.txt"
static_root = "static"
health = "/"
pages = ["/", "/search/"]
[site.environment]
DJANGO_SETTINGS_MODULE = "wagtailsite.settings.production"
SECRET_KEY = "{SECRET}"
"""
