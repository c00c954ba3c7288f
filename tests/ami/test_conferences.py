"""Which conferences are in progress: as Asterisk lists them, and as it says that they change."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.ami import (
    AmiError,
    ConferenceChanged,
    ConferenceEnded,
    Event,
    Shutdown,
)
from gateway.conferences import Conferences
from tests.ami.conftest import Linked

ROOMS = ("kept", "over", "new")


def begun(conference: str) -> Event:
    """Return that somebody came into a conference."""
    return ConferenceChanged(
        conference=conference, joined=True, channel="PJSIP/a-1", uniqueid="pbx-1.1", at=None
    )


def left(conference: str) -> Event:
    """Return that somebody left one."""
    return ConferenceChanged(
        conference=conference, joined=False, channel="PJSIP/a-1", uniqueid="pbx-1.1", at=None
    )


def over(conference: str) -> Event:
    """Return that a conference is over."""
    return ConferenceEnded(conference=conference)


async def listed(
    linked: Linked, conferences: Conferences, *rooms: str, meanwhile: tuple[Event, ...] = ()
) -> None:
    """Have the conferences listed, with events that are read before the list has come."""
    taking = asyncio.ensure_future(conferences.take_stock())
    asked = await linked.session.asked()
    for event in meanwhile:
        conferences.handle(event)
    action_id = f"ActionID: {asked['ActionID']}"
    linked.session.answer(asked, "EventList: start")
    for room in rooms:
        linked.session.send("Event: ConfbridgeListRooms", action_id, f"Conference: {room}")
    linked.session.send(
        *("Event: ConfbridgeListRoomsComplete", action_id),
        *("EventList: Complete", f"ListItems: {len(rooms)}"),
    )
    await taking


def there(conferences: Conferences) -> set[str]:
    """Return which of the rooms are in progress."""
    return {room for room in ROOMS if room in conferences}


async def test_what_is_listed_is_there_until_it_ends(linked: Linked) -> None:
    """Whoever leaves does not end it; the last one does, and Asterisk says so."""
    conferences = Conferences(linked.client)
    assert not conferences.known

    await listed(linked, conferences, "kept", "over")
    for event in (begun("new"), left("kept"), over("over")):
        conferences.handle(event)

    assert conferences.known
    assert there(conferences) == {"kept", "new"}


async def test_what_is_said_meanwhile_counts_more_than_the_list(linked: Linked) -> None:
    """The list was made before it came; what ended since would be found there for ever."""
    conferences = Conferences(linked.client)

    await listed(linked, conferences, "kept", "over", meanwhile=(over("over"), begun("new")))

    assert there(conferences) == {"kept", "new"}


async def test_a_new_list_is_the_whole_truth(linked: Linked) -> None:
    """What ended while nobody listened is not kept, and what was said long ago decides nothing."""
    conferences = Conferences(linked.client)
    await listed(linked, conferences, "over")
    for event in (begun("over"), over("kept")):
        conferences.handle(event)
    conferences.link_lost()

    await listed(linked, conferences, "kept")

    assert there(conferences) == {"kept"}


async def test_after_a_lost_link_they_are_remembered_and_not_known(linked: Linked) -> None:
    """They may go on, so nobody is called into a conference of the same name elsewhere."""
    conferences = Conferences(linked.client)
    await listed(linked, conferences, "kept")

    conferences.link_lost()

    assert not conferences.known
    assert there(conferences) == {"kept"}


async def test_an_asterisk_that_stops_has_none(linked: Linked) -> None:
    """It said so itself: its conferences are over."""
    conferences = Conferences(linked.client)
    await listed(linked, conferences, "kept")

    conferences.handle(Shutdown())

    assert there(conferences) == set()


async def refused(linked: Linked) -> None:
    """Refuse the list."""
    asked = await linked.session.asked()
    linked.session.answer(asked, "Message: Permission denied", response="Error")


async def incomplete(linked: Linked) -> None:
    """Leave one out of the list."""
    asked = await linked.session.asked()
    action_id = f"ActionID: {asked['ActionID']}"
    linked.session.answer(asked, "EventList: start")
    linked.session.send("Event: ConfbridgeListRooms", action_id, "Conference: kept")
    linked.session.send(
        "Event: ConfbridgeListRoomsComplete", action_id, "EventList: Complete", "ListItems: 2"
    )


@pytest.mark.parametrize("answer", [refused, incomplete])
async def test_a_list_that_fails_changes_nothing(
    linked: Linked, answer: Callable[[Linked], Awaitable[None]]
) -> None:
    """A conference that is missing from it would be looked for elsewhere."""
    conferences = Conferences(linked.client)
    await listed(linked, conferences, "kept", "over")
    conferences.link_lost()

    taking = asyncio.ensure_future(conferences.take_stock())
    await answer(linked)
    with pytest.raises(AmiError):
        await taking

    assert not conferences.known
    assert there(conferences) == {"kept", "over"}
