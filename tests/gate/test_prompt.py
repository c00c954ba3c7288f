"""What somebody hears whose call is refused."""

import asyncio
import re

import pytest

from gateway.core.causes import Disposition
from gateway.core.reasons import Reason
from gateway.lab.telephone import Ear, Telephone, ear_on
from tests.gate.ami_socket import Message
from tests.gate.scene import Scene, new_key, new_number
from tests.gate.test_intercept import refuse

pytestmark = pytest.mark.asyncio(loop_scope="session")

LISTENS = "70"

ANSWERS = {"calling", "gateway_away", "overloaded"}
"""What the gateway says to a number typed in the conference, beside a reason."""

WORDS = {*Reason, *ANSWERS, *(set(Disposition) - {Disposition.ANSWERED})}


async def test_every_word_has_its_prompt(scene: Scene) -> None:
    """A reason without one would be refused in silence, and one too many is never spoken."""
    shown = await scene.asterisk.cli("dialplan show dialout-prompt")

    assert set(re.findall(r"'([a-z_]+)' =>", shown)) == WORDS


async def test_every_prompt_is_heard_on_a_telephone(scene: Scene) -> None:
    """Each of its sounds is there, in a form that this Asterisk can play, and is no silence."""
    async with ear_on(scene.carrier.ear_port) as ear:
        # None hangs up before all have heard: the next would be taken for one that had its port.
        telephones = {word: await _prompted(scene, ear, word) for word in sorted(WORDS)}
        played = await asyncio.gather(*(_heard(scene, Prompt=word) for word in telephones))
        for event in played:
            await scene.hangup(event["Channel"])
            await scene.ended(event["Uniqueid"])

    assert {event["PlaybackStatus"] for event in played} == {"SUCCESS"}
    assert {
        word for word, telephone in telephones.items() if telephone.heard_seconds() < 0.3
    } == set()


async def test_whoever_waits_on_an_answered_channel_hears_the_reason(scene: Scene) -> None:
    """A participant who is in the bridge already sees no cause: only a voice can tell."""
    event = await _waits(scene)

    with scene.nothing_dialled():
        await scene.gateway.send_together(*refuse(event["Channel"], Reason.NUMBER_INVALID))
        heard = await _heard(scene, Uniqueid=event["Uniqueid"])
        hangup = await scene.ended(event["Uniqueid"])

    assert (heard["Prompt"], heard["PlaybackStatus"]) == (Reason.NUMBER_INVALID, "SUCCESS")
    assert hangup["Cause"] == "21"


@pytest.mark.parametrize("reason", ["", "no_such_reason", "s", "../demo-congrats"])
async def test_a_word_that_is_no_reason_is_refused_in_silence(scene: Scene, reason: str) -> None:
    """The refusal stands, whatever the word beside it is."""
    event = await _waits(scene)

    with scene.nothing_dialled():
        await scene.gateway.send_together(*refuse(event["Channel"], reason))
        heard = await _heard(scene, Uniqueid=event["Uniqueid"])
        hangup = await scene.ended(event["Uniqueid"])

    assert heard["PlaybackStatus"] == ""
    assert hangup["Cause"] == "21"


async def _waits(scene: Scene) -> Message:
    """Return the event of a channel that has answered and waits in the intercept."""
    key = new_key()
    await scene.intruder.send(
        ("Action", "Originate"),
        ("Channel", "Local/waits@somebody-else/n"),
        ("Application", "Wait"),
        ("Data", "60"),
        ("Async", "true"),
        ("OtherChannelId", f"{key}-own"),
        ("ChannelId", f"{key}-other"),
        ("Variable", f"SOMEBODY_DIALS={new_number()}"),
    )
    return await scene.gateway.event("UserEvent", Uniqueid=f"{key}-own")


async def _prompted(scene: Scene, ear: Ear, word: str) -> Telephone:
    """Play one prompt to a telephone of its own, and return that telephone as it begins."""
    await scene.gateway.send(
        ("Action", "Originate"),
        ("Channel", f"PJSIP/+{new_number(LISTENS)}@dialout-trunk"),
        ("Context", "somebody-else"),
        ("Exten", f"hears-{word}"),
        ("Priority", "1"),
        ("Async", "true"),
    )
    return await ear.next_telephone()


async def _heard(scene: Scene, **headers: str) -> Message:
    return await scene.gateway.event("UserEvent", 30.0, UserEvent="DialoutHeard", **headers)
