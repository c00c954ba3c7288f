"""Which channels are gates of calls that are under way: what the tripwire asks of the ledger."""

from dataclasses import replace

import pytest

from gateway.core.dial_out import MAIN_BRIDGE, BridgeName, DialOutKind
from gateway.core.key import DialOutKey
from gateway.ledger import Ledger, Provisioning, RequestOutcome
from tests.ledger.world import CREDITS, LONDON, NOON, TERMS, World

INTERCEPTED = "ast-1.1"


@pytest.fixture
async def world(ledger: Ledger, provisioning: Provisioning) -> World:
    """A tenant with an hour in the pool and a million micros of credits."""
    world = await World.create(ledger, provisioning)
    await world.add_licence()
    await world.add_credits(1_000_000)
    return world


async def claimed(world: World) -> DialOutKey:
    """Have a call that a gateway originated pass the gate, and return its key."""
    _, dial_out = await world.reserve()
    key = dial_out.request.key
    await world.ledger.claim(key, key.gate_uniqueid, NOON)
    return key


async def test_a_gate_is_released_from_its_claim_to_its_end(world: World) -> None:
    """Not before anybody let it dial, and not once the call is settled."""
    _, dial_out = await world.reserve()
    key = dial_out.request.key

    async def is_released() -> bool:
        return await world.ledger.is_released(key.gate_uniqueid, MAIN_BRIDGE)

    reserved = await is_released()
    await world.ledger.claim(key, key.gate_uniqueid, NOON)
    released = await is_released()
    await world.ledger.answered(key, NOON)
    answered = await is_released()
    await world.settle(key, 2000)
    ended = await is_released()

    assert (reserved, released, answered, ended) == (False, True, True, False)


async def test_an_intercepted_channel_is_known_by_its_own_uniqueid(world: World) -> None:
    """It carries no key, and is found among the calls that are open."""
    key = await world.released()
    during = await world.ledger.is_released(INTERCEPTED, MAIN_BRIDGE)
    by_key = await world.ledger.is_released(key.gate_uniqueid, MAIN_BRIDGE)
    await world.void(key)

    assert during
    assert not by_key
    assert not await world.ledger.is_released(INTERCEPTED, MAIN_BRIDGE)


async def test_a_release_is_for_one_bridge(world: World) -> None:
    """Channels of two Asterisks may be given the same uniqueid; the call is on one of them."""
    key = await claimed(world)

    assert await world.ledger.is_released(key.gate_uniqueid, MAIN_BRIDGE)
    assert not await world.ledger.is_released(key.gate_uniqueid, BridgeName("other"))


async def test_a_telephone_that_has_called_in_may_dial_nothing(world: World) -> None:
    """It is on record like a call that dials, by the uniqueid of its channel."""
    request = replace(world.request(), kind=DialOutKind.DIAL_IN, initiator_id=None)
    outcome, _ = await world.ledger.reserve_dial_in(
        request,
        LONDON,
        CREDITS,
        world.rate,
        TERMS,
        "{}",
        NOON,
        caller=None,
        uniqueid="called-in",
        needs_funds=True,
    )

    assert outcome is RequestOutcome.RESERVED
    assert not await world.ledger.is_released("called-in", MAIN_BRIDGE)


@pytest.mark.parametrize(
    "uniqueid", ["", "x" * 1000, "%", "ast-1.2", "' OR true --", f"{'0' * 64}-gate"]
)
async def test_nothing_else_is_released(world: World, uniqueid: str) -> None:
    """Whoever originates may choose the uniqueid of a channel: it is looked up, and no more."""
    await claimed(world)
    await world.released()

    assert not await world.ledger.is_released(uniqueid, MAIN_BRIDGE)
