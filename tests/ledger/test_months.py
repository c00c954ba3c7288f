"""The ledger lies in months: made ahead, taken out when they are old, while calls go on."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from gateway import db
from gateway.core.key import DialOutKey
from gateway.db import Connection, Pool
from gateway.ledger import (
    AttachOutcome,
    DetachOutcome,
    FindingCode,
    Ledger,
    LedgerUnavailable,
    Months,
    SettleOutcome,
)
from tests.ledger.conftest import settings
from tests.ledger.world import CREDITS, NOON, World

FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
LATER = datetime(2026, 5, 1, tzinfo=UTC)
TABLES = ("charge", "dial_out", "entry", "part")


@pytest.fixture
async def months(pool: Pool) -> Months:
    """The months, with the owner's rights."""
    return Months(pool, call_seconds_max=20.0)


@pytest.fixture
async def world(world: World, dsn: str) -> World:
    """A call of March that has ended and one of April that has not, sorted into their months."""
    await world.add_credits(10**9)
    ended = await world.released(CREDITS, seconds=600)
    await world.reserve(None, CREDITS, seconds=600, at=NOON + timedelta(days=30))
    await world.settle(ended, 90_000)
    await db.migrate(settings(dsn))
    assert await world.ledger.check() == ()
    return world


async def filed_in(owner: Connection, schema: str, month: str) -> dict[str, int]:
    """Return how many rows the tables of a month have."""
    return {
        table: await owner.fetchval(f"SELECT count(*) FROM {schema}.{table}_{month}")
        for table in TABLES
    }


async def test_a_migration_sorts_what_no_month_was_made_for(
    world: World, owner: Connection
) -> None:
    """An older version filed nothing by the month; and a gateway may have been off for years."""
    assert await filed_in(owner, "dialout", "2026_03") == {
        "charge": 1,
        "dial_out": 1,
        "entry": 3,
        "part": 1,
    }
    assert await world.ledger.months_open(NOON) == ()


async def test_months_are_made_ahead(ledger: Ledger, months: Months) -> None:
    """The first call of a month must not be the one that makes its tables."""
    at = datetime(2131, 12, 31, 23, 59, tzinfo=UTC)

    assert await ledger.months_open(at) == ()
    assert await ledger.months_open(at) == ()

    known = [each.month for each in await months.months()]
    assert known == sorted(known)
    assert known[-4:] == [
        datetime(2131 + (11 + n) // 12, (11 + n) % 12 + 1, 1, tzinfo=UTC) for n in range(4)
    ]


async def test_what_lies_in_no_month_is_told(world: World) -> None:
    """Calls are never refused for it; but somebody must migrate before months can be made."""
    await world.reserve(None, CREDITS, at=LATER)

    assert await world.ledger.months_open(NOON) == ("dial_out", "part", "entry")
    assert await world.ledger.check() == ()


async def test_making_months_gives_way_to_calls(ledger: Ledger, owner: Connection) -> None:
    """It needs a lock that calls hold while they last; it must be the one that gives up."""
    async with owner.transaction():
        await owner.execute("LOCK TABLE dialout.entry_default IN ROW EXCLUSIVE MODE")

        with pytest.raises(LedgerUnavailable, match="lock timeout"):
            await ledger.months_open(datetime(2131, 1, 1, tzinfo=UTC))

    assert await ledger.months_open(datetime(2131, 1, 1, tzinfo=UTC)) == ()


async def test_a_month_is_taken_out_and_the_books_stay_sound(
    world: World, months: Months, owner: Connection
) -> None:
    """Its calls are gone, its sums are carried, and the next month still hangs on it."""
    heads = await world.ledger.heads(world.tenant_id)
    balances = await world.ledger.balances(world.tenant_id)

    assert await months.detach(MARCH, LATER) is DetachOutcome.DETACHED

    assert await world.ledger.check() == ()
    assert await world.ledger.heads(world.tenant_id) == heads
    assert await world.ledger.check_heads(world.tenant_id, heads) == ()
    assert await world.ledger.balances(world.tenant_id) == balances
    assert [each.state for each in await world.ledger.dial_outs(world.tenant_id, MARCH)] == [
        "reserved"
    ]
    assert (await filed_in(owner, "dialout_archive", "2026_03"))["entry"] == 3
    [march] = [each for each in await months.months() if each.month == MARCH]
    assert march.is_detached


async def test_calls_go_on_when_a_month_is_out(world: World, months: Months) -> None:
    """The open one is settled, new ones are filed, credits are bought."""
    await months.detach(MARCH, LATER)

    [open_call] = await world.ledger.open_dial_outs()
    await world.void(open_call.request.key, at=LATER)
    await world.add_credits(5, LATER)
    _, dial_out = await world.reserve(None, CREDITS, at=LATER, gate_uniqueid="ast-1.1")
    outcome, _ = await world.settle(dial_out.request.key, 90_000)

    assert outcome is SettleOutcome.SETTLED
    assert await world.ledger.check() == ()


async def test_a_call_of_a_month_that_is_out_is_unknown(world: World, months: Months) -> None:
    """Nothing can be done to it, and nothing comes back as if it were open."""
    [ended] = [
        each.request.key
        for each in await world.ledger.dial_outs(world.tenant_id, MARCH)
        if each.state == "ended"
    ]
    await months.detach(MARCH, LATER)

    assert await world.ledger.dial_out(ended) is None
    outcome, _ = await world.settle(ended, 90_000)
    assert outcome is SettleOutcome.UNKNOWN_DIAL_OUT


async def test_nothing_is_filed_in_a_month_that_is_out(world: World, months: Months) -> None:
    """It would be in no sum that is carried, and the check could not tell it from a forgery."""
    await months.detach(MARCH, LATER)

    with pytest.raises(asyncpg.CheckViolationError, match="entry_2026_03_is_out"):
        await world.add_credits(5)

    assert await world.ledger.check() == ()


@pytest.mark.parametrize(
    ("month", "at", "outcome"),
    [
        (FEBRUARY, LATER, DetachOutcome.UNKNOWN_MONTH),
        (MARCH, NOON, DetachOutcome.NOT_OVER),
        (MARCH, APRIL - timedelta(seconds=1), DetachOutcome.NOT_OVER),
        (APRIL, LATER, DetachOutcome.NOT_OVER),
        (MARCH, APRIL, DetachOutcome.DETACHED),
    ],
)
async def test_a_month_that_is_needed_stays(
    world: World, months: Months, month: datetime, at: datetime, outcome: DetachOutcome
) -> None:
    """One that is not over, or has one before it that is still in: they go in order."""
    assert await months.detach(month, at) is outcome

    assert await world.ledger.check() == ()


async def test_a_month_with_an_open_call_stays(world: World, months: Months) -> None:
    """Its funds are set aside until it ends, whenever that is."""
    await months.detach(MARCH, LATER)

    assert await months.detach(APRIL, LATER) is DetachOutcome.OPEN_CALLS

    assert len(await world.ledger.open_dial_outs()) == 1


async def test_a_month_can_be_put_back(world: World, months: Months) -> None:
    """Somebody asks for a call of last year; or a month was taken out by mistake."""
    before = await world.ledger.dial_outs(world.tenant_id, MARCH)
    await months.detach(MARCH, LATER)

    assert await months.attach(MARCH) is AttachOutcome.ATTACHED
    assert await months.attach(MARCH) is AttachOutcome.UNKNOWN_MONTH

    assert await world.ledger.dial_outs(world.tenant_id, MARCH) == before
    assert await world.ledger.check() == ()
    await world.add_credits(5)
    assert await months.detach(MARCH, LATER) is DetachOutcome.DETACHED
    assert await world.ledger.check() == ()


async def test_what_is_carried_is_checked(world: World, months: Months, owner: Connection) -> None:
    """A sum that is changed afterwards agrees neither with the source nor with the chain."""
    await months.detach(MARCH, LATER)
    await owner.execute("ALTER TABLE dialout.carry DISABLE TRIGGER USER")
    await owner.execute("UPDATE dialout.carry SET used = used + 1, entries = entries - 1")

    found = {each.check for each in await world.ledger.check()}

    assert found == {FindingCode.TOTALS_DIFFER, FindingCode.CHAIN_BROKEN}


async def test_a_month_is_taken_out_while_calls_go_on(world: World, months: Months) -> None:
    """No call fails or is lost: it is the owner who waits and tries again."""
    await world.ledger.months_open(LATER)
    done = asyncio.Event()
    calls: list[DialOutKey] = []

    async def call() -> None:
        while not done.is_set():
            _, dial_out = await world.reserve(
                None, CREDITS, seconds=60, at=LATER, gate_uniqueid="ast-1.1"
            )
            outcome, _ = await world.settle(dial_out.request.key, 1000)
            assert outcome is SettleOutcome.SETTLED
            calls.append(dial_out.request.key)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(call())
        outcomes = [
            await months.detach(MARCH, LATER),
            await months.attach(MARCH),
            await months.detach(MARCH, LATER),
        ]
        done.set()

    assert outcomes == [
        DetachOutcome.DETACHED,
        AttachOutcome.ATTACHED,
        DetachOutcome.DETACHED,
    ]
    assert len(calls) > 0
    assert await world.ledger.check() == ()
