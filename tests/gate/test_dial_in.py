"""A telephone that calls in comes in by the gateway's answer to its own visit, and no other way.

The callers are Local channels, which wait like any that the carrier brings.
"""

import asyncio
from dataclasses import dataclass
from uuid import uuid4

import pytest

from tests.gate.ami_socket import AmiSocket, Message
from tests.gate.conftest import caught_up
from tests.gate.scene import Scene, milliseconds_between, new_key

pytestmark = pytest.mark.asyncio(loop_scope="session")

TENANT = "0b0c2f4e-6c1d-4d0c-9d8e-0a7d52a3f1c5"
TOLL = "DIALOUT_TOLL=1"
CAUSE_REFUSED = "21"
ANSWER_MS_MIN = 2500
"""Who has waited for less has not waited for the gateway until the end: that is three seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """A telephone that has called in, and the conference that it is to join."""

    uniqueid: str
    room: str
    channel: str
    visit: str
    asked: Message


async def call_in(scene: Scene, *variables: str, room: str, number: str = "+442079460000") -> str:
    """Have a telephone call in; return the uniqueid of its channel."""
    mark = uuid4().hex
    named = {
        "DIALOUT_TENANT": TENANT,
        "DIALOUT_ORGANIZER": "pam",
        "DIALOUT_CONFERENCE": room,
        **dict(each.split("=", 1) for each in variables),
    }
    await scene.intruder.send(
        ("Action", "Originate"),
        ("Channel", f"Local/{number}@dialout-dial-in/n"),
        ("Application", "Wait"),
        ("Data", "60"),
        ("Async", "true"),
        ("ChannelId", f"{mark}-caller"),
        ("OtherChannelId", f"{mark}-leg"),
        *(("Variable", f"{name}={value}") for name, value in named.items()),
    )
    return f"{mark}-leg"


async def waits(scene: Scene, *variables: str) -> Leg:
    """Have a telephone call in, and return it as it waits for an answer."""
    room = f"room-{uuid4().hex[:8]}"
    uniqueid = await call_in(scene, *variables, room=room)
    event = await scene.gateway.event("UserEvent", UserEvent="DialoutDialIn", Uniqueid=uniqueid)
    assert event["Number"] == "+442079460000"
    assert (event["Tenant"], event["Organizer"], event["Conference"]) == (TENANT, "pam", room)
    return Leg(
        uniqueid=uniqueid,
        room=room,
        channel=event["Channel"],
        visit=event["Visit"],
        asked=event,
    )


async def answer(scene: Scene, leg: Leg, text: str) -> None:
    """Answer as the gateway does."""
    await scene.gateway.send(
        ("Action", "Setvar"),
        ("Channel", leg.channel),
        ("Variable", "DIALOUT_OUTCOME"),
        ("Value", text),
    )


async def variable(scene: Scene, leg: Leg, name: str) -> str:
    """Return a variable of a leg, as the gateway reads it."""
    read = await scene.gateway.send(
        ("Action", "Getvar"), ("Channel", leg.uniqueid), ("Variable", name)
    )
    return read["Value"]


async def joined(scene: Scene, room: str) -> Message:
    """Return the event of somebody coming into a conference."""
    return await scene.intruder.event("ConfbridgeJoin", Conference=room)


async def has_joined(scene: Scene, room: str) -> bool:
    """Return whether anybody has ever come into a conference."""
    await caught_up(scene.intruder)
    return any(
        each["Event"] == "ConfbridgeJoin" and each["Conference"] == room
        for each in scene.intruder.events
    )


async def ends(by: AmiSocket, uniqueid: str) -> str:
    """Return the cause with which a channel ends."""
    return (await by.event("Hangup", Uniqueid=uniqueid))["Cause"]


async def test_a_leg_is_let_in_metered_for_so_long(scene: Scene) -> None:
    """What it is charged begins then, is cut at the limit, and is kept in a record."""
    leg, key = await waits(scene), new_key()
    await answer(scene, leg, f"{leg.visit}:admit:{key}:2000")
    admitted = await scene.gateway.event("UserEvent", UserEvent="DialoutAdmitted", Key=key)
    await joined(scene, leg.room)
    hangup = await scene.gateway.event("Hangup", Uniqueid=leg.uniqueid)
    record = await scene.asterisk.cli(f"database get dialout/ended {key}")
    uniqueid, ended_ms, answered_ms, cause, status = record.split("Value: ")[1].split(":")

    lasted = float(hangup["Timestamp"]) - int(admitted["Admitted"]) / 1000
    assert 1.85 <= lasted < 4.0
    assert (uniqueid, cause, status.split()[0]) == (leg.uniqueid, hangup["Cause"], "ANSWER")
    assert hangup["Cause"] == "16"
    assert int(answered_ms) / 1000 == pytest.approx(lasted, abs=0.1)
    assert int(ended_ms) - int(answered_ms) == int(admitted["Admitted"])


async def test_a_leg_is_let_in_free(scene: Scene) -> None:
    """It has no limit and leaves no record."""
    leg = await waits(scene)
    await answer(scene, leg, f"{leg.visit}:free")
    await joined(scene, leg.room)
    left = await scene.gateway.send(
        ("Action", "Getvar"), ("Channel", leg.channel), ("Variable", "TIMEOUT(absolute)")
    )

    assert float(left["Value"]) == 0


@pytest.mark.parametrize("word", ["free", "tenant_suspended", None])
async def test_what_a_leg_asks_is_on_its_channel_while_it_waits(
    scene: Scene, word: str | None
) -> None:
    """By it the gateway tells a leg from a rumour, and one that waits from one that did."""
    leg = await waits(scene, TOLL)
    asked = await variable(scene, leg, "DIALOUT_ASKED")
    if word is not None:
        await answer(scene, leg, f"{leg.visit}:{word}")
    async with asyncio.timeout(30):
        while await variable(scene, leg, "DIALOUT_ASKED") == asked:
            await asyncio.sleep(0.05)

    assert asked == f"{leg.visit}:+442079460000::{TENANT}:pam:{leg.room}"
    assert await variable(scene, leg, "DIALOUT_ASKED") == leg.visit
    assert await variable(scene, leg, "DIALOUT_ADMITTED_MS") == ""


@pytest.mark.parametrize(
    "text",
    [
        "{other}:free",
        ":free",
        "free",
        "{visit}",
        "{visit}:admit:{key}:0",
        "{visit}:admit:{key}:999",
        "{visit}:admit:{key}:14400001",
        "{visit}:admit:{key}:",
        "{visit}:admit:{key}:5000:5000",
        "{visit}:admit:{short}:5000",
        "{visit}:admit:{key}:5000 | 1",
        "{visit}:free:free",
        "{visit}:no_such_reason",
    ],
)
async def test_no_other_answer_lets_a_leg_in(scene: Scene, text: str) -> None:
    """One of another visit, a limit that would be none, a part too many: nobody comes in."""
    leg, key = await waits(scene), new_key()
    await answer(scene, leg, text.format(visit=leg.visit, other="1" * 18, key=key, short=key[:63]))
    await ends(scene.gateway, leg.uniqueid)

    assert not await has_joined(scene, leg.room)


async def test_without_an_answer_only_a_toll_leg_comes_in(scene: Scene) -> None:
    """After three seconds: it costs nothing. An answer that comes later changes nothing."""
    toll, other = await asyncio.gather(waits(scene, TOLL), waits(scene))
    join, _ = await asyncio.gather(joined(scene, toll.room), ends(scene.gateway, other.uniqueid))
    await answer(scene, toll, f"{toll.visit}:tenant_suspended")
    # Who still waited would look for it ten times meanwhile.
    await asyncio.sleep(1)

    assert ANSWER_MS_MIN <= milliseconds_between(toll.asked, join) < 10_000
    assert toll.uniqueid in await scene.participants(toll.room)
    assert not await has_joined(scene, other.room)


async def test_a_gateway_without_room_has_no_toll_leg_wait(scene: Scene) -> None:
    """It goes on as without a gateway, and sooner; any other leg hears that nobody decides."""
    toll, other = await asyncio.gather(waits(scene, TOLL), waits(scene))
    for leg in (toll, other):
        await answer(scene, leg, f"{leg.visit}:overloaded")
    join, _ = await asyncio.gather(joined(scene, toll.room), ends(scene.gateway, other.uniqueid))

    assert milliseconds_between(toll.asked, join) < ANSWER_MS_MIN
    assert not await has_joined(scene, other.room)


async def test_without_a_gateway_nobody_waits(silent_gateway: Scene) -> None:
    """A toll leg comes in at once, and any other hears that there is nobody to ask."""
    room, other = f"room-{uuid4().hex[:8]}", f"room-{uuid4().hex[:8]}"
    free = await call_in(silent_gateway, TOLL, room=room)
    begun = await silent_gateway.intruder.event("Newchannel", Uniqueid=free)
    join = await joined(silent_gateway, room)
    refused = await call_in(silent_gateway, room=other)

    assert milliseconds_between(begun, join) < ANSWER_MS_MIN
    assert await ends(silent_gateway.gateway, refused) == CAUSE_REFUSED


@pytest.mark.parametrize(
    "hostile",
    [
        "DIALOUT_CONFERENCE=room)&System(id",
        "DIALOUT_CONFERENCE=",
        "DIALOUT_CONFERENCE=" + "r" * 200,
        "DIALOUT_CONFERENCE=room^x",
        'DIALOUT_ORGANIZER="1" = "1',
        "DIALOUT_ORGANIZER=${EPOCH}",
        "DIALOUT_TENANT=0b0c2f4e | 1",
        "DIALOUT_TENANT=" + "0" * 37,
    ],
)
async def test_a_name_that_is_none_is_refused(scene: Scene, hostile: str) -> None:
    """Nobody is asked about it, and what is filtered away makes no other name of it."""
    uniqueid = await call_in(scene, TOLL, hostile, room="room-x")

    assert await ends(scene.gateway, uniqueid) == CAUSE_REFUSED
    assert not any(
        each.get("UserEvent") == "DialoutDialIn" and each.get("Uniqueid") == uniqueid
        for each in scene.gateway.events
    )
