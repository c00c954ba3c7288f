"""``dialout credits``: funds that tenants bought."""

from typing import Annotated
from uuid import UUID, uuid4

import typer

from gateway.cli.provisioning import (
    BecauseOption,
    ByOption,
    LimitOption,
    SheetArgument,
    WhoseOption,
    author,
    change,
    filled,
    listed,
    load,
    put,
    refuse,
    show,
    tell_of_more,
)
from gateway.cli.terminal import JsonOption, fail
from gateway.ledger import AutoRecharge, Provisioning
from gateway.provisioning.forms import CreditsForm, RechargeFailureForm, RechargeForm

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


@credits_cli.command("recharge")
def recharge_credits(
    tenant: WhoseOption,
    amount: Annotated[
        str | None, typer.Option(help="By how much, in units of the tenant's currency.")
    ] = None,
    trigger: Annotated[
        str | None, typer.Option(help="Whenever the balance is below this, in the same units.")
    ] = None,
    backoff_seconds: Annotated[
        int, typer.Option(help="How long nothing is asked for after a failure.")
    ] = 3600,
    off: Annotated[bool, typer.Option("--off", help="Recharge them no more.")] = False,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have credits recharged by themselves, or no more; without options, show how they are."""
    if off and (amount is not None or trigger is not None):
        fail("--off takes no --amount and no --trigger.")
    if off:
        who = author(by, because)
        change(tenant, who, lambda step, whose: step.recharge_remove(whose), as_json=as_json)
    elif amount is None and trigger is None:
        _show_recharge(tenant, as_json=as_json)
    elif amount is None or trigger is None:
        fail("Say both --amount and --trigger.")
    else:
        form = filled(RechargeForm, amount=amount, trigger=trigger, backoff_seconds=backoff_seconds)
        put(tenant, form, author(by, because), as_json=as_json)


@credits_cli.command("recharges")
def list_recharges(
    tenant: WhoseOption,
    after: Annotated[
        UUID | None, typer.Option(help="Only what is older than the recharge of this id.")
    ] = None,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """List what was asked of the payment system, newest first, and what it answered."""
    recharges = listed(
        tenant,
        lambda provisioning, whose: provisioning.recharges(whose, before=after, limit=limit),
        as_json=as_json,
    )
    columns = ("recharge_id", "amount_micros", "currency", "requested_at", "state", "because")
    show(recharges, columns, as_json=as_json)
    tell_of_more(recharges, limit, lambda each: each.recharge_id)


@credits_cli.command("recharge-failed")
def fail_recharge(
    recharge_id: Annotated[UUID, typer.Argument(help="Which recharge.", show_default=False)],
    tenant: WhoseOption,
    reason: Annotated[str, typer.Option(help="What the payment system said.")],
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that funds could not be taken. They are asked for again after the backoff."""
    form = filled(RechargeFailureForm, recharge_id=recharge_id, reason=reason)
    put(tenant, form, author(by, because), as_json=as_json)


def _show_recharge(tenant: str, *, as_json: bool) -> None:
    async def found(provisioning: Provisioning, tenant_id: UUID) -> tuple[AutoRecharge, ...]:
        recharge = await provisioning.auto_recharge(tenant_id)
        return (recharge or refuse("absent", as_json=as_json),)

    columns = ("amount_micros", "trigger_micros", "currency", "backoff_seconds")
    show(listed(tenant, found, as_json=as_json), columns, as_json=as_json)
