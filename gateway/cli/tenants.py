"""``dialout tenant``: who the tenants are, whether they may call, and what prices their calls."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID, uuid4

import typer

from gateway.cli.provisioning import (
    BecauseOption,
    ByOption,
    LimitOption,
    answer,
    author,
    filled,
    run,
    show,
    tell_of_more,
    tenant_named,
)
from gateway.cli.terminal import JsonOption, fail
from gateway.ledger import Provisioning, Tenant, TenantUpdateOutcome
from gateway.provisioning.forms import TenantForm
from gateway.provisioning.revisions import TenantRevision, revise_tenant

COLUMNS = (
    "tenant_id",
    "name",
    "suspended",
    "time_zone",
    "anchor_day",
    "currency",
    "rate_deck",
    "inbound_deck",
)

InboundDeckOption = Annotated[
    str | None,
    typer.Option(help="The rate deck that prices those who call its service numbers, by name."),
]

NameArgument = Annotated[str, typer.Argument(metavar="TENANT", help="Its id, or its unique name.")]

tenant_cli = typer.Typer(help="Make tenants known, suspend them, price them.", no_args_is_help=True)


@tenant_cli.command("create")
def create_tenant(
    name: Annotated[str, typer.Argument(help="What people call it; 1 to 256 characters.")],
    time_zone: Annotated[
        str, typer.Option(help="Where its months begin, like Europe/London. Never changes.")
    ],
    currency: Annotated[
        str, typer.Option(help="What its credits are in, like USD. Never changes.")
    ],
    deck: Annotated[
        str | None, typer.Option(help="The rate deck that prices its calls, by name.")
    ] = None,
    inbound_deck: InboundDeckOption = None,
    anchor_day: Annotated[
        int,
        typer.Option(help="On which day its months begin, 1 to 31. Never changes.", min=1, max=31),
    ] = 1,
    tenant_id: Annotated[
        UUID | None,
        typer.Option("--id", help="Its id, so that a retry makes no second one. Default: new."),
    ] = None,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a tenant known, with the default of every choice. Prints its id."""
    form = filled(
        TenantForm,
        name=name,
        time_zone=time_zone,
        anchor_day=anchor_day,
        currency=currency,
        rate_deck=deck,
        inbound_deck=inbound_deck,
    )
    who, new_id, now = author(by, because), tenant_id or uuid4(), datetime.now(UTC)

    async def create(provisioning: Provisioning) -> str:
        async with provisioning.change(actor=who.actor, because=who.because) as change:
            return await form.put(change, new_id, now)

    answer(run(create), as_json=as_json, tenant_id=str(new_id))


@tenant_cli.command("change")
def change_tenant(
    tenant: NameArgument,
    suspend: Annotated[
        bool | None,
        typer.Option("--suspend/--resume", help="Refuse all its calls, or lift that again."),
    ] = None,
    deck: Annotated[
        str | None, typer.Option(help="The rate deck that prices calls from now on, by name.")
    ] = None,
    inbound_deck: InboundDeckOption = None,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a tenant. What is not named stays; calls that are reserved keep their terms."""
    if suspend is None and deck is None and inbound_deck is None:
        fail("What is to change? Say --suspend, --resume, --deck NAME or --inbound-deck NAME.")
    revision = filled(TenantRevision, suspended=suspend, rate_deck=deck, inbound_deck=inbound_deck)
    who = author(by, because)

    async def change(provisioning: Provisioning) -> TenantUpdateOutcome:
        whose = await tenant_named(provisioning, tenant, as_json=as_json)
        return await revise_tenant(provisioning, who, whose.tenant_id, revision)

    answer(run(change), as_json=as_json)


@tenant_cli.command("list")
def list_tenants(
    after: Annotated[UUID | None, typer.Option(help="Only ids after this one.")] = None,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """List the tenants, in the order of their ids."""

    async def found(provisioning: Provisioning) -> tuple[Tenant, ...]:
        return await provisioning.tenants(after=after, limit=limit)

    tenants = run(found)
    show(tenants, COLUMNS, as_json=as_json)
    tell_of_more(tenants, limit, lambda each: each.tenant_id)


@tenant_cli.command("show")
def show_tenant(tenant: NameArgument, as_json: JsonOption = False) -> None:
    """Print one tenant."""

    async def found(provisioning: Provisioning) -> Tenant:
        return await tenant_named(provisioning, tenant, as_json=as_json)

    show((run(found),), COLUMNS, as_json=as_json)
