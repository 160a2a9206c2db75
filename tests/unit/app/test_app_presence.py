"""How many are in a room: what newcomers, slow readers and those who leave twice do to the count."""

import asyncio
from collections import Counter

import pytest
from site_under_test import ANSWER_S


class Person:
    """As much of a consumer as presence knows."""

    group = "room"

    def __init__(self) -> None:
        self.told: list[int] = []

    async def send_json(self, frame: dict) -> None:
        self.told.append(frame["present"])


class SlowReader(Person):
    async def send_json(self, frame: dict) -> None:
        await asyncio.sleep(10 * ANSWER_S)


@pytest.fixture
def instance():
    """`instance(scene)` runs `scene(presence)`, in which no beat comes by itself."""
    from chat import presence

    async def run(scene):
        here = presence.Presence()
        here._beating = asyncio.current_task()
        return await scene(here)

    return lambda scene: asyncio.run(run(scene))


def test_a_newcomer_whose_welcome_was_out_of_date_is_told_the_right_count(instance):
    """One elsewhere left while one came here: the room's count is what it was, the newcomer's is not."""

    async def scene(presence):
        ann, bob = Person(), Person()
        presence.join(ann)
        presence._elsewhere = Counter(room=2)
        await presence._tell(Counter(room=3))
        assert presence.count("room") + 1 == 4, "what the welcome says"
        presence.join(bob)
        await presence._tell(Counter(room=3))
        await presence._tell(Counter(room=3))
        return ann.told, bob.told

    assert instance(scene) == ([3, 3], [3])


def test_a_client_who_does_not_read_holds_up_nobody(instance):
    async def scene(presence):
        people = [SlowReader(), Person(), Person()]
        for number, person in enumerate(people):
            person.group = f"room {number % 2}"
            presence.join(person)
        await asyncio.wait_for(presence._tell(Counter({"room 0": 2, "room 1": 1})), ANSWER_S)
        return [person.told for person in people]

    assert instance(scene) == [[], [1], [2]]


def test_who_leaves_twice_or_before_it_came_has_left(instance):
    async def scene(presence):
        ann = Person()
        presence.leave(ann)
        presence.join(ann)
        presence.leave(ann)
        presence._here.clear()  # as a beat does with an empty room
        presence.leave(ann)
        return presence.count("room")

    assert instance(scene) == 0


def test_the_welcome_comes_before_any_other_count(monkeypatch):
    """Where the welcome has to wait (`chat_resume` asks for the newest message), the beat does not overtake it."""
    from chat import consumers

    joined = []
    monkeypatch.setattr(consumers.presence, "join", joined.append)

    class Layer:
        async def group_add(self, group, channel):
            pass

    class Waiting(consumers.ChatConsumer):
        async def accept(self):
            pass

        async def send_json(self, content, close=False):
            assert content["type"] == "welcome" and content["present"] == 1 and joined == []

    person = Waiting()
    person.scope, person.channel_layer, person.channel_name = {"url_route": {"kwargs": {"room": "empty"}}}, Layer(), "x"
    asyncio.run(person.connect())
    assert joined == [person]
