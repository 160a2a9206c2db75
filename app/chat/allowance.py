"""How many frames a socket may send."""

import time

FRAMES_PER_S = 20.0
BURST = 40.0


class Allowance:
    """A token bucket: `BURST` frames at once, `FRAMES_PER_S` in the long run. No timer: it fills when asked."""

    __slots__ = ("_left", "_filled_s")

    def __init__(self) -> None:
        self._left = BURST
        self._filled_s = time.monotonic()

    def take(self) -> bool:
        """Whether one more frame is within the allowance."""
        now_s = time.monotonic()
        self._left = min(BURST, self._left + (now_s - self._filled_s) * FRAMES_PER_S)
        self._filled_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
