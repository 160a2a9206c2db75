"""Somebody who looks at a page and two who talk, all the while something fails: what they lost, and when all was well again."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import websocket
from strangers import AllTheWhile, Site

WELL_S = 1.0  # an answer that takes longer is not well
PAGE = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
FAILURES = (OSError, http.client.HTTPException, websocket.WebSocketException, AssertionError, ValueError)


@dataclass(frozen=True)
class Try:
    """One look, or one word from the one to the other: when, how long it took, and why it was lost ("": it was not)."""

    start_s: float
    end_s: float
    lost: str

    @property
    def well(self) -> bool:
        return not self.lost and self.end_s - self.start_s <= WELL_S


@dataclass
class Watch(AllTheWhile):
    """`with Watch(site) as watch: …`: a page every 50 ms, and a word every 50 ms from one socket to another in its room."""

    site: Site
    pages: list[Try] = field(default_factory=list)
    words: list[Try] = field(default_factory=list)
    _pair: list[websocket.WebSocket] = field(default_factory=list)

    def ways(self) -> list[Callable[[], None]]:
        return [partial(self._again_and_again, *way) for way in ((self.pages, self._look), (self.words, self._talk))]

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._hang_up()

    def well_again_s(self, since_s: float) -> float:
        """Seconds from `since_s` (monotonic) until the last that was lost, or slow, had ended; 0.0 if there was none."""
        ends_s = [seen.end_s for seen in self.pages + self.words if not seen.well and seen.end_s > since_s]
        return max(ends_s, default=since_s) - since_s

    def wait_until_well(self, within_s: float, quiet_s: float = 2.0) -> None:
        """Until nothing was lost or slow for `quiet_s`. AssertionError, with what was lost last, if that does not come."""
        end_s = time.monotonic() + within_s
        while True:
            time.sleep(0.1)
            now_s = time.monotonic()
            late = [[seen for seen in tries[-200:] if seen.end_s > now_s - quiet_s] for tries in (self.pages, self.words)]
            if all(len(tries) > 5 and all(seen.well for seen in tries) for tries in late):
                return
            assert now_s < end_s, f"not well again within {within_s:g} s: {[seen.lost for tries in late for seen in tries][-3:]}"

    def lost(self) -> dict[str, tuple[int, int]]:
        """{"pages": (lost, of), "words": (lost, of)}."""
        kinds = {"pages": self.pages, "words": self.words}
        return {name: (sum(bool(seen.lost) for seen in tries), len(tries)) for name, tries in kinds.items()}

    def _again_and_again(self, tries: list[Try], what: Callable[[], None]) -> None:
        while not self._leave.wait(0.05):
            start_s, lost = time.monotonic(), ""
            try:
                what()
            except FAILURES as error:
                lost = f"{what.__name__}: {error!r}"[:300]
            tries.append(Try(start_s, time.monotonic(), lost))

    def _look(self) -> None:
        status = self.site.status(PAGE)
        assert status == 200, f"status {status}"

    def _talk(self) -> None:
        """A word from the one to the other, whose sockets are opened where they are not."""
        try:
            while len(self._pair) < 2:
                self._pair.append(self.site.chat("watch"))
            one, other = self._pair
            word = f"word {len(self.words)}"
            one.send(json.dumps({"type": "message", "text": word}))
            for chat in (other, one):  # the one hears itself, too, or its socket would fill up
                while json.loads(chat.recv()).get("text") != word:
                    pass
        except FAILURES:
            self._hang_up()
            raise

    def _hang_up(self) -> None:
        for chat in self._pair:
            with suppress(*FAILURES):
                chat.close()
        self._pair = []
