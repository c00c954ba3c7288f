"""``dialout credits``: funds that tenants bought."""

from typing import Annotated
from uuid import UUID, uuid4

import typer

from gateway.cli.provisioning import (
    BecauseOption,
    ByOption,
    SheetArgument,
    WhoseOption,
    author,
    filled,
    listed,
    load,
    put,
    show,
)
from gateway.cli.terminal import JsonOption
from gateway.provisioning.forms import CreditsForm

credits_cli = typer.Typer(help="Add funds that tenants bought.", no_args_is_help=True)


@credits_cli.command("add")
def add_credits(
    amount: Annotated[
        str, typer.Argument(help="Units of the tenant's currency, like 50 or 12.5; exact to 1e-6.")
    ],
    tenant: WhoseOption,
    grant_id: Annotated[
        UUID | None,
        typer.Option("--id", help="The payment's id, so that a retry adds nothing. Default: new."),
    ] = None,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add funds to a tenant's credits. The first addition sets credits up."""
    form = filled(CreditsForm, grant_id=grant_id or uuid4(), amount=amount)
    put(tenant, form, author(by, because), as_json=as_json)


@credits_cli.command("list")
def list_credits(tenant: WhoseOption, as_json: JsonOption = False) -> None:
    """List the funds that a tenant bought, oldest first, in millionths of the currency's unit."""
    grants = listed(
        tenant, lambda provisioning, whose: provisioning.credits(whose), as_json=as_json
    )
    show(grants, ("grant_id", "micros", "currency", "at"), as_json=as_json)


@credits_cli.command("import")
def import_credits(
    file: SheetArgument,
    tenant: WhoseOption,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add funds. Columns: grant_id, amount."""
    load(tenant, file, CreditsForm, author(by, because), as_json=as_json)
