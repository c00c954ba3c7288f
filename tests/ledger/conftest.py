"""A real PostgreSQL, one migrated template a session, one database a test."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from pydantic import SecretStr

from gateway import db
from gateway.lab.postgres import Postgres
from gateway.ledger import Ledger
from gateway.ledger.provisioning import Provisioning
from gateway.settings import DatabaseSettings
from tests.ledger.world import World

TEMPLATE = "template_of_tests"
CONNECTIONS_MAX = 50


def settings(dsn: str) -> DatabaseSettings:
    """Return the settings of a gateway that may use many connections."""
    return DatabaseSettings(
        dsn=SecretStr(dsn), connections_max=CONNECTIONS_MAX, call_seconds_max=20.0
    )


def processes(server: int) -> list[int]:
    """Return the ids of a server's first process and of all that it has started."""
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    return [server, *map(int, children)]


@pytest.fixture(scope="session")
def server_directory() -> Iterator[Path]:
    """A directory that the server's account may enter, too."""
    directory = Path(tempfile.mkdtemp(prefix="dialout-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(server_directory: Path) -> AsyncIterator[Postgres]:
    """One server for all tests, with the template that their databases are copies of."""
    async with Postgres(server_directory) as postgres:
        await db.migrate(settings(await postgres.create_database(TEMPLATE)))
        yield postgres


@pytest.fixture
async def dsn(server: Postgres) -> AsyncIterator[str]:
    """The owner's way into a database of this test alone."""
    name = f"test_{uuid4().hex}"
    yield await server.create_database(name, TEMPLATE)
    await server.drop_database(name)


@pytest.fixture
async def owner(dsn: str) -> AsyncIterator[db.Connection]:
    """A connection past all the rights, to look at tables and to tamper with them."""
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[db.Pool]:
    """The gateway's own pool."""
    async with db.pool(settings(dsn)) as opened:
        yield opened


@pytest.fixture
async def crowd(pool: db.Pool) -> None:
    """All connections of the pool are open, so that what is asked at once arrives at once."""
    async with AsyncExitStack() as stack:
        for _ in range(CONNECTIONS_MAX):
            await stack.enter_async_context(pool.acquire())


@pytest.fixture
def ledger(pool: db.Pool) -> Ledger:
    """The ledger under test, patient enough for a busy machine."""
    return Ledger(pool, call_seconds_max=20.0)


@pytest.fixture
def provisioning(pool: db.Pool) -> Provisioning:
    """Provisioning under test, patient enough for a busy machine."""
    return Provisioning(pool, call_seconds_max=20.0)


@pytest.fixture
async def world(ledger: Ledger, provisioning: Provisioning) -> World:
    """A tenant with one organizer, and nothing that pays."""
    return await World.create(ledger, provisioning)
