"""A wire between a browser and the page, on which everything that the browser gets is kept."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_HOST = "127.0.0.1"
_CHUNK_BYTES = 65_536


@dataclass(slots=True, kw_only=True)
class Wire:
    """``url`` is where the browser finds the page; ``received`` is all that it was sent."""

    url: str
    received: bytearray = field(default_factory=bytearray)


@asynccontextmanager
async def relay(url: str) -> AsyncIterator[Wire]:
    """Pass connections on to the page at ``url``, and what it answers back, noting it."""
    port = urlsplit(url).port
    connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def connected(browser: asyncio.StreamReader, to_browser: asyncio.StreamWriter) -> None:
        this = asyncio.current_task()
        assert this is not None, "asyncio runs each connection in a task"
        page, to_page = await asyncio.open_connection(_HOST, port)
        connections[this] = to_browser
        async with asyncio.TaskGroup() as ways:
            ways.create_task(_pass_on(browser, to_page))
            ways.create_task(_pass_on(page, to_browser, wire.received))
        del connections[this]

    server = await asyncio.start_server(connected, _HOST, 0)
    wire = Wire(url=f"http://{_HOST}:{server.sockets[0].getsockname()[1]}/")
    try:
        yield wire
    finally:
        server.close()
        # Closed and not cancelled: asyncio takes a cancelled connection for a fault.
        for writer in connections.values():
            writer.close()
        await asyncio.gather(*connections)


async def _pass_on(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, noted: bytearray | None = None
) -> None:
    """Pass bytes on until either side has gone, which the other side then learns."""
    with suppress(ConnectionError):
        while chunk := await source.read(_CHUNK_BYTES):
            if noted is not None:
                noted.extend(chunk)
            sink.write(chunk)
            await sink.drain()
    sink.close()
