"""Outages in the ledger: noted once, and found again with the calls that they may have touched."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from gateway import db
from gateway.core.call import Unproved
from gateway.core.causes import Disposition
from gateway.core.dial_out import MAIN_BRIDGE, BridgeName
from gateway.core.key import DialOutKey
from gateway.core.outage import Outage, OutageKind
from gateway.ledger import GapCall, Ledger, Provisioning, Reports, Serving
from tests.ledger.world import CREDITS, LONDON, NOON, TERMS, World

SECOND = timedelta(seconds=1)
BEAT = 10
A, B, C = (UUID(int=number) for number in (0xA, 0xB, 0xC))


@pytest.fixture
async def world(ledger: Ledger, provisioning: Provisioning) -> World:
    """A tenant with credits in plenty."""
    world = await World.create(ledger, provisioning)
    await world.add_credits(10_000_000)
    return world


@pytest.fixture
def reports(pool: db.Pool) -> Reports:
    """What reads outages and their calls."""
    return Reports(pool, call_seconds_max=20.0)


def outage(began: int, ended: int, **other: object) -> Outage:
    """Return an outage that lasted from so many seconds after noon to so many."""
    plain = Outage(
        outage_id=uuid4(),
        bridge=MAIN_BRIDGE,
        kind=OutageKind.LINK,
        began_at=NOON + began * SECOND,
        ended_at=NOON + ended * SECOND,
        detail="lost",
    )
    return replace(plain, **other)  # type: ignore[arg-type]


async def spans(reports: Reports, each: Outage, tenant_id: UUID | None = None) -> list[GapCall]:
    """Return the calls that span an outage."""
    return [call async for call in reports.gap_calls(each.outage_id, tenant_id)]


async def listed(
    reports: Reports,
    since: datetime | None = None,
    until: datetime = NOON + timedelta(days=1),
    **other: object,
) -> list[UUID]:
    """Return the ids of the outages of a time, newest first."""
    wanted = {"bridge": None, "before": None, "limit": 100} | other
    found = await reports.outages(since, until, **wanted)  # type: ignore[arg-type]
    return [each.outage_id for each in found]


async def serves(ledger: Ledger, gateway_id: UUID, second: int, *, stops: bool = False) -> Serving:
    """Have a gateway say that it serves the bridge, so many seconds after noon."""
    at = NOON + second * SECOND
    return await ledger.gateway_serves(MAIN_BRIDGE, gateway_id, at, stops=stops, beat_seconds=BEAT)


async def vanished(world: World, key: DialOutKey, least: int, most: int, policy: Unproved) -> None:
    """End a call that was answered at noon, at two instants of which nothing proves either."""
    await world.ledger.settle(
        key,
        answered_at=NOON,
        ended_at=NOON + least * SECOND,
        hangup_cause=0,
        disposition=Disposition.ANSWERED,
        evidence="absent_twice",
        latest_end=NOON + most * SECOND,
        unproved=policy,
    )


async def test_an_outage_is_noted_once(ledger: Ledger, reports: Reports) -> None:
    """Whoever got no answer says it again; what was noted first stands."""
    first = outage(0, 60)

    await ledger.outage_note(first)
    await ledger.outage_note(replace(first, detail="something else"))

    assert await reports.outages(
        None, NOON + timedelta(days=1), bridge=None, before=None, limit=10
    ) == (first,)


async def test_what_was_noted_stays(owner: db.Connection, ledger: Ledger) -> None:
    """It explains bills: nobody takes it away, and it cannot end before it began."""
    await ledger.outage_note(outage(0, 60))

    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="never changed"):
        await owner.execute("DELETE FROM dialout.outage")
    with pytest.raises(asyncpg.CheckViolationError):
        await ledger.outage_note(outage(60, 59))


async def test_outages_are_of_a_time_and_a_bridge(ledger: Ledger, reports: Reports) -> None:
    """Those that touch the time in part, too; newest first, a page at a time."""
    first, second, other = outage(0, 60), outage(30, 90), outage(0, 60, bridge=BridgeName("north"))
    for each in (first, second, other):
        await ledger.outage_note(each)
    older = sorted((first.outage_id, other.outage_id), reverse=True)

    assert await listed(reports) == [second.outage_id, *older]
    assert await listed(reports, NOON + 61 * SECOND) == [second.outage_id]
    assert await listed(reports, until=NOON + 30 * SECOND) == older
    assert await listed(reports, bridge="north") == [other.outage_id]
    assert await listed(reports, limit=1) == [second.outage_id]
    assert await listed(reports, before=second.outage_id) == older
    assert await listed(reports, before=older[0]) == [older[1]]


@pytest.mark.parametrize(
    ("began", "ended", "is_spanned"),
    [(-30, -1, False), (-30, 0, True), (10, 20, True), (60, 90, True), (61, 90, False)],
)
async def test_a_call_spans_what_lies_between_its_release_and_its_end(
    ledger: Ledger, reports: Reports, world: World, began: int, ended: int, is_spanned: bool
) -> None:
    """Released and answered at noon, ended a minute later: proved, so billed as it was."""
    key = await world.released(CREDITS)
    await world.settle(key, 60_000)
    each = outage(began, ended)
    await ledger.outage_note(each)

    found = await spans(reports, each)

    assert [call.dial_out_id for call in found] == [key.dial_out_id] * is_spanned
    for call in found:
        assert (call.least_seconds, call.most_seconds, call.unproved) == (60, 60, None)
        assert (call.billed_seconds, call.otherwise_seconds) == (60, None)
        assert (call.seconds_otherwise_more, call.micros_otherwise_more) == (0, 0)


async def test_calls_elsewhere_span_nothing_here(
    ledger: Ledger, reports: Reports, world: World
) -> None:
    """Not of another bridge, not of another tenant than the one that is asked for."""
    await world.released(CREDITS)
    here, elsewhere = outage(10, 20), outage(10, 20, bridge=BridgeName("north"))
    for each in (here, elsewhere):
        await ledger.outage_note(each)

    assert len(await spans(reports, here)) == 1
    assert len(await spans(reports, here, world.tenant_id)) == 1
    assert await spans(reports, here, uuid4()) == []
    assert await spans(reports, elsewhere) == []


async def test_a_call_that_goes_on_is_open(ledger: Ledger, reports: Reports, world: World) -> None:
    """What it was billed is not known; one that was never released is touched by nothing."""
    key = await world.released(CREDITS)
    await world.reserve(None, CREDITS)
    each = outage(10, 20)
    await ledger.outage_note(each)

    [call] = await spans(reports, each)

    assert call.dial_out_id == key.dial_out_id
    assert (call.ended_at, call.evidence, call.billed_seconds) == (None, None, None)


@pytest.mark.parametrize(
    ("policy", "billed", "otherwise"),
    [(Unproved.LEAST, (61, 29_000), (130, 41_000)), (Unproved.MOST, (130, 41_000), (61, 29_000))],
)
async def test_both_bounds_are_priced(
    ledger: Ledger,
    reports: Reports,
    world: World,
    policy: Unproved,
    billed: tuple[int, int],
    otherwise: tuple[int, int],
) -> None:
    """12 thousandths a begun minute and 5 for the connection: what was billed, what else."""
    key = await world.released(CREDITS)
    await vanished(world, key, 61, 130, policy)
    each = outage(55, 131)
    await ledger.outage_note(each)

    [call] = await spans(reports, each)

    assert (call.least_seconds, call.most_seconds, call.unproved) == (61, 130, policy)
    assert (call.billed_seconds, call.billed_micros) == billed
    assert (call.otherwise_seconds, call.otherwise_micros) == otherwise
    assert call.seconds_otherwise_more == otherwise[0] - billed[0]
    assert call.micros_otherwise_more == otherwise[1] - billed[1]


async def test_nothing_beyond_what_was_set_aside_would_be_billed(
    ledger: Ledger, reports: Reports, world: World
) -> None:
    """A call that may have lasted an hour had two minutes paid for."""
    key = await world.released(CREDITS, seconds=120)
    await vanished(world, key, 30, 3600, Unproved.LEAST)
    each = outage(25, 3600)
    await ledger.outage_note(each)

    [call] = await spans(reports, each)

    assert call.otherwise_seconds == 120
    assert call.otherwise_micros == 29_000


async def test_a_call_counts_that_may_have_lasted_into_an_outage(
    ledger: Ledger, reports: Reports, world: World
) -> None:
    """It was billed for half a minute, but nothing proves that it did not last two."""
    key = await world.released(CREDITS)
    await vanished(world, key, 30, 120, Unproved.LEAST)
    within, beyond = outage(100, 200), outage(121, 200)
    for each in (within, beyond):
        await ledger.outage_note(each)

    assert len(await spans(reports, within)) == 1
    assert await spans(reports, beyond) == []


async def test_a_call_that_perhaps_nobody_answered_is_priced_as_if_somebody_had(
    ledger: Ledger, reports: Reports, world: World
) -> None:
    """It was billed nothing; what it may have cost is told all the same."""
    key = await world.released(CREDITS)
    await ledger.void(
        key,
        at=NOON + 10 * SECOND,
        hangup_cause=0,
        disposition=Disposition.FAILED,
        only_if_unclaimed=False,
        evidence="absent_twice",
        latest_end=NOON + 61 * SECOND,
    )
    each = outage(30, 62)
    await ledger.outage_note(each)

    [call] = await spans(reports, each)

    assert (call.billed_seconds, call.billed_micros) == (0, 0)
    assert (call.otherwise_seconds, call.otherwise_micros) == (61, 29_000)


async def test_many_calls_come_in_pages(owner: db.Connection, ledger: Ledger, world: World) -> None:
    """All of them, each once, also where several were asked for at one instant."""
    keys = {(await world.released(CREDITS, seconds=60)).dial_out_id for _ in range(5)}
    each = outage(10, 20)
    await ledger.outage_note(each)
    statement = "SELECT * FROM dialout.gap_calls($1, null, $2, $3, $4, 2)"

    first = await owner.fetch(statement, each.outage_id, None, None, None)
    found = [*first]
    while len(found) < 5:
        last = found[-1]
        after = (last["requested_at"], last["tenant_id"], last["dial_out_id"])
        found.extend(await owner.fetch(statement, each.outage_id, *after))

    assert len(first) == 2
    assert [row["dial_out_id"] for row in found] == sorted(keys)


async def test_a_call_knows_the_outages_that_it_spans(ledger: Ledger, world: World) -> None:
    """Oldest first, and none that came after it."""
    key = await world.released(CREDITS)
    await world.settle(key, 60_000)
    ledger_away = outage(30, 40, kind=OutageKind.LEDGER)
    link_away = outage(10, 20)
    for each in (ledger_away, link_away, outage(70, 80)):
        await ledger.outage_note(each)
    dial_out = await ledger.dial_out(key)
    assert dial_out is not None

    assert await ledger.outages_of(dial_out) == (link_away, ledger_away)


async def test_the_time_without_a_gateway_is_an_outage(ledger: Ledger, reports: Reports) -> None:
    """From the last sign of the one that died to the first of the next, noted once."""
    await serves(ledger, A, 0)
    await serves(ledger, A, 10)

    at_first = await serves(ledger, B, 17)
    later = await serves(ledger, B, 27)
    sure = await serves(ledger, B, 37)
    again = await serves(ledger, B, 47)

    assert (at_first.outages, later.outages, again.outages) == ((), (), ())
    [noted] = sure.outages
    assert (noted.began_at, noted.ended_at) == (NOON + 10 * SECOND, NOON + 17 * SECOND)
    assert (noted.kind, noted.detail) == (OutageKind.GATEWAY, "died")
    assert await listed(reports) == [noted.outage_id]


async def test_a_crash_loop_hides_no_outage(ledger: Ledger, reports: Reports) -> None:
    """The first is noted, too, though whoever ended it was dead before that was certain."""
    await serves(ledger, A, 0)
    await serves(ledger, B, 10)
    await serves(ledger, C, 18)

    early = await serves(ledger, C, 28)
    sure = await serves(ledger, C, 38)

    assert [each.outage_id for each in early.outages] == [B]
    assert [each.outage_id for each in sure.outages] == [C]
    assert [
        (each.began_at - NOON, each.ended_at - NOON) for each in (*early.outages, *sure.outages)
    ] == [(0 * SECOND, 10 * SECOND), (10 * SECOND, 18 * SECOND)]
    assert await listed(reports) == [C, B]


async def test_one_that_stops_is_not_waited_for(ledger: Ledger) -> None:
    """It has said so, and a beat that was still on its way does not take that back."""
    await serves(ledger, A, 0)
    await serves(ledger, A, 9, stops=True)
    await serves(ledger, A, 8)

    answer = await serves(ledger, B, 12)

    [noted] = answer.outages
    assert noted.detail == "stopped"
    assert noted.seconds == 3


async def test_two_gateways_leave_no_gap(ledger: Ledger, reports: Reports) -> None:
    """The second begins while the first serves; either may go then, and the other stays."""
    await serves(ledger, A, 0)
    await serves(ledger, B, 5)
    await serves(ledger, A, 10)
    await serves(ledger, B, 15)
    await serves(ledger, A, 16, stops=True)
    await serves(ledger, C, 20)
    await serves(ledger, B, 25)

    await serves(ledger, C, 60)

    assert await listed(reports) == []


async def test_two_that_begin_after_a_gap_note_it_once(ledger: Ledger, reports: Reports) -> None:
    """The first of them ends it; for the second there was somebody all the time."""
    await serves(ledger, A, 0)
    for second in (100, 110, 120):
        await serves(ledger, B, second)
        await serves(ledger, C, second + 1)

    assert await listed(reports) == [B]


async def test_the_first_gateway_of_all_follows_nobody(ledger: Ledger, reports: Reports) -> None:
    """Before it there were no calls that it could have missed."""
    answer = await serves(ledger, A, 0)

    assert (answer.served_until, answer.outages) == (None, ())
    assert await listed(reports) == []


async def test_what_is_silent_for_a_day_is_forgotten(ledger: Ledger, owner: db.Connection) -> None:
    """Each start leaves a row, and years of starts must not be looked through at each beat."""
    await serves(ledger, A, 0)
    await serves(ledger, B, 30)
    day = 24 * 3600

    await serves(ledger, C, day + 31)

    assert await owner.fetchval("SELECT array_agg(gateway_id) FROM dialout.gateway_beat") == [C]
    await serves(ledger, C, day + 41)
    assert await owner.fetchval("SELECT count(*) FROM dialout.outage") == 2


async def test_a_clock_that_is_set_back_takes_nothing_back(ledger: Ledger) -> None:
    """The last instant at which a gateway is known to have served stands."""
    await serves(ledger, A, 10)
    await serves(ledger, A, 0)

    answer = await serves(ledger, B, 50)

    assert answer.served_until == NOON + 10 * SECOND


async def test_a_clock_that_is_set_back_makes_no_outage_of_the_time_ahead(
    ledger: Ledger, reports: Reports
) -> None:
    """Whoever served then, did so by a clock that nobody believes any more."""
    await serves(ledger, A, 10_000)
    await serves(ledger, A, 10_600)

    await serves(ledger, B, 1010)
    answer = await serves(ledger, B, 1020, stops=True)

    assert answer.outages == ()
    assert await listed(reports) == []


async def test_the_calls_of_an_outage_are_found_by_their_time(
    owner: db.Connection, ledger: Ledger, reports: Reports, world: World
) -> None:
    """Years of calls are not read for it: of other months nothing, of its month one day."""
    await ledger.reserve(
        *(world.request(), LONDON, CREDITS, world.rate, TERMS, "{}", NOON),
        *(NOON + timedelta(seconds=60), "ast-1.1"),
    )
    each = outage(10, 20)
    await ledger.outage_note(each)
    await owner.execute("SET enable_seqscan TO off")

    plan = "\n".join(
        row[0]
        for row in await owner.fetch(
            f"EXPLAIN SELECT * FROM dialout.outage_call WHERE outage_id = '{each.outage_id}'"
        )
    )

    assert "requested_at_idx" in plan
