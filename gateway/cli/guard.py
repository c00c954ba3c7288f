"""``dialout guard``: the calls that were ended because their meeting had left them behind."""

import asyncio
import json
from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table

from gateway import db
from gateway.cli.provisioning import TIME_HELP, tenant_among
from gateway.cli.terminal import (
    JsonOption,
    TenantOption,
    console,
    fail_without_ledger,
    instant,
    new_table,
    read,
)
from gateway.ledger import Ledger, LedgerUnavailable, Saving
from gateway.settings import read_database_settings

guard_cli = typer.Typer(help="Look at what ending forgotten calls has saved.", no_args_is_help=True)


@guard_cli.command("savings")
def savings(
    tenant: TenantOption = None,
    since: Annotated[
        str | None, typer.Option(help=f"Dropped from this instant on. {TIME_HELP} Default: ever.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help=f"Dropped before this instant. {TIME_HELP} Default: now.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print how many calls were dropped and what that saved at most, by tenant and reason."""
    start = None if since is None else instant("--since", since)
    found = asyncio.run(_savings(tenant, start, instant("--until", until), as_json=as_json))
    if as_json:
        typer.echo(json.dumps([each.summary() for each in found]))
    else:
        console().print(_table(found))


async def _savings(
    tenant: str | None, since: datetime | None, until: datetime, *, as_json: bool
) -> tuple[Saving, ...]:
    database = read(read_database_settings)
    try:
        async with db.pool(database) as pool:
            ledger = Ledger(pool, call_seconds_max=database.call_seconds_max)
            if tenant is None:
                return await ledger.savings(None, since, until)
            whose = tenant_among(await ledger.tenants(), tenant, as_json=as_json)
            return await ledger.savings(whose.tenant_id, since, until)
    except LedgerUnavailable as error:
        fail_without_ledger(error, "DIALOUT_DATABASE__DSN")


def _table(found: tuple[Saving, ...]) -> Table:
    table = new_table("tenant", "reason", "calls", "seconds at most", "micros at most", "currency")
    for each in found:
        figures = (each.calls, each.seconds, each.micros)
        table.add_row(str(each.tenant_id), each.reason, *map(str, figures), each.currency)
    return table
