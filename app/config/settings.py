"""Django's settings for the site under test. What differs between machines comes from the environment.

STACKLAB_SECRET_KEY, STACKLAB_ALLOWED_HOSTS, STACKLAB_DATABASE, STACKLAB_STATIC and STACKLAB_REDIS are made
on first provisioning (app.env); the rest follows the settings of the stack (daphne.env, uwsgi.ini). The site is only
ever served through nginx over TLS, so everything below is what a production site would have.
"""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent


def comma_list(text: str) -> list[str]:
    """'a, b' → ['a', 'b']."""
    return [word.strip() for word in text.split(",") if word.strip()]


DEBUG = False
SECRET_KEY = os.environ["STACKLAB_SECRET_KEY"]
ALLOWED_HOSTS = comma_list(os.environ.get("STACKLAB_ALLOWED_HOSTS", "localhost,127.0.0.1"))

# No sessions, no users, no admin: the measured pages carry no cookie and touch no table but their own.
INSTALLED_APPS = ["django.contrib.staticfiles", "channels", "pages", "chat"]
MIDDLEWARE = [
    "config.middleware.SiteHeaders",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]

# A setting of the stack: a file, or the server, which knows this site's users by their names on the machine (peer).
DATABASES = {
    "default": {
        "sqlite": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ.get("STACKLAB_DATABASE", BASE_DIR / "site.sqlite3"),
            "CONN_MAX_AGE": None,
        },
        "postgresql": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "lab",
            "USER": "site",
            "HOST": "/run/postgresql",
            "CONN_MAX_AGE": None,
            # A connection that a restart of the server cut off is made anew, and no page fails for it.
            "CONN_HEALTH_CHECKS": True,
        },
    }[os.environ.get("STACKLAB_DATABASE_SERVER", "sqlite")]
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

STATIC_URL = "/static/"
STATIC_ROOT = os.environ.get("STACKLAB_STATIC", BASE_DIR / "static-collected")

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

SECURE_SSL_REDIRECT = True
# nginx writes it on every request, over what a client may have sent.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_HSTS_SECONDS = 24 * 3600
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
CSRF_COOKIE_SECURE = True
CSRF_FAILURE_VIEW = "pages.views.only_read"
SILENCED_SYSTEM_CHECKS = [
    "security.W021",  # HSTS preload: browsers keep that list for public names, and a lab has none
]

# How the chat is tuned; each is a setting of the stack.
REDIS_URL = os.environ.get("STACKLAB_REDIS", "unix:///run/redis/stacklab.sock")
# core keeps `capacity` messages for a channel and drops what comes on top; its connections to Redis are at most as many as
# `max_connections` says, or redis-py's own 100.
CAPACITY = int(os.environ.get("STACKLAB_CHANNEL_CAPACITY", "100"))
# None, as in redis-py before version 8, which gives up after the 5 s that core waits for a message and ends every socket
# (channels_redis #422). With any other, Python 3.11 may lose a `cancel()` in its wait, and a consumer does not end.
REDIS_HOST = {"address": REDIS_URL, "socket_timeout": None}
if "STACKLAB_REDIS_POOL" in os.environ:
    REDIS_HOST["max_connections"] = int(os.environ["STACKLAB_REDIS_POOL"])
CHANNEL_LAYER = os.environ.get("STACKLAB_CHANNEL_LAYER", "pubsub")
CHANNEL_LAYERS = {
    "default": {
        "core": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [REDIS_HOST], "capacity": CAPACITY},
        },
        "pubsub": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}},
        # Wrong on purpose with more than one instance: each process only reaches its own clients.
        "memory": {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": CAPACITY}},
    }[CHANNEL_LAYER]
}
# Where instances tell each other how many are in which room.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}
if CHANNEL_LAYER == "memory":
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
# Which instance this process is; its unit says so.
CHAT_INSTANCE = os.environ.get("STACKLAB_INSTANCE", "daphne@0")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"journal": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "filters": {"calm": {"()": "config.log.Calm"}},
    "handlers": {"journal": {"class": "logging.StreamHandler", "formatter": "journal", "filters": ["calm"]}},
    "root": {"handlers": ["journal"], "level": "WARNING"},
    "loggers": {
        "stacklab": {"level": "INFO"},
        # Django's own handlers mail the admins and print only in DEBUG; everything goes to the journal instead.
        "django": {"handlers": [], "level": "WARNING", "propagate": True},
    },
}
