"""The whole product on real parts: one stack a session, a tenant of its own for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from gateway import db
from gateway.lab.service import Service
from gateway.lab.stack import Stack, stack
from gateway.ledger import Ledger, Provisioning
from tests.calls.meeting import Meeting

LAB = Path(__file__).resolve().parents[2] / ".lab"
APPLICATION, APPLICATION_SECRET = "old-dialer", "a-secret-of-the-old-dialer"

OPTIONS = {
    "DIALOUT_CALL__RING_SECONDS": "5",
    "DIALOUT_CALL__TALK_SECONDS_MAX": "60",
    "DIALOUT_CALL__TALK_SECONDS_MIN": "1",
    "DIALOUT_COOL_DOWN__ATTEMPTS": "0",
}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def parts() -> AsyncIterator[Stack]:
    """PostgreSQL, a carrier and an Asterisk."""
    async with stack(LAB, applications={APPLICATION: APPLICATION_SECRET}) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ledger(parts: Stack) -> AsyncIterator[Ledger]:
    """The ledger with all rights, to set the scene and to look behind it."""
    async with db.pool(parts.owner) as pool:
        yield Ledger(pool, call_seconds_max=20.0)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def provisioning(parts: Stack) -> AsyncIterator[Provisioning]:
    """Provisioning with all rights."""
    async with db.pool(parts.owner) as pool:
        yield Provisioning(pool, call_seconds_max=20.0)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(parts: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """The gateway, as operators run it."""
    output = tmp_path_factory.mktemp("service") / "gateway.log"
    async with Service(
        parts.asterisk, database=parts.gateway, output=output, options=OPTIONS
    ) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def second(parts: Stack, tmp_path: Path) -> AsyncIterator[Service]:
    """Another gateway beside the same Asterisk and the same ledger, for one test."""
    async with Service(
        parts.asterisk,
        database=parts.gateway,
        output=tmp_path / "second.log",
        options=OPTIONS,
    ) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client of its API."""
    async with service.client() as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def meeting(
    client: httpx.AsyncClient, ledger: Ledger, provisioning: Provisioning, parts: Stack
) -> Meeting:
    """A meeting of a new tenant with an hour of minutes and no credits."""
    return await Meeting.create(client, ledger, provisioning, parts.carrier)
