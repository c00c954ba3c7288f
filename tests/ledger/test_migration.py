"""The schema: made once, repeated without harm, by anybody at any time."""

import asyncio
import os
import sys
from uuid import uuid4

import asyncpg
import pytest

from gateway import db
from gateway.lab.postgres import Postgres
from gateway.ledger import Ledger
from tests.ledger.conftest import settings
from tests.ledger.world import CREDITS, POOL, World

MIGRATE = """
import asyncio, sys
from pydantic import SecretStr
from gateway import db
from gateway.settings import DatabaseSettings
asyncio.run(db.migrate(DatabaseSettings(dsn=SecretStr(sys.argv[1]))))
"""


async def test_many_processes_may_migrate_an_empty_database(server: Postgres) -> None:
    """Two gateways that start together must not meet halfway through a table."""
    name = f"test_{uuid4().hex}"
    dsn = await server.create_database(name)

    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", MIGRATE, dsn), env={**os.environ, "PYTHONPATH": "."}
        )
        for _ in range(3)
    ]
    codes = [await process.wait() for process in processes]
    connection = await asyncpg.connect(dsn)
    applied = await connection.fetchval("SELECT count(*) FROM public._pogo_migration")
    await connection.close()
    await server.drop_database(name)

    assert codes == [0, 0, 0]
    assert applied == len(list((db.SQL / "migrations").glob("*.sql")))


async def test_migrating_again_changes_nothing(ledger: Ledger, world: World, dsn: str) -> None:
    """Each deployment does it, with calls up: what is on record stays, and the ledger goes on."""
    await world.add_licence()
    _, dial_out = await world.reserve(None, POOL)
    steps: list[str] = []

    await asyncio.gather(
        db.migrate(settings(dsn), steps.append), db.migrate(settings(dsn)), world.reserve()
    )

    assert await ledger.dial_out(dial_out.request.key) == dial_out
    assert "functions/reserve.sql" in steps
    assert await ledger.check() == ()


async def test_a_database_that_is_not_there_is_named(server: Postgres) -> None:
    """An operator who mistyped reads one line, not a trace of a driver."""
    with pytest.raises(db.DatabaseUnavailable, match="no_such_database"):
        await db.migrate(settings(server.dsn("no_such_database")))


async def test_a_migration_gives_way_to_calls(ledger: Ledger, world: World, dsn: str) -> None:
    """It replaces what they are using, in another order than they use it.

    Were it to wait for them, the server would find a deadlock now and then, and end a call's
    transaction to break it.
    """
    await world.add_credits(10**12)
    migrating = asyncio.Event()
    calls = 0

    async def call() -> None:
        nonlocal calls
        while not migrating.is_set():
            await world.settle(await world.released(CREDITS, seconds=60), 1000)
            calls += 1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(call())
        for _ in range(4):
            await db.migrate(settings(dsn))
        migrating.set()

    assert calls > 0
    assert await ledger.check() == ()
