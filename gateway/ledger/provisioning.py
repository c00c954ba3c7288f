"""Provisioning: what tenants are, hold, bought and chose. Whatever is decided is decided in SQL.

Everything is changed within a ``Change``: one transaction, with the name of who made it. The
database itself writes down each row that changes, as it was and as it became.
"""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString, TypeVar
from uuid import UUID

from pydantic import TypeAdapter

from gateway.core.choices import Choices, MeetingPermission
from gateway.core.e164 import E164, Region
from gateway.core.facts import DialOutPermission, OrganizerId, Sku
from gateway.core.limits import LimitKind, LimitScope, LimitTerms
from gateway.core.rating import Micros, Seconds
from gateway.core.week import Hours
from gateway.db import Pool
from gateway.ledger.provisioning_answers import (
    AuditEntry,
    AutoRecharge,
    Block,
    BlockOutcome,
    Callee,
    Channel,
    CreditGrant,
    CreditsOutcome,
    DeckRate,
    DeckRow,
    DeliveryState,
    Event,
    Licence,
    LicenceEndOutcome,
    LicenceOutcome,
    LimitOutcome,
    LimitSet,
    Listed,
    ListedPrefix,
    Meeting,
    MeetingOutcome,
    Organizer,
    OrganizerOutcome,
    PolicyOutcome,
    PrefixEffect,
    PrefixOutcome,
    Purchase,
    PurchaseOutcome,
    RateDeck,
    RateDeckOutcome,
    Recharge,
    RechargeFailedOutcome,
    RechargeOutcome,
    RechargeRemovalOutcome,
    RemovalOutcome,
    RetryOutcome,
    Segment,
    Tenant,
    TenantOutcome,
    TenantUpdateOutcome,
    UnblockOutcome,
)
from gateway.ledger.rows import Row
from gateway.ledger.session import Session, Transaction

ROWS_A_PAGE: Final = 1000
ROWS_A_DRAFT: Final = 2000
"""How many rows of a deck are sent at once: milliseconds of work, before others have a turn."""

L = TypeVar("L", bound=Listed)

_CHOICES = TypeAdapter(Choices)

# No deck has the id 0: the function then says that it is unknown, where it comes in its order.
_TENANT_CREATE: Final = """
    SELECT dialout.tenant_create(
        $1, $2, $3, $4, $5,
        CASE WHEN $6::text IS NOT NULL THEN
            coalesce((SELECT d.deck_id FROM dialout.rate_deck_list AS d WHERE d.name = $6), 0)
        END,
        CASE WHEN $7::text IS NOT NULL THEN
            coalesce((SELECT d.deck_id FROM dialout.rate_deck_list AS d WHERE d.name = $7), 0)
        END
    )
"""
_TENANT_UPDATE: Final = """
    SELECT dialout.tenant_update(
        $1, $2,
        CASE WHEN $3::text IS NOT NULL THEN
            coalesce((SELECT d.deck_id FROM dialout.rate_deck_list AS d WHERE d.name = $3), 0)
        END,
        CASE WHEN $4::text IS NOT NULL THEN
            coalesce((SELECT d.deck_id FROM dialout.rate_deck_list AS d WHERE d.name = $4), 0)
        END
    )
"""
_TENANT: Final = "SELECT * FROM dialout.tenant_list WHERE tenant_id = $1"
_POLICY: Final = """
    SELECT (to_jsonb(p) - 'tenant_id')::text AS choices
    FROM dialout.policy_list AS p WHERE p.tenant_id = $1
"""
_TENANTS: Final = """
    SELECT * FROM dialout.tenant_list
    WHERE ($1::text IS NULL OR name = $1) AND ($2::uuid IS NULL OR tenant_id > $2)
    ORDER BY tenant_id
    LIMIT $3
"""
_ORGANIZERS: Final = """
    SELECT * FROM dialout.organizer_list
    WHERE tenant_id = $1 AND organizer_id > coalesce($2, '')
    ORDER BY organizer_id
    LIMIT $3
"""
_LICENCES: Final = """
    SELECT * FROM dialout.licence_list
    WHERE
        tenant_id = $1
        AND ($2::text IS NULL OR organizer_id = $2)
        AND (organizer_id, sku, valid_from)
            > (coalesce($3, ''), coalesce($4, ''), coalesce($5, timestamptz '-infinity'))
    ORDER BY organizer_id, sku, valid_from
    LIMIT $6
"""
_MEETINGS: Final = """
    SELECT * FROM dialout.meeting_list
    WHERE tenant_id = $1 AND conference_id > coalesce($2, '')
    ORDER BY conference_id
    LIMIT $3
"""
_LIMITS: Final = """
    SELECT * FROM dialout.limit_list
    WHERE
        tenant_id = $1
        AND ($2::text[] IS NULL OR subject = ANY($2))
        AND ($3::text IS NULL OR (scope, subject, kind) > ($3, $4, $5))
    ORDER BY scope, subject, kind
    LIMIT $6
"""
_BLOCKS: Final = """
    SELECT * FROM dialout.block_list
    WHERE
        tenant_id = $1
        AND ($2::text IS NULL OR organizer_id = $2)
        AND ($3::uuid IS NULL OR block_id < $3)
    ORDER BY block_id DESC
    LIMIT $4
"""
_RECHARGES: Final = """
    SELECT * FROM dialout.recharge_list
    WHERE tenant_id = $1 AND ($2::uuid IS NULL OR recharge_id < $2)
    ORDER BY recharge_id DESC
    LIMIT $3
"""
_TENANT_AUDIT: Final = """
    SELECT * FROM dialout.audit_list
    WHERE
        tenant_id = $1
        AND at >= coalesce($2, timestamptz '-infinity')
        AND ($3::uuid IS NULL OR audit_id < $3)
    ORDER BY audit_id DESC
    LIMIT $4
"""
_OPERATOR_AUDIT: Final = """
    SELECT * FROM dialout.audit_list
    WHERE
        tenant_id IS NULL
        AND at >= coalesce($1, timestamptz '-infinity')
        AND ($2::uuid IS NULL OR audit_id < $2)
    ORDER BY audit_id DESC
    LIMIT $3
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceKey:
    """What tells a tenant's licences apart, in the order in which they are listed."""

    organizer_id: OrganizerId
    sku: Sku
    valid_from: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitKey:
    """What tells a tenant's limits apart, in the order in which they are listed."""

    scope: LimitScope
    subject: str
    kind: LimitKind


@dataclass(frozen=True, slots=True, kw_only=True)
class DeckRateKey:
    """What tells the prices of a deck apart, in the order in which they are listed."""

    prefix: str
    slot: int


class Change:
    """Changes by one actor that take effect together.

    Each method may be repeated with the same arguments: what is done already is done no
    second time, and the outcome says so. ``at`` is the instant of the change. A period is from
    its first instant until before its last; a ``valid_to`` of None is without end.
    """

    def __init__(self, transaction: Transaction, actor: str) -> None:
        self._transaction = transaction
        self._actor = actor

    def abandon(self) -> None:
        """Have everything undone when the change is left."""
        self._transaction.abandon()

    async def tenant_create(
        self,
        tenant_id: UUID,
        *,
        name: str,
        time_zone: str,
        anchor_day: int = 1,
        currency: str,
        rate_deck: str | None,
        inbound_deck: str | None = None,
    ) -> TenantOutcome:
        """Make a tenant known, with the default of every choice."""
        return TenantOutcome(
            await self._outcome(
                _TENANT_CREATE,
                *(tenant_id, name, time_zone, anchor_day, currency, rate_deck, inbound_deck),
            )
        )

    async def tenant_locked(self, tenant_id: UUID) -> Tenant | None:
        """Return a tenant as it is, and keep others from changing it until this change is left."""
        await self._outcome("SELECT dialout.tenant_lock($1)", tenant_id)
        found = await self._transaction.fetch(_TENANT, tenant_id)
        return TypeAdapter(Tenant).validate_python(dict(found[0])) if found else None

    async def policy_locked(self, tenant_id: UUID) -> Choices | None:
        """Return a tenant's choices, and keep others from changing them likewise."""
        await self._outcome("SELECT dialout.tenant_lock($1)", tenant_id)
        return _choices(await self._transaction.fetch(_POLICY, tenant_id))

    async def tenant_update(
        self,
        tenant_id: UUID,
        *,
        suspended: bool,
        rate_deck: str | None,
        inbound_deck: str | None = None,
    ) -> TenantUpdateOutcome:
        """Change what may change of a tenant, for calls that are not reserved yet."""
        return TenantUpdateOutcome(
            await self._outcome(_TENANT_UPDATE, tenant_id, suspended, rate_deck, inbound_deck)
        )

    async def organizer_put(
        self,
        tenant_id: UUID,
        organizer_id: OrganizerId,
        *,
        display_name: str,
        region: Region,
        permission: DialOutPermission,
    ) -> OrganizerOutcome:
        """Make an organizer known, or change one."""
        return OrganizerOutcome(
            await self._outcome(
                "SELECT dialout.organizer_put($1, $2, $3, $4, $5)",
                *(tenant_id, organizer_id, display_name, region, permission),
            )
        )

    async def licence_assign(
        self,
        tenant_id: UUID,
        organizer_id: OrganizerId,
        sku: Sku,
        *,
        valid_from: datetime,
        valid_to: datetime | None,
        channel: Channel,
        segment: Segment,
        at: datetime,
        forced_because: str | None = None,
    ) -> LicenceOutcome:
        """Give an organizer a licence; a reason forces what is not sold or lacks another one."""
        return LicenceOutcome(
            await self._outcome(
                "SELECT dialout.licence_assign($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                *(tenant_id, organizer_id, sku, valid_from, valid_to, channel, segment),
                *(self._forced_by(forced_because), forced_because, at),
            )
        )

    async def licence_end(
        self,
        tenant_id: UUID,
        organizer_id: OrganizerId,
        sku: Sku,
        *,
        valid_from: datetime,
        valid_to: datetime | None,
        at: datetime,
        forced_because: str | None = None,
    ) -> LicenceEndOutcome:
        """Move the end of the licence that starts at ``valid_from``, either way.

        A reason forces what would otherwise be refused, as for a new licence, and an end that
        takes away what an add-on needs.
        """
        return LicenceEndOutcome(
            await self._outcome(
                "SELECT dialout.licence_end($1, $2, $3, $4, $5, $6, $7, $8)",
                *(tenant_id, organizer_id, sku, valid_from, valid_to),
                *(self._forced_by(forced_because), forced_because, at),
            )
        )

    async def purchase_add(
        self,
        tenant_id: UUID,
        purchase_id: UUID,
        sku: Sku,
        *,
        quantity: int,
        channel: Channel,
        segment: Segment,
        valid_from: datetime,
        valid_to: datetime | None,
        at: datetime,
    ) -> PurchaseOutcome:
        """Record what a tenant bought; ``purchase_id`` is chosen by whoever sold it."""
        return PurchaseOutcome(
            await self._outcome(
                "SELECT dialout.purchase_add($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                *(tenant_id, purchase_id, sku, quantity, channel, segment),
                *(valid_from, valid_to, at),
            )
        )

    async def credits_add(
        self, tenant_id: UUID, grant_id: UUID, micros: Micros, at: datetime
    ) -> CreditsOutcome:
        """Add bought funds; ``grant_id`` is chosen by whoever took the money."""
        return CreditsOutcome(
            await self._outcome(
                "SELECT dialout.credits_add($1, $2, $3, $4)", tenant_id, grant_id, micros, at
            )
        )

    async def recharge_put(
        self,
        tenant_id: UUID,
        *,
        amount_micros: Micros,
        trigger_micros: Micros,
        backoff_seconds: Seconds,
        at: datetime,
    ) -> RechargeOutcome:
        """Have a tenant's credits recharged by an amount whenever they fall below a trigger."""
        return RechargeOutcome(
            await self._outcome(
                "SELECT dialout.recharge_put($1, $2, $3, $4, $5)",
                *(tenant_id, amount_micros, trigger_micros, backoff_seconds, at),
            )
        )

    async def recharge_remove(self, tenant_id: UUID) -> RechargeRemovalOutcome:
        """Have a tenant's credits recharged no more."""
        return RechargeRemovalOutcome(
            await self._outcome("SELECT dialout.recharge_remove($1)", tenant_id)
        )

    async def recharge_failed(
        self, tenant_id: UUID, recharge_id: UUID, *, reason: str, at: datetime
    ) -> RechargeFailedOutcome:
        """Record that the payment system could not recharge a tenant's credits, and why."""
        return RechargeFailedOutcome(
            await self._outcome(
                "SELECT dialout.recharge_failed($1, $2, $3, $4)",
                *(tenant_id, recharge_id, reason, at),
            )
        )

    async def outbox_retry(self, event_id: UUID | None, at: datetime) -> RetryOutcome:
        """Have an event delivered at once, whenever it was due; None has all of them."""
        return RetryOutcome(
            await self._outcome("SELECT dialout.outbox_retry($1, $2)", event_id, at)
        )

    async def policy_put(self, tenant_id: UUID, choices: Choices, at: datetime) -> PolicyOutcome:
        """Make these the choices of a tenant, all of them."""
        return PolicyOutcome(
            await self._outcome(
                "SELECT dialout.policy_put($1, $2, $3)",
                *(tenant_id, _CHOICES.dump_json(choices).decode(), at),
            )
        )

    async def meeting_put(
        self,
        tenant_id: UUID,
        conference_id: str,
        *,
        to_self: MeetingPermission,
        to_third_party: MeetingPermission,
        organizer_id: OrganizerId | None = None,
    ) -> MeetingOutcome:
        """Give a meeting permissions and an organizer of its own, or change them."""
        return MeetingOutcome(
            await self._outcome(
                "SELECT dialout.meeting_put($1, $2, $3, $4, $5)",
                *(tenant_id, conference_id, to_self, to_third_party, organizer_id),
            )
        )

    async def meeting_remove(self, tenant_id: UUID, conference_id: str) -> RemovalOutcome:
        """Have the tenant's choices hold for a meeting again."""
        return RemovalOutcome(
            await self._outcome("SELECT dialout.meeting_remove($1, $2)", tenant_id, conference_id)
        )

    async def callee_clear(self, destination: E164) -> RemovalOutcome:
        """Let a number be called again at once, however often it was of late."""
        return RemovalOutcome(await self._outcome("SELECT dialout.callee_clear($1)", destination))

    async def limit_put(
        self, tenant_id: UUID, scope: LimitScope, subject: str, terms: LimitTerms
    ) -> LimitOutcome:
        """Set a limit; an empty subject is the tenant, or the default of all of the scope."""
        return LimitOutcome(
            await self._outcome(
                "SELECT dialout.limit_put($1, $2, $3, $4, $5, $6)",
                *(tenant_id, scope, subject, terms.kind, terms.most, terms.mode),
            )
        )

    async def limit_remove(self, tenant_id: UUID, key: LimitKey) -> RemovalOutcome:
        """Take a limit away; what somebody had of his own is the default again."""
        return RemovalOutcome(
            await self._outcome(
                "SELECT dialout.limit_remove($1, $2, $3, $4)",
                *(tenant_id, key.scope, key.subject, key.kind),
            )
        )

    async def organizer_block(
        self, tenant_id: UUID, organizer_id: OrganizerId, *, because: str, at: datetime
    ) -> BlockOutcome:
        """Block an organizer until somebody lifts it; calls that go on are not ended."""
        return BlockOutcome(
            await self._outcome(
                "SELECT dialout.organizer_block_add($1, $2, $3, $4, $5)",
                *(tenant_id, organizer_id, self._actor, because, at),
            )
        )

    async def organizer_unblock(
        self, tenant_id: UUID, organizer_id: OrganizerId, *, because: str, at: datetime
    ) -> UnblockOutcome:
        """Lift the block of an organizer; it stays on the list."""
        return UnblockOutcome(
            await self._outcome(
                "SELECT dialout.organizer_block_lift($1, $2, $3, $4, $5)",
                *(tenant_id, organizer_id, self._actor, because, at),
            )
        )

    async def prefix_put(
        self, tenant_id: UUID | None, prefix: str, effect: PrefixEffect, *, note: str
    ) -> PrefixOutcome:
        """List a prefix, in digits, for a tenant; None lists it for all of them."""
        return PrefixOutcome(
            await self._outcome(
                "SELECT dialout.prefix_put($1, $2, $3, $4)", tenant_id, prefix, effect, note
            )
        )

    async def prefix_remove(
        self, tenant_id: UUID | None, prefix: str, effect: PrefixEffect
    ) -> RemovalOutcome:
        """Take a prefix out of a tenant's list; None takes it out of the operator's."""
        return RemovalOutcome(
            await self._outcome(
                "SELECT dialout.prefix_remove($1, $2, $3)", tenant_id, prefix, effect
            )
        )

    async def rate_deck_put(
        self,
        name: str,
        currency: str,
        deck_rows: Sequence[DeckRow],
        at: datetime,
        *,
        starts_at: datetime | None = None,
        time_zone: str | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> RateDeckOutcome:
        """Make ``deck_rows`` the whole of a deck from ``starts_at`` on; without one, from ``at``.

        Their hours are those of ``time_zone``; None keeps the deck's. ``progress`` hears how
        many rows have been sent.
        """
        for first in range(0, len(deck_rows), ROWS_A_DRAFT):
            drafted = deck_rows[first : first + ROWS_A_DRAFT]
            await self._transaction.fetch_one(
                "SELECT dialout.rate_draft($1, $2, $3, $4, $5, $6, $7, $8)",
                [row.prefix for row in drafted],
                [None if row.hours is None else _minutes_text(row.hours) for row in drafted],
                [row.name for row in drafted],
                [row.price_micros for row in drafted],
                [row.connect_fee_micros for row in drafted],
                [row.initial_increment_seconds for row in drafted],
                [row.increment_seconds for row in drafted],
                [_regions_text(row.regions) for row in drafted],
            )
            if progress is not None:
                progress(first + len(drafted))
        return RateDeckOutcome(
            await self._outcome(
                "SELECT dialout.rate_deck_put($1, $2, $3, $4, $5)",
                *(name, currency, time_zone, starts_at or at, at),
            )
        )

    def _forced_by(self, forced_because: str | None) -> str | None:
        return None if forced_because is None else self._actor

    async def _outcome(self, statement: LiteralString, *arguments: object) -> str:
        [outcome] = await self._transaction.fetch_one(statement, *arguments)
        assert isinstance(outcome, str), "an outcome is a word"
        return outcome


class Provisioning:
    """What all tenants are, hold, bought and chose, behind one pool of connections.

    No statement waits longer than ``call_seconds_max`` for an answer. Raises
    ``LedgerUnavailable`` for whatever may pass; a value without a possible form surfaces as
    the database's own exception.
    """

    def __init__(self, pool: Pool, *, call_seconds_max: float = 2.0) -> None:
        self._session = Session(pool, call_seconds_max)

    @asynccontextmanager
    async def change(self, *, actor: str, because: str | None = None) -> AsyncIterator[Change]:
        """Open a change; what was done takes effect when it is left, unless by an error.

        ``actor`` (1 to 128 characters) and ``because`` are written down with each row that
        changes.
        """
        async with self._session.transaction() as transaction:
            await transaction.fetch_one(
                """
                SELECT
                    set_config('dialout.actor', $1, true),
                    set_config('dialout.because', coalesce($2, ''), true)
                """,
                *(actor, because),
            )
            yield Change(transaction, actor)

    async def tenant(self, tenant_id: UUID) -> Tenant | None:
        """Return one tenant."""
        found = await self._list(Tenant, _TENANT, tenant_id)
        return found[0] if found else None

    async def tenants(
        self, *, name: str | None = None, after: UUID | None = None, limit: int = ROWS_A_PAGE
    ) -> tuple[Tenant, ...]:
        """Return the tenants, in the order of their ids; those of one name, if one is given."""
        return await self._list(Tenant, _TENANTS, name, after, limit)

    async def organizers(
        self, tenant_id: UUID, *, after: OrganizerId | None = None, limit: int = ROWS_A_PAGE
    ) -> tuple[Organizer, ...]:
        """Return a tenant's organizers, in the order of their ids."""
        return await self._list(Organizer, _ORGANIZERS, tenant_id, after, limit)

    async def licences(
        self,
        tenant_id: UUID,
        *,
        organizer_id: OrganizerId | None = None,
        after: LicenceKey | None = None,
        limit: int = ROWS_A_PAGE,
    ) -> tuple[Licence, ...]:
        """Return a tenant's licences, or those of one organizer, in the order of their keys."""
        key = (after.organizer_id, after.sku, after.valid_from) if after else (None, None, None)
        return await self._list(Licence, _LICENCES, tenant_id, organizer_id, *key, limit)

    async def purchases(self, tenant_id: UUID) -> tuple[Purchase, ...]:
        """Return what a tenant bought, oldest first."""
        return await self._list(
            Purchase,
            """
            SELECT * FROM dialout.purchase_list
            WHERE tenant_id = $1 ORDER BY valid_from, purchase_id
            """,
            tenant_id,
        )

    async def credits(self, tenant_id: UUID) -> tuple[CreditGrant, ...]:
        """Return the funds that a tenant bought, oldest first."""
        return await self._list(
            CreditGrant,
            "SELECT * FROM dialout.credit_list WHERE tenant_id = $1 ORDER BY at, grant_id",
            tenant_id,
        )

    async def auto_recharge(self, tenant_id: UUID) -> AutoRecharge | None:
        """Return how a tenant's credits are recharged; None if they are not."""
        found = await self._list(
            AutoRecharge, "SELECT * FROM dialout.auto_recharge_list WHERE tenant_id = $1", tenant_id
        )
        return found[0] if found else None

    async def recharges(
        self, tenant_id: UUID, *, before: UUID | None = None, limit: int = ROWS_A_PAGE
    ) -> tuple[Recharge, ...]:
        """Return what was asked of the payment system for a tenant, newest first."""
        return await self._list(Recharge, _RECHARGES, tenant_id, before, limit)

    async def events(
        self,
        *,
        tenant_id: UUID | None = None,
        states: Collection[DeliveryState] | None = None,
        after: int = 0,
        limit: int = ROWS_A_PAGE,
    ) -> tuple[Event, ...]:
        """Return events in the order of their numbers: all, or those of a tenant, or in states.

        No event ever gets a number below one that was returned before.
        """
        return await self._list(
            Event,
            "SELECT * FROM dialout.outbox_list($1, $2, $3, $4)",
            *(tenant_id, None if states is None else list(states), after, limit),
        )

    async def policy(self, tenant_id: UUID) -> Choices | None:
        """Return a tenant's choices."""
        return _choices(await self._session.fetch(_POLICY, tenant_id))

    async def meetings(
        self, tenant_id: UUID, *, after: str | None = None, limit: int = ROWS_A_PAGE
    ) -> tuple[Meeting, ...]:
        """Return a tenant's meetings that have permissions of their own, by conference id."""
        return await self._list(Meeting, _MEETINGS, tenant_id, after, limit)

    async def limits(
        self,
        tenant_id: UUID,
        *,
        subjects: Sequence[str] | None = None,
        after: LimitKey | None = None,
        limit: int = ROWS_A_PAGE,
    ) -> tuple[LimitSet, ...]:
        """Return the limits of a tenant, or those of some subjects; ``""`` is all of a scope."""
        key = (after.scope, after.subject, after.kind) if after else (None, None, None)
        return await self._list(
            LimitSet, _LIMITS, tenant_id, None if subjects is None else list(subjects), *key, limit
        )

    async def blocks(
        self,
        tenant_id: UUID,
        *,
        organizer_id: OrganizerId | None = None,
        before: UUID | None = None,
        limit: int = ROWS_A_PAGE,
    ) -> tuple[Block, ...]:
        """Return who is blocked and who was, newest first.

        ``before`` is the id of the last block of the page before.
        """
        return await self._list(Block, _BLOCKS, tenant_id, organizer_id, before, limit)

    async def callee(self, destination: E164) -> Callee:
        """Return how often a number was called of late, and until when it is left alone."""
        found = await self._list(
            Callee, "SELECT * FROM dialout.callee_list WHERE destination = $1", destination
        )
        nothing = Callee(destination=destination, attempts=0, window_from=None, quiet_until=None)
        return found[0] if found else nothing

    async def prefixes(self, tenant_id: UUID | None) -> tuple[ListedPrefix, ...]:
        """Return a tenant's list; None returns the operator's and the shipped one."""
        return await self._list(
            ListedPrefix,
            """
            SELECT * FROM dialout.prefix_list
            WHERE tenant_id IS NOT DISTINCT FROM $1 ORDER BY listed_in, prefix, effect
            """,
            tenant_id,
        )

    async def rate_decks(self) -> tuple[RateDeck, ...]:
        """Return the decks, by name."""
        return await self._list(RateDeck, "SELECT * FROM dialout.rate_deck_list ORDER BY name")

    async def rate_deck(self, name: str) -> RateDeck | None:
        """Return one deck."""
        found = await self._list(
            RateDeck, "SELECT * FROM dialout.rate_deck_list WHERE name = $1", name
        )
        return found[0] if found else None

    async def rates(
        self,
        deck_id: int,
        at: datetime,
        *,
        prefix: str = "",
        after: DeckRateKey | None = None,
        limit: int = ROWS_A_PAGE,
    ) -> tuple[DeckRate, ...]:
        """Return what a deck holds at an instant, by prefix: those that begin with ``prefix``."""
        key = (after.prefix, after.slot) if after else ("", -1)
        return await self._list(
            DeckRate,
            "SELECT * FROM dialout.rate_deck_rates($1, $2, $3, $4, $5, $6)",
            *(deck_id, at, prefix, *key, limit),
        )

    async def countries(self) -> dict[str, Region]:
        """Return the countries that are known by name, in English."""
        found = await self._session.fetch("SELECT name, region FROM dialout.country_list")
        return {row["name"]: Region(row["region"]) for row in found}

    async def audit(
        self,
        tenant_id: UUID | None,
        *,
        since: datetime | None = None,
        before: UUID | None = None,
        limit: int = ROWS_A_PAGE,
    ) -> tuple[AuditEntry, ...]:
        """Return what was changed of a tenant, newest first; None: of what touches all of them.

        ``before`` is the id of the last entry of the page before.
        """
        if tenant_id is None:
            return await self._list(AuditEntry, _OPERATOR_AUDIT, since, before, limit)
        return await self._list(AuditEntry, _TENANT_AUDIT, tenant_id, since, before, limit)

    async def _list(
        self, kind: type[L], statement: LiteralString, *arguments: object
    ) -> tuple[L, ...]:
        read = TypeAdapter(kind).validate_python
        return tuple(read(dict(row)) for row in await self._session.fetch(statement, *arguments))


def _choices(found: list[Row]) -> Choices | None:
    return _CHOICES.validate_json(found[0]["choices"]) if found else None


def _minutes_text(hours: Hours) -> str:
    """Return the minutes of the week as the text of a multirange."""
    return "{" + ",".join(f"[{start},{end})" for start, end in hours.spans) + "}"


def _regions_text(regions: frozenset[Region] | None) -> str | None:
    return None if regions is None else ";".join(sorted(regions))
