"""What is known of an end is stored with it: the least and the most that the call lasted."""

from datetime import datetime, timedelta

import pytest

from gateway.core.call import Unproved
from gateway.core.causes import Disposition
from gateway.core.dial_out import DialOut
from gateway.core.facts import SourceKind
from gateway.core.key import DialOutKey
from gateway.db import Connection
from gateway.ledger import Ledger, Provisioning
from tests.ledger.world import NOON, World

SECOND = timedelta(seconds=1)


@pytest.fixture
async def world(ledger: Ledger, provisioning: Provisioning) -> World:
    """A tenant with an hour in the pool and a million micros of credits."""
    world = await World.create(ledger, provisioning)
    await world.add_licence()
    await world.add_credits(1_000_000)
    return world


async def settled(
    world: World,
    key: DialOutKey,
    *,
    least: float,
    most: float | None,
    unproved: Unproved = Unproved.LEAST,
) -> DialOut:
    """Settle a call that was answered at noon and lasted between so many seconds."""
    _, dial_out = await world.ledger.settle(
        key,
        **world.ending(NOON, NOON + timedelta(seconds=least)),
        latest_end=None if most is None else NOON + timedelta(seconds=most),
        unproved=unproved,
    )
    assert dial_out is not None
    return dial_out


def bounds(dial_out: DialOut) -> tuple[int | None, int | None, Unproved | None, int | None]:
    """Return what is stored of how long a call lasted, and what of it was billed."""
    return (
        dial_out.least_seconds,
        dial_out.most_seconds,
        dial_out.unproved,
        dial_out.billable_seconds,
    )


async def test_a_proved_end_has_equal_bounds(world: World) -> None:
    """Begun seconds, as they are billed; and no policy was needed."""
    dial_out = await settled(world, await world.released(), least=61.2, most=None)

    assert bounds(dial_out) == (62, 62, None, 62)


@pytest.mark.parametrize(
    ("unproved", "billed"), [(Unproved.LEAST, 11), (Unproved.MOST, 41)], ids=str
)
async def test_an_unproved_end_is_billed_as_the_operator_chose(
    world: World, unproved: Unproved, billed: int
) -> None:
    """Both bounds are kept, so that it can be seen later what the choice came to."""
    key = await world.released()

    dial_out = await settled(world, key, least=10.5, most=40.5, unproved=unproved)

    assert bounds(dial_out) == (11, 41, unproved, billed)
    assert (await world.books(SourceKind.POOL))[1] == billed
    assert await world.ledger.check(world.tenant_id) == ()


async def test_no_call_lasts_longer_than_asterisk_lets_it(world: World) -> None:
    """The cut at the end of what is paid for needs no gateway, so it bounds the most."""
    key = await world.released(seconds=120)

    dial_out = await settled(world, key, least=10, most=100_000, unproved=Unproved.MOST)

    assert bounds(dial_out) == (10, 120, Unproved.MOST, 120)


async def test_bounds_that_are_equal_are_unproved_all_the_same(world: World) -> None:
    """That the two happen to agree to the second does not make them a proof."""
    dial_out = await settled(world, await world.released(), least=10, most=10)

    assert bounds(dial_out) == (10, 10, Unproved.LEAST, 10)


async def test_a_call_that_somebody_may_have_answered_is_not_billed(
    ledger: Ledger, world: World
) -> None:
    """From the release to its latest end somebody may have talked, whom nobody saw."""
    key = await world.released()

    _, dial_out = await ledger.void(
        key,
        at=NOON,
        hangup_cause=0,
        disposition=Disposition.FAILED,
        only_if_unclaimed=False,
        evidence="absent_twice",
        latest_end=NOON + 20 * SECOND,
    )

    assert dial_out is not None
    assert bounds(dial_out) == (0, 20, Unproved.LEAST, 0)
    assert await ledger.check(world.tenant_id) == ()


async def test_a_call_that_nobody_answered_lasted_no_time(world: World) -> None:
    """Busy is proof: it lasted nothing, at least and at most."""
    _, dial_out = await world.void(await world.released())

    assert dial_out is not None
    assert bounds(dial_out) == (0, 0, None, 0)


@pytest.mark.parametrize("function", ["settle", "void"])
async def test_a_gateway_of_before_ends_calls_as_it_did(
    world: World, owner: Connection, function: str
) -> None:
    """While gateways are replaced one by one, the old ones know nothing of bounds."""
    key = await world.released()
    times: tuple[datetime | bool, ...]
    if function == "settle":
        statement = "SELECT outcome FROM dialout.settle($1, $2, $3, $4, 16, 'answered', 'events')"
        times = (NOON, NOON + SECOND)
    else:
        statement = "SELECT outcome FROM dialout.void($1, $2, $3, 17, 'busy', $4, 'events')"
        times = (NOON, False)

    outcome = await owner.fetchval(statement, key.tenant_id, key.dial_out_id, *times)

    assert outcome == {"settle": "settled", "void": "voided"}[function]
