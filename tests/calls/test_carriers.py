"""What carriers do, right to the disposition, the cause and the second.

All calls of the table are placed at once, each into a room of its own, and each test looks at one
of them: how it ended, what it cost, and what the carrier was asked.
"""

import asyncio
import contextlib
import math
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
import pytest_asyncio

from gateway import db
from gateway.lab.carrier import Carrier, Cdr
from gateway.lab.service import Service
from gateway.lab.stack import Stack, stack
from gateway.lab.telephone import ear_on
from gateway.ledger import Ledger, Provisioning
from tests.calls.conftest import LAB, OPTIONS
from tests.calls.meeting import Answer, Meeting, london

pytestmark = pytest.mark.asyncio(loop_scope="session")

RING_SECONDS = int(OPTIONS["DIALOUT_CALL__RING_SECONDS"])
RTP_TIMEOUT_SECONDS = 2
NEAR_A_FULL_SECOND = 0.05
"""How far the carrier's clock and Asterisk's may be apart without a begun second more or less."""
CLOCKS_APART_SECONDS = 0.2
"""How far they are on a busy machine at the most."""
FEATURE_SECONDS = 1.5
"""Longer than Asterisk waits for the next key of a code."""

REJECTED, CANCELLED_LATE = ("INVITE", "ACK"), ("INVITE", "CANCEL", "ACK")
WE_HUNG_UP = (16, 0)
"""Causes of a leg that Asterisk gives up itself; it is not always in time to note one."""

LEFT_BY_THEM, LEFT_BY_US = ("INVITE", "ACK"), ("INVITE", "ACK", "BYE")

KEYS = "#*#*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silent:
    """A call that nobody answered: how it must end, and what the carrier was asked meanwhile."""

    what: str
    ending: str
    disposition: str
    causes: tuple[int, ...]
    asked: tuple[str, ...] = REJECTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """A call that was answered: about how long it lasts, and whether it is ours to hang up.

    ``number`` is for an ending whose four digits before it mean something, too.
    """

    what: str
    ending: str
    seconds: float
    we_leave: bool = False
    asked: tuple[str, ...] = LEFT_BY_THEM
    number: str = ""


SILENT = (
    Silent(what="603 declined", ending="01", disposition="no_answer", causes=(21,)),
    Silent(what="302 redirected", ending="02", disposition="failed", causes=(23, *WE_HUNG_UP)),
    Silent(what="503 unavailable", ending="03", disposition="congestion", causes=(34,)),
    Silent(what="480 absent", ending="48", disposition="no_answer", causes=(19,)),
    Silent(what="486 busy", ending="86", disposition="busy", causes=(17,)),
    Silent(what="404 unknown", ending="99", disposition="failed", causes=(1,)),
    Silent(
        what="180 and no more",
        ending="80",
        disposition="no_answer",
        causes=WE_HUNG_UP,
        asked=CANCELLED_LATE,
    ),
    Silent(
        what="183 and no more",
        ending="81",
        disposition="no_answer",
        causes=WE_HUNG_UP,
        asked=CANCELLED_LATE,
    ),
    Silent(
        what="a 200 that crosses the CANCEL",
        ending="82",
        disposition="no_answer",
        causes=WE_HUNG_UP,
        asked=(*CANCELLED_LATE, "BYE"),
    ),
)
TALKS = (
    Talk(what="a BYE of the far side", ending="22", seconds=2),
    Talk(what="a BYE after half a second", ending="60", seconds=0.5, number="+442078005060"),
    Talk(what="183 and then an answer", ending="83", seconds=2.5, we_leave=True, asked=LEFT_BY_US),
    Talk(
        what="180, 183 and then an answer",
        ending="84",
        seconds=2.5,
        we_leave=True,
        asked=LEFT_BY_US,
    ),
    Talk(
        what="an answer just before the ringing ends",
        ending="61",
        seconds=2.5,
        we_leave=True,
        asked=LEFT_BY_US,
        number="+442078047061",
    ),
    Talk(what="re-INVITEs: hold, another codec, a refresh", ending="87", seconds=2),
    Talk(what="no media and no BYE", ending="70", seconds=RTP_TIMEOUT_SECONDS, asked=LEFT_BY_US),
)


APART_SECONDS = 0.2
"""From one call to the next, so that none answers while others are being set up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A stack of this module's own, because a call without media must end soon here."""

    parts: Stack
    meeting: Meeting


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A call that is over, and what the API says of it."""

    number: str
    answer: Answer
    carrier: Carrier

    async def assert_asked(self, methods: tuple[str, ...]) -> None:
        """Insist on what the carrier was asked, once the last message had the time to arrive."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(30):
                while self.carrier.requests(self.number) != methods:
                    await asyncio.sleep(0.05)
        assert self.carrier.requests(self.number) == methods

    async def cdr(self) -> Cdr:
        """Return what the carrier would bill, once it has noted the end."""
        async with asyncio.timeout(30):
            while not (found := [cdr for cdr in self.carrier.cdrs() if cdr.number == self.number]):
                await asyncio.sleep(0.05)
        [cdr] = found
        return cdr


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """PostgreSQL, a carrier, an Asterisk that soon misses media, a gateway and a meeting."""
    output = tmp_path_factory.mktemp("carriers") / "gateway.log"
    async with (
        stack(LAB, rtp_timeout_seconds=RTP_TIMEOUT_SECONDS) as parts,
        db.pool(parts.owner) as pool,
        Service(parts.asterisk, database=parts.gateway, output=output, options=OPTIONS) as service,
        service.client() as client,
    ):
        meeting = await Meeting.create(
            client,
            Ledger(pool, call_seconds_max=20.0),
            Provisioning(pool, call_seconds_max=20.0),
            parts.carrier,
        )
        yield Site(parts=parts, meeting=meeting)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def done(site: Site) -> dict[str, Done]:
    """Every call of the two tables, by its ending, after all of them are over."""
    silent = (_over(site.meeting, each.ending, london(each.ending)) for each in SILENT)
    talks = (
        _over(
            site.meeting,
            each.ending,
            each.number or london(each.ending),
            leaves_after=each.seconds if each.we_leave else None,
        )
        for each in TALKS
    )
    calls = []
    for each in (*silent, *talks):
        calls.append(asyncio.create_task(each))
        await asyncio.sleep(APART_SECONDS)
    return dict(await asyncio.gather(*calls))


@pytest.mark.parametrize("silent", SILENT, ids=lambda silent: silent.what)
async def test_a_call_that_nobody_answers(done: dict[str, Done], silent: Silent) -> None:
    """It costs nothing, says why, and was asked of the carrier once, whatever the carrier said.

    A 302 names another number, which was neither decided on nor paid for: nobody is called there.
    A 200 that crosses our CANCEL is a call for the carrier, and for us one that nobody wanted any
    more: it is hung up at once.
    """
    call = done[silent.ending]

    assert call.answer["disposition"] == silent.disposition
    assert call.answer["hangup_cause"] in silent.causes
    assert call.answer["billable_seconds"] == 0
    assert "paid_by" not in call.answer
    await call.assert_asked(silent.asked)


@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.what)
async def test_a_call_that_is_answered(done: dict[str, Done], talk: Talk) -> None:
    """It is billed from the 200 to the BYE, every begun second: what the carrier bills, too.

    Neither ringing nor early media counts. A session that is negotiated anew in between is one
    call. Where the media stopped, the timeout of the media is the end.
    """
    call = done[talk.ending]
    cdr = await call.cdr()

    assert (call.answer["disposition"], call.answer["hangup_cause"]) == ("answered", 16)
    assert call.answer["billable_seconds"] in _begun_seconds(cdr)
    assert abs(_api_seconds(call.answer) - cdr.seconds) < CLOCKS_APART_SECONDS
    assert talk.seconds - 0.2 < cdr.seconds < talk.seconds + 1.5
    await call.assert_asked(talk.asked)


async def test_no_call_was_rung_twice_or_elsewhere(done: dict[str, Done], site: Site) -> None:
    """As many INVITEs as calls, to the numbers that were asked for, and the books are clean."""
    placed = {call.number for call in done.values()}
    invited = [each.number for each in site.parts.carrier.invites() if each.number in placed]

    assert len(done) == len(SILENT) + len(TALKS)
    assert sorted(invited) == sorted(placed)
    assert len(site.parts.carrier.invites()) == len(invited)
    await site.meeting.assert_books_are_clean()


async def test_the_callees_keys_end_nothing(site: Site) -> None:
    """Neither # nor * transfers, disconnects or records: the call goes on until it is ended."""
    number = london("70")
    log = site.parts.asterisk.directory / "log" / "keys"
    await site.parts.asterisk.cli("logger add channel keys dtmf")
    async with ear_on(site.parts.carrier.ear_port) as ear:
        placed = await site.meeting.place(number, conference_id="keys")
        telephone = await ear.next_telephone()
        await site.meeting.answered(placed["dial_out_id"])
        await telephone.press(KEYS)
        await _taken_in(log)
        with pytest.raises(TimeoutError):
            await site.meeting.ended(placed["dial_out_id"], seconds=FEATURE_SECONDS)
        after = await site.meeting.read(placed["dial_out_id"])
        requests = site.parts.carrier.requests(number)
        channels = await site.parts.asterisk.cli("core show channels concise")
        await site.meeting.cancel(placed["dial_out_id"])
        ended = await site.meeting.ended(placed["dial_out_id"])

    assert after["state"] == "answered"
    assert requests == ("INVITE", "ACK")
    assert channels.count("PJSIP/dialout-trunk-") == 1
    assert ended["disposition"] == "answered"


async def _over(
    meeting: Meeting, ending: str, number: str, *, leaves_after: float | None = None
) -> tuple[str, Done]:
    """Place a call, hang it up so many seconds after its answer if that is ours to do, wait."""
    placed = await meeting.place(number, conference_id=f"room-{ending}")
    if leaves_after is not None:
        answered = await meeting.answered(placed["dial_out_id"])
        await _until(datetime.fromisoformat(answered["answered_at"]).timestamp() + leaves_after)
        await meeting.cancel(placed["dial_out_id"])
    answer = await meeting.ended(placed["dial_out_id"], seconds=RING_SECONDS + 30)
    return ending, Done(
        number=number,
        answer=answer,
        carrier=meeting.carrier,
    )


def _begun_seconds(cdr: Cdr) -> set[int]:
    """Return the seconds that a call began; two numbers where it ended near a full one."""
    return {
        math.ceil(cdr.seconds - NEAR_A_FULL_SECOND),
        math.ceil(cdr.seconds + NEAR_A_FULL_SECOND),
    }


def _api_seconds(answer: Answer) -> float:
    answered_at, ended_at = (
        datetime.fromisoformat(answer[name]) for name in ("answered_at", "ended_at")
    )
    return (ended_at - answered_at).total_seconds()


async def _until(epoch_seconds: float) -> None:
    """Return at an instant."""
    await asyncio.sleep(epoch_seconds - time.time())


async def _taken_in(log: Path) -> None:
    """Return once Asterisk has taken the keys in, by its own log."""
    async with asyncio.timeout(30):
        while _keys_in(log) != KEYS:
            await asyncio.sleep(0.05)


def _keys_in(log: Path) -> str:
    return "".join(re.findall(r"DTMF end '(.)' received on PJSIP", log.read_text()))
