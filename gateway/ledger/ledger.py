"""The ledger: calls SQL functions and reads views. Whatever is decided is decided there.

Each method is one statement, and so one transaction. Each may be called again with the same
arguments: where the first call did its work, the second one changes nothing and says so.
"""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from gateway.core.attendance import DropReason
from gateway.core.call import Unproved
from gateway.core.causes import Disposition
from gateway.core.dial_out import BridgeName, CoolDown, DialOut, DialOutRequest, Terms
from gateway.core.e164 import E164, ORDINARY_KINDS, Destination
from gateway.core.facts import OrganizerId
from gateway.core.grant import Grant
from gateway.core.key import DialOutKey
from gateway.core.outage import Outage
from gateway.core.rating import Micros, Rate, Seconds
from gateway.core.reasons import Reason
from gateway.core.waterfall import Source
from gateway.db import Pool
from gateway.ledger import rows
from gateway.ledger.answers import (
    AnsweredOutcome,
    Balance,
    ChainHead,
    Claim,
    ClaimOutcome,
    DestinationAnswer,
    DroppedOutcome,
    Extension,
    Finding,
    ForgetOutcome,
    GrantOutcome,
    JoinedOutcome,
    LastProof,
    OrganizerAnswer,
    RecentNumber,
    Rehearsal,
    RequestOutcome,
    Saving,
    Serving,
    SettleOutcome,
    TenantName,
    TriedDeck,
    VoidOutcome,
)
from gateway.ledger.session import LedgerUnavailable, Session

_RATE_COLUMNS: Final = 7

DIAL_IN_SECONDS_MAX: Final = 10
"""How much later than the decision a telephone that calls in may be let in."""

_RESERVE: Final = """
    SELECT outcome, (record).* FROM dialout.reserve(
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
        ROW($13, $14, $15, $16, $17, $18, $19)::dialout.rate_terms,
        $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31,
        ROW($32, $33, $34)::dialout.cool_down
    )
"""
_REHEARSE: Final = """
    SELECT * FROM dialout.rehearse(
        $1, $2, $3, $4, $5, ROW($6, $7, $8, $9, $10, $11, $12)::dialout.rate_terms,
        $13, $14, $15, $16, $17, $18, $19,
        ROW($20, $21, $22)::dialout.cool_down
    )
"""
_REFUSE: Final = """
    SELECT outcome, (record).* FROM dialout.refuse(
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, p_blocks => $15
    )
"""
_PAGE: Final = 500
_DIAL_OUTS_PAGE: Final = """
    SELECT * FROM dialout.dial_out_record
    WHERE tenant_id = $1 AND (requested_at, dial_out_id) > ($2, $3) AND requested_at < $4
    ORDER BY requested_at, dial_out_id
    LIMIT $5
"""
_SAVINGS: Final = """
    SELECT
        tenant_id, reason, currency, count(*) AS calls,
        sum(saved_seconds) AS seconds, sum(saved_micros)::bigint AS micros
    FROM dialout.dropped_call_list
    WHERE
        (tenant_id = $1) IS NOT false
        AND (at >= $2) IS NOT false
        AND (at < $3) IS NOT false
    GROUP BY tenant_id, reason, currency
    ORDER BY tenant_id, reason
"""
_OUTAGES_OF: Final = """
    SELECT outage_id, bridge, kind, began_at, ended_at, detail FROM dialout.outage_call
    WHERE tenant_id = $1 AND dial_out_id = $2 AND requested_at = $3
    ORDER BY began_at, outage_id
    LIMIT 100
"""
_GRANT_BOOK: Final = """
    SELECT outcome, (record).* FROM dialout.grant_book(
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
        $20, $21, $22, $23, $24, ROW($25, $26, $27)::dialout.cool_down
    )
"""
_SETTLE: Final = """
    SELECT outcome, (record).* FROM dialout.settle($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
_VOID: Final = """
    SELECT outcome, (record).* FROM dialout.void($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""


class Ledger:
    """The ledger of all tenants behind one pool of connections.

    No call waits longer than ``call_seconds_max`` for an answer. Raises ``LedgerUnavailable``
    for whatever may pass; an error of ours, such as terms that no call can have, surfaces as
    the database's own exception.
    """

    def __init__(self, pool: Pool, *, call_seconds_max: float = 2.0) -> None:
        self._session = Session(pool, call_seconds_max)

    async def ping(self) -> None:
        """Return if the ledger answers, can be written to, and is one that this version knows."""
        row = await self._session.fetch_one(
            """
            SELECT
                current_setting('transaction_read_only')::boolean AS is_read_only,
                EXISTS (SELECT FROM dialout.tenant_name) AS has_tenants
            """
        )
        if row["is_read_only"]:
            raise LedgerUnavailable("It can be read and not written to: a standby?")

    # What policy must know.

    async def organizer_facts(self, request: DialOutRequest, at: datetime) -> OrganizerAnswer:
        """Return what is known at ``at`` of those whom a request names, and of their meeting."""
        found = await self._session.fetch(
            "SELECT * FROM dialout.organizer_facts($1, $2, $3, $4, $5)",
            *(request.key.tenant_id, request.organizer_id, request.initiator_id),
            *(request.conference_id, at),
        )
        if not found:
            return OrganizerAnswer(tenant=None, organizer=None, initiator_region=None, meeting=None)
        return rows.organizer_answer(found[0])

    async def destination_facts(
        self,
        tenant_id: UUID,
        destination: Destination,
        at: datetime,
        *,
        tried: TriedDeck | None = None,
        organizer_id: OrganizerId | None = None,
    ) -> DestinationAnswer:
        """Return what is known of a destination at ``at``, by the tenant's deck or a tried one.

        Whether the organizer has called it today is known only if one is named.
        """
        deck_id, rates_at = (tried.deck_id, tried.rates_at) if tried else (None, None)
        row = await self._session.fetch_one(
            "SELECT * FROM dialout.destination_facts($1, $2, $3, $4, $5, $6, $7)",
            *(tenant_id, destination.e164, destination.region, at, deck_id, rates_at),
            organizer_id,
        )
        return rows.destination_answer(row)

    # The life of a dial-out.

    async def reserve(
        self,
        request: DialOutRequest,
        destination: Destination,
        sources: Sequence[Source],
        rate: Rate | None,
        terms: Terms,
        explanation: str,
        at: datetime,
        expires_at: datetime,
        gate_uniqueid: str | None = None,
    ) -> tuple[RequestOutcome, DialOut]:
        """Set aside the first slice, from ``sources`` in their order, or refuse the call.

        A call to a number that can cost anything never goes on without funds, whatever the
        tenant chose for those whose funds end.

        ``gate_uniqueid`` names a channel that waits already: the dial-out is released to it.
        """
        row = await self._session.fetch_one(
            _RESERVE,
            *_request(request),
            *(destination.e164, destination.region, destination.kind),
            *_sources(sources),
            *_rate(rate),
            *(terms.talk_seconds_max, terms.talk_seconds_min, terms.slice_seconds),
            *(terms.ring_seconds, terms.caller_id, explanation, at, expires_at, gate_uniqueid),
            *(destination.kind in ORDINARY_KINDS, request.bridge, request.meeting_name),
            *_cool_down(terms.cool_down),
        )
        return RequestOutcome(row["outcome"]), rows.dial_out(row)

    async def reserve_dial_in(
        self,
        request: DialOutRequest,
        number: Destination,
        sources: Sequence[Source],
        rate: Rate | None,
        terms: Terms,
        explanation: str,
        at: datetime,
        *,
        caller: E164 | None,
        uniqueid: str,
        needs_funds: bool,
    ) -> tuple[RequestOutcome, DialOut]:
        """Set aside the first slice of a telephone that has called ``number``, or refuse it.

        One that needs no funds is reserved with what there is, be it nothing. ``caller`` is
        None for one that withholds its number, ``uniqueid`` its channel.
        """
        row = await self._session.fetch_one(
            _RESERVE,
            *_request(request),
            *(number.e164, number.region, number.kind),
            *_sources(sources),
            *_rate(rate),
            *(terms.talk_seconds_max, terms.talk_seconds_min if needs_funds else 0),
            *(terms.slice_seconds, None, caller, explanation, at),
            *(at + timedelta(seconds=DIAL_IN_SECONDS_MAX), uniqueid),
            *(False, request.bridge, request.meeting_name),
            *_cool_down(None),
        )
        return RequestOutcome(row["outcome"]), rows.dial_out(row)

    async def inbound_rate(self, tenant_id: UUID, number: Destination, at: datetime) -> Rate | None:
        """Return what it costs to call a service number, None if the tenant has no price for it."""
        found = await self._session.fetch(
            "SELECT * FROM dialout.inbound_rate($1, $2, $3)", *(tenant_id, number.e164, at)
        )
        return rows.rate(found[0]) if found else None

    async def refuse(
        self,
        request: DialOutRequest,
        number: Destination | None,
        reason: Reason,
        explanation: str,
        at: datetime,
        *,
        blocks_organizer: bool = False,
    ) -> tuple[RequestOutcome, DialOut | None]:
        """Record what policy has refused. There is no record for a tenant that nobody knows.

        ``blocks_organizer`` has the organizer blocked until somebody lifts that.
        """
        known = (number.e164, number.region, number.kind) if number else (None, None, None)
        row = await self._session.fetch_one(
            _REFUSE,
            *_request(request),
            *known,
            *(reason, explanation, at, request.bridge, blocks_organizer),
        )
        return RequestOutcome(row["outcome"]), _record(row)

    async def rehearse(
        self,
        tenant_id: UUID,
        organizer_id: OrganizerId,
        conference_id: str,
        destination: Destination,
        sources: Sequence[Source],
        rate: Rate | None,
        terms: Terms,
        at: datetime,
    ) -> Rehearsal:
        """Return what ``reserve`` would do, and leave no trace of it.

        All of the call is one slice here: what is told is how long it could last by what there
        is now, and not how much of that would be set aside first.
        """
        row = await self._session.fetch_one(
            _REHEARSE,
            *(tenant_id, organizer_id, conference_id),
            *_sources(sources),
            *_rate(rate),
            *(terms.talk_seconds_max, terms.talk_seconds_min, terms.talk_seconds_max),
            *(destination.e164, destination.region, at),
            destination.kind in ORDINARY_KINDS,
            *_cool_down(terms.cool_down),
        )
        return rows.rehearsal(row)

    async def grant_book(self, grant: Grant) -> tuple[GrantOutcome, DialOut]:
        """Make the dial-out of a call that was placed while the ledger was away; once."""
        request, number, terms = grant.request, grant.destination, grant.terms
        row = await self._session.fetch_one(
            _GRANT_BOOK,
            *_request(request),
            *(number.e164, number.region, number.kind),
            *_sources(grant.sources),
            *(grant.limit_seconds, terms.talk_seconds_max, terms.slice_seconds),
            *(terms.ring_seconds, terms.caller_id, grant.explanation, grant.at),
            *(grant.expires_at, grant.key.gate_uniqueid, request.bridge, request.meeting_name),
            grant.confirms,
            *_cool_down(terms.cool_down),
        )
        return GrantOutcome(row["outcome"]), rows.dial_out(row)

    async def claim(
        self,
        key: DialOutKey,
        gate_uniqueid: str,
        at: datetime,
        asterisk_booted_at: datetime | None = None,
    ) -> Claim | ClaimOutcome:
        """Release the dial-out to the one channel that reached the gate, once.

        ``asterisk_booted_at`` is when the Asterisk began that it is on, None if that is unknown.
        """
        row = await self._session.fetch_one(
            "SELECT * FROM dialout.claim($1, $2, $3, $4, $5)",
            *(*_key(key), gate_uniqueid, at, asterisk_booted_at),
        )
        return rows.claim_or_outcome(row)

    async def take_over(
        self,
        key: DialOutKey,
        gate_uniqueid: str,
        at: datetime,
        asterisk_booted_at: datetime | None = None,
    ) -> Claim | ClaimOutcome:
        """Release the dial-out to a channel that its own gateway has let wait, once."""
        row = await self._session.fetch_one(
            "SELECT * FROM dialout.take_over($1, $2, $3, $4, $5)",
            *(*_key(key), gate_uniqueid, at, asterisk_booted_at),
        )
        return rows.claim_or_outcome(row)

    async def answered(self, key: DialOutKey, at: datetime) -> AnsweredOutcome:
        """Note the instant at which the telephone answered; the first one stands."""
        row = await self._session.fetch_one(
            "SELECT dialout.answered($1, $2, $3) AS outcome", *_key(key), at
        )
        return AnsweredOutcome(row["outcome"])

    async def is_released(self, gate_uniqueid: str, bridge: BridgeName) -> bool:
        """Return whether a channel is the gate of a call that is under way, whoever released it."""
        row = await self._session.fetch_one(
            "SELECT dialout.is_released($1, $2) AS released", gate_uniqueid, bridge
        )
        return bool(row["released"])

    async def joined(self, key: DialOutKey, at: datetime) -> JoinedOutcome:
        """Note the instant at which the callee came into the conference; the first one stands."""
        row = await self._session.fetch_one(
            "SELECT dialout.joined($1, $2, $3) AS outcome", *_key(key), at
        )
        return JoinedOutcome(row["outcome"])

    async def extend(self, key: DialOutKey, *, slices: int, at: datetime) -> Extension:
        """Set aside the next slice of a call that has ``slices`` of them; asking twice is once."""
        row = await self._session.fetch_one(
            "SELECT * FROM dialout.extend($1, $2, $3, $4)", *_key(key), slices, at
        )
        return rows.extension(row)

    async def seen(self, tenant_id: UUID, dial_out_ids: Sequence[UUID], at: datetime) -> None:
        """Note that calls were seen alive; the latest instant stands."""
        await self._session.fetch(
            "SELECT dialout.seen($1, $2, $3)", *(tenant_id, list(dial_out_ids), at)
        )

    async def dropped(self, key: DialOutKey, reason: DropReason, at: datetime) -> DroppedOutcome:
        """Note that a call was ended for this reason; what that saved is reckoned there."""
        row = await self._session.fetch_one(
            "SELECT dialout.dropped($1, $2, $3, $4) AS outcome", *_key(key), reason, at
        )
        return DroppedOutcome(row["outcome"])

    async def recent_numbers(self, tenant_id: UUID, initiator_id: str) -> tuple[RecentNumber, ...]:
        """Return the numbers, ten at most, that Call Me reached somebody at, the last first."""
        found = await self._session.fetch(
            "SELECT * FROM dialout.recent_numbers($1, $2)", *(tenant_id, initiator_id)
        )
        return tuple(map(rows.recent_number, found))

    async def forget_number(
        self, tenant_id: UUID, initiator_id: str, destination: E164 | None = None
    ) -> ForgetOutcome:
        """Forget a number of a participant; without ``destination``, all of them."""
        row = await self._session.fetch_one(
            "SELECT dialout.recent_number_forget($1, $2, $3) AS outcome",
            *(tenant_id, initiator_id, destination),
        )
        return ForgetOutcome(row["outcome"])

    async def forget_old_numbers(self, at: datetime, *, limit: int) -> int:
        """Forget the numbers that are of no use at ``at`` any more; return how many were.

        At most ``limit`` of each kind: those of participants, and those called too often.
        """
        row = await self._session.fetch_one(
            "SELECT dialout.numbers_forget($1, $2) AS forgotten", limit, at
        )
        return int(row["forgotten"])

    async def settle(
        self,
        key: DialOutKey,
        *,
        answered_at: datetime,
        ended_at: datetime,
        hangup_cause: int,
        disposition: Disposition,
        evidence: str,
        latest_end: datetime | None = None,
        unproved: Unproved | None = None,
    ) -> tuple[SettleOutcome, DialOut | None]:
        """Bill a call that was answered, to the second, and give the rest back.

        ``latest_end`` is None for an end that is proved. Else the call ended between
        ``ended_at`` and it, and ``unproved`` says by which of them it is billed.
        """
        row = await self._session.fetch_one(
            _SETTLE,
            *_key(key),
            *(answered_at, ended_at, hangup_cause, disposition, evidence, latest_end, unproved),
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
        latest_end: datetime | None = None,
        released_at: datetime | None = None,
    ) -> tuple[VoidOutcome, DialOut | None]:
        """Give everything back for a call that nobody answered, or that never will be placed.

        With ``latest_end``, nothing proves that nobody answered: somebody may have, until then.
        With ``released_at``, only if no channel was let dial since.
        """
        row = await self._session.fetch_one(
            _VOID,
            *_key(key),
            *(at, hangup_cause, disposition, only_if_unclaimed, evidence),
            *(latest_end, released_at),
        )
        return VoidOutcome(row["outcome"]), _record(row)

    # What is on record.

    async def dial_out(self, key: DialOutKey) -> DialOut | None:
        """Return one dial-out."""
        found = await self._session.fetch(
            "SELECT * FROM dialout.dial_out_record WHERE tenant_id = $1 AND dial_out_id = $2",
            *_key(key),
        )
        return rows.dial_out(found[0]) if found else None

    async def dial_outs_named(self, dial_out_id: UUID) -> tuple[DialOut, ...]:
        """Return the dial-outs of this id, whosever they are: an id is a tenant's own."""
        found = await self._session.fetch(
            "SELECT * FROM dialout.dial_out_record WHERE dial_out_id = $1 ORDER BY tenant_id",
            dial_out_id,
        )
        return tuple(map(rows.dial_out, found))

    async def organizer_tenants(self, organizer_id: OrganizerId) -> tuple[UUID, ...]:
        """Return the tenants that have an organizer of this id."""
        row = await self._session.fetch_one(
            "SELECT dialout.organizer_tenants($1) AS tenant_ids", organizer_id
        )
        return tuple(row["tenant_ids"])

    async def dial_outs(self, tenant_id: UUID, since: datetime) -> tuple[DialOut, ...]:
        """Return a tenant's dial-outs that were asked for since then, oldest first."""
        found = await self._session.fetch(
            """
            SELECT * FROM dialout.dial_out_record
            WHERE tenant_id = $1 AND requested_at >= $2
            ORDER BY requested_at, dial_out_id
            """,
            *(tenant_id, since),
        )
        return tuple(map(rows.dial_out, found))

    async def dial_outs_between(
        self, tenant_id: UUID, since: datetime, until: datetime
    ) -> AsyncIterator[DialOut]:
        """Yield a tenant's dial-outs of ``since <= requested_at < until``, oldest first.

        They come in pages, so that years of them need no more memory than a page.
        """
        after = (since, UUID(int=0))
        while True:
            page = await self._session.fetch(_DIAL_OUTS_PAGE, tenant_id, *after, until, _PAGE)
            for row in page:
                yield rows.dial_out(row)
            if len(page) < _PAGE:
                return
            after = (page[-1]["requested_at"], page[-1]["dial_out_id"])

    async def dial_outs_count(self, tenant_id: UUID, since: datetime, until: datetime) -> int:
        """Return how many dial-outs ``dial_outs_between`` yields."""
        row = await self._session.fetch_one(
            """
            SELECT count(*) AS dial_outs FROM dialout.dial_out_record
            WHERE tenant_id = $1 AND requested_at >= $2 AND requested_at < $3
            """,
            *(tenant_id, since, until),
        )
        return int(row["dial_outs"])

    async def charge(self, seconds: Seconds, rate: Rate) -> Micros:
        """Return what so many seconds cost at a rate."""
        row = await self._session.fetch_one(
            """
            SELECT dialout.charge_micros(
                $1, ROW($2, $3, $4, $5, $6, $7, $8)::dialout.rate_terms
            ) AS micros
            """,
            seconds,
            *_rate(rate),
        )
        return Micros(row["micros"])

    async def rate_deck_find(self, name: str) -> tuple[int, str] | None:
        """Return the id and the currency of a deck; None if there is none of this name."""
        found = await self._session.fetch("SELECT * FROM dialout.rate_deck_find($1)", name)
        return (found[0]["deck_id"], found[0]["currency"]) if found else None

    async def savings(
        self,
        tenant_id: UUID | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> tuple[Saving, ...]:
        """Return what was saved by calls dropped then, by tenant and reason.

        For a tenant or for all; None for an instant is no bound.
        """
        found = await self._session.fetch(_SAVINGS, *(tenant_id, since, until))
        return tuple(map(rows.saving, found))

    async def tenants(self) -> tuple[TenantName, ...]:
        """Return who the tenants are, in the order of their ids."""
        found = await self._session.fetch(
            "SELECT tenant_id, name, currency FROM dialout.tenant_name ORDER BY tenant_id"
        )
        return tuple(map(rows.tenant_name, found))

    async def open_dial_outs(self, bridge: BridgeName | None = None) -> tuple[DialOut, ...]:
        """Return what is neither refused nor ended, of all tenants, oldest first.

        Of one bridge, or of all of them.
        """
        found = await self._session.fetch(
            """
            SELECT * FROM dialout.open_dial_out
            WHERE (bridge = $1) IS NOT false
            ORDER BY requested_at, tenant_id, dial_out_id
            """,
            bridge,
        )
        return tuple(map(rows.dial_out, found))

    async def unended(
        self, tenant_id: UUID, conference_id: str, initiator_id: str | None
    ) -> tuple[DialOut, ...]:
        """Return the calls out of a conference that are neither refused nor ended, oldest first.

        Those that one initiator asked for, or all.
        """
        found = await self._session.fetch(
            """
            SELECT * FROM dialout.open_dial_out
            WHERE
                tenant_id = $1 AND conference_id = $2 AND kind <> 'dial_in'
                AND ($3::text IS null OR initiator_id = $3)
            ORDER BY requested_at, dial_out_id
            """,
            *(tenant_id, conference_id, initiator_id),
        )
        return tuple(map(rows.dial_out, found))

    async def recent_keys(self, since: datetime, *, limit: int) -> tuple[DialOutKey, ...]:
        """Return what was asked for since then, of all tenants; so many at most, in any order."""
        found = await self._session.fetch(
            """
            SELECT tenant_id, dial_out_id FROM dialout.dial_out_record
            WHERE requested_at >= $1
            LIMIT $2
            """,
            *(since, limit),
        )
        return tuple(DialOutKey(tenant_id=row[0], dial_out_id=row[1]) for row in found)

    async def expired(self, at: datetime) -> tuple[DialOutKey, ...]:
        """Return what nobody has claimed in time, of all tenants, oldest first."""
        found = await self._session.fetch(
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
        found = await self._session.fetch(
            "SELECT * FROM dialout.balance WHERE tenant_id = $1 ORDER BY source_id", tenant_id
        )
        return tuple(map(rows.balance, found))

    # The proof of the books.

    async def months(self, tenant_id: UUID) -> tuple[datetime, ...]:
        """Return the first instants of the months of UTC that anything is filed in, in order."""
        found = await self._session.fetch("SELECT * FROM dialout.months_filed($1)", tenant_id)
        return tuple(row["month"] for row in found)

    async def check_month(self, tenant_id: UUID, month: datetime) -> tuple[Finding, ...]:
        """Return what is wrong with a tenant's calls and entries that are filed in a month."""
        found = await self._session.fetch(
            "SELECT * FROM dialout.ledger_check_month($1, $2)", *(tenant_id, month)
        )
        return tuple(rows.finding(tenant_id, row) for row in found)

    async def check_sources(self, tenant_id: UUID) -> tuple[Finding, ...]:
        """Return what is wrong with a tenant's sources, over all months."""
        found = await self._session.fetch(
            "SELECT * FROM dialout.ledger_check_sources($1)", tenant_id
        )
        return tuple(rows.finding(tenant_id, row) for row in found)

    async def check(self, tenant_id: UUID | None = None) -> tuple[Finding, ...]:
        """Prove a tenant's books, or everybody's; nothing found means that they are sound."""
        tenants = [tenant_id] if tenant_id else [each.tenant_id for each in await self.tenants()]
        findings: list[Finding] = []
        for each in tenants:
            for month in await self.months(each):
                findings.extend(await self.check_month(each, month))
            findings.extend(await self.check_sources(each))
        return tuple(findings)

    async def heads(self, tenant_id: UUID) -> tuple[ChainHead, ...]:
        """Return the last entry of each of a tenant's months, in order."""
        found = await self._session.fetch("SELECT * FROM dialout.ledger_heads($1)", tenant_id)
        return tuple(rows.chain_head(tenant_id, row) for row in found)

    async def check_heads(self, tenant_id: UUID, kept: Sequence[ChainHead]) -> tuple[Finding, ...]:
        """Return which of a tenant's heads, as kept from before, the entries do not have now."""
        found = await self._session.fetch(
            "SELECT * FROM dialout.ledger_check_heads($1, $2, $3, $4)",
            tenant_id,
            [head.month for head in kept],
            [head.number for head in kept],
            [head.digest for head in kept],
        )
        return tuple(rows.finding(tenant_id, row) for row in found)

    async def months_open(self, at: datetime) -> tuple[str, ...]:
        """Make the partitions of the months ahead; return the tables with rows outside any."""
        row = await self._session.fetch_one("SELECT dialout.months_open($1) AS unfiled", at)
        return tuple(row["unfiled"])

    async def proof_claim(
        self, holder: UUID, at: datetime, *, every: timedelta, lease_seconds: int
    ) -> tuple[bool, LastProof | None]:
        """Take on the check of all books if it is due; also return what the last one found.

        Whoever has taken it on says so again within ``lease_seconds``, by the same call.
        """
        row = await self._session.fetch_one(
            "SELECT * FROM dialout.proof_claim($1, $2, $3, $4)",
            *(holder, at, int(every.total_seconds()), lease_seconds),
        )
        return row["claimed"], rows.last_proof(row)

    async def proof_release(self, holder: UUID) -> None:
        """Give back a check of all books that will not be ended."""
        await self._session.fetch("SELECT dialout.proof_release($1)", holder)

    async def proof_end(self, holder: UUID, proof: LastProof) -> None:
        """Note what a check of all books has found, for all gateways to show."""
        await self._session.fetch(
            "SELECT dialout.proof_end($1, $2, $3, $4)",
            *(holder, proof.checked_at, proof.seconds, json.dumps(proof.findings)),
        )

    # Outages.

    async def outage_note(self, outage: Outage) -> None:
        """Have an outage noted; the first note of its id stands."""
        await self._session.fetch(
            "SELECT dialout.outage_note($1, $2, $3, $4, $5, $6)",
            *(outage.outage_id, outage.bridge, outage.kind),
            *(outage.began_at, outage.ended_at, outage.detail),
        )

    async def gateway_serves(
        self,
        bridge: BridgeName,
        gateway_id: UUID,
        at: datetime,
        *,
        stops: bool,
        beat_seconds: int,
    ) -> Serving:
        """Note that a gateway serves a bridge, or ``stops`` to, and learn who did before.

        It is said every ``beat_seconds``, ``at`` the instant of Asterisk's clock.
        """
        row = await self._session.fetch_one(
            "SELECT * FROM dialout.gateway_serves($1, $2, $3, $4, $5)",
            *(bridge, gateway_id, at, stops, beat_seconds),
        )
        return rows.serving(row)

    async def outages_of(self, dial_out: DialOut) -> tuple[Outage, ...]:
        """Return the outages that a call spans, oldest first: the first hundred."""
        found = await self._session.fetch(
            _OUTAGES_OF, *_key(dial_out.request.key), dial_out.requested_at
        )
        return tuple(map(rows.outage, found))


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


def _sources(sources: Sequence[Source]) -> tuple[object, ...]:
    return [source.kind for source in sources], [source.benefit_id for source in sources]


def _rate(rate: Rate | None) -> tuple[object, ...]:
    if rate is None:
        return (None,) * _RATE_COLUMNS
    return (
        rate.deck_id,
        rate.prefix,
        rate.currency,
        rate.price_micros,
        rate.connect_fee_micros,
        rate.initial_increment_seconds,
        rate.increment_seconds,
    )


def _cool_down(cool_down: CoolDown | None) -> tuple[object, ...]:
    if cool_down is None:
        return (None, None, None)
    return (cool_down.attempts, cool_down.window_seconds, cool_down.quiet_seconds)


def _record(row: rows.Row) -> DialOut | None:
    return None if row["dial_out_id"] is None else rows.dial_out(row)
