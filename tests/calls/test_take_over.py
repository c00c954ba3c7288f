"""One of two gateways is killed at each point of a call: nothing is lost, dialled twice or late.

Where a point is passed in less than a millisecond, the way to the ledger or to Asterisk falls
silent just there, and the gateway is killed while it waits.
"""

import asyncio
import math
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio

from gateway.dialer import LOOK_SECONDS
from gateway.gate import TAKE_OVER_SECONDS
from gateway.lab.stack import Stack, stack
from tests.calls.conftest import LAB
from tests.calls.crowd import Asked, Call, Planned, Site, gateways_beside, reckoned
from tests.calls.meeting import Meeting, london
from tests.calls.test_recovery import until_ready
from tests.calls.way import Direction, Way, way_to

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

DELAY_SECONDS_MAX = 3.0
LATE_SECONDS = 5.0
"""How late a busy machine with two cores may be; the figures that are printed say it is less."""

ROOM = "room"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two gateways; the first has ways to its Asterisk and its ledger that can fall silent."""

    site: Site
    to_asterisk: Way
    to_ledger: Way

    @property
    def first(self) -> Meeting:
        """The meeting, by way of the gateway that is killed."""
        return self.site.ways[0]

    @property
    def second(self) -> Meeting:
        """The meeting, by way of the one that stays."""
        return self.site.ways[1]

    async def kill(self) -> datetime:
        """Kill the first gateway; return when that was."""
        await self.site.services[0].kill()
        return datetime.now(UTC)

    async def dialled_at(self, number: str) -> datetime:
        """Return when the carrier was asked to ring a number, as soon as it was."""
        async with asyncio.timeout(30):
            while True:
                for invite in self.second.carrier.invites():
                    if invite.number == number:
                        return invite.at
                await asyncio.sleep(0.02)

    async def reckoned(self, number: str, dial_out_id: str) -> Call:
        """Return a call that is over, as both sides have it."""
        asked = Asked(planned=Planned(number=number), ids=[UUID(dial_out_id)])
        [call] = await reckoned(self.second, [asked])
        return call

    async def ask_again(self, number: str, dial_out_id: str) -> httpx.Response:
        """Ask the second gateway for a call, as its client does whose connection broke."""
        return await self.second.post(number, dial_out_id=dial_out_id, conference_id=ROOM)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def parts() -> AsyncIterator[Stack]:
    """PostgreSQL, a carrier and an Asterisk."""
    async with stack(LAB) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def both(parts: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    """The gateways of all tests here."""
    asterisk = partial(asyncio.open_connection, parts.asterisk.host, parts.asterisk.ami_port)
    postgres = partial(asyncio.open_unix_connection, parts.postgres.socket)
    async with (
        way_to(asterisk) as to_asterisk,
        way_to(postgres) as to_ledger,
        gateways_beside(
            parts,
            tmp_path_factory.mktemp("gateways"),
            count=2,
            of_first={
                "DIALOUT_BRIDGES__MAIN__PORT": str(to_asterisk.port),
                "DIALOUT_DATABASE__DSN": f"postgresql://gateway@127.0.0.1:{to_ledger.port}/dialout",
            },
        ) as site,
    ):
        yield Pair(site=site, to_asterisk=to_asterisk, to_ledger=to_ledger)


@pytest_asyncio.fixture(loop_scope="session")
async def pair(both: Pair) -> Pair:
    """Both gateways, ready; the first may have been killed before, and has sent nothing yet."""
    both.to_asterisk.mend()
    both.to_ledger.mend()
    await both.site.services[0].kill()
    await both.site.services[0].start()
    return both


@pytest.mark.parametrize(
    ("way", "mark", "state"),
    [
        pytest.param("to_ledger", b"dialout.claim(", "reserved", id="before the claim"),
        pytest.param("to_asterisk", b"Action: Originate", "released", id="before the originate"),
    ],
)
async def test_what_was_not_begun_is_begun_by_the_gateway_that_is_asked_next(
    pair: Pair, way: str, mark: bytes, state: str
) -> None:
    """Set aside, perhaps claimed, and no channel of it anywhere: the same id calls, once."""
    number, dial_out_id = london("22"), str(uuid4())
    silent: Way = getattr(pair, way)
    silent.mark = mark
    asking = asyncio.create_task(
        pair.first.post(number, dial_out_id=dial_out_id, conference_id=ROOM)
    )
    await silent.silent.wait()
    await pair.second.until(dial_out_id, lambda it: it.get("state") == state)

    killed_at = await pair.kill()
    again = await pair.ask_again(number, dial_out_id)
    delay = (await pair.dialled_at(number) - killed_at).total_seconds()
    await pair.second.ended(dial_out_id)
    call = await pair.reckoned(number, dial_out_id)

    tell(f"killed {mark.decode()}: dialled after", delay)
    with pytest.raises(httpx.TransportError):
        await asking
    assert again.status_code == 200
    assert delay < DELAY_SECONDS_MAX + LATE_SECONDS
    assert (call.invites, call.is_exact) == (1, True), call
    await pair.second.assert_books_are_clean()


async def test_a_gate_that_its_gateway_never_answered_is_answered_by_the_other(pair: Pair) -> None:
    """Nobody asks again, and the telephone rings all the same: the channel waits at the gate."""
    number, dial_out_id = london("22"), str(uuid4())
    pair.to_asterisk.mark = b"DialoutGate"
    asking = asyncio.create_task(pair.first.post(number, dial_out_id=dial_out_id))
    await pair.to_asterisk.silent.wait()

    killed_at = await pair.kill()
    delay = (await pair.dialled_at(number) - killed_at).total_seconds()
    await pair.second.ended(dial_out_id)
    call = await pair.reckoned(number, dial_out_id)

    tell("killed with a channel at the gate: dialled after", delay)
    with pytest.raises(httpx.TransportError):
        await asking
    assert delay < DELAY_SECONDS_MAX + LATE_SECONDS
    assert (call.invites, call.is_exact) == (1, True), call
    await pair.second.assert_books_are_clean()


@pytest.mark.parametrize(
    "rings", [pytest.param(True, id="ringing"), pytest.param(False, id="talking")]
)
async def test_a_call_goes_on_and_is_settled_by_the_other(pair: Pair, rings: bool) -> None:
    """Killed while it rings, or while it is up. Its end is in the books three seconds later.

    The telephone that rings is answered when nobody follows it who saw it dialled.
    """
    number = "+442071015061" if rings else "+442071025060"
    placed = await pair.first.place(number)
    dial_out_id = placed["dial_out_id"]
    if not rings:
        await pair.first.answered(dial_out_id)

    await pair.kill()
    if rings:
        await pair.dialled_at(number)
        await until_answered_by(pair, number)
        await pair.second.cancel(dial_out_id)
    settled_at = (await pair.second.ended(dial_out_id), datetime.now(UTC))[1]
    call = await pair.reckoned(number, dial_out_id)
    [cdr] = [each for each in pair.second.carrier.cdrs() if each.number == number]
    delay = (settled_at - cdr.ended_at).total_seconds()

    tell(f"killed while {'ringing' if rings else 'talking'}: settled after", delay)
    assert delay < DELAY_SECONDS_MAX + LATE_SECONDS
    assert (call.invites, call.is_exact) == (1, True), call
    await pair.second.assert_books_are_clean()


async def until_answered_by(pair: Pair, number: str) -> None:
    """Return once a telephone has been up for a while, by the carrier."""
    async with asyncio.timeout(30):
        while number not in pair.second.carrier.answers():
            await asyncio.sleep(0.05)


async def test_what_has_hung_up_and_was_not_settled_is_settled_by_the_other(pair: Pair) -> None:
    """Killed just before the ledger heard of the end: the record on the Asterisk host tells it."""
    number = "+442071011060"
    pair.to_ledger.mark = b"dialout.settle("
    placed = await pair.first.place(number)
    await pair.to_ledger.silent.wait()

    killed_at = await pair.kill()
    await pair.second.ended(placed["dial_out_id"])
    delay = (datetime.now(UTC) - killed_at).total_seconds()
    call = await pair.reckoned(number, placed["dial_out_id"])

    tell("killed before the settlement: settled after", delay)
    assert delay < DELAY_SECONDS_MAX + LATE_SECONDS
    assert (call.invites, call.is_exact) == (1, True), call
    await pair.second.assert_books_are_clean()


async def test_a_link_that_is_half_open_is_noticed_and_drops_nobody(pair: Pair) -> None:
    """Nothing comes and nothing breaks: not ready within seconds, and new calls go elsewhere.

    Whatever hangs up meanwhile is settled by the other; what is up stays up.
    """
    leaves, stays = "+442071012060", london("10")
    stayed, left = await pair.first.place(stays), await pair.first.place(leaves)
    await pair.first.until(left["dial_out_id"], lambda it: "answered_at" in it)
    await pair.first.answered(stayed["dial_out_id"])

    pair.to_asterisk.fall_silent()
    silent_at = time.monotonic()
    await until_ready(pair.first.client, ready=False)
    noticed_seconds = time.monotonic() - silent_at
    refused = await pair.first.post(london("22"))
    ended = await pair.second.ended(left["dial_out_id"])
    pair.to_asterisk.mend()
    await until_ready(pair.first.client, ready=True)
    still = await pair.first.read(stayed["dial_out_id"])
    await pair.first.cancel(stayed["dial_out_id"])
    await pair.first.ended(stayed["dial_out_id"])

    tell("a half-open link: not ready after", noticed_seconds)
    assert (refused.status_code, refused.json()["reason"]) == (503, "bridge_unavailable")
    assert still["state"] == "answered"
    assert ended["billable_seconds"] == math.ceil(1.2)
    for number, placed in ((leaves, left), (stays, stayed)):
        call = await pair.reckoned(number, placed["dial_out_id"])
        assert (call.invites, call.is_exact) == (1, True), call
    await pair.second.assert_books_are_clean()


async def test_who_finds_a_call_begun_by_the_other_tells_what_became_of_it(pair: Pair) -> None:
    """It was set aside when the ledger was asked, and a channel of it is there a moment later."""
    number = london("80")
    dial_out_id = await pair.second.set_aside(number, ROOM)

    first = asyncio.create_task(
        pair.first.post(number, dial_out_id=dial_out_id, conference_id=ROOM)
    )
    await asyncio.sleep(3 * LOOK_SECONDS)
    second = asyncio.create_task(pair.ask_again(number, dial_out_id))
    # Long before the first has seen it set aside for the last time, and asks for the channels.
    # It hears of them late, when the second has begun the call.
    await asyncio.sleep(TAKE_OVER_SECONDS - 10 * LOOK_SECONDS)
    late = pair.to_asterisk.hold(Direction.THERE, b"Action: CoreShowChannels", seconds=2.0)
    answers = [await first, await second]
    await pair.second.cancel(dial_out_id)
    await pair.second.ended(dial_out_id)

    assert late.begun.is_set()
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.json()["state"] for answer in answers] == ["released", "released"]
    assert pair.second.invites(number) == 1
    await pair.second.assert_books_are_clean()


async def test_a_call_that_is_begun_before_it_is_claimed_is_not_told_to_be_set_aside(
    pair: Pair,
) -> None:
    """Its gateway's claim is late, so that the other answers the gate: it says so, too."""
    number, dial_out_id = london("80"), str(uuid4())
    late = pair.to_ledger.hold(Direction.THERE, b"dialout.claim(", seconds=4.0)
    asking = asyncio.create_task(
        pair.first.post(number, dial_out_id=dial_out_id, conference_id=ROOM)
    )
    await late.begun.wait()

    again = await pair.ask_again(number, dial_out_id)
    await asking
    await pair.second.cancel(dial_out_id)
    await pair.second.ended(dial_out_id)

    assert (again.status_code, again.json()["state"]) == (200, "released")
    assert pair.second.invites(number) == 1
    await pair.second.assert_books_are_clean()


async def test_a_call_that_is_cancelled_before_its_channel_is_there_does_not_go_on(
    pair: Pair,
) -> None:
    """Claimed by one gateway and cancelled at the other, while the Originate is on its way."""
    number, dial_out_id = london("80"), str(uuid4())
    late = pair.to_asterisk.hold(Direction.THERE, b"Action: Originate", seconds=2.5)
    asking = asyncio.create_task(
        pair.first.post(number, dial_out_id=dial_out_id, conference_id=ROOM)
    )
    await late.begun.wait()
    begun_at = time.monotonic()
    await pair.second.until(dial_out_id, lambda it: it.get("state") == "released")
    assert time.monotonic() - begun_at < late.seconds

    cancelled = await pair.second.cancel(dial_out_id)
    ended = await pair.second.ended(dial_out_id)

    await asking
    assert cancelled.is_success
    # By whom a channel was hung up that had not dialled yet, its own gateway cannot tell.
    assert ended["disposition"] in ("cancelled", "failed")
    assert ended["billable_seconds"] == 0
    await pair.second.assert_books_are_clean()


async def test_who_does_not_know_whether_it_took_a_call_over_says_so(pair: Pair) -> None:
    """The ledger's answer is late. Nobody is called, and whoever asks is not told otherwise."""
    number = london("22")
    dial_out_id = await pair.second.set_aside(number, ROOM)
    pair.to_ledger.hold(Direction.BACK, b"dialout.take_over(", seconds=4.0)

    answer = await pair.first.post(number, dial_out_id=dial_out_id, conference_id=ROOM)
    ended = await pair.second.ended(dial_out_id)

    assert (answer.status_code, answer.json()["reason"]) == (503, "ledger_unavailable")
    assert ended["billable_seconds"] == 0
    assert pair.second.invites(number) == 0
    await pair.second.assert_books_are_clean()


def tell(what: str, seconds: float) -> None:
    """Print a figure, for whoever runs this to measure."""
    sys.stdout.write(f"{what} {seconds:.2f} s\n")


@pytest.mark.parametrize(
    ("direction", "mark", "seconds"),
    [
        pytest.param(Direction.BACK, b"Action: Originate", 3.6, id="the answer to an originate"),
        pytest.param(Direction.THERE, b"DIALOUT_VERDICT", 3.5, id="the answer to the gate"),
    ],
)
async def test_a_gateway_that_comes_late_ends_no_call_of_the_one_that_was_in_time(
    pair: Pair, direction: Direction, mark: bytes, seconds: float
) -> None:
    """Alive, but cut off for seconds: the other has answered the gate, and its call goes on.

    Neither is it given back, nor hung up as a stranger's, nor ended by a verdict that comes then;
    and nobody is told that nobody was called.
    """
    number, dial_out_id = london("10"), str(uuid4())
    pair.to_asterisk.hold(direction, mark, seconds)

    answer = await pair.first.post(number, dial_out_id=dial_out_id, conference_id=ROOM)
    await pair.second.until(dial_out_id, lambda it: it.get("state") == "answered")
    await asyncio.sleep(seconds)  # what is late has come by then
    still = await pair.second.read(dial_out_id)
    await pair.second.cancel(dial_out_id)
    await pair.second.ended(dial_out_id)
    call = await pair.reckoned(number, dial_out_id)

    assert answer.is_success, answer.text
    assert still["state"] == "answered"
    assert (call.invites, call.is_exact) == (1, True), call
