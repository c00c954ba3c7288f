"""How a command speaks: to people in tables, to machines in JSON, and on faults in one line."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, NoReturn, TypeVar
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from gateway.ledger import LedgerUnavailable
from gateway.settings import SettingsError

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
TenantOption = Annotated[UUID | None, typer.Option("--tenant", help="Only this tenant's.")]

S = TypeVar("S")

EXIT_FINDINGS = 1
EXIT_FAULT = 2


def read(reader: Callable[[], S]) -> S:
    """Return the settings that a command needs, or end it with a line for each fault."""
    try:
        return reader()
    except SettingsError as error:
        fail(f"The settings cannot be used:\n{error}\nSee docs/settings.md.")


def messages(group: BaseExceptionGroup[Exception]) -> list[str]:
    """Return what the faults of a group say, however deep tasks have wrapped them."""
    return [
        message
        for error in group.exceptions
        for message in (messages(error) if isinstance(error, BaseExceptionGroup) else [str(error)])
    ]


def instant(option: str, text: str | None) -> datetime:
    """Return the instant that an option names; now if it was not given."""
    if text is None:
        return datetime.now(UTC)
    try:
        named = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{option} {text}: no time. Write it like 2026-11-21 or 2026-11-21T09:30:00+01:00.")
    return named if named.tzinfo else named.replace(tzinfo=UTC)


def new_table(*headings: str) -> Table:
    """Return an empty table that cuts nothing off: an id that is folded can still be copied."""
    columns = (Column(heading, overflow="fold") for heading in headings)
    return Table(*columns)


def progress(*, is_quiet: bool) -> Progress:
    """Return bars on standard error for whoever looks; none if that is no terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=is_quiet or not console.is_terminal,
    )


def fail_without_ledger(error: LedgerUnavailable, variable: str) -> NoReturn:
    """End the command: the ledger is away, or does not let this login do it."""
    fail(f"The ledger cannot be used: {error}. Check {variable}.")


def fail(message: str) -> NoReturn:
    """End the command: what is wrong, on standard error, and exit code 2."""
    Console(stderr=True, highlight=False).print(message, markup=False, soft_wrap=True)
    sys.exit(EXIT_FAULT)
