"""A client and a scripted Asterisk, joined by a real socket."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from ssl import SSLContext

import pytest_asyncio

from gateway.ami import AmiClient, Event, LinkUp
from tests.ami.scripted_server import DEADLINE_SECONDS, ScriptedServer, Session

SECRET = "a-secret-that-no-log-may-show"


class Running:
    """A client whose `run` runs, with everything short that a test would have to wait for."""

    def __init__(
        self,
        port: int,
        *,
        ssl: SSLContext | None = None,
        secret: str = SECRET,
        action_deadline_seconds: float = DEADLINE_SECONDS,
        ping_interval_seconds: float = 60.0,
        ping_deadline_seconds: float = DEADLINE_SECONDS,
        connect_deadline_seconds: float = DEADLINE_SECONDS,
        boot_deadline_seconds: float = DEADLINE_SECONDS,
        reconnect_seconds_max: float = 0.05,
        events_max: int = 1000,
        list_bytes_max: int = 1_000_000,
    ) -> None:
        self.client = AmiClient(
            host="127.0.0.1",
            port=port,
            username="gateway",
            secret=secret,
            ssl=ssl,
            action_deadline_seconds=action_deadline_seconds,
            list_deadline_seconds=action_deadline_seconds,
            ping_interval_seconds=ping_interval_seconds,
            ping_deadline_seconds=ping_deadline_seconds,
            connect_deadline_seconds=connect_deadline_seconds,
            boot_deadline_seconds=boot_deadline_seconds,
            reconnect_seconds_min=0.01,
            reconnect_seconds_max=reconnect_seconds_max,
            events_max=events_max,
            message_bytes_max=65_536,
            list_bytes_max=list_bytes_max,
        )
        self._events = self.client.events()
        self.run = asyncio.create_task(self.client.run())

    async def event(self) -> Event:
        """Return the next event."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await anext(self._events)

    async def stop(self) -> None:
        """End the client and whatever its run came to."""
        await self.client.close()
        await asyncio.wait({self.run})


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """A client whose link is up, and the other end of it."""

    running: Running
    session: Session
    server: ScriptedServer

    @property
    def client(self) -> AmiClient:
        """The client."""
        return self.running.client


async def link(server: ScriptedServer, running: Running) -> Linked:
    """Play Asterisk until the client's link is up and `LinkUp` was read."""
    session = await server.session()
    await session.boot()
    assert isinstance(await running.event(), LinkUp)
    return Linked(running=running, session=session, server=server)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """Listen, and after the test see that neither task nor socket of it is left."""
    before = asyncio.all_tasks()
    async with ScriptedServer() as listening:
        yield listening
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left


@pytest_asyncio.fixture
async def linked(server: ScriptedServer) -> AsyncIterator[Linked]:
    """A link that is up, ended after the test."""
    running = Running(server.port)
    yield await link(server, running)
    await running.stop()
