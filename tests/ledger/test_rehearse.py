"""A rehearsal tells what a call would be answered, and leaves no trace of having asked."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
import pytest

from gateway.core.choices import Choices, Exhaustion
from gateway.core.facts import Sku, SourceKind
from gateway.core.rating import Seconds
from gateway.core.reasons import Reason
from gateway.core.waterfall import Source
from gateway.db import Connection
from gateway.ledger import Ledger
from gateway.ledger.answers import Rehearsal
from tests.ledger.world import (
    ACTOR,
    CREDITS,
    LONDON,
    NOON,
    ORGANIZER,
    POOL,
    POOL_THEN_CREDITS,
    TERMS,
    World,
)

UNLIMITED = (Source(kind=SourceKind.PROMOTION, benefit_id="complimentary_2018"),)
ADDON = (Source(kind=SourceKind.ADDON, benefit_id="extended_dialout_us_ca"),)
LONG_AGO = datetime(2017, 1, 1, tzinfo=UTC)
IN_MAY_2018 = datetime(2018, 5, 15, tzinfo=UTC)

REHEARSE = """
    SELECT * FROM dialout.rehearse(
        $1, $2, 'room-1', '{pool}', '{standard_pool}', null,
        1800, 60, 300, '+442079460123', 'GB', $3, true, null
    )
"""


@pytest.fixture
async def world(world: World) -> World:
    """An organizer with every licence, in a tenant with an hour of minutes and some credits."""
    for sku in (Sku.AUDIO_CONFERENCING, Sku.EXTENDED_DIALOUT_US_CA):
        await world.add_licence(sku=sku, valid_from=LONG_AGO)
    await world.add_credits(100_000)
    return world


@pytest.mark.parametrize(
    ("sources", "seconds", "at"),
    [
        (POOL, 1800, NOON),
        (POOL, 5000, NOON),
        (POOL_THEN_CREDITS, 3660, NOON),
        (CREDITS, 1800, NOON),
        ((*ADDON, *POOL_THEN_CREDITS), 86_400, NOON),
        ((*UNLIMITED, *CREDITS), 1800, IN_MAY_2018),
    ],
)
async def test_a_rehearsal_is_what_the_call_then_gets(
    ledger: Ledger, world: World, sources: tuple[Source, ...], seconds: int, at: datetime
) -> None:
    """An explanation that differs from the answer is worse than none."""
    rehearsal = await _rehearse(world, sources, seconds=seconds, at=at)

    _, dial_out = await world.reserve(None, sources, seconds=seconds, at=at)

    assert dial_out.reason is None
    assert rehearsal == Rehearsal(
        reason=None,
        talk_seconds=dial_out.talk_seconds,
        limit_seconds=dial_out.limit_seconds,
        sources=dial_out.sources,
    )
    assert await ledger.check() == ()


async def test_a_refusal_is_rehearsed_with_what_there_was(world: World) -> None:
    """Who asks beforehand whether the funds are enough learns why they are not."""
    await world.reserve(None, POOL, seconds=3570)

    rehearsal = await _rehearse(world, POOL)
    _, refused = await world.reserve(None, POOL)

    assert rehearsal.reason is refused.reason is Reason.POOL_EXHAUSTED
    assert (rehearsal.talk_seconds, rehearsal.limit_seconds) == (None, None)
    assert rehearsal.sources == refused.sources
    assert [each.free for each in rehearsal.sources] == [30]


async def test_a_call_that_may_finish_is_rehearsed_with_its_limit(world: World) -> None:
    """What is paid and how long it may last are two things, and both are told."""
    async with world.provisioning.change(actor=ACTOR) as change:
        await change.policy_put(world.tenant_id, Choices(on_exhaustion=Exhaustion.FINISH), NOON)

    rehearsal = await _rehearse(world, POOL, seconds=5000)

    assert (rehearsal.talk_seconds, rehearsal.limit_seconds) == (3600, 5000)


@pytest.mark.parametrize("sources", [POOL_THEN_CREDITS, (*ADDON, *POOL)])
async def test_nothing_stays_behind(
    world: World, owner: Connection, sources: tuple[Source, ...]
) -> None:
    """Neither a dial-out nor an opened month nor an entry: it was only a question."""
    before = await _contents(owner)

    await _rehearse(world, sources)
    await _rehearse(world, sources, seconds=86_400, seconds_min=86_400)

    assert await _contents(owner) == before


async def test_no_lock_outlives_it(world: World, owner: Connection, dsn: str) -> None:
    """A replay rehearses a month of calls in one transaction; the tenant's calls go on."""
    await world.reserve()
    other = await asyncpg.connect(dsn)

    async with owner.transaction():
        await owner.fetchrow(REHEARSE, world.tenant_id, ORGANIZER, NOON)
        tenants = await other.fetch("SELECT FROM dialout.tenant FOR UPDATE NOWAIT")
        sources = await other.fetch("SELECT FROM dialout.source FOR UPDATE NOWAIT")
    await other.close()

    assert (len(tenants), len(sources)) == (1, 2)


async def test_the_gateway_may_rehearse(world: World, owner: Connection) -> None:
    """It needs no right on any table, as for a call."""
    await owner.execute("SET ROLE dialout_gateway")

    found = await owner.fetchrow(REHEARSE, world.tenant_id, ORGANIZER, NOON)

    assert found is not None
    assert (found["outcome"], found["talk_seconds"]) == ("reserved", 300)


async def test_a_bug_is_an_error_as_in_a_call(world: World) -> None:
    """A dry run that swallows errors would answer what no call gets."""
    with pytest.raises(asyncpg.NoDataFoundError):
        await _rehearse(replace(world, tenant_id=uuid4()), POOL)
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await _rehearse(world, POOL, seconds=60, seconds_min=61)
    with pytest.raises(asyncpg.NoDataFoundError):
        await _rehearse(world, UNLIMITED)


async def _rehearse(
    world: World,
    sources: tuple[Source, ...],
    *,
    seconds: int = 1800,
    seconds_min: int = 60,
    at: datetime = NOON,
) -> Rehearsal:
    terms = replace(TERMS, talk_seconds_max=Seconds(seconds), talk_seconds_min=Seconds(seconds_min))
    return await world.ledger.rehearse(
        world.tenant_id, ORGANIZER, "room-1", LONDON, sources, world.rate, terms, at
    )


async def _contents(owner: Connection) -> dict[str, list[asyncpg.Record]]:
    """Return every row of every table."""
    tables = await owner.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'dialout'")
    return {
        table: await owner.fetch(f"SELECT t::text FROM dialout.{table} AS t ORDER BY 1")
        for [table] in tables
    }
