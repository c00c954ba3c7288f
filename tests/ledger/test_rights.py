"""The gateway's login may settle calls and read the views, and nothing else."""

from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import asyncpg
import pytest

from gateway import db
from gateway.core.policy import SourceKind
from gateway.lab.postgres import Postgres
from gateway.ledger import Ledger, LedgerUnavailable
from tests.ledger.conftest import settings
from tests.ledger.world import World


@pytest.fixture
async def login(server: Postgres, dsn: str) -> AsyncIterator[str]:
    """The way in for a login that is a member of the gateway's group, and of nothing else."""
    owner = await asyncpg.connect(dsn)
    name = f"login_{uuid4().hex}"
    await owner.execute(f"CREATE ROLE {name} LOGIN IN ROLE dialout_gateway")
    yield server.dsn(dsn.split("/")[3].split("?")[0], user=name)
    await owner.execute(f"DROP ROLE {name}")
    await owner.close()


@pytest.fixture
async def limited(login: str) -> AsyncIterator[db.Connection]:
    """A connection with the gateway's rights."""
    connection = await asyncpg.connect(login)
    yield connection
    await connection.close()


async def test_the_gateways_rights_are_enough(login: str, world: World) -> None:
    """A whole call and the check work with no right on any table."""
    await world.add_licence()
    async with db.pool(settings(login)) as pool:
        ledger = Ledger(pool)
        limited_world = replace(world, ledger=ledger)
        _, dial_out = await limited_world.reserve()
        await ledger.claim(dial_out.request.key, "a-gate", dial_out.requested_at)
        await ledger.answered(dial_out.request.key, dial_out.requested_at)
        await limited_world.settle(dial_out.request.key, 5000)

        assert (await limited_world.balance(SourceKind.POOL)).used == 5
        assert await ledger.open_dial_outs() == ()
        assert await ledger.check() == ()


async def test_the_gateway_cannot_make_money(login: str, world: World) -> None:
    """Whoever breaks into it can spend what there is, and grant nothing."""
    async with db.pool(settings(login)) as pool:
        limited_world = replace(world, ledger=Ledger(pool))

        with pytest.raises(LedgerUnavailable, match="credits_add"):
            await limited_world.add_credits(1_000_000)
        with pytest.raises(LedgerUnavailable, match="licence_assign"):
            await limited_world.add_licence()


async def test_no_table_can_be_read_or_written(
    owner: db.Connection, limited: db.Connection
) -> None:
    """A gateway that is taken over can ask for calls, but cannot forge the books."""
    tables = await owner.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'dialout'")

    assert len(tables) == 14
    for [table] in tables:
        for statement in (
            f"SELECT FROM dialout.{table}",
            f"INSERT INTO dialout.{table} DEFAULT VALUES",
            f"DELETE FROM dialout.{table}",
            f"TRUNCATE dialout.{table}",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await limited.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE dialout.mine ()",
        "CREATE FUNCTION dialout.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "UPDATE dialout.balance SET granted = 1",
        "DELETE FROM dialout.open_dial_out",
        "SET ROLE dialout_owner",
        "SELECT dialout.reference_load('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')",
        "SELECT dialout.entry_append(gen_random_uuid(), gen_random_uuid(), 'grant', now(), 9)",
        "SELECT dialout.pool_open(gen_random_uuid(), 'UTC', now())",
        "SELECT dialout.parts_void(gen_random_uuid(), gen_random_uuid(), now(), 'void')",
        "SELECT dialout.parts_settle(gen_random_uuid(), gen_random_uuid(), 1, now())",
        "SELECT dialout.sources_lock(gen_random_uuid(), '{}')",
    ],
)
async def test_there_is_no_way_around_the_functions(limited: db.Connection, statement: str) -> None:
    """The steps of a function are closed on their own: granting minutes to oneself, say."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await limited.execute(statement)


async def test_strangers_have_no_rights_at_all(server: Postgres, dsn: str) -> None:
    """Everybody may execute a new function in PostgreSQL, unless somebody takes it away."""
    owner = await asyncpg.connect(dsn)
    name = f"stranger_{uuid4().hex}"
    await owner.execute(f"CREATE ROLE {name}")
    functions = await owner.fetch(
        """
        SELECT p.oid::regprocedure AS name
        FROM pg_proc AS p
        WHERE
            p.pronamespace = 'dialout'::regnamespace
            AND has_function_privilege($1, p.oid, 'EXECUTE')
        """,
        name,
    )
    usage = await owner.fetchval("SELECT has_schema_privilege($1, 'dialout', 'USAGE')", name)
    await owner.execute(f"DROP ROLE {name}")
    await owner.close()

    assert functions == []
    assert usage is False


async def test_what_runs_with_its_owners_rights_names_its_path(owner: db.Connection) -> None:
    """Else a caller's own schema could put its tables in the place of the ledger's."""
    loose = await owner.fetch(
        """
        SELECT p.oid::regprocedure
        FROM pg_proc AS p
        WHERE
            p.pronamespace = 'dialout'::regnamespace
            AND p.prosecdef
            AND p.proconfig IS DISTINCT FROM ARRAY['search_path=dialout, pg_temp']
        """
    )
    superusers = await owner.fetch(
        """
        SELECT p.oid::regprocedure
        FROM pg_proc AS p
        INNER JOIN pg_roles AS r ON p.proowner = r.oid
        WHERE p.pronamespace = 'dialout'::regnamespace AND (r.rolsuper OR r.rolcanlogin)
        """
    )

    assert loose == []
    assert superusers == []
