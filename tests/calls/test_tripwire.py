"""A leg on the trunk that no gate let through: hung up at once, whichever road it took."""

import asyncio
import itertools
import json
import os
import signal
import statistics
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from gateway import db
from gateway.core.dial_out import BridgeName
from gateway.core.key import DialOutKey
from gateway.lab.caller import Caller
from gateway.lab.carrier import find_sipp
from gateway.lab.service import Service
from gateway.lab.stack import Stack, stack
from gateway.ledger import Ledger, Provisioning
from tests.calls.conftest import APPLICATION, APPLICATION_SECRET, LAB, OPTIONS
from tests.calls.meeting import Answer, Meeting, london
from tests.gate.ami_socket import Action, AmiSocket, Message

pytestmark = pytest.mark.asyncio(loop_scope="session")

LEGS = 100
MILLISECONDS_MAX = 50
LEDGER_AWAY_SECONDS_MAX = 3.0

Road = Callable[[str], Action]
"""What an account with `originate` sends to have a number dialled past the gate."""


def _trunk(number: str) -> str:
    return f"PJSIP/{number}@dialout-trunk"


def _straight(number: str) -> Action:
    return [("Channel", _trunk(number)), ("Application", "Wait"), ("Data", "30")]


def _into_a_conference(number: str) -> Action:
    return [
        ("Channel", _trunk(number)),
        ("Context", "dialout-join"),
        ("Exten", "s"),
        ("Priority", "1"),
        ("Variable", "DIALOUT_CONFERENCE=elsewhere"),
    ]


def _by_own_dial(*dialled: str) -> Action:
    return [
        ("Channel", "Local/s@dialout-join/n"),
        ("Application", "Dial"),
        ("Data", "&".join(map(_trunk, dialled)) + ",30"),
        ("Variable", "DIALOUT_CONFERENCE=elsewhere"),
    ]


ROADS: dict[str, Road] = {
    "straight to the trunk": _straight,
    "straight into a conference": _into_a_conference,
    "by a Dial of its own": _by_own_dial,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A stack that tests may break, its gateway, and an application that may originate."""

    parts: Stack
    service: Service
    meeting: Meeting
    application: AmiSocket
    log: Path
    log_begin: int
    opened: AsyncExitStack

    async def originate(self, action: Action, *, uniqueid: str | None = None) -> Message:
        """Originate as the application, by a channel whose uniqueid it may choose."""
        chosen = [("ChannelId", uniqueid)] if uniqueid else []
        return await self.application.send(
            ("Action", "Originate"), ("Async", "true"), ("Timeout", "30000"), *action, *chosen
        )

    async def leg(self, number: str) -> Message:
        """Return the DialBegin of the leg to a number."""
        return await self.application.event("DialBegin", DialString=f"{number}@dialout-trunk")

    async def milliseconds(self, number: str) -> tuple[float, float]:
        """Return how long the leg to a number lived, from its DialBegin and from its birth."""
        begun = await self.leg(number)
        uniqueid = begun["DestUniqueid"]
        born = await self.application.event("Newchannel", Uniqueid=uniqueid)
        ended = await self.application.event("Hangup", Uniqueid=uniqueid)
        return _ms(begun, ended), _ms(born, ended)

    async def asked(self, number: str, *methods: str) -> None:
        """Insist on what the carrier was asked in calls to a number, once it has all of it."""
        async with asyncio.timeout(30):
            while self.parts.carrier.requests(number)[-1:] != methods[-1:]:
                await asyncio.sleep(0.05)
        assert self.parts.carrier.requests(number) == methods

    async def tripped(self, *breaches: str, log: Path | None = None) -> None:
        """Insist on why a gateway hung up legs, once it has said so of as many.

        It says so after Asterisk has answered, when the carrier may long have seen the hangup.
        """
        async with asyncio.timeout(30):
            while len(self.trips(log)) < len(breaches):
                await asyncio.sleep(0.02)
        assert tuple(json.loads(line)["breach"] for line in self.trips(log)) == breaches

    def trips(self, log: Path | None = None) -> list[str]:
        """Return what a gateway has said so far of legs that it hung up."""
        lines = (log.read_text() if log else self.log.read_text()[self.log_begin :]).splitlines()
        return [line for line in lines if '"event": "trunk.tripped"' in line]

    async def another_gateway(self) -> tuple[Service, Path]:
        """Start a second gateway on the same Asterisk and database."""
        log = self.log.with_name("second.log")
        service = Service(
            self.parts.asterisk, database=self.parts.gateway, output=log, options=OPTIONS
        )
        return await self.opened.enter_async_context(service), log

    def gate(self, placed: Answer) -> str:
        """Return the uniqueid of the channel that dials for a dial-out."""
        key = DialOutKey(tenant_id=self.meeting.tenant_id, dial_out_id=UUID(placed["dial_out_id"]))
        return key.gate_uniqueid


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def parts() -> AsyncIterator[Stack]:
    """PostgreSQL, a carrier and an Asterisk, with an application that may originate."""
    async with stack(LAB, applications={APPLICATION: APPLICATION_SECRET}) as running:
        yield running


@asynccontextmanager
async def _gateway(parts: Stack, log: Path) -> AsyncIterator[Service]:
    async with Service(
        parts.asterisk, database=parts.gateway, output=log, options=OPTIONS
    ) as service:
        yield service


@asynccontextmanager
async def _site(parts: Stack, service: Service, log: Path) -> AsyncIterator[Site]:
    """A meeting and an application of one test alone, beside a gateway that runs."""
    async with (
        AsyncExitStack() as opened,
        db.pool(parts.owner) as pool,
        service.client() as client,
        AmiSocket(
            parts.asterisk.host, parts.asterisk.ami_port, APPLICATION, APPLICATION_SECRET
        ) as application,
        opened,
    ):
        meeting = await Meeting.create(
            client,
            Ledger(pool, call_seconds_max=20.0),
            Provisioning(pool, call_seconds_max=20.0),
            parts.carrier,
        )
        yield Site(
            parts=parts,
            service=service,
            meeting=meeting,
            application=application,
            log=log,
            log_begin=_length(log),
            opened=opened,
        )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def steady(
    parts: Stack, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Service, Path]]:
    """A gateway that no test stops, and its log."""
    log = tmp_path_factory.mktemp("steady") / "gateway.log"
    async with _gateway(parts, log) as service:
        yield service, log


@pytest_asyncio.fixture(loop_scope="session")
async def site(parts: Stack, steady: tuple[Service, Path]) -> AsyncIterator[Site]:
    """A site whose gateway must go on."""
    async with _site(parts, *steady) as site:
        yield site


@pytest_asyncio.fixture(loop_scope="session")
async def own_site(
    parts: Stack, steady: tuple[Service, Path], tmp_path: Path
) -> AsyncIterator[Site]:
    """A site of one test alone, whose gateway and database may be broken."""
    log = tmp_path / "gateway.log"
    await steady[0].stop()
    async with _gateway(parts, log) as service, _site(parts, service, log) as site:
        yield site
    await steady[0].start()


@pytest.mark.parametrize("road", ROADS.values(), ids=ROADS.keys())
async def test_a_leg_past_the_gate_is_hung_up_while_it_rings(site: Site, road: Road) -> None:
    """Whatever it was to be connected with: the carrier sees an INVITE and a CANCEL, no answer."""
    number = london("80")

    await site.originate(road(number))

    await site.tripped("not_released")
    await site.asked(number, "INVITE", "CANCEL", "ACK")


async def test_a_leg_past_the_gate_is_hung_up_that_answers_at_once(site: Site) -> None:
    """The answer may be faster than any alarm: here the gateway stands still until it is there."""
    number, pid = london("70"), site.service.pid
    assert pid is not None

    os.kill(pid, signal.SIGSTOP)
    try:
        await site.originate(_straight(number))
        leg = await site.leg(number)
        await site.application.event("DialEnd", DestUniqueid=leg["DestUniqueid"])
    finally:
        os.kill(pid, signal.SIGCONT)

    await site.tripped("not_released")
    await site.asked(number, "INVITE", "ACK", "BYE")


async def test_each_leg_of_several_at_once_is_hung_up(site: Site) -> None:
    """A Dial of two numbers has two legs, and neither is let be for the other's sake."""
    numbers = london("80"), london("80")

    await site.originate(_by_own_dial(*numbers))

    for number in numbers:
        await site.milliseconds(number)
        await site.asked(number, "INVITE", "CANCEL", "ACK")
    await site.tripped(*["not_released"] * len(numbers))


async def test_a_forged_release_dials_nothing(site: Site) -> None:
    """The context that dials has a check of its own, and the tripwire nothing to do."""
    key = uuid4().hex + uuid4().hex
    before = len(site.parts.carrier.invites())

    answer = await site.originate(
        [
            ("Channel", f"Local/d{key}@dialout-release/n"),
            ("Application", "Wait"),
            ("Data", "5"),
            ("Variable", f"DIALOUT_VERDICT=allow:{key}:1:1:442079460000:9000:60:9:442079460999"),
        ]
    )
    await site.application.event("OriginateResponse", ActionID=answer["ActionID"])

    assert len(site.parts.carrier.invites()) == before
    assert site.trips() == []


async def test_the_name_of_a_gate_is_no_release(site: Site) -> None:
    """A channel may be given the uniqueid of a gate: while the call is up it is taken, and after.

    Asterisk has no two channels of one uniqueid, and the ledger no open dial-out of a call that
    has ended.
    """
    placed = await site.meeting.place(london("10"))
    await site.meeting.answered(placed["dial_out_id"])
    during, after = london("80"), london("80")

    refused = await site.originate(_by_own_dial(during), uniqueid=site.gate(placed))
    await site.application.event(
        "OriginateResponse", ActionID=refused["ActionID"], Response="Failure"
    )
    assert (await site.meeting.read(placed["dial_out_id"]))["state"] == "answered"
    await site.meeting.cancel(placed["dial_out_id"])
    await site.meeting.ended(placed["dial_out_id"])
    await site.originate(_by_own_dial(after), uniqueid=site.gate(placed))

    await site.milliseconds(after)
    await site.asked(after, "INVITE", "CANCEL", "ACK")
    await site.tripped("not_released")
    assert site.meeting.invites(during) == 0


async def test_calls_that_were_let_through_are_left_alone(site: Site) -> None:
    """Those of this gateway and those of another one beside it: neither hangs up the other's."""
    second, log = await site.another_gateway()
    async with second.client() as client:
        theirs = await Meeting.create(
            client, site.meeting.ledger, site.meeting.provisioning, site.parts.carrier
        )
        placed = [
            (meeting, await meeting.place(london("22"), conference_id=f"room-{at}"))
            for at, meeting in enumerate((site.meeting, theirs) * 3)
        ]
        ended = [await meeting.ended(each["dial_out_id"]) for meeting, each in placed]

    assert [each["disposition"] for each in ended] == ["answered"] * len(placed)
    assert {each["billable_seconds"] for each in ended} <= {2, 3}
    assert site.trips() == []
    assert site.trips(log) == []


async def test_a_release_is_good_for_one_leg(own_site: Site) -> None:
    """Another gateway's call has ended, and its row is still open: its name dials nothing more.

    The gateway that placed the call was killed, so nobody has settled it when somebody takes
    the uniqueid of its gate.
    """
    site = own_site
    second, log = await site.another_gateway()
    number = london("22")
    placed = await site.meeting.place(number)
    begun = await site.leg(number)
    await site.meeting.answered(placed["dial_out_id"])
    await site.service.kill()
    await site.application.event("Hangup", Uniqueid=begun["Uniqueid"])
    rogue = london("80")

    await site.originate(_by_own_dial(rogue), uniqueid=site.gate(placed))

    await site.tripped("second_leg", log=log)
    await site.asked(rogue, "INVITE", "CANCEL", "ACK")
    assert len(site.trips(log)) == 1
    await second.stop()


async def test_while_the_ledger_is_away_nothing_unknown_is_dialled(own_site: Site) -> None:
    """A leg that only another gateway could have released is hung up; our own call goes on."""
    site = own_site
    placed = await site.meeting.place(london("10"))
    await site.meeting.answered(placed["dial_out_id"])
    number = london("80")
    await site.parts.postgres.stop()
    try:
        await site.originate(_by_own_dial(number))
        milliseconds, _ = await site.milliseconds(number)
        await site.tripped("ledger_away")
        channels = await site.parts.asterisk.cli("core show channels concise")
    finally:
        await site.parts.postgres.start()

    assert milliseconds < LEDGER_AWAY_SECONDS_MAX * 1000
    assert site.gate(placed) in channels
    await site.meeting.cancel(placed["dial_out_id"])
    assert (await site.meeting.ended(placed["dial_out_id"]))["disposition"] == "answered"
    await site.meeting.assert_books_are_clean()


async def test_what_began_while_no_gateway_watched_is_found(own_site: Site) -> None:
    """A new gateway hangs up what was dialled past the gate, and nothing else.

    Not the call that the one before it had let through, and not one that has come in.
    """
    site = own_site
    placed = await site.meeting.place(london("10"))
    await site.meeting.answered(placed["dial_out_id"])
    caller = Caller(find_sipp(LAB), sip_port=site.parts.asterisk.sip_port)
    calls_in = asyncio.create_task(caller.call("4711", seconds=60))
    await site.application.event("ConfbridgeJoin", Conference="4711")
    await site.service.stop()
    talks, rings = london("10"), london("80")
    await site.originate(_by_own_dial(talks))
    await site.originate(_straight(rings))
    talking = await site.leg(talks)
    await site.application.event("DialEnd", DestUniqueid=talking["DestUniqueid"])

    await site.service.start()

    await site.tripped("found", "found")
    await site.asked(talks, "INVITE", "ACK", "BYE")
    await site.asked(rings, "INVITE", "CANCEL", "ACK")
    assert len(site.trips()) == 2
    assert not calls_in.done()
    assert (await site.meeting.read(placed["dial_out_id"]))["state"] == "answered"
    await site.meeting.cancel(placed["dial_out_id"])
    await site.meeting.ended(placed["dial_out_id"])
    await site.meeting.assert_books_are_clean()
    await site.parts.asterisk.cli("channel request hangup all")
    assert (await calls_in).was_hung_up


async def test_a_call_of_a_bridge_that_was_renamed_goes_on(own_site: Site) -> None:
    """Somebody has paid for it, by the name of before; what nobody paid for is hung up."""
    site = own_site
    placed = await site.meeting.place(london("10"))
    await site.meeting.answered(placed["dial_out_id"])
    await site.service.stop()
    rogue = london("10")
    await site.originate(_by_own_dial(rogue))
    talking = await site.leg(rogue)
    await site.application.event("DialEnd", DestUniqueid=talking["DestUniqueid"])

    log = site.log.with_name("renamed.log")
    async with Service(
        site.parts.asterisk,
        database=site.parts.gateway,
        output=log,
        options=OPTIONS,
        bridge=BridgeName("london"),
    ):
        await site.tripped("found", log=log)
        await site.asked(rogue, "INVITE", "ACK", "BYE")
        assert len(site.trips(log)) == 1
        channels = await site.parts.asterisk.cli("core show channels concise")
        assert site.gate(placed) in channels

    await site.service.start()
    assert (await site.meeting.read(placed["dial_out_id"]))["state"] == "answered"
    await site.meeting.cancel(placed["dial_out_id"])
    await site.meeting.ended(placed["dial_out_id"])
    await site.meeting.assert_books_are_clean()


async def test_a_hundred_legs_live_for_milliseconds(site: Site) -> None:
    """By Asterisk's own clock, from the DialBegin that betrays a leg to its hangup.

    Ten a second, by every road in turn; what they lived is printed. A telephone does not ring in
    that time: the carrier sees INVITE and CANCEL within one round trip of each other.
    """
    numbers = [london("80") for _ in range(LEGS)]
    lives = []
    for number, road in zip(numbers, itertools.cycle(ROADS.values()), strict=False):
        await site.originate(road(number))
        lives.append(await site.milliseconds(number))
        await asyncio.sleep(0.05)

    from_dial_begin, from_birth = (sorted(each) for each in zip(*lives, strict=True))
    sys.stdout.write(
        f"{LEGS} legs, ms from DialBegin: p50 {statistics.median(from_dial_begin):.1f},"
        f" max {from_dial_begin[-1]:.1f}; from Newchannel: p50 {statistics.median(from_birth):.1f},"
        f" max {from_birth[-1]:.1f}\n"
    )
    # Of the last tenth a busy machine may be late for some.
    assert statistics.quantiles(from_dial_begin, n=10)[-1] < MILLISECONDS_MAX
    await site.tripped(*["not_released"] * LEGS)
    for number in numbers:
        await site.asked(number, "INVITE", "CANCEL", "ACK")


def _length(log: Path) -> int:
    return len(log.read_text())


def _ms(earlier: Message, later: Message) -> float:
    return (float(later["Timestamp"]) - float(earlier["Timestamp"])) * 1000
