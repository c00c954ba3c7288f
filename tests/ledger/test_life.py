"""Refused, claimed, answered, seen, settled, voided: every outcome, each asked for twice."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from gateway.core.causes import Disposition
from gateway.core.dial_out import DialOutState
from gateway.core.facts import SourceKind
from gateway.core.key import DialOutKey
from gateway.core.rating import Seconds
from gateway.core.reasons import Reason
from gateway.db import Connection
from gateway.ledger import (
    AnsweredOutcome,
    Claim,
    ClaimOutcome,
    Ledger,
    Provisioning,
    RequestOutcome,
    SettleOutcome,
    VoidOutcome,
)
from tests.ledger.world import CREDITS, LONDON, NOON, POOL, TERMS, World

SECOND = timedelta(seconds=1)
EXPIRY = NOON + timedelta(seconds=60)


@pytest.fixture
async def world(ledger: Ledger, provisioning: Provisioning) -> World:
    """A tenant with an hour in the pool and a million micros of credits."""
    world = await World.create(ledger, provisioning)
    await world.add_licence()
    await world.add_credits(1_000_000)
    return world


async def refused(world: World) -> DialOutKey:
    """Have a request refused by policy, and return its key."""
    request = world.request()
    await world.ledger.refuse(request, LONDON, Reason.PERMISSION_NONE, "{}", NOON)
    return request.key


async def reserved(world: World) -> DialOutKey:
    """Reserve an hour of the pool and return the key."""
    _, dial_out = await world.reserve()
    return dial_out.request.key


def unknown(world: World) -> DialOutKey:
    """Return a key that nobody asked for."""
    return DialOutKey(tenant_id=world.tenant_id, dial_out_id=uuid4())


class TestRefuse:
    """A decision of policy, recorded."""

    async def test_a_refusal_is_recorded_once(self, ledger: Ledger, world: World) -> None:
        """The reason and the facts stay on record; asking again gets the same answer."""
        request = world.request()

        first = await ledger.refuse(request, LONDON, Reason.PERMISSION_NONE, '{"a": 1}', NOON)
        again = await ledger.refuse(request, None, Reason.NO_RATE, "{}", NOON + SECOND)

        assert first[0] is RequestOutcome.REFUSED
        assert first[1] is not None
        assert first[1].state is DialOutState.REFUSED
        assert first[1].reason is Reason.PERMISSION_NONE
        assert first[1].destination == LONDON.e164
        assert first[1].explanation == '{"a": 1}'
        assert again == (RequestOutcome.EXISTS, first[1])

    async def test_an_id_that_is_taken_is_said_to_be(self, ledger: Ledger, world: World) -> None:
        """A refusal never replaces what another request became."""
        request = world.request()
        _, stored = await world.reserve(request)
        other = replace(request, conference_id="else")

        answer = await ledger.refuse(other, None, Reason.NUMBER_INVALID, "{}", NOON)

        assert answer == (RequestOutcome.EXISTS_WITH_DIFFERENT_TERMS, stored)

    async def test_an_unknown_tenant_leaves_no_record(self, ledger: Ledger, world: World) -> None:
        """There is nobody to record it under, and an outsider must not fill the tables."""
        request = replace(world, tenant_id=uuid4()).request()

        answers = [
            await ledger.refuse(request, None, Reason.TENANT_UNKNOWN, "{}", NOON) for _ in range(2)
        ]

        assert answers == [(RequestOutcome.UNKNOWN_TENANT, None)] * 2
        assert await ledger.dial_out(request.key) is None

    async def test_what_is_refused_stays_refused(self, ledger: Ledger, world: World) -> None:
        """Policy may change its mind, but not about this id."""
        request = world.request()
        _, stored = await ledger.refuse(request, None, Reason.NUMBER_INVALID, "{}", NOON)

        assert await world.reserve(request) == (RequestOutcome.EXISTS, stored)


class TestClaim:
    """One channel, once."""

    async def test_the_first_channel_gets_the_terms_and_no_other(
        self, ledger: Ledger, world: World
    ) -> None:
        """A replay of the gate, even by the same channel, finds nothing: nobody dials twice."""
        key = await reserved(world)

        first = await ledger.claim(key, "a-gate", NOON)
        again = [await ledger.claim(key, name, NOON) for name in ("a-gate", "b-gate")]
        dial_out = await ledger.dial_out(key)

        assert first == Claim(
            destination=LONDON.e164,
            limit_seconds=Seconds(1800),
            talk_seconds_max=Seconds(1800),
            ring_seconds=TERMS.ring_seconds,
            caller_id=TERMS.caller_id,
        )
        assert again == [ClaimOutcome.RELEASED] * 2
        assert dial_out is not None
        assert dial_out.state is DialOutState.RELEASED
        assert (dial_out.gate_uniqueid, dial_out.released_at) == ("a-gate", NOON)

    async def test_a_claim_comes_before_the_expiry_or_not_at_all(
        self, ledger: Ledger, world: World
    ) -> None:
        """The reaper may void from that instant on."""
        late, early = await reserved(world), await reserved(world)

        assert await ledger.claim(late, "a-gate", EXPIRY) is ClaimOutcome.EXPIRED
        assert await ledger.claim(late, "a-gate", EXPIRY) is ClaimOutcome.EXPIRED
        assert isinstance(await ledger.claim(early, "a-gate", EXPIRY - SECOND), Claim)

    async def test_nothing_else_can_be_claimed(self, ledger: Ledger, world: World) -> None:
        """Fail closed: each state but `reserved` has its name in the log, and no call."""
        answered, ended = await world.released(), await reserved(world)
        await ledger.answered(answered, NOON)
        await world.void(ended)

        outcomes = [
            await ledger.claim(key, "a-gate", NOON)
            for key in (unknown(world), await refused(world), ended, answered)
        ]

        assert outcomes == [
            ClaimOutcome.UNKNOWN_DIAL_OUT,
            ClaimOutcome.REFUSED,
            ClaimOutcome.ENDED,
            ClaimOutcome.RELEASED,
        ]

    async def test_the_key_is_of_one_tenant(self, ledger: Ledger, world: World) -> None:
        """Another tenant's id with this dial-out's is a key that nobody has."""
        key = await reserved(world)
        forged = DialOutKey(tenant_id=uuid4(), dial_out_id=key.dial_out_id)

        assert await ledger.claim(forged, "a-gate", NOON) is ClaimOutcome.UNKNOWN_DIAL_OUT


class TestAnswered:
    """The instant from which a call is billed, as far as it is known while it lasts."""

    async def test_the_first_instant_stands(self, ledger: Ledger, world: World) -> None:
        """A repeated event, or a second gateway, moves nothing."""
        key = await world.released()

        first = await ledger.answered(key, NOON)
        again = await ledger.answered(key, NOON + SECOND)
        dial_out = await ledger.dial_out(key)

        assert (first, again) == (AnsweredOutcome.ANSWERED, AnsweredOutcome.EXISTS)
        assert dial_out is not None
        assert (dial_out.state, dial_out.answered_at) == (DialOutState.ANSWERED, NOON)

    async def test_only_a_released_call_can_be_answered(self, ledger: Ledger, world: World) -> None:
        """An answer without a claim is about another call."""
        ended = await world.released()
        await world.settle(ended, 1000)

        outcomes = [
            await ledger.answered(key, NOON)
            for key in (unknown(world), await reserved(world), await refused(world), ended)
        ]

        assert outcomes == [
            AnsweredOutcome.UNKNOWN_DIAL_OUT,
            AnsweredOutcome.UNCLAIMED,
            AnsweredOutcome.ENDED,
            AnsweredOutcome.ENDED,
        ]


async def test_the_last_moment_seen_never_goes_back(ledger: Ledger, world: World) -> None:
    """It is the least that a lost call lasted; only what may be alive has one."""
    released, unclaimed = await world.released(), await reserved(world)
    ids = [released.dial_out_id, unclaimed.dial_out_id, uuid4()]

    await ledger.seen(world.tenant_id, ids, NOON + SECOND)
    await ledger.seen(world.tenant_id, ids, NOON)
    alive, waiting = await ledger.dial_out(released), await ledger.dial_out(unclaimed)

    assert alive is not None
    assert waiting is not None
    assert (alive.seen_at, waiting.seen_at) == (NOON + SECOND, None)


class TestSettle:
    """Billed to the second, the rest given back, once."""

    @pytest.mark.parametrize(
        ("milliseconds", "seconds"),
        [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_999, 60), (60_000, 60), (-5_000, 1)],
    )
    async def test_time_is_rounded_up_to_a_second_and_an_answer_bills_one(
        self, ledger: Ledger, world: World, milliseconds: int, seconds: int
    ) -> None:
        """A carrier charges for the answer; a clock that went back must not keep funds."""
        key = await world.released(POOL)

        outcome, dial_out = await world.settle(key, milliseconds)

        assert outcome is SettleOutcome.SETTLED
        assert dial_out is not None
        assert dial_out.state is DialOutState.ENDED
        assert dial_out.billable_seconds == seconds
        assert await world.books(SourceKind.POOL) == (3600, seconds, 0, 3600 - seconds)
        assert await ledger.check() == ()

    async def test_an_answered_call_of_no_length_bills_its_initial_increment(
        self, ledger: Ledger, world: World
    ) -> None:
        """60/60: a minute and the connect fee, as the carrier will charge us."""
        key = await world.released(CREDITS)

        await world.settle(key, 0)

        assert await world.books(SourceKind.CREDITS) == (1_000_000, 17_000, 0, 983_000)
        assert await ledger.check() == ()

    @pytest.mark.parametrize(
        ("seconds", "pool_seconds", "credits_seconds", "micros"),
        [
            (999, 999, 0, 0),
            (1000, 1000, 0, 0),
            (1001, 1000, 1, 17_000),
            (1060, 1000, 60, 17_000),
            (1061, 1000, 61, 29_000),
            (1800, 1000, 800, 173_000),
        ],
    )
    async def test_a_split_call_is_billed_at_the_second_of_the_split(
        self,
        ledger: Ledger,
        world: World,
        seconds: int,
        pool_seconds: int,
        credits_seconds: int,
        micros: int,
    ) -> None:
        """The first second beyond the pool is the first that credits pay, with its fee."""
        await world.reserve(None, POOL, seconds=2600)
        key = await world.released()

        _, dial_out = await world.settle(key, seconds * 1000)

        assert dial_out is not None
        assert [(part.billed_seconds, part.billed_micros) for part in dial_out.parts] == [
            (pool_seconds, 0),
            (credits_seconds, micros),
        ]
        assert dial_out.billable_seconds == seconds
        assert await world.books(SourceKind.POOL) == (
            *(3600, pool_seconds, 2600),
            1000 - pool_seconds,
        )
        assert await world.books(SourceKind.CREDITS) == (1_000_000, micros, 0, 1_000_000 - micros)
        assert await ledger.check() == ()

    async def test_no_call_bills_more_than_was_set_aside(
        self, ledger: Ledger, world: World, owner: Connection
    ) -> None:
        """Whole seconds beyond are noted and are ours: the tenant agreed to no more.

        Some milliseconds are what it takes to hang up.
        """
        key = await world.released(POOL)

        _, dial_out = await world.settle(key, 1_802_500)

        assert dial_out is not None
        assert dial_out.billable_seconds == 1800
        overrun = "SELECT overrun_seconds FROM dialout.dial_out WHERE dial_out_id = $1"
        assert await owner.fetchval(overrun, key.dial_out_id) == 2
        assert await world.books(SourceKind.POOL) == (3600, 1800, 0, 1800)
        assert await ledger.check() == ()

    async def test_the_rate_is_the_one_that_was_reserved(
        self, ledger: Ledger, world: World
    ) -> None:
        """A deck that changes during a call changes nothing about it."""
        key = await world.released(CREDITS)
        await world.update(suspended=True)

        await world.settle(key, 60_000)

        assert (await world.balance(SourceKind.CREDITS)).used == 17_000

    async def test_the_evidence_of_the_end_replaces_what_was_noted(
        self, ledger: Ledger, world: World
    ) -> None:
        """The record on the Asterisk host has both instants from one clock."""
        key = await world.released(POOL)
        await ledger.answered(key, NOON - 10 * SECOND)

        _, dial_out = await world.settle(key, 5000)

        assert dial_out is not None
        assert (dial_out.answered_at, dial_out.ended_at) == (NOON, NOON + 5 * SECOND)
        assert (dial_out.hangup_cause, dial_out.disposition) == (16, Disposition.ANSWERED)
        assert dial_out.billable_seconds == 5

    async def test_the_second_one_changes_nothing(self, ledger: Ledger, world: World) -> None:
        """Two reports of one hangup, by event and by record, are one bill."""
        key = await world.released()
        _, first = await world.settle(key, 5000)

        again = await world.settle(key, 900_000)
        voided = await world.void(key)

        assert again == (SettleOutcome.EXISTS, first)
        assert voided == (VoidOutcome.EXISTS, first)
        assert (await world.balance(SourceKind.POOL)).used == 5
        assert await ledger.check() == ()

    async def test_only_a_call_that_passed_the_gate_can_be_billed(
        self, ledger: Ledger, world: World
    ) -> None:
        """Evidence about a call that nobody released is not about this one."""
        keys = [unknown(world), await reserved(world), await refused(world)]

        outcomes = [(await world.settle(key, 1000))[0] for key in keys]

        assert outcomes == [
            SettleOutcome.UNKNOWN_DIAL_OUT,
            SettleOutcome.UNCLAIMED,
            SettleOutcome.EXISTS,
        ]
        assert (await world.balance(SourceKind.POOL)).used == 0
        assert await ledger.check() == ()


class TestVoid:
    """Everything given back, or the word that it is too late."""

    async def test_everything_is_given_back_once(self, ledger: Ledger, world: World) -> None:
        """From both sources, and the second time nothing happens."""
        await world.reserve(None, POOL, seconds=2600)
        key = await world.released()

        outcome, first = await world.void(key)
        again = await world.void(key, at=NOON + SECOND)
        settled = await world.settle(key, 5000)

        assert outcome is VoidOutcome.VOIDED
        assert first is not None
        assert (first.state, first.ended_at) == (DialOutState.ENDED, NOON)
        assert (first.hangup_cause, first.disposition) == (17, Disposition.BUSY)
        assert first.billable_seconds == 0
        assert [part.billed_seconds for part in first.parts] == [0, 0]
        assert again == (VoidOutcome.EXISTS, first)
        assert settled == (SettleOutcome.EXISTS, first)
        assert await world.books(SourceKind.POOL) == (3600, 0, 2600, 1000)
        assert await world.books(SourceKind.CREDITS) == (1_000_000, 0, 0, 1_000_000)
        assert await ledger.check() == ()

    async def test_a_void_fences_the_gate(self, ledger: Ledger, world: World) -> None:
        """After it, whatever arrives at the gate finds no claim."""
        key = await reserved(world)

        outcome, _ = await world.void(key, only_if_unclaimed=True)

        assert outcome is VoidOutcome.VOIDED
        assert await ledger.claim(key, "a-gate", NOON) is ClaimOutcome.ENDED

    async def test_a_claim_that_was_faster_keeps_its_funds(
        self, ledger: Ledger, world: World
    ) -> None:
        """The fence is lost: the channel may be dialling, and its call must be paid for."""
        key = await world.released(POOL)

        outcomes = [(await world.void(key, only_if_unclaimed=True))[0] for _ in range(2)]

        assert outcomes == [VoidOutcome.RELEASED] * 2
        assert await world.books(SourceKind.POOL) == (3600, 0, 1800, 1800)

    async def test_an_answered_call_is_never_given_away(self, ledger: Ledger, world: World) -> None:
        """Seconds that somebody saw are billed, whatever later says that nobody answered."""
        key = await world.released(POOL)
        await ledger.answered(key, NOON)

        outcomes = [(await world.void(key, only_if_unclaimed=fence))[0] for fence in (False, True)]

        assert outcomes == [VoidOutcome.ANSWERED, VoidOutcome.RELEASED]
        assert (await world.balance(SourceKind.POOL)).reserved == 1800

    async def test_what_is_not_there_or_refused_is_said(self, world: World) -> None:
        """Neither has anything to give back."""
        missing = await world.void(unknown(world))
        final, _ = await world.void(await refused(world))

        assert missing == (VoidOutcome.UNKNOWN_DIAL_OUT, None)
        assert final is VoidOutcome.EXISTS

    async def test_what_nobody_claimed_in_time_expires(
        self, ledger: Ledger, world: World, owner: Connection
    ) -> None:
        """The reaper finds it at the instant, not before, and history says why it ended."""
        key, released = await reserved(world), await world.released(POOL)

        early = await ledger.expired(EXPIRY - SECOND)
        due = await ledger.expired(EXPIRY)
        await world.void(key, at=EXPIRY, only_if_unclaimed=True)
        await world.void(released, at=EXPIRY)

        assert (early, due) == ((), (key,))
        assert await ledger.expired(EXPIRY) == ()
        kinds = "SELECT dial_out_id, kind FROM dialout.entry WHERE reserved_delta < 0"
        assert {row["dial_out_id"]: row["kind"] for row in await owner.fetch(kinds)} == {
            key.dial_out_id: "expire",
            released.dial_out_id: "void",
        }
        assert await ledger.check() == ()


async def test_dial_outs_are_listed_by_time(ledger: Ledger, world: World) -> None:
    """What was asked for since an instant, oldest first, of one tenant."""
    elsewhere = await world.elsewhere()
    await elsewhere.reserve()
    times = [NOON + hours * timedelta(hours=1) for hours in (2, 0, 1)]
    rows = {at: (await world.reserve(None, CREDITS, seconds=60, at=at))[1] for at in times}

    found = await ledger.dial_outs(world.tenant_id, NOON + timedelta(hours=1))

    assert found == (rows[times[2]], rows[times[0]])


async def test_history_is_never_changed(world: World, owner: Connection) -> None:
    """Not even the owner changes it by mistake: each table of history refuses."""
    key = await world.released()
    await world.settle(key, 1000)

    for table in ("entry", "part", "charge"):
        for statement in (
            f"UPDATE dialout.{table} SET tenant_id = tenant_id",
            f"DELETE FROM dialout.{table}",
            f"TRUNCATE dialout.{table} CASCADE",
        ):
            with pytest.raises(asyncpg.IntegrityConstraintViolationError):
                await owner.execute(statement)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await owner.execute("UPDATE dialout.dial_out SET state = 'released'")
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await owner.execute("DELETE FROM dialout.dial_out")
