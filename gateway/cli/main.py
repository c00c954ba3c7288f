"""The command ``dialout``."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from gateway import __version__, app, db, logs
from gateway.ami import AmiLoginRefused
from gateway.cli.audit import audit_cli
from gateway.cli.callees import callee_cli
from gateway.cli.credits import credits_cli
from gateway.cli.explain import explain
from gateway.cli.gaps import gaps
from gateway.cli.guard import guard_cli
from gateway.cli.ledger import ledger_cli
from gateway.cli.licences import licence_cli
from gateway.cli.limits import limits_cli
from gateway.cli.meetings import meeting_cli
from gateway.cli.organizers import organizer_cli
from gateway.cli.outbox import outbox_cli
from gateway.cli.policies import policy_cli
from gateway.cli.prefixes import block_cli
from gateway.cli.rate_decks import deck_cli
from gateway.cli.replay import replay
from gateway.cli.reports import report_cli
from gateway.cli.simulate import simulate
from gateway.cli.tenants import tenant_cli
from gateway.cli.terminal import (
    EXIT_FINDINGS,
    JsonOption,
    console,
    fail,
    messages,
    new_table,
    read,
)
from gateway.grants import JournalUnusable
from gateway.settings import read_database_settings, read_settings

cli = typer.Typer(
    name="dialout",
    help="Decides, pays for and settles every telephone call out of an Asterisk conference.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
cli.add_typer(ledger_cli, name="ledger")
cli.add_typer(tenant_cli, name="tenant")
cli.add_typer(organizer_cli, name="organizer")
cli.add_typer(licence_cli, name="licence")
cli.add_typer(credits_cli, name="credits")
cli.add_typer(policy_cli, name="policy")
cli.add_typer(meeting_cli, name="meeting")
cli.add_typer(limits_cli, name="limits")
cli.add_typer(block_cli, name="block")
cli.add_typer(callee_cli, name="callee")
cli.add_typer(deck_cli, name="deck")
cli.add_typer(guard_cli, name="guard")
cli.add_typer(audit_cli, name="audit")
cli.add_typer(outbox_cli, name="outbox")
cli.add_typer(report_cli, name="report")
cli.command()(explain)
cli.command()(gaps)
cli.command()(replay)
cli.command()(simulate)


def main() -> None:
    """Run the command line."""
    cli()


@cli.command()
def serve() -> None:
    """Serve calls until SIGTERM or Ctrl-C. Settings: docs/settings.md."""
    settings = read(read_settings)
    logs.configure(settings.log.format, settings.log.level)
    faults: list[str] = []
    try:
        uvloop.run(app.serve(settings))
    except* (AmiLoginRefused, JournalUnusable) as refused:
        faults = messages(refused)
    if faults:
        fail("\n".join(faults))


@cli.command()
def migrate() -> None:
    """Bring the database up to this version. Needs the rights of the schema's owner."""
    settings = read(read_database_settings)
    with console(stderr=True).status("migrating") as status:
        try:
            asyncio.run(db.migrate(settings, status.update))
        except db.DatabaseUnavailable as error:
            fail(f"{error}. Check DIALOUT_DATABASE__DSN.")
    typer.echo(f"The database is at version {__version__}.", err=True)


@cli.command("settings")
def show_settings(as_json: JsonOption = False) -> None:
    """Check the settings and print them, secrets hidden."""
    values = read(read_settings).model_dump(mode="json")
    if as_json:
        typer.echo(json.dumps(values, indent=2))
        return
    table = new_table("setting", "value")
    for name, value in _flat(values):
        table.add_row(name, "" if value is None else str(value))
    console().print(table)


def _flat(values: dict[str, Any], *path: str) -> Iterator[tuple[str, Any]]:
    """Yield each setting under its whole name."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, *path, name)
        else:
            yield ".".join((*path, name)), value


@cli.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@cli.command()
def demo(
    lab: Annotated[
        Path, typer.Option(help="Where the private Asterisk is, or will be, built.")
    ] = Path(".lab"),
    web: Annotated[
        bool, typer.Option("--web", help="Serve a page to call telephones from, until Ctrl-C.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of the page. 0: any that is free.")
    ] = 8090,
) -> None:
    """Place real calls on a private Asterisk, SIP carrier and PostgreSQL, and show the books."""
    try:
        from gateway.lab.demo import LabError, run_demo
        from gateway.lab.web import run_web_demo
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed: pip install 'dialout-gateway[lab]'")
    logs.configure("auto", "warning")
    good = False
    faults: list[str] = []
    try:
        if web:
            asyncio.run(run_web_demo(lab, port))
            typer.echo("Everything that was started is stopped.")
            return
        good = asyncio.run(run_demo(lab))
    except* LabError as missing:
        faults = messages(missing)
    except* asyncio.CancelledError:
        faults = ["Interrupted. Everything that was started is stopped."]
    if faults:
        fail("\n".join(faults))
    if not good:
        raise typer.Exit(EXIT_FINDINGS)
    typer.echo("demo ok")
