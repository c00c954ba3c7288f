"""The clock of the Asterisk host."""

import time


class Clock:
    """A clock that may be wrong: ahead by ``offset_ms``, and faster by ``drift_ppm`` millionths.

    It never goes backwards, whatever becomes of this machine's own.
    """

    def __init__(self, *, offset_ms: int = 0, drift_ppm: int = 0) -> None:
        self._rate = 1 + drift_ppm / 1_000_000
        self._began = time.monotonic()
        self._began_ms = time.time() * 1000 + offset_ms

    def now_ms(self) -> int:
        """Return the time of day on the Asterisk host, in milliseconds since the epoch."""
        return int(self._began_ms + (time.monotonic() - self._began) * 1000 * self._rate)

    def seconds(self, milliseconds: float) -> float:
        """Return how many seconds of this machine pass while so many of its milliseconds do."""
        return milliseconds / 1000 / self._rate
