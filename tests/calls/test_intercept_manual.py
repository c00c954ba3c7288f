"""The manual of the intercept is true: each "After" in it is loaded, called with, and billed."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.core.dial_out import DialOut, DialOutKind, DialOutState
from gateway.lab.stack import Stack
from tests.calls.meeting import ORGANIZER, Meeting, london
from tests.calls.test_intercept import old_dialer
from tests.gate.ami_socket import AmiSocket, Message

pytestmark = pytest.mark.asyncio(loop_scope="session")

MANUAL = Path(__file__).parents[2] / "docs" / "intercept.md"
TENANT, NUMBER = "0f2d0c0e-6c1f-4a51-9f0e-0a4c8f0f9a11", "+442079460018"

# Where the manual's application brings the telephone.
_MEETINGS = """
[meetings]
exten => 4711,1,Answer()
 same => n,ConfBridge(4711,dialout-bridge,dialout-user)
"""

_AFTER = re.compile(r"^After:\n\n```(?:ini|sh)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def after(section: str, meeting: Meeting, number: str = NUMBER) -> str:
    """Return what the manual says under a heading, for this tenant and this number."""
    _, found, rest = MANUAL.read_text(encoding="utf-8").partition(f"\n## {section}\n")
    assert found, section
    [text] = _AFTER.findall(rest.partition("\n## ")[0])
    assert TENANT in text
    filled: str = text.replace(TENANT, str(meeting.tenant_id)).replace(NUMBER, number)
    return filled


async def load(parts: Stack, dialplan: str) -> str:
    """Add a context of the manual to the dialplan; return the name it got, which no other has."""
    [name] = re.findall(r"^\[(.+)\]$", dialplan, re.MULTILINE)
    own = f"{name}-{uuid4().hex[:8]}"
    with (parts.asterisk.directory / "etc" / "extensions.conf").open("a") as file:
        file.write("\n" + dialplan.replace(f"[{name}]", f"[{own}]"))
    await parts.asterisk.cli("dialplan reload")
    return own


async def dial(application: AmiSocket, context: str, extension: str, organizer: str) -> Message:
    """Have somebody in a meeting come to a context; return how his channel was hung up."""
    name = uuid4().hex
    answer = await application.send(
        ("Action", "Originate"),
        ("Channel", f"Local/{extension}@{context}/n"),
        ("Application", "Wait"),
        ("Data", "30"),
        ("Async", "true"),
        ("ChannelId", f"{name}-1"),
        ("OtherChannelId", f"{name}-2"),
        ("Variable", f"MEETING_ORGANIZER={organizer}"),
        ("Variable", "MEETING_CALLER=bob@example.com"),
        ("Variable", "MEETING_ROOM=4711"),
    )
    assert answer["Response"] == "Success", answer
    return await application.event("Hangup", 20, Uniqueid=f"{name}-2")


async def stranger(meeting: Meeting) -> str:
    """Return an organizer that only another tenant has."""
    name = f"stranger-{uuid4().hex[:8]}"
    other = await meeting.another()
    await other.add_organizer(name)
    return name


async def billed(meeting: Meeting) -> DialOut:
    """Return the only call of the meeting that was not refused, once it has ended."""
    async with asyncio.timeout(30):
        while True:
            since = datetime.now(UTC) - timedelta(hours=1)
            rows = await meeting.ledger.dial_outs(meeting.tenant_id, since)
            [call] = [row for row in rows if row.state is not DialOutState.REFUSED]
            if call.state is DialOutState.ENDED:
                assert call.request.kind is DialOutKind.INTERCEPT
                return call
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("section", "prefix"),
    [
        ("A dialplan that dials", ""),
        ("An outbound context that goes on after the call", "9"),
    ],
)
async def test_a_changed_dialplan_dials_through_the_gate(
    meeting: Meeting, parts: Stack, section: str, prefix: str
) -> None:
    """Allowed: one call at the carrier, billed. For a stranger: none, and cause 21."""
    allowed, refused = london("21"), london("22")
    context = await load(parts, after(section, meeting))

    async with old_dialer(parts) as application:
        await dial(application, context, prefix + allowed, ORGANIZER)
        hangup = await dial(application, context, prefix + refused, await stranger(meeting))

    assert hangup["Cause"] == "21"
    assert (meeting.invites(allowed), meeting.invites(refused)) == (1, 0)
    call = await billed(meeting)
    request = call.request
    assert (request.initiator_id, request.conference_id) == ("bob@example.com", "4711")
    assert call.billable_seconds in (1, 2)
    await meeting.assert_books_are_clean()


async def test_a_dialplan_that_goes_on_knows_that_it_was_busy(
    meeting: Meeting, parts: Stack
) -> None:
    """The gate lies between it and the trunk, and DIALSTATUS is what it always was."""
    number = london("86")
    context = await load(parts, after("An outbound context that goes on after the call", meeting))

    async with old_dialer(parts) as application:
        hangup = await dial(application, context, f"9{number}", ORGANIZER)

    assert hangup["Cause"] == "17"
    assert meeting.invites(number) == 1
    assert (await billed(meeting)).billable_seconds == 0
    await meeting.assert_books_are_clean()


@pytest.mark.parametrize("digits", ["+4420794600&PJSIP/1", "44,2,3", "44${SHELL(id)}", "44)", ""])
async def test_a_changed_dialplan_takes_no_hostile_number(
    meeting: Meeting, parts: Stack, digits: str
) -> None:
    """What a caller sends as a number is a number or nothing: the carrier hears of none."""
    before = meeting.carrier.invites()
    contexts = [
        (await load(parts, after("A dialplan that dials", meeting)), ""),
        (
            await load(parts, after("An outbound context that goes on after the call", meeting)),
            "9",
        ),
    ]

    async with old_dialer(parts) as application:
        for context, prefix in contexts:
            answer = await application.send(
                ("Action", "Originate"),
                ("Channel", f"Local/{prefix}{digits}@{context}/n"),
                ("Application", "Wait"),
                ("Data", "1"),
                ("Async", "true"),
                ("Variable", f"MEETING_ORGANIZER={ORGANIZER}"),
            )
            if answer["Response"] == "Success":
                await application.event("OriginateResponse", 20, ActionID=answer["ActionID"])

    assert [call for call in meeting.carrier.invites() if call not in before] == []


async def test_a_changed_application_originates_through_the_gate(
    meeting: Meeting, parts: Stack
) -> None:
    """It changes its channel and says for whom; the rest of its action stays."""
    allowed, refused = london("21"), london("22")
    other = await stranger(meeting)
    context = await load(parts, _MEETINGS)

    async with old_dialer(parts) as application:
        for number, organizer in ((allowed, ORGANIZER), (refused, other)):
            text = after("An AMI application", meeting, number)
            text = text.replace("Context: meetings", f"Context: {context}")
            text = text.replace("ORGANIZER=alice", f"ORGANIZER={organizer}")
            headers = [line.split(": ", 1) for line in text.splitlines()]
            name = uuid4().hex
            answer = await application.send(
                *((key, value) for key, value in headers),
                ("ChannelId", f"{name}-1"),
                ("OtherChannelId", f"{name}-2"),
            )
            assert answer["Response"] == "Success", answer
            hangup = await application.event("Hangup", 20, Uniqueid=f"{name}-2")

    assert hangup["Cause"] == "21"
    assert (meeting.invites(allowed), meeting.invites(refused)) == (1, 0)
    assert (await billed(meeting)).billable_seconds in (1, 2)


async def test_what_wrote_call_files_asks_the_gateway(meeting: Meeting) -> None:
    """The body of the manual's request is one that the API takes."""
    number = london("21")
    text = after("A program that writes call files", meeting, number)
    [body] = re.findall(r"--json '(.*?)'", text, re.DOTALL)
    [path] = re.findall(r"http://[^/]+(/\S+)", text)

    response = await meeting.client.post(path, json=json.loads(body))

    assert response.status_code == 201, response.text
    await meeting.ended(response.json()["dial_out_id"])
    assert meeting.invites(number) == 1
