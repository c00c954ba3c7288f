"""``dialout gaps``: when evidence may be missing, and the calls that this may have touched."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli.provisioning import TIME_HELP, LimitOption, tell_of_more, tenant_named
from gateway.cli.reports import ROWS_SHOWN, CsvOption, one_output, run, write
from gateway.cli.terminal import (
    JsonOption,
    TenantOption,
    cell,
    checked,
    console,
    instant,
    new_table,
    printable,
)
from gateway.core.dial_out import BridgeName
from gateway.core.outage import Outage
from gateway.core.rating import Micros
from gateway.ledger import GapCall, Provisioning, Reports
from gateway.reports.cells import Money
from gateway.reports.gaps import COLUMNS, Totals, gap_rows, masked
from gateway.settings import BridgeKey

_BRIDGE: TypeAdapter[str] = TypeAdapter(BridgeKey)


def gaps(
    since: Annotated[
        str | None, typer.Option(help=f"What ended at this instant or later. {TIME_HELP}")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help=f"What began before this instant. {TIME_HELP} Default: now.")
    ] = None,
    bridge: Annotated[str | None, typer.Option(help="Only this bridge's.")] = None,
    tenant: TenantOption = None,
    after: Annotated[
        UUID | None, typer.Option(help="Only what is older than the outage of this id.")
    ] = None,
    limit: LimitOption = 100,
    csv: CsvOption = None,
    as_json: JsonOption = False,
) -> None:
    """List outages, newest first, each with the calls that span it and what proves their ends.

    Times are of the clock of the bridge's Asterisk, in UTC.
    """
    one_output(csv, as_json=as_json)
    start = None if since is None else instant("--since", since)
    end = instant("--until", until)
    on = None if bridge is None else BridgeName(checked("bridge", _BRIDGE, bridge))

    async def ask(provisioning: Provisioning, reports: Reports) -> None:
        whose = None
        if tenant is not None:
            whose = (await tenant_named(provisioning, tenant, as_json=as_json)).tenant_id
        outages = await reports.outages(start, end, bridge=on, before=after, limit=limit)
        if csv is None and not as_json:
            await _show(reports, outages, whose)
        else:
            await write(COLUMNS, gap_rows(reports, outages, whose), csv=csv)
        tell_of_more(outages, limit, lambda each: each.outage_id)

    run(ask)


async def _show(reports: Reports, outages: Sequence[Outage], tenant_id: UUID | None) -> None:
    """Print each outage with its calls, and what all of it comes to."""
    out, totals = console(), Totals()
    for outage in outages:
        totals.add(outage)
        out.print(Text(_heading(outage), style="bold"))
        await _show_calls(out, totals, reports.gap_calls(outage.outage_id, tenant_id))
    out.print(_totals(totals))


async def _show_calls(out: Console, totals: Totals, calls: AsyncIterator[GapCall]) -> None:
    table = new_table(
        *("call", "tenant", "number", "answered", "ended", "evidence"),
        *("lasted", "billed", "otherwise"),
    )
    left_out = 0
    async for call in calls:
        totals.add_call(call)
        if table.row_count == ROWS_SHOWN:
            left_out += 1
        else:
            table.add_row(*(Text(printable(each)) for each in _cells(call)))
    if table.row_count:
        out.print(table)
    if left_out:
        out.print(f"{left_out} more calls: --csv and --json have them all.")


def _heading(outage: Outage) -> str:
    began, ended = cell(outage.began_at), cell(outage.ended_at)
    detail = printable(outage.detail)
    return f"{outage.kind} of {outage.bridge}: {began} to {ended}, {outage.seconds} s, {detail}"


def _cells(call: GapCall) -> tuple[object, ...]:
    return (
        *(call.dial_out_id, call.tenant_id, masked(call)),
        *(_time(call.answered_at), "open" if call.ended_at is None else _time(call.ended_at)),
        *(call.evidence, _lasted(call), _seconds(call.billed_seconds), _otherwise(call)),
    )


def _time(at: datetime | None) -> str:
    return "" if at is None else f"{at:%m-%d %H:%M:%S}"


def _lasted(call: GapCall) -> str:
    """Return how long a call lasted, as far as that is known; of a call of before, nothing."""
    if call.unproved is None:
        return _seconds(call.least_seconds)
    return f"{call.least_seconds} to {call.most_seconds} s"


def _seconds(seconds: int | None) -> str:
    return "" if seconds is None else f"{seconds} s"


def _otherwise(call: GapCall) -> str:
    """Return what the other bound would have billed more, or less."""
    if call.unproved is None:
        return ""
    return _difference(call.seconds_otherwise_more, call.micros_otherwise_more, call.currency)


def _difference(seconds: int, micros: int, currency: str) -> str:
    sign = "+" if micros >= 0 else ""
    return f"{seconds:+} s, {sign}{Money(Micros(micros)).units} {currency}"


def _totals(totals: Totals) -> Table:
    table = new_table("total", "")
    seconds: Counter[str] = totals.seconds
    for kind, count in sorted(totals.outages.items()):
        table.add_row(f"outages, {kind}", f"{count}, {seconds[kind]} s")
    table.add_row("calls", str(totals.calls))
    table.add_row("calls that go on", str(totals.open))
    table.add_row("calls without proof", str(totals.unproved))
    for currency, micros in sorted(totals.otherwise_micros.items()):
        more = _difference(totals.otherwise_seconds[currency], micros, currency)
        table.add_row("billed otherwise", more)
    return table
