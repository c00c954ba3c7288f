"""A receiver of webhooks on loopback: a real HTTP server that does as a test tells it."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Self

NO_CONTENT: Final = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
FAULTY: Final = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
GARBAGE: Final = b"\x00\xff this is no HTTP\r\n\r\n"
ENDLESS: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n" + b"x" * 65_536
SILENT: Final = b""
DRIPPING: Final = b"HTTP/1.1 200 OK\r\n"
_DRIP_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What came in. Names of headers are in small letters."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True, kw_only=True)
class Listener:
    """Answers each request with the next of ``answers``; with 204 when there are none left.

    ``SILENT`` answers nothing and holds the connection; ``DRIPPING`` always has one more header.
    """

    answers: deque[bytes] = field(default_factory=deque)
    requests: list[Request] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _held: list[asyncio.StreamWriter] = field(default_factory=list)
    port: int = 0

    async def __aenter__(self) -> Self:
        """Listen; on the same port as before, if this is not the first time."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up on everybody, and listen no more."""
        assert self._server is not None, "the receiver was started"
        self._server.close()
        for writer in self._held:
            writer.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hooks/dialout"

    @property
    def event_ids(self) -> list[str]:
        """Return the ids that came in, in order."""
        return [request.headers["webhook-id"] for request in self.requests]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, value in (each.split(":", 1) for each in head[1:-2])
        }
        body = await reader.readexactly(int(headers["content-length"]))
        self.requests.append(Request(line=head[0], headers=headers, body=body))
        answer = self.answers.popleft() if self.answers else NO_CONTENT
        self._held.append(writer)
        writer.write(answer)
        while answer == DRIPPING and not writer.is_closing():
            writer.write(b"X-Drip: 1\r\n")
            await asyncio.sleep(_DRIP_SECONDS)
        if answer not in (SILENT, ENDLESS):
            writer.close()
