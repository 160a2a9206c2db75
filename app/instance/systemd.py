"""Word to systemd (sd_notify), for units of Type=notify."""

import logging
import os
import socket

log = logging.getLogger("stacklab.instance")


def notify(state: str) -> None:
    """Tell systemd `state` ("READY=1", "STOPPING=1"). Outside a unit that asks for it, nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifying:
        try:
            notifying.sendto(state.encode(), address)
        except OSError as error:
            log.warning("systemd was not told %s: %s", state, error)  # no reason not to serve, or not to stop
