"""The ledger: calls SQL functions and reads views. Whatever is decided is decided there.

Each method is one statement, and so one transaction. Each may be called again with the same
arguments: where the first call did its work, the second one changes nothing and says so.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import astuple
from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

import asyncpg

from gateway.core.causes import Disposition
from gateway.core.dial_out import DialOut, DialOutRequest, Terms
from gateway.core.e164 import Destination, Region
from gateway.core.key import DialOutKey
from gateway.core.policy import (
    DestinationFacts,
    DialOutPermission,
    OrganizerId,
    Sku,
    SourceKind,
)
from gateway.core.rating import Micros, Rate
from gateway.core.reasons import Reason
from gateway.db import Pool
from gateway.ledger import rows
from gateway.ledger.answers import (
    AnsweredOutcome,
    Balance,
    Claim,
    ClaimOutcome,
    CreditsOutcome,
    DeckRow,
    Finding,
    LicenceOutcome,
    OrganizerAnswer,
    OrganizerOutcome,
    RateDeckOutcome,
    RequestOutcome,
    SettleOutcome,
    TenantOutcome,
    TenantUpdateOutcome,
    VoidOutcome,
)

_AWAY: Final = (
    OSError,  # includes TimeoutError
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.PostgresSystemError,
    # What an operator can put right while the gateway runs: a login, a migration.
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.SyntaxOrAccessError,
)

_RATE_COLUMNS: Final = 7

_RESERVE: Final = """
    SELECT outcome, (record).* FROM dialout.reserve(
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
        ROW($12, $13, $14, $15, $16, $17, $18)::dialout.rate_terms,
        $19, $20, $21, $22, $23, $24, $25, $26
    )
"""
_REFUSE: Final = """
    SELECT outcome, (record).* FROM dialout.refuse(
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13
    )
"""
_SETTLE: Final = "SELECT outcome, (record).* FROM dialout.settle($1, $2, $3, $4, $5, $6, $7)"
_VOID: Final = "SELECT outcome, (record).* FROM dialout.void($1, $2, $3, $4, $5, $6, $7)"


class LedgerUnavailable(Exception):
    """The ledger did not answer. Whether it did what it was asked is unknown; ask again."""


class Ledger:
    """The ledger of all tenants behind one pool of connections.

    No call waits longer than ``call_seconds_max`` for an answer. Raises ``LedgerUnavailable``
    for whatever may pass; an error of ours, such as terms that no call can have, surfaces as
    the database's own exception.
    """

    def __init__(self, pool: Pool, *, call_seconds_max: float = 2.0) -> None:
        self._pool = pool
        self._call_seconds_max = call_seconds_max

    async def ping(self) -> None:
        """Return if the ledger answers, and is one that this version knows."""
        await self._fetch("SELECT tenant_id FROM dialout.tenant_name LIMIT 1")

    # What policy must know.

    async def organizer_facts(
        self, tenant_id: UUID, organizer_id: OrganizerId, initiator_id: str | None, at: datetime
    ) -> OrganizerAnswer:
        """Return what is known at ``at`` of the tenant, the organizer and the initiator."""
        found = await self._fetch(
            "SELECT * FROM dialout.organizer_facts($1, $2, $3, $4)",
            *(tenant_id, organizer_id, initiator_id, at),
        )
        if not found:
            return OrganizerAnswer(tenant=None, organizer=None, initiator_region=None)
        return rows.organizer_answer(found[0])

    async def destination_facts(
        self, tenant_id: UUID, destination: Destination, at: datetime
    ) -> DestinationFacts:
        """Return the destination's zone, and its rate in the tenant's deck, at ``at``."""
        row = await self._fetch_one(
            "SELECT * FROM dialout.destination_facts($1, $2, $3, $4)",
            *(tenant_id, destination.e164, destination.region, at),
        )
        return rows.destination_facts(row)

    # The life of a dial-out.

    async def reserve(
        self,
        request: DialOutRequest,
        destination: Destination,
        sources: Sequence[SourceKind],
        rate: Rate | None,
        terms: Terms,
        explanation: str,
        at: datetime,
        expires_at: datetime,
        gate_uniqueid: str | None = None,
    ) -> tuple[RequestOutcome, DialOut]:
        """Set aside what the call may cost, from ``sources`` in their order, or refuse it.

        ``gate_uniqueid`` names a channel that waits already: the dial-out is released to it.
        """
        row = await self._fetch_one(
            _RESERVE,
            *_request(request),
            *(destination.e164, destination.region, destination.kind),
            list(sources),
            *(_rate(rate)),
            *(terms.talk_seconds_max, terms.talk_seconds_min, terms.ring_seconds),
            *(terms.caller_id, explanation, at, expires_at, gate_uniqueid),
        )
        return RequestOutcome(row["outcome"]), rows.dial_out(row)

    async def refuse(
        self,
        request: DialOutRequest,
        number: Destination | None,
        reason: Reason,
        explanation: str,
        at: datetime,
    ) -> tuple[RequestOutcome, DialOut | None]:
        """Record what policy has refused. There is no record for a tenant that nobody knows."""
        known = (number.e164, number.region, number.kind) if number else (None, None, None)
        row = await self._fetch_one(_REFUSE, *_request(request), *known, reason, explanation, at)
        return RequestOutcome(row["outcome"]), _record(row)

    async def claim(
        self, key: DialOutKey, gate_uniqueid: str, at: datetime
    ) -> Claim | ClaimOutcome:
        """Release the dial-out to the one channel that reached the gate, once."""
        row = await self._fetch_one(
            "SELECT * FROM dialout.claim($1, $2, $3, $4)", *_key(key), gate_uniqueid, at
        )
        if row["outcome"] == "claimed":
            return rows.claim(row)
        return ClaimOutcome(row["outcome"])

    async def answered(self, key: DialOutKey, at: datetime) -> AnsweredOutcome:
        """Note the instant at which the telephone answered; the first one stands."""
        row = await self._fetch_one(
            "SELECT dialout.answered($1, $2, $3) AS outcome", *_key(key), at
        )
        return AnsweredOutcome(row["outcome"])

    async def seen(self, tenant_id: UUID, dial_out_ids: Sequence[UUID], at: datetime) -> None:
        """Note that calls were seen alive; the latest instant stands."""
        await self._fetch("SELECT dialout.seen($1, $2, $3)", *(tenant_id, list(dial_out_ids), at))

    async def settle(
        self,
        key: DialOutKey,
        *,
        answered_at: datetime,
        ended_at: datetime,
        hangup_cause: int,
        disposition: Disposition,
        evidence: str,
    ) -> tuple[SettleOutcome, DialOut | None]:
        """Bill a call that was answered, to the second, and give the rest back."""
        row = await self._fetch_one(
            _SETTLE, *_key(key), answered_at, ended_at, hangup_cause, disposition, evidence
        )
        return SettleOutcome(row["outcome"]), _record(row)

    async def void(
        self,
        key: DialOutKey,
        *,
        at: datetime,
        hangup_cause: int | None,
        disposition: Disposition,
        only_if_unclaimed: bool,
        evidence: str,
    ) -> tuple[VoidOutcome, DialOut | None]:
        """Give everything back for a call that nobody answered, or that never will be placed."""
        row = await self._fetch_one(
            _VOID, *_key(key), at, hangup_cause, disposition, only_if_unclaimed, evidence
        )
        return VoidOutcome(row["outcome"]), _record(row)

    # What is on record.

    async def dial_out(self, key: DialOutKey) -> DialOut | None:
        """Return one dial-out."""
        found = await self._fetch(
            "SELECT * FROM dialout.dial_out_record WHERE tenant_id = $1 AND dial_out_id = $2",
            *_key(key),
        )
        return rows.dial_out(found[0]) if found else None

    async def dial_outs(self, tenant_id: UUID, since: datetime) -> tuple[DialOut, ...]:
        """Return a tenant's dial-outs that were asked for since then, oldest first."""
        found = await self._fetch(
            """
            SELECT * FROM dialout.dial_out_record
            WHERE tenant_id = $1 AND requested_at >= $2
            ORDER BY requested_at, dial_out_id
            """,
            *(tenant_id, since),
        )
        return tuple(map(rows.dial_out, found))

    async def open_dial_outs(self) -> tuple[DialOut, ...]:
        """Return what is neither refused nor ended, of all tenants, oldest first."""
        found = await self._fetch(
            "SELECT * FROM dialout.open_dial_out ORDER BY requested_at, tenant_id, dial_out_id"
        )
        return tuple(map(rows.dial_out, found))

    async def expired(self, at: datetime) -> tuple[DialOutKey, ...]:
        """Return what nobody has claimed in time, of all tenants, oldest first."""
        found = await self._fetch(
            """
            SELECT tenant_id, dial_out_id FROM dialout.open_dial_out
            WHERE state = 'reserved' AND expires_at <= $1
            ORDER BY expires_at, tenant_id, dial_out_id
            """,
            at,
        )
        return tuple(map(rows.key, found))

    async def balances(self, tenant_id: UUID) -> tuple[Balance, ...]:
        """Return a tenant's sources, oldest first."""
        found = await self._fetch(
            "SELECT * FROM dialout.balance WHERE tenant_id = $1 ORDER BY source_id", tenant_id
        )
        return tuple(map(rows.balance, found))

    async def check(self, tenant_id: UUID | None = None) -> tuple[Finding, ...]:
        """Prove a tenant's books, or everybody's; nothing found means that they are sound."""
        tenants = [tenant_id] if tenant_id else await self._tenants()
        findings: list[Finding] = []
        for each in tenants:
            found = await self._fetch("SELECT * FROM dialout.ledger_check($1)", each)
            findings.extend(rows.finding(each, row) for row in found)
        return tuple(findings)

    async def _tenants(self) -> list[UUID]:
        found = await self._fetch("SELECT tenant_id FROM dialout.tenant_name ORDER BY tenant_id")
        return [row["tenant_id"] for row in found]

    # Provisioning.

    async def tenant_create(
        self,
        tenant_id: UUID,
        *,
        name: str,
        time_zone: str,
        currency: str,
        rate_deck_id: int | None,
    ) -> TenantOutcome:
        """Make a tenant known. ``time_zone`` is an IANA name, ``currency`` an ISO 4217 code."""
        row = await self._fetch_one(
            "SELECT dialout.tenant_create($1, $2, $3, $4, $5) AS outcome",
            *(tenant_id, name, time_zone, currency, rate_deck_id),
        )
        return TenantOutcome(row["outcome"])

    async def tenant_update(
        self, tenant_id: UUID, *, suspended: bool, rate_deck_id: int | None
    ) -> TenantUpdateOutcome:
        """Change what may change of a tenant."""
        row = await self._fetch_one(
            "SELECT dialout.tenant_update($1, $2, $3) AS outcome",
            *(tenant_id, suspended, rate_deck_id),
        )
        return TenantUpdateOutcome(row["outcome"])

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
        row = await self._fetch_one(
            "SELECT dialout.organizer_put($1, $2, $3, $4, $5) AS outcome",
            *(tenant_id, organizer_id, display_name, region, permission),
        )
        return OrganizerOutcome(row["outcome"])

    async def licence_assign(
        self,
        tenant_id: UUID,
        organizer_id: OrganizerId,
        sku: Sku,
        *,
        valid_from: datetime,
        valid_to: datetime | None,
        at: datetime,
    ) -> LicenceOutcome:
        """Give an organizer a licence; None is without end. Its minutes are there at once."""
        row = await self._fetch_one(
            "SELECT dialout.licence_assign($1, $2, $3, $4, $5, $6) AS outcome",
            *(tenant_id, organizer_id, sku, valid_from, valid_to, at),
        )
        return LicenceOutcome(row["outcome"])

    async def credits_add(
        self, tenant_id: UUID, grant_id: UUID, micros: Micros, at: datetime
    ) -> CreditsOutcome:
        """Add bought funds. ``grant_id`` is chosen by whoever took the money."""
        row = await self._fetch_one(
            "SELECT dialout.credits_add($1, $2, $3, $4) AS outcome",
            *(tenant_id, grant_id, micros, at),
        )
        return CreditsOutcome(row["outcome"])

    async def rate_deck_put(
        self, name: str, currency: str, deck: Sequence[DeckRow], at: datetime
    ) -> tuple[RateDeckOutcome, int]:
        """Make ``deck`` the whole of a deck from ``at`` on, or nothing of it; return its id."""
        row = await self._fetch_one(
            "SELECT * FROM dialout.rate_deck_put($1, $2, $3, $4, $5, $6, $7, $8)",
            *(name, currency),
            [row.prefix for row in deck],
            [row.price_micros for row in deck],
            [row.connect_fee_micros for row in deck],
            [row.initial_increment_seconds for row in deck],
            [row.increment_seconds for row in deck],
            at,
        )
        return RateDeckOutcome(row["outcome"]), row["deck_id"]

    # The one way to the database.

    async def _fetch_one(self, statement: LiteralString, *arguments: object) -> rows.Row:
        [row] = await self._fetch(statement, *arguments)
        return row

    async def _fetch(self, statement: LiteralString, *arguments: object) -> list[rows.Row]:
        limit = self._call_seconds_max
        try:
            # The limit of acquire() also bounds how long a broken connection may take to close.
            async with asyncio.timeout(limit), self._pool.acquire(timeout=limit) as connection:
                try:
                    return await connection.fetch(statement, *arguments)
                except asyncpg.InternalClientError:
                    # The server died between two messages, and the driver has lost its place.
                    connection.terminate()
                    raise
        except _AWAY as error:
            raise LedgerUnavailable(f"{type(error).__name__}: {error}") from error
        except asyncpg.InterfaceError as error:
            if isinstance(error, ValueError):
                raise  # an argument of the wrong type
            raise LedgerUnavailable(f"{type(error).__name__}: {error}") from error


def _key(key: DialOutKey) -> tuple[UUID, UUID]:
    return key.tenant_id, key.dial_out_id


def _request(request: DialOutRequest) -> tuple[object, ...]:
    return (
        *_key(request.key),
        request.kind,
        request.organizer_id,
        request.initiator_id,
        request.conference_id,
        request.number_typed,
    )


def _rate(rate: Rate | None) -> tuple[object, ...]:
    return (None,) * _RATE_COLUMNS if rate is None else astuple(rate)


def _record(row: rows.Row) -> DialOut | None:
    return None if row["dial_out_id"] is None else rows.dial_out(row)
