"""Telephones that ring for nobody stop ringing: at once, unpaid, and only those."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.calls.meeting import Answer, london
from tests.calls.participants import Hall, hall_of, hall_stack
from tests.calls.test_guard import tampering
from tests.gate.ami_socket import Message

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

AT_ONCE_SECONDS = 2
"""More than a busy machine takes, and less than the reaper needs, who would hang it up at last."""

UNTOUCHED_SECONDS = 1.5
"""How long is waited for an end that nothing is to bring about."""

PATIENCE = {"DIALOUT_CALL__RING_SECONDS": "60"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hall(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hall]:
    """A gateway and a meeting. Telephones ring for a minute."""
    output = tmp_path_factory.mktemp("hall") / "gateway.log"
    async with hall_stack() as parts, hall_of(parts, output, **PATIENCE) as opened:
        yield opened


async def cancelled(hall: Hall, number: str, since: Message | None = None) -> Answer:
    """Insist that the carrier was told to stop, once, soon enough, and that nothing is owed."""
    dial_out = await hall.asked(number)
    ended = await hall.meeting.ended(dial_out["dial_out_id"])
    assert ended["disposition"] == "cancelled"
    assert ended["billable_seconds"] == 0
    async with asyncio.timeout(30):
        while "CANCEL" not in hall.meeting.carrier.requests(number):
            await asyncio.sleep(0.05)
    assert hall.meeting.invites(number) == 1
    if since is not None:
        begin = await hall.witness.event("DialBegin", Uniqueid=f"{hall.key(dial_out)}-gate")
        hangup = await hall.witness.event("Hangup", Uniqueid=begin["DestUniqueid"])
        took = float(hangup["Timestamp"]) - float(since["Timestamp"])
        assert took <= AT_ONCE_SECONDS, took
    return ended


async def rings_on(hall: Hall, number: str) -> None:
    """Insist that a telephone goes on ringing."""
    dial_out_id = (await hall.asked(number))["dial_out_id"]
    with pytest.raises(TimeoutError):
        await hall.meeting.ended(dial_out_id, seconds=UNTOUCHED_SECONDS)
    assert (await hall.meeting.read(dial_out_id))["state"] == "released"


def causes(hall: Hall, dial_out: Answer) -> list[str]:
    """Return why the gateway says that it has abandoned a call."""
    lines = hall.log("dial_out.abandoned")
    return [line["cause"] for line in lines if line["dial_out_id"] == dial_out["dial_out_id"]]


async def test_who_leaves_has_nobody_ringing_any_more(hall: Hall) -> None:
    """The one call that he asked for, and nobody else's."""
    room, his, others = hall.new_room(), london("80"), london("80")
    asker, other = await hall.enter(room), await hall.enter(room)
    assert await asker.dials(his) == "calling"
    assert await other.dials(others) == "calling"
    await hall.rings(others)

    left = await asker.leave()

    dial_out = await hall.meeting.ended((await hall.asked(his))["dial_out_id"])
    assert causes(hall, dial_out) == ["asker_left"]
    await rings_on(hall, others)
    await other.leave()
    await cancelled(hall, others)
    await cancelled(hall, his, since=left)
    await hall.meeting.assert_books_are_clean()


async def test_who_is_kicked_has_nobody_ringing_any_more(hall: Hall) -> None:
    """It is the same as leaving."""
    room, number = hall.new_room(), london("80")
    asker, other = await hall.enter(room), await hall.enter(room)
    assert await asker.dials(number) == "calling"

    await hall.parts.asterisk.cli(f"confbridge kick {room} {asker.channel}")

    dial_out = await cancelled(hall, number, since=await asker.left())
    assert causes(hall, dial_out) == ["asker_left"]
    await other.leave()


async def test_when_the_meeting_ends_nothing_rings_for_it(hall: Hall) -> None:
    """Whoever asked for it, and however."""
    room, number = hall.new_room(), london("80")
    guest = await hall.enter(room)
    placed = await hall.meeting.place(number, conference_id=room)
    await hall.meeting.rings(number)

    await guest.leave()
    end = await hall.witness.event("ConfbridgeEnd", Conference=room)

    assert (await cancelled(hall, number, since=end))["dial_out_id"] == placed["dial_out_id"]
    assert causes(hall, placed) == ["meeting_ended"]


async def test_a_meeting_that_goes_on_keeps_what_rings_for_it(hall: Hall) -> None:
    """Of a request without a channel nobody knows who asked; so whoever leaves may."""
    room, number = hall.new_room(), london("80")
    guest, stays = await hall.enter(room), await hall.enter(room)
    placed = await hall.meeting.place(number, conference_id=room)

    await guest.leave()
    with pytest.raises(TimeoutError):
        await hall.meeting.ended(placed["dial_out_id"], seconds=UNTOUCHED_SECONDS)

    await hall.meeting.cancel(placed["dial_out_id"])
    await cancelled(hall, number)
    await stays.leave()


async def test_the_asker_of_a_request_is_who_its_channel_says(hall: Hall) -> None:
    """The web page of a meeting knows the channel of whoever presses its button."""
    room, number = hall.new_room(), london("80")
    asker, stays = await hall.enter(room), await hall.enter(room)
    await hall.meeting.place(number, conference_id=room, asker_channel=asker.uniqueid)
    await hall.meeting.rings(number)

    left = await asker.leave()

    dial_out = await cancelled(hall, number, since=left)
    assert causes(hall, dial_out) == ["asker_left"]
    await stays.leave()


async def test_nothing_rings_for_an_asker_who_was_gone_before(hall: Hall) -> None:
    """Whoever hangs up while the request is on its way: no event tells of it any more."""
    room, number = hall.new_room(), london("80")
    asker, stays = await hall.enter(room), await hall.enter(room)
    await asker.leave()

    placed = await hall.meeting.place(number, conference_id=room, asker_channel=asker.uniqueid)

    assert (await hall.meeting.ended(placed["dial_out_id"], 30))["disposition"] == "cancelled"
    assert causes(hall, placed) == ["asker_left"]
    await stays.leave()


async def test_an_asker_who_has_not_joined_yet_is_waited_for(hall: Hall) -> None:
    """The page may know the channel before it is in the conference; here it never will be."""
    number = london("80")
    asker = await hall.enter(hall.new_room())
    placed = await hall.meeting.place(
        number, conference_id=hall.new_room(), asker_channel=asker.uniqueid
    )

    with pytest.raises(TimeoutError):
        await hall.meeting.ended(placed["dial_out_id"], seconds=UNTOUCHED_SECONDS)

    await asker.leave()
    await cancelled(hall, number)


async def test_a_key_cancels_what_rings_for_this_participant(hall: Hall) -> None:
    """*2, and the participant is in the room again."""
    room, his, others = hall.new_room(), london("80"), london("80")
    asker, other = await hall.enter(room), await hall.enter(room)
    assert await asker.dials(his) == "calling"
    assert await other.dials(others) == "calling"

    await asker.press("*2")
    pressed = await hall.witness.event("UserEvent", UserEvent="DialoutKeypadCancel")

    assert await asker.heard() == "cancelled"
    dial_out = await hall.asked(his)
    assert (await hall.meeting.ended(dial_out["dial_out_id"]))["disposition"] == "cancelled"
    assert causes(hall, dial_out) == ["asker_cancelled"]
    await rings_on(hall, others)
    await other.leave()
    await cancelled(hall, others)
    await cancelled(hall, his, since=pressed)
    await asker.leave()


async def test_an_answered_call_stays_when_its_asker_leaves(hall: Hall) -> None:
    """The telephone is in the meeting by its own right."""
    room, number = hall.new_room(), london("10")
    asker, stays = await hall.enter(room), await hall.enter(room)
    assert await asker.dials(number) == "calling"
    dial_out = await hall.asked(number)
    await hall.meeting.answered(dial_out["dial_out_id"])

    await asker.leave()
    with pytest.raises(TimeoutError):
        await hall.meeting.ended(dial_out["dial_out_id"], seconds=UNTOUCHED_SECONDS)

    assert causes(hall, dial_out) == []
    await hall.meeting.cancel(dial_out["dial_out_id"])
    await hall.meeting.ended(dial_out["dial_out_id"])
    await stays.leave()


async def test_a_telephone_that_answers_as_it_is_cancelled_is_settled(hall: Hall) -> None:
    """The carrier's 200 crosses our CANCEL: billed what it lasted, once, or nothing at all."""
    room, number = hall.new_room(), london("82")
    asker, stays = await hall.enter(room), await hall.enter(room)
    assert await asker.dials(number) == "calling"

    await asker.leave()
    ended = await hall.meeting.ended((await hall.asked(number))["dial_out_id"])

    assert ended["disposition"] in ("cancelled", "answered")
    assert ended["billable_seconds"] <= 1
    assert hall.meeting.invites(number) == 1
    await stays.leave()
    await hall.meeting.assert_books_are_clean()


async def test_who_left_unseen_is_missed_once_there_is_a_link_again(
    hall: Hall, tmp_path: Path
) -> None:
    """By Asterisk's own list of members; whoever is still on it keeps what rings."""
    parts, port = hall.parts, hall.parts.asterisk.ami_port
    async with (
        tampering(port) as way,
        hall_of(
            parts,
            tmp_path / "gateway.log",
            DIALOUT_BRIDGES__MAIN__PORT=str(way.port),
            **PATIENCE,
        ) as seen,
    ):
        room, his, others = seen.new_room(), london("80"), london("80")
        asker, stays = await seen.enter(room), await seen.enter(room)
        for number, who in ((his, asker), (others, stays)):
            await seen.meeting.place(number, conference_id=room, asker_channel=who.uniqueid)
            await seen.meeting.rings(number)

        way.upstream = seen.service.port  # where no Asterisk answers
        way.cut()
        await asker.leave()
        way.upstream = port

        dial_out = await cancelled(seen, his)
        assert causes(seen, dial_out) == ["asker_left"]
        await rings_on(seen, others)
        await stays.leave()
        await cancelled(seen, others)
        await seen.meeting.assert_books_are_clean()
