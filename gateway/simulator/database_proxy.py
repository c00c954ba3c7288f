"""What lies between one gateway and its PostgreSQL: a wire that can be cut, held up and slowed.

It reads along just as far as it must to know which function of the ledger is asked for, so
that a fault can hang on a step of the work instead of an instant: a seed that failed on a busy
machine then fails on an idle one, too.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_CHUNK: Final = 65_536
_FUNCTION: Final = re.compile(rb"dialout\.([a-z_]+)\(")
_LENGTH_BYTES: Final = 4


class Moment(StrEnum):
    """On which side of a statement something happens."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The ``nth`` time, from 1, that a gateway asks for a function of the ledger.

    ``before`` it has reached the server; ``after`` it is done there, committed, and its answer
    has not been passed on.
    """

    function: str
    nth: int
    moment: Moment


Blow = Callable[[], None]
"""What happens at a point. The connection is cut then, so nothing more is passed on of it."""


class DatabaseProxy:
    """Listens on a port of its own and passes everything on to a server's Unix socket.

    As a context manager it is started and stopped; the port stays the same throughout.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._blows: dict[Point, Blow] = {}
        self._asked: Counter[str] = Counter()
        self._writers: set[asyncio.StreamWriter] = set()
        self._sessions: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._is_away = False
        self._delay_seconds = 0.0
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cut whatever is left."""
        assert self._server is not None, "it has been started"
        self._server.close()
        self.heal()
        self.go_away()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    def at(self, point: Point, blow: Blow) -> None:
        """Have something happen once at a point that is still to come."""
        self._blows[point] = blow

    def cut(self) -> None:
        """Break every connection off, as a server does that crashes."""
        for writer in list(self._writers):
            writer.transport.abort()

    def go_away(self) -> None:
        """Break every connection off, and every new one, until ``heal``."""
        self._is_away = True
        self.cut()

    def stall(self) -> None:
        """Pass nothing on in either direction until ``heal``; connections stay."""
        self._flows.clear()

    def slow(self, seconds: float) -> None:
        """Pass each answer on so much later, until ``heal``."""
        self._delay_seconds = seconds

    def heal(self) -> None:
        """Let everything pass again. Blows that have not been reached stay."""
        self._is_away = False
        self._delay_seconds = 0.0
        self._flows.set()

    def forget_blows(self) -> None:
        """Let no point be a fault any more."""
        self._blows.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = asyncio.current_task()
        assert session is not None, "the server runs each of these as a task"
        self._sessions.add(session)
        self._writers.add(writer)
        try:
            if not self._is_away:
                await self._pass_on(reader, writer)
        except (OSError, EOFError):
            pass
        except asyncio.CancelledError:
            # The loop is closed: whoever started this as a task reports a cancelled one as a fault.
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._sessions.discard(session)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_unix_connection(self._socket)
        self._writers.add(upstream_writer)
        conversation = _Conversation()
        ways = [
            asyncio.ensure_future(self._ask(conversation, reader, upstream_writer)),
            asyncio.ensure_future(self._answer(conversation, upstream_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            upstream_writer.transport.abort()
            self._writers.discard(upstream_writer)

    async def _ask(
        self,
        conversation: "_Conversation",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        while data := await reader.read(_CHUNK):
            for function in conversation.asked(data):
                self._asked[function] += 1
                nth = self._asked[function]
                blow = self._blows.pop(
                    Point(function=function, nth=nth, moment=Moment.BEFORE), None
                )
                if blow is not None:
                    blow()
                    return
                conversation.owed = Point(function=function, nth=nth, moment=Moment.AFTER)
            await self._flows.wait()
            writer.write(data)
            await writer.drain()

    async def _answer(
        self,
        conversation: "_Conversation",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        while data := await reader.read(_CHUNK):
            blow = self._blows.pop(conversation.owed, None) if conversation.owed else None
            if blow is not None:
                blow()
                return
            if self._delay_seconds:
                await asyncio.sleep(self._delay_seconds)
            await self._flows.wait()
            writer.write(data)
            await writer.drain()


class _Conversation:
    """What a client has prepared on one connection, and what it asks for.

    ``owed`` is what the server is at work on, as the point at which it is done.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._greeted = False
        self._prepared: dict[bytes, str] = {}
        self.owed: Point | None = None

    def asked(self, data: bytes) -> list[str]:
        """Return the functions of the ledger that these bytes, and those before, ask for."""
        self._buffer += data
        functions = []
        while (message := self._next()) is not None:
            kind, body = message
            if kind == b"P":
                name, _, query = body.partition(b"\0")
                found = _FUNCTION.search(query)
                self._prepared[name] = found[1].decode() if found else ""
            elif kind == b"B":
                _portal, name, *_rest = body.split(b"\0", 2)
                function = self._prepared.get(name)
                if function:
                    functions.append(function)
                else:
                    self.owed = None
        return functions

    def _next(self) -> tuple[bytes, bytes] | None:
        """Return the next whole message; the first of a connection has a length and no kind."""
        kind_bytes = 1 if self._greeted else 0
        if len(self._buffer) < kind_bytes + _LENGTH_BYTES:
            return None
        head = kind_bytes + _LENGTH_BYTES
        length = int.from_bytes(self._buffer[kind_bytes:head])
        end = kind_bytes + length
        if len(self._buffer) < end:
            return None
        kind, body = bytes(self._buffer[:kind_bytes]), bytes(self._buffer[head:end])
        del self._buffer[:end]
        self._greeted = True
        return kind, body
