"""Endings go into the books in their order, in time, and past those that cannot."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from socket import SOCK_STREAM

import pytest
from structlog.testing import capture_logs

from gateway import db
from gateway.ami import AmiClient
from gateway.core.call import Ending
from gateway.core.causes import Disposition
from gateway.core.dial_out import DialOutState
from gateway.lab.program import free_port
from gateway.ledger import Ledger
from gateway.settlement import TENANT_BOOKINGS_MAX, Settlement, to_ms
from tests.ledger.conftest import settings
from tests.ledger.world import NOON, World, locked, up

CONNECTIONS = TENANT_BOOKINGS_MAX + 1
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.fixture
async def settlement(dsn: str) -> AsyncIterator[Settlement]:
    """What settles on few connections, beside an Asterisk that is not there."""
    few = settings(dsn).apart(CONNECTIONS)
    ami = AmiClient(host="127.0.0.1", port=free_port(SOCK_STREAM), username="a", secret="b")
    async with db.pool(few) as pool:
        yield Settlement(
            ami=ami, ledger=Ledger(pool, call_seconds_max=20.0), now=lambda: datetime.now(UTC)
        )


def after(seconds: int) -> Ending:
    """Return the end of a call that was answered at noon."""
    return Ending(
        disposition=Disposition.ANSWERED,
        hangup_cause=16,
        answered_at_ms=to_ms(NOON),
        ended_at_ms=to_ms(NOON) + seconds * 1000,
        evidence="events",
    )


async def waiting(owner: db.Connection) -> int:
    """Return how many statements wait for a lock; a transaction sees only what it asks for anew."""
    await owner.execute("SELECT pg_stat_clear_snapshot()")
    return int(await owner.fetchval(WAITING))


async def until_waiting(owner: db.Connection) -> None:
    """Return once a statement waits for a lock."""
    async with asyncio.timeout(10):
        while not await waiting(owner):
            await asyncio.sleep(0.01)  # PostgreSQL has no event for it


async def test_a_tenant_that_waits_holds_up_no_other_and_is_told_of(
    world: World, ledger: Ledger, settlement: Settlement, owner: db.Connection
) -> None:
    """One tenant's locked rows must not take the connections by which all the others are billed."""
    await world.add_licence()
    other = await World.create(ledger, world.provisioning)
    await other.add_licence()
    stuck = [await up(world) for _ in range(2 * CONNECTIONS)]
    free = await up(other)

    with capture_logs() as lines:
        async with asyncio.TaskGroup() as tasks, locked(owner, world):
            for key in stuck:
                tasks.create_task(settlement.end(key, after(3)))
            await until_waiting(owner)
            async with asyncio.timeout(20):
                await settlement.end(free, after(5))
                while sum(line["event"] == "settlement.late" for line in lines) < len(stuck):
                    await asyncio.sleep(0.02)

    late = [line["dial_out_id"] for line in lines if line["event"] == "settlement.late"]
    assert sorted(late) == sorted(str(key.dial_out_id) for key in stuck)
    for key, seconds in ((free, 5), *((key, 3) for key in stuck)):
        row = await ledger.dial_out(key)
        assert row is not None
        assert (row.state, row.billable_seconds) == (DialOutState.ENDED, seconds)


async def test_a_call_s_own_steps_are_booked_in_the_order_in_which_they_came(
    world: World, ledger: Ledger, settlement: Settlement, owner: db.Connection
) -> None:
    """An answer that comes after the end of its call is noted of no call."""
    await world.add_licence()
    key = await up(world)
    async with asyncio.TaskGroup() as tasks, locked(owner, world):
        tasks.create_task(settlement.note_answer(key, to_ms(NOON)))
        await until_waiting(owner)
        ending = tasks.create_task(settlement.end(key, after(7)))
        await asyncio.wait({ending}, timeout=0.2)

        assert await waiting(owner) == 1

    row = await ledger.dial_out(key)
    assert row is not None
    assert (row.state, row.answered_at, row.billable_seconds) == (DialOutState.ENDED, NOON, 7)
