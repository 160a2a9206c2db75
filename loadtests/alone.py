"""What pages.py and chat.py need, which Locust alone drives: the site and its CA, and Locust's own event of each request.

The lab's own runs (pool.py, chatters.py) keep exact rows instead and fire no events, whom nobody would hear there.
"""

from __future__ import annotations

import argparse
import logging
import ssl
from pathlib import Path
from types import SimpleNamespace

import gevent
from locust import events
from locust.env import Environment
from locust.exception import CatchResponseError
from locust.runners import WorkerRunner
from target import Target

CA_FILE = "stacklab-ca.crt"  # as 'fab ca' calls it, which says so too


@events.init_command_line_parser.add_listener
def tell(parser) -> None:
    """What can be told of the site, besides --host."""
    found = CA_FILE if Path(CA_FILE).is_file() else None
    parser.add_argument(
        "--ca", metavar="FILE", type=_file, default=found, include_in_web_ui=False,
        help=f"the CA's certificate that the site is verified with ('fab ca' writes the lab's); if not told, ./{CA_FILE} where "
        "there is one, else what this computer trusts",
    )  # fmt: skip


def _file(name: str) -> str:
    try:
        ssl.create_default_context(cafile=name)
    except OSError as error:  # ssl.SSLError is one
        why = f"{name}: no CA's certificate can be read there ({error}); 'fab ca' writes one"
        raise argparse.ArgumentTypeError(why) from error
    return name


@events.init.add_listener
def begin(environment: Environment, **_) -> None:
    """Before anything is done here."""
    gevent.get_hub().loop.update_now()  # else the run time is shorter by what it took to import all this
    environment.ca = environment.parsed_options.ca  # a master's takes the place of it, and names a file of another computer


@events.test_start.add_listener
def forget(environment: Environment, **_) -> None:
    """The next test may be told another site."""
    environment.site = None


def site(environment: Environment) -> Target:
    """The site of --host, looked at when the first user is made. Where none is told, or it shows no certificate of the CA: says
    what to do, and ends the test. One that cannot be reached is let pass: each request will say so.
    """
    if environment.site is not None:
        return environment.site
    host, ca = environment.host or "", environment.ca or environment.parsed_options.ca
    if not host.startswith("https://"):
        _stop(environment, f"host={host!r} is no site's https:// address: give --host https://WEB, as 'fab status' says it")
    target = Target(host, ca)
    try:
        target.connect(None).close()
    except ssl.SSLCertVerificationError as error:
        by = f"the CA in {ca}" if ca else "a CA that this computer trusts"
        advice = "have 'fab ca' write the lab's CA, and name its file: --ca stacklab-ca.crt"
        _stop(environment, f"{host} shows no certificate of {by} ({error.verify_message}): {advice}")
    except OSError:
        pass
    environment.site = target
    return target


def _stop(environment: Environment, why: str) -> None:
    logging.getLogger(__name__).error(why)
    environment.process_exit_code = 1
    runner = environment.runner
    if is_worker := isinstance(runner, WorkerRunner):
        runner.send_message("exception", {"msg": why, "traceback": ""})
    gevent.spawn(runner.quit if is_worker or environment.parsed_options.headless else runner.stop)
    raise gevent.GreenletExit  # of the one that makes users; Locust's StopTest prints a traceback


def tell_locust(
    environment: Environment, kind: str, name: str, start_s: float, duration_s: float, size: int, error: str | None,
    status: int = 0,
) -> None:  # fmt: skip
    """One request, or message, for Locust's table, its page, its files, and whoever else listens (rows.py)."""
    environment.events.request.fire(
        request_type=kind, name=name, start_time=start_s, response_time=duration_s * 1000, response_length=size,
        exception=CatchResponseError(error) if error else None, response=SimpleNamespace(status_code=status), context={},
    )  # fmt: skip
