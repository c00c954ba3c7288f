"""``dialout report``: what calls came to, for accounts: as a table, CSV, JSON or a chart."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, BinaryIO, Final, Protocol

import typer
from rich.table import Table
from rich.text import Text

from gateway import db
from gateway.cli.provisioning import STATEMENT_SECONDS_MAX, tenant_named
from gateway.cli.tenants import NameArgument
from gateway.cli.terminal import (
    JsonOption,
    console,
    fail,
    fail_without_ledger,
    new_table,
    printable,
    progress,
    read,
)
from gateway.core.rating import Micros
from gateway.ledger import LedgerUnavailable, Provisioning, Reports, Tenant, Unit
from gateway.reports import funds, organizers, usage
from gateway.reports.cells import Cells, Money, csv_text, in_chunks, json_text
from gateway.reports.days import Days
from gateway.reports.files import replaced
from gateway.reports.funds import FundRow, fund_rows
from gateway.reports.organizers import OrganizerRow, organizer_rows
from gateway.reports.period import Period, PeriodFault, of_kept_calls, period
from gateway.reports.usage import UsageRow, usage_rows
from gateway.settings import DatabaseSettings, read_admin_settings

ROWS_SHOWN: Final = 100
STANDARD_OUTPUT: Final = Path("-")

FromOption = Annotated[
    str,
    typer.Option(
        "--from",
        help="From when on: ISO 8601. Without an offset it is the tenant's own time; a date alone "
        "is the first instant of that day there.",
    ),
]
ToOption = Annotated[str | None, typer.Option("--to", help="Until before when. Default: now.")]
CsvOption = Annotated[
    Path | None,
    typer.Option("--csv", metavar="FILE", help="Write CSV (RFC 4180); - is standard output."),
]

Ask = Callable[[Provisioning, Reports], Awaitable[None]]

report_cli = typer.Typer(help="What calls came to, for accounts.", no_args_is_help=True)


class Row(Protocol):
    """What a report has a line of."""

    def cells(self) -> Cells:
        """Return the row, column by column."""
        ...


class Draw(Protocol):
    """What writes a chart to a file."""

    def __call__(
        self, file: BinaryIO, suffix: str, days: Days, *, name: str, zone: str, currency: str
    ) -> None:
        """Draw it, in the format that ``suffix`` names."""
        ...


@report_cli.command("usage")
def report_usage(
    tenant: NameArgument,
    since: FromOption,
    until: ToOption = None,
    unanswered: Annotated[
        bool, typer.Option("--all", help="Calls that nobody answered, too.")
    ] = False,
    csv: CsvOption = None,
    chart: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Draw minutes and spend by day, as .svg or .png; extra `charts`."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Export the usage of the calls that were asked for in a period: one row a funding part.

    Years of calls need little memory. A file is there whole, or not at all.
    """
    one_output(csv, as_json=as_json)
    draw = None if chart is None else _drawing(chart)

    async def export(provisioning: Provisioning, reports: Reports) -> None:
        whose = await tenant_named(provisioning, tenant, as_json=as_json)
        wanted = await _period_of_calls(reports, since, until, whose)
        tally = _Tally(Days(wanted))
        rows = _usage(reports, whose, wanted, tally, unanswered=unanswered, is_quiet=as_json)
        if csv is None and not as_json:
            await _show_usage(rows, tally, whose)
        else:
            await write(usage.COLUMNS, rows, csv=csv)
        if draw is not None and chart is not None:
            with _writing(chart), replaced(chart) as file:
                draw(
                    *(file, chart.suffix.lower(), tally.days),
                    name=whose.name,
                    zone=whose.time_zone,
                    currency=whose.currency,
                )

    run(export)


@report_cli.command("pool")
def report_pool(
    tenant: NameArgument,
    since: Annotated[
        str | None,
        typer.Option(
            "--from", help="What could pay at any time from then on. Default: what can pay now."
        ),
    ] = None,
    until: ToOption = None,
    csv: CsvOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what each source was granted, and what of it is used, reserved, available, lapsed."""
    one_output(csv, as_json=as_json)
    if since is None and until is not None:
        fail("--to needs --from.")
    now = datetime.now(UTC)

    async def ask(provisioning: Provisioning, reports: Reports) -> None:
        whose = await tenant_named(provisioning, tenant, as_json=as_json)
        start, end = now, now
        if since is not None:
            wanted = _period(since, until, whose)
            start, end = wanted.since, wanted.last
        rows = fund_rows(reports.standings(whose.tenant_id, start, end), now)
        if csv is None and not as_json:
            console().print(_fund_table([row async for row in rows]))
        else:
            await write(funds.COLUMNS, rows, csv=csv)

    run(ask)


@report_cli.command("organizers")
def report_organizers(
    tenant: NameArgument,
    since: FromOption,
    until: ToOption = None,
    csv: CsvOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what each organizer's calls came to, and how many were refused for which reason."""
    one_output(csv, as_json=as_json)

    async def ask(provisioning: Provisioning, reports: Reports) -> None:
        whose = await tenant_named(provisioning, tenant, as_json=as_json)
        wanted = await _period_of_calls(reports, since, until, whose)
        found = reports.organizers(whose.tenant_id, wanted.since, wanted.until)
        rows = await organizer_rows(found, whose.currency)
        if csv is None and not as_json:
            console().print(_organizer_table(rows))
        else:
            await write(organizers.COLUMNS, _each(rows), csv=csv)

    run(ask)


class _Tally:
    """What the rows of an export come to, by what paid and by day."""

    def __init__(self, days: Days) -> None:
        self.days = days
        self.rows: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self.micros: Counter[str] = Counter()

    def add(self, row: UsageRow) -> None:
        """Count one row."""
        capability = row.capability or row.call.disposition
        self.rows[capability] += 1
        self.seconds[capability] += row.seconds
        self.micros[capability] += row.charge_micros
        self.days.add(row)


async def _usage(
    reports: Reports,
    tenant: Tenant,
    wanted: Period,
    tally: _Tally,
    *,
    unanswered: bool,
    is_quiet: bool,
) -> AsyncIterator[UsageRow]:
    """Yield the rows of an export and count them, with a bar for whoever watches."""
    bounds = (tenant.tenant_id, wanted.since, wanted.until)
    count = await reports.usage_count(*bounds, unanswered=unanswered)
    if count.open:
        typer.echo(f"{count.open} calls of the period still go on, and are left out.", err=True)
    with progress(is_quiet=is_quiet) as bar:
        task = bar.add_task("calls", total=count.ended)
        async for call in reports.usage(*bounds, unanswered=unanswered):
            for row in usage_rows(call):
                tally.add(row)
                yield row
            bar.advance(task)


async def _show_usage(rows: AsyncIterable[UsageRow], tally: _Tally, tenant: Tenant) -> None:
    table = new_table("start", "organizer", "destination", "minutes", "charge", "capability")
    async for row in rows:
        if table.row_count < ROWS_SHOWN:
            _add(
                table,
                *(row.cells()["start"], row.call.organizer_id, row.call.destination),
                *(_minutes(row.seconds), Money(row.charge_micros).units, row.capability),
            )
    out = console()
    out.print(table)
    left_out = tally.rows.total() - table.row_count
    if left_out:
        out.print(f"{left_out} more rows: --csv and --json have them all.")
    out.print(_totals(tally, tenant.currency))


def _totals(tally: _Tally, currency: str) -> Table:
    table = new_table("capability", "rows", "minutes", f"charge, {currency}")
    for name in sorted(tally.rows):
        amount = Money(Micros(tally.micros[name])).units
        _add(table, name, tally.rows[name], _minutes(tally.seconds[name]), amount)
    total = Money(Micros(tally.micros.total())).units
    _add(table, "total", tally.rows.total(), _minutes(tally.seconds.total()), total)
    return table


def _fund_table(rows: Sequence[FundRow]) -> Table:
    """Return the report, narrow enough for a terminal: without what is nothing in each row."""
    amounts: dict[str, Callable[[FundRow], int]] = {
        "used": lambda row: row.standing.used,
        "reserved": lambda row: row.standing.reserved,
        "lapsed": lambda row: row.lapsed,
    }
    shown = {name: of for name, of in amounts.items() if any(map(of, rows))}
    table = new_table("capability", "until", "total", *shown, "available")
    for row in rows:
        of = row.standing
        available = "no bound" if row.available is None else _amount(row, row.available)
        _add(
            table,
            " ".join(filter(None, (row.capability, of.organizer_id))),
            of.valid_to and of.valid_to.date(),
            " ".join(filter(None, (_amount(row, of.granted), of.currency))),
            *(_amount(row, amount(row)) for amount in shown.values()),
            available,
        )
    return table


def _organizer_table(rows: Sequence[OrganizerRow]) -> Table:
    table = new_table(
        *("organizer", "country", "calls", "minutes", "international", "unpaid"),
        *("charge", "refused"),
    )
    for row in rows:
        refused = ", ".join(f"{count} {reason}" for reason, count in row.refused.most_common())
        _add(
            table,
            *(row.organizer_id, row.usage_location, row.calls.total()),
            *(_minutes(row.seconds.total()), _minutes(row.seconds[usage.Scope.INTERNATIONAL])),
            _minutes(row.unpaid_seconds),
            *(f"{Money(Micros(row.micros.total())).units} {row.currency}", refused),
        )
    return table


def _amount(row: FundRow, amount: int) -> str:
    if row.standing.unit is Unit.SECONDS:
        return _minutes(amount)
    return Money(Micros(amount)).units


def _minutes(seconds: int) -> str:
    """Return a time as minutes and seconds: 12:40."""
    return "{}:{:02d}".format(*divmod(seconds, 60))


def _add(table: Table, *cells: object) -> None:
    table.add_row(*(Text(printable(cell)) for cell in cells))


async def _each(rows: Sequence[Row]) -> AsyncIterator[Row]:
    for row in rows:
        yield row


async def write(columns: Sequence[str], rows: AsyncIterable[Row], *, csv: Path | None) -> None:
    """Write a whole report: as JSON to standard output, or as CSV there or to a file."""
    cells = (row.cells() async for row in rows)
    if csv is None:
        await _copy(json_text(cells), sys.stdout.buffer)
    elif csv == STANDARD_OUTPUT:
        await _copy(csv_text(columns, cells), sys.stdout.buffer)
    else:
        with _writing(csv), replaced(csv) as file:
            await _copy(csv_text(columns, cells), file)


async def _copy(pieces: AsyncIterable[str], file: BinaryIO) -> None:
    async for chunk in in_chunks(pieces):
        file.write(chunk)
    file.flush()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        fail(f"{printable(path)} cannot be written: {error.strerror}")


def one_output(csv: Path | None, *, as_json: bool) -> None:
    """End the command if a report is to be written in two ways."""
    if csv is not None and as_json:
        fail("Say --csv or --json, not both.")


def _drawing(chart: Path) -> Draw:
    """Return what draws; end the command before any work if nothing can."""
    try:
        from gateway.reports import charts
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed: pip install 'dialout-gateway[charts]'")
    if chart.suffix.lower() not in charts.SUFFIXES:
        fail(f"{printable(chart)} must end in {' or '.join(charts.SUFFIXES)}.")
    return charts.draw


def _period(since: str, until: str | None, tenant: Tenant) -> Period:
    try:
        return period(since, until, time_zone=tenant.time_zone, now=datetime.now(UTC))
    except PeriodFault as fault:
        fail(str(fault))


async def _period_of_calls(
    reports: Reports, since: str, until: str | None, tenant: Tenant
) -> Period:
    try:
        wanted = _period(since, until, tenant)
        return of_kept_calls(wanted, await reports.kept_from(tenant.tenant_id))
    except PeriodFault as fault:
        fail(str(fault))


def run(ask: Ask) -> None:
    """Have a report made, on a connection that can change nothing."""
    patient = (
        read(read_admin_settings)
        .database()
        .model_copy(update={"call_seconds_max": STATEMENT_SECONDS_MAX})
    )
    try:
        asyncio.run(_asked(patient, ask))
    except LedgerUnavailable as error:
        fail_without_ledger(error, "DIALOUT_ADMIN__DSN")


async def _asked(database: DatabaseSettings, ask: Ask) -> None:
    async with db.pool(database, read_only=True) as pool:
        limit = database.call_seconds_max
        await ask(Provisioning(pool, call_seconds_max=limit), Reports(pool, call_seconds_max=limit))
