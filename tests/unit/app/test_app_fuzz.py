"""Frames and rooms by lot over real sockets: each is answered or closes its own socket with a code that says why."""

import json
import random
from collections import Counter

import pytest
import websocket
from matrix import by_count
from websocket import ABNF

FRAMES_A_SOCKET = 30  # fewer than anybody may send at once
# What the chat says of a frame or a room, and what the protocol itself says: malformed, not UTF-8, too long.
CODES = {4400, 4409, 4413, 4415, 1002, 1007, 1009}


def value(lot: random.Random, depth: int = 2):
    """Any JSON there is."""
    kind = lot.randrange(9 if depth else 7)
    if kind == 7:
        return [value(lot, depth - 1) for _ in range(lot.randrange(4))]
    if kind == 8:
        return {text(lot): value(lot, depth - 1) for _ in range(lot.randrange(4))}
    return [None, True, False, lot.randrange(-(2**60), 2**60), lot.uniform(-1e300, 1e300), text(lot), 2**53 + 1][kind]


def text(lot: random.Random, most: int = 40) -> str:
    """Of any script, and what is none; no halves of surrogate pairs."""
    ranges = [(32, 126)] * 4 + [(0, 31), (0x80, 0x7FF), (0xAC00, 0xD7A3), (0xE000, 0xFFFF), (0x1F300, 0x1FAFF), (0x202A, 0x202E)]
    return "".join(chr(lot.randint(*lot.choice(ranges))) for _ in range(lot.randrange(most)))


def said(lot: random.Random) -> tuple[dict, str, int]:
    """A frame that is right: what comes back of it, and how it is sent."""
    frame = {"type": "message", "text": text(lot, lot.choice([5, 200, 4096])), "n": lot.choice([None, lot.randrange(2**53)])}
    whole = json.dumps(frame | {text(lot): value(lot)} | frame, ensure_ascii=lot.random() < 0.5)
    return frame, whole, ABNF.OPCODE_TEXT


def broken(lot: random.Random) -> tuple[bytes, int]:
    """A frame that may have anything wrong with it, or nothing."""
    _, whole, _ = said(lot)
    cut = lot.randrange(len(whole))
    ways = [
        json.dumps(value(lot)), whole[:cut], whole[:cut] + chr(lot.randrange(128)) + whole[cut:], text(lot), "[" * 5_000,
        json.dumps({"type": lot.choice(["message", "resume", "chat.message", "", None, 5]), "text": value(lot), "n": value(lot)}),
        '{"type":"message","text":"\\ud800"}', '{"type":"message","text":"x","n":NaN}',
        json.dumps({"type": "message", "text": "x" * 5_000}),
    ]  # fmt: skip
    how = lot.random()
    if how < 0.1:
        return lot.randbytes(lot.randrange(200)), ABNF.OPCODE_TEXT
    return lot.choice(ways).encode("utf-8", "surrogatepass"), ABNF.OPCODE_BINARY if how < 0.2 else ABNF.OPCODE_TEXT


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("count", by_count(3_000, 100_000, "{:,} chat frames by lot"))
@pytest.mark.parametrize("improved", [False, True])
def test_whatever_a_client_sends_is_answered_or_closes_its_own_socket(shared, count, improved):
    improvements = ("bounded_sockets", "chat_resume", "layer_reconnects", "lean_dispatch", "tidy_channels")
    instance = shared(**dict.fromkeys(improvements, True) if improved else {})
    lot, seen, sent = random.Random(count), Counter(), 0
    honest = instance.client("honest")
    honest.welcome()
    while sent < count:
        room = text(lot) if lot.random() < 0.3 else f"fuzz {lot.randrange(5)}"
        try:
            client = instance.client(room)
        except websocket.WebSocketBadStatusException as refused:  # no room at all: an empty name, or only slashes
            assert refused.status_code in (403, 404), (refused, room)
            sent += 1
            continue
        opcode, first = client.socket.recv_data()
        if opcode == ABNF.OPCODE_CLOSE:
            seen[int.from_bytes(first[:2], "big")] += 1
            continue
        for frame, data, opcode in [said(lot) for _ in range(FRAMES_A_SOCKET)]:
            client.socket.send(data, opcode)
            back = client.next("message")
            assert (back["text"], back["n"]) == (frame["text"], frame["n"]), (room, frame)
        last, opcode = broken(lot)
        client.socket.send(last, opcode)
        sent += FRAMES_A_SOCKET + 1
        client.socket.settimeout(0.05)
        try:
            code = client.close_code()
            if code == 1006 and not improved and opcode == ABNF.OPCODE_TEXT and last.decode("utf-8", "ignore").encode() != last:
                code = 1007  # autobahn drops who sends what is no UTF-8, by default, without a word
            seen[code] += 1
        except websocket.WebSocketTimeoutException:
            seen["open"] += 1
        client.close()
        if not sum(seen.values()) % 10:
            honest.say(f"{sent}")
            assert honest.next("message")["text"] == f"{sent}"
    assert set(seen) <= CODES | {"open"}, seen
    honest.say("still here")
    assert honest.next("message")["text"] == "still here"
