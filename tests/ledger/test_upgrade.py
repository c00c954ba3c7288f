"""A database of the version before is migrated with calls up: they end as they were begun."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
from pogo_core.util import migrate as pogo

from gateway import db
from gateway.core.choices import Confirmation
from gateway.core.dial_out import MAIN_BRIDGE
from gateway.core.facts import Sku, SourceKind
from gateway.core.key import DialOutKey
from gateway.core.outage import Outage, OutageKind
from gateway.core.reasons import Reason
from gateway.lab.postgres import Postgres
from gateway.ledger import Claim, Ledger, Reports, RequestOutcome, SettleOutcome
from gateway.ledger.provisioning import Provisioning
from tests.ledger.conftest import TEMPLATE, settings
from tests.ledger.world import NOON, ORGANIZER, POOL, POOL_THEN_CREDITS, World

VERSION_0_1 = Path(__file__).with_name("version_0_1.sql")
TENANT = UUID("10000000-0000-4000-8000-000000000000")
SETTLED, OPEN, REFUSED = (
    DialOutKey(tenant_id=TENANT, dial_out_id=UUID(int=0x4000_8000_0000_0000_0000 + number))
    for number in (1, 2, 3)
)


@pytest.fixture
async def dsn(server: Postgres, tmp_path: Path) -> AsyncIterator[str]:
    """A database that version 0.1 has made and used, and this version has migrated."""
    name = f"test_{uuid4().hex}"
    dsn = await server.create_database(name)
    shutil.copy(db.SQL / "migrations" / "0001_ledger.sql", tmp_path)
    connection = await asyncpg.connect(dsn)
    await connection.execute((db.SQL / "schema.sql").read_text())
    await pogo.apply(connection, tmp_path, schema_name="dialout")
    await connection.execute("SET ROLE dialout_owner")
    await connection.execute(VERSION_0_1.read_text())
    await connection.close()
    await db.migrate(settings(dsn))
    yield dsn
    await server.drop_database(name)


@pytest.fixture
async def world(ledger: Ledger, provisioning: Provisioning) -> World:
    """The tenant of version 0.1, with a rate for what it is asked next."""
    elsewhere = await World.create(ledger, provisioning)
    return replace(elsewhere, tenant_id=TENANT)


async def test_an_open_call_is_claimed_and_settled(ledger: Ledger, world: World) -> None:
    """Somebody waits in the gate while the gateway is replaced; the call is paid for."""
    [dial_out] = await ledger.open_dial_outs()
    assert (dial_out.request.key, dial_out.limit_seconds) == (OPEN, 1800)

    claim = await ledger.claim(OPEN, "ast-1.2", NOON)
    outcome, ended = await world.settle(OPEN, 61_200)

    assert isinstance(claim, Claim)
    assert claim.limit_seconds == 1800
    assert outcome is SettleOutcome.SETTLED
    assert ended is not None
    assert [(part.benefit_id, part.billed_seconds) for part in ended.parts] == [
        ("standard_pool", 62)
    ]
    assert await world.books(SourceKind.POOL) == (3600, 1562, 0, 2038)
    assert await ledger.check() == ()


async def test_what_has_ended_reads_as_before(ledger: Ledger) -> None:
    """A record is for ever; what nobody wrote down then is absent, not made up."""
    settled, refused = await ledger.dial_out(SETTLED), await ledger.dial_out(REFUSED)

    assert settled is not None
    assert (settled.billable_seconds, settled.cost_micros) == (1550, 17_000)
    assert [(part.source, part.benefit_id) for part in settled.parts] == [
        ("pool", "standard_pool"),
        ("credits", None),
    ]
    assert settled.sources == ()
    assert refused is not None
    assert refused.reason is Reason.EMERGENCY_OR_SHORT_CODE
    assert refused.limit_seconds is None
    assert await ledger.check() == ()


async def test_the_pool_in_use_goes_on(ledger: Ledger, world: World) -> None:
    """The month has one source, not a second hour because there is a new version."""
    outcome, dial_out = await world.reserve(None, POOL)

    assert outcome is RequestOutcome.RESERVED
    assert dial_out.talk_seconds == 300
    assert await world.books(SourceKind.POOL) == (3600, 1500, 2100, 0)
    assert await ledger.check() == ()


async def test_the_tenant_can_do_all_that_a_new_one_can(ledger: Ledger, world: World) -> None:
    """It has the default of every choice, and its licence counts for the benefits there are."""
    await world.add_licence(sku=Sku.EXTENDED_DIALOUT_US_CA, valid_from=NOON - timedelta(days=1))

    answer = await ledger.organizer_facts(world.request(), NOON)
    _, dial_out = await world.reserve(
        replace(world.request(), organizer_id=ORGANIZER), POOL_THEN_CREDITS, seconds=360
    )

    assert answer.tenant is not None
    assert answer.organizer is not None
    assert answer.organizer.licences == {Sku.AUDIO_CONFERENCING, Sku.EXTENDED_DIALOUT_US_CA}
    assert [part.seconds for part in dial_out.parts] == [300, 60]
    assert await ledger.check() == ()


async def test_what_is_new_is_as_if_it_had_always_been(ledger: Ledger, world: World) -> None:
    """Calls of before were the only bridge's, and nobody pressed a key; now the default holds."""
    settled = await ledger.dial_out(SETTLED)
    answer = await ledger.organizer_facts(world.request(), NOON)
    _, dial_out = await world.reserve(None, POOL)

    assert settled is not None
    assert (settled.request.bridge, settled.request.meeting_name) == (MAIN_BRIDGE, None)
    assert (settled.confirms, settled.joined_at) == (False, None)
    assert answer.tenant is not None
    assert answer.tenant.choices.confirmation is Confirmation.CALL_ME
    assert dial_out.confirms
    assert await ledger.recent_numbers(TENANT, "bob") == ()


async def test_a_call_of_before_spans_outages_too(ledger: Ledger, pool: db.Pool) -> None:
    """It was proved as calls were then; nobody wrote bounds down, and none are made up."""
    [open_call] = await ledger.open_dial_outs()
    await ledger.claim(OPEN, "ast-1.2", NOON)
    settled = await ledger.dial_out(SETTLED)
    assert settled is not None
    assert settled.ended_at is not None
    outage = Outage(
        outage_id=uuid4(),
        bridge=MAIN_BRIDGE,
        kind=OutageKind.GATEWAY,
        began_at=settled.ended_at,
        ended_at=max(NOON, settled.ended_at),
        detail="stopped",
    )
    await ledger.outage_note(outage)

    found = [call async for call in Reports(pool).gap_calls(outage.outage_id, None)]

    by_id = {call.dial_out_id: call for call in found}
    assert set(by_id) == {SETTLED.dial_out_id, open_call.request.key.dial_out_id}
    before = by_id[SETTLED.dial_out_id]
    assert (before.least_seconds, before.most_seconds, before.unproved) == (None, None, None)
    assert (before.billed_seconds, before.billed_micros) == (1550, 17_000)


async def test_a_month_that_was_taken_out_before_can_be_attached_again(
    server: Postgres, tmp_path: Path
) -> None:
    """It is no part of the table that is migrated, and must come to have the same columns."""
    name = f"test_{uuid4().hex}"
    connection = await asyncpg.connect(await server.create_database(name))
    await connection.execute((db.SQL / "schema.sql").read_text())
    for file in (db.SQL / "migrations").glob("000[1-8]_*.sql"):
        shutil.copy(file, tmp_path)
    await pogo.apply(connection, tmp_path, schema_name="dialout")
    await connection.execute(
        """
        SET ROLE dialout_owner;
        CREATE TABLE dialout_archive.dial_out_2026_03 (LIKE dialout.dial_out INCLUDING ALL);
        RESET ROLE
        """
    )
    await db.migrate(settings(server.dsn(name)))

    live, taken_out = [
        {
            tuple(row)
            for row in await connection.fetch(
                """
                SELECT a.attname, a.atttypid::regtype::text, a.attnotnull
                FROM pg_attribute AS a
                WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped
                UNION ALL
                SELECT c.conname, pg_get_constraintdef(c.oid), null
                FROM pg_constraint AS c
                WHERE c.conrelid = $1::regclass AND c.contype = 'c'
                """,
                table,
            )
        }
        for table in ("dialout.dial_out", "dialout_archive.dial_out_2026_03")
    ]
    await connection.close()
    await server.drop_database(name)

    assert taken_out == live
    assert [row for row in live if "NOT VALID" in row[1]] == []


@pytest.mark.parametrize(
    "of_everything",
    [
        """
        SELECT p.oid::regprocedure::text, pg_get_function_result(p.oid), p.prosrc, p.prosecdef
        FROM pg_proc AS p
        WHERE p.pronamespace = 'dialout'::regnamespace
        """,
        """
        SELECT c.relname, c.relkind::text, a.attname, a.atttypid::regtype::text, a.attnotnull
        FROM pg_class AS c
        INNER JOIN pg_attribute AS a ON c.oid = a.attrelid
        WHERE
            c.relnamespace = 'dialout'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
            AND NOT c.relispartition
        """,
        """
        SELECT c.conrelid::regclass::text, c.conname, pg_get_constraintdef(c.oid)
        FROM pg_constraint AS c
        LEFT JOIN pg_class AS t ON c.conrelid = t.oid
        WHERE
            c.connamespace = 'dialout'::regnamespace AND c.contype <> 'n'
            AND t.relispartition IS NOT true
        """,
        """
        SELECT g.table_name, g.grantee, g.privilege_type
        FROM information_schema.table_privileges AS g
        INNER JOIN pg_class AS t ON g.table_name = t.relname
        WHERE
            g.table_schema = 'dialout' AND t.relnamespace = 'dialout'::regnamespace
            AND NOT t.relispartition
        """,
        """
        SELECT p.oid::regprocedure::text, coalesce(p.proacl::text, '')
        FROM pg_proc AS p
        WHERE p.pronamespace = 'dialout'::regnamespace
        """,
    ],
    ids=["functions", "columns", "constraints", "rights", "execute"],
)
async def test_nothing_is_left_of_the_version_before(
    server: Postgres, owner: db.Connection, of_everything: str
) -> None:
    """An old function beside the new one of its name would still take calls by the old rules.

    Which months there are depends on the calls that there were.
    """
    name = f"test_{uuid4().hex}"
    fresh = await asyncpg.connect(await server.create_database(name, TEMPLATE))
    expected = {tuple(row) for row in await fresh.fetch(of_everything)}
    await fresh.close()
    await server.drop_database(name)

    found = {tuple(row) for row in await owner.fetch(of_everything)}

    assert found == expected


async def test_a_deck_holds_what_it_held(owner: db.Connection) -> None:
    """At each instant the prices of then, also where there was none: versions came later."""
    found = await owner.fetch(
        """
        SELECT d.day, n.number, r.price_micros, r.connect_fee_micros
        FROM
            unnest(ARRAY['2025-03-09', '2025-03-10', '2025-12-31', '2026-01-01', '2027-01-01'])
                WITH ORDINALITY AS d (day, place),
            unnest(ARRAY['+4420', '+4930']) AS n (number),
            LATERAL dialout.rate_at(1, n.number, (d.day || ' UTC')::timestamptz) AS r
        ORDER BY d.place, n.number
        """
    )

    assert [tuple(row) for row in found] == [
        ("2025-03-10", "+4420", 10_000, 0),
        ("2025-03-10", "+4930", 20_000, 0),
        ("2025-12-31", "+4420", 10_000, 0),
        ("2025-12-31", "+4930", 20_000, 0),
        ("2026-01-01", "+4420", 30_000, 500),
    ]
    rates = await owner.fetchval(
        "SELECT array_agg(rates ORDER BY starts_at) FROM dialout.rate_version WHERE deck_id = 1"
    )
    assert rates == [2, 1, 0]
