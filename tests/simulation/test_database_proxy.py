"""The wire between a gateway and its ledger: cut where a seed says, and nowhere else."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
import pytest_asyncio
from pydantic import SecretStr

from gateway import db
from gateway.lab.postgres import Postgres
from gateway.settings import DatabaseSettings
from gateway.simulator.database_proxy import DatabaseProxy, Moment, Point

LEDGER = """
    CREATE SCHEMA dialout;
    CREATE TABLE dialout.noted (what integer);
    CREATE FUNCTION dialout.note(what integer) RETURNS void
    LANGUAGE sql AS 'INSERT INTO dialout.noted VALUES (what)';
"""
NOTE = "SELECT dialout.note($1)"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A PostgreSQL with one function that leaves a trace; its DSN."""
    async with Postgres(tmp_path_factory.mktemp("postgres")) as postgres:
        dsn = await postgres.create_database("proxied")
        async with db.pool(DatabaseSettings(dsn=SecretStr(dsn))) as pool:
            await pool.execute(LEDGER)
        yield dsn


@pytest_asyncio.fixture(loop_scope="module")
async def proxy(server: str) -> AsyncIterator[DatabaseProxy]:
    """A wire to it."""
    [folder] = parse_qs(urlsplit(server).query)["host"]
    async with DatabaseProxy(Path(folder) / ".s.PGSQL.5432") as running:
        yield running


def through(proxy: DatabaseProxy) -> DatabaseSettings:
    """Return the way to the database by the proxy."""
    dsn = f"postgresql://postgres@127.0.0.1:{proxy.port}/proxied?sslmode=disable"
    return DatabaseSettings(dsn=SecretStr(dsn), call_seconds_max=5.0)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("moment", "noted"), [(Moment.BEFORE, 2), (Moment.AFTER, 3)])
async def test_a_blow_falls_at_its_point(
    server: str, proxy: DatabaseProxy, moment: Moment, noted: int
) -> None:
    """The second of three is lost: before it took effect, or after, when nobody hears of it.

    What follows goes through on a new connection, as to a server that is there again.
    """
    struck = []
    proxy.at(Point(function="note", nth=2, moment=moment), lambda: struck.append(moment))
    async with db.pool(DatabaseSettings(dsn=SecretStr(server))) as pool:
        await pool.execute("TRUNCATE dialout.noted")
        async with db.pool(through(proxy)) as proxied:
            await proxied.fetch(NOTE, 1)
            with pytest.raises(asyncpg.PostgresConnectionError):
                await proxied.fetch(NOTE, 2)
            await proxied.fetch(NOTE, 3)
        assert struck == [moment]
        assert await pool.fetchval("SELECT count(*) FROM dialout.noted") == noted


@pytest.mark.asyncio(loop_scope="module")
async def test_a_wire_that_is_away_is_away_until_it_is_healed(proxy: DatabaseProxy) -> None:
    """Old connections and new ones break; nothing has to be started again afterwards."""
    async with db.pool(through(proxy)) as pool:
        await pool.fetch(NOTE, 1)
        proxy.go_away()
        for _ in range(2):
            with pytest.raises((OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
                await pool.fetch(NOTE, 2)
        proxy.heal()
        await pool.fetch(NOTE, 3)


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_held_up_arrives_later(proxy: DatabaseProxy) -> None:
    """A stalled server answers nobody, and loses nothing."""
    async with db.pool(through(proxy)) as pool:
        await pool.fetch(NOTE, 1)
        proxy.stall()
        asking = asyncio.create_task(pool.fetch(NOTE, 2))
        await asyncio.wait([asking], timeout=0.2)
        assert not asking.done()
        proxy.heal()
        await asking
