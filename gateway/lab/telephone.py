"""What telephones hear, and the keys that they press: their RTP, told apart by its port.

They are those of the carrier's numbers that end in 70, and live at its ``ear_port``.
"""

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, cast

_RTP_HEADER: Final = struct.Struct("!BBHI4s")
_RTP_VERSION: Final = 0x80
_RTP_MARK: Final = 0x80
_RTP_SOURCE: Final = b"ears"
_ALAW: Final = 8
_ALAW_SIGN: Final = 0x55
_ALAW_SILENCE: Final = 0xD5
_ALAW_LOUD: Final = 0x60
"""The upper two bits of an A-law exponent: noise of a quiet line sets neither."""

_KEY: Final = struct.Struct("!BBH")
"""RFC 4733: which key, whether it was let go and how loud it is, for how long so far."""

_KEY_PAYLOAD: Final = 101
_KEYS: Final = "0123456789*#ABCD"
_KEY_LET_GO: Final = 0x80
_KEY_VOLUME: Final = 10
_PACKET_SECONDS: Final = 0.02
_PACKET_SAMPLES: Final = 160
_KEY_PACKETS: Final = 5
_PACKETS_BETWEEN_KEYS: Final = 3
_LAST_PACKETS: Final = 3
"""How often it is said that the key was let go, as one packet may be lost."""

_PAUSE_SECONDS: Final = 1.0
"""What is said in one go has no longer pause."""

_LISTENS_SECONDS: Final = 1.5
"""How long somebody listens before pressing a key, from the first sound."""

_HUNG_UP_SECONDS: Final = 30.0
"""Asterisk sends more often than that to who is up, and gives the port to another call later."""


@dataclass(slots=True)
class Telephone:
    """One telephone; ``loud_at`` are the instants, in epoch seconds, of audible packets.

    It listens, says nothing and presses keys. Saying nothing is silence packet by packet: where
    there is no sound, Asterisk has nothing to mix another one into, and what leaks would not
    be heard.
    """

    line: asyncio.DatagramTransport
    address: tuple[str, int]
    packets: int = 0
    heard_last_at: float = field(default_factory=time.time)
    loud_at: list[float] = field(default_factory=list)
    sounds: list[bytes] = field(default_factory=list)
    _said: int = 0
    _samples: int = 0

    def hear(self, payload: bytes) -> None:
        """Take one packet of A-law, and answer it with as much silence."""
        self.packets += 1
        self.heard_last_at = time.time()
        if any((byte ^ _ALAW_SIGN) & _ALAW_LOUD for byte in payload):
            self.loud_at.append(time.time())
            self.sounds.append(payload)
        self._say(_ALAW, bytes([_ALAW_SILENCE]) * len(payload), at=self._samples)
        self._samples += len(payload)

    async def press(self, keys: str) -> None:
        """Press each of some keys for a tenth of a second."""
        for key in keys:
            began = self._samples
            for packet in range(1, _KEY_PACKETS + 1):
                self._say_key(key, packet, at=began)
                await asyncio.sleep(_PACKET_SECONDS)
            for _ in range(_LAST_PACKETS):
                self._say_key(key, _KEY_PACKETS, at=began, let_go=True)
            self._samples = max(self._samples, began + (_KEY_PACKETS + 1) * _PACKET_SAMPLES)
            await asyncio.sleep(_PACKETS_BETWEEN_KEYS * _PACKET_SECONDS)

    async def hears(self, *, since: float = 0.0, deadline_seconds: float = 30.0) -> None:
        """Return once anything is heard after an instant; TimeoutError if it stays quiet."""
        async with asyncio.timeout(deadline_seconds):
            while not any(at > since for at in self.loud_at):
                await asyncio.sleep(_PACKET_SECONDS)

    async def hears_silence(self, *, deadline_seconds: float = 30.0) -> None:
        """Return once what was being said is over; TimeoutError if it goes on."""
        async with asyncio.timeout(deadline_seconds):
            while self.loud_at and time.time() - self.loud_at[-1] < _PAUSE_SECONDS:
                await asyncio.sleep(_PACKET_SECONDS)

    def heard_at(self) -> list[float]:
        """Return when each thing that was said began."""
        return [
            at
            for before, at in zip([0.0, *self.loud_at], self.loud_at, strict=False)
            if at - before > _PAUSE_SECONDS
        ]

    def heard_seconds(self) -> float:
        """Return for how long anything was audible."""
        return len(self.loud_at) * _PACKET_SECONDS

    def _say_key(self, key: str, packet: int, *, at: int, let_go: bool = False) -> None:
        volume = _KEY_VOLUME | (_KEY_LET_GO if let_go else 0)
        payload = _KEY.pack(_KEYS.index(key), volume, packet * _PACKET_SAMPLES)
        mark = _RTP_MARK if packet == 1 else 0
        self._say(_KEY_PAYLOAD | mark, payload, at=at)

    def _say(self, kind: int, payload: bytes, *, at: int) -> None:
        header = _RTP_HEADER.pack(_RTP_VERSION, kind, self._said & 0xFFFF, at, _RTP_SOURCE)
        self._said += 1
        self.line.sendto(header + payload, self.address)


class Ear(asyncio.DatagramProtocol):
    """Where all telephones hear; ``telephones`` are those that heard anything, be it silence."""

    def __init__(self) -> None:
        self._transport: asyncio.DatagramTransport | None = None
        self.telephones: dict[tuple[str, int], Telephone] = {}
        self._arrived: asyncio.Queue[Telephone] = asyncio.Queue()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take what answers are sent by."""
        # No instance of it before Python 3.12.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Take one packet for any of them."""
        assert self._transport is not None, "nothing arrives before a connection is made"
        telephone = self.telephones.get(addr)
        if telephone is None or time.time() - telephone.heard_last_at > _HUNG_UP_SECONDS:
            telephone = self.telephones[addr] = Telephone(self._transport, addr)
            self._arrived.put_nowait(telephone)
        telephone.hear(data[_RTP_HEADER.size :])

    async def next_telephone(self) -> Telephone:
        """Return the next telephone that hears anything at all, be it silence."""
        async with asyncio.timeout(30):
            return await self.arrival()

    async def arrival(self) -> Telephone:
        """Do the same, however long it takes."""
        return await self._arrived.get()


@asynccontextmanager
async def ear_on(port: int) -> AsyncIterator[Ear]:
    """Listen on a port of the loopback interface.

    Raises at the end what asyncio would only have logged meanwhile: an ear that fails on a
    packet may well have heard nothing that a test waits for, or kept no silence.
    """
    faults: list[Exception] = []

    def note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)
        faults.append(context.get("exception") or RuntimeError(context["message"]))

    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(note)
    try:
        transport, ear = await loop.create_datagram_endpoint(Ear, local_addr=("127.0.0.1", port))
        try:
            yield ear
        finally:
            transport.close()
    finally:
        loop.set_exception_handler(handler)
    if faults:
        raise ExceptionGroup("the ear failed", faults)


@asynccontextmanager
async def telephones_on(
    port: int, *, presses: str, after_seconds: float = _LISTENS_SECONDS
) -> AsyncIterator[None]:
    """Have each telephone press keys, once, so many seconds after it first heard something."""
    async with ear_on(port) as ear:
        pressing = asyncio.create_task(_press_on_each(ear, presses, after_seconds))
        try:
            yield
        finally:
            pressing.cancel()
            await asyncio.wait({pressing})


async def _press_on_each(ear: Ear, keys: str, after_seconds: float) -> None:
    async with asyncio.TaskGroup() as telephones:
        while True:
            telephones.create_task(_listen_and_press(await ear.arrival(), keys, after_seconds))


async def _listen_and_press(telephone: Telephone, keys: str, after_seconds: float) -> None:
    try:
        await telephone.hears()
    except TimeoutError:
        return
    await asyncio.sleep(after_seconds)
    await telephone.press(keys)
