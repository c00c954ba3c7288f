"""One connection to the virtual Asterisk's manager interface: bytes in, bytes out."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import cast

_BANNER = b"Asterisk Call Manager/11.0.0\r\n"
_END = b"\r\n\r\n"
_PIECE_BYTES_MAX = 200
_PIECE_SECONDS = 0.001
_HELD_BYTES_MAX = 4_000_000


class Session(asyncio.Protocol):
    """A connection, from its first byte to its loss. ``take`` is given each action's bytes."""

    def __init__(
        self,
        *,
        random: Random,
        take: Callable[["Session", bytes], None],
        opened: Callable[["Session"], None],
        lost: Callable[["Session"], None],
    ) -> None:
        self.logged_in = False
        self._silenced: set[str] = set()
        self._kept_back: dict[str, list[bytes]] = {}
        self._slowed: dict[str, float] = {}
        self._random = random
        self._take = take
        self._opened = opened
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._held = bytearray()
        self._is_held = False
        self._splits_until = 0.0
        self._trickling: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what this is."""
        self._transport = cast(asyncio.Transport, transport)
        self._opened(self)
        self.write(_BANNER)

    def connection_lost(self, exc: Exception | None) -> None:
        """Have nobody left to say anything to."""
        self._transport = None
        if self._trickling is not None:
            self._trickling.cancel()
        self._lost(self)

    def data_received(self, data: bytes) -> None:
        """Take every action that is complete, until one of them ends the connection."""
        self._received += data
        while not self._is_held and self._transport is not None:
            end = self._received.find(_END)
            if end < 0:
                return
            frame = bytes(self._received[:end])
            del self._received[: end + len(_END)]
            self._take(self, frame)

    def write(self, data: bytes) -> None:
        """Say something, at once or as soon as it may; never waits."""
        if self._transport is None or self._transport.is_closing():
            return
        if not self._is_held and self._trickling is None and not self._splits:
            self._transport.write(data)
            return
        self._held += data
        if len(self._held) > _HELD_BYTES_MAX:
            self.cut()  # as Asterisk drops whoever does not read
        elif not self._is_held and self._trickling is None:
            self._trickle()

    def tell(self, uniqueid: str, event: bytes) -> None:
        """Tell of an event of a channel, unless its events are not told, or not yet."""
        if uniqueid in self._silenced:
            return
        kept_back = self._kept_back.get(uniqueid)
        if kept_back is not None:
            kept_back.append(event)
        elif uniqueid in self._slowed:
            loop = asyncio.get_running_loop()
            loop.call_later(self._slowed[uniqueid], self.write, event)
        else:
            self.write(event)

    def silence(self, uniqueid: str) -> None:
        """Tell of no event of a channel any more."""
        self._silenced.add(uniqueid)

    def slow(self, uniqueid: str, seconds: float) -> None:
        """Tell of each event of a channel so much later, from now on."""
        self._slowed[uniqueid] = seconds

    def keep_back(self, uniqueid: str, seconds: float) -> None:
        """Tell of the events of a channel no sooner than in so long."""
        self._kept_back.setdefault(uniqueid, [])
        asyncio.get_running_loop().call_later(seconds, self._let_go, uniqueid)

    def _let_go(self, uniqueid: str) -> None:
        self.write(b"".join(self._kept_back.pop(uniqueid, ())))

    def cut(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def close(self) -> None:
        """End the connection once everything is said."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def split(self, seconds: float) -> None:
        """Say everything in pieces that are cut anywhere, for so long."""
        self._splits_until = asyncio.get_running_loop().time() + seconds

    @property
    def is_held(self) -> bool:
        """Whether nothing is read or said."""
        return self._is_held

    def hold(self) -> None:
        """Read nothing and say nothing from now on."""
        self._is_held = True
        if self._transport is not None:
            self._transport.pause_reading()
        if self._trickling is not None:
            self._trickling.cancel()
            self._trickling = None

    def go_on(self) -> None:
        """Say what was held back, and read on."""
        if not self._is_held:
            return
        self._is_held = False
        held, self._held = bytes(self._held), bytearray()
        if held:
            self.write(held)
        if self._transport is not None:
            self._transport.resume_reading()
            self.data_received(b"")

    @property
    def _splits(self) -> bool:
        return self._splits_until > 0 and asyncio.get_running_loop().time() < self._splits_until

    def _trickle(self) -> None:
        self._trickling = None
        size = self._random.randint(1, _PIECE_BYTES_MAX)
        piece = bytes(self._held[:size])
        del self._held[:size]
        if self._transport is None or not piece:
            return
        self._transport.write(piece)
        if self._held:
            loop = asyncio.get_running_loop()
            self._trickling = loop.call_later(_PIECE_SECONDS, self._trickle)
