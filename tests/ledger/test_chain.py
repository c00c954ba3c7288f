"""The journal is a chain: what is changed, left out, put in or cut off does not go unseen."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.db import Connection
from gateway.ledger import ChainHead, FindingCode, Ledger, Provisioning
from tests.ledger.test_check import disarm
from tests.ledger.world import CREDITS, NOON, World

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)


@pytest.fixture
async def world(ledger: Ledger, provisioning: Provisioning) -> World:
    """Calls of two months; the last of March ends when April has begun."""
    world = await World.create(ledger, provisioning)
    await world.add_credits(10**9)
    await world.settle(await world.released(CREDITS, seconds=600), 90_000)
    late = await world.released(CREDITS, seconds=600)
    await world.reserve(None, CREDITS, seconds=600, at=NOON + timedelta(days=30))
    await world.settle(late, 90_000)
    assert await ledger.check() == ()
    return world


async def test_each_month_is_a_chain_that_hangs_on_the_one_before(
    ledger: Ledger, world: World
) -> None:
    """A call is filed with its first entry: March goes on to grow when April has begun."""
    march, april = await ledger.heads(world.tenant_id)

    assert (march.month, march.number) == (MARCH, 5)
    assert (april.month, april.number) == (APRIL, 1)
    assert await ledger.months(world.tenant_id) == (MARCH, APRIL)
    assert march.summary() == {
        "tenant_id": str(world.tenant_id),
        "month": "2026-03",
        "number": 5,
        "digest": march.digest.hex(),
    }


@pytest.mark.parametrize(
    ("month", "tampering"),
    [
        ("2026-03", "UPDATE dialout.entry SET used_delta = used_delta - 1 WHERE used_delta > 0"),
        ("2026-03", "UPDATE dialout.entry SET at = at + interval '1 microsecond' WHERE number = 2"),
        ("2026-03", "UPDATE dialout.entry SET written_at = now() WHERE number = 5"),
        ("2026-03", "UPDATE dialout.entry SET digest = sha256('') WHERE number = 1"),
        ("2026-03", "DELETE FROM dialout.entry WHERE number = 2 AND filed_at < '2026-04-01Z'"),
        ("2026-03", "DELETE FROM dialout.entry WHERE number = 5"),
        ("2026-03", "DELETE FROM dialout.entry WHERE filed_at < '2026-04-01Z'"),
        ("2026-03", "UPDATE dialout.entry SET number = 9 WHERE number = 5"),
        ("2026-03", "UPDATE dialout.chain SET number = 9 WHERE month < '2026-04-01Z'"),
        ("2026-03", "UPDATE dialout.chain SET digest = sha256('') WHERE month < '2026-04-01Z'"),
        ("2026-04", "UPDATE dialout.chain SET origin = sha256('')"),
        ("2026-04", "DELETE FROM dialout.entry WHERE filed_at >= '2026-04-01Z'"),
        ("2026-04", "DELETE FROM dialout.chain WHERE month >= '2026-04-01Z'"),
        ("2026-04", "UPDATE dialout.entry SET digest = sha256('') WHERE number = 4"),
    ],
)
async def test_a_broken_link_is_found(
    ledger: Ledger, world: World, owner: Connection, month: str, tampering: str
) -> None:
    """Whichever entry it is, and also where the sums still agree."""
    await disarm(owner)

    assert await owner.execute(tampering) not in ("UPDATE 0", "DELETE 0")

    found = await ledger.check(world.tenant_id)
    assert (FindingCode.CHAIN_BROKEN, month) in {(each.check, each.subject) for each in found}


async def test_a_month_that_hangs_on_nothing_is_found(
    ledger: Ledger, world: World, owner: Connection
) -> None:
    """A month that was made anew holds by itself; but the next one hung on what was there."""
    await disarm(owner)
    await owner.execute(
        """
        WITH forged AS (
            UPDATE dialout.entry AS e
            SET digest = dialout.entry_digest(sha256(''), e)
            WHERE e.filed_at >= $1
            RETURNING e.digest
        )

        UPDATE dialout.chain AS c
        SET origin = sha256(''), digest = f.digest
        FROM forged AS f
        WHERE c.month >= $1
        """,
        APRIL,
    )

    [finding] = await ledger.check(world.tenant_id)

    assert finding.check is FindingCode.CHAIN_BROKEN
    assert "joined to none" in finding.detail


async def test_a_history_written_anew_is_seen_by_the_heads_that_were_kept(
    ledger: Ledger, world: World, owner: Connection
) -> None:
    """Whoever may change everything can make a chain that holds. Not one with the old digests."""
    kept = await ledger.heads(world.tenant_id)
    assert await ledger.check_heads(world.tenant_id, kept) == ()

    await world.add_credits(5)
    assert await ledger.check_heads(world.tenant_id, kept) == ()

    await disarm(owner)
    await owner.execute(
        """
        UPDATE dialout.chain AS c SET digest = e.digest, number = e.number
        FROM dialout.entry AS e
        WHERE e.tenant_id = c.tenant_id AND e.number = 4 AND c.month = $1
        """,
        MARCH,
    )
    await owner.execute("DELETE FROM dialout.entry WHERE number > 4 AND filed_at < $1", APRIL)

    [finding] = await ledger.check_heads(world.tenant_id, kept)
    assert finding.check is FindingCode.HEAD_DIFFERS
    assert finding.subject == "2026-03"
    assert "missing" in finding.detail


async def test_a_head_of_another_history_is_seen(ledger: Ledger, world: World) -> None:
    """The number alone proves nothing."""
    [head, _] = await ledger.heads(world.tenant_id)
    forged = ChainHead(
        tenant_id=head.tenant_id, month=head.month, number=head.number, digest=bytes(32)
    )

    [finding] = await ledger.check_heads(world.tenant_id, [forged])

    assert finding.check is FindingCode.HEAD_DIFFERS


async def test_a_month_that_came_late_does_not_break_the_next(ledger: Ledger, world: World) -> None:
    """Credits may be booked with an instant of the past: a month before any, or in between."""
    for at in (NOON - timedelta(days=90), NOON - timedelta(days=300), NOON - timedelta(days=60)):
        await world.add_credits(7, at)

    assert await ledger.check() == ()
