"""An Asterisk manager on a real socket that says exactly what a test has it say."""

import asyncio
import socket
from ssl import SSLContext
from typing import Self

DEADLINE_SECONDS = 20.0
"""For everything that must happen; a test that waits this long has failed."""


class Session:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def asked(self) -> dict[str, str]:
        """Return the headers of the next action, in the order of the wire."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            frame = await self._reader.readuntil(b"\r\n\r\n")
        lines = frame.decode().removesuffix("\r\n\r\n").split("\r\n")
        return dict(line.split(": ", 1) for line in lines)

    async def rest(self) -> bytes:
        """Return everything that still comes, up to the end of the connection."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            try:
                return await self._reader.read()
            except ConnectionResetError:
                return b""

    def write(self, data: bytes) -> None:
        """Send raw bytes, in a segment of their own."""
        self._writer.write(data)

    async def flush(self) -> None:
        """Wait until the client has read most of what was sent."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._writer.drain()

    def send(self, *lines: str) -> None:
        """Send one message."""
        self.write(message(*lines))

    def answer(self, asked: dict[str, str], *lines: str, response: str = "Success") -> None:
        """Answer an action."""
        self.send(f"Response: {response}", f"ActionID: {asked['ActionID']}", *lines)

    def greet(self) -> None:
        """Send the banner."""
        self.write(b"Asterisk Call Manager/11.0.0\r\n")

    async def log_in(self) -> dict[str, str]:
        """Greet and accept the login; return what was asked."""
        self.greet()
        asked = await self.asked()
        self.answer(asked, "Message: Authentication accepted")
        return asked

    async def boot(self, *, uptime_seconds: int = 60) -> None:
        """Greet, accept the login and be fully booted."""
        await self.log_in()
        self.send("Event: FullyBooted", f"Uptime: {uptime_seconds}", "Status: Fully Booted")

    def stop_reading(self) -> None:
        """Let what the client writes pile up in the network's buffers."""
        transport = self._writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        transport.pause_reading()

    def abort(self) -> None:
        """End the connection at once."""
        self._writer.transport.abort()


class ScriptedServer:
    """Listens on a free port of the loopback; each connection becomes a `Session`."""

    def __init__(self, *, ssl: SSLContext | None = None) -> None:
        self._ssl = ssl
        self._sessions: asyncio.Queue[Session] = asyncio.Queue()
        self._opened: list[Session] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        # Small, so that a session that stops reading is felt soon.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.port: int = self._socket.getsockname()[1]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._open, sock=self._socket, ssl=self._ssl)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for session in self._opened:
            session.abort()
        await self._server.wait_closed()

    async def session(self) -> Session:
        """Return the next connection."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self._sessions.get()

    @property
    def sessions_waiting(self) -> int:
        """Connections that no test has taken yet."""
        return self._sessions.qsize()

    async def _open(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(reader, writer)
        self._opened.append(session)
        self._sessions.put_nowait(session)


def message(*lines: str) -> bytes:
    """Return the bytes of one message."""
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()
