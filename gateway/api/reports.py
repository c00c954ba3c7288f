"""Reports over HTTP, behind the token of provisioning: usage, funds and organizers.

CSV or JSON, as ``Accept`` prefers. Both are streamed, however long they are, and hold no
connection of the database while the client reads. What breaks off half way is noticed: the
transfer does not end as it should, and the JSON is no JSON.
"""

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from gateway.api.faults import Fault, Refused
from gateway.ledger import Provisioning, Reports, Tenant
from gateway.provisioning.outcomes import OUTCOME_TEXTS
from gateway.reports import funds, organizers, usage
from gateway.reports.cells import Cells, csv_text, in_chunks, json_text
from gateway.reports.funds import fund_rows
from gateway.reports.organizers import organizer_rows
from gateway.reports.period import Period, PeriodFault, of_kept_calls, period
from gateway.reports.usage import usage_rows


class Media(StrEnum):
    """What a report can be written as; the first one where the client does not mind."""

    JSON = "application/json"
    CSV = "text/csv"


REPORT_FAULTS: Final[dict[int | str, dict[str, object]]] = {
    200: {"content": {media: {} for media in Media}, "description": "The report, streamed."},
    401: {"model": Fault, "description": "The token is absent or wrong."},
    404: {"model": Fault, "description": "There is no such tenant."},
    406: {"model": Fault, "description": "It is written neither as that nor as that."},
    422: {"model": Fault, "description": "The period cannot be reported on."},
    503: {"model": Fault, "description": "The ledger is away; try again."},
}

Since = Annotated[
    str, Query(alias="from", max_length=64, description="ISO 8601, else the tenant's own time.")
]
Until = Annotated[
    str | None, Query(alias="to", max_length=64, description="Until before when. Default: now.")
]
Accept = Annotated[str, Header()]


def report_routes(provisioning: Provisioning, reports: Reports) -> APIRouter:
    """Return the routes of the reports."""
    router = APIRouter(
        prefix="/v1/admin/tenants/{tenant_id}/reports",
        tags=["reports"],
        responses=REPORT_FAULTS,
        default_response_class=StreamingResponse,
    )

    @router.get("/usage")
    async def report_usage(
        tenant_id: UUID,
        since: Since,
        until: Until = None,
        unanswered: Annotated[
            bool, Query(alias="all", description="Calls that nobody answered, too.")
        ] = False,
        accept: Accept = "",
    ) -> StreamingResponse:
        """Export the calls that were asked for in a period and have ended: a row a funding part."""
        media = preferred(accept)
        tenant = await _known(provisioning, tenant_id)
        wanted = await _period_of_calls(reports, since, until, tenant)
        calls = reports.usage(tenant_id, wanted.since, wanted.until, unanswered=unanswered)
        cells = (row.cells() async for call in calls for row in usage_rows(call))
        return await streamed(media, usage.COLUMNS, cells)

    @router.get("/pool")
    async def report_pool(
        tenant_id: UUID,
        since: Annotated[
            str | None,
            Query(alias="from", max_length=64, description="Default: what can pay now."),
        ] = None,
        until: Until = None,
        accept: Accept = "",
    ) -> StreamingResponse:
        """Return what each source was granted, and what became of it, in seconds or micros."""
        media, now = preferred(accept), datetime.now(UTC)
        if since is None and until is not None:
            raise Refused(422, Fault(reason="invalid_period", message="`to` needs `from`."))
        tenant = await _known(provisioning, tenant_id)
        start, end = now, now
        if since is not None:
            wanted = _period(since, until, tenant)
            start, end = wanted.since, wanted.last
        rows = fund_rows(reports.standings(tenant_id, start, end), now)
        return await streamed(media, funds.COLUMNS, (row.cells() async for row in rows))

    @router.get("/organizers")
    async def report_organizers(
        tenant_id: UUID, since: Since, until: Until = None, accept: Accept = ""
    ) -> StreamingResponse:
        """Return what each organizer's calls came to, and how many were refused and why."""
        media = preferred(accept)
        tenant = await _known(provisioning, tenant_id)
        wanted = await _period_of_calls(reports, since, until, tenant)
        found = reports.organizers(tenant_id, wanted.since, wanted.until)
        rows = await organizer_rows(found, tenant.currency)
        return await streamed(media, organizers.COLUMNS, _each([row.cells() for row in rows]))

    return router


def preferred(accept: str) -> Media:
    """Return what an ``Accept`` header likes best; nothing said is anything.

    Raises ``Refused`` if it takes neither.
    """
    weights = dict(map(_weighed, accept.lower().split(","))) if accept.strip() else {"*/*": 1.0}
    liked = {media: _weight(weights, media) for media in Media}
    best = max(Media, key=lambda media: liked[media])
    if liked[best] == 0:
        message = f"A report is {' or '.join(Media)}."
        raise Refused(406, Fault(reason="not_acceptable", message=message))
    return best


def _weighed(said: str) -> tuple[str, float]:
    """Return a range of media, and how much it is liked: not at all, if nobody can read that."""
    name, *parameters = (part.strip() for part in said.split(";"))
    weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
    try:
        return name, float(weight)
    except ValueError:
        return name, 0.0


def _weight(weights: dict[str, float], media: Media) -> float:
    """Return how much a medium is liked, by the narrowest range that has it."""
    ranges = (media, f"{media.split('/')[0]}/*", "*/*")
    return next((weights[each] for each in ranges if each in weights), 0.0)


async def _known(provisioning: Provisioning, tenant_id: UUID) -> Tenant:
    tenant = await provisioning.tenant(tenant_id)
    if tenant is None:
        message = OUTCOME_TEXTS["unknown_tenant"].message
        raise Refused(404, Fault(reason="unknown_tenant", message=message))
    return tenant


def _period(since: str, until: str | None, tenant: Tenant) -> Period:
    try:
        return period(since, until, time_zone=tenant.time_zone, now=datetime.now(UTC))
    except PeriodFault as fault:
        raise _invalid(fault) from fault


async def _period_of_calls(
    reports: Reports, since: str, until: str | None, tenant: Tenant
) -> Period:
    wanted = _period(since, until, tenant)
    try:
        return of_kept_calls(wanted, await reports.kept_from(tenant.tenant_id))
    except PeriodFault as fault:
        raise _invalid(fault) from fault


def _invalid(fault: PeriodFault) -> Refused:
    return Refused(422, Fault(reason="invalid_period", message=str(fault)))


async def streamed(
    media: Media, columns: Sequence[str], cells: AsyncIterable[Cells]
) -> StreamingResponse:
    """Answer with rows as they come. Raises what the first of them raises, before any answer."""
    pieces = json_text(cells) if media is Media.JSON else csv_text(columns, cells)
    chunks = in_chunks(pieces)
    # The first one is read before the status is told: a ledger that is away is a 503 then.
    first = await anext(chunks)
    return StreamingResponse(
        _from_first(first, chunks), media_type=media, headers={"Vary": "Accept"}
    )


async def _from_first(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


async def _each(rows: Sequence[Cells]) -> AsyncIterator[Cells]:
    for row in rows:
        yield row
