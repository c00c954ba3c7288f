"""Channels of any other origin that dial a number stop at the same gate."""

import pytest

from tests.gate.ami_socket import Action
from tests.gate.conftest import told
from tests.gate.scene import Scene, new_key, new_number, redirect

pytestmark = pytest.mark.asyncio(loop_scope="session")

TENANT = "0f2d0c0e-6c1f-4a51-9f0e-0a4c8f0f9a11"


def refuse(channel: str, reason: str) -> list[Action]:
    """Return the two actions by which the gateway refuses an intercepted call."""
    return [
        [
            ("Action", "Setvar"),
            ("Channel", channel),
            ("Variable", "DIALOUT_REASON"),
            ("Value", reason),
        ],
        redirect(channel, "s", context="dialout-refuse"),
    ]


async def test_an_intercepted_call_tells_the_gateway_what_it_wants(scene: Scene) -> None:
    """The event carries the number as it was typed, and on whose behalf it was."""
    dial_out_id = "7d3f0c0e-6c1f-4a51-9f0e-0a4c8f0f9a12"

    visit, event = await scene.intercept(
        "+4930100000*1#",
        f"DIALOUT_TENANT={TENANT}",
        "DIALOUT_ORGANIZER=ann@example.org",
        "DIALOUT_CONFERENCE=weekly_1-a",
        f"DIALOUT_ID={dial_out_id}",
    )

    assert event["Number"] == "+4930100000*1#"
    assert event["Tenant"] == TENANT
    assert event["Organizer"] == "ann@example.org"
    assert event["Conference"] == "weekly_1-a"
    assert event["DialOutId"] == dial_out_id
    await scene.hangup(visit.channel)
    await scene.ended(visit.uniqueid)


@pytest.mark.parametrize(
    "variable",
    [
        "DIALOUT_TENANT=../" + TENANT,
        'DIALOUT_ORGANIZER=a"b\\c|d${SHELL(id)};e&f g',
        "DIALOUT_ORGANIZER=alice)",
        "DIALOUT_INITIATOR=a b",
        "DIALOUT_INITIATOR=" + "x" * 129,
        "DIALOUT_ID=XYZ",
    ],
)
async def test_an_odd_identity_never_reaches_the_gateway(scene: Scene, variable: str) -> None:
    """Filtered or cut, it would be somebody else's name: refused instead."""
    with scene.nothing_dialled():
        await scene.fails(new_key(), "Local/4930100000@dialout-intercept/n", variable)

    assert await told(scene) == []


async def test_a_released_intercept_dials_the_number_of_the_verdict(scene: Scene) -> None:
    """What is dialled is what the gateway decided on, not what the channel was asked for."""
    number = new_number()
    visit, _ = await scene.intercept("030555")

    await scene.release(visit, scene.allow(visit, number))
    answer = await scene.gateway.event("DialEnd", Uniqueid=visit.uniqueid)

    assert answer["DialStatus"] == "ANSWER"
    await scene.hangup(visit.channel)
    await scene.ended(visit.uniqueid)
    assert [invite.number for invite in scene.invites_to(number)] == [f"+{number}"]
    record = await scene.record(visit.key)
    assert record is not None
    assert record.startswith(f"{visit.uniqueid}:")


async def test_a_refused_intercept_hangs_up(scene: Scene) -> None:
    """The caller hears a refusal as a call that is rejected."""
    visit, _ = await scene.intercept(new_number())

    with scene.nothing_dialled():
        await scene.gateway.send_together(*refuse(visit.channel, "not_entitled"))
        hangup = await scene.ended(visit.uniqueid)

    assert hangup["Cause"] == "21"


async def test_a_dialplan_that_used_to_dial_comes_by_goto(scene: Scene) -> None:
    """A call of somebody else's dialplan keeps its own channel, and the gate guards that one."""
    number = new_number()
    key = new_key()

    with scene.nothing_dialled():
        await scene.intruder.send(
            ("Action", "Originate"),
            ("Channel", "Local/dials@somebody-else/n"),
            ("Application", "Wait"),
            ("Data", "60"),
            ("Async", "true"),
            ("OtherChannelId", f"{key}-own"),
            ("ChannelId", f"{key}-other"),
            ("Variable", f"SOMEBODY_DIALS={number}"),
        )
        event = await scene.gateway.event("UserEvent", Uniqueid=f"{key}-own")
        assert event["Number"] == number
        await scene.gateway.send_together(*refuse(event["Channel"], "not_entitled"))
        assert (await scene.ended(f"{key}-own"))["Cause"] == "21"


async def test_no_gateway_means_no_intercepted_call(silent_gateway: Scene) -> None:
    """The intercept fails closed like the gate: the same refusal, at once."""
    scene = silent_gateway
    key = new_key()

    with scene.nothing_dialled():
        await scene.fails(key, f"Local/{new_number()}@dialout-intercept/n")

    assert (await scene.ended(f"{key}-gate"))["Cause"] == "38"


@pytest.mark.parametrize(
    "number",
    [
        "",
        "s",
        "h",
        "i",
        "T",
        "refuse",
        "failed",
        "abc",
        "49-30-100000",
        "4930100000a",
        "4930100000&PJSIP/+4930100001@dialout-trunk",
        "4930100000@elsewhere",
        "4930100000,2,3",
        '4930100000"',
        "4930100000)",
        "4930100000^",
        "4930100000;",
        '1" = "" | "1',
        "4930${SHELL(id)}",
        "4930$[1+1]",
        "1" * 41,
    ],
)
async def test_what_is_no_number_never_reaches_the_gateway(scene: Scene, number: str) -> None:
    """The event would carry it to a parser, which should not have to be the only careful one."""
    with scene.nothing_dialled():
        await scene.fails(new_key(), f"Local/{number}@dialout-intercept/n")

    assert await told(scene) == []


@pytest.mark.parametrize("number", ["abc", "1" * 41, "1 = 1 | 1", "4930${SHELL(id)}", "4930&1"])
async def test_what_is_no_number_is_refused_by_goto_too(scene: Scene, number: str) -> None:
    """A Goto of somebody's dialplan does not look whether the extension exists before it goes."""
    with scene.nothing_dialled():
        await scene.fails(new_key(), "Local/anything@somebody-else/n", f"SOMEBODY_DIALS={number}")

    assert await told(scene) == []


async def test_the_longest_number_is_taken(scene: Scene) -> None:
    """Forty characters are the contract; the one above it is refused with the others."""
    visit, event = await scene.intercept("1" * 40)

    assert event["Number"] == "1" * 40
    await scene.hangup(visit.channel)
    await scene.ended(visit.uniqueid)
