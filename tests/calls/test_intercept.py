"""Software that used to dial by itself, and now comes through the gate with a raw number."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from gateway.core.choices import MeetingPermission
from gateway.core.facts import Sku
from gateway.lab.stack import Stack
from tests.calls.conftest import APPLICATION, APPLICATION_SECRET
from tests.calls.meeting import ORGANIZER, Meeting, london
from tests.gate.ami_socket import AmiSocket, Message

pytestmark = pytest.mark.asyncio(loop_scope="session")


@asynccontextmanager
async def old_dialer(parts: Stack) -> AsyncIterator[AmiSocket]:
    """Log in as the other application."""
    asterisk = parts.asterisk
    async with AmiSocket(
        asterisk.host, asterisk.ami_port, APPLICATION, APPLICATION_SECRET
    ) as application:
        yield application


async def originate(application: AmiSocket, number: str, **variables: str) -> Message:
    """Originate to the intercept; return how the channel that dialled was hung up."""
    name = uuid4().hex
    variables = {"initiator": "guest@example.com", **variables}
    answer = await application.send(
        ("Action", "Originate"),
        ("Channel", f"Local/{number}@dialout-intercept/n"),
        ("Context", "dialout-join"),
        ("Exten", "s"),
        ("Priority", "1"),
        ("Async", "true"),
        ("Timeout", "20000"),
        ("ChannelId", f"{name}-1"),
        ("OtherChannelId", f"{name}-2"),
        *(("Variable", f"DIALOUT_{key.upper()}={value}") for key, value in variables.items()),
    )
    assert answer["Response"] == "Success", answer
    return await application.event("Hangup", 20, Uniqueid=f"{name}-2")


async def test_an_intercepted_call_is_decided_paid_and_billed(
    meeting: Meeting, parts: Stack
) -> None:
    """The application changed one line; the organizer pays as for any other call."""
    number, dial_out_id = london("22"), str(uuid4())

    async with old_dialer(parts) as application:
        await originate(
            application,
            number,
            tenant=str(meeting.tenant_id),
            organizer=ORGANIZER,
            conference="room",
            id=dial_out_id,
        )
    ended = await meeting.ended(dial_out_id)

    assert (ended["kind"], ended["disposition"]) == ("intercept", "answered")
    assert ended["paid_by"] == ["pool"]
    assert ended["billable_seconds"] in (2, 3)
    assert meeting.invites(number) == 1
    await meeting.assert_books_are_clean()


async def test_an_intercepted_call_without_an_id_gets_one(meeting: Meeting, parts: Stack) -> None:
    """The application need not know of ids: each of its calls is a dial-out of its own."""
    numbers = london("21"), london("21")

    async with old_dialer(parts) as application:
        for number in numbers:
            await originate(application, number, tenant=str(meeting.tenant_id), organizer=ORGANIZER)

    assert [meeting.invites(number) for number in numbers] == [1, 1]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"tenant": "nobody"},
        {"tenant": "00000000-0000-0000-0000-000000000000", "organizer": ORGANIZER},
        {"organizer": ORGANIZER},
        {"tenant": "THE_TENANT", "organizer": "stranger"},
        {"tenant": "THE_TENANT"},
        {"tenant": "THE_TENANT", "organizer": ORGANIZER, "id": "not-an-id"},
        {"tenant": "THE_TENANT", "organizer": ORGANIZER, "id": "XYZ"},
        {"tenant": "THE_TENANT", "organizer": f"{ORGANIZER}!"},
        {"tenant": "THE_TENANT", "organizer": ORGANIZER, "conference": "my room"},
        {"tenant": "THE_TENANT", "organizer": ORGANIZER, "conference": "x" * 129},
    ],
    ids=[
        "nothing said",
        "no tenant's id",
        "an unknown tenant",
        "no tenant",
        "an unknown organizer",
        "no organizer",
        "no possible id",
        "an id that filters to none",
        "an organizer that filters to another",
        "a conference that filters to another",
        "a conference that is too long",
    ],
)
async def test_an_unfunded_intercept_is_refused(
    meeting: Meeting, parts: Stack, variables: dict[str, str]
) -> None:
    """Variables are a claim to be checked. Refused with cause 21, and the carrier hears nothing."""
    number = london("22")
    named = {
        key: str(meeting.tenant_id) if value == "THE_TENANT" else value
        for key, value in variables.items()
    }

    async with old_dialer(parts) as application:
        hangup = await originate(application, number, **named)

    assert hangup["Cause"] == "21"
    assert meeting.invites(number) == 0


async def test_an_organizer_of_another_tenant_pays_for_nobody(
    meeting: Meeting, parts: Stack
) -> None:
    """Names are a tenant's own: there is such a person, and not here."""
    number = london("22")
    await (await meeting.another()).add_organizer("walter")

    async with old_dialer(parts) as application:
        hangup = await originate(
            application, number, tenant=str(meeting.tenant_id), organizer="walter"
        )

    assert hangup["Cause"] == "21"
    assert meeting.invites(number) == 0


async def test_a_registered_meeting_is_paid_for_by_its_own_organizer(
    meeting: Meeting, parts: Stack
) -> None:
    """Another of the same tenant, licensed and allowed to call, is refused in it; he is not."""
    his, hers = london("22"), london("21")
    await meeting.add_organizer("walter")
    await meeting.license("walter", Sku.AUDIO_CONFERENCING)
    async with meeting.provisioning.change(actor="test") as change:
        await change.meeting_put(
            meeting.tenant_id,
            "registered",
            to_self=MeetingPermission.EVERYONE,
            to_third_party=MeetingPermission.EVERYONE,
            organizer_id=ORGANIZER,
        )
    variables = {"tenant": str(meeting.tenant_id), "conference": "registered"}

    async with old_dialer(parts) as application:
        hangup = await originate(application, his, organizer="walter", **variables)
        await originate(application, hers, organizer=ORGANIZER, **variables)

    assert hangup["Cause"] == "21"
    assert (meeting.invites(his), meeting.invites(hers)) == (0, 1)


async def test_a_global_speaks_for_nobody(meeting: Meeting, parts: Stack) -> None:
    """Whoever may originate may set globals, and they show through where a channel has none."""
    number = london("22")

    async with old_dialer(parts) as application:
        await set_variable(application, "GLOBAL(DIALOUT_ORGANIZER)", ORGANIZER)
        globals_then = await parts.asterisk.cli("dialplan show globals")
        hangup = await originate(application, number, tenant=str(meeting.tenant_id))
        await set_variable(application, "GLOBAL(DIALOUT_ORGANIZER)", "")

    assert f"DIALOUT_ORGANIZER={ORGANIZER}" in globals_then
    assert hangup["Cause"] == "21"
    assert meeting.invites(number) == 0


async def set_variable(application: AmiSocket, name: str, value: str) -> None:
    """Set what only whoever may originate can; return once that is done."""
    answer = await application.send(
        ("Action", "Originate"),
        ("Channel", "Local/s@dialout-refuse/n"),
        ("Application", "NoOp"),
        ("Async", "true"),
        ("Variable", f"{name}={value}"),
    )
    assert answer["Response"] == "Success", answer
    await application.event("OriginateResponse", 20, ActionID=answer["ActionID"])


async def test_an_organizer_may_be_a_mail_address(meeting: Meeting, parts: Stack) -> None:
    """With all that such an address may have in it, and an id in capitals."""
    number, dial_out_id = london("21"), str(uuid4())
    await meeting.add_organizer("a+b@example.com")
    await meeting.license("a+b@example.com", Sku.AUDIO_CONFERENCING)

    async with old_dialer(parts) as application:
        await originate(
            application,
            number,
            tenant=str(meeting.tenant_id),
            organizer="a+b@example.com",
            id=dial_out_id.upper(),
        )

    assert (await meeting.ended(dial_out_id))["organizer_id"] == "a+b@example.com"
    assert meeting.invites(number) == 1


async def test_an_id_is_good_for_one_call(meeting: Meeting, parts: Stack) -> None:
    """The second channel with the same id is refused: nothing is dialled twice."""
    number, dial_out_id = london("21"), str(uuid4())
    variables = {
        "tenant": str(meeting.tenant_id),
        "organizer": ORGANIZER,
        "conference": "room",
        "id": dial_out_id,
    }

    async with old_dialer(parts) as application:
        await originate(application, number, **variables)
        hangup = await originate(application, number, **variables)

    assert hangup["Cause"] == "21"
    assert meeting.invites(number) == 1
