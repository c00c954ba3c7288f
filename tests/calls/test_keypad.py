"""Somebody in a conference types a number: what is heard, what is dialled, and who stays in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from gateway.core.choices import MeetingPermission
from gateway.core.facts import DialOutPermission
from gateway.lab.stack import Stack
from tests.calls.meeting import ORGANIZER, Answer, london, nairobi
from tests.calls.participants import Hall, Participant, as_typed, hall_of, hall_stack
from tests.calls.test_guard import tampering
from tests.gate.ami_socket import Action, AmiSocket

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hall(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hall]:
    """A gateway and a meeting, beside a bridge that lets people in."""
    output = tmp_path_factory.mktemp("hall") / "gateway.log"
    async with hall_stack() as parts, hall_of(parts, output) as opened:
        yield opened


async def test_a_participant_has_somebody_called(hall: Hall) -> None:
    """One call, for the organizer of the meeting, and both are in the room in the end."""
    room, number = hall.new_room(), london("10")
    asker = await hall.enter(room)

    word = await asker.dials(number)
    dial_out = await hall.asked(number)
    await hall.witness.event("ConfbridgeJoin", Uniqueid=f"{hall.key(dial_out)}-join")

    assert word == "calling"
    answered = await hall.meeting.answered(dial_out["dial_out_id"])
    assert (answered["kind"], answered["organizer_id"]) == ("keypad", ORGANIZER)
    assert (answered["initiator_id"], answered["conference_id"]) == ("guest@example.com", room)
    assert hall.meeting.invites(number) == 1
    await hall.meeting.cancel(dial_out["dial_out_id"])
    await hall.meeting.ended(dial_out["dial_out_id"])
    await asker.leave()
    await hall.meeting.assert_books_are_clean()


async def test_a_refusal_is_heard_and_nobody_is_dropped(hall: Hall) -> None:
    """Each family of reasons, one after the other by the same participant: never a call."""
    room = hall.new_room()
    before = hall.meeting.carrier.invites()
    await hall.meeting.add_organizer("domestic", DialOutPermission.NONE)
    asker = await hall.enter(room)
    stranger = await hall.enter(room, hall.named(ORGANIZER="stranger"))
    barred = await hall.enter(room, hall.named(ORGANIZER="domestic"))

    assert await asker.dials("999") == "emergency_or_short_code"
    assert await asker.dials("12") == "number_invalid"
    assert await asker.dials(nairobi("10")) == "not_covered"
    assert await stranger.dials(london("10")) == "organizer_unknown"
    assert await barred.dials(london("10")) in ("no_audio_conferencing", "permission_none")

    assert hall.meeting.carrier.invites() == before
    for each in (asker, stranger, barred):
        assert await each.attends()
        await each.leave()
    await hall.meeting.assert_books_are_clean()


@pytest.mark.parametrize(
    ("claim", "word"),
    [
        ({"TENANT": ""}, "tenant_unknown"),
        ({"TENANT": "00000000-0000-0000-0000-000000000000"}, "tenant_unknown"),
        ({"TENANT": "nobody"}, "failed"),
        ({"ORGANIZER": ""}, "organizer_unknown"),
        ({"ORGANIZER": "alice!"}, "failed"),
        ({"CONFERENCE": "another-room"}, "tenant_unknown"),
        ({"CONFERENCE": ""}, "tenant_unknown"),
        ({"CONFERENCE": "x" * 129}, "failed"),
    ],
    ids=[
        "no tenant",
        "an unknown tenant",
        "no tenant's id",
        "no organizer",
        "an organizer that filters to another",
        "a conference that he is not in",
        "no conference",
        "a conference that is too long",
    ],
)
async def test_what_a_channel_claims_is_checked(
    hall: Hall, claim: dict[str, str], word: str
) -> None:
    """Variables are words of a dialplan. Refused in words, in the room, and never a call."""
    number = london("10")
    asker = await hall.enter(hall.new_room(), hall.named(**claim))

    assert await asker.dials(number) == word

    assert hall.meeting.invites(number) == 0
    await asker.leave()


async def test_a_registered_meeting_is_its_organizers(hall: Hall) -> None:
    """Another organizer of the same tenant, in the same room, pays for nobody there."""
    room, number = hall.new_room(), london("10")
    await hall.meeting.add_organizer("mallory")
    async with hall.meeting.provisioning.change(actor="test") as change:
        await change.meeting_put(
            hall.meeting.tenant_id,
            room,
            to_self=MeetingPermission.EVERYONE,
            to_third_party=MeetingPermission.EVERYONE,
            organizer_id=ORGANIZER,
        )
    asker = await hall.enter(room, hall.named(ORGANIZER="mallory"))

    assert await asker.dials(number) == "meeting_of_another_organizer"

    assert hall.meeting.invites(number) == 0
    await asker.leave()


async def test_a_telephone_that_we_called_in_types_too(hall: Hall) -> None:
    """It is whoever its own call says: who had himself called asks by name."""
    room, number = hall.new_room(), london("10")
    callee = await hall.called_in(room, kind="call_me")

    assert await callee.dials(number) == "calling"

    dial_out = await hall.meeting.answered((await hall.asked(number))["dial_out_id"])
    assert (dial_out["organizer_id"], dial_out["conference_id"]) == (ORGANIZER, room)
    assert dial_out["initiator_id"] == "guest@example.com"
    assert hall.meeting.invites(number) == 1
    await hall.meeting.cancel(dial_out["dial_out_id"])
    await callee.leave()
    await hall.meeting.ended(dial_out["dial_out_id"])


async def test_of_a_callee_nobody_knows_who_it_is(hall: Hall) -> None:
    """Somebody added by another has not signed in, and this meeting wants that of who asks."""
    room, number = hall.new_room(), london("10")
    callee = await hall.called_in(room)

    assert await callee.dials(number) == "meeting_authenticated_only"

    assert hall.meeting.invites(number) == 0
    await callee.leave()


async def test_the_variables_of_a_telephone_that_we_called_in_count_for_nothing(
    hall: Hall,
) -> None:
    """They could have been set since; the call of the telephone could not."""
    room, number = hall.new_room(), london("10")
    await hall.meeting.add_organizer("mallory")
    callee = await hall.called_in(room, kind="call_me")
    for name, value in (("ORGANIZER", "mallory"), ("CONFERENCE", "elsewhere")):
        await hall.witness.send(
            ("Action", "Setvar"),
            ("Channel", callee.channel),
            ("Variable", f"DIALOUT_{name}"),
            ("Value", value),
        )

    assert await callee.dials(number) == "calling"

    dial_out = await hall.asked(number)
    assert (dial_out["organizer_id"], dial_out["conference_id"]) == (ORGANIZER, room)
    await hall.meeting.cancel(dial_out["dial_out_id"])
    await callee.leave()


async def test_two_participants_type_at_once(hall: Hall) -> None:
    """Each is answered, each has one call, and neither hears the other's outcome."""
    room, allowed = hall.new_room(), london("10")
    askers = [await hall.enter(room), await hall.enter(room)]

    words = await asyncio.gather(askers[0].dials(allowed), askers[1].dials("12"))

    assert list(words) == ["calling", "number_invalid"]
    assert hall.meeting.invites(allowed) == 1
    await hall.meeting.cancel((await hall.asked(allowed))["dial_out_id"])
    for each in askers:
        await each.leave()


async def whispered(hall: Hall, dial_out: Answer) -> str:
    """Return the word that was said to the asker alone, once nothing is left of saying it."""
    key = hall.key(dial_out)
    answer = await hall.witness.event("OriginateResponse", 15, Uniqueid=f"{key}-gate-told")
    assert answer["Response"] == "Success"
    for half in ("told", "tells"):
        await hall.witness.event("Hangup", 15, Uniqueid=f"{key}-gate-{half}")
    return answer["Channel"].removeprefix("Local/").partition("@")[0]


async def test_the_asker_alone_hears_that_it_was_busy(hall: Hall) -> None:
    """Back in the room, by a whisper: the others do not care."""
    room, number = hall.new_room(), london("86")
    asker = await hall.enter(room)

    word = await asker.dials(number)
    dial_out = await hall.asked(number)
    ended = await hall.meeting.ended(dial_out["dial_out_id"])

    assert ended["disposition"] == "busy"
    if word == "calling":
        assert await whispered(hall, dial_out) == "busy"
    else:
        assert word == "busy"
    assert await asker.attends()
    await asker.leave()


async def test_a_number_that_does_not_answer_is_said_later(hall: Hall) -> None:
    """Long after the asker was told that it is being called."""
    room, number = hall.new_room(), london("80")
    asker = await hall.enter(room)

    assert await asker.dials(number) == "calling"
    dial_out = await hall.asked(number)
    ended = await hall.meeting.ended(dial_out["dial_out_id"])

    assert ended["disposition"] == "no_answer"
    assert await whispered(hall, dial_out) == "no_answer"
    assert await asker.attends()
    await asker.leave()


async def test_a_gateway_that_dies_meanwhile_drops_nobody(hall: Hall) -> None:
    """It dies before the number is whole: the participant hears so, and is in the room again."""
    room, number = hall.new_room(), london("10")
    asker = await hall.enter(room)
    await asker.press("*1")
    await asker.is_asked()
    await hall.service.kill()

    await asker.press(as_typed(number) + "#")

    assert await asker.heard() == "gateway_away"
    await hall.service.start()
    assert hall.meeting.invites(number) == 0
    await asker.leave()
    await hall.meeting.assert_books_are_clean()


async def test_without_the_database_nobody_is_called_later(hall: Hall) -> None:
    """What the participant was told is not available is not placed once the database is back."""
    room, number = hall.new_room(), london("10")
    asker = await hall.enter(room)
    await asker.press("*1")
    await asker.is_asked()
    await hall.parts.postgres.stop()
    try:
        await asker.press(as_typed(number) + "#")
        assert await asker.heard() == "gateway_away"
    finally:
        await hall.parts.postgres.start()

    await hall_is_ready(hall)
    assert hall.meeting.invites(number) == 0
    assert await asker.dials(number) == "calling"
    await hall.meeting.rings(number)
    assert hall.meeting.invites(number) == 1
    await hall.meeting.cancel((await hall.asked(number))["dial_out_id"])
    await asker.leave()


@asynccontextmanager
async def alone(hall: Hall, tmp_path: Path, **options: str) -> AsyncIterator[Hall]:
    """Run a gateway instead of the hall's own: beside it, either might place a call."""
    await hall.service.stop()
    try:
        async with hall_of(hall.parts, tmp_path / "gateway.log", **options) as seen:
            yield seen
    finally:
        await hall.service.start()


async def test_after_the_death_of_its_gateway_nothing_is_called_cancelled(
    hall: Hall, tmp_path: Path
) -> None:
    """Pressed when it is dead or when it is back: nobody knows any more who typed what rings."""
    async with alone(hall, tmp_path, DIALOUT_CALL__RING_SECONDS="60") as seen:
        room, numbers = seen.new_room(), [london("80"), london("80")]
        askers = [await seen.enter(room), await seen.enter(room)]
        for asker, number in zip(askers, numbers, strict=True):
            assert await asker.dials(number) == "calling"
            await seen.meeting.rings(number)

        await seen.service.kill()
        await askers[0].press("*2")
        await seen.service.start()
        await askers[1].press("*2")

        assert await asyncio.gather(*(each.heard() for each in askers)) == ["gateway_away"] * 2
        for asker in askers:
            await asker.leave()


async def test_a_press_waits_until_it_is_known_what_was_answered(
    hall: Hall, tmp_path: Path
) -> None:
    """A link that was lost, a ledger that is silent: the press is answered once both are there."""
    parts = hall.parts
    async with (
        tampering(parts.asterisk.ami_port) as way,
        alone(
            hall,
            tmp_path,
            DIALOUT_BRIDGES__MAIN__PORT=str(way.port),
            DIALOUT_CALL__RING_SECONDS="60",
        ) as seen,
    ):
        room, number = seen.new_room(), london("80")
        asker = await seen.enter(room)
        assert await asker.dials(number) == "calling"
        await seen.meeting.rings(number)
        async with silent_ledger(parts):
            links = len(seen.log("ami.connected"))
            way.cut()
            await logged(seen, "ami.connected", links + 1)
            await logged(seen, "calls.unreconciled", len(seen.log("calls.unreconciled")) + 1)
            await asker.press("*2")

        assert await asker.heard() == "cancelled"
        async with asyncio.timeout(30):
            while "CANCEL" not in seen.meeting.carrier.requests(number):
                await asyncio.sleep(0.05)
        await asker.leave()


@asynccontextmanager
async def silent_ledger(parts: Stack) -> AsyncIterator[None]:
    """Have nobody learn meanwhile which calls there are; it is back at once, unlike a server."""
    owner = await asyncpg.connect(parts.owner.dsn.get_secret_value())
    try:
        async with owner.transaction():
            await owner.execute("LOCK TABLE dialout.dial_out")
            yield
    finally:
        await owner.close()


async def logged(hall: Hall, event: str, times: int) -> None:
    """Return once the gateway has logged an event of this name so often in all."""
    async with asyncio.timeout(30):
        while len(hall.log(event)) < times:
            await asyncio.sleep(0.05)


@asynccontextmanager
async def bystander(hall: Hall) -> AsyncIterator[AmiSocket]:
    """Log in by an account that may send events and nothing else."""
    asterisk = hall.parts.asterisk
    accounts = asterisk.directory / "etc" / "manager.conf"
    before = accounts.read_text()
    accounts.write_text(f"{before}\n[bystander]\nsecret = bystander\nread = user\nwrite = user\n")
    await asterisk.cli("manager reload")
    try:
        async with AmiSocket(asterisk.host, asterisk.ami_port, "bystander", "bystander") as account:
            yield account
    finally:
        accounts.write_text(before)
        await asterisk.cli("manager reload")


async def test_an_entry_that_nobody_typed_is_not_placed(hall: Hall) -> None:
    """An event may name any channel; what the channel itself was asked, only the dialplan says."""
    room, number, rings = hall.new_room(), london("10"), london("80")
    asker = await hall.enter(room)
    assert await asker.dials(rings) == "calling"
    known = len(hall.log("gate.forged"))

    async with bystander(hall) as account:
        await account.send(*_forged(asker, "DialoutKeypadCancel"))
        await account.send(*_forged(asker, "DialoutKeypad", number))
        await logged(hall, "gate.forged", known + 2)

    assert hall.meeting.invites(number) == 0
    still = await hall.meeting.read((await hall.asked(rings))["dial_out_id"])
    assert still["state"] == "released"
    await asker.leave()
    await hall.meeting.ended(still["dial_out_id"])
    await hall.meeting.assert_books_are_clean()


def _forged(asker: Participant, event: str, number: str = "") -> Action:
    """Return an event that says of a member what he could have typed."""
    says = {"CONFERENCE": asker.room, **asker.hall.named()}
    return [
        ("Action", "UserEvent"),
        ("UserEvent", event),
        ("Channel", asker.channel),
        ("Uniqueid", asker.uniqueid),
        ("Visit", "123456789123456789"),
        ("Number", as_typed(number)),
        *((name.capitalize(), value) for name, value in says.items()),
    ]


async def hall_is_ready(hall: Hall) -> None:
    """Return once a call could be placed again."""
    async with asyncio.timeout(20):
        while not (await hall.meeting.client.get("/readyz")).is_success:
            await asyncio.sleep(0.1)
