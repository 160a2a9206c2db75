"""How many sockets a room has, over all instances.

Each process writes its own counts into Django's cache once a second, whole, and reads those of the others: a count that
was lost heals at the next beat, and an instance that was killed leaves the counts when its entry has expired.
"""

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from django.conf import settings
from django.core.cache import caches

log = logging.getLogger("stacklab.presence")

BEAT_S = 1.0
LEASE_S = 5
KEYS = [f"present-{number}" for number in range(1, 17)]  # by the number alone: whichever server's instances they are


class Presence:
    """The sockets of this process by room, and what the other processes say of theirs."""

    def __init__(self) -> None:
        self._here: dict[str, WeakSet] = {}  # weak: a consumer that ended by an error has not left
        self._told: Counter[str] = Counter()
        self._elsewhere: Counter[str] = Counter()
        self._beating: asyncio.Task | None = None
        self._cache = caches["default"]

    def count(self, group: str) -> int:
        """How many are in a room, as far as this process knows."""
        return len(self._here.get(group, ())) + self._elsewhere[group]

    def join(self, consumer: Any) -> None:
        """Add a consumer to its room, which is told soon: the newcomer too, whose welcome may have had an old count."""
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat())
        self._here.setdefault(consumer.group, WeakSet()).add(consumer)
        self._told.pop(consumer.group, None)

    def leave(self, consumer: Any) -> None:
        """Take a consumer out of its room, if it came so far and has not left before."""
        self._here.get(consumer.group, WeakSet()).discard(consumer)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            self._here = {group: consumers for group, consumers in self._here.items() if consumers}
            own = Counter({group: len(consumers) for group, consumers in self._here.items()})
            try:
                # in a thread that nothing else waits for: a Redis that is away may take its time to say so
                self._elsewhere = await asyncio.to_thread(self._exchange, own)
            except Exception as error:
                log.warning("the cache is away, so presence stands still: %s", error)
                continue
            await self._tell(own + self._elsewhere)

    def _exchange(self, own: Counter[str]) -> Counter[str]:
        """Say what this process has; what the others have."""
        key = f"present-{settings.CHAT_INSTANCE.rpartition('@')[2]}"
        self._cache.set(key, own, timeout=LEASE_S)
        others = self._cache.get_many([other for other in KEYS if other != key])
        return sum(others.values(), Counter())

    async def _tell(self, present: Counter[str]) -> None:
        """Tell the rooms whose count has changed since they were last told, and wait a beat for who reads slowly."""
        changed = [group for group in self._here if present[group] != self._told[group]]
        self._told = present.copy()
        sending = [
            consumer.send_json({"type": "presence", "present": present[group]})
            for group in changed for consumer in self._here[group]
        ]  # fmt: skip
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*sending, return_exceptions=True), BEAT_S)  # some are just leaving


presence = Presence()
