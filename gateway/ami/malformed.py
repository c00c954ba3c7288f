"""Messages that cannot be read: counted all, logged a few."""

import asyncio
from math import inf

import structlog

_log = structlog.get_logger()

QUIET_SECONDS = 10.0
"""How long after a log line none other is written."""


class Malformed:
    """Counts what Asterisk sent and nobody could read.

    Whoever can send one such message can send thousands a second, and a log that is full of
    them hides everything else.
    """

    def __init__(self, *, quiet_seconds: float = QUIET_SECONDS) -> None:
        self.count = 0
        self._quiet_seconds = quiet_seconds
        self._quiet_until = -inf
        self._unlogged = 0

    def note(self, message: str, header: str) -> None:
        """Count a message, and log it if none was logged for a while.

        Both texts come from closed lists, never from the message. The line says how many were
        not logged since the one before.
        """
        self.count += 1
        now = asyncio.get_running_loop().time()
        if now < self._quiet_until:
            self._unlogged += 1
            return
        _log.warning("ami.malformed", message=message, header=header, unlogged=self._unlogged)
        self._quiet_until = now + self._quiet_seconds
        self._unlogged = 0
