"""The proof of the books finds each way in which they could be wrong."""

import pytest

from gateway.core.facts import SourceKind
from gateway.db import Connection
from gateway.ledger import Ledger, Provisioning
from tests.ledger.world import POOL, World


@pytest.fixture
async def world(ledger: Ledger, provisioning: Provisioning) -> World:
    """Four calls, each split over pool and credits or not, in each state."""
    world = await World.create(ledger, provisioning)
    await world.add_licence()
    await world.add_credits(10_000_000)
    await world.reserve(None, POOL, seconds=2000)
    settled, voided = await world.released(), await world.released()
    await world.released(seconds=300)
    await world.settle(settled, 1_700_000)
    await world.void(voided)
    assert (await world.balance(SourceKind.POOL)).used == 1600
    assert await ledger.check() == ()
    return world


ANY_SETTLED = "(SELECT dial_out_id FROM dialout.reservation_end WHERE kind = 'settle' LIMIT 1)"
ANY_VOIDED = "(SELECT dial_out_id FROM dialout.reservation_end WHERE kind = 'void' LIMIT 1)"
ANY_OPEN = "(SELECT dial_out_id FROM dialout.open_dial_out LIMIT 1)"


@pytest.mark.parametrize(
    ("finding", "tampering"),
    [
        ("totals_differ", "UPDATE dialout.source SET granted = granted + 1"),
        ("totals_differ", "UPDATE dialout.source SET used = used + 1, granted = granted + 1"),
        ("totals_differ", "UPDATE dialout.source SET reserved = reserved - 1"),
        ("totals_differ", "DELETE FROM dialout.entry WHERE kind = 'grant'"),
        ("overdrawn", "UPDATE dialout.source SET granted = granted - 20000000"),
        ("overdrawn", "UPDATE dialout.source SET used = -1"),
        ("parts_differ", "UPDATE dialout.reservation SET seconds = seconds + 1"),
        ("parts_differ", "UPDATE dialout.reservation_part SET seconds = seconds + 1"),
        ("parts_differ", "UPDATE dialout.dial_out SET talk_seconds = talk_seconds + 1"),
        ("entries_differ", "UPDATE dialout.entry SET reserved_delta = reserved_delta * 2"),
        ("entries_differ", "UPDATE dialout.entry SET used_delta = 1 WHERE kind = 'settle'"),
        ("entries_differ", "UPDATE dialout.entry SET kind = 'expire' WHERE kind = 'void'"),
        ("entries_differ", "DELETE FROM dialout.entry WHERE kind = 'reserve'"),
        ("charge_differs", "UPDATE dialout.reservation_part SET micros = micros + 1"),
        ("charge_differs", "UPDATE dialout.settlement SET micros = micros + 1"),
        (
            "charge_differs",
            "UPDATE dialout.reservation_part SET rate.price_micros = 1 WHERE rate IS NOT NULL",
        ),
        ("billed_differs", "UPDATE dialout.settlement SET seconds = seconds + 1"),
        (
            "billed_differs",
            "UPDATE dialout.dial_out SET billable_seconds = 7 WHERE billable_seconds > 7",
        ),
        ("not_ended", f"DELETE FROM dialout.reservation_end WHERE dial_out_id = {ANY_SETTLED}"),
        ("not_ended", f"DELETE FROM dialout.reservation_end WHERE dial_out_id = {ANY_VOIDED}"),
        (
            "ended_early",
            "INSERT INTO dialout.reservation_end "
            f"SELECT tenant_id, dial_out_id, slice, 'void', at FROM dialout.reservation "
            f"WHERE dial_out_id = {ANY_OPEN}",
        ),
        ("end_differs", "UPDATE dialout.reservation_end SET kind = 'void'"),
        ("end_differs", "DELETE FROM dialout.settlement"),
        ("unfunded", "DELETE FROM dialout.reservation"),
        ("unfunded", "UPDATE dialout.dial_out SET state = 'refused'"),
    ],
)
async def test_tampering_is_found(
    ledger: Ledger, world: World, owner: Connection, finding: str, tampering: str
) -> None:
    """Constraints and triggers prevent it; if somebody turns them off, the check still tells."""
    await _disarm(owner)

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
    await _disarm(owner)
    await owner.execute("UPDATE dialout.source SET used = 1 WHERE tenant_id = $1", world.tenant_id)

    findings = await ledger.check()

    assert {finding.tenant_id for finding in findings} == {world.tenant_id}
    assert await ledger.check(elsewhere.tenant_id) == ()
    assert findings[0].summary().keys() == {"tenant_id", "check", "subject", "detail"}


async def _disarm(owner: Connection) -> None:
    """Take away triggers, foreign keys and constraints, as somebody with bad intent could."""
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
                WHERE contype = 'c' AND connamespace = 'dialout'::regnamespace
            LOOP
                EXECUTE format(
                    'ALTER TABLE %s DROP CONSTRAINT %I',
                    v_constraint.relation, v_constraint.conname
                );
            END LOOP;
        END
        $$
        """
    )
