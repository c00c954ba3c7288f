"""Five hundred hostile texts through every entrance: nobody is called, and it is said why."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest

from gateway.core.reasons import Reason
from gateway.lab.stack import Stack
from tests.calls.conftest import APPLICATION, APPLICATION_SECRET
from tests.calls.hostile import GOOD_NUMBER, TEXTS, texts
from tests.calls.meeting import ORGANIZER, PATIENT, Meeting, london
from tests.gate.ami_socket import AmiSocket

pytestmark = pytest.mark.asyncio(loop_scope="session")

AT_ONCE = 20
TOO_LONG = "0" * 16
"""A number that the bridge's own dial-in lets into no conference, whatever is around it."""

HEADER_BYTES_MAX = 900
"""A little less than a line of AMI may have."""

VARIABLES = {
    "tenant_id": "DIALOUT_TENANT",
    "organizer_id": "DIALOUT_ORGANIZER",
    "initiator_id": "DIALOUT_INITIATOR",
    "conference_id": "DIALOUT_CONFERENCE",
    "dial_out_id": "DIALOUT_ID",
}


async def at_once(asked: Iterable[Coroutine[Any, Any, Any]], most: int = AT_ONCE) -> list[Any]:
    """Return the answers to all of these, a few of which are asked at a time."""
    places = asyncio.Semaphore(most)

    async def one(question: Coroutine[Any, Any, Any]) -> Any:
        async with places:
            return await question

    return await asyncio.gather(*map(one, asked))


PERSON = r"[A-Za-z0-9._@+-]{1,128}"
IN_ORDER = {
    "organizer_id": PERSON,
    "initiator_id": PERSON,
    "conference_id": r"[A-Za-z0-9._@-]{1,128}",
    "asker_channel": r"[A-Za-z0-9._-]{1,128}",
}
"""What is odd but in order in each field: people and meetings may be called so."""


FIELDS = {
    "organizer_id": ORGANIZER,
    "initiator_id": "guest@example.com",
    "conference_id": "room",
    "bridge": "main",
    "asker_channel": "lab-1763704321.17",
    "tenant_id": "9b1a7f7e-5c7b-4a39-9f39-0d2a60a4b111",
    "dial_out_id": "9b1a7f7e-5c7b-4a39-9f39-0d2a60a4b222",
}


async def test_no_hostile_number_passes_the_api(meeting: Meeting) -> None:
    """Each of the five hundred is answered with the field that is wrong, or the reason."""
    before = meeting.carrier.invites()

    answers = await at_once(meeting.post(text, headers=PATIENT) for text in texts(GOOD_NUMBER))

    assert len(answers) == TEXTS
    assert all(_says_why("number", answer) for answer in answers)
    assert meeting.carrier.invites() == before


async def test_no_hostile_name_passes_the_api(meeting: Meeting) -> None:
    """The same for whatever else a request names: five hundred texts, a field each in turn."""
    before = meeting.carrier.invites()
    hostile = _in_turn(FIELDS)

    answers = await at_once(meeting.post(GOOD_NUMBER, **{field: text}) for field, text in hostile)

    assert all(
        _says_why(field, answer) for (field, _), answer in zip(hostile, answers, strict=True)
    )
    assert meeting.carrier.invites() == before


def _in_turn(fields: dict[str, str]) -> list[tuple[str, str]]:
    """Return five hundred texts, each with the field that it is for; none is in order there."""
    by_field = {
        field: [text for text in texts(good) if not _is_in_order(field, text)]
        for field, good in fields.items()
    }
    names = list(by_field)
    return [
        (names[place % len(names)], of_field[place % len(of_field)])
        for place in range(TEXTS)
        for of_field in [by_field[names[place % len(names)]]]
    ]


def _is_in_order(field: str, text: str) -> bool:
    return re.fullmatch(IN_ORDER.get(field, r"(?!)"), text, re.ASCII) is not None


def _says_why(field: str, answer: httpx.Response) -> bool:
    told = answer.json()
    match answer.status_code:
        case 422 if "detail" in told:
            return any(fault["loc"][-1] == field for fault in told["detail"])
        case 422:
            return bool(told["reason"] == f"{field}_unknown")
        case 403:
            return told["reason"] in set(Reason) and bool(told["message"])
        case status:
            return status == 413


async def test_a_meeting_may_be_called_anything_and_nobody_is_hurt(meeting: Meeting) -> None:
    """A meeting's name is people's own: what cannot be text is refused, the rest is only spelled.

    The carrier hears of the number alone.
    """
    number = london("86")
    names = [text for text in texts("Weekly sales") if _can_be_told(text)][:25]
    before = len(meeting.carrier.invites())

    answers = await at_once(
        meeting.post(number, meeting_name=name, headers=PATIENT) for name in names
    )

    assert {answer.status_code for answer in answers} == {201}
    await at_once(meeting.ended(answer.json()["dial_out_id"]) for answer in answers)
    new = meeting.carrier.invites()[before:]
    assert [invite.number for invite in new] == [number] * len(names)


def _can_be_told(name: str) -> bool:
    return len(name) <= 100 and name.isprintable()


async def test_no_hostile_name_of_a_meeting_is_text(meeting: Meeting) -> None:
    """Line ends, NUL, controls and what is far too long: 422, and the field."""
    names = [text for text in texts("Weekly sales") if not _can_be_told(text)]

    answers = await at_once(meeting.post(london("21"), meeting_name=name) for name in names)

    assert all(_says_why("meeting_name", answer) for answer in answers)
    assert len(names) > TEXTS / 10


@pytest.mark.parametrize("context", ["dialout-gate", "dialout-release", "dialout-intercept"])
async def test_nothing_hostile_passes_as_an_extension(
    meeting: Meeting, parts: Stack, context: str
) -> None:
    """An application that may originate gives them to Asterisk itself: no channel gets through."""
    before = meeting.carrier.invites()

    async with _application(parts) as application:
        outcomes = await at_once(
            _originate(application, f"Local/{text}@{context}/n", _identity(meeting))
            for text in texts(GOOD_NUMBER)
            if _fits_a_line(text)
        )

    assert set(outcomes) <= {"Error", "Failure"}
    assert meeting.carrier.invites() == before


async def test_nothing_hostile_passes_as_a_variable(meeting: Meeting, parts: Stack) -> None:
    """What a channel says of itself is checked character by character before anybody is asked."""
    before = meeting.carrier.invites()
    variables = {field: FIELDS[field] for field in VARIABLES}

    async with _application(parts) as application:
        outcomes = await at_once(
            _originate(
                application,
                f"Local/{GOOD_NUMBER}@dialout-intercept/n",
                {**_identity(meeting), VARIABLES[field]: text},
            )
            for field, text in _in_turn(variables)
            if _fits_a_line(text)
        )

    assert set(outcomes) <= {"Error", "Failure"}
    assert meeting.carrier.invites() == before


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("entrance", "number"),
    [
        ("typed@dialout-keypad", "DIALOUT_NUMBER"),
        (f"{GOOD_NUMBER}@dialout-dial-in", "CALLERID(num)"),
    ],
)
async def test_nothing_hostile_passes_the_other_entrances(
    meeting: Meeting, parts: Stack, entrance: str, number: str
) -> None:
    """Channels that were never in a conference, or that no carrier brought, with odd claims.

    They hear why, or nothing; nobody is called, nothing is set aside, nobody is let in.
    """
    before = meeting.carrier.invites()
    fields = {"number": GOOD_NUMBER} | {field: FIELDS[field] for field in list(VARIABLES)[:4]}
    variables = VARIABLES | {"number": number}
    claims = [
        {**_identity(meeting), "DIALOUT_NUMBER": GOOD_NUMBER, variables[field]: text}
        for field, text in _in_turn(fields)
        if _fits_a_line(text)
    ]

    async with _application(parts) as application:
        await at_once(
            (_visit(application, f"Local/{entrance}/n", claim) for claim in claims), most=150
        )

    assert meeting.carrier.invites() == before
    open_dial_outs = await meeting.ledger.open_dial_outs()
    assert not [each for each in open_dial_outs if each.request.key.tenant_id == meeting.tenant_id]


async def test_nothing_hostile_passes_as_a_call_of_the_carrier(
    meeting: Meeting, parts: Stack
) -> None:
    """Five hundred INVITEs with hostile numbers, called and calling: each is turned away.

    What is no SIP at all has no answer; what is, has a refusal.
    """
    before = meeting.carrier.invites()
    async with _carrier_socket(parts.asterisk.sip_port) as carrier:
        for place, text in enumerate(texts(TOO_LONG)):
            called, calling = (text, "alice") if place % 2 else (TOO_LONG, text)
            carrier.invite(called, calling)
        await carrier.settled()

    assert {status for status in carrier.final if status < 400} == set()
    assert len(carrier.final) > TEXTS / 4
    assert meeting.carrier.invites() == before
    await meeting.ended((await meeting.place(london("21")))["dial_out_id"])


class _CarrierSocket(asyncio.DatagramProtocol):
    """Sends INVITEs as they are, and keeps the final answers. It acknowledges none of them."""

    def __init__(self, port: int) -> None:
        self.final: list[int] = []
        self._port = port
        self._heard_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No instance of it before Python 3.12.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._heard_at = time.monotonic()
        status = int(data.split(b" ", 2)[1]) if data.startswith(b"SIP/2.0 ") else 0
        if status >= 200:
            self.final.append(status)

    def invite(self, called: str, calling: str) -> None:
        """Send one INVITE, whatever its numbers make of it."""
        host, port = self._transport.get_extra_info("sockname")
        branch = uuid4().hex
        lines = (
            f"INVITE sip:{called}@127.0.0.1:{self._port} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{branch}",
            f'From: "{calling}" <sip:{calling}@127.0.0.1>;tag={branch}',
            f"To: <sip:{called}@127.0.0.1>",
            f"Call-ID: {branch}",
            "CSeq: 1 INVITE",
            f"Contact: <sip:carrier@{host}:{port}>",
            "Max-Forwards: 70",
            "Content-Length: 0",
            "",
            "",
        )
        self._transport.sendto("\r\n".join(lines).encode("utf-8", "replace")[:60_000])

    async def settled(self) -> None:
        """Return once nothing has come for two seconds."""
        self._heard_at = time.monotonic()
        async with asyncio.timeout(40):
            while time.monotonic() - self._heard_at < 2:
                await asyncio.sleep(0.1)


@asynccontextmanager
async def _carrier_socket(port: int) -> AsyncIterator[_CarrierSocket]:
    loop = asyncio.get_running_loop()
    transport, carrier = await loop.create_datagram_endpoint(
        lambda: _CarrierSocket(port), local_addr=("127.0.0.1", 0), remote_addr=("127.0.0.1", port)
    )
    try:
        yield carrier
    finally:
        transport.close()


def _application(parts: Stack) -> AmiSocket:
    asterisk = parts.asterisk
    return AmiSocket(asterisk.host, asterisk.ami_port, APPLICATION, APPLICATION_SECRET)


def _identity(meeting: Meeting) -> dict[str, str]:
    return {
        "DIALOUT_TENANT": str(meeting.tenant_id),
        "DIALOUT_ORGANIZER": ORGANIZER,
        "DIALOUT_INITIATOR": "guest@example.com",
        "DIALOUT_CONFERENCE": "room",
    }


def _fits_a_line(text: str) -> bool:
    """Return whether a header of AMI can hold it: more lines were the application's own headers."""
    return not {"\r", "\n", "\x00"} & set(text) and len(text.encode()) <= HEADER_BYTES_MAX


async def _originate(application: AmiSocket, channel: str, variables: dict[str, str]) -> str:
    """Return how an Originate ended: refused, or failed when its channel was hung up."""
    answer = await application.send(
        ("Action", "Originate"),
        ("Channel", channel),
        ("Application", "Wait"),
        ("Data", "30"),
        ("Async", "true"),
        ("Timeout", "20000"),
        ("ChannelId", uuid4().hex),
        *(("Variable", f"{name}={value}") for name, value in variables.items()),
    )
    if answer["Response"] != "Success":
        return answer["Response"]
    ended = await application.event("OriginateResponse", 25, ActionID=answer["ActionID"])
    return ended["Response"]


async def _visit(application: AmiSocket, channel: str, variables: dict[str, str]) -> None:
    """Send a channel somewhere, and return once it is gone."""
    name = uuid4().hex
    answer = await application.send(
        ("Action", "Originate"),
        ("Channel", channel),
        ("Application", "Wait"),
        ("Data", "30"),
        ("Async", "true"),
        ("Timeout", "20000"),
        ("ChannelId", f"{name}-1"),
        ("OtherChannelId", f"{name}-2"),
        *(("Variable", f"{name}={value}") for name, value in variables.items()),
    )
    if answer["Response"] == "Success":
        await application.event("Hangup", 40, Uniqueid=f"{name}-2")
