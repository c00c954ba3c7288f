"""Actions are written once, answered once, and known to be unknown when they are not."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.ami import (
    AmiClient,
    AmiEncodingError,
    AmiRefused,
    AmiTimeout,
    AmiUnavailable,
    Channel,
    LinkDown,
    OriginateResponse,
    Participant,
)
from tests.ami.conftest import Linked, Running, link
from tests.ami.scripted_server import DEADLINE_SECONDS, ScriptedServer, message

CHANNEL = (
    "Event: CoreShowChannel",
    "Channel: PJSIP/a-1",
    "ChannelStateDesc: Up",
    "Context: dialout-release",
    "Exten: d1",
    "Uniqueid: pbx-1.2",
    "Linkedid: pbx-1.1",
    "Application: Dial",
    "Duration: 101:02:03",
)


def originate(client: AmiClient) -> Awaitable[None]:
    """Ask for a call."""
    return client.originate(
        action_id="o1",
        channel="Local/d1@dialout-gate/n",
        context="dialout-join",
        extension="s",
        variables={"__DIALOUT_CONFERENCE": "room1", "B": "2"},
        timeout_ms=30_000,
        channel_id="k-join",
        other_channel_id="k-gate",
        caller_id="442071234567",
    )


def release(client: AmiClient) -> Awaitable[None]:
    """Send a waiting channel on with its verdict."""
    return client.set_and_redirect(
        channel="Local/d1@dialout-gate-1;2",
        variable="DIALOUT_VERDICT",
        value="allow:k:42:pbx-1.2:44",
        context="dialout-release",
        extension="d1",
        action_id="k",
    )


async def test_originate_is_asynchronous_and_ends_with_its_acknowledgement(linked: Linked) -> None:
    """The call may ring for a minute. What became of it is an event, with the same ActionID."""
    asking = asyncio.ensure_future(originate(linked.client))
    asked = await linked.session.asked()
    linked.session.answer(asked, "Message: Originate successfully queued")
    await asking

    assert list(asked.items()) == [
        ("Action", "Originate"),
        ("ActionID", "o1"),
        ("Channel", "Local/d1@dialout-gate/n"),
        ("Context", "dialout-join"),
        ("Exten", "s"),
        ("Priority", "1"),
        ("Async", "true"),
        ("Timeout", "30000"),
        ("ChannelId", "k-join"),
        ("OtherChannelId", "k-gate"),
        ("CallerID", "442071234567"),
        ("Variable", "B=2"),
    ]
    linked.session.send(
        "Event: OriginateResponse", "ActionID: o1", "Response: Success", "Uniqueid: k", "Reason: 4"
    )
    assert await linked.running.event() == OriginateResponse(
        action_id="o1", uniqueid="k", success=True, reason=4
    )


async def test_the_result_of_an_originate_is_an_event_even_before_its_acknowledgement(
    linked: Linked,
) -> None:
    """An event that carries the ActionID of an action in flight is not taken for its answer."""
    asking = asyncio.ensure_future(originate(linked.client))
    asked = await linked.session.asked()
    linked.session.send("Event: OriginateResponse", "ActionID: o1", "Response: Failure")
    event = await linked.running.event()

    assert isinstance(event, OriginateResponse)
    assert not asking.done()
    linked.session.answer(asked)
    await asking


async def test_a_refusal_says_what_asterisk_said(linked: Linked) -> None:
    """It is the only thing an operator has to go by."""
    asking = asyncio.ensure_future(linked.client.hangup("PJSIP/a-1", cause=21))
    asked = await linked.session.asked()
    linked.session.answer(asked, "Message: No such channel", response="Error")

    with pytest.raises(AmiRefused, match="No such channel") as caught:
        await asking
    assert asked["Channel"] == "PJSIP/a-1"
    assert asked["Cause"] == "21"
    assert not caught.value.unknown


async def test_ping_returns_the_host_s_clock(linked: Linked) -> None:
    """In whole milliseconds: the heartbeat is compared with the same clock in the dialplan."""
    asking = asyncio.ensure_future(linked.client.ping())
    linked.session.answer(
        await linked.session.asked(), "Ping: Pong", "Timestamp: 1763704321.987654"
    )

    assert await asking == 1_763_704_321_987


async def test_a_variable_without_channel_is_global(linked: Linked) -> None:
    """Asterisk takes a missing Channel for that, so the header must not be there at all."""
    asking = asyncio.ensure_future(linked.client.set_variable("DIALOUT_HEARTBEAT", "1763704321"))
    asked = await linked.session.asked()
    linked.session.answer(asked)
    await asking

    assert list(asked)[0:2] == ["Action", "ActionID"]
    assert "Channel" not in asked
    assert (asked["Variable"], asked["Value"]) == ("DIALOUT_HEARTBEAT", "1763704321")


async def test_set_and_redirect_is_one_write_in_order(linked: Linked) -> None:
    """The verdict must be there when the channel arrives where it is checked."""
    asking = asyncio.ensure_future(release(linked.client))
    set_verdict, redirect = await linked.session.asked(), await linked.session.asked()
    linked.session.answer(redirect)
    linked.session.answer(set_verdict)
    await asking

    assert set_verdict["Action"] == "Setvar"
    assert set_verdict["Value"] == "allow:k:42:pbx-1.2:44"
    assert redirect["Action"] == "Redirect"
    assert redirect["Channel"] == set_verdict["Channel"] == "Local/d1@dialout-gate-1;2"
    assert (redirect["Context"], redirect["Exten"]) == ("dialout-release", "d1")


@pytest.mark.parametrize("refused", [0, 1])
async def test_set_and_redirect_is_refused_if_either_is(linked: Linked, refused: int) -> None:
    """The channel is gone: then it does not matter which of the two noticed."""
    asking = asyncio.ensure_future(release(linked.client))
    for index in range(2):
        asked = await linked.session.asked()
        linked.session.answer(asked, response="Error" if index == refused else "Success")

    with pytest.raises(AmiRefused):
        await asking


async def test_an_unanswered_action_is_unknown_and_its_late_answer_dropped(
    server: ScriptedServer,
) -> None:
    """Late, it must reach neither another action nor a table that grows for ever."""
    linked = await link(server, Running(server.port, action_deadline_seconds=1.5))
    with pytest.raises(AmiTimeout) as caught:
        await originate(linked.client)
    assert caught.value.unknown

    asked = await linked.session.asked()
    linked.session.answer(asked)
    linked.session.send("Event: Shutdown")
    await linked.running.event()

    assert linked.client.late_answers == 1
    again = asyncio.ensure_future(originate(linked.client))
    linked.session.answer(await linked.session.asked())
    await again
    await linked.running.stop()


async def test_a_cancelled_action_is_forgotten(linked: Linked) -> None:
    """Its ActionID is free again, and its answer is late."""
    asking = asyncio.ensure_future(originate(linked.client))
    asked = await linked.session.asked()
    asking.cancel()
    await asyncio.wait({asking})
    linked.session.answer(asked)
    linked.session.send("Event: Shutdown")
    await linked.running.event()

    assert linked.client.late_answers == 1


async def test_two_actions_in_flight_cannot_share_an_id(linked: Linked) -> None:
    """The answer of one would be taken for that of the other."""
    asking = asyncio.ensure_future(originate(linked.client))
    asked = await linked.session.asked()
    with pytest.raises(AmiEncodingError):
        await originate(linked.client)

    linked.session.answer(asked)
    await asking


async def test_without_a_link_an_action_fails_at_once(server: ScriptedServer) -> None:
    """It is not queued: a call that begins when the link comes back was asked for by nobody."""
    running = Running(server.port)
    with pytest.raises(AmiUnavailable) as before:
        await originate(running.client)
    session = await server.session()
    await session.log_in()
    with pytest.raises(AmiUnavailable) as booting:
        await originate(running.client)
    await running.stop()

    assert not before.value.unknown
    assert not booting.value.unknown
    assert await session.rest() == b""


async def test_an_action_lost_with_its_link_is_unknown_and_never_sent_again(
    linked: Linked,
) -> None:
    """Asterisk may have carried it out. A second Originate would be a second telephone call."""
    asking = asyncio.ensure_future(originate(linked.client))
    await linked.session.asked()
    linked.session.abort()
    with pytest.raises(AmiUnavailable) as caught:
        await asking
    assert caught.value.unknown

    assert isinstance(await linked.running.event(), LinkDown)
    again = await link(linked.server, linked.running)
    pinging = asyncio.ensure_future(linked.client.ping())
    asked = await again.session.asked()
    again.session.answer(asked, "Timestamp: 1.0")

    assert asked["Action"] == "Ping"
    assert await pinging == 1000


async def test_asterisk_that_does_not_read_gets_no_actions(linked: Linked) -> None:
    """What waits in a buffer would be written when nobody wants it any more."""
    linked.session.stop_reading()
    asking: set[asyncio.Future[None]] = set()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not any(future.done() for future in asking):
            for _ in range(1000):
                setting = linked.client.set_variable("A", "x" * 900, channel="PJSIP/a-1")
                asking.add(asyncio.ensure_future(setting))
            await asyncio.sleep(0)
            await asyncio.wait(asking, timeout=0.01, return_when=asyncio.FIRST_COMPLETED)
    refused = next(future for future in asking if future.done())
    linked.session.abort()
    await asyncio.wait(asking)

    error = refused.exception()
    assert isinstance(error, AmiUnavailable)
    assert not error.unknown
    assert all(isinstance(future.exception(), AmiUnavailable) for future in asking)


async def test_channels_are_the_complete_list(linked: Linked) -> None:
    """Items of a list are not events, and other events may come in between."""
    asking = asyncio.ensure_future(linked.client.channels())
    asked = await linked.session.asked()
    action_id = f"ActionID: {asked['ActionID']}"
    linked.session.answer(asked, "EventList: start", "Message: Channels will follow")
    linked.session.send(*CHANNEL, action_id)
    linked.session.send("Event: Shutdown")
    linked.session.send(
        "Event: CoreShowChannelsComplete", action_id, "EventList: Complete", "ListItems: 1"
    )

    assert await asking == (
        Channel(
            uniqueid="pbx-1.2",
            linkedid="pbx-1.1",
            name="PJSIP/a-1",
            context="dialout-release",
            extension="d1",
            application="Dial",
            state_description="Up",
            duration_seconds=101 * 3600 + 2 * 60 + 3,
        ),
    )


@pytest.mark.parametrize(
    ("item", "ending"),
    [
        (CHANNEL, ("EventList: cancelled", "ListItems: 1")),
        (CHANNEL, ("EventList: Complete", "ListItems: 2")),
        (CHANNEL, ("EventList: Complete",)),
        (CHANNEL[:-1], ("EventList: Complete", "ListItems: 1")),
        ((*CHANNEL[:-2], CHANNEL[-1]), ("EventList: Complete", "ListItems: 1")),
    ],
)
async def test_a_list_that_is_not_complete_is_no_list(
    linked: Linked, item: tuple[str, ...], ending: tuple[str, ...]
) -> None:
    """A call that is missing from it would be taken for ended."""
    asking = asyncio.ensure_future(linked.client.channels())
    asked = await linked.session.asked()
    action_id = f"ActionID: {asked['ActionID']}"
    linked.session.answer(asked, "EventList: start")
    linked.session.send(*item, action_id)
    linked.session.send("Event: CoreShowChannelsComplete", action_id, *ending)

    with pytest.raises(AmiRefused):
        await asking


PARTICIPANT = (
    "Event: ConfbridgeList",
    "Conference: room1",
    "Admin: Yes",
    "MarkedUser: No",
    "Channel: PJSIP/a-1",
    "Uniqueid: pbx-1.2",
)


async def test_participants_are_the_complete_list(linked: Linked) -> None:
    """Whoever is missing from it would leave somebody else alone."""
    asking = asyncio.ensure_future(linked.client.participants("room1"))
    asked = await linked.session.asked()
    action_id = f"ActionID: {asked['ActionID']}"
    linked.session.answer(asked, "EventList: start")
    linked.session.send(*PARTICIPANT, action_id)
    linked.session.send(
        "Event: ConfbridgeListComplete", action_id, "EventList: Complete", "ListItems: 1"
    )

    assert asked["Conference"] == "room1"
    assert await asking == (
        Participant(uniqueid="pbx-1.2", channel="PJSIP/a-1", is_admin=True, is_marked=False),
    )


@pytest.mark.parametrize(
    ("item", "items"), [(PARTICIPANT, 2), (PARTICIPANT[:-1], 1), (PARTICIPANT[:2], 1)]
)
async def test_participants_with_a_hole_are_no_list(
    linked: Linked, item: tuple[str, ...], items: int
) -> None:
    """One member fewer than Asterisk counted, or one of whom not everything was said."""
    asking = asyncio.ensure_future(linked.client.participants("room1"))
    asked = await linked.session.asked()
    action_id = f"ActionID: {asked['ActionID']}"
    linked.session.answer(asked, "EventList: start")
    linked.session.send(*item, action_id)
    linked.session.send(
        "Event: ConfbridgeListComplete", action_id, "EventList: Complete", f"ListItems: {items}"
    )

    with pytest.raises(AmiRefused):
        await asking


@pytest.mark.parametrize("message", ["No active conferences.", "No Conference by that name found."])
async def test_a_conference_without_members_is_an_empty_list(linked: Linked, message: str) -> None:
    """Asterisk calls it an error; any other error is one."""
    for ask in (linked.client.participants("room1"), linked.client.conferences()):
        asking = asyncio.ensure_future(ask)
        linked.session.answer(await linked.session.asked(), f"Message: {message}", response="Error")
        assert await asking == ()

    refused = asyncio.ensure_future(linked.client.conferences())
    linked.session.answer(
        await linked.session.asked(), "Message: Permission denied", response="Error"
    )
    with pytest.raises(AmiRefused, match="Permission denied"):
        await refused


async def test_a_variable_that_is_not_set_is_empty(linked: Linked) -> None:
    """Asterisk answers with an empty value, and with an error for a channel that is gone."""
    unset = asyncio.ensure_future(linked.client.variable("ATTENDED", channel="pbx-1.2"))
    asked = await linked.session.asked()
    linked.session.answer(asked, "Variable: ATTENDED", "Value: ")
    gone = asyncio.ensure_future(linked.client.variable("ATTENDED", channel="pbx-1.2"))
    linked.session.answer(
        await linked.session.asked(), "Message: No such channel", response="Error"
    )

    assert await unset == ""
    assert (asked["Channel"], asked["Variable"]) == ("pbx-1.2", "ATTENDED")
    with pytest.raises(AmiRefused, match="No such channel"):
        await gone


async def test_a_list_that_never_ends_is_unknown(server: ScriptedServer) -> None:
    """Half a list must not come back as a whole one, and its late end is counted."""
    linked = await link(server, Running(server.port, action_deadline_seconds=0.05))
    asking = asyncio.ensure_future(linked.client.channels())
    asked = await linked.session.asked()
    action_id = f"ActionID: {asked['ActionID']}"
    linked.session.answer(asked, "EventList: start")
    linked.session.send(*CHANNEL, action_id)
    with pytest.raises(AmiTimeout):
        await asking

    linked.session.send("Event: CoreShowChannelsComplete", action_id, "EventList: Complete")
    linked.session.send("Event: Shutdown")
    await linked.running.event()

    assert linked.client.late_answers == 1
    await linked.running.stop()


Ask = Callable[[AmiClient], Awaitable[object]]


async def listed(linked: Linked, ask: Ask, *records: tuple[str, str]) -> object:
    """Answer a request for records with these, in Asterisk's own words."""
    asking = asyncio.ensure_future(ask(linked.client))
    asked = await linked.session.asked()
    action_id = f"ActionID: {asked['ActionID']}"
    linked.session.answer(asked, "EventList: start", "Message: Result will follow")
    for key, value in records:
        linked.session.send(
            f"Event: {asked['Action']}Response", f"Key: {key}", f"Val: {value}", action_id
        )
    linked.session.send(
        f"Event: {asked['Action']}Complete",
        action_id,
        "EventList: Complete",
        f"ListItems: {len(records)}",
    )
    return await asking


async def test_records_are_read_by_key(linked: Linked) -> None:
    """Keys are relative to the family, an empty value is a value, an empty family is no error."""

    async def ask(client: AmiClient) -> object:
        return await client.records("dialout/ended")

    filled = ("/dialout/ended/ab", "x:1:José"), ("/dialout/ended/cd", "")
    assert await listed(linked, ask, *filled) == {"ab": "x:1:José", "cd": ""}
    assert await listed(linked, ask) == {}


async def test_a_record_is_read_and_its_absence_is_none(linked: Linked) -> None:
    """Absence is an answer; any other refusal is not taken for it."""

    async def ask(client: AmiClient) -> object:
        return await client.record("dialout/ended", "ab")

    assert await listed(linked, ask, ("ab", "")) == ""
    with pytest.raises(AmiRefused):
        await listed(linked, ask)

    absent = asyncio.ensure_future(linked.client.record("dialout/ended", "ab"))
    asked = await linked.session.asked()
    linked.session.answer(asked, "Message: Database entry not found", response="Error")
    assert await absent is None

    denied = asyncio.ensure_future(linked.client.record("dialout/ended", "ab"))
    linked.session.answer(
        await linked.session.asked(), "Message: Permission denied", response="Error"
    )
    with pytest.raises(AmiRefused, match="Permission denied"):
        await denied


async def test_a_record_is_deleted_by_a_function_without_channel(linked: Linked) -> None:
    """The account lacks the class for DBDel; DB_DELETE needs none, and no channel."""
    asking = asyncio.ensure_future(linked.client.record_delete("dialout/ended", "ab"))
    asked = await linked.session.asked()
    linked.session.answer(asked)
    await asking

    assert asked["Action"] == "Setvar"
    assert asked["Variable"] == "DB_DELETE(dialout/ended/ab)"
    assert "Channel" not in asked


async def test_an_answer_in_single_bytes_is_an_answer(linked: Linked) -> None:
    """A read may end anywhere, in a character too."""
    asking = asyncio.ensure_future(linked.client.hangup("PJSIP/a-1", cause=16))
    asked = await linked.session.asked()
    answer = message("Response: Error", f"ActionID: {asked['ActionID']}", "Message: né")
    for byte in answer:
        linked.session.write(bytes([byte]))
        await asyncio.sleep(0)

    with pytest.raises(AmiRefused, match="né"):
        await asking


async def test_a_limit_is_moved_in_milliseconds(linked: Linked) -> None:
    """Asterisk takes seconds with a fraction; a whole second more is a second that nobody pays."""
    asking = asyncio.ensure_future(linked.client.limit("asterisk-1.2", milliseconds=12_345))
    asked = await linked.session.asked()
    linked.session.answer(asked)
    await asking

    assert (asked["Action"], asked["Channel"]) == ("AbsoluteTimeout", "asterisk-1.2")
    assert asked["Timeout"] == "12.345"


@pytest.mark.parametrize(("value", "left_ms"), [("12.345", 12_345), ("0.000", None), ("", None)])
async def test_how_long_a_channel_may_go_on_is_read(
    linked: Linked, value: str, left_ms: int | None
) -> None:
    """A zero is how Asterisk says that there is no limit, and not that there is no time."""
    asking = asyncio.ensure_future(linked.client.limit_left_ms("asterisk-1.2"))
    asked = await linked.session.asked()
    linked.session.answer(asked, "Variable: TIMEOUT(absolute)", f"Value: {value}")

    assert await asking == left_ms
    assert (asked["Action"], asked["Variable"]) == ("Getvar", "TIMEOUT(absolute)")
