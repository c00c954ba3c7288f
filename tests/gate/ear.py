"""What telephones hear that only listen: their RTP, told apart by the port that it comes from."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

_RTP_HEADER_BYTES = 12
_RTP_SOURCE_AT = 8
_RTP_SOURCE = b"ears"
_ALAW_SIGN = 0x55
_ALAW_SILENCE = 0xD5
_ALAW_LOUD = 0x60
"""The upper two bits of an A-law exponent: noise of a quiet line sets neither."""

_PAUSE_SECONDS = 1.0
"""What is said in one go has no longer pause."""


@dataclass(slots=True)
class Telephone:
    """One telephone's ear; ``loud_at`` are the instants, in epoch seconds, of audible packets."""

    packets: int = 0
    loud_at: list[float] = field(default_factory=list)

    def hear(self, payload: bytes) -> None:
        """Take one packet of A-law."""
        self.packets += 1
        if any((byte ^ _ALAW_SIGN) & _ALAW_LOUD for byte in payload):
            self.loud_at.append(time.time())

    async def hears(self) -> None:
        """Return once anything is heard; TimeoutError if it stays quiet."""
        async with asyncio.timeout(5):
            while not self.loud_at:
                await asyncio.sleep(0.02)

    def heard_at(self) -> list[float]:
        """Return when each thing that was said began."""
        return [
            at
            for before, at in zip([0.0, *self.loud_at], self.loud_at, strict=False)
            if at - before > _PAUSE_SECONDS
        ]


class Ear(asyncio.DatagramProtocol):
    """The ears of all telephones that only listen, and say nothing.

    Saying nothing is silence packet by packet: where there is no sound, Asterisk has
    nothing to mix another one into, and what leaks would not be heard.
    """

    def __init__(self) -> None:
        self._transport: asyncio.DatagramTransport | None = None
        self._telephones: dict[tuple[str, int], Telephone] = {}
        self._arrived: asyncio.Queue[Telephone] = asyncio.Queue()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take what answers are sent by."""
        # No instance of it before Python 3.12.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Take one packet of any of them, and answer it with as much silence."""
        if addr not in self._telephones:
            self._telephones[addr] = Telephone()
            self._arrived.put_nowait(self._telephones[addr])
        header, payload = data[:_RTP_HEADER_BYTES], data[_RTP_HEADER_BYTES:]
        self._telephones[addr].hear(payload)
        assert self._transport is not None, "nothing arrives before a connection is made"
        silence = bytes([_ALAW_SILENCE]) * len(payload)
        self._transport.sendto(header[:_RTP_SOURCE_AT] + _RTP_SOURCE + silence, addr)

    async def next_telephone(self) -> Telephone:
        """Return the next telephone that hears anything at all, be it silence."""
        async with asyncio.timeout(5):
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
