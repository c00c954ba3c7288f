"""What ending a call that its meeting has left behind saved, at most."""

import asyncio
import json
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from gateway.cli.main import cli
from gateway.core.attendance import DropReason
from gateway.core.key import DialOutKey
from gateway.core.rating import Micros, Seconds
from gateway.core.waterfall import Source
from gateway.ledger import DroppedOutcome, Ledger, Provisioning, Saving
from tests.ledger.world import CREDITS, NOON, POOL, POOL_THEN_CREDITS, World


@pytest.fixture
async def world(ledger: Ledger, provisioning: Provisioning) -> World:
    """A tenant whose pool has an hour, and credits in plenty."""
    world = await World.create(ledger, provisioning)
    await world.add_licence()
    await world.add_credits(10_000_000)
    return world


async def answered(world: World, sources: tuple[Source, ...]) -> DialOutKey:
    """Return a call that was answered at noon."""
    key = await world.released(sources)
    await world.ledger.answered(key, NOON)
    return key


async def test_what_credits_would_have_paid_is_money_saved(world: World) -> None:
    """Half an hour at most, two minutes gone, 28 minutes at the rate; the connect fee is spent."""
    key = await answered(world, CREDITS)

    outcome = await world.ledger.dropped(key, DropReason.ALONE, NOON + timedelta(seconds=119.2))

    assert outcome is DroppedOutcome.DROPPED
    assert await world.ledger.savings(world.tenant_id) == (
        Saving(
            tenant_id=world.tenant_id,
            reason=DropReason.ALONE,
            calls=1,
            seconds=Seconds(1680),
            micros=Micros(28 * 12_000),
            currency="EUR",
        ),
    )


async def test_what_the_pool_would_have_paid_is_time_saved(world: World) -> None:
    """Minutes that are left to others, and no money."""
    key = await answered(world, POOL)

    await world.ledger.dropped(key, DropReason.ORGANIZER_GONE, NOON + timedelta(seconds=600))
    [saving] = await world.ledger.savings(world.tenant_id)

    assert (saving.seconds, saving.micros) == (1200, 0)


@pytest.mark.parametrize(("lasted_seconds", "micros"), [(600, 0), (601, 19 * 12_000)])
async def test_the_source_that_paid_last_counts(
    world: World, lasted_seconds: int, micros: int
) -> None:
    """Ten minutes of pool, then credits: money is saved from the second on that costs any."""
    await world.reserve(None, POOL, seconds=3000)
    key = await answered(world, POOL_THEN_CREDITS)

    await world.ledger.dropped(key, DropReason.ALONE, NOON + timedelta(seconds=lasted_seconds))
    [saving] = await world.ledger.savings(world.tenant_id)

    assert (saving.seconds, saving.micros) == (1800 - lasted_seconds, micros)


async def test_it_is_noted_once_and_also_after_the_end(world: World) -> None:
    """The hangup may be settled sooner than it is noted, and the note may be asked for again."""
    key = await answered(world, CREDITS)
    await world.settle(key, 60_000)

    first = await world.ledger.dropped(key, DropReason.ALONE, NOON + timedelta(seconds=60))
    again = await world.ledger.dropped(
        key, DropReason.ORGANIZER_GONE, NOON + timedelta(seconds=600)
    )
    [saving] = await world.ledger.savings(world.tenant_id)

    assert (first, again) == (DroppedOutcome.DROPPED, DroppedOutcome.EXISTS)
    assert (saving.reason, saving.seconds) == (DropReason.ALONE, 1740)


async def test_a_call_that_nobody_answered_saved_nothing(world: World) -> None:
    """It cost nothing; and of a call that nobody knows, nothing can be said."""
    unanswered = await world.released()
    elsewhere = (await world.elsewhere()).request().key

    assert (
        await world.ledger.dropped(unanswered, DropReason.ALONE, NOON) is DroppedOutcome.UNANSWERED
    )
    assert (
        await world.ledger.dropped(elsewhere, DropReason.ALONE, NOON)
        is DroppedOutcome.UNKNOWN_DIAL_OUT
    )
    assert await world.ledger.savings(world.tenant_id) == ()


async def test_savings_are_of_a_tenant_and_a_time(world: World) -> None:
    """From an instant on, and before another; all tenants where none is named."""
    key = await answered(world, POOL)
    at = NOON + timedelta(seconds=600)
    await world.ledger.dropped(key, DropReason.ALONE, at)
    other = await world.elsewhere()
    later = at + timedelta(microseconds=1)

    assert len(await world.ledger.savings(None, at, later)) == 1
    assert await world.ledger.savings(world.tenant_id, later, None) == ()
    assert await world.ledger.savings(world.tenant_id, None, at) == ()
    assert await world.ledger.savings(other.tenant_id) == ()


async def test_the_command_prints_what_was_saved(
    world: World, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For people and for machines, and nothing where nothing was dropped then."""
    monkeypatch.setenv("DIALOUT_DATABASE__DSN", dsn)
    monkeypatch.setenv("DIALOUT_DATABASE__CALL_SECONDS_MAX", "20")
    monkeypatch.setenv("COLUMNS", "200")
    key = await answered(world, CREDITS)
    await world.ledger.dropped(key, DropReason.ALONE, NOON + timedelta(seconds=120))

    async def printed(*words: str) -> str:
        result = await asyncio.to_thread(CliRunner().invoke, cli, ["guard", "savings", *words])
        assert result.exit_code == 0, result.output
        return result.stdout

    [row] = [line for line in (await printed()).splitlines() if str(world.tenant_id) in line]
    assert row.replace("│", "").split()[1:] == ["alone", "1", "1680", "336000", "EUR"]
    [saving] = json.loads(await printed("--json", "--tenant", str(world.tenant_id)))
    assert (saving["saved_seconds_at_most"], saving["saved_micros_at_most"]) == (1680, 336_000)
    assert json.loads(await printed("--json", "--tenant", "Acme")) == [saving]
    assert json.loads(await printed("--json", "--until", NOON.isoformat())) == []
