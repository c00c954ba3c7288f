"""How a command speaks: to people in tables, to machines in JSON, and on faults in one line.

Names, digits and reasons are what somebody else wrote. No console reads markup in them, and
``printable`` takes out what a terminal would act on.
"""

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, NoReturn, TypeVar

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from gateway.ledger import LedgerUnavailable
from gateway.provisioning import forms
from gateway.settings import SettingsError
from gateway.sheet import explained

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
TenantOption = Annotated[
    str | None, typer.Option("--tenant", help="Only this tenant's, by id or unique name.")
]

S = TypeVar("S")

EXIT_FINDINGS = 1
EXIT_FAULT = 2

_SCHEMA_IS_OLD = re.compile(r"\b(schema|relation|function|column|type) .* does not exist")


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
        return forms.instant(text)
    except ValueError as error:
        fail(f"{option} {text}: {error}")


def checked(name: str, kind: TypeAdapter[str], text: str) -> str:
    """Return what was typed, if it has the form of its kind; else end the command."""
    try:
        return kind.validate_python(text)
    except ValidationError as error:
        fail("\n".join(f"{name}: {explained(fault)}" for fault in error.errors()))


def printable(value: object) -> str:
    """Return a value for a terminal, which must not act on any of it."""
    if value is None:
        return ""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode()
        for each in str(value)
    )


def cell(value: object) -> str:
    """Return a value for a table: times to the second in UTC, lists as sheets have them."""
    match value:
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
        case tuple():
            return ";".join(map(printable, value))
        case _:
            return printable(value)


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is: no markup, no emoji, no colours of its own."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def new_table(*headings: str) -> Table:
    """Return an empty table that cuts nothing off: an id that is folded can still be copied."""
    columns = (Column(heading, overflow="fold") for heading in headings)
    return Table(*columns)


def progress(*, is_quiet: bool) -> Progress:
    """Return bars on standard error for whoever looks; none if that is no terminal."""
    errors = console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        disable=is_quiet or not errors.is_terminal,
    )


def fail_without_ledger(error: LedgerUnavailable, variable: str) -> NoReturn:
    """End the command: the ledger is away, or does not let this login do it."""
    migrate = " Run dialout migrate with the owner's login."
    hint = migrate if _SCHEMA_IS_OLD.search(str(error)) else ""
    fail(f"The ledger cannot be used: {error}. Check {variable}.{hint}")


def fail(message: str) -> NoReturn:
    """End the command: what is wrong, on standard error, and exit code 2."""
    harmless = "\n".join(map(printable, message.split("\n")))
    console(stderr=True).print(harmless, soft_wrap=True)
    sys.exit(EXIT_FAULT)
