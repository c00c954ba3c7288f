"""Auto-recharge: asked for once when credits are low, answered once, and asked for again later."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from gateway import db
from gateway.core.event import EventKind
from gateway.core.facts import SourceKind
from gateway.core.rating import Micros, Seconds
from gateway.ledger import (
    CreditsOutcome,
    Event,
    Outbox,
    Recharge,
    RechargeFailedOutcome,
    RechargeOutcome,
    RechargeRemovalOutcome,
    RechargeState,
    RequestOutcome,
)
from tests.ledger.world import ACTOR, CREDITS, NOON, World

AMOUNT = Micros(1_000_000)
TRIGGER = Micros(500_000)
HOUR = timedelta(hours=1)
LAPSES = datetime(2027, 3, 10, 12, tzinfo=UTC)
CALL_MICROS = 5_000 + 30 * 12_000
"""What half an hour costs in the tests' deck."""


@pytest.fixture
def outbox(pool: db.Pool) -> Outbox:
    """The outbox, patient enough for a busy machine."""
    return Outbox(pool, call_seconds_max=20.0)


async def recharging(
    world: World, *, trigger: Micros = TRIGGER, amount: Micros = AMOUNT, at: datetime = NOON
) -> RechargeOutcome:
    """Have the tenant's credits recharged."""
    async with world.provisioning.change(actor=ACTOR) as change:
        return await change.recharge_put(
            world.tenant_id,
            amount_micros=amount,
            trigger_micros=trigger,
            backoff_seconds=Seconds(3600),
            at=at,
        )


async def recharging_no_more(world: World) -> RechargeRemovalOutcome:
    """Have them recharged no more."""
    async with world.provisioning.change(actor=ACTOR) as change:
        return await change.recharge_remove(world.tenant_id)


async def pay(
    world: World, recharge_id: UUID, micros: int = AMOUNT, at: datetime = NOON
) -> CreditsOutcome:
    """Answer a recharge with funds."""
    async with world.provisioning.change(actor=ACTOR) as change:
        return await change.credits_add(world.tenant_id, recharge_id, Micros(micros), at)


async def fail(world: World, recharge_id: UUID, at: datetime = NOON) -> RechargeFailedOutcome:
    """Answer a recharge with a failure."""
    async with world.provisioning.change(actor=ACTOR) as change:
        return await change.recharge_failed(
            world.tenant_id, recharge_id, reason="card expired", at=at
        )


async def events(world: World) -> Sequence[Event]:
    """Return what the tenant's payment system was told."""
    return await world.provisioning.events(tenant_id=world.tenant_id)


async def told(world: World) -> list[str]:
    """Return what it was told of, in order."""
    return [event.kind for event in await events(world)]


async def recharges(world: World) -> list[RechargeState]:
    """Return what became of the recharges, newest first."""
    return [each.state for each in await world.provisioning.recharges(world.tenant_id)]


async def asked_for(world: World) -> Recharge:
    """Set auto-recharge up, make a call that brings the balance below the trigger."""
    await world.add_credits(TRIGGER)
    await recharging(world)
    await world.reserve(None, CREDITS, seconds=60)
    [recharge] = await world.provisioning.recharges(world.tenant_id)
    return recharge


async def test_a_call_that_leaves_too_little_asks_for_a_recharge(world: World) -> None:
    """The payment system is told who, how much, in which money, and under which id."""
    recharge = await asked_for(world)

    [event] = await events(world)
    assert (recharge.state, recharge.amount_micros, recharge.requested_at) == (
        RechargeState.OPEN,
        AMOUNT,
        NOON,
    )
    assert event.kind == EventKind.CREDITS_RECHARGE_DUE
    assert event.data == {
        "tenant_id": str(world.tenant_id),
        "recharge_id": str(recharge.recharge_id),
        "amount_micros": AMOUNT,
        "trigger_micros": TRIGGER,
        "currency": "EUR",
        "free_micros": TRIGGER - 17_000,
    }


async def test_the_trigger_itself_is_not_below_it(world: World) -> None:
    """The balance may fall to the trigger, in lots that each have less: the next micro asks."""
    await world.add_credits(100_000)
    await world.add_credits(TRIGGER + 17_000 - 100_000)
    await recharging(world)

    await world.reserve(None, CREDITS, seconds=60)
    assert await told(world) == []

    await world.reserve(None, CREDITS, seconds=60)
    assert await told(world) == [EventKind.CREDITS_RECHARGE_DUE]


async def test_no_second_one_is_asked_for_while_it_is_open(world: World) -> None:
    """Calls go on while the card is charged; it is charged once."""
    await asked_for(world)

    for _ in range(3):
        await world.reserve(None, CREDITS, seconds=60)

    assert await recharges(world) == [RechargeState.OPEN]


async def test_funds_under_its_id_answer_it_once(world: World) -> None:
    """A payment system that retries adds nothing twice, and is told once."""
    recharge = await asked_for(world)

    outcomes = [await pay(world, recharge.recharge_id) for _ in range(3)]
    other_sum = await pay(world, recharge.recharge_id, micros=5)

    assert outcomes == [CreditsOutcome.ADDED, CreditsOutcome.EXISTS, CreditsOutcome.EXISTS]
    assert other_sum is CreditsOutcome.EXISTS_WITH_DIFFERENT_TERMS
    assert await told(world) == [EventKind.CREDITS_RECHARGE_DUE, EventKind.CREDITS_RECHARGED]
    assert (await events(world))[1].data["free_micros"] == TRIGGER - 17_000 + AMOUNT
    assert await recharges(world) == [RechargeState.RECHARGED]
    assert len(await world.provisioning.credits(world.tenant_id)) == 2


async def test_the_next_time_it_has_an_id_of_its_own(world: World) -> None:
    """Nothing that answers the first one could be taken for an answer to the second."""
    await recharging(world, trigger=TRIGGER)
    [first] = await world.provisioning.recharges(world.tenant_id)
    await pay(world, first.recharge_id, micros=TRIGGER)

    await world.reserve(None, CREDITS, seconds=60)

    second, _ = await world.provisioning.recharges(world.tenant_id)
    assert second.recharge_id != first.recharge_id
    assert await recharges(world) == [RechargeState.OPEN, RechargeState.RECHARGED]


async def test_other_funds_do_not_answer_it(world: World) -> None:
    """Somebody who pays in by hand has not been asked, and the card may be charged already."""
    await asked_for(world)

    await world.add_credits(AMOUNT)

    assert await recharges(world) == [RechargeState.OPEN]


async def test_a_failure_is_told_and_asked_again_after_the_backoff(
    world: World, outbox: Outbox
) -> None:
    """A card that is refused is refused again at once; no call is needed to ask it later."""
    recharge = await asked_for(world)

    outcomes = [await fail(world, recharge.recharge_id) for _ in range(2)]
    await world.reserve(None, CREDITS, seconds=60, at=NOON + HOUR / 2)
    await outbox.sweep(NOON + HOUR - timedelta(seconds=1))
    assert await told(world) == [
        EventKind.CREDITS_RECHARGE_DUE,
        EventKind.CREDITS_RECHARGE_FAILED,
    ]
    await outbox.sweep(NOON + HOUR)

    assert outcomes == [RechargeFailedOutcome.FAILED, RechargeFailedOutcome.EXISTS]
    assert (await events(world))[1].data["because"] == "card expired"
    assert await recharges(world) == [RechargeState.OPEN, RechargeState.FAILED]
    assert (await told(world))[2:] == [EventKind.CREDITS_RECHARGE_DUE]


async def test_what_was_paid_has_not_failed(world: World) -> None:
    """The payment system contradicts itself: what counts is the money that is there."""
    recharge = await asked_for(world)
    await pay(world, recharge.recharge_id)

    assert await fail(world, recharge.recharge_id) is RechargeFailedOutcome.ALREADY_RECHARGED
    assert await recharges(world) == [RechargeState.RECHARGED]


async def test_what_failed_may_still_be_paid(world: World) -> None:
    """The bank is late: the funds are added, and the tenant is told so."""
    recharge = await asked_for(world)
    await fail(world, recharge.recharge_id)

    assert await pay(world, recharge.recharge_id) is CreditsOutcome.ADDED
    assert await recharges(world) == [RechargeState.RECHARGED]
    assert (await told(world))[-1] == EventKind.CREDITS_RECHARGED


async def test_a_balance_that_is_low_already_asks_at_once(world: World) -> None:
    """Whoever sets it up with no credits at all is funded by it."""
    outcome = await recharging(world)

    assert outcome is RechargeOutcome.PUT
    assert await told(world) == [EventKind.CREDITS_RECHARGE_DUE]


async def test_the_balance_is_that_of_all_lots(world: World) -> None:
    """A lot that comes to its end is no reason: the next one has plenty."""
    await world.add_credits(17_000)
    await world.add_credits(TRIGGER)
    await recharging(world)

    await world.reserve(None, CREDITS, seconds=60)
    assert await told(world) == []

    await world.reserve(None, CREDITS, seconds=60)
    assert await told(world) == [EventKind.CREDITS_RECHARGE_DUE]


async def test_lots_bought_later_have_the_trigger_too(world: World) -> None:
    """The first lot is gone; what watches over the balance is at the second one."""
    await recharging(world)
    [recharge] = await world.provisioning.recharges(world.tenant_id)
    await pay(world, recharge.recharge_id, micros=TRIGGER)

    await world.reserve(None, CREDITS, seconds=60)

    assert await recharges(world) == [RechargeState.OPEN, RechargeState.RECHARGED]


async def test_a_lot_that_lapses_asks_without_a_call(world: World, outbox: Outbox) -> None:
    """At midnight the credits are gone; nobody can call, so no call could ask."""
    await world.add_credits(AMOUNT)
    await recharging(world)

    await outbox.sweep(LAPSES - timedelta(seconds=1))
    assert await recharges(world) == []
    await outbox.sweep(LAPSES)

    assert await recharges(world) == [RechargeState.OPEN]


async def test_a_suspended_tenant_is_charged_for_nothing(world: World, outbox: Outbox) -> None:
    """It cannot call, so it needs no funds."""
    await world.add_credits(AMOUNT)
    await recharging(world)
    await world.update(suspended=True)

    await outbox.sweep(LAPSES)

    assert await recharges(world) == []


async def test_off_is_off_but_what_was_asked_may_be_answered(
    world: World, outbox: Outbox, owner: db.Connection
) -> None:
    """The card may be charged already: that money is not lost."""
    recharge = await asked_for(world)

    outcomes = [await recharging_no_more(world) for _ in range(2)]
    marked = "SELECT count(*) FROM dialout.source WHERE recharge_below IS NOT null"
    assert await owner.fetchval(marked) == 0
    answer = await pay(world, recharge.recharge_id, micros=17_000)
    await world.reserve(None, CREDITS, seconds=1800)
    await outbox.sweep(NOON + HOUR)

    assert outcomes == [RechargeRemovalOutcome.REMOVED, RechargeRemovalOutcome.ABSENT]
    assert answer is CreditsOutcome.ADDED
    assert await recharges(world) == [RechargeState.RECHARGED]
    assert await world.provisioning.auto_recharge(world.tenant_id) is None


async def test_terms_that_change_hold_from_now_on(world: World) -> None:
    """The trigger that stands at the lots is always the tenant's own."""
    await world.add_credits(AMOUNT)
    outcomes = [
        await recharging(world),
        await recharging(world),
        await recharging(world, trigger=AMOUNT),
    ]
    await world.reserve(None, CREDITS, seconds=60)

    terms = await world.provisioning.auto_recharge(world.tenant_id)
    assert outcomes == [
        RechargeOutcome.PUT,
        RechargeOutcome.UNCHANGED,
        RechargeOutcome.CHANGED,
    ]
    assert terms is not None
    assert (terms.amount_micros, terms.trigger_micros, terms.currency) == (AMOUNT, AMOUNT, "EUR")
    assert await recharges(world) == [RechargeState.OPEN]


async def test_nobody_unknown_is_recharged(world: World) -> None:
    """Each function says whom or what it does not know, and writes nothing."""
    unknown = uuid4()
    async with world.provisioning.change(actor=ACTOR) as change:
        put = await change.recharge_put(
            unknown,
            amount_micros=AMOUNT,
            trigger_micros=TRIGGER,
            backoff_seconds=Seconds(3600),
            at=NOON,
        )
        removed = await change.recharge_remove(unknown)
        failed = await change.recharge_failed(unknown, uuid4(), reason="none", at=NOON)

    assert put is RechargeOutcome.UNKNOWN_TENANT
    assert removed is RechargeRemovalOutcome.UNKNOWN_TENANT
    assert failed is RechargeFailedOutcome.UNKNOWN_TENANT
    assert await fail(world, unknown) is RechargeFailedOutcome.UNKNOWN_RECHARGE


async def test_it_is_on_record_who_set_it_and_who_answered(world: World) -> None:
    """Somebody's card is charged by it: the audit names who said so, and who reported."""
    recharge = await asked_for(world)
    await fail(world, recharge.recharge_id)

    audit = await world.provisioning.audit(world.tenant_id)
    made = [(each.relation, each.actor) for each in audit if "recharge" in each.relation]
    assert made == [("recharge", ACTOR), ("auto_recharge", ACTOR)]


@pytest.mark.usefixtures("crowd")
class TestAtOnce:
    """Whatever happens in the same instant, a card is charged once."""

    async def test_calls_that_cross_the_trigger_together(self, world: World) -> None:
        """Thirty calls begin; which of them crosses it does not matter."""
        await world.add_credits(TRIGGER + 10 * 17_000)
        await recharging(world)

        found = await asyncio.gather(*(world.reserve(None, CREDITS, seconds=60) for _ in range(30)))

        assert {outcome for outcome, _ in found} == {RequestOutcome.RESERVED}
        assert await told(world) == [EventKind.CREDITS_RECHARGE_DUE]
        assert await recharges(world) == [RechargeState.OPEN]

    async def test_sweeps_of_several_gateways(self, world: World, outbox: Outbox) -> None:
        """Each gateway sweeps every minute, and none knows of the others."""
        await world.add_credits(AMOUNT)
        await recharging(world)

        await asyncio.gather(*(outbox.sweep(LAPSES) for _ in range(20)))

        assert await told(world) == [EventKind.CREDITS_RECHARGE_DUE]

    async def test_answers(self, world: World) -> None:
        """The payment system retries before it was answered, and reports a failure beside it."""
        recharge = await asked_for(world)

        paid = [pay(world, recharge.recharge_id) for _ in range(10)]
        failed = [fail(world, recharge.recharge_id) for _ in range(10)]
        outcomes = Counter(await asyncio.gather(*paid, *failed))

        assert outcomes[CreditsOutcome.ADDED] == 1
        assert len(await world.provisioning.credits(world.tenant_id)) == 2
        assert await recharges(world) == [RechargeState.RECHARGED]
        assert (await told(world)).count(EventKind.CREDITS_RECHARGED) == 1

    async def test_calls_sweeps_and_answers(self, world: World, outbox: Outbox) -> None:
        """All of it mixed: no deadlock, never two open, and the books add up."""
        await world.add_credits(100 * CALL_MICROS)
        await recharging(world, trigger=Micros(99 * CALL_MICROS), amount=Micros(CALL_MICROS))

        async def call() -> None:
            await world.settle(await world.released(CREDITS, seconds=1800), 1_800_000)

        async def answer() -> None:
            for each in await world.provisioning.recharges(world.tenant_id):
                await pay(world, each.recharge_id, micros=CALL_MICROS)

        for _ in range(3):
            await asyncio.gather(
                *(call() for _ in range(20)),
                *(answer() for _ in range(5)),
                *(outbox.sweep(NOON) for _ in range(5)),
            )

        states = Counter(await recharges(world))
        bought = await world.provisioning.credits(world.tenant_id)
        lots = [
            each
            for each in await world.ledger.balances(world.tenant_id)
            if each.kind is SourceKind.CREDITS
        ]
        assert states[RechargeState.OPEN] <= 1
        assert states[RechargeState.RECHARGED] == len(bought) - 1
        assert sum(each.used for each in lots) == 60 * CALL_MICROS
        assert sum(each.reserved for each in lots) == 0
        assert (await told(world)).count(EventKind.CREDITS_RECHARGE_DUE) == states.total()


async def test_no_recharge_is_ever_unsaid(world: World, owner: db.Connection) -> None:
    """What was paid stays paid, and nothing that was asked for disappears."""
    recharge = await asked_for(world)
    await pay(world, recharge.recharge_id)

    for statement in (
        "UPDATE dialout.recharge SET state = 'open', ended_at = null",
        "DELETE FROM dialout.recharge",
    ):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await owner.execute(statement)


async def test_a_call_asks_for_the_balance_only_where_it_may_be_low(
    world: World, owner: db.Connection
) -> None:
    """Nothing is reckoned on the path of a call whose lot has more than the trigger."""
    await world.add_credits(10 * TRIGGER)
    await recharging(world)
    await owner.execute("DROP FUNCTION dialout.recharge_request(uuid, timestamptz)")

    outcome, _ = await world.reserve(None, CREDITS, seconds=60)

    assert outcome is RequestOutcome.RESERVED
