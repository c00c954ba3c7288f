"""Who changed what: every change of what tenants are, hold, bought and chose is written down."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from uuid import UUID, uuid4

import asyncpg
import pytest
from pydantic import JsonValue

from gateway.core.choices import Choices, MeetingPermission, Stance
from gateway.core.e164 import Region
from gateway.core.facts import DialOutPermission, OrganizerId, Sku
from gateway.core.limits import DEFAULT_LIMITS
from gateway.core.rating import Micros
from gateway.db import Connection, Pool
from gateway.ledger.provisioning import Change, Provisioning
from gateway.ledger.provisioning_answers import (
    AuditEntry,
    Channel,
    PrefixEffect,
    Segment,
)
from tests.ledger.world import ACTOR, LONDON_ROW, NOON, ORGANIZER, POOL, YEAR_BEFORE, World

Step = Callable[[Change, UUID], Awaitable[object]]

GRANT_ID = uuid4()
PURCHASE_ID = uuid4()


def organizer_put(name: str) -> Step:
    """Return a step that names an organizer."""
    return lambda change, tenant_id: change.organizer_put(
        tenant_id,
        ORGANIZER,
        display_name=name,
        region=Region("GB"),
        permission=DialOutPermission.ANY,
    )


def meeting_put(permission: MeetingPermission) -> Step:
    """Return a step that gives a meeting a permission."""
    return lambda change, tenant_id: change.meeting_put(
        tenant_id, "room", to_self=permission, to_third_party=permission
    )


def licence_assign(change: Change, tenant_id: UUID) -> Awaitable[object]:
    """Give the organizer a licence."""
    return change.licence_assign(
        tenant_id,
        ORGANIZER,
        Sku.AUDIO_CONFERENCING,
        valid_from=YEAR_BEFORE,
        valid_to=None,
        channel=Channel.EA,
        segment=Segment.NONPROFIT,
        at=NOON,
    )


def licence_end(change: Change, tenant_id: UUID) -> Awaitable[object]:
    """End the organizer's licence."""
    return change.licence_end(
        tenant_id,
        ORGANIZER,
        Sku.AUDIO_CONFERENCING,
        valid_from=YEAR_BEFORE,
        valid_to=NOON,
        at=NOON,
    )


def purchase_add(change: Change, tenant_id: UUID) -> Awaitable[object]:
    """Record a purchase."""
    return change.purchase_add(
        tenant_id,
        PURCHASE_ID,
        Sku.AUDIO_CONFERENCING,
        quantity=3,
        channel=Channel.EA,
        segment=Segment.NONPROFIT,
        valid_from=YEAR_BEFORE,
        valid_to=None,
        at=NOON,
    )


def prefix_put(note: str) -> Step:
    """Return a step that lists a prefix for a tenant."""
    return lambda change, tenant_id: change.prefix_put(
        tenant_id, "44207", PrefixEffect.BLOCK, note=note
    )


STEPS: list[tuple[Step, str, dict[str, JsonValue] | None, dict[str, JsonValue] | None]] = [
    (
        lambda change, tenant_id: change.tenant_update(tenant_id, suspended=True, rate_deck=None),
        "tenant",
        {"suspended": False},
        {"suspended": True, "rate_deck_id": None},
    ),
    (
        lambda change, tenant_id: change.policy_put(
            tenant_id, Choices(toll_free=Stance.ALLOW), NOON
        ),
        "tenant_policy",
        {"toll_free": "deny"},
        {"toll_free": "allow"},
    ),
    (organizer_put("Bea"), "organizer", {"display_name": "Ann"}, {"display_name": "Bea"}),
    (licence_assign, "licence", None, {"channel": "ea", "valid_to": "infinity"}),
    (licence_end, "licence", {"valid_to": "infinity"}, {"valid_to": "2026-03-10T12:00:00+00:00"}),
    (purchase_add, "purchase", None, {"quantity": 3}),
    (
        lambda change, tenant_id: change.credits_add(tenant_id, GRANT_ID, Micros(7), NOON),
        "credit_grant",
        None,
        {"micros": 7, "grant_id": str(GRANT_ID)},
    ),
    (meeting_put(MeetingPermission.EVERYONE), "meeting", None, {"to_self": "everyone"}),
    (
        meeting_put(MeetingPermission.ORGANIZER),
        "meeting",
        {"to_self": "everyone"},
        {"to_self": "organizer"},
    ),
    (
        lambda change, tenant_id: change.meeting_put(
            tenant_id,
            "room",
            to_self=MeetingPermission.ORGANIZER,
            to_third_party=MeetingPermission.ORGANIZER,
            organizer_id=ORGANIZER,
        ),
        "meeting",
        {"organizer_id": None},
        {"organizer_id": ORGANIZER},
    ),
    (
        lambda change, tenant_id: change.meeting_remove(tenant_id, "room"),
        "meeting",
        {"to_self": "organizer"},
        None,
    ),
    (prefix_put("a"), "tenant_prefix", None, {"note": "a"}),
    (prefix_put("b"), "tenant_prefix", {"note": "a"}, {"note": "b"}),
    (
        lambda change, tenant_id: change.prefix_remove(tenant_id, "44207", PrefixEffect.BLOCK),
        "tenant_prefix",
        {"note": "b"},
        None,
    ),
]


async def newest(provisioning: Provisioning, tenant_id: UUID | None) -> AuditEntry:
    """Return what was written down last."""
    [entry] = await provisioning.audit(tenant_id, limit=1)
    return entry


async def test_every_change_of_a_tenant_is_written_down_once(
    provisioning: Provisioning, world: World
) -> None:
    """Who, why, before and after; what is repeated changes nothing, and is not written down."""
    told = []
    for step, *_ in STEPS:
        before = len(await provisioning.audit(world.tenant_id))
        for _ in range(2):
            async with provisioning.change(actor="ann", because="ticket 5") as change:
                await step(change, world.tenant_id)
        entries = await provisioning.audit(world.tenant_id)
        assert len(entries) == before + 1
        told.append(entries[0])

    assert {(entry.actor, entry.because, entry.tenant_id) for entry in told} == {
        ("ann", "ticket 5", world.tenant_id)
    }
    for entry, (_, relation, before_it, after_it) in zip(told, STEPS, strict=True):
        assert entry.relation == relation
        assert (entry.before is None, entry.after is None) == (before_it is None, after_it is None)
        assert (before_it or {}).items() <= (entry.before or {}).items()
        assert (after_it or {}).items() <= (entry.after or {}).items()


async def test_a_new_tenant_is_written_down_with_its_choices(
    provisioning: Provisioning, world: World
) -> None:
    """From its first row on; the world's organizer comes after it."""
    entries = await provisioning.audit(world.tenant_id)

    assert [(entry.relation, entry.before, entry.actor) for entry in entries] == [
        ("organizer", None, ACTOR),
        *[("call_limit", None, ACTOR) for _ in DEFAULT_LIMITS],
        ("tenant_policy", None, ACTOR),
        ("tenant", None, ACTOR),
    ]


async def test_what_touches_all_tenants_is_the_operators_affair(
    provisioning: Provisioning, world: World
) -> None:
    """The operator's list, and decks: one row a version, however many rates it has."""
    rows = [replace(LONDON_ROW, prefix=str(prefix)) for prefix in range(100, 400)]
    at: list[datetime] = [YEAR_BEFORE, NOON]
    for number, instant in enumerate(at):
        async with provisioning.change(actor="ann") as change:
            await change.rate_deck_put("deck", "EUR", rows[number:], instant)
    decks = (await provisioning.audit(None))[:2]
    async with provisioning.change(actor="ann") as change:
        await change.prefix_put(None, "44207", PrefixEffect.BLOCK, note="fraud")
        await change.prefix_remove(None, "44207", PrefixEffect.BLOCK)
    prefixes = (await provisioning.audit(None))[:2]

    assert [entry.relation for entry in decks] == ["rate_version"] * 2
    put_again, put = decks
    assert (put.before, put_again.before) == (None, None)
    assert put.after is not None
    assert put_again.after is not None
    assert (put.after["rates"], put_again.after["rates"]) == (300, 299)
    assert put_again.after["starts_at"] == "2026-03-10T12:00:00+00:00"
    assert [(entry.relation, entry.tenant_id) for entry in prefixes] == [
        ("operator_prefix", None)
    ] * 2
    assert [entry.after is None for entry in prefixes] == [True, False]
    assert len(await provisioning.audit(world.tenant_id)) == 5


async def test_what_is_undone_is_not_written_down(provisioning: Provisioning, world: World) -> None:
    """The audit is of what is so, and is made in the same transaction."""
    before = await provisioning.audit(world.tenant_id)
    async with provisioning.change(actor="ann") as change:
        await change.credits_add(world.tenant_id, uuid4(), Micros(7), NOON)
        change.abandon()

    assert await provisioning.audit(world.tenant_id) == before


async def test_calls_are_not_written_down(provisioning: Provisioning, world: World) -> None:
    """They have a journal of their own; the minutes that a licence brings are no purchase."""
    await world.add_licence()
    before = await provisioning.audit(world.tenant_id)

    key = await world.released(POOL)
    await world.settle(key, 5000)

    assert await provisioning.audit(world.tenant_id) == before


async def test_an_actor_is_forgotten_with_the_change(
    pool: Pool, provisioning: Provisioning, world: World
) -> None:
    """Whatever comes next on the same connection must not be taken for the one before."""
    async with provisioning.change(actor="ann", because="x") as change:
        await organizer_put("Bea")(change, world.tenant_id)
    async with provisioning.change(actor="bob") as change:
        await organizer_put("Cid")(change, world.tenant_id)
    by_bob = await newest(provisioning, world.tenant_id)
    assert pool.get_size() == 1
    await pool.execute("UPDATE dialout.organizer SET display_name = 'Dee'")
    by_login = await newest(provisioning, world.tenant_id)

    assert (by_bob.actor, by_bob.because) == ("bob", None)
    assert (by_login.actor, by_login.because) == (await pool.fetchval("SELECT session_user"), None)


async def test_whoever_comes_another_way_is_written_down_by_login(
    provisioning: Provisioning, world: World, owner: Connection
) -> None:
    """By a function or by a statement of the owner's own: the tables tell, not the program."""
    await owner.execute(
        "SELECT dialout.organizer_put($1, $2, 'Bea', 'GB', 'any')", world.tenant_id, ORGANIZER
    )
    by_function = await newest(provisioning, world.tenant_id)
    await owner.execute("UPDATE dialout.organizer SET display_name = 'Cid'")
    by_statement = await newest(provisioning, world.tenant_id)
    await owner.execute("UPDATE dialout.organizer SET display_name = 'Cid'")

    login = await owner.fetchval("SELECT session_user")
    assert [(entry.actor, entry.because) for entry in (by_function, by_statement)] == [
        (login, None)
    ] * 2
    assert by_statement.after is not None
    assert by_statement.after["display_name"] == "Cid"
    assert await newest(provisioning, world.tenant_id) == by_statement


@pytest.mark.parametrize("table", ["tenant_audit", "operator_audit"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET actor = 'eve'", "DELETE FROM {}"])
async def test_what_is_written_down_stays(
    owner: Connection, world: World, table: str, statement: str
) -> None:
    """Not even the owner changes it by mistake."""
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await owner.execute(statement.format(f"dialout.{table}"))


async def test_the_audit_is_read_in_pages_newest_first(
    provisioning: Provisioning, world: World
) -> None:
    """Each entry once, and none of another tenant; or those since an instant."""
    elsewhere = await world.elsewhere()
    for name in ("a", "b", "c"):
        await world.add_organizer(OrganizerId(name))
    everything = await provisioning.audit(world.tenant_id)

    paged: list[AuditEntry] = []
    before = None
    while page := await provisioning.audit(world.tenant_id, before=before, limit=4):
        paged.extend(page)
        before = page[-1].audit_id

    assert tuple(paged) == everything
    assert [entry.at for entry in everything] == sorted(
        (entry.at for entry in everything), reverse=True
    )
    assert {entry.tenant_id for entry in everything} == {world.tenant_id}
    since = await provisioning.audit(world.tenant_id, since=everything[1].at)
    assert since == everything[:2]
    # The second tenant's deck, and what it holds, came after the first tenant was made.
    assert len(await provisioning.audit(None, since=everything[-1].at)) == 2
    assert len(await provisioning.audit(elsewhere.tenant_id)) == 5


async def test_an_entry_is_plain_json(provisioning: Provisioning, world: World) -> None:
    """For machines: ids and instants as text, the rows as objects."""
    entry = await newest(provisioning, world.tenant_id)

    summary = entry.summary()

    assert summary["audit_id"] == str(entry.audit_id)
    assert summary["at"] == entry.at.isoformat()
    assert summary["before"] is None
    assert summary["after"] == entry.after
