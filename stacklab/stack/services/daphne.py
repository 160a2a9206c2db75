"""Daphne: the server that Channels' documentation has, on Twisted. It alone is told to drain, and of threads for its pool."""

from stacklab.stack.services.asgi import asgi_server, flag, started_with

DAPHNE = asgi_server(
    "daphne", "Daphne", "#009E73", logs=("/var/log/daphne/*.log",),
    settings={
        "daphne_drain_s": started_with("STACKLAB_DAPHNE_DRAIN_S", int),
        "bounded_sockets": started_with("STACKLAB_BOUNDED_SOCKETS", flag),
        "asgi_threads": started_with("ASGI_THREADS", int),
    },
)  # fmt: skip
