"""What others must hear of, over HTTP, beside the rest of provisioning: events and recharges."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.admin import ADMIN_FAULTS, ADMIN_PREFIX, By, Desk, Done, Limit, Page, page
from gateway.api.faults import Fault, Refused
from gateway.ledger import AutoRecharge, DeliveryState, Event, Provisioning, Recharge
from gateway.provisioning.forms import Reason, RechargeFailureForm, RechargeForm

_NUMBER_MAX = 2**63 - 1

After = Annotated[int, Query(ge=0, le=_NUMBER_MAX, description="The last number that was read.")]
States = Annotated[
    list[DeliveryState] | None, Query(alias="state", description="Only these. Default: all.")
]


class Failure(BaseModel):
    """Why funds could not be taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: Reason = Field(description="Stands in the event and in the audit.")


def notices(provisioning: Provisioning) -> APIRouter:
    """Return the routes of events and recharges."""
    router = APIRouter(prefix=ADMIN_PREFIX, tags=["admin"], responses=ADMIN_FAULTS)
    desk = Desk(provisioning)
    for routes in (_recharges, _events):
        routes(router, desk, provisioning)
    return router


def _recharges(router: APIRouter, desk: Desk, provisioning: Provisioning) -> None:
    @router.put("/tenants/{tenant_id}/auto-recharge", responses={201: {"model": Done}})
    async def put_auto_recharge(
        tenant_id: UUID, body: RechargeForm, author: By, response: Response
    ) -> Done:
        """Have a tenant's credits recharged whenever they fall below the trigger."""
        return await desk.put(tenant_id, body, author, response)

    @router.delete("/tenants/{tenant_id}/auto-recharge")
    async def remove_auto_recharge(tenant_id: UUID, author: By, response: Response) -> Done:
        """Have them recharged no more. What was asked for already may still be answered."""
        return await desk.change(author, response, lambda change: change.recharge_remove(tenant_id))

    @router.get("/tenants/{tenant_id}/auto-recharge")
    async def show_auto_recharge(tenant_id: UUID) -> AutoRecharge:
        """Return how a tenant's credits are recharged. Micros: millionths of a unit."""
        await desk.known(tenant_id)
        found = await provisioning.auto_recharge(tenant_id)
        if found is None:
            message = "The tenant's credits are not recharged by themselves."
            raise Refused(404, Fault(reason="absent", message=message))
        return found

    @router.get("/tenants/{tenant_id}/recharges")
    async def list_recharges(
        tenant_id: UUID, after: UUID | None = None, limit: Limit = 100
    ) -> Page[Recharge]:
        """List what was asked of the payment system, newest first.

        It answers by adding credits whose `grant_id` is the `recharge_id`, or says that it failed.
        """
        await desk.known(tenant_id)
        found = await provisioning.recharges(tenant_id, before=after, limit=limit)
        return page(found, limit, lambda each: each.recharge_id)

    @router.post("/tenants/{tenant_id}/recharges/{recharge_id}/failed")
    async def fail_recharge(
        tenant_id: UUID, recharge_id: UUID, body: Failure, author: By, response: Response
    ) -> Done:
        """Say that the funds could not be taken. They are asked for again after the backoff."""
        form = RechargeFailureForm(recharge_id=recharge_id, reason=body.reason)
        return await desk.put(tenant_id, form, author, response)


def _events(router: APIRouter, desk: Desk, provisioning: Provisioning) -> None:
    @router.get("/events")
    async def list_events(
        after: After = 0, limit: Limit = 100, states: States = None
    ) -> Page[Event]:
        """List events by number. No later one ever gets a number that was passed already."""
        found = await provisioning.events(states=states, after=after, limit=limit)
        return page(found, limit, lambda each: each.number)

    @router.get("/tenants/{tenant_id}/events")
    async def list_events_of_tenant(
        tenant_id: UUID, after: After = 0, limit: Limit = 100, states: States = None
    ) -> Page[Event]:
        """List a tenant's events by number."""
        await desk.known(tenant_id)
        found = await provisioning.events(
            tenant_id=tenant_id, states=states, after=after, limit=limit
        )
        return page(found, limit, lambda each: each.number)

    @router.post("/events/{event_id}/retry")
    async def retry_event(event_id: UUID, author: By, response: Response) -> Done:
        """Have an event delivered at once that waits for its next attempt."""
        now = datetime.now(UTC)
        return await desk.change(
            author, response, lambda change: change.outbox_retry(event_id, now)
        )
