"""Two events in an outbox, somebody who is told, and couriers with the rights of a gateway."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import pytest_asyncio
from standardwebhooks import Webhook

from gateway import db
from gateway.lab.postgres import Postgres
from gateway.ledger import DeliveryState, Event, Outbox
from gateway.outbox import Courier, Receiver, webhook_client
from tests.ledger.conftest import (
    dsn,
    ledger,
    owner,
    pool,
    provisioning,
    server,
    server_directory,
    settings,
    world,
)
from tests.ledger.world import POOL, World
from tests.outbox.receiver import Listener

__all__ = [
    "dsn",
    "ledger",
    "owner",
    "pool",
    "provisioning",
    "server",
    "server_directory",
    "world",
]

SECRET = "whsec_c2VjcmV0LW9mLXRoZS10ZXN0cy0tbmV3LS0t"


@dataclass(slots=True)
class Clock:
    """The time, which tests move on."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        """Return the time."""
        return self.at

    def passes(self, **much: float) -> None:
        """Let time pass."""
        self.at += timedelta(**much)


@pytest.fixture
def clock() -> Clock:
    """The time of this test."""
    return Clock()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    """Who is told."""
    async with Listener() as listening:
        yield listening


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """What the gateway speaks HTTP with."""
    async with webhook_client() as opened:
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def logins(server: Postgres) -> Postgres:
    """The server, with a login that has the rights of a gateway and no others."""
    await server.create_login("courier", member_of="dialout_gateway")
    return server


@pytest.fixture
async def outbox(logins: Postgres, dsn: str) -> AsyncIterator[Outbox]:
    """The outbox, as a gateway has it."""
    name = dsn.split("/")[3].split("?")[0]
    async with db.pool(settings(logins.dsn(name, user="courier"))) as limited:
        yield Outbox(limited, call_seconds_max=20.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """The outbox of a tenant, and couriers that may be started as often as one likes."""

    world: World
    outbox: Outbox
    client: httpx.AsyncClient
    listener: Listener
    clock: Clock

    def receiver(
        self,
        *,
        url: str | None = None,
        secrets: tuple[str, ...] = (SECRET,),
        timeout_seconds: float = 10.0,
    ) -> Receiver:
        """Return who is told: whoever listens, unless there is another address."""
        return Receiver(
            url=url or self.listener.url,
            signers=tuple(map(Webhook, secrets)),
            timeout_seconds=timeout_seconds,
        )

    def courier(self, receiver: Receiver | None = None) -> Courier:
        """Return a courier that has just been started."""
        return Courier(
            outbox=self.outbox,
            client=self.client,
            receiver=receiver or self.receiver(),
            now=self.clock,
        )

    async def use_the_pool_up(self) -> None:
        """Have two events written."""
        key = await self.world.released(POOL, seconds=3600)
        await self.world.settle(key, 3_600_000)

    async def events(self) -> tuple[Event, ...]:
        """Return how far the events have come."""
        return await self.world.provisioning.events()

    async def states(self) -> list[DeliveryState]:
        """Return the states of the events."""
        return [event.state for event in await self.events()]


@pytest.fixture
async def office(
    world: World, outbox: Outbox, client: httpx.AsyncClient, listener: Listener, clock: Clock
) -> Office:
    """Two events are in the outbox."""
    await world.add_licence()
    office = Office(world=world, outbox=outbox, client=client, listener=listener, clock=clock)
    await office.use_the_pool_up()
    return office
