"""``dialout block``: numbers that are never called, by the digits that they begin with."""

from typing import Annotated

import typer

from gateway.cli.provisioning import (
    AnyoneOption,
    BecauseOption,
    ByOption,
    SheetArgument,
    author,
    change,
    change_for_all,
    filled,
    listed,
    load,
    load_for_all,
    put,
    run,
    show,
)
from gateway.cli.terminal import JsonOption, checked, fail
from gateway.ledger import ListedPrefix, PrefixEffect, PrefixList, Provisioning
from gateway.provisioning.forms import PREFIX, PrefixForm

PrefixArgument = Annotated[
    str, typer.Argument(metavar="PREFIX", help="Digits with the calling code, without +.")
]
ExemptOption = Annotated[
    bool,
    typer.Option(
        "--exempt",
        help="Not a block: the tenant may call these although the shipped list has them "
        "as high-risk. Needs --tenant.",
    ),
]

block_cli = typer.Typer(help="Block numbers by their first digits.", no_args_is_help=True)


@block_cli.command("add")
def add_prefix(
    prefix: PrefixArgument,
    tenant: AnyoneOption = None,
    exempt: ExemptOption = False,
    note: Annotated[str, typer.Option(help="For whoever reads the list; at most 256.")] = "",
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Block a prefix for all tenants, or for one."""
    form = filled(PrefixForm, prefix=prefix, effect=_effect(tenant, exempt), note=note)
    who = author(by, because)
    if tenant is None:
        change_for_all(who, form.put_for_all, as_json=as_json)
    else:
        put(tenant, form, who, as_json=as_json)


@block_cli.command("remove")
def remove_prefix(
    prefix: PrefixArgument,
    tenant: AnyoneOption = None,
    exempt: ExemptOption = False,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a prefix off the list of all tenants, or off that of one."""
    digits = checked("prefix", PREFIX, prefix)
    effect, who = _effect(tenant, exempt), author(by, because)
    if tenant is None:
        change_for_all(who, lambda step: step.prefix_remove(None, digits, effect), as_json=as_json)
    else:
        change(
            tenant,
            who,
            lambda step, whose: step.prefix_remove(whose, digits, effect),
            as_json=as_json,
        )


@block_cli.command("list")
def list_prefixes(
    tenant: AnyoneOption = None,
    high_risk: Annotated[
        bool, typer.Option("--high-risk", help="Also the shipped list, with its sources.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List what is blocked for all tenants, or what one of them blocks and exempts."""

    async def for_all(provisioning: Provisioning) -> tuple[ListedPrefix, ...]:
        return await provisioning.prefixes(None)

    everybody = () if tenant is not None and not high_risk else run(for_all)
    own = (
        ()
        if tenant is None
        else listed(
            tenant, lambda provisioning, whose: provisioning.prefixes(whose), as_json=as_json
        )
    )
    wanted = {PrefixList.OPERATOR} if tenant is None else set()
    if high_risk:
        wanted.add(PrefixList.HIGH_RISK)
    rows = (*own, *(each for each in everybody if each.listed_in in wanted))
    columns = ("listed_in", "prefix", "effect", "region", "note", "source")
    show(rows, columns if high_risk else ("listed_in", "prefix", "effect", "note"), as_json=as_json)


@block_cli.command("import")
def import_prefixes(
    file: SheetArgument,
    tenant: AnyoneOption = None,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load prefixes, for all tenants or for one. Columns: prefix, effect, note."""
    who = author(by, because)
    if tenant is None:
        load_for_all(
            file, PrefixForm, who, lambda step, row: row.put_for_all(step), as_json=as_json
        )
    else:
        load(tenant, file, PrefixForm, who, as_json=as_json)


def _effect(tenant: str | None, exempt: bool) -> PrefixEffect:
    if exempt and tenant is None:
        fail("Who is exempt? Name the tenant: --tenant ID")
    return PrefixEffect.EXEMPT if exempt else PrefixEffect.BLOCK
