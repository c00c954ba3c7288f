"""A released channel dials exactly what the verdict says, for exactly as long."""

import asyncio
import time

import pytest

from tests.gate.conftest import caught_up
from tests.gate.scene import CALLER, Scene, milliseconds_between, new_number

pytestmark = pytest.mark.asyncio(loop_scope="session")

LIMITS_MS = (1000, 1500, 2000, 2500, 3000)


async def test_a_release_dials_the_number_once(scene: Scene) -> None:
    """One INVITE, with the number and the caller id of the verdict and nobody else's.

    It is also the proof that the counting by which other tests see "not dialled" works.
    """
    number = new_number()

    visit, _ = await scene.connect(number)
    await scene.hangup(visit.channel)
    await scene.ended(visit.uniqueid)

    invites = scene.invites_to(number)
    assert [(invite.number, invite.caller) for invite in invites] == [(f"+{number}", CALLER)]


async def test_the_telephone_joins_the_conference(scene: Scene) -> None:
    """The conference's half joins the room of the call after the answer, and no other room."""
    visit, _ = await scene.connect(new_number())

    join = await scene.intruder.event("ConfbridgeJoin", Uniqueid=f"{visit.key}-join")

    assert join["Conference"] == f"room-{visit.key[:8]}"
    await scene.hangup(visit.channel)
    await scene.ended(visit.uniqueid)


async def test_nobody_joins_before_the_telephone_answers(scene: Scene) -> None:
    """A call that only rings never shows up in the conference: nobody should hear it ring."""
    visit = await scene.reach_gate()
    await scene.release(visit, scene.allow(visit, new_number("80")))
    await scene.gateway.event("DialState", Uniqueid=visit.uniqueid, DialStatus="RINGING")
    await asyncio.sleep(1)

    await scene.hangup(visit.channel)
    await scene.ended(f"{visit.key}-join")
    await caught_up(scene.intruder)

    joined = [event for event in scene.intruder.events if event["Event"] == "ConfbridgeJoin"]
    assert joined == []


async def test_the_limit_cuts_the_call_to_the_tenth_of_a_second(scene: Scene) -> None:
    """What was reserved is what can be talked: the limit counts from the answer on."""

    async def late_ms(talk_ms: int) -> float:
        _, answer = await scene.connect(new_number(), talk_ms=str(talk_ms))
        hangup = await scene.ended(answer["DestUniqueid"])
        return milliseconds_between(answer, hangup) - talk_ms

    late = await asyncio.gather(*map(late_ms, LIMITS_MS))

    # A busy machine is later now and then.
    assert min(late, key=abs) == pytest.approx(0, abs=100)
    assert all(-100 <= each < 1000 for each in late), late


async def test_the_cap_ends_a_call_that_the_limit_would_not(scene: Scene) -> None:
    """The second limit counts from the release, so a call that rings for long is bounded too."""
    visit = await scene.reach_gate()
    verdict = scene.allow(visit, new_number("80"), cap="6")
    released_at = time.time()
    await scene.release(visit, verdict)
    await scene.gateway.event("DialBegin", Uniqueid=visit.uniqueid)

    hangup = await scene.ended(visit.uniqueid)

    # It would have rung for thirty.
    assert 6 <= float(hangup["Timestamp"]) - released_at < 15


async def test_a_redirection_is_not_followed(scene: Scene) -> None:
    """A 302 would let the far end choose a number that nobody decided on and nobody pays for."""
    number = new_number("02")
    visit = await scene.reach_gate()
    before = len(scene.carrier.invites())

    await scene.release(visit, scene.allow(visit, number))
    await scene.ended(visit.uniqueid)

    assert [invite.number for invite in scene.carrier.invites()[before:]] == [f"+{number}"]


async def test_keys_pressed_during_a_call_do_nothing(scene: Scene) -> None:
    """No feature code transfers, parks or ends the call, from either side.

    A transfer would be a second way to the trunk, which no gate guards.
    """
    # Only the test can press keys: the module that does it is not part of the configuration.
    await scene.asterisk.cli("module load app_senddtmf.so")

    async def press(side: str) -> float:
        visit, answer = await scene.connect(new_number(), talk_ms="3000")
        channel = answer["DestChannel"] if side == "telephone" else visit.channel
        for digit in "#1*1*0**#*8":
            reply = await scene.digit(channel, digit)
            assert reply["Response"] == "Success"
        return milliseconds_between(answer, await scene.ended(answer["DestUniqueid"]))

    before = len(scene.carrier.invites())
    talked = await asyncio.gather(press("telephone"), press("conference"))

    assert all(2900 <= each < 4000 for each in talked), talked
    assert len(scene.carrier.invites()) == before + 2


async def test_the_only_dial_to_the_trunk_has_no_features(scene: Scene) -> None:
    """There is one Dial() in all of the dialplan, and of its options only `i` and `L` are there."""
    dialplan = await scene.asterisk.cli("dialplan show")

    dials = [line for line in dialplan.splitlines() if "Dial(" in line]

    assert len(dials) == 1
    assert "@dialout-trunk,${DIALOUT_RING_SECONDS},iL(${DIALOUT_TALK_MS}))" in dials[0]


async def test_a_channel_that_waits_says_on_which_visit(scene: Scene) -> None:
    """Another gateway answers only who waits: the visit can be read then, and never later."""
    visit = await scene.reach_gate()

    waiting = await scene.visit(visit)
    await scene.release(visit, scene.allow(visit, new_number("80")))
    await scene.gateway.event("DialBegin", Uniqueid=visit.uniqueid)
    dialing = await scene.visit(visit)
    await scene.hangup(visit.channel)
    await scene.ended(visit.uniqueid)

    assert (waiting, dialing) == (visit.visit, "")
