"""Where requests wait: how many are decided at once, who waits, and who is turned away when."""

import asyncio
from contextlib import AsyncExitStack
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from gateway.waiting_room import (
    LAG_SECONDS_MAX,
    RETRY_SECONDS_MAX,
    TENANT_REQUESTS_MAX,
    Overloaded,
    WaitingRoom,
)

ONE, OTHER = UUID(int=1), UUID(int=2)
PATIENCE_SECONDS = 5.0


async def enter(
    stack: AsyncExitStack, room: WaitingRoom, tenant: UUID = ONE, patience: float = PATIENCE_SECONDS
) -> None:
    """Take a place, and keep it for as long as ``stack`` is open."""
    await stack.enter_async_context(room.place(tenant, patience_seconds=patience))


async def waits(
    room: WaitingRoom, tenant: UUID = ONE, patience: float = PATIENCE_SECONDS
) -> asyncio.Task[None]:
    """Have somebody ask for a place who has to wait for it; return when it waits."""

    async def pass_through() -> None:
        async with room.place(tenant, patience_seconds=patience):
            pass

    task = asyncio.create_task(pass_through())
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_places_are_given_to_the_oldest_first() -> None:
    """Whoever has waited longest is the next to give up, and would have waited for nothing."""
    room, turns = WaitingRoom(at_once=1), []

    async def ask(number: int) -> None:
        async with room.place(uuid4()):
            turns.append(number)

    async with AsyncExitStack() as held:
        await enter(held, room)
        asking = [asyncio.create_task(ask(number)) for number in range(5)]
        await asyncio.sleep(0)
        assert turns == []
    await asyncio.gather(*asking)

    assert turns == [0, 1, 2, 3, 4]


async def test_a_full_room_turns_the_next_one_away_at_once() -> None:
    """Waiting without a bound is how a slow database becomes a dead gateway."""
    room = WaitingRoom(at_once=1, waiting_max=1)
    async with AsyncExitStack() as held:
        await enter(held, room)
        waiting = await waits(room)
        begun = asyncio.get_running_loop().time()

        with pytest.raises(Overloaded) as refused:
            await enter(held, room, OTHER)

        assert asyncio.get_running_loop().time() - begun < PATIENCE_SECONDS
        assert 1 <= refused.value.retry_seconds <= RETRY_SECONDS_MAX
    await waiting


async def test_one_tenant_neither_decides_nor_waits_in_the_places_of_the_others() -> None:
    """Else one tenant's flood would be an outage of all of them."""
    room = WaitingRoom(at_once=TENANT_REQUESTS_MAX + 1, waiting_max=2)
    async with AsyncExitStack() as held:
        for _ in range(TENANT_REQUESTS_MAX):
            await enter(held, room)
        waiting = await waits(room)
        with pytest.raises(Overloaded):
            await enter(held, room)

        await enter(held, room, OTHER)
        another = await waits(room, OTHER)
    await asyncio.gather(waiting, another)


@pytest.mark.parametrize("at_once", [2, 3, 4, 8])
async def test_one_tenant_does_not_decide_alone_however_few_are_decided(at_once: int) -> None:
    """With few connections, too, a tenant whose rows are locked leaves one to the others."""
    room = WaitingRoom(at_once=at_once)
    async with AsyncExitStack() as held:
        for _ in range(min(TENANT_REQUESTS_MAX, at_once - 1)):
            await enter(held, room, patience=0)
        with pytest.raises(Overloaded):
            await enter(held, room, patience=0)

        await enter(held, room, OTHER, patience=0)


async def test_patience_that_ends_gives_the_place_up() -> None:
    """An answer after that is one that nobody reads, and the next one must not wait for it."""
    room = WaitingRoom(at_once=1, waiting_max=1)
    async with AsyncExitStack() as held:
        await enter(held, room)
        with pytest.raises(Overloaded):
            await enter(held, room, patience=0.02)

    async with AsyncExitStack() as free:
        await enter(free, room, patience=0)


async def test_whoever_would_wait_longer_than_patience_lasts_is_told_at_once() -> None:
    """By how slow the others are, those included that are not ready yet."""
    room = WaitingRoom(at_once=1)
    async with AsyncExitStack() as held:
        await enter(held, room)
        await asyncio.sleep(1.1)
        begun = asyncio.get_running_loop().time()

        with pytest.raises(Overloaded):
            await enter(held, room, patience=1.0)

        assert asyncio.get_running_loop().time() - begun < 1.0


async def test_the_time_to_stay_away_grows_with_those_who_wait() -> None:
    """Else all come back together to a room that is still full."""
    room = WaitingRoom(at_once=1, waiting_max=40)
    async with AsyncExitStack() as held:
        await enter(held, room)
        await asyncio.sleep(0.2)
        crowd = [await waits(room, uuid4(), patience=60.0) for _ in range(20)]

        with pytest.raises(Overloaded) as refused:
            await enter(held, room, patience=0.0)

        assert 4 <= refused.value.retry_seconds <= RETRY_SECONDS_MAX
    await asyncio.gather(*crowd)


async def test_nobody_is_let_in_while_the_gateway_is_late_itself() -> None:
    """What there is of it the calls in progress need; and an answer would come too late."""
    room = WaitingRoom()
    room.note_lag(LAG_SECONDS_MAX + 1.5)
    async with AsyncExitStack() as nobody:
        with pytest.raises(Overloaded) as refused:
            await enter(nobody, room)
        assert refused.value.retry_seconds == 3

        room.note_lag(0.01)
        await enter(nobody, room)


@pytest.mark.parametrize("is_late", [False, True])
async def test_whoever_is_cancelled_in_the_room_takes_no_place_along(*, is_late: bool) -> None:
    """Also in the very moment in which it is its turn: places that leak would shut the gateway."""
    room = WaitingRoom(at_once=1)
    async with AsyncExitStack() as held:
        await enter(held, room)
        waiting = await waits(room)
        if not is_late:
            waiting.cancel()
    if is_late:
        waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()

    async with AsyncExitStack() as free:
        await enter(free, room, patience=0)


async def test_a_crowd_is_logged_once_a_second_with_its_number() -> None:
    """A flood must not fill the log, which has to say what became of the calls."""
    room = WaitingRoom(at_once=1, waiting_max=0)
    async with AsyncExitStack() as held:
        await enter(held, room)
        with capture_logs() as lines:
            for _ in range(50):
                with pytest.raises(Overloaded):
                    await enter(held, room)

    assert [line["event"] for line in lines] == ["requests.overloaded"]
