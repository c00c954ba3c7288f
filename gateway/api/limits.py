"""Limits and blocked organizers over HTTP, beside the rest of provisioning and as it is."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict

from gateway.api.admin import ADMIN_FAULTS, ADMIN_PREFIX, By, Desk, Done, Limit, Page, page
from gateway.api.faults import Fault, Refused
from gateway.core.facts import OrganizerId
from gateway.core.limits import LimitKind, LimitScope
from gateway.ledger import Block, LimitKey, LimitSet, Provisioning
from gateway.provisioning.forms import PersonId, Reason
from gateway.provisioning.limit_forms import BlockForm, LimitForm, UnblockForm
from gateway.provisioning.pages import limit_key, limit_mark

Subject = Annotated[
    str,
    Query(max_length=128, description="The organizer or meeting; empty: the default of all."),
]


class Because(BaseModel):
    """Why an organizer is blocked, or is not any more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    because: Reason


def limits(provisioning: Provisioning) -> APIRouter:
    """Return the routes of limits and blocks."""
    router = APIRouter(prefix=ADMIN_PREFIX, tags=["admin"], responses=ADMIN_FAULTS)
    desk = Desk(provisioning)
    for routes in (_limits, _blocks):
        routes(router, desk, provisioning)
    return router


def _limits(router: APIRouter, desk: Desk, provisioning: Provisioning) -> None:
    @router.put("/tenants/{tenant_id}/limits", responses={201: {"model": Done}})
    async def put_limit(tenant_id: UUID, body: LimitForm, author: By, response: Response) -> Done:
        """Set one limit: `most` is a number, minutes or money, by its kind, or "none"."""
        return await desk.put(tenant_id, body, author, response)

    @router.delete("/tenants/{tenant_id}/limits/{scope}/{kind}")
    async def remove_limit(
        tenant_id: UUID,
        scope: LimitScope,
        kind: LimitKind,
        author: By,
        response: Response,
        subject: Subject = "",
    ) -> Done:
        """Take a limit away; what somebody had of his own is the default again."""
        key = LimitKey(scope=scope, subject=subject, kind=kind)
        return await desk.change(
            author, response, lambda change: change.limit_remove(tenant_id, key)
        )

    @router.get("/tenants/{tenant_id}/limits")
    async def list_limits(
        tenant_id: UUID,
        after: Annotated[str | None, Query(max_length=256)] = None,
        limit: Limit = 100,
    ) -> Page[LimitSet]:
        """List every limit that is set, in calls, callees, seconds or micros."""
        await desk.known(tenant_id)
        start = None if after is None else _key(after)
        found = await provisioning.limits(tenant_id, after=start, limit=limit)
        return page(found, limit, limit_mark)


def _blocks(router: APIRouter, desk: Desk, provisioning: Provisioning) -> None:
    @router.post("/tenants/{tenant_id}/organizers/{organizer_id}/block", status_code=201)
    async def block_organizer(
        tenant_id: UUID, organizer_id: PersonId, body: Because, author: By, response: Response
    ) -> Done:
        """Refuse every call out of an organizer's meetings until somebody lifts that."""
        form = BlockForm(organizer_id=organizer_id, because=body.because)
        return await desk.put(tenant_id, form, author, response)

    @router.post("/tenants/{tenant_id}/organizers/{organizer_id}/unblock")
    async def unblock_organizer(
        tenant_id: UUID, organizer_id: PersonId, body: Because, author: By, response: Response
    ) -> Done:
        """Lift the block of an organizer, whoever or whatever has set it."""
        form = UnblockForm(organizer_id=organizer_id, because=body.because)
        return await desk.put(tenant_id, form, author, response)

    @router.get("/tenants/{tenant_id}/blocks")
    async def list_blocks(
        tenant_id: UUID,
        organizer_id: PersonId | None = None,
        after: UUID | None = None,
        limit: Limit = 100,
    ) -> Page[Block]:
        """List who is blocked and who was, newest first."""
        await desk.known(tenant_id)
        whom = None if organizer_id is None else OrganizerId(organizer_id)
        found = await provisioning.blocks(tenant_id, organizer_id=whom, before=after, limit=limit)
        return page(found, limit, lambda each: each.block_id)


def _key(mark: str) -> LimitKey:
    try:
        return limit_key(mark)
    except ValueError as error:
        message = "Send `after` as the page before gave it."
        raise Refused(422, Fault(reason="invalid_after", message=message)) from error
