"""``dialout outbox``: what others must hear of, and how far each event has come."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import typer

from gateway.cli.provisioning import (
    AnyoneOption,
    BecauseOption,
    ByOption,
    LimitOption,
    author,
    change_for_all,
    listed,
    run,
    show,
    tell_of_more,
)
from gateway.cli.terminal import JsonOption, fail
from gateway.ledger import Change, DeliveryState, Event, Provisioning

outbox_cli = typer.Typer(help="Look at events and their delivery.", no_args_is_help=True)


@outbox_cli.command("list")
def list_events(
    tenant: AnyoneOption = None,
    state: Annotated[
        list[DeliveryState] | None,
        typer.Option(help="Only in this state; may be repeated. Default: all."),
    ] = None,
    after: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Only what comes after this number.")
    ] = 0,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """List events in the order of their numbers, of one tenant or of all of them."""
    events = _events(tenant, state or None, after, limit, as_json=as_json)
    show(events, ("number", "at", "kind", "state", "fault", "event_id"), as_json=as_json)
    tell_of_more(events, limit, lambda each: each.number)


@outbox_cli.command("retry")
def retry_event(
    event_id: Annotated[UUID | None, typer.Argument(help="Which one.", show_default=False)] = None,
    every: Annotated[bool, typer.Option("--all", help="All that were not delivered yet.")] = False,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have an event delivered at once that waits for its next attempt."""
    if (event_id is None) is not every:
        fail("Say which event, or --all.")
    now = datetime.now(UTC)

    async def retried(change: Change) -> StrEnum:
        return await change.outbox_retry(event_id, now)

    change_for_all(author(by, because), retried, as_json=as_json)


def _events(
    tenant: str | None,
    states: list[DeliveryState] | None,
    after: int,
    limit: int,
    *,
    as_json: bool,
) -> tuple[Event, ...]:
    async def of_all(provisioning: Provisioning) -> tuple[Event, ...]:
        return await provisioning.events(states=states, after=after, limit=limit)

    if tenant is None:
        return run(of_all)
    return listed(
        tenant,
        lambda provisioning, whose: provisioning.events(
            tenant_id=whose, states=states, after=after, limit=limit
        ),
        as_json=as_json,
    )
