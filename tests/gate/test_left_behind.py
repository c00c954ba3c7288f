"""A callee hears why his call is about to be dropped, and how soon; nobody else does."""

import pytest

from gateway.core.attendance import DropReason
from gateway.lab.telephone import ear_on
from tests.gate.scene import Scene, new_number

pytestmark = pytest.mark.asyncio(loop_scope="session")

LISTENS = "70"
SOON_SECONDS = 5.0


@pytest.mark.parametrize("reason", list(DropReason))
async def test_the_callee_alone_hears_it(scene: Scene, reason: DropReason) -> None:
    """Every reason has its words, said to the end; the other telephone in the room hears none."""
    room = f"DIALOUT_CONFERENCE=left-{reason}"
    async with ear_on(scene.carrier.ear_port) as ear:
        visit, answer = await scene.connect(new_number(LISTENS), room)
        callee = await ear.next_telephone()
        other, _ = await scene.connect(new_number(LISTENS), room)
        bystander = await ear.next_telephone()
        begun = await whisper(scene, visit.key, answer["DestUniqueid"], reason)
        said = await scene.ended(f"{visit.key}-tells")
        for each in (visit, other):
            await scene.hangup(each.channel)
            await scene.ended(each.uniqueid)

    [heard_at] = callee.heard_at()
    assert 0 <= heard_at - begun <= SOON_SECONDS
    assert callee.loud_at[-1] == pytest.approx(float(said["Timestamp"]), abs=1.0)
    assert bystander.packets > 50
    assert bystander.heard_at() == []


async def test_it_is_said_once_at_a_time(scene: Scene) -> None:
    """Two gateways that guard one bridge ask for the same channels: the second gets none."""
    async with ear_on(scene.carrier.ear_port) as ear:
        visit, answer = await scene.connect(new_number(LISTENS))
        callee = await ear.next_telephone()
        for _ in range(2):
            await whisper(scene, visit.key, answer["DestUniqueid"], DropReason.ALONE)
        await scene.ended(f"{visit.key}-tells")
        await scene.hangup(visit.channel)
        await scene.ended(visit.uniqueid)

    assert len(callee.heard_at()) == 1


async def whisper(scene: Scene, key: str, leg: str, reason: str) -> float:
    """Ask as the gateway does; return when, by the clock of Asterisk's host."""
    pong = await scene.gateway.send(("Action", "Ping"))
    await scene.gateway.send(
        ("Action", "Originate"),
        ("Channel", f"Local/{reason}@dialout-warning/n"),
        ("Application", "ChanSpy"),
        ("Data", f"{leg},uqESW"),
        ("Async", "true"),
        ("Timeout", "10000"),
        ("ChannelId", f"{key}-told"),
        ("OtherChannelId", f"{key}-tells"),
        ("Variable", "DIALOUT_WARNINGS=60"),
    )
    return float(pong["Timestamp"])
