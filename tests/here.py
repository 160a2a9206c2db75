"""What a test takes for itself of this computer."""

import socket

_taken: dict[str, socket.socket] = {}


def take(name: str) -> bool:
    """Take `name` for this process until it ends; False if another has it.

    To look for what is free and to take it later is a race. An abstract socket is looked for and taken in one, leaves
    nothing on the disk, and is, like a network or a port, one of this network namespace.
    """
    if name not in _taken:
        sign = socket.socket(socket.AF_UNIX)
        try:
            sign.bind(f"\0stacklab-test {name}")
        except OSError:
            sign.close()
            return False
        _taken[name] = sign
    return True
