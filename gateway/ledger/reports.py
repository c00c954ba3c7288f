"""What the ledger tells of calls and funds, for reports. It only reads.

Years of calls need no more memory than a page of them, and no statement runs long: the next
page is asked for when the one before was taken.
"""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from pydantic import TypeAdapter

from gateway.core.call import Unproved
from gateway.core.causes import Disposition
from gateway.core.dial_out import BridgeName, DialOutKind
from gateway.core.e164 import NumberKind
from gateway.core.outage import Outage
from gateway.db import Pool
from gateway.ledger.report_answers import (
    BilledPart,
    GapCall,
    OrganizerRefusals,
    OrganizerUse,
    Standing,
    UsageCall,
    UsageCount,
)
from gateway.ledger.rows import Row, outage
from gateway.ledger.session import Session

CALLS_A_PAGE: Final = 500
STANDINGS_A_PAGE: Final = 1000

_BILLED = TypeAdapter(tuple[BilledPart, ...])
_STANDING = TypeAdapter(Standing)
_USE = TypeAdapter(OrganizerUse)
_REFUSALS = TypeAdapter(OrganizerRefusals)

# The first comparison repeats what the second says, in words by which the planner leaves out
# the months before.
_CALLS: Final = """
    SELECT
        dial_out_id, requested_at, conference_id, organizer_id, organizer_name, organizer_region,
        pay_per_minute, kind, initiator_id, caller_id, number_typed, destination, region,
        number_kind, answered_at, ended_at, disposition, overrun_seconds, unproved, currency, billed
    FROM dialout.usage_call
    WHERE
        tenant_id = $1
        AND requested_at >= $2
        AND ($3::uuid IS NULL OR (requested_at, dial_out_id) > ($2, $3))
        AND requested_at < $4
        AND ended_at IS NOT NULL
        AND ($5 OR answered_at IS NOT NULL)
    ORDER BY requested_at, dial_out_id
    LIMIT $6
"""
_COUNT: Final = """
    SELECT
        count(*) FILTER (WHERE ended_at IS NOT NULL AND ($4 OR answered_at IS NOT NULL)) AS ended,
        count(*) FILTER (WHERE ended_at IS NULL) AS open
    FROM dialout.usage_call
    WHERE tenant_id = $1 AND requested_at >= $2 AND requested_at < $3
"""
_STANDINGS: Final = """
    SELECT * FROM dialout.standing_list
    WHERE
        tenant_id = $1
        AND coalesce(valid_to > $2, true)
        AND coalesce(valid_from <= $3, true)
        AND ($4::uuid IS NULL OR source_id > $4)
    ORDER BY source_id
    LIMIT $5
"""
_ORGANIZERS: Final = """
    SELECT
        organizer_id,
        organizer_name,
        organizer_region,
        coalesce(region = organizer_region, false) AS is_domestic,
        count(*) FILTER (WHERE answered_at IS NOT NULL) AS calls,
        count(*) FILTER (WHERE answered_at IS NULL) AS unanswered,
        sum(billable_seconds)::bigint AS seconds,
        sum(overrun_seconds)::bigint AS unpaid_seconds,
        sum(billed_micros)::bigint AS micros
    FROM dialout.usage_call
    WHERE
        tenant_id = $1 AND requested_at >= $2 AND requested_at < $3 AND ended_at IS NOT NULL
        AND kind <> 'dial_in'
    GROUP BY 1, 2, 3, 4
"""
_OUTAGES: Final = """
    SELECT outage_id, bridge, kind, began_at, ended_at, detail FROM dialout.outage_list
    WHERE
        (ended_at >= $1) IS NOT false
        AND began_at < $2
        AND (bridge = $3) IS NOT false
        AND (
            $4::uuid IS NULL
            OR (began_at, outage_id) < (
                SELECT o.began_at, o.outage_id FROM dialout.outage_list AS o WHERE o.outage_id = $4
            )
        )
    ORDER BY began_at DESC, outage_id DESC
    LIMIT $5
"""
_GAP_CALLS: Final = "SELECT * FROM dialout.gap_calls($1, $2, $3, $4, $5, $6)"
_BOUNDS: Final = """
    SELECT min(requested_at) AS first, max(requested_at) AS last
    FROM (
        SELECT requested_at FROM dialout.usage_call WHERE tenant_id = $1
        UNION ALL
        SELECT requested_at FROM dialout.usage_refusal WHERE tenant_id = $1
    ) AS t
    WHERE requested_at >= $2 AND requested_at < $3
"""
_REFUSED: Final = """
    SELECT organizer_id, organizer_name, organizer_region, reason, count(*) AS calls
    FROM dialout.usage_refusal
    WHERE
        tenant_id = $1 AND requested_at >= $2 AND requested_at < $3 AND kind <> 'dial_in'
    GROUP BY 1, 2, 3, 4
"""


class Reports:
    """The reading of one pool of connections.

    No statement waits longer than ``call_seconds_max`` for an answer. Raises
    ``LedgerUnavailable`` for whatever may pass.
    """

    def __init__(self, pool: Pool, *, call_seconds_max: float = 10.0) -> None:
        self._session = Session(pool, call_seconds_max)

    async def kept_from(self, tenant_id: UUID) -> datetime | None:
        """Return from when on all calls are there; None: nothing was ever taken out."""
        found = await self._session.fetch(
            "SELECT kept_from FROM dialout.usage_kept WHERE tenant_id = $1", tenant_id
        )
        return found[0]["kept_from"] if found else None

    async def usage(
        self, tenant_id: UUID, since: datetime, until: datetime, *, unanswered: bool = False
    ) -> AsyncIterator[UsageCall]:
        """Yield the calls that were asked for in ``since <= t < until``, oldest first.

        Only those that have ended: what another one costs is not known. ``unanswered`` has
        those that nobody answered among them.
        """
        after: tuple[datetime, UUID | None] = (since, None)
        while True:
            page = await self._session.fetch(
                _CALLS, tenant_id, *after, until, unanswered, CALLS_A_PAGE
            )
            for row in page:
                yield _usage_call(row)
            if len(page) < CALLS_A_PAGE:
                return
            after = (page[-1]["requested_at"], page[-1]["dial_out_id"])

    async def usage_count(
        self, tenant_id: UUID, since: datetime, until: datetime, *, unanswered: bool = False
    ) -> UsageCount:
        """Return how many calls ``usage`` yields, and how many it lacks."""
        row = await self._session.fetch_one(_COUNT, tenant_id, since, until, unanswered)
        return UsageCount(ended=row["ended"], open=row["open"])

    async def standings(
        self, tenant_id: UUID, since: datetime, until: datetime
    ) -> AsyncIterator[Standing]:
        """Yield the sources that may pay at some instant of ``since <= t <= until``."""
        after: UUID | None = None
        while True:
            page = await self._session.fetch(
                _STANDINGS, tenant_id, since, until, after, STANDINGS_A_PAGE
            )
            for row in page:
                yield _STANDING.validate_python(dict(row))
            if len(page) < STANDINGS_A_PAGE:
                return
            after = page[-1]["source_id"]

    async def outages(
        self,
        since: datetime | None,
        until: datetime,
        *,
        bridge: BridgeName | None,
        before: UUID | None,
        limit: int,
    ) -> tuple[Outage, ...]:
        """Return the outages of ``since <= t < until``, in whole or in part, newest first.

        Of one bridge or of all; those that are older than the one of the id ``before``.
        """
        found = await self._session.fetch(_OUTAGES, since, until, bridge, before, limit)
        return tuple(map(outage, found))

    async def gap_calls(self, outage_id: UUID, tenant_id: UUID | None) -> AsyncIterator[GapCall]:
        """Yield the calls that span an outage, oldest first: a tenant's, or all."""
        after: tuple[datetime | None, UUID | None, UUID | None] = (None, None, None)
        while True:
            page = await self._session.fetch(_GAP_CALLS, outage_id, tenant_id, *after, CALLS_A_PAGE)
            for row in page:
                yield _gap_call(row)
            if len(page) < CALLS_A_PAGE:
                return
            after = (page[-1]["requested_at"], page[-1]["tenant_id"], page[-1]["dial_out_id"])

    async def organizers(
        self, tenant_id: UUID, since: datetime, until: datetime
    ) -> AsyncIterator[OrganizerUse | OrganizerRefusals]:
        """Yield what each organizer's calls out came to, in no order and month by month.

        An organizer is named once a month, scope and reason; the months are those of the
        partitions, so that each statement reads one of them.
        """
        bounds = await self._session.fetch_one(_BOUNDS, tenant_id, since, until)
        if bounds["first"] is None:
            return
        for month in _months(bounds["first"], bounds["last"]):
            start, end = max(since, month), min(until, _month_after(month))
            for row in await self._session.fetch(_ORGANIZERS, tenant_id, start, end):
                yield _USE.validate_python(dict(row))
            for row in await self._session.fetch(_REFUSED, tenant_id, start, end):
                yield _REFUSALS.validate_python(dict(row))


def _months(first: datetime, last: datetime) -> Iterator[datetime]:
    """Yield the beginning of each month of UTC from that of ``first`` to that of ``last``."""
    month = first.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while month <= last:
        yield month
        month = _month_after(month)


def _month_after(month: datetime) -> datetime:
    return (month + timedelta(days=31)).replace(day=1)


def _gap_call(row: Row) -> GapCall:
    return GapCall(
        tenant_id=row["tenant_id"],
        dial_out_id=row["dial_out_id"],
        requested_at=row["requested_at"],
        calls_in=row["kind"] == DialOutKind.DIAL_IN,
        destination=row["destination"],
        answered_at=row["answered_at"],
        ended_at=row["ended_at"],
        evidence=row["evidence"],
        least_seconds=row["least_seconds"],
        most_seconds=row["most_seconds"],
        unproved=None if row["unproved"] is None else Unproved(row["unproved"]),
        billed_seconds=row["billed_seconds"],
        billed_micros=row["billed_micros"],
        otherwise_seconds=row["otherwise_seconds"],
        otherwise_micros=row["otherwise_micros"],
        currency=row["currency"],
    )


def _usage_call(row: Row) -> UsageCall:
    return UsageCall(
        dial_out_id=row["dial_out_id"],
        requested_at=row["requested_at"],
        conference_id=row["conference_id"],
        organizer_id=row["organizer_id"],
        organizer_name=row["organizer_name"],
        organizer_region=row["organizer_region"],
        is_pay_per_minute=row["pay_per_minute"],
        calls_in=row["kind"] == DialOutKind.DIAL_IN,
        initiator_id=row["initiator_id"],
        caller_id=row["caller_id"],
        number_typed=row["number_typed"],
        destination=row["destination"],
        region=row["region"],
        number_kind=NumberKind(row["number_kind"]),
        answered_at=row["answered_at"],
        ended_at=row["ended_at"],
        disposition=Disposition(row["disposition"]),
        overrun_seconds=row["overrun_seconds"],
        unproved=None if row["unproved"] is None else Unproved(row["unproved"]),
        currency=row["currency"],
        billed=_BILLED.validate_json(row["billed"]),
    )
