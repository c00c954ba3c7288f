"""Whatever an Asterisk sends, or somebody in its place, the client goes on and stays small."""

import asyncio
import os
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import fields
from itertools import count, pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.ami import (
    AmiClient,
    AmiRefused,
    AmiTimeout,
    DialEnd,
    Event,
    Hangup,
    LinkDown,
    LinkUp,
    OriginateResponse,
)
from gateway.ami.answers import Answers
from gateway.ami.framer import Framer, MessageTooLong
from gateway.ami.inbox import Inbox
from gateway.ami.line import is_line
from gateway.ami.link import Link
from gateway.ami.malformed import Malformed
from gateway.ami.translate import MalformedEvent, event_name, is_translated, translate
from tests.ami.conftest import Linked, Running, link
from tests.ami.mutations import END, MESSAGES, TRAFFIC, mutated
from tests.ami.scripted_server import DEADLINE_SECONDS, ScriptedServer, Session, message

BYTES = 10_000_000
BLOCK_BYTES = 100_000
MEMORY_BYTES_MAX = 30_000_000
"""What the whole test may take beside its own traffic: a full inbox, one message, one read."""

FIRST = b"Banner\r\n"


class Consumer:
    """Reads every event, as the bridge does, and knows the good ones and whether the link is up."""

    def __init__(self, running: Running) -> None:
        self.seen = 0
        self.links = 1
        self.is_up = True
        self._running = running
        self._changed = asyncio.Event()
        self._good: set[str] = set()
        self.task = asyncio.create_task(self._consume())

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what the events are to bring."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def has(self, uniqueid: str) -> bool:
        """Return whether the hangup of this good channel has come."""
        return uniqueid in self._good

    async def _consume(self) -> None:
        async for event in self._running.client.events():
            self.seen += 1
            match event:
                case LinkUp():
                    self.links += 1
                    self.is_up = True
                case LinkDown():
                    self.is_up = False
                case Hangup() if event.uniqueid.startswith("good-"):
                    self._good.add(event.uniqueid)
                case _:
                    pass
            self._changed.set()


async def test_ten_million_mutated_bytes_neither_stop_nor_fill_the_client(
    server: ScriptedServer,
) -> None:
    """After each block the next good event is handled and the next good answer, too.

    Where a block ended the link, as a message without an end does, it comes back by itself; such
    a block is not counted. The log has a handful of lines of it all.
    """
    random = Random(6)
    linked = await link(server, Running(server.port))
    consumer = Consumer(linked.running)
    before, largest, handled = _memory_bytes(), 0, 0
    with capture_logs() as logs:
        session = linked.session
        for block in count():
            if await _survives(consumer, session, random, f"good-{block}"):
                handled += BLOCK_BYTES
            else:
                session = await server.session()
                await session.boot()
                await consumer.until(lambda: consumer.is_up)
            await _pings(linked.client, session)
            largest = max(largest, _memory_bytes())
            if handled >= BYTES:
                break
        await linked.running.stop()
        await consumer.task

    assert largest - before < MEMORY_BYTES_MAX
    assert linked.client.malformed_messages > 1000
    assert consumer.seen > 5000
    assert consumer.links > 5
    lost = {log["reason"] for log in logs if log["event"] == "ami.lost"}
    assert lost == {"a message was too long"}, "by nothing else, an error in it least of all"
    malformed = [log for log in logs if log["event"] == "ami.malformed"]
    assert 1 <= len(malformed) <= 10
    assert {log["event"] for log in logs} <= {"ami.malformed", "ami.connected", "ami.lost"}


async def _survives(consumer: Consumer, session: Session, random: Random, uniqueid: str) -> bool:
    """Send a block and a good event; return True once that has come, False if the link ended."""
    for piece in mutated(random, BLOCK_BYTES):
        session.write(piece)
    session.write(END + message("Event: Hangup", f"Uniqueid: {uniqueid}", "Cause: 16"))
    await consumer.until(lambda: consumer.has(uniqueid) or not consumer.is_up)
    return consumer.is_up


async def _pings(client: AmiClient, session: Session) -> None:
    """See that an action is answered."""
    asking = asyncio.ensure_future(client.ping())
    session.answer(await session.asked(), "Timestamp: 1763704321.5")
    assert await asking == 1_763_704_321_500


def _memory_bytes() -> int:
    """Return how much of the machine's memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_nothing_of_what_asterisk_says_is_malformed() -> None:
    """Whatever is refused here must be what no Asterisk sends: each of its events is read."""
    malformed = Malformed()
    events = await _events(iter([TRAFFIC]), malformed)

    assert malformed.count == 0
    assert len(events) == sum(is_translated(event_name(each) or b"") for each in MESSAGES)


async def _events(wire: Iterator[bytes], malformed: Malformed | None = None) -> list[Event]:
    """Return the events that a link makes of what it reads so."""
    inbox = Inbox(events_max=1000)
    read = Link(
        inbox=inbox,
        answers=Answers(list_bytes_max=1000),
        malformed=malformed or Malformed(),
        message_bytes_max=10_000,
    )
    for data in wire:
        read.data_received(data)
    inbox.close()
    return [event async for event in inbox]


async def test_a_read_may_end_at_every_byte() -> None:
    """A short stream of real traffic, mutated here and there, means the same however it is cut."""
    until_booted = TRAFFIC[: TRAFFIC.index(b"Fully Booted") + len(b"Fully Booted\r\n\r\n")]
    hangups = [each + END for each in MESSAGES if each.startswith(b"Event: Hangup")]
    odd = [piece for piece in mutated(Random(7), 2000) if len(piece) < 900]
    wire = until_booted + b"".join(hangups[:3] + odd)
    whole = await _events(iter([wire]))

    assert len(whole) > 4
    for cut in range(1, len(wire)):
        assert await _events(iter([wire[:cut], wire[cut:]])) == whole
    assert await _events(bytes([byte]) for byte in wire) == whole


@settings(deadline=None)
@given(
    pieces=st.lists(
        st.sampled_from([b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"x" * 17, b"x" * 20])
        | st.binary(max_size=22)
    ),
    cuts=st.lists(st.integers(min_value=0, max_value=200)),
)
def test_framing_does_not_depend_on_how_the_bytes_are_cut(
    pieces: list[bytes], cuts: list[int]
) -> None:
    """For any bytes, also at the very edge of the longest message."""
    wire = FIRST + b"".join(pieces)
    places = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})

    assert _framed([wire[a:b] for a, b in pairwise(places)]) == _framed([wire])


def _framed(reads: list[bytes]) -> tuple[list[bytes], bool]:
    """Return the messages of these reads, and whether one was too long."""
    framer = Framer(message_bytes_max=20)
    frames: list[bytes] = []
    try:
        for data in reads:
            for frame in framer.feed(data):
                frames.append(frame)
    except MessageTooLong:
        return frames, True
    return frames, False


EVENTS = [each for each in MESSAGES if is_translated(event_name(each) or b"")]
VALUES = (
    st.binary(max_size=60)
    | st.text(max_size=60).map(str.encode)
    | st.sampled_from([b"9" * 400, b"x" * 1001, "٣".encode(), b"1763704321.5", b"9999999999999"])
    | st.sampled_from([b"0123456789abcdef" * 4, b"DialoutGate", b"DialoutAdmitted", b"Success"])
)
HEADERS = sorted(
    {line.split(b": ")[0] for each in MESSAGES for line in each.split(b"\r\n") if b": " in line}
    | {b"Admitted", b"Number", b"Caller", b"Tenant", b"Organizer", b"Initiator", b"DialOutId"}
)
USER_EVENTS = ("Gate", "Intercept", "Keypad", "KeypadCancel", "DialIn", "Admitted")


@settings(deadline=None)
@given(
    frame=st.sampled_from(EVENTS),
    changed=st.dictionaries(st.sampled_from(HEADERS), VALUES, max_size=5),
    user_event=st.sampled_from(USER_EVENTS),
)
def test_an_event_is_in_its_forms_or_malformed(
    frame: bytes, changed: dict[bytes, bytes], user_event: str
) -> None:
    """Whatever its bytes: no other exception, no character that writes a line of its own.

    Nor a number that is too large for those who reckon with it.
    """
    lines = dict(line.split(b": ", 1) for line in frame.split(b"\r\n"))
    if b"UserEvent" in lines:
        lines[b"UserEvent"] = f"Dialout{user_event}".encode()
    name = lines.pop(b"Event")
    wire = b"Event: " + name + b"".join(b"\r\n%s: %s" % each for each in (lines | changed).items())
    try:
        event = translate(name, wire)
    except MalformedEvent:
        return

    values = [getattr(event, field.name) for field in fields(event)] if event else []
    for value in values:
        if isinstance(value, str):
            assert is_line(value)
        elif value is not None:
            assert 0 <= value < 10_000_000_000_000


def test_no_number_is_too_large_to_reckon_with() -> None:
    """An instant ends up in a date, a cause in a column; one that fits neither is not known."""
    lines = ("Event: Hangup", "Uniqueid: pbx-1.2", "Timestamp: 10000000000.0", "Cause: 1000")
    hung_up = translate(b"Hangup", message(*lines).removesuffix(END))
    booted = translate(b"FullyBooted", b"Event: FullyBooted\r\nUptime: 10000000000")

    assert hung_up == Hangup(uniqueid="pbx-1.2", linkedid="", channel="", cause=0, at=None)
    assert booted == LinkUp(uptime_seconds=None)


def test_two_events_in_one_are_none() -> None:
    """A lost line end makes one message of two, and what it says would be of neither."""
    first = ("Event: DialEnd", "DestUniqueid: pbx-1.2", "DialStatus: ANSWER")
    second = ("Event: Hangup", "Uniqueid: pbx-9.9", "Cause: 16")
    frame = message(*first, *second)

    with pytest.raises(MalformedEvent, match="Event"):
        translate(b"DialEnd", frame)


async def test_a_flood_of_malformed_messages_is_one_line_in_the_log(linked: Linked) -> None:
    """It says how many there were only by the count, which operators read as a metric."""
    bad = message("Event: UserEvent", "UserEvent: DialoutGate", "Key: no") + message("nonsense")
    with capture_logs() as logs:
        for _ in range(100):
            linked.session.write(bad * 50)
            await linked.session.flush()
        linked.session.send("Event: Hangup", "Uniqueid: good-1")
        assert isinstance(await linked.running.event(), Hangup)

    assert linked.client.malformed_messages == 10_000
    assert logs == [
        {
            "event": "ami.malformed",
            "log_level": "warning",
            "message": "UserEvent",
            "header": "Key",
            "unlogged": 0,
        }
    ]


async def test_what_was_not_logged_is_told_with_the_next_line() -> None:
    """Or nobody would know from the log that it was a flood."""
    malformed = Malformed(quiet_seconds=0.3)
    with capture_logs() as logs:
        for _ in range(3):
            malformed.note("Hangup", "Uniqueid")
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(logs) < 2:
                await asyncio.sleep(0.005)
                malformed.note("Hangup", "Uniqueid")

    assert logs[1]["unlogged"] == malformed.count - 2


async def test_a_list_that_never_ends_is_given_up(server: ScriptedServer) -> None:
    """At its bytes, not at its deadline, in which it could fill the memory.

    What still comes of it, and even its end, changes nothing; the next action is answered.
    """
    linked = await link(server, Running(server.port, list_bytes_max=100_000))
    asking = asyncio.ensure_future(linked.client.channels())
    asked = await linked.session.asked()
    mark = f"ActionID: {asked['ActionID']}"
    linked.session.answer(asked, "EventList: start")
    items = message("Event: CoreShowChannel", mark, f"Uniqueid: {'x' * 900}") * 300
    tracemalloc.start()
    try:
        linked.session.write(items)
        with pytest.raises(AmiRefused, match="longer"):
            await asking
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    linked.session.send("Event: CoreShowChannelsComplete", mark, "EventList: Complete")
    await _pings(linked.client, linked.session)

    assert peak < 5_000_000
    await linked.running.stop()


@pytest.mark.parametrize(
    "lines",
    [
        ("Response: Sucess",),
        ("Response: Goodbye",),
        ("Response: ",),
        ("Response: Success", "Response: Error"),
        ("Response: Success", *(f"H{number}: {number}" for number in range(300))),
        ("Event: Unheard",),
        ("Event: OriginateResponse", "Response: Failure"),
        ("Event: OriginateResponse", "Response: Suczess"),
    ],
)
async def test_what_is_no_plain_yes_or_no_leaves_an_action_s_fate_unknown(
    server: ScriptedServer, lines: tuple[str, ...]
) -> None:
    """A yes that was garbled is no refusal: what was refused is taken for never done."""
    linked = await link(server, Running(server.port, action_deadline_seconds=0.1))
    asking = asyncio.ensure_future(linked.client.set_variable("A", "1"))
    asked = await linked.session.asked()
    linked.session.send(lines[0], f"ActionID: {asked['ActionID']}", *lines[1:])
    with pytest.raises(AmiTimeout):
        await asking

    await linked.running.stop()


@pytest.mark.parametrize("line", ["Response: Failure", "Response: Follows", "Response: "])
async def test_an_answer_of_one_line_is_none(linked: Linked, line: str) -> None:
    """The parser that is used gives up on some of these; the link goes on."""
    linked.session.send(line)
    await _pings(linked.client, linked.session)

    assert linked.client.malformed_messages == 1


async def test_a_garbled_originate_response_is_no_failure(linked: Linked) -> None:
    """It ends a call; one that says neither Success nor Failure says nothing."""
    for response in ("Failurf", "Failure"):
        linked.session.send(
            "Event: OriginateResponse", "ActionID: a", f"Response: {response}", "Reason: 5"
        )

    event = await linked.running.event()
    assert event == OriginateResponse(action_id="a", uniqueid="", success=False, reason=5)
    assert linked.client.malformed_messages == 1


@pytest.mark.parametrize("status", ["answer", "AN SWER", "\u0410NSWER", "X" * 17])
async def test_a_garbled_status_of_a_dial_is_none(linked: Linked, status: str) -> None:
    """A telephone that answered is not taken for one that did not."""
    for each in (status, "BUSY"):
        linked.session.send("Event: DialEnd", "DestUniqueid: t", f"DialStatus: {each}")

    event = await linked.running.event()
    assert isinstance(event, DialEnd)
    assert event.dial_status == "BUSY"


@pytest.mark.parametrize("message_text", ["", "No\x1b[2Jsuch", "x" * 1001, "No\u2028such"])
async def test_a_refusal_s_reason_is_a_line_of_text(linked: Linked, message_text: str) -> None:
    """It goes into the log and into answers of the API."""
    asking = asyncio.ensure_future(linked.client.set_variable("A", "1"))
    linked.session.answer(
        await linked.session.asked(), f"Message: {message_text}", response="Error"
    )

    with pytest.raises(AmiRefused, match=r"\Ano reason given\Z"):
        await asking


def _limit(client: AmiClient) -> Awaitable[object]:
    return client.limit_left_ms("PJSIP/a-1")


def _variable(client: AmiClient) -> Awaitable[object]:
    return client.variable("A", channel="PJSIP/a-1")


@pytest.mark.parametrize(
    ("ask", "value"),
    [(_limit, "soon"), (_limit, "-1"), (_limit, "9" * 30), (_variable, "a\x07b")],
)
async def test_a_value_that_cannot_be_is_a_refusal(
    linked: Linked, ask: Callable[[AmiClient], Awaitable[object]], value: str
) -> None:
    """A limit that cannot be read is not the same as none, with which a call would go on."""
    asking = asyncio.ensure_future(ask(linked.client))
    linked.session.answer(await linked.session.asked(), f"Value: {value}")

    with pytest.raises(AmiRefused):
        await asking
