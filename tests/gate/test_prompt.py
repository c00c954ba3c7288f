"""What somebody hears whose call is refused."""

import asyncio
import re

import pytest

from gateway.core.reasons import Reason
from tests.gate.ami_socket import Message
from tests.gate.scene import Scene, new_key, new_number
from tests.gate.test_intercept import refuse

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_every_reason_has_its_prompt(scene: Scene) -> None:
    """A reason without one would be refused in silence, and one too many is never spoken."""
    shown = await scene.asterisk.cli("dialplan show dialout-prompt")

    assert set(re.findall(r"'([a-z_]+)' =>", shown)) == set(Reason)


async def test_every_prompt_can_be_played(scene: Scene) -> None:
    """The sounds that it names are there, in a form that this Asterisk can read."""
    for reason in Reason:
        await scene.intruder.send(
            ("Action", "Originate"),
            ("Channel", f"Local/hears-{reason}@somebody-else/n"),
            ("Application", "Wait"),
            ("Data", "30"),
            ("Async", "true"),
        )

    heard = await asyncio.gather(*(_heard(scene, Prompt=reason) for reason in Reason))

    assert {event["PlaybackStatus"] for event in heard} == {"SUCCESS"}


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


async def _heard(scene: Scene, **headers: str) -> Message:
    return await scene.gateway.event("UserEvent", 20.0, UserEvent="DialoutHeard", **headers)
