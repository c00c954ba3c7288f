"""``dialout policy``: what tenants chose where the rules leave it open."""

import json
import tomllib
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from pydantic import JsonValue, TypeAdapter

from gateway.cli.provisioning import (
    BecauseOption,
    ByOption,
    LimitOption,
    WhoseOption,
    answer,
    author,
    run,
    tell_of_more,
    tenant_named,
)
from gateway.cli.terminal import JsonOption, console, fail, new_table, printable
from gateway.core.choices import (
    ChoiceFaults,
    Choices,
    Confirmation,
    Exhaustion,
    MeetingPermission,
    Opening,
    PoolBasis,
    Stance,
    read_choices,
)
from gateway.ledger import PolicyOutcome, Provisioning, Tenant
from gateway.provisioning.revisions import revise_policy

policy_cli = typer.Typer(help="Look at what tenants chose, and change it.", no_args_is_help=True)

_CHOICES = TypeAdapter(Choices)


@policy_cli.command("show")
def show_policy(tenant: WhoseOption, as_json: JsonOption = False) -> None:
    """Print all choices of a tenant. docs/entitlement.md says what each does."""

    async def found(provisioning: Provisioning) -> Choices:
        whose = await tenant_named(provisioning, tenant, as_json=as_json)
        return await _choices(provisioning, whose.tenant_id)

    choices = _plain(run(found))
    if as_json:
        typer.echo(json.dumps(choices))
        return
    table = new_table("choice", "value")
    for name, value in choices.items():
        table.add_row(name, _shown(value))
    console().print(table)


@policy_cli.command("set")
def set_policy(
    tenant: WhoseOption,
    file: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file of choices, as `policy show` names them; an option beside it wins.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    addon_regions: Annotated[
        str | None,
        typer.Option(help="Where extended_dialout_us_ca is good, like US,CA; ISO 3166-1."),
    ] = None,
    addon_fair_use_minutes: Annotated[
        int | None, typer.Option(help="Minutes of it for one organizer and month, 1 to 44640.")
    ] = None,
    pool_basis: Annotated[
        PoolBasis | None, typer.Option(help="Which licences bring minutes into the pool.")
    ] = None,
    ppm_needs_credits_licence: Annotated[
        bool | None,
        typer.Option(help="Whether audio_conferencing_ppm needs communications_credits, too."),
    ] = None,
    premium: Annotated[
        Opening | None, typer.Option(help="Premium, shared cost, personal and satellite numbers.")
    ] = None,
    toll_free: Annotated[Stance | None, typer.Option(help="Toll-free numbers.")] = None,
    unallocated: Annotated[
        Opening | None, typer.Option(help="Numbers in no range that is given out.")
    ] = None,
    high_risk_prefixes: Annotated[
        Stance | None, typer.Option(help="Prefixes of the shipped list of high-risk ones.")
    ] = None,
    meeting_to_self: Annotated[
        MeetingPermission | None, typer.Option(help="Who in a meeting may use Call Me.")
    ] = None,
    meeting_to_third_party: Annotated[
        MeetingPermission | None, typer.Option(help="Who in a meeting may call somebody else.")
    ] = None,
    confirmation: Annotated[
        Confirmation | None, typer.Option(help="Who presses a key before joining a meeting.")
    ] = None,
    on_exhaustion: Annotated[
        Exhaustion | None, typer.Option(help="What becomes of a call whose funds end.")
    ] = None,
    availability_version: Annotated[
        str | None, typer.Option(help="By which edition licences are sold, like 2018-04-03.")
    ] = None,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change some of a tenant's choices. What is not named stays."""
    named: dict[str, object] = {
        "addon_regions": None if addon_regions is None else addon_regions.split(","),
        "addon_fair_use_minutes": addon_fair_use_minutes,
        "pool_basis": pool_basis,
        "ppm_needs_credits_licence": ppm_needs_credits_licence,
        "premium": premium,
        "toll_free": toll_free,
        "unallocated": unallocated,
        "high_risk_prefixes": high_risk_prefixes,
        "meeting_to_self": meeting_to_self,
        "meeting_to_third_party": meeting_to_third_party,
        "confirmation": confirmation,
        "on_exhaustion": on_exhaustion,
        "availability_version": availability_version,
    }
    values = _file(file) | {name: value for name, value in named.items() if value is not None}
    if not values:
        fail("What is to change? Name a choice, like --premium credits, or a --file.")
    who, now = author(by, because), datetime.now(UTC)
    _check(values)

    async def change(provisioning: Provisioning) -> PolicyOutcome:
        whose = await tenant_named(provisioning, tenant, as_json=as_json)
        return await revise_policy(provisioning, who, whose.tenant_id, values, now)

    answer(run(change), as_json=as_json)


@policy_cli.command("list")
def list_policies(
    after: Annotated[UUID | None, typer.Option(help="Only tenants after this id.")] = None,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """List for each tenant the choices that are not the default."""

    async def found(provisioning: Provisioning) -> list[tuple[Tenant, Choices]]:
        tenants = await provisioning.tenants(after=after, limit=limit)
        return [(each, await _choices(provisioning, each.tenant_id)) for each in tenants]

    policies = run(found)
    if as_json:
        typer.echo(
            json.dumps(
                [{"tenant_id": str(each.tenant_id), **_plain(own)} for each, own in policies]
            )
        )
    else:
        table = new_table("tenant id", "name", "not as by default")
        for tenant, own in policies:
            table.add_row(str(tenant.tenant_id), printable(tenant.name), _differences(own))
        console().print(table)
    tell_of_more(policies, limit, lambda each: each[0].tenant_id)


async def _choices(provisioning: Provisioning, tenant_id: UUID) -> Choices:
    choices = await provisioning.policy(tenant_id)
    assert choices is not None, "a tenant is made with its choices, and never deleted"
    return choices


def _plain(choices: Choices) -> dict[str, JsonValue]:
    plain: dict[str, JsonValue] = _CHOICES.dump_python(choices, mode="json")
    return plain


def _differences(choices: Choices) -> str:
    own, default = _plain(choices), _plain(Choices())
    return "\n".join(
        f"{field.name}: {_shown(own[field.name])}"
        for field in fields(Choices)
        if own[field.name] != default[field.name]
    )


def _shown(value: JsonValue) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        fail(f"{printable(file)} is not TOML: {printable(error)}")


def _check(values: dict[str, Any]) -> None:
    try:
        read_choices(values)
    except ChoiceFaults as faults:
        fail(str(faults))
