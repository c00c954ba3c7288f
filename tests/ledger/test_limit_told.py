"""What Asterisk is late to hear of is told again, less what has passed."""

import asyncio

import pytest

from gateway import slices
from gateway.core.rating import Seconds
from gateway.ledger import Ledger
from gateway.slices import TELLINGS, PaidCall, Slices
from tests.ami.conftest import Running, link
from tests.ami.scripted_server import ScriptedServer, Session
from tests.ledger.followers import now
from tests.ledger.world import World

LATE_SECONDS = 2.0
"""So late that no busy machine is it by accident."""

CLOCK_MS = 1_763_704_321_000
PAID_SECONDS = 12


@pytest.mark.parametrize(("late", "tellings"), [(0, 1), (1, 2), (9, TELLINGS)])
async def test_a_limit_that_arrived_late_is_told_again(
    world: World, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, late: int, tellings: int
) -> None:
    """The call would be up for longer than is paid for, by as long as that took."""
    monkeypatch.setattr(slices, "LATE_SECONDS", LATE_SECONDS)
    await world.add_licence()
    _, dial_out = await world.reserve()
    moved = asyncio.Event()
    call = PaidCall(
        key=dial_out.request.key,
        leg="leg",
        answered_at_ms=CLOCK_MS,
        slices=1,
        limit_seconds=Seconds(PAID_SECONDS),
        kept_seconds=None,
        more=False,
        warns=False,
        moved=lambda _seconds: moved.set(),
    )
    async with ScriptedServer() as server:
        linked = await link(server, Running(server.port))
        teller = Slices(ami=linked.client, ledger=ledger, now=now, warnings=(), ahead_seconds=0)
        teller.follow(call)
        told = [
            await _told(linked.session, CLOCK_MS + each * 1000, is_late=each < late)
            for each in range(tellings)
        ]
        async with asyncio.timeout(20):
            await moved.wait()
        await teller.close()
        await linked.running.stop()

    assert call.kept_seconds == PAID_SECONDS
    paid_until_ms = CLOCK_MS + PAID_SECONDS * 1000
    assert all(paid_until_ms - LATE_SECONDS * 1000 < until_ms <= paid_until_ms for until_ms in told)


async def _told(session: Session, at_ms: int, *, is_late: bool) -> int:
    """Tell the clock, and hear at once or late until when a call may last; return that."""
    session.answer(await session.asked(), f"Timestamp: {at_ms / 1000:.3f}")
    asked = await session.asked()
    if is_late:
        await asyncio.sleep(LATE_SECONDS)
    session.answer(asked)
    return at_ms + round(float(asked["Timeout"]) * 1000)
