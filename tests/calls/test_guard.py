"""Telephones that a meeting has left behind: who is dropped, when, who hears it, and who is not."""

import asyncio
import itertools
import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway import db
from gateway.core.attendance import DropReason
from gateway.core.choices import Confirmation
from gateway.lab.service import Service
from gateway.lab.stack import Stack, stack
from gateway.lab.telephone import ear_on
from gateway.ledger import Ledger, Provisioning, Saving
from tests.calls.conftest import APPLICATION, APPLICATION_SECRET, LAB, OPTIONS
from tests.calls.json_lines import whole_lines
from tests.calls.meeting import ORGANIZER, Answer, Meeting, london, nairobi
from tests.gate.ami_socket import AmiSocket

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

TALK_SECONDS_MAX = int(OPTIONS["DIALOUT_CALL__TALK_SECONDS_MAX"])
ALONE_SECONDS = 5
ORGANIZER_GONE_SECONDS = 7
WARNING_SECONDS = 3
SLACK_SECONDS = 3
"""The guard looks once a second, and a machine with two cores may be late."""
LATE_SECONDS = 10
"""How late what is to happen may be on a busy machine."""

GUARD = {
    "DIALOUT_GUARD__ALONE_SECONDS": str(ALONE_SECONDS),
    "DIALOUT_GUARD__ORGANIZER_GONE_SECONDS": str(ORGANIZER_GONE_SECONDS),
    "DIALOUT_GUARD__WARNING_SECONDS": str(WARNING_SECONDS),
}

LISTENS = "70"

# The bridge's own dialplan, by which people come in without a telephone call of ours.
_DOORS = """
[doors]
exten => _h.,1,Answer()
 same => n,ConfBridge(${EXTEN:1},dialout-bridge,dialout-organizer)
exten => _g.,1,Answer()
 same => n,ConfBridge(${EXTEN:1},dialout-bridge,dialout-user)
exten => waits,1,Wait(600)
"""
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Somebody in a conference who is no telephone call of ours."""

    bridge: "Bridge"
    uniqueid: str

    async def leave(self) -> None:
        """Hang up, and return once he is out of the conference."""
        join = await self.bridge.witness.event("ConfbridgeJoin", Uniqueid=self.uniqueid)
        await self.bridge.parts.asterisk.cli(f"channel request hangup {join['Channel']}")
        await self.bridge.witness.event("ConfbridgeLeave", Uniqueid=self.uniqueid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A stack with doors for visitors, a gateway of short patience, and one meeting."""

    parts: Stack
    service: Service
    meeting: Meeting
    witness: AmiSocket
    output: Path

    async def enter(self, room: str, *, as_host: bool = False) -> Visitor:
        """Let somebody into a conference, as its host or as a guest."""
        name = f"visitor-{next(_numbers)}"
        door = ("h" if as_host else "g") + room
        await self.witness.send(
            ("Action", "Originate"),
            ("Channel", f"Local/{door}@doors/n"),
            ("Context", "doors"),
            ("Exten", "waits"),
            ("Priority", "1"),
            ("Async", "true"),
            ("ChannelId", f"{name}-1"),
            ("OtherChannelId", f"{name}-2"),
        )
        await self.witness.event("ConfbridgeJoin", Uniqueid=f"{name}-2")
        return Visitor(bridge=self, uniqueid=f"{name}-2")

    async def call(self, room: str, number: str | None = None, **fields: Any) -> Answer:
        """Bring a telephone into a conference, and return once it is there."""
        placed = await self.meeting.place(number or london("10"), conference_id=room, **fields)
        answered = await self.meeting.answered(placed["dial_out_id"])
        await self.witness.event("ConfbridgeJoin", Uniqueid=f"{self.key(answered)}-join")
        return answered

    def key(self, dial_out: Answer) -> str:
        """Return the key that the channels of a call are named by."""
        return self.meeting.tenant_id.hex + str(dial_out["dial_out_id"]).replace("-", "")

    async def lasts(self, dial_out: Answer, seconds: float) -> None:
        """Insist that a call does not end within so many seconds."""
        with pytest.raises(TimeoutError):
            await self.meeting.ended(dial_out["dial_out_id"], seconds=seconds)

    async def dropped(self, dial_out: Answer, seconds: float) -> Answer:
        """Return a call once it has ended, which is in so many seconds and not much sooner."""
        begun = asyncio.get_running_loop().time()
        ended = await self.meeting.ended(dial_out["dial_out_id"], seconds + LATE_SECONDS)
        assert asyncio.get_running_loop().time() - begun >= seconds - 1.5
        return ended

    async def saved(self) -> Saving:
        """Return what the only dropped call of the meeting has saved, once that is noted."""
        async with asyncio.timeout(30):
            while not (found := await self.meeting.ledger.savings(self.meeting.tenant_id)):
                await asyncio.sleep(0.05)
        [saving] = found
        return saving

    async def warned(self, dial_out: Answer) -> None:
        """Return once a callee is told that the call will be dropped."""
        async with asyncio.timeout(30):
            while not self.told("call.warned", dial_out):
                await asyncio.sleep(0.05)

    def told(self, event: str, dial_out: Answer) -> list[Answer]:
        """Return what the gateway has logged of a call under this name."""
        return [
            line
            for line in whole_lines(self.output)
            if line["event"] == event and line.get("dial_out_id") == dial_out["dial_out_id"]
        ]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack_with_doors() -> AsyncIterator[Stack]:
    """PostgreSQL, a carrier, and an Asterisk that lets visitors in."""
    async with stack(LAB, applications={APPLICATION: APPLICATION_SECRET}) as parts:
        with (parts.asterisk.directory / "etc" / "extensions.conf").open("a") as file:
            file.write(_DOORS)
        await parts.asterisk.cli("dialplan reload")
        yield parts


@asynccontextmanager
async def bridge_of(parts: Stack, output: Path, **options: str) -> AsyncIterator[Bridge]:
    """Run a gateway of short patience beside the stack."""
    service = Service(
        parts.asterisk,
        database=parts.gateway,
        output=output,
        options=OPTIONS | GUARD | {"DIALOUT_LOG__FORMAT": "json"} | options,
    )
    async with (
        db.pool(parts.owner) as pool,
        service,
        service.client() as client,
        AmiSocket(
            parts.asterisk.host, parts.asterisk.ami_port, APPLICATION, APPLICATION_SECRET
        ) as witness,
    ):
        meeting = await Meeting.create(
            client,
            Ledger(pool, call_seconds_max=20.0),
            Provisioning(pool, call_seconds_max=20.0),
            parts.carrier,
        )
        await meeting.choose(confirmation=Confirmation.NEVER)
        yield Bridge(parts=parts, service=service, meeting=meeting, witness=witness, output=output)


@pytest_asyncio.fixture(loop_scope="session")
async def bridge(stack_with_doors: Stack, tmp_path: Path) -> AsyncIterator[Bridge]:
    """A gateway and a meeting of this test alone."""
    async with bridge_of(stack_with_doors, tmp_path / "gateway.log") as opened:
        yield opened


@pytest.fixture
def room() -> str:
    """A conference that no other test has."""
    return f"room-{next(_numbers)}"


async def test_a_telephone_alone_is_warned_dropped_billed_and_counted(
    bridge: Bridge, room: str
) -> None:
    """Once, in the callee's ear; billed to the second; what it might have cost is what it saved.

    It is the organizer's own: alone with himself, he needs no call either.
    """
    await bridge.meeting.buy_credits(5_000_000)
    async with ear_on(bridge.parts.carrier.ear_port) as ear:
        own = {"kind": "call_me", "initiator_id": ORGANIZER}
        call = await bridge.call(room, nairobi(LISTENS), **own)
        telephone = await ear.next_telephone()
        ended = await bridge.dropped(call, ALONE_SECONDS)
    saving = await bridge.saved()
    answer = await bridge.witness.event("DialEnd", Uniqueid=f"{bridge.key(call)}-gate")
    hangup = await bridge.witness.event("Hangup", Uniqueid=answer["DestUniqueid"])
    lasted = float(hangup["Timestamp"]) - float(answer["Timestamp"])

    [heard_at] = telephone.heard_at()
    assert 0 <= float(hangup["Timestamp"]) - heard_at - WARNING_SECONDS + 1 <= LATE_SECONDS
    assert [line["reason"] for line in bridge.told("call.dropped", call)] == ["alone"]
    assert ended["billable_seconds"] in {math.ceil(lasted - 0.02), math.ceil(lasted + 0.02)}
    assert (saving.reason, saving.calls) == (DropReason.ALONE, 1)
    assert abs(saving.seconds - (TALK_SECONDS_MAX - ended["billable_seconds"])) <= 1
    assert saving.micros == saving.seconds * 10_000
    assert (await bridge.meeting.read(call["dial_out_id"]))["dropped"] == "alone"
    await bridge.meeting.assert_books_are_clean()


async def test_somebody_who_joins_gives_the_whole_time_again(bridge: Bridge, room: str) -> None:
    """Even after the warning; and when he leaves, there is another one."""
    call = await bridge.call(room)
    await bridge.warned(call)
    guest = await bridge.enter(room)
    await bridge.lasts(call, ALONE_SECONDS + SLACK_SECONDS)
    await guest.leave()
    await bridge.dropped(call, ALONE_SECONDS)

    assert len(bridge.told("call.warned", call)) == 2


async def test_two_telephones_without_an_organizer_are_left_in_peace(
    bridge: Bridge, room: str
) -> None:
    """They may talk to each other, and of a meeting that had no organizer none has gone."""
    calls = [await bridge.call(room), await bridge.call(room)]

    await bridge.lasts(calls[0], ORGANIZER_GONE_SECONDS + SLACK_SECONDS)
    for call in calls:
        await bridge.meeting.cancel(call["dial_out_id"])
        assert not bridge.told("call.warned", call)


async def test_telephones_go_when_their_organizer_has_gone(bridge: Bridge, room: str) -> None:
    """All of them, and nobody else; an organizer who returns in time keeps them."""
    host = await bridge.enter(room, as_host=True)
    guest = await bridge.enter(room)
    calls = [await bridge.call(room), await bridge.call(room)]
    await host.leave()
    await bridge.warned(calls[0])
    again = await bridge.enter(room, as_host=True)
    await bridge.lasts(calls[0], ORGANIZER_GONE_SECONDS + SLACK_SECONDS)
    await again.leave()

    await bridge.dropped(calls[0], ORGANIZER_GONE_SECONDS)
    await bridge.meeting.ended(calls[1]["dial_out_id"])

    for call in calls:
        told = bridge.told("call.dropped", call)
        assert [line["reason"] for line in told] == ["organizer_gone"]
    listed = await bridge.parts.asterisk.cli(f"confbridge list {room}")
    assert len(re.findall("Local/g", listed)) == 1
    await guest.leave()


async def test_the_organizers_own_telephone_is_the_organizer(bridge: Bridge, room: str) -> None:
    """He attends by Call Me: while he is there, nobody's organizer has gone."""
    own = await bridge.call(room, kind="call_me", initiator_id=ORGANIZER)
    guest = await bridge.enter(room)
    other = await bridge.call(room)
    await bridge.lasts(other, ORGANIZER_GONE_SECONDS + SLACK_SECONDS)

    await bridge.meeting.cancel(own["dial_out_id"])
    await bridge.dropped(other, ORGANIZER_GONE_SECONDS)

    await guest.leave()


async def test_an_intercepted_call_is_guarded_too(bridge: Bridge, room: str) -> None:
    """Its channels have other names, and its telephone costs the same."""
    name = f"intercepted-{next(_numbers)}"
    await bridge.witness.send(
        ("Action", "Originate"),
        ("Channel", f"Local/{london('10')}@dialout-intercept/n"),
        ("Context", "dialout-join"),
        ("Exten", "s"),
        ("Priority", "1"),
        ("Async", "true"),
        ("ChannelId", f"{name}-1"),
        ("OtherChannelId", f"{name}-2"),
        ("Variable", f"DIALOUT_TENANT={bridge.meeting.tenant_id}"),
        ("Variable", f"DIALOUT_ORGANIZER={ORGANIZER}"),
        ("Variable", "DIALOUT_INITIATOR=guest@example.com"),
        ("Variable", f"DIALOUT_CONFERENCE={room}"),
    )
    join = await bridge.witness.event("ConfbridgeJoin", Uniqueid=f"{name}-1")
    leave = await bridge.witness.event(
        "ConfbridgeLeave", ALONE_SECONDS + LATE_SECONDS, Uniqueid=f"{name}-1"
    )
    saving = await bridge.saved()

    assert float(leave["Timestamp"]) - float(join["Timestamp"]) >= ALONE_SECONDS
    assert saving.calls == 1


async def test_after_a_restart_all_time_begins_anew(bridge: Bridge, room: str) -> None:
    """What the gateway before it counted is not known; that the organizer was there is."""
    host = await bridge.enter(room, as_host=True)
    guest = await bridge.enter(room)
    left = await bridge.call(room)
    alone = await bridge.call(f"{room}-b")
    await host.leave()
    await bridge.lasts(alone, ALONE_SECONDS - WARNING_SECONDS)

    await bridge.service.kill()
    await bridge.service.start()

    await bridge.dropped(alone, ALONE_SECONDS)
    await bridge.dropped(left, ORGANIZER_GONE_SECONDS - ALONE_SECONDS)
    assert [line["reason"] for line in bridge.told("call.dropped", left)] == ["organizer_gone"]
    await guest.leave()
    await bridge.meeting.assert_books_are_clean()


@dataclass(slots=True)
class Tampering:
    """The way between a gateway and its Asterisk. Lists of members come through ``damaged``.

    A ``hole`` leaves one member out; a ``cut`` ends the connection within the list. What has
    ``lost`` in it does not come through at all.
    """

    port: int
    upstream: int
    damage: str | None = None
    lost: bytes | None = None
    _relays: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one connection, both ways, until either end closes it."""
        from_asterisk, to_asterisk = await asyncio.open_connection("127.0.0.1", self.upstream)
        tasks = [
            asyncio.create_task(self._relay(reader, to_asterisk)),
            asyncio.create_task(self._answers(from_asterisk, writer)),
        ]
        self._relays.update(tasks)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for closing in (writer, to_asterisk):
            closing.close()

    def cut(self) -> None:
        """Break off the connections that there are."""
        for each in self._relays:
            each.cancel()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        while True:
            frame = await reader.readuntil(b"\r\n\r\n")
            if self.damage and frame.startswith(b"Event: ConfbridgeList\r\n"):
                if self.damage == "cut":
                    return
                if b"@doors" in frame:
                    continue
            if self.lost is not None and self.lost in frame:
                continue
            writer.write(frame)
            await writer.drain()


@asynccontextmanager
async def tampering(upstream: int) -> AsyncIterator[Tampering]:
    """Stand between a gateway and its Asterisk."""
    way = Tampering(port=0, upstream=upstream)
    server = await asyncio.start_server(way.serve, "127.0.0.1", 0)
    way.port = server.sockets[0].getsockname()[1]
    try:
        yield way
    finally:
        server.close()


@pytest.mark.parametrize("damage", ["hole", "cut"])
async def test_a_list_that_is_not_complete_drops_nobody(
    stack_with_doors: Stack, tmp_path: Path, room: str, damage: str
) -> None:
    """Half a list shows a telephone alone that is not. Once lists are whole, all goes on."""
    parts = stack_with_doors
    async with (
        tampering(parts.asterisk.ami_port) as way,
        bridge_of(
            parts, tmp_path / "gateway.log", DIALOUT_BRIDGES__MAIN__PORT=str(way.port)
        ) as bridge,
    ):
        talks = await bridge.call(room)
        way.damage = damage
        guest = await bridge.enter(room)
        await bridge.lasts(talks, ALONE_SECONDS + SLACK_SECONDS)
        way.damage = None
        await bridge.lasts(talks, ALONE_SECONDS)
        await guest.leave()
        await bridge.dropped(talks, ALONE_SECONDS)
        await bridge.meeting.assert_books_are_clean()
