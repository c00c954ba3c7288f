"""The way from a gateway to its Asterisk or to its ledger, where a test can let it go silent."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Connection]]

_CHUNK_BYTES = 65_536


class Direction(StrEnum):
    """From a gateway, or to it."""

    THERE = "there"
    BACK = "back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What makes which direction late, and by how much. ``begun`` is set when it does."""

    direction: Direction
    mark: bytes
    seconds: float
    begun: asyncio.Event = field(default_factory=asyncio.Event)


def _opened() -> dict[Direction, asyncio.Event]:
    events = {direction: asyncio.Event() for direction in Direction}
    for event in events.values():
        event.set()
    return events


@dataclass(slots=True, kw_only=True)
class Way:
    """Relays connections, until it falls silent: then they stay open and nothing comes through.

    It falls silent by ``fall_silent``, or just before the first bytes that have ``mark`` in
    them, whichever side sends them; ``silent`` is set then. ``mend`` breaks such connections
    off, and relays new ones.

    By ``hold`` one direction becomes late instead: what was held comes then, in order.
    """

    connect: Connect
    port: int = 0
    mark: bytes | None = None
    silent: asyncio.Event = field(default_factory=asyncio.Event)
    _hold: Hold | None = None
    _open: dict[Direction, asyncio.Event] = field(default_factory=_opened)
    _connections: set[asyncio.Task[None]] = field(default_factory=set)

    def fall_silent(self) -> None:
        """Let nothing through from now on."""
        self.silent.set()

    def hold(self, direction: Direction, mark: bytes, seconds: float) -> Hold:
        """Let nothing through in one direction for so long, from the next ``mark`` there on.

        The mark itself, which only goes there, gets through unless its own direction is held.
        """
        self._hold = Hold(direction=direction, mark=mark, seconds=seconds)
        return self._hold

    def mend(self) -> None:
        """Break off what there is; what is connected from now on gets through."""
        self.mark = None
        self.silent.clear()
        self.cut()

    def cut(self) -> None:
        """Break off the connections that there are."""
        for each in self._connections:
            each.cancel()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one connection, both ways, until either end closes it."""
        task = asyncio.current_task()
        assert task is not None, "runs inside an event loop"
        self._connections.add(task)
        far_reader, far_writer = await self.connect()
        try:
            async with asyncio.TaskGroup() as relays:
                relays.create_task(self._relay(reader, far_writer, Direction.THERE))
                relays.create_task(self._relay(far_reader, writer, Direction.BACK))
        except* (ConnectionError, EOFError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            for closing in (writer, far_writer):
                closing.close()

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        before = b""
        while data := await reader.read(_CHUNK_BYTES):
            if self.mark is not None and _comes(self.mark, before, data):
                self.fall_silent()
            if self.silent.is_set():
                continue
            if self._hold is not None and _comes(self._hold.mark, before, data):
                self._close(self._hold)
            before = (before + data)[-_CHUNK_BYTES:]
            await self._open[direction].wait()
            writer.write(data)
            await writer.drain()
        raise EOFError

    def _close(self, hold: Hold) -> None:
        self._hold = None
        hold.begun.set()
        self._open[hold.direction].clear()
        asyncio.get_running_loop().call_later(hold.seconds, self._open[hold.direction].set)


def _comes(mark: bytes, before: bytes, data: bytes) -> bool:
    """Return whether a mark ends in these bytes; it may have begun in those before."""
    return mark in before[max(0, len(before) - len(mark) + 1) :] + data


@asynccontextmanager
async def way_to(connect: Connect) -> AsyncIterator[Way]:
    """Lend a way whose own end is a port of the loopback interface."""
    way = Way(connect=connect)
    server = await asyncio.start_server(way.serve, "127.0.0.1", 0)
    way.port = server.sockets[0].getsockname()[1]
    try:
        yield way
    finally:
        server.close()
        way.cut()
        with suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), 1)
