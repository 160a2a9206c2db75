"""Chat load against a local server: who connects, what is sent, and that every fault of delivery is seen."""

from __future__ import annotations

import time

import pyarrow.parquet as pq
import pytest
from certificates import make_ca
from chat_site import ChatSite
from hypothesis import given
from hypothesis import strategies as st

from stacklab.bench.load import run_load
from stacklab.errors import LoadError
from stacklab.site import LAB, Chat, Site
from stacklab.workload import ChatLoad


@pytest.fixture(scope="module")
def server(certificates):
    with ChatSite(*certificates[1:]) as server:
        yield server


@pytest.fixture
def site(server):
    server.reset()
    return server


@pytest.fixture
def chat(site, certificates, tmp_path):
    """Run a ChatLoad against the site; returns (messages, connections) as DataFrames."""

    def run(client_addresses=(), cpus=None, progress=None, on=LAB, **fields):
        load = {"clients": 6, "rooms": 2, "messages_per_s": 4.0, "duration_s": 2.0, "ramp_s": 0.3, "size_bytes": 30}
        workload = ChatLoad(**{**load, **fields})
        run_load(
            workload, site.url, tmp_path, certificates[0],
            client_addresses=client_addresses, cpus=cpus, progress=progress, site=on,
        )  # fmt: skip
        return [pq.read_table(tmp_path / f"{name}.parquet").to_pandas() for name in ("messages", "connections")]

    return run


def test_every_message_reaches_everyone_in_its_room_once_and_in_order(chat, site):
    messages, connections = chat()
    assert list(messages.columns) == [
        "room", "message_id", "sender", "n", "sent_s", "receiver", "received_s", "latency_s", "copies",
        "in_order", "via", "instance", "receiver_connected", "warmup", "burst",
    ]  # fmt: skip
    counted = messages[~messages.warmup]
    assert len(counted) > 30 and messages.warmup.any()
    assert (messages.copies == 1).all() and messages.in_order.all() and messages.receiver_connected.all()
    assert (counted.groupby(["sender", "n"]).receiver.nunique() == 3).all(), "three in each room, the sender too"
    assert (messages.latency_s > 0).all()
    assert messages.sent_s[messages.warmup].max() <= counted.sent_s.min()
    assert counted.sent_s.max() - counted.sent_s.min() < 2.5
    assert {len(frame["text"]) for frame in site.heard} == {30}
    assert site.origins == {site.url}
    assert site.pongs >= 6, "pings are answered"


def test_every_connection_has_a_row_with_its_room_and_a_proper_goodbye(chat):
    _, connections = chat(messages_per_s=0.0)
    assert list(connections.columns) == [
        "client", "room", "source_address", "instance", "connect_start_s", "connect_s", "end_s", "close_code",
        "error", "attempt", "role", "left",
    ]  # fmt: skip
    assert sorted(connections.client) == [f"c{number:05d}" for number in range(6)]
    assert dict(connections.room.value_counts()) == {"load-0": 3, "load-1": 3}
    assert set(connections.close_code) == {1000} and connections.error.isna().all()
    assert (connections.connect_s > 0).all() and (connections.attempt == 1).all()
    assert (connections.end_s - connections.connect_start_s).min() > 2.0
    ramp = connections.connect_start_s.sort_values()
    assert ramp.max() - ramp.min() > 0.2


def test_who_waits_for_the_generators_own_gate_waits_to_come_in(chat, site):
    site.handshake_s = 1.0
    _, connections = chat(clients=104, rooms=2, messages_per_s=0.0, ramp_s=0.0, duration_s=1.0, cpus=[0])
    # A hundred go through at once; the others are let in when the first of these are done, and wait as long again.
    waited = connections.connect_s.sort_values()
    assert (waited.tail(4) >= 2.0).all(), waited.tail(8)
    assert connections.connect_start_s.max() - connections.connect_start_s.min() < waited.max() - 1.0


def test_where_the_chat_does_not_say_which_instance_it_is_nginx_does(chat, site):
    talk = Chat(path="/ws/chat/{room}/", send='{"type": "message", "text": "{text}", "n": 0, "sent_s": 0}')
    own = Site(name="own", code="1", wsgi="a:b", asgi="a:c", health="/", websocket="/ws/", chat=talk)
    site.told = [(b"X-StackLab-Instance", b"daphne@3")]
    messages, connections = chat(on=own)
    assert set(connections.instance) == set(messages.instance) == set(messages.via) == {"daphne@3"}


def test_idle_clients_send_nothing(chat, site):
    messages, _ = chat(messages_per_s=0.0)
    assert messages.empty and not site.heard


def test_lost_and_doubled_messages_are_counted_exactly(chat, site):
    site.lose_every, site.double_every = 7, 5
    messages, _ = chat(rooms=1, clients=4)
    made = next(site.deliveries) - 1
    lost, doubled = made // 7, made // 5 - made // 35
    assert (messages.copies == 0).sum() == lost > 3
    assert (messages.copies == 2).sum() == doubled > 3
    assert messages.receiver_connected.all()
    assert messages.received_s.isna().equals(messages.copies == 0)


def test_a_client_that_is_thrown_out_comes_back_and_what_it_missed_is_told_apart(chat, site):
    site.close_after = {2: 1012}
    messages, connections = chat(rooms=1, clients=4, messages_per_s=8.0)
    assert len(connections) == 5
    (thrown_out,) = connections[connections.close_code == 1012].client
    attempts = connections[connections.client == thrown_out].sort_values("attempt")
    assert list(attempts.attempt) == [1, 2] and list(attempts.close_code) == [1012, 1000]
    lost = messages[messages.copies == 0]
    away = lost[~lost.receiver_connected]
    assert len(away) and set(away.receiver) == {thrown_out}
    in_flight = lost[lost.receiver_connected]
    assert set(in_flight.sender) == {thrown_out}, "what it said as it was thrown out reached nobody"


def test_a_refused_handshake_is_a_row_with_its_status_and_is_tried_again(chat, site):
    site.refuse = {1, 3}
    _, connections = chat(messages_per_s=0.0)
    failed = connections[connections.error.notna()]
    assert set(failed.error) == {"HandshakeRefused: HTTP 503"} and len(failed) == 2
    assert failed.connect_s.isna().all() and failed.close_code.isna().all()
    assert connections[connections.connect_s.notna()].client.nunique() == 6


def test_with_history_nothing_is_lost_not_even_what_the_thrown_out_client_said(chat, site):
    site.history, site.close_after = [], {2: 1012, 3: 1012}
    messages, connections = chat(rooms=1, clients=4, messages_per_s=8.0, duration_s=4.0)
    assert (connections.close_code == 1012).sum() == 2
    assert (messages.copies == 1).all(), messages[messages.copies != 1].to_string()
    assert not messages.receiver_connected.all(), "some were made up for after coming back"


def test_what_was_said_after_coming_back_is_not_repeated_however_slowly_it_arrives(chat, site):
    site.history, site.close_after, site.delay_s = [], {2: 1012}, 1.5
    messages, connections = chat(rooms=1, clients=4, messages_per_s=8.0, duration_s=4.0)
    assert (connections.close_code == 1012).sum() == 1
    assert (messages.copies == 1).all(), messages[messages.copies != 1].to_string()


def test_clients_are_shared_among_processes_and_source_addresses(chat):
    addresses = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
    messages, connections = chat(client_addresses=addresses, cpus=[0, 0], clients=7, rooms=1)
    assert connections.client.nunique() == 7
    assert dict(connections.source_address.value_counts()) == {"127.0.0.2": 3, "127.0.0.3": 2, "127.0.0.4": 2}
    assert (messages[~messages.warmup].groupby(["sender", "n"]).receiver.nunique() == 7).all()
    assert (messages.copies == 1).all()


def test_progress_tells_of_clients_and_then_of_seconds(chat):
    seen = []
    chat(progress=seen.append)
    ramp, load = ([step for step in seen if step.phase == phase] for phase in ("ramp", "load"))
    assert {step.total for step in ramp} == {6} and {step.total for step in load} == {2.0}
    assert ramp[-1].done == 6 and load[-1].done == 2.0 and max(step.rate_per_s for step in load) > 0


def test_the_time_that_a_load_may_take_counts_from_the_client_that_came_last(site, certificates, tmp_path):
    start_s = time.monotonic()
    slow = ChatLoad(clients=6, rooms=1, messages_per_s=1.0, duration_s=1.0, ramp_s=12.0)
    run_load(slow, site.url, tmp_path, certificates[0], timeout_s=12.0)
    assert time.monotonic() - start_s > 12.0
    with pytest.raises(LoadError, match="did not end within 2 s"):
        run_load(slow.replace(duration_s=20.0, ramp_s=0.0), site.url, tmp_path, certificates[0], timeout_s=2.0)


def test_a_wrong_ca_is_one_clear_error(site, tmp_path):
    wrong, _, _ = make_ca(tmp_path, "another")
    with pytest.raises(LoadError, match="not one client came into its room: .*CERTIFICATE_VERIFY_FAILED"):
        run_load(ChatLoad(clients=2, rooms=1, duration_s=1.0, ramp_s=0.0), site.url, tmp_path, wrong)


# -- who comes, goes, listens, does not read -------------------------------------------------------


def numbers(clients) -> list[int]:
    return sorted(int(name[1:]) for name in clients)


def test_clients_leave_and_others_come_in_their_place(chat, site):
    messages, connections = chat(clients=10, rooms=2, churn_per_s=4.0, duration_s=4.0)
    leavers, others = connections[connections.left], connections[~connections.left]
    assert 8 <= len(leavers) <= 44, "four a second for six seconds, at random times"
    assert sorted(others.client) == sorted(set(connections.client) - set(leavers.client)) and len(others) == 10
    assert numbers(connections.client) == list(range(10 + len(leavers))), "who comes is somebody new"
    assert (connections.groupby("room").client.count().min()) >= 5
    assert set(connections.close_code) == {1000} and connections.error.isna().all() and (connections.attempt == 1).all()
    for leaver in leavers.itertuples():
        came = connections[(connections.room == leaver.room) & (connections.connect_start_s - leaver.end_s).abs().lt(0.5)]
        assert len(came), "at once, and in the same room"
    assert (messages.copies == 1).all() and messages.receiver_connected.all(), messages[messages.copies != 1].to_string()
    assert set(messages.receiver) & set(others.client[others.client > "c00009"]), "who came is expected to get what is said then"
    gone = messages.merge(leavers[["client", "end_s"]], left_on="receiver", right_on="client")
    assert len(gone) and (gone.end_s - gone.sent_s).min() >= 1.0


def test_coming_and_going_is_shared_among_processes(chat):
    _, connections = chat(clients=12, rooms=2, churn_per_s=5.0, duration_s=3.0, cpus=[0, 0], messages_per_s=0.0)
    came = numbers(connections.client)
    assert len(came) == len(set(came)) and set(range(12)) <= set(came), "no number twice, whichever process gave it"
    assert {number % 2 for number in came if number >= 12} == {0, 1}


def test_a_loss_is_a_loss_though_others_come_and_go(chat, site):
    site.lose_every, site.settle_s = 9, 0.0
    messages, connections = chat(clients=8, rooms=1, churn_per_s=3.0, messages_per_s=2.0, duration_s=4.0)
    lost = (messages.copies == 0).mean()
    assert connections.left.any() and 0.05 < lost < 0.2, "about one in nine"


def test_listeners_hear_and_say_nothing(chat):
    messages, connections = chat(clients=6, rooms=2, listeners=4)
    assert dict(connections.role.value_counts()) == {"listener": 4, "talker": 2}
    assert set(messages.sender) == set(connections.client[connections.role == "talker"])
    assert messages.receiver.nunique() == 6 and (messages.copies == 1).all()


def test_who_does_not_read_stays_connected_and_is_not_waited_for(chat, site):
    site.ping_after_s = 1.5
    messages, connections = chat(clients=6, rooms=2, slow_readers=2)
    slow = connections[connections.role == "slow_reader"]
    assert len(slow) == 2 and slow.room.nunique() == 2 and set(slow.close_code) == {1000} and (slow.attempt == 1).all()
    assert (slow.end_s - slow.connect_start_s).min() > 4.0
    assert not set(slow.client) & set(messages.receiver) and not set(slow.client) & set(messages.sender)
    assert (messages.copies == 1).all()
    assert site.pongs == 6 + 4, "nor does it answer a ping once it is in"


def test_one_room_may_be_larger_than_the_others(chat):
    messages, connections = chat(clients=9, rooms=3, largest_room=5)
    assert dict(connections.room.value_counts()) == {"load-0": 5, "load-1": 2, "load-2": 2}
    assert messages.groupby(["sender", "n"]).receiver.nunique().max() == 5


def test_a_burst_is_said_at_once_by_those_asked_for_and_heard_by_all(chat):
    messages, connections = chat(
        clients=6, rooms=1, messages_per_s=0.0, burst_at_s=0.5, burst_messages=4, duration_s=1.5, cpus=[0, 0]
    )
    assert messages.burst.all() and not messages.warmup.any()
    assert messages.sender.nunique() == 4 and len(messages) == 4 * 6 and (messages.copies == 1).all()
    assert messages.sent_s.max() - messages.sent_s.min() < 0.7, "each process by its own count"


def test_in_a_storm_all_are_cut_off_and_come_back_at_once(chat):
    messages, connections = chat(clients=12, rooms=2, storm_at_s=1.0, duration_s=3.0)
    first, second = (connections[connections.attempt == attempt] for attempt in (1, 2))
    assert len(first) == len(second) == 12 and (second.connect_s > 0).all()
    assert first.close_code.isna().all() and first.error.isna().all(), "nobody closed them: the network was gone"
    away_s = second.set_index("client").connect_start_s - first.set_index("client").end_s
    assert away_s.min() < 0.25, "and no wait as after an end by the server, of which a quarter of a second is the least"
    assert set(second.close_code) == {1000}
    lost = messages[messages.copies == 0]
    assert not lost.receiver_connected.any() or len(lost) < 12


# -- frames ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chatsocket(of_loadtests):
    return of_loadtests("chatsocket")


@given(body=st.binary(max_size=300), mask=st.binary(min_size=4, max_size=4))
def test_masking_is_what_the_standard_says(chatsocket, body, mask):
    assert chatsocket.masked(body, mask) == bytes(byte ^ mask[i % 4] for i, byte in enumerate(body))


@given(sizes=st.lists(st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536]), max_size=5), cut=st.integers(0, 200_000))
def test_frames_are_read_however_they_are_cut(chatsocket, sizes, cut):
    bodies = [bytes([number]) * size for number, size in enumerate(sizes)]
    stream = b""
    for body in bodies:
        size = len(body)
        short = bytes([size]) if size < 126 else None
        stream += b"\x81" + (
            short or (b"\x7e" + size.to_bytes(2, "big") if size < 65_536 else b"\x7f" + size.to_bytes(8, "big"))
        ) + body  # fmt: skip
    reader = object.__new__(chatsocket.ChatSocket)
    first, rest = reader._take_frames(stream[:cut])
    second, rest = reader._take_frames(rest + stream[cut:])
    assert first + second == bodies and rest == b""


def test_more_clients_than_open_files_are_refused_before_anything_starts(site, certificates, tmp_path, monkeypatch):
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 1000))
    with pytest.raises(LoadError, match=r"clients=2000 in 2 process.* 1100 open files .* allows 1000"):
        run_load(ChatLoad(clients=2000, rooms=1), site.url, tmp_path, certificates[0], cpus=[0, 0])
