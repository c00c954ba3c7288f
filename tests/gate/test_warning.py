"""Before a call is cut its callee is told, and nobody else; without a gateway, too."""

import asyncio
import time

import pytest

from gateway.lab.telephone import Ear, Telephone, ear_on
from gateway.slices import WARNING_CHANNEL
from tests.gate.scene import Scene, Visit, milliseconds_between, new_key, new_number

pytestmark = pytest.mark.asyncio(loop_scope="session")

LISTENS = "70"

LATE_SECONDS_MAX = 1.5
"""How late a warning may begin: the whisper has to be set up, and its sound has a beginning."""


async def call(
    scene: Scene, ear: Ear, room: str | None = None, **terms: str
) -> tuple[Visit, str, float, Telephone]:
    """Connect a telephone that listens; return its visit, leg, instant of answer and ear.

    It is in a conference of its own unless a ``room`` is named.
    """
    visit, answer = await scene.connect(new_number(LISTENS), room=room, **terms)
    telephone = await ear.next_telephone()
    return visit, answer["DestUniqueid"], float(answer["Timestamp"]), telephone


def assert_heard(telephone: Telephone, instants: list[float]) -> None:
    """Insist that so many things were said, each begun at its instant or hardly later."""
    late = [heard - at for heard, at in zip(telephone.heard_at(), instants, strict=True)]
    assert all(0 <= seconds <= LATE_SECONDS_MAX for seconds in late), late


async def test_the_callee_alone_is_warned(scene: Scene) -> None:
    """Another telephone hears nothing of it, though it hears what is said in their conference.

    After the Originate nothing is asked of Asterisk any more: a gateway that dies then is
    not missed. The call is cut on time all the same.
    """
    room = f"warnings-{new_key()[:8]}"
    async with ear_on(scene.carrier.ear_port) as ear:
        visit, leg, answered_at, warned = await call(scene, ear, room, talk_ms="10000")
        other, _, _, unwarned = await call(scene, ear, room)
        for each in (visit, other):
            joined = await scene.intruder.event("ConfbridgeJoin", Uniqueid=f"{each.key}-join")
            assert joined["Conference"] == room
        await scene.warn(visit, leg, "7-3")
        hangup = await scene.ended(leg)
        heard_meanwhile = unwarned.heard_at()
        speaker = await scene.say_in(room)
        await unwarned.hears()
        await scene.hangup(speaker)
        await scene.hangup(other.channel)
        await scene.ended(other.uniqueid)

    assert_heard(warned, [answered_at + 3, answered_at + 7])
    assert heard_meanwhile == []
    assert 9.9 <= float(hangup["Timestamp"]) - answered_at < 12


async def test_a_warning_follows_the_limit_when_it_is_moved(scene: Scene) -> None:
    """Extended before the first: not a word. Extended after it: the same warning is due again."""
    async with ear_on(scene.carrier.ear_port) as ear:
        visit, leg, answered_at, telephone = await call(scene, ear, talk_ms="5000")
        await scene.warn(visit, leg, "3")
        await scene.move_limit(leg, answered_at + 8 - time.time())
        await _until(answered_at + 6.5)
        await scene.move_limit(leg, answered_at + 12 - time.time())
        await scene.ended(leg)

    assert_heard(telephone, [answered_at + 5, answered_at + 9])


async def test_a_warning_that_lies_before_the_answer_is_left_out(scene: Scene) -> None:
    """A call of three seconds is not told that it has a minute."""
    async with ear_on(scene.carrier.ear_port) as ear:
        visit, leg, answered_at, telephone = await call(scene, ear, talk_ms="4000")
        await scene.warn(visit, leg, "60-2")
        await scene.ended(leg)

    assert_heard(telephone, [answered_at + 2])


async def test_what_warns_ends_with_the_call(scene: Scene) -> None:
    """Hung up long before its limit, a call leaves nothing behind for longer than ten seconds."""
    visit, answer = await scene.connect(new_number(), talk_ms="3600000", cap="3700")
    await scene.warn(visit, answer["DestUniqueid"], "60-10")
    await scene.intruder.event("LocalBridge", LocalTwoUniqueid=f"{visit.key}-warning")

    await scene.hangup(visit.channel)
    hangup = await scene.ended(visit.uniqueid)
    last = await scene.ended(f"{visit.key}-warning")

    assert milliseconds_between(hangup, last) < 15_000


async def test_a_call_is_accompanied_once(scene: Scene) -> None:
    """Two gateways, or one that was restarted, ask for the same channels: the second gets none."""
    async with ear_on(scene.carrier.ear_port) as ear:
        visit, leg, answered_at, telephone = await call(scene, ear, talk_ms="5000")
        for _ in range(2):
            await scene.warn(visit, leg, "3")
        await scene.ended(leg)

    assert_heard(telephone, [answered_at + 2])


@pytest.mark.parametrize(
    ("leg", "warnings"),
    [
        ("", "60-10"),
        ("no-such-leg", "60-10"),
        ("${GLOBAL(DIALOUT_HEARTBEAT)}", "60-10"),
        ("x)", "60-10"),
        ("no-such-leg", "-1--x"),
    ],
)
async def test_without_a_leg_there_is_nothing_to_warn_of(
    scene: Scene, leg: str, warnings: str
) -> None:
    """Whoever may originate gets no more out of it than two channels that end at once."""
    key = new_key()

    with scene.nothing_dialled():
        await scene.intruder.send(
            ("Action", "Originate"),
            ("Channel", WARNING_CHANNEL),
            ("Application", "Wait"),
            ("Data", "5"),
            ("Async", "true"),
            ("ChannelId", f"{key}-warned"),
            ("OtherChannelId", f"{key}-warning"),
            ("Variable", f"DIALOUT_LEG={leg}"),
            ("Variable", f"DIALOUT_WARNINGS={warnings}"),
        )
        begun = await scene.intruder.event("Newchannel", Uniqueid=f"{key}-warning")
        hangup = await scene.ended(f"{key}-warning")

    # Whoever waited for a leg would do so for ten seconds.
    assert milliseconds_between(begun, hangup) < 4000
    assert hangup["Cause"] in ("0", "16")


async def _until(at: float) -> None:
    """Wait for an instant of the call, which goes by the clock of Asterisk's host: this one."""
    await asyncio.sleep(at - time.time())
