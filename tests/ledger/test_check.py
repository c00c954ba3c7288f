"""The proof of the books finds each way in which they could be wrong."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from gateway import db
from gateway.core.facts import SourceKind
from gateway.db import Connection
from gateway.ledger import FindingCode, Ledger, Provisioning
from tests.ledger.world import CREDITS, NOON, POOL, World


@pytest.fixture
async def world(ledger: Ledger, provisioning: Provisioning) -> World:
    """Calls that are split over pool and two lots, of one slice and of two, in each state."""
    world = await World.create(ledger, provisioning)
    await world.add_licence()
    await world.add_credits(20_000)
    await world.add_credits(10_000_000)
    await world.reserve(None, POOL, seconds=2000)
    settled, voided = await world.released(), await world.released()
    extended = await world.released(CREDITS, seconds=1800, slice_seconds=300)
    await world.released(seconds=300)
    await world.settle(settled, 1_700_000)
    await world.void(voided)
    await ledger.answered(extended, NOON)
    await ledger.extend(extended, slices=1, at=NOON + timedelta(seconds=270))
    await world.settle(extended, 400_000)
    assert (await world.balance(SourceKind.POOL)).used == 1600
    assert await ledger.check() == ()
    return world


DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "ledger.md"
ENDED = "(SELECT dial_out_id FROM dialout.entry WHERE kind = 'settle' LIMIT 1)"
OPEN = "(SELECT dial_out_id FROM dialout.open_dial_out WHERE state = 'released' LIMIT 1)"


@pytest.mark.parametrize(
    ("finding", "tampering"),
    [
        ("totals_differ", "UPDATE dialout.source SET granted = granted + 1"),
        ("totals_differ", "UPDATE dialout.source SET used = used + 1, granted = granted + 1"),
        ("totals_differ", "UPDATE dialout.source SET reserved = reserved - 1"),
        ("totals_differ", "DELETE FROM dialout.entry WHERE kind = 'grant'"),
        ("overdrawn", "UPDATE dialout.source SET granted = granted - 20000000"),
        ("overdrawn", "UPDATE dialout.source SET used = -1"),
        ("granted_unneeded", "UPDATE dialout.source SET capped = false"),
        ("lots_differ", "UPDATE dialout.credit_grant SET micros = micros + 1"),
        ("lots_differ", "DELETE FROM dialout.credit_grant"),
        (
            "periods_overlap",
            "INSERT INTO dialout.source (tenant_id, kind, unit, benefit_id, valid_from, valid_to)"
            " SELECT tenant_id, kind, unit, benefit_id, valid_from + interval '1 day', valid_to"
            " FROM dialout.source WHERE kind = 'pool'",
        ),
        ("parts_differ", "UPDATE dialout.part SET part = part + 10"),
        ("parts_differ", "UPDATE dialout.part SET seconds = seconds - 1"),
        ("parts_differ", "UPDATE dialout.dial_out SET slices = slices + 1"),
        ("parts_differ", "UPDATE dialout.dial_out SET talk_seconds = talk_seconds + 1"),
        ("parts_differ", "DELETE FROM dialout.part WHERE slice = 2"),
        ("entries_differ", "UPDATE dialout.entry SET reserved_delta = reserved_delta * 2"),
        ("entries_differ", "UPDATE dialout.entry SET used_delta = 1 WHERE kind = 'settle'"),
        ("entries_differ", "DELETE FROM dialout.entry WHERE kind = 'reserve'"),
        (
            "entries_differ",
            "UPDATE dialout.part SET source_id = gen_random_uuid() WHERE kind = 'pool'",
        ),
        ("charge_differs", "UPDATE dialout.part SET micros = micros + 1"),
        ("charge_differs", "UPDATE dialout.charge SET micros = micros + 1"),
        (
            "charge_differs",
            "UPDATE dialout.charge SET micros = micros - 1 WHERE micros > 0",
        ),
        ("charge_differs", "UPDATE dialout.part SET rate.price_micros = 1 WHERE kind = 'credits'"),
        ("billed_differs", "UPDATE dialout.charge SET seconds = seconds + 1"),
        (
            "billed_differs",
            "UPDATE dialout.dial_out SET billable_seconds = 7 WHERE billable_seconds > 7",
        ),
        (
            "billed_differs",
            "UPDATE dialout.part SET to_at = (timestamptz '2026-03-10 12:01:00+00')",
        ),
        ("not_ended", f"DELETE FROM dialout.entry WHERE kind = 'settle' AND dial_out_id = {ENDED}"),
        ("not_ended", "DELETE FROM dialout.entry WHERE kind = 'void'"),
        (
            "ended_early",
            "INSERT INTO dialout.entry SELECT tenant_id, filed_at, 1000 + number, digest,"
            " source_id, 'void', 0, 0, -reserved_delta, dial_out_id, slice, part, at, written_at"
            f" FROM dialout.entry WHERE kind = 'reserve' AND dial_out_id = {OPEN}",
        ),
        ("ended_early", "UPDATE dialout.dial_out SET state = 'answered' WHERE state = 'ended'"),
        ("end_differs", "UPDATE dialout.entry SET kind = 'void' WHERE kind = 'settle'"),
        ("end_differs", "DELETE FROM dialout.charge WHERE part = 1"),
        ("end_differs", "DELETE FROM dialout.charge"),
        ("unfunded", "DELETE FROM dialout.part"),
        ("unfunded", "UPDATE dialout.dial_out SET state = 'refused'"),
        (
            "source_not_valid",
            "UPDATE dialout.source SET valid_from = valid_from - interval '1 year',"
            " valid_to = valid_from WHERE kind = 'pool'",
        ),
        (
            "source_not_valid",
            "UPDATE dialout.source SET valid_from = valid_to - interval '1 day'",
        ),
        ("source_differs", "UPDATE dialout.source SET kind = 'promotion' WHERE kind = 'pool'"),
        ("source_differs", "UPDATE dialout.source SET organizer_id = 'eve@example.com'"),
        ("source_differs", "UPDATE dialout.part SET benefit_id = 'other' WHERE kind = 'pool'"),
        ("astray", "UPDATE dialout.charge SET slice = slice + 10"),
        ("astray", "UPDATE dialout.entry SET part = 9 WHERE part = 1"),
        ("astray", "UPDATE dialout.part SET filed_at = filed_at + interval '1 second'"),
        ("astray", "DELETE FROM dialout.source WHERE kind = 'pool'"),
        (
            "doubled",
            "UPDATE dialout.dial_out SET requested_at = requested_at - interval '1 second',"
            f" dial_out_id = {ENDED} WHERE dial_out_id = {OPEN}",
        ),
    ],
)
async def test_tampering_is_found(
    ledger: Ledger, world: World, owner: Connection, finding: str, tampering: str
) -> None:
    """Constraints and triggers prevent it; if somebody turns them off, the check still tells."""
    await disarm(owner)

    assert await owner.execute(tampering) not in ("UPDATE 0", "DELETE 0", "INSERT 0 0")

    assert finding in {each.check for each in await ledger.check()}
    assert finding in {each.check for each in await ledger.check(world.tenant_id)}


async def test_each_tenants_books_are_its_own(
    ledger: Ledger, world: World, owner: Connection
) -> None:
    """A fault is told of the tenant that has it, and of nobody else."""
    elsewhere = await world.elsewhere()
    await elsewhere.add_licence()
    await elsewhere.reserve(None, POOL)
    await disarm(owner)
    await owner.execute("UPDATE dialout.source SET used = 1 WHERE tenant_id = $1", world.tenant_id)

    findings = await ledger.check()

    assert {finding.tenant_id for finding in findings} == {world.tenant_id}
    assert await ledger.check(elsewhere.tenant_id) == ()
    assert findings[0].summary().keys() == {"tenant_id", "check", "subject", "detail"}


def test_the_codes_are_one_list() -> None:
    """What the functions return, their header and the document explain, and the program knows."""
    texts = {path.stem: path.read_text() for path in (db.SQL / "functions").glob("ledger_check*")}
    explained = re.findall(r"^--   ([a-z_]+) {2,}", texts["ledger_check_month"], re.MULTILINE)
    documented = re.findall(r"^\| `([a-z_]+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    codes = [code.value for code in FindingCode]

    assert explained == codes
    assert [code for code in documented if code in codes] == codes
    for code in codes:
        assert any(f"'{code}'" in text for text in texts.values())


async def disarm(owner: Connection) -> None:
    """Take away triggers, keys and constraints, as somebody with bad intent could."""
    await owner.execute("SET session_replication_role = replica")
    await owner.execute(
        """
        DO $$
        DECLARE
            v_constraint record;
        BEGIN
            FOR v_constraint IN
                SELECT conrelid::regclass AS relation, conname
                FROM pg_constraint
                WHERE
                    contype = 'c' AND connamespace = 'dialout'::regnamespace AND conislocal
                    AND coninhcount = 0
            LOOP
                EXECUTE format(
                    'ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I',
                    v_constraint.relation, v_constraint.conname
                );
            END LOOP;
        END
        $$
        """
    )
