"""Telephones that call in, on real parts: who is let in, and what is charged to the second."""

import asyncio
import math
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from uuid import UUID, uuid4, uuid5

import asyncpg
import pytest
import pytest_asyncio

from gateway import db
from gateway.core.dial_out import DialOut, DialOutState
from gateway.core.facts import Sku
from gateway.core.rating import Micros
from gateway.core.reasons import Reason
from gateway.lab.caller import WITHHELD, Caller, Conversation
from gateway.lab.program import find_sipp
from gateway.lab.service import Service
from gateway.lab.stack import Stack, stack
from gateway.lab.telephone import Ear, ear_on
from gateway.ledger import Ledger, Provisioning
from tests.calls.conftest import APPLICATION, APPLICATION_SECRET, LAB, OPTIONS
from tests.calls.meeting import ORGANIZER, Meeting
from tests.gate.ami_socket import AmiSocket

pytestmark = pytest.mark.asyncio(loop_scope="session")

SLICED = OPTIONS | {
    "DIALOUT_CALL__SLICE_SECONDS": "5",
    "DIALOUT_CALL__WARNING_SECONDS": "[2]",
    "DIALOUT_CALL__EXTEND_AHEAD_SECONDS": "1",
}
PAYS_BY_MINUTE = "pam"
CENTS_A_SECOND = Micros(10_000)
HEARTBEAT_SECONDS = 6

REFUSED_STATUS = 403
"""What the SIP caller gets in the end: Asterisk's word for cause 21."""

GOSSIP = "gossip"
"""An AMI account that may raise events, see those of others, and do nothing else."""

VISIT = "123456789123456789"

CLOCKS_APART_SECONDS = 0.2
"""How far a caller's clock and Asterisk's are apart on a busy machine at the most."""

_LINES = count(1)


def toll() -> str:
    """Return a service number in London that no test has used."""
    return f"+44207946{next(_LINES):04d}"


def freephone() -> str:
    """Return the same of a number that is free for its callers."""
    return f"+44808157{next(_LINES):04d}"


@dataclass(slots=True, kw_only=True)
class Site:
    """A stack, a gateway that a test may break, and a tenant with both kinds of organizer."""

    parts: Stack
    service: Service
    meeting: Meeting
    caller: Caller
    opened: AsyncExitStack
    log: Path

    async def another_gateway(self, **options: str) -> Service:
        """Start a second gateway beside the first one."""
        service = Service(
            self.parts.asterisk,
            database=self.parts.gateway,
            output=self.log.with_name("second.log"),
            options=SLICED | options,
        )
        return await self.opened.enter_async_context(service)

    async def line(self, number: str, organizer: str = PAYS_BY_MINUTE) -> str:
        """Have a service number lead to the meeting of an organizer; return the number."""
        digits = number.removeprefix("+")
        is_toll = "1" if "808" not in digits else "0"
        whose = f"{self.meeting.tenant_id}:{organizer}:room-{digits}:{is_toll}"
        await self.parts.asterisk.cli(f"database put dialout/dial-in {digits} {whose}")
        return number

    async def buy(self, seconds: int) -> None:
        """Give the tenant credits for so many seconds of a leg."""
        async with self.meeting.provisioning.change(actor="test") as change:
            await change.credits_add(
                self.meeting.tenant_id,
                uuid4(),
                Micros(seconds * CENTS_A_SECOND),
                datetime.now(UTC),
            )

    async def legs(self, number: str) -> list[DialOut]:
        """Return what is on record of those who called a number."""
        since = datetime.now(UTC) - timedelta(hours=1)
        every = await self.meeting.ledger.dial_outs(self.meeting.tenant_id, since)
        return [each for each in every if each.request.number_typed == number]

    async def leg(self, number: str, *states: DialOutState, seconds: float = 20.0) -> DialOut:
        """Return the only leg to a number once it is in one of these states."""
        async with asyncio.timeout(seconds):
            while True:
                match await self.legs(number):
                    case [leg] if leg.state in states:
                        return leg
                await asyncio.sleep(0.05)

    async def ended(self, number: str) -> DialOut:
        """Return the only leg to a number once it is settled."""
        return await self.leg(number, DialOutState.ENDED)

    async def logs(self, text: str, times: int = 1) -> None:
        """Return once the gateway has written something to its log, so many times."""
        async with asyncio.timeout(30):
            while self.log.read_text().count(text) < times:
                await asyncio.sleep(0.05)

    async def comes_in(self, number: str) -> None:
        """Return once the caller of a number is in its conference."""
        async with asyncio.timeout(30):
            room = f"room-{number.removeprefix('+')}"
            while room not in await self.parts.asterisk.cli("confbridge list"):
                await asyncio.sleep(0.1)

    def account(self, name: str, secret: str) -> AmiSocket:
        """Return a session of another AMI account, to be entered."""
        asterisk = self.parts.asterisk
        return AmiSocket("127.0.0.1", asterisk.ami_port, name, secret)

    async def used(self) -> int:
        """Return how many seconds credits have paid for."""
        return (await self.meeting.balance("credits")).used // CENTS_A_SECOND


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def parts() -> AsyncIterator[Stack]:
    """PostgreSQL, a carrier and an Asterisk beside which no other gateway runs."""
    async with stack(LAB, applications={APPLICATION: APPLICATION_SECRET}) as running:
        asterisk = running.asterisk
        with (asterisk.directory / "etc/site/manager.conf").open("a") as accounts:
            accounts.write(
                f"[{GOSSIP}]\nsecret={GOSSIP}\npermit=127.0.0.1/32\nread=user\nwrite=user\n"
            )
        await asterisk.cli("manager reload")
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def site(parts: Stack, tmp_path: Path) -> AsyncIterator[Site]:
    """A gateway of this test alone. No call has left to the carrier when the test is over."""
    log = tmp_path / "gateway.log"
    async with (
        AsyncExitStack() as opened,
        db.pool(parts.owner) as pool,
        Service(parts.asterisk, database=parts.gateway, output=log, options=SLICED) as service,
        service.client() as client,
        opened,
    ):
        meeting = await Meeting.create(
            client,
            Ledger(pool, call_seconds_max=20.0),
            Provisioning(pool, call_seconds_max=20.0),
            parts.carrier,
        )
        await meeting.add_organizer(PAYS_BY_MINUTE)
        await meeting.license(PAYS_BY_MINUTE, Sku.AUDIO_CONFERENCING_PPM)
        await meeting.license(PAYS_BY_MINUTE, Sku.COMMUNICATIONS_CREDITS)
        async with meeting.provisioning.change(actor="test") as change:
            await change.tenant_update(
                meeting.tenant_id,
                suspended=False,
                rate_deck="by-second",
                inbound_deck="by-second",
            )
        yield Site(
            parts=parts,
            service=service,
            meeting=meeting,
            caller=Caller(find_sipp(LAB), sip_port=parts.asterisk.sip_port),
            opened=opened,
            log=log,
        )
    assert parts.carrier.invites() == ()


def is_billed_as_seen(leg: DialOut, seen: Conversation) -> bool:
    """Return whether a leg was billed for what its caller saw, a fifth of a second aside."""
    assert leg.answered_at is not None
    assert leg.ended_at is not None
    lasted = (leg.ended_at - leg.answered_at).total_seconds()
    assert lasted == pytest.approx(seen.seconds, abs=CLOCKS_APART_SECONDS)
    return leg.billable_seconds in {
        math.ceil(seen.seconds - CLOCKS_APART_SECONDS),
        math.ceil(seen.seconds + CLOCKS_APART_SECONDS),
    }


async def test_each_leg_is_charged_as_its_caller_saw_it(site: Site) -> None:
    """By the minute, or toll-free: to the second by the caller's own clock, from credits.

    Who calls the toll number of another organizer costs nobody anything, and is not recorded.
    """
    await site.buy(100)
    by_minute, withheld, free_for_callers, standard = (
        await site.line(toll()),
        await site.line(toll()),
        await site.line(freephone()),
        await site.line(toll(), ORGANIZER),
    )
    seen = await asyncio.gather(
        site.caller.call(by_minute, 3.4),
        site.caller.call(withheld, 8.4, caller=WITHHELD),
        site.caller.call(free_for_callers, 13.6),
        site.caller.call(standard, 3.0),
    )
    legs = [await site.ended(number) for number in (by_minute, withheld, free_for_callers)]

    assert [each.was_hung_up for each in seen] == [False] * 4
    for leg, conversation in zip(legs, seen, strict=False):
        assert is_billed_as_seen(leg, conversation)
        assert (leg.evidence, leg.overrun_seconds) == ("events", 0)
    assert [leg.caller_id for leg in legs] == ["+447700900123", None, "+447700900123"]
    assert [leg.slices for leg in legs] == [2, 3, 4]
    assert await site.legs(standard) == []
    assert seen[3].seconds > 2.8
    assert await site.used() == sum(leg.billable_seconds or 0 for leg in legs)
    await site.meeting.assert_books_are_clean()


async def test_a_toll_free_leg_without_funds_hears_why(site: Site) -> None:
    """It is told before an answer, which would cost; a toll leg comes in, unpaid on record."""
    free_for_callers, by_minute = await site.line(freephone()), await site.line(toll())
    async with ear_on(site.parts.carrier.ear_port) as ear:
        refused, _ = await asyncio.gather(
            site.caller.call(free_for_callers, 30, media_port=site.parts.carrier.ear_port),
            ear_hears(ear),
        )
    toll_leg = await site.caller.call(by_minute, 3.2)
    refusal = await site.leg(free_for_callers, DialOutState.REFUSED)
    leg = await site.ended(by_minute)

    assert (refused.status, refused.answered_at) == (REFUSED_STATUS, None)
    assert refusal.reason is Reason.CREDITS_NOT_SET_UP
    assert not toll_leg.was_hung_up
    assert (leg.billable_seconds, leg.overrun_seconds) == (0, 3)
    await site.meeting.assert_books_are_clean()


async def ear_hears(ear: Ear) -> None:
    """Return once the only telephone has heard something."""
    telephone = await ear.next_telephone()
    await telephone.hears()


async def test_a_toll_free_leg_lasts_as_long_as_credits_do(site: Site) -> None:
    """It is warned and cut where they end, and no sooner, or goes on as more are bought.

    The warning is said into that leg alone, like that of a telephone which was called.
    """
    cut, ear_port = await site.line(freephone()), site.parts.carrier.ear_port
    await site.buy(7)
    async with ear_on(ear_port) as ear:
        seen = await site.caller.call(cut, 30, media_port=ear_port)
        telephone = await ear.next_telephone()
    leg = await site.ended(cut)

    assert seen.was_hung_up
    assert leg.answered_at is not None
    [warned_at] = telephone.heard_at()
    assert -0.15 <= warned_at - (leg.answered_at.timestamp() + 7 - 2) < 1.5
    assert 7 - 0.15 <= seen.seconds < 8
    assert (leg.billable_seconds, leg.overrun_seconds, leg.hangup_cause) == (7, 0, 16)

    goes_on = await site.line(freephone())
    await site.buy(7)
    calling = asyncio.create_task(site.caller.call(goes_on, 11.5))
    await site.leg(goes_on, DialOutState.ANSWERED)
    await site.buy(60)
    seen = await calling
    leg = await site.ended(goes_on)

    assert not seen.was_hung_up
    assert is_billed_as_seen(leg, seen)
    await site.meeting.assert_books_are_clean()


async def test_legs_at_once_share_one_balance(site: Site) -> None:
    """Four toll-free legs on credits for twenty seconds last twenty seconds, and not one more."""
    lines = [await site.line(freephone()) for _ in range(4)]
    await site.buy(20)
    seen = await asyncio.gather(*(site.caller.call(line, 30) for line in lines))
    legs = [await site.ended(line) for line in lines]

    assert all(each.was_hung_up for each in seen)
    assert sum(leg.billable_seconds or 0 for leg in legs) == 20
    assert sum(leg.overrun_seconds or 0 for leg in legs) == 0
    await site.meeting.assert_books_are_clean()


async def test_a_leg_outlives_its_gateway(site: Site) -> None:
    """Killed and not there when the caller hangs up: the record of the Asterisk host bills it.

    A gateway that is back in time finds the leg alive, and has it paid for on.
    """
    await site.buy(200)
    await site.service.stop()
    gateway = await site.another_gateway(DIALOUT_CALL__SLICE_SECONDS="20")
    unseen, found = await site.line(toll()), await site.line(freephone())
    calling = asyncio.create_task(site.caller.call(unseen, 8.3))
    lasting = asyncio.create_task(site.caller.call(found, 24.4))
    for line in (unseen, found):
        await site.leg(line, DialOutState.ANSWERED)
    await gateway.kill()
    seen = await calling
    await gateway.start()
    first = await site.ended(unseen)
    seen_whole = await lasting
    second = await site.ended(found)

    assert second.slices == 2
    assert is_billed_as_seen(first, seen)
    assert first.evidence == "record"
    assert not seen_whole.was_hung_up
    assert is_billed_as_seen(second, seen_whole)
    await site.meeting.assert_books_are_clean()


async def test_a_leg_that_asterisk_forgot_is_billed_as_far_as_it_was_seen(site: Site) -> None:
    """Asterisk is killed, so nobody says when the leg ended: the least that it lasted is billed."""
    await site.buy(100)
    line = await site.line(toll())
    calling = asyncio.create_task(site.caller.call(line, 60))
    await site.leg(line, DialOutState.ANSWERED)
    await site.parts.asterisk.kill()
    killed_at = datetime.now(UTC)
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    await site.parts.asterisk.start()
    leg = await site.ended(line)

    assert leg.answered_at is not None
    assert leg.billable_seconds is not None
    lasted = (killed_at - leg.answered_at).total_seconds()
    assert (leg.evidence, leg.billable_seconds) == ("absent_twice", leg.least_seconds)
    assert 1 <= leg.billable_seconds <= math.ceil(lasted)
    await site.meeting.assert_books_are_clean()


async def test_without_a_gateway_only_toll_numbers_let_anybody_in(site: Site) -> None:
    """Nobody can say who pays: what costs nothing goes on, and the others are told."""
    await site.buy(100)
    by_minute, free_for_callers = await site.line(toll()), await site.line(freephone())
    await site.service.kill()
    await asyncio.sleep(HEARTBEAT_SECONDS + 1.5)
    let_in, refused = await asyncio.gather(
        site.caller.call(by_minute, 3), site.caller.call(free_for_callers, 30)
    )
    await site.service.start()

    assert (let_in.status, let_in.was_hung_up) == (200, False)
    assert (refused.status, refused.answered_at) == (REFUSED_STATUS, None)
    assert await site.legs(by_minute) == await site.legs(free_for_callers) == []


async def test_two_gateways_let_a_leg_in_once(site: Site) -> None:
    """Both hear of it and both follow it; it is one record, and set aside once a slice."""
    await site.another_gateway()
    await site.buy(100)
    by_minute, standard = await site.line(freephone()), await site.line(toll(), ORGANIZER)
    metered, free = await asyncio.gather(
        site.caller.call(by_minute, 8.4), site.caller.call(standard, 5)
    )
    leg = await site.ended(by_minute)

    assert is_billed_as_seen(leg, metered)
    assert leg.slices == 3
    assert free.seconds > 4.8
    await site.meeting.assert_books_are_clean()


async def test_a_leg_that_came_in_meanwhile_is_left_alone(site: Site) -> None:
    """The gateway stood still, so a toll leg came in without it: it is not charged, not even if
    somebody repeats what it asked, and stays for as long as it likes.
    """
    await site.buy(100)
    line, pid = await site.line(toll()), site.service.pid
    assert pid is not None
    async with site.account(GOSSIP, GOSSIP) as gossip:
        os.kill(pid, signal.SIGSTOP)
        calling = asyncio.create_task(site.caller.call(line, 6))
        try:
            asked = await gossip.event("UserEvent", 30, UserEvent="DialoutDialIn")
            await site.comes_in(line)
        finally:
            os.kill(pid, signal.SIGCONT)
        await site.logs("dial_in.too_late")
        await say_again(gossip, asked)
        seen = await calling

    assert not seen.was_hung_up
    assert await site.legs(line) == []
    assert (await site.meeting.balance("credits")).reserved == 0


async def say_again(gossip: AmiSocket, event: dict[str, str]) -> None:
    """Raise an event of somebody else once more."""
    said = ("Visit", "Number", "Caller", "Tenant", "Organizer", "Conference")
    names = ("UserEvent", "Channel", "Uniqueid", *said)
    await gossip.send(("Action", "UserEvent"), *((name, event[name]) for name in names))


async def test_a_decision_that_takes_too_long_is_given_back_at_once(site: Site) -> None:
    """The database was stuck, and the leg may have come in before its answer: it is not told."""
    await site.buy(100)
    line = await site.line(toll())
    await site.service.stop()
    await site.another_gateway(DIALOUT_DATABASE__CALL_SECONDS_MAX="10")
    owner = await asyncpg.connect(site.parts.owner.dsn.get_secret_value())
    try:
        async with owner.transaction():
            await owner.execute(
                "SELECT FROM dialout.tenant WHERE tenant_id = $1 FOR UPDATE", site.meeting.tenant_id
            )
            calling = asyncio.create_task(site.caller.call(line, 5))
            await site.comes_in(line)
    finally:
        await owner.close()
    leg = await site.ended(line)
    seen = await calling

    assert (leg.evidence, leg.answered_at, leg.billable_seconds) == ("unadmitted", None, 0)
    assert not seen.was_hung_up
    await site.meeting.assert_books_are_clean()


async def test_events_about_no_such_leg_cost_nothing(site: Site) -> None:
    """Whoever may raise an event may name any channel in it: the gateway asks the channel."""
    await site.buy(100)
    line, number = await site.line(toll()), toll()
    async with site.account(GOSSIP, GOSSIP) as gossip:
        await rumour(gossip, "no-such-channel", site.meeting.tenant_id, number)
        await site.logs("gate.forged")
        calling = asyncio.create_task(site.caller.call(line, 2.4))
        asked = await gossip.event("UserEvent", 30, UserEvent="DialoutDialIn", Number=line)
        await rumour(gossip, asked["Uniqueid"], site.meeting.tenant_id, number)
        seen = await calling
    leg = await site.ended(line)

    assert await site.legs(number) == []
    assert is_billed_as_seen(leg, seen)
    await site.meeting.assert_books_are_clean()


async def test_a_leg_that_never_comes_in_is_given_back(site: Site) -> None:
    """Whatever is said of it: what it is charged for begins by its own channel's word.

    Nor is its channel hung up, which may be in the conference by another road.
    """
    await site.buy(100)
    number, tenant_id = toll(), site.meeting.tenant_id
    uniqueid = f"leg-{uuid4().hex}"
    key = tenant_id.hex + uuid5(tenant_id, f"{uniqueid}/{VISIT}").hex
    async with (
        site.account(GOSSIP, GOSSIP) as gossip,
        site.account(APPLICATION, APPLICATION_SECRET) as application,
    ):
        asked = f"{VISIT}:{number}::{tenant_id}:{PAYS_BY_MINUTE}:weekly"
        await application.send(
            ("Action", "Originate"),
            ("Channel", "Local/s@dialout-join/n"),
            ("Application", "Wait"),
            ("Data", "60"),
            ("Async", "true"),
            ("ChannelId", uniqueid),
            ("OtherChannelId", f"{uniqueid}-other"),
            ("Variable", f"DIALOUT_CONFERENCE={uniqueid}"),
            ("Variable", f"DIALOUT_ASKED={asked}"),
        )
        other = await application.event("ConfbridgeJoin", Conference=uniqueid)
        channel = f"{other['Channel'].removesuffix(';2')};1"
        await rumour(gossip, uniqueid, tenant_id, number)
        await site.leg(number, DialOutState.RELEASED)
        now_ms = int(datetime.now(UTC).timestamp() * 1000)
        sayings = (
            ("none", "1"),
            ("none", "9" * 13),
            ("none", str(now_ms)),
            (str(now_ms - 60_000), str(now_ms - 60_000)),
            (str(now_ms + 60_000), str(now_ms + 60_000)),
        )
        for times, (on_channel, admitted_ms) in enumerate(sayings, start=1):
            await site.parts.asterisk.cli(
                f"dialplan set chanvar {channel} DIALOUT_ADMITTED_MS {on_channel}"
            )
            await gossip.send(
                ("Action", "UserEvent"),
                ("UserEvent", "DialoutAdmitted"),
                ("Channel", channel),
                ("Uniqueid", uniqueid),
                ("Key", key),
                ("Admitted", admitted_ms),
            )
            await site.logs("gate.forged", times=times)
        leg = await site.ended(number)
        with pytest.raises(TimeoutError):
            await application.event("Hangup", 1.5, Uniqueid=uniqueid)
        channels = await site.parts.asterisk.cli("core show channels concise")
        await site.parts.asterisk.cli("channel request hangup all")

    assert (leg.evidence, leg.answered_at, leg.billable_seconds) == ("unadmitted", None, 0)
    assert uniqueid in channels
    await site.meeting.assert_books_are_clean()


async def rumour(gossip: AmiSocket, uniqueid: str, tenant_id: UUID, number: str) -> None:
    """Say of a channel that it has called in."""
    await gossip.send(
        ("Action", "UserEvent"),
        ("UserEvent", "DialoutDialIn"),
        ("Channel", "PJSIP/caller-1"),
        ("Uniqueid", uniqueid),
        ("Visit", VISIT),
        ("Number", number),
        ("Caller", ""),
        ("Tenant", str(tenant_id)),
        ("Organizer", PAYS_BY_MINUTE),
        ("Conference", "weekly"),
    )
