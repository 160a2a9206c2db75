"""The server: what Daphne's own command does, and what a drain and bounds make of it."""

import os
import socket
import time
from contextlib import suppress

import psutil
import pytest
from certificates import make_ca
from here import wait_until
from site_under_test import Daphne, free_base_port
from websocket import ABNF

MEGABYTE = 1024 * 1024


LONG_S = 60  # a drain that no test waits out


def wait_for_drain(instance: Daphne) -> None:
    """Until the signal has arrived: the port no longer listens."""

    def refused() -> bool:
        with socket.socket() as trying:
            return trying.connect_ex(("127.0.0.1", instance.port)) != 0

    wait_until(refused, "the port no longer listens")


def test_a_drain_refuses_new_sockets_and_lets_the_open_ones_talk_on(daphne):
    instance = daphne(1, daphne_drain_s=LONG_S)
    ann, bob = instance.client(), instance.client()
    ann.welcome(), bob.welcome()
    instance.signal()
    wait_for_drain(instance)
    ann.say("still talking")
    assert bob.next("message")["text"] == "still talking"


def test_a_drain_closes_what_is_open_when_its_time_is_up(daphne):
    instance = daphne(1, daphne_drain_s=2)
    client = instance.client()
    client.welcome()
    started_s = time.monotonic()
    instance.signal()
    assert client.close_code() == 1012
    assert time.monotonic() - started_s >= 2
    assert instance.wait() == 0


def test_what_a_client_said_before_it_heard_of_the_restart_is_delivered(daphne):
    leaving, staying = daphne(1, daphne_drain_s=1), daphne(2)
    ann, bob = leaving.client(), staying.client()
    ann.welcome(), bob.welcome()
    leaving.signal()
    while ann.socket.recv_frame().opcode != ABNF.OPCODE_CLOSE:  # which, read like this, is not answered yet
        pass
    ann.say("crossing")
    assert bob.next("message")["text"] == "crossing"
    ann.close()
    assert leaving.wait() == 0


def test_a_drain_ends_as_soon_as_the_last_socket_has_gone(daphne):
    instance = daphne(1, daphne_drain_s=LONG_S)
    client = instance.client()
    client.welcome()
    instance.signal()
    client.close()
    assert instance.wait() == 0


def test_a_second_signal_ends_the_waiting(daphne):
    instance = daphne(1, daphne_drain_s=LONG_S)
    client = instance.client()
    client.welcome()
    instance.signal()
    wait_for_drain(instance)
    instance.signal()
    assert client.close_code() == 1012
    assert instance.wait() == 0


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_with_bounded_sockets_a_client_that_never_reads_is_cut_off_and_the_others_are_not_held_up(daphne, tmp_path, tls):
    instance = daphne(1, bounded_sockets=True, tls=make_ca(tmp_path) if tls else ())
    small_buffer = ((socket.SOL_SOCKET, socket.SO_RCVBUF, 4096),)
    sleeper = instance.client(sockopt=small_buffer)
    sleeper.welcome()
    talkers = [instance.client() for _ in range(8)]
    process = psutil.Process(instance.process.pid)
    before_bytes = process.memory_info().rss
    text = "한" * 4096  # 12 KB
    said_bytes = 0
    while "does not read" not in instance.errors.read_text():
        assert said_bytes < 20 * MEGABYTE, "that is more than the kernels hold for it"  # each of two up to six
        for talker in talkers:
            talker.say(text)
        for talker in talkers:
            assert all(talker.next("message")["text"] == text for _ in talkers)
        said_bytes += len(text.encode()) * len(talkers)
    assert process.memory_info().rss - before_bytes < 12 * MEGABYTE
    assert sleeper.close_code() in (4408, 1006)
    assert instance.client("another room").welcome()["present"] == 1


PING = b"\x89\xfd\0\0\0\0" + b"p" * 125  # masked with zeros
EMPTY_PIECE = b"\x00\x80\0\0\0\0"  # of a message that never ends
FLOODS = {"pings": (b"", PING), "empty pieces": (b"\x01\x80\0\0\0\0", EMPTY_PIECE)}


def grown_by_flood(instance: Daphne, flood: str, megabytes: int = 24) -> float:
    """By how many MB a Daphne grows while somebody sends so much of FLOODS and reads nothing."""
    client = instance.client("flood", sockopt=((socket.SOL_SOCKET, socket.SO_RCVBUF, 4096),))
    client.welcome()
    process = psutil.Process(instance.process.pid)
    before_bytes = process.memory_info().rss
    begin, piece = FLOODS[flood]
    client.socket.sock.settimeout(20)
    block = piece * (64 * 1024 // len(piece))
    try:
        client.socket.sock.sendall(begin)
        for _ in range(megabytes * 16):
            client.socket.sock.sendall(block)
    except OSError:
        pass  # it is not heard any more, or was cut off
    instance.client("witness").welcome()
    return (process.memory_info().rss - before_bytes) / MEGABYTE


@pytest.mark.parametrize("flood", FLOODS)
def test_with_bounded_sockets_a_flood_of_frames_without_content_costs_no_memory(daphne, flood):
    instance = daphne(1, bounded_sockets=True)
    assert grown_by_flood(instance, flood) < 6
    client = instance.client()
    client.welcome()
    client.say("still here")
    assert client.next("message")["text"] == "still here"


def test_with_bounded_sockets_a_client_that_reads_may_ping_now_and_then_and_not_without_end(daphne):
    client = daphne(1, bounded_sockets=True).client()
    client.welcome()
    for _ in range(300):
        client.socket.ping()
    client.say("heard")
    assert client.next("message")["text"] == "heard"
    with suppress(OSError):
        client.socket.sock.sendall(PING * 5_000)  # at most what is read at once: the code is lost where more comes
    assert client.close_code() == 4429


@pytest.mark.parametrize("flood", FLOODS)
def test_stock_daphne_keeps_all_of_such_a_flood(daphne, flood):
    """Visible: pongs wait without bound for who reads none, and pieces of a message are not counted."""
    assert grown_by_flood(daphne(1), flood) > 12


def test_the_access_log_has_daphnes_format_and_goes_on_when_it_was_emptied(daphne):
    instance = daphne(1)
    client = instance.client("수업", header={"X-Forwarded-For": "10.1.2.3"})
    client.welcome()
    wait_until(lambda: "WSCONNECT " in instance.access_log.read_text(), "the line is written")
    first = instance.access_log.read_text().splitlines()[0]
    assert first.startswith("10.1.2.3:0 - - [") and '"WSCONNECTING /ws/chat/%EC%88%98%EC%97%85/" - -' in first
    os.truncate(instance.access_log, 0)  # as logrotate does with copytruncate
    client.close()
    wait_until(lambda: "WSDISCONNECT" in instance.access_log.read_text(), "it goes on")
    assert instance.access_log.read_bytes()[:1] != b"\0"


def test_a_port_that_is_taken_gives_one_line_and_an_exit_code(tmp_path, redis):
    base_port = free_base_port()
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", base_port + 1))
        squatter.listen()
        instance = Daphne(tmp_path, base_port, 1)
        with pytest.raises(AssertionError, match="Address already in use"):
            instance.start()
    assert "Traceback" not in instance.errors.read_text()


def test_two_instances_with_tls_hear_each_other(daphne, tmp_path):
    tls = make_ca(tmp_path)
    instances = [daphne(number, tls=tls) for number in (1, 2)]
    ann, bob = (instance.client() for instance in instances)
    ann.welcome(), bob.welcome()
    ann.say("over TLS")
    assert bob.next("message")["text"] == "over TLS"
