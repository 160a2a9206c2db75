"""Daphne's own command, with the improvements of its server that are switched on: `python -m improvements.server …`.

The arguments are Daphne's. The environment says what is on: STACKLAB_DAPHNE_DRAIN_S, STACKLAB_BOUNDED_SOCKETS.
"""

import os

# Daphne's server comes first: importing it installs Twisted's reactor, and reads ASGI_THREADS.
from daphne.cli import CommandLineInterface  # isort: skip
from daphne.server import Server
from daphne.ws_protocol import WebSocketProtocol

from improvements.bounded_sockets import BoundedServer, BoundedSocket
from improvements.daphne_drain import DrainingServer, RestartingSocket

DRAINS = float(os.environ.get("STACKLAB_DAPHNE_DRAIN_S", "0")) > 0
BOUNDED = os.environ.get("STACKLAB_BOUNDED_SOCKETS", "0") == "1"


def parts(switched: dict[type, bool], stock: type) -> type:
    """`stock` with those parts before it that are switched on."""
    return type(stock.__name__, (*(part for part, on in switched.items() if on), stock), {})


class ImprovedServer(parts({DrainingServer: DRAINS, BoundedServer: BOUNDED}, Server)):
    """Daphne's server, whose sockets are ours."""

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        self.ready_callable = self.prepare

    def prepare(self) -> None:
        """Daphne has made its factories and opened the port; the reactor is about to run."""
        self.ws_factory.protocol = parts({BoundedSocket: BOUNDED, RestartingSocket: DRAINS}, WebSocketProtocol)
        # A socket that fails is told why before it is dropped.
        self.ws_factory.setProtocolOptions(failByDrop=False, closeHandshakeTimeout=5)
        for part in (DrainingServer, BoundedServer):
            if isinstance(self, part):
                part.set_up(self)


class Command(CommandLineInterface):
    """The same arguments, another server."""

    server_class = ImprovedServer


if __name__ == "__main__":
    Command.entrypoint()
