"""Outages and the calls that span them, over HTTP, behind the token of provisioning."""

from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from gateway.api.admin import ADMIN_PREFIX, Limit
from gateway.api.reports import REPORT_FAULTS, Accept, preferred, streamed
from gateway.core.dial_out import BridgeName
from gateway.ledger import Reports
from gateway.provisioning.forms import Instant
from gateway.reports.gaps import COLUMNS, gap_rows
from gateway.settings import BridgeKey

_GAP_FAULTS: Final = {status: fault for status, fault in REPORT_FAULTS.items() if status != 404}


def gap_routes(reports: Reports) -> APIRouter:
    """Return the route of outages."""
    router = APIRouter(
        prefix=ADMIN_PREFIX,
        tags=["reports"],
        responses=_GAP_FAULTS,
        default_response_class=StreamingResponse,
    )

    @router.get("/gaps")
    async def list_gaps(
        since: Annotated[
            Instant | None, Query(alias="from", description="What ended then or later.")
        ] = None,
        until: Annotated[
            Instant | None, Query(alias="to", description="What began before. Default: now.")
        ] = None,
        bridge: BridgeKey | None = None,
        tenant_id: UUID | None = None,
        after: Annotated[
            UUID | None, Query(description="Only outages older than the one of this id.")
        ] = None,
        limit: Limit = 100,
        accept: Accept = "",
    ) -> StreamingResponse:
        """List outages, newest first: a row for each and each call that spans it."""
        media = preferred(accept)
        outages = await reports.outages(
            since,
            until or datetime.now(UTC),
            bridge=None if bridge is None else BridgeName(bridge),
            before=after,
            limit=limit,
        )
        cells = (row.cells() async for row in gap_rows(reports, outages, tenant_id))
        return await streamed(media, COLUMNS, cells)

    return router
