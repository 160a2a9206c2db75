"""Somebody's own chat as the load speaks it: what it sends, and what it recognises, however the site wraps it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stacklab.site import Chat, Site

TUTORIALS = Chat(path="/ws/chat/{room}/", send='{"message": "{text}"}')


@pytest.fixture(scope="module")
def sitechat(of_loadtests):
    return of_loadtests("sitechat")


@pytest.fixture(scope="module")
def spoken(sitechat):
    """`spoken(chat)` is how the load speaks on a site with that [chat], or with none."""

    def speak(chat: Chat | None):
        site = Site(name="s", code="1", wsgi="a:b", asgi="a:c", health="/", websocket="/ws/", chat=chat)
        return sitechat.SiteChat(json.loads(json.dumps(site.to_dict())))

    return speak


def test_a_room_stands_in_the_path_by_a_name_that_any_site_takes(spoken):
    assert spoken(TUTORIALS).join("load-7") == "/ws/chat/load_7/"
    assert spoken(None).join("load-7") == "/ws/"


def test_who_is_connected_is_in_the_room_and_says_first_what_it_must(spoken):
    assert spoken(TUTORIALS).enter("load-7", "3.1")[0].name == "3.1" and spoken(TUTORIALS).enter("load-7", "3.1")[1] is None
    joining = spoken(Chat(path="/ws/", join='{"join": "{room}"}', send="{text}"))
    assert joining.enter("load-7", "3.1")[1] == '{"join": "load_7"}'


WRAPPED = [
    lambda said: said, lambda said: json.dumps({"type": "chat", "from": "anon", "body": json.loads(said)["message"]}),
    lambda said: f"<li>{json.loads(said)['message']}</li>", lambda said: json.dumps([1, "presence", {"payload": said}]),
]  # fmt: skip


@pytest.mark.parametrize("wrap", WRAPPED)
@given(client=st.integers(0, 99_999), attempt=st.integers(1, 99), n=st.integers(1, 10**6), size=st.integers(1, 300))
def test_a_message_is_recognised_however_the_site_wraps_it(spoken, wrap, client, attempt, n, size):
    chat = spoken(TUTORIALS)
    said = chat.send(f"{client}.{attempt}", n, 1.5, "x" * size)
    assert len(json.loads(said)["message"]) == max(size, len(f"load.{client}.{attempt}.{n}."))
    heard = chat.recognise(wrap(said).encode())
    assert (heard.sender, heard.n, heard.instance) == (f"{client}.{attempt}", n, None)


@pytest.mark.parametrize("frame", [b"", b"{}", b'{"type": "join", "who": "load"}', b"\xff\xfe", '{"message": "한글"}'.encode()])
def test_whatever_else_comes_is_no_message(spoken, frame):
    assert spoken(TUTORIALS).recognise(frame) is None
