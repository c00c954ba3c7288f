"""``dialout audit``: who changed what, when and why."""

import json
from datetime import datetime
from typing import Annotated
from uuid import UUID

import typer
from pydantic import JsonValue
from rich.table import Table
from rich.text import Text

from gateway.cli.provisioning import (
    TIME_HELP,
    AnyoneOption,
    LimitOption,
    listed,
    run,
    tell_of_more,
)
from gateway.cli.terminal import JsonOption, console, instant, new_table, printable
from gateway.ledger import AuditEntry, Provisioning

audit_cli = typer.Typer(help="Look at who changed what.", no_args_is_help=True)


@audit_cli.command("list")
def list_audit(
    tenant: AnyoneOption = None,
    since: Annotated[
        str | None, typer.Option(help=f"From this instant on. {TIME_HELP} Default: ever.")
    ] = None,
    after: Annotated[
        UUID | None, typer.Option(help="Only what is older than the entry of this id.")
    ] = None,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """List the changes of a tenant, or those that touch all of them, newest first."""
    start = None if since is None else instant("--since", since)
    entries = _entries(tenant, start, after, limit, as_json=as_json)
    if as_json:
        typer.echo(json.dumps([entry.summary() for entry in entries]))
    else:
        console().print(_table(entries))
    tell_of_more(entries, limit, lambda each: each.audit_id)


def _entries(
    tenant: str | None,
    since: datetime | None,
    before: UUID | None,
    limit: int,
    *,
    as_json: bool,
) -> tuple[AuditEntry, ...]:
    async def for_all(provisioning: Provisioning) -> tuple[AuditEntry, ...]:
        return await provisioning.audit(None, since=since, before=before, limit=limit)

    if tenant is None:
        return run(for_all)
    return listed(
        tenant,
        lambda provisioning, whose: provisioning.audit(
            whose, since=since, before=before, limit=limit
        ),
        as_json=as_json,
    )


def _table(entries: tuple[AuditEntry, ...]) -> Table:
    table = new_table("at", "who", "why", "what", "change")
    for entry in entries:
        cells = (entry.at.isoformat(timespec="seconds"), entry.actor, entry.because, entry.relation)
        table.add_row(*(Text(printable(cell)) for cell in cells), Text(_change(entry)))
    return table


def _change(entry: AuditEntry) -> str:
    """Return a row that is new or gone as it is or was; of any other, what differs."""
    if entry.before is None or entry.after is None:
        row = entry.after or entry.before or {}
        gone = "" if entry.before is None else "removed\n"
        return gone + "\n".join(f"{name}: {_shown(value)}" for name, value in _told(row))
    before = entry.before
    return "\n".join(
        f"{name}: {_shown(before.get(name))} -> {_shown(value)}"
        for name, value in _told(entry.after)
        if value != before.get(name)
    )


def _told(row: dict[str, JsonValue]) -> list[tuple[str, JsonValue]]:
    return [(name, value) for name, value in row.items() if name != "tenant_id"]


def _shown(value: JsonValue) -> str:
    return "none" if value is None else printable(value)
