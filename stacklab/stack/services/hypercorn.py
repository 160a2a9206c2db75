"""Hypercorn: on asyncio, with the libraries h11 and wsproto."""

from stacklab.stack.services.asgi import asgi_server

HYPERCORN = asgi_server("hypercorn", "Hypercorn", "#CC79A7", packages=("hypercorn", "wsproto"))
