"""A database that is away, slow or dies halfway: an error with one name, and nothing half done."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from socket import SOCK_STREAM
from uuid import uuid4

import asyncpg
import pytest

from gateway import db
from gateway.ami import AmiClient
from gateway.core.facts import SourceKind
from gateway.lab.postgres import Postgres
from gateway.lab.program import free_port
from gateway.ledger import Ledger, LedgerUnavailable, Provisioning, RequestOutcome
from tests.ledger.conftest import processes, settings
from tests.ledger.followers import bridge_of
from tests.ledger.world import NOON, POOL, World

BLOCKED = """
    FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'dialout-gateway'
    AND wait_event_type = 'Lock'
"""


@pytest.fixture
def own_directory(server_directory: Path) -> Path:
    """Where a server lives that a test may kill."""
    directory = server_directory / uuid4().hex
    directory.mkdir()
    directory.chmod(0o755)
    return directory


@pytest.fixture
async def own_server(own_directory: Path) -> AsyncIterator[Postgres]:
    """A server that a test may kill."""
    async with Postgres(own_directory) as postgres:
        yield postgres


async def test_a_connection_that_is_killed_during_reserve_leaves_nothing(
    ledger: Ledger, world: World, owner: db.Connection
) -> None:
    """The transaction is undone whole, the caller hears that it is unknown, and may ask again."""
    await world.add_licence()
    await world.reserve(None, POOL, seconds=60)
    request = world.request()
    # The reservation writes its row and then waits for the pool that is locked here.
    lock = owner.transaction()
    await lock.start()
    await owner.execute("SELECT FROM dialout.source FOR UPDATE")
    asking = asyncio.create_task(world.reserve(request, POOL))
    await _blocked(owner)

    await owner.execute(f"SELECT pg_terminate_backend(pid) {BLOCKED}")
    with pytest.raises(LedgerUnavailable):
        await asking
    await lock.rollback()

    assert await ledger.dial_out(request.key) is None
    assert await world.books(SourceKind.POOL) == (3600, 0, 60, 3540)
    assert await ledger.check() == ()
    assert (await world.reserve(request, POOL))[0] is RequestOutcome.RESERVED


async def _blocked(owner: db.Connection) -> None:
    """Return once a statement of the gateway waits for a lock."""
    async with asyncio.timeout(10):
        while not await owner.fetchval(f"SELECT count(*) {BLOCKED}"):
            await asyncio.sleep(0.01)  # PostgreSQL has no event for it
            await owner.execute("SELECT pg_stat_clear_snapshot()")  # or all looks are one


async def test_no_call_waits_longer_than_its_deadline(
    pool: db.Pool, world: World, owner: db.Connection
) -> None:
    """The gate waits three seconds; an answer after that is worth nothing."""
    await world.add_licence()
    hasty = Ledger(pool, call_seconds_max=0.2)
    async with owner.transaction():
        await owner.execute("SELECT FROM dialout.tenant FOR UPDATE")

        with pytest.raises(LedgerUnavailable):
            await replace(world, ledger=hasty).reserve()

    assert (await world.reserve(None, POOL))[0] is RequestOutcome.RESERVED


async def test_a_server_that_dies_and_comes_back(own_server: Postgres, own_directory: Path) -> None:
    """While it is away every call says so; afterwards the same ledger has all that was answered."""
    dsn = await own_server.create_database("dies")
    await db.migrate(settings(dsn))
    async with db.pool(settings(dsn)) as pool:
        world = await World.create(
            Ledger(pool, call_seconds_max=20.0), Provisioning(pool, call_seconds_max=20.0)
        )
        await world.add_licence()
        await world.reserve(None, POOL)

        await own_server.kill()
        with pytest.raises(LedgerUnavailable):
            await Ledger(pool).ping()
        with pytest.raises(LedgerUnavailable):
            await world.reserve()

    async with Postgres(own_directory) as again, db.pool(settings(again.dsn("dies"))) as pool:
        ledger = Ledger(pool, call_seconds_max=20.0)
        await ledger.ping()
        assert len(await ledger.open_dial_outs()) == 1
        assert await ledger.check() == ()


async def test_it_is_seen_to_be_away_while_asterisk_is(own_server: Postgres) -> None:
    """Whoever looks at the metrics when both are down must not mend one and find the other."""
    dsn = await own_server.create_database("both")
    await db.migrate(settings(dsn))
    async with db.pool(settings(dsn)) as pool:
        # Nothing listens on the port.
        ami = AmiClient(host="127.0.0.1", port=free_port(SOCK_STREAM), username="a", secret="b")
        bridge = bridge_of(ami, Ledger(pool, call_seconds_max=0.5))
        running = asyncio.create_task(bridge.run())
        try:
            await _until(lambda: bridge.ledger_answers)
            await own_server.kill()
            await _until(lambda: not bridge.ledger_answers)
        finally:
            running.cancel()
            await asyncio.wait({running})
    assert running.cancelled()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)  # a state has no event


async def test_a_server_that_hangs_is_away(own_server: Postgres) -> None:
    """Frozen, it neither answers nor closes its connections: the worst that a network does."""
    dsn = await own_server.create_database("hangs")
    await db.migrate(settings(dsn))
    async with db.pool(settings(dsn)) as pool:
        ledger, patient = (Ledger(pool, call_seconds_max=seconds) for seconds in (0.3, 20.0))
        await patient.ping()
        frozen = processes(own_server.pid)
        for process in frozen:
            os.kill(process, signal.SIGSTOP)
        try:
            async with asyncio.timeout(15):
                with pytest.raises(LedgerUnavailable):
                    await ledger.ping()
        finally:
            for process in frozen:
                os.kill(process, signal.SIGCONT)
        await patient.ping()


async def test_a_database_without_the_schema_is_away(server: Postgres) -> None:
    """Before its migration the gate stays shut; the error names what is missing."""
    name = f"test_{uuid4().hex}"
    async with db.pool(settings(await server.create_database(name))) as pool:
        with pytest.raises(LedgerUnavailable, match="dialout"):
            await Ledger(pool, call_seconds_max=20.0).ping()
    await server.drop_database(name)


async def test_a_closed_pool_is_away(dsn: str, world: World) -> None:
    """During shutdown, steps that are still running get the error that they know."""
    async with db.pool(settings(dsn)) as pool:
        ledger = Ledger(pool)

    with pytest.raises(LedgerUnavailable):
        await ledger.organizer_facts(world.request(), NOON)


async def test_an_error_of_ours_is_not_an_absence(world: World) -> None:
    """It would be asked again for ever, and its cause hidden."""
    await world.add_licence()

    with pytest.raises(asyncpg.CheckViolationError):
        await world.reserve(gate_uniqueid="")
