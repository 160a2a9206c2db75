"""Granian: its network side is written in Rust; each instance is a supervisor and the one worker it started."""

from stacklab.stack.services.asgi import asgi_server

GRANIAN = asgi_server("granian", "Granian", "#B8A900", roles=("instance", "worker"))
