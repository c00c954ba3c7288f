"""A gateway of the version before goes on while the database is migrated, and afterwards."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from gateway import db
from gateway.lab.postgres import Postgres
from gateway.ledger import Ledger
from tests.ledger.conftest import settings
from tests.ledger.gateway_before import LAST_MIGRATION, GatewayBefore, sql_before
from tests.ledger.world import World

GATEWAYS = 4


@pytest.fixture
async def dsn(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[str]:
    """A database as the version before has made it."""
    name = f"test_{uuid4().hex}"
    dsn = await server.create_database(name)
    with monkeypatch.context() as before:
        before.setattr(db, "SQL", sql_before(tmp_path))
        await db.migrate(settings(dsn))
    yield dsn
    await server.drop_database(name)


@pytest.fixture
async def gateways(pool: db.Pool, world: World) -> AsyncIterator[list[GatewayBefore]]:
    """Gateways that have made calls already: each statement is prepared, each plan kept."""
    await world.add_credits(10**12)
    async with AsyncExitStack() as stack:
        gateways = [
            GatewayBefore(connection=await stack.enter_async_context(pool.acquire()), world=world)
            for _ in range(GATEWAYS)
        ]
        for gateway in gateways:
            await gateway.call()
        yield gateways


async def test_the_gateways_of_before_go_on(
    gateways: list[GatewayBefore], ledger: Ledger, dsn: str
) -> None:
    """Their calls are placed and settled before, during and after; one is up all the while.

    They were never told to connect again: rows have more columns than they know, and functions
    that they have planned to call are others now.
    """
    up = [await gateway.place() for gateway in gateways]
    migrated = asyncio.Event()
    calls = 0

    async def make_calls(gateway: GatewayBefore) -> None:
        nonlocal calls
        while not migrated.is_set():
            await gateway.call()
            calls += 1

    async with asyncio.TaskGroup() as tasks:
        for gateway in gateways:
            tasks.create_task(make_calls(gateway))
        await db.migrate(settings(dsn))
        migrated.set()
    for gateway, key in zip(gateways, up, strict=True):
        await gateway.settle(key)
        await gateway.call()

    assert calls > 0
    assert await ledger.open_dial_outs() == ()
    assert await ledger.check() == ()


async def test_no_row_is_read_while_calls_wait(
    gateways: list[GatewayBefore], owner: db.Connection
) -> None:
    """What keeps calls out of a table may last a moment, not for as long as its rows are many.

    A call that waits is refused after ``database.call_seconds_max``, or hangs up.
    """
    await gateways[0].call()

    for migration in sorted((db.SQL / "migrations").glob("*.sql")):
        if migration.stem > LAST_MIGRATION:
            text = migration.read_text().partition("-- migrate: apply")[2]
            async with owner.transaction():
                await owner.execute(text)
                found = await owner.fetch(
                    """
                    SELECT l.relation::regclass::text, s.seq_tup_read
                    FROM pg_locks AS l
                    INNER JOIN pg_stat_xact_user_tables AS s ON l.relation = s.relid
                    WHERE
                        l.pid = pg_backend_pid()
                        AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'AccessExclusiveLock')
                        AND s.seq_tup_read > 0
                    """
                )
                assert [tuple(row) for row in found] == [], migration.stem
