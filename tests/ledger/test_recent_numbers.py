"""The numbers that Call Me reached a participant at: kept to be offered again, and forgotten."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from gateway.core.dial_out import DialOutKind
from gateway.core.e164 import E164
from gateway.core.key import DialOutKey
from gateway.db import Connection
from gateway.ledger import ForgetOutcome, JoinedOutcome, Ledger, RecentNumber
from tests.ledger.world import LONDON, NOON, POOL, TERMS, World

BOB = "bob"
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def world(world: World) -> World:
    """A tenant with minutes to call by."""
    await world.add_licence()
    return world


async def called(
    world: World,
    number: str,
    at: datetime = NOON,
    *,
    typed: str = "020 7946 0123",
    kind: DialOutKind = DialOutKind.CALL_ME,
    initiator_id: str | None = BOB,
) -> DialOutKey:
    """Have somebody called at a number, up to the answer, and return the call's key."""
    request = replace(world.request(), kind=kind, initiator_id=initiator_id, number_typed=typed)
    _, dial_out = await world.ledger.reserve(
        request,
        replace(LONDON, e164=E164(number)),
        POOL,
        None,
        replace(TERMS, talk_seconds_max=TERMS.talk_seconds_min),
        '"test"',
        at,
        at + MINUTE,
        "gate",
    )
    await world.ledger.answered(dial_out.request.key, at)
    return dial_out.request.key


async def joined(
    world: World,
    number: str,
    at: datetime = NOON,
    *,
    typed: str = "020 7946 0123",
    initiator_id: str = BOB,
) -> None:
    """Have somebody called at a number, and come into the conference."""
    key = await called(world, number, at, typed=typed, initiator_id=initiator_id)
    assert await world.ledger.joined(key, at) is JoinedOutcome.JOINED
    await world.settle(key, 1000)


async def numbers(world: World, initiator_id: str = BOB) -> Sequence[str]:
    """Return the numbers that are kept of a participant, in their order."""
    kept = await world.ledger.recent_numbers(world.tenant_id, initiator_id)
    return [each.destination for each in kept]


async def test_a_number_is_kept_once_its_telephone_has_joined(world: World) -> None:
    """With what was typed then; one that nobody pressed a key at may be a stranger's."""
    key = await called(world, "+442079460123")
    before = await numbers(world)

    await world.ledger.joined(key, NOON + MINUTE)

    assert before == []
    assert await world.ledger.recent_numbers(world.tenant_id, BOB) == (
        RecentNumber(
            destination=E164("+442079460123"),
            number_typed="020 7946 0123",
            last_at=NOON + MINUTE,
        ),
    )


async def test_the_last_one_is_offered_first(world: World) -> None:
    """A number that is called again moves to the front, and is there once."""
    for minute, number in enumerate(("+442079460001", "+442079460002", "+442079460001")):
        await joined(world, number, NOON + minute * MINUTE, typed=f"typed {minute}")

    kept = await world.ledger.recent_numbers(world.tenant_id, BOB)

    assert [(each.destination, each.number_typed) for each in kept] == [
        ("+442079460001", "typed 2"),
        ("+442079460002", "typed 1"),
    ]


async def test_ten_are_kept(world: World) -> None:
    """The last ten of each participant: a list that grows for ever is nobody's help."""
    await joined(world, "+442079460999", initiator_id="carol")
    for number in range(12):
        await joined(world, f"+4420794600{number:02}", NOON + number * MINUTE)

    assert await numbers(world) == [f"+4420794600{number:02}" for number in range(11, 1, -1)]
    assert await numbers(world, "carol") == ["+442079460999"]


@pytest.mark.parametrize(
    ("kind", "initiator_id"),
    [
        (DialOutKind.ADD_PARTICIPANT, BOB),
        (DialOutKind.INTERCEPT, BOB),
        (DialOutKind.KEYPAD, BOB),
        (DialOutKind.CALL_ME, None),
    ],
)
async def test_nobody_elses_telephone_is_kept(
    world: World, owner: Connection, kind: DialOutKind, initiator_id: str | None
) -> None:
    """Of somebody whom a participant had called, and of a guest without a name, nothing is."""
    key = await called(world, "+442079460123", kind=kind, initiator_id=initiator_id)

    await world.ledger.joined(key, NOON)

    assert await owner.fetchval("SELECT count(*) FROM dialout.recent_number") == 0


async def test_they_are_the_participants_own(ledger: Ledger, world: World) -> None:
    """Neither another participant nor somebody of the same name in another tenant sees them."""
    elsewhere = await world.elsewhere()
    await joined(world, "+442079460123")

    assert await numbers(world, "carol") == []
    assert await numbers(elsewhere) == []
    assert await ledger.recent_numbers(uuid4(), BOB) == ()


async def test_a_participant_has_one_forgotten_or_all(ledger: Ledger, world: World) -> None:
    """It is their telephone; nobody else's numbers go with it."""
    for number in range(3):
        await joined(world, f"+44207946000{number}", NOON + number * MINUTE)
    await joined(world, "+442079460001", initiator_id="carol")
    gone = E164("+442079460001")

    one = [await ledger.forget_number(world.tenant_id, BOB, gone) for _ in range(2)]
    left = await numbers(world)
    everything = [await ledger.forget_number(world.tenant_id, BOB) for _ in range(2)]

    assert one == everything == [ForgetOutcome.REMOVED, ForgetOutcome.ABSENT]
    assert left == ["+442079460002", "+442079460000"]
    assert await numbers(world) == []
    assert await numbers(world, "carol") == [gone]


async def test_after_ninety_days_a_number_is_forgotten(ledger: Ledger, world: World) -> None:
    """Nobody has to ask for it; a number that is used stays."""
    day = timedelta(days=1)
    await joined(world, "+442079460001", NOON)
    await joined(world, "+442079460002", NOON + day)
    forgotten = [await ledger.forget_old_numbers(NOON + 90 * day, limit=100)]
    forgotten.append(await ledger.forget_old_numbers(NOON + 90 * day + MINUTE, limit=100))

    assert forgotten == [0, 1]
    assert await numbers(world) == ["+442079460002"]
