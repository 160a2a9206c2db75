"""How many sockets a room has, over all instances.

Each process writes its own counts into Django's cache once a second, whole, and reads those of the others: a count that
was lost heals at the next beat, and an instance that was killed leaves the counts when its entry has expired.
"""

import asyncio
import logging
from collections import Counter
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

    def join(self, consumer: Any) -> int:
        """Add a consumer to its room. Returns how many are there, as far as this process knows; the room is told soon."""
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat())
        here = self._here.setdefault(consumer.group, WeakSet())
        here.add(consumer)
        return len(here) + self._elsewhere[consumer.group]

    def leave(self, consumer: Any) -> None:
        """Take a consumer out of its room."""
        self._here[consumer.group].discard(consumer)

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
        """Tell the rooms whose count has changed since they were last told."""
        changed = [group for group in self._here if present[group] != self._told[group]]
        self._told = present
        for group in changed:
            frame = {"type": "presence", "present": present[group]}
            sending = [consumer.send_json(frame) for consumer in self._here.get(group, ())]
            await asyncio.gather(*sending, return_exceptions=True)  # of those who are just leaving


presence = Presence()
