#!/usr/bin/env python3
"""Start Daphne instance N: `daphne_instance.py N` listens on port 8442 + N of the loopback address.

The environment (app.env and daphne.env on the web host):
    STACKLAB_DAPHNE_TLS=1           speak TLS with STACKLAB_DAPHNE_CERT and STACKLAB_DAPHNE_KEY
    STACKLAB_DAPHNE_DRAIN_S=5       seconds that open sockets get when the instance is told to stop
    STACKLAB_DAPHNE_LOG=…           the access log (default /var/log/daphne/daphneN.log)
    STACKLAB_DAPHNE_BASE_PORT=8442
    ASGI_THREADS=…                  threads for synchronous code (read by Daphne)
"""

import gc
import os
import resource
import sys

MAX_INSTANCES = 16
TLS_FOLDER = "/etc/stacklab/tls"
# Twisted asks for 50, which a class that reconnects at once overflows.
BACKLOG = 1024


def main(arguments: list[str]) -> int:
    """Serve until told to stop. Returns the exit code."""
    if len(arguments) != 1 or not arguments[0].isdecimal() or not 1 <= int(arguments[0]) <= MAX_INSTANCES:
        print(f"usage: daphne_instance.py N, N from 1 to {MAX_INSTANCES}; got {arguments}", file=sys.stderr)
        return 2
    number = int(arguments[0])
    os.environ["STACKLAB_INSTANCE"] = f"daphne@{number}"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    raise_open_files()

    # While modules load nothing becomes garbage, and to look for it takes a tenth of the time.
    gc.disable()
    # These read the environment when they are imported.
    from instance.server import Instance  # isort: skip
    from chat.shared import presence
    from config.asgi import application
    from instance.access_log import AccessLog

    access_log = AccessLog(os.environ.get("STACKLAB_DAPHNE_LOG", f"/var/log/daphne/daphne{number}.log"))
    instance = Instance(
        application,
        endpoint(number),
        access_log,
        drain_s=float(os.environ.get("STACKLAB_DAPHNE_DRAIN_S", "5")),
        on_exit=lambda: presence().stop(),
    )
    # What is loaded by now stays; without it the collector looks through it again and again as sockets come.
    gc.freeze()
    gc.enable()
    instance.run()
    return instance.exit_code


def raise_open_files() -> None:
    """Each socket is an open file, and the usual soft limit of 1024 is far below the hard one."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def endpoint(number: int) -> str:
    """Where instance `number` listens, as a Twisted endpoint description."""
    port = int(os.environ.get("STACKLAB_DAPHNE_BASE_PORT", "8442")) + number
    if os.environ.get("STACKLAB_DAPHNE_TLS", "1") == "0":
        return f"tcp:{port}:interface=127.0.0.1:backlog={BACKLOG}"
    key = os.environ.get("STACKLAB_DAPHNE_KEY", f"{TLS_FOLDER}/daphne.key")
    certificate = os.environ.get("STACKLAB_DAPHNE_CERT", f"{TLS_FOLDER}/daphne.crt")
    return f"ssl:{port}:privateKey={key}:certKey={certificate}:interface=127.0.0.1:backlog={BACKLOG}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
