"""Progress of one gateway: what it sees itself, what the ledger says, and who waits for both."""

import asyncio
from contextlib import aclosing, suppress
from datetime import timedelta

import pytest

from gateway.core.progress import Stage
from gateway.db import Connection
from gateway.ledger import Ledger, Provisioning
from gateway.progress import WATCHERS_MAX, Progress
from tests.ledger.world import NOON, World

SECOND = timedelta(seconds=1)


@pytest.fixture
async def world(ledger: Ledger, provisioning: Provisioning) -> World:
    """A tenant with an hour in the pool."""
    world = await World.create(ledger, provisioning)
    await world.add_licence()
    return world


@pytest.fixture
def progress(ledger: Ledger) -> Progress:
    """The progress of a gateway without calls."""
    return Progress(ledger=ledger)


async def test_what_is_told_before_anybody_asks_is_not_missed(
    world: World, progress: Progress
) -> None:
    """The telephone rings milliseconds after the answer that says that it is dialled."""
    _, dial_out = await world.reserve()
    key = dial_out.request.key
    for stage in (Stage.DIALING, Stage.RINGING):
        progress.tell(key, stage, NOON + SECOND)

    async with aclosing(progress.follow(dial_out)) as way:
        told = [await anext(way) for _ in range(3)]

    assert [step and step.stage for step in told] == [Stage.RESERVED, Stage.DIALING, Stage.RINGING]


async def test_without_the_ledger_the_call_is_still_told_of(
    world: World, progress: Progress, owner: Connection
) -> None:
    """Asterisk says what happens, and the end follows when the ledger is back."""
    _, dial_out = await world.reserve()
    key = dial_out.request.key
    await owner.execute("ALTER VIEW dialout.dial_out_record RENAME TO gone")

    async with aclosing(progress.follow(dial_out)) as way:
        first = await anext(way)
        coming = asyncio.create_task(anext(way))
        progress.tell(key, Stage.DIALING, NOON + SECOND)
        second = await coming
        await owner.execute("ALTER VIEW dialout.gone RENAME TO dial_out_record")
        await world.void(key)
        coming = asyncio.create_task(anext(way))
        progress.forget(key)
        last = await coming

    assert [step and step.stage for step in (first, second, last)] == [
        Stage.RESERVED,
        Stage.DIALING,
        Stage.ENDED,
    ]


async def test_a_stage_that_is_told_late_is_left_out(world: World, progress: Progress) -> None:
    """Events of two channels overtake each other; nobody sees an answered telephone ring."""
    _, dial_out = await world.reserve()
    key = dial_out.request.key
    async with aclosing(progress.follow(dial_out)) as way:
        await anext(way)
        progress.tell(key, Stage.ANSWERED, NOON + SECOND)
        second = await anext(way)
        progress.tell(key, Stage.RINGING, NOON + 2 * SECOND)
        progress.tell(key, Stage.JOINED, NOON + 3 * SECOND)
        third = await anext(way)

    assert second is not None
    assert third is not None
    assert (second.stage, third.stage) == (Stage.ANSWERED, Stage.JOINED)


async def test_nothing_is_kept_of_calls_and_watchers_that_have_gone(
    world: World, progress: Progress
) -> None:
    """A gateway runs for months; what each call leaves behind would fill it."""
    _, dial_out = await world.reserve()
    key = dial_out.request.key
    progress.tell(key, Stage.DIALING, NOON + SECOND)
    async with aclosing(progress.follow(dial_out)) as way:
        await anext(way)
    progress.forget(key)

    assert (progress._told, dict(progress._news)) == ({}, {})


async def test_a_closed_one_ends_whoever_waits(world: World, progress: Progress) -> None:
    """What is known is still told; then the stream ends, also for who comes later."""
    _, dial_out = await world.reserve()
    async with aclosing(progress.follow(dial_out)) as way:
        await anext(way)
        coming = asyncio.create_task(anext(way, None))
        await asyncio.sleep(0)
        progress.close()
        assert await coming is None

    assert [step and step.stage async for step in progress.follow(dial_out)] == [Stage.RESERVED]


async def test_the_end_is_waited_for_as_long_as_was_asked(world: World, progress: Progress) -> None:
    """True as soon as it is there; False, and no exception, for a call that goes on."""
    _, dial_out = await world.reserve()
    assert not await progress.until_ended(dial_out, 0.05)

    waiting = asyncio.create_task(progress.until_ended(dial_out, 20.0))
    await world.void(dial_out.request.key)
    progress.forget(dial_out.request.key)

    assert await waiting


def test_places_are_given_back(progress: Progress) -> None:
    """Also by whoever leaves by an exception."""
    for _ in range(2 * WATCHERS_MAX):
        with suppress(ZeroDivisionError), progress.place() as is_free:
            assert is_free
            raise ZeroDivisionError
