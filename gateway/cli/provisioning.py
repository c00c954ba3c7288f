"""What the commands of provisioning have in common: whose, by whom and why, and the answer."""

import asyncio
import json
import os
import pwd
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO, Final, NoReturn, Protocol, TypeVar
from uuid import UUID

import typer
from pydantic import BaseModel, JsonValue, ValidationError
from rich.text import Text

from gateway import db
from gateway.cli.terminal import (
    EXIT_FINDINGS,
    cell,
    checked,
    console,
    fail,
    fail_without_ledger,
    new_table,
    printable,
    progress,
    read,
)
from gateway.ledger import Change, LedgerUnavailable, Provisioning, Tenant, TenantName
from gateway.provisioning.forms import NAME, Author, Form
from gateway.provisioning.imports import Import, Imported, Put, Rejected
from gateway.provisioning.outcomes import OUTCOME_TEXTS
from gateway.settings import read_admin_settings
from gateway.sheet import explained, shown

STATEMENT_SECONDS_MAX: Final = 120.0
"""A large deck is one statement, and nobody waits on a telephone."""

LINES_A_TICK: Final = 100

_TYPED_AGAIN: Final = frozenset({"valid_from", "valid_to"})
"""Times of lists that name a row to another command, like that of ``licence end``."""

WhoseOption = Annotated[
    str,
    typer.Option(
        "--tenant", help="Whose: the tenant's id, or its exact name if no other tenant has it."
    ),
]
AnyoneOption = Annotated[
    str | None,
    typer.Option("--tenant", help="Whose, by id or unique name. Default: the operator's, for all."),
]
ByOption = Annotated[
    str | None,
    typer.Option("--by", help="Who changes it, for the audit. Default: your login name."),
]
BecauseOption = Annotated[
    str | None, typer.Option("--because", help="Why, for the audit; at most 256 characters.")
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most.")]
SheetArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="Comma-separated values in UTF-8 with a header, see docs/provisioning.md; - is "
        "standard input. All lines are loaded, or none.",
    ),
]
TIME_HELP: Final = "ISO 8601; a date alone is midnight UTC."

M = TypeVar("M", bound=BaseModel)
F = TypeVar("F", bound=Form)
T = TypeVar("T")


class Summarized(Protocol):
    """What can be listed."""

    def summary(self) -> dict[str, JsonValue]:
        """Return it as plain JSON values, under the names of its fields."""
        ...


def filled(kind: type[M], **values: object) -> M:
    """Return what was typed as a form; end the command with a line for each wrong value."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        fail("\n".join(f"{_name(fault['loc'])}: {explained(fault)}" for fault in faults))


def author(by: str | None, because: str | None) -> Author:
    """Return who makes the change: as said, else whoever is logged in."""
    return filled(Author, actor=_login() if by is None else by, because=because)


def run(ask: Callable[[Provisioning], Awaitable[T]]) -> T:
    """Return the answer of the database, reached as the settings say."""
    return asyncio.run(_run(ask))


async def tenant_named(provisioning: Provisioning, text: str, *, as_json: bool) -> Tenant:
    """Return the tenant of an id or of a unique name; end the command if there is none."""
    tenant_id = _tenant_id(text)
    if tenant_id is not None:
        return await provisioning.tenant(tenant_id) or refuse("unknown_tenant", as_json=as_json)
    name = checked("tenant", NAME, text)
    return _only(await provisioning.tenants(name=name, limit=2), text, as_json=as_json)


def tenant_among(tenants: Sequence[TenantName], text: str, *, as_json: bool) -> TenantName:
    """Return the same as ``tenant_named`` where the login is the gateway's."""
    tenant_id = _tenant_id(text)
    found = [each for each in tenants if each.tenant_id == tenant_id]
    if tenant_id is None:
        name = checked("tenant", NAME, text)
        found = [each for each in tenants if each.name == name]
    return _only(found, text, as_json=as_json)


def put(tenant: str, form: Form, who: Author, *, as_json: bool) -> None:
    """Have a form so for a tenant, and print what came of it."""
    now = datetime.now(UTC)
    change(tenant, who, lambda step, tenant_id: form.put(step, tenant_id, now), as_json=as_json)


def change(
    tenant: str,
    who: Author,
    ask: Callable[[Change, UUID], Awaitable[StrEnum]],
    *,
    as_json: bool,
) -> None:
    """Make a change of one step for a tenant, and print what came of it."""

    async def changed(provisioning: Provisioning) -> StrEnum:
        whose = await tenant_named(provisioning, tenant, as_json=as_json)
        async with provisioning.change(actor=who.actor, because=who.because) as step:
            return await ask(step, whose.tenant_id)

    answer(run(changed), as_json=as_json)


def change_for_all(
    who: Author, ask: Callable[[Change], Awaitable[StrEnum]], *, as_json: bool
) -> None:
    """Make a change of one step that touches all tenants, and print what came of it."""

    async def changed(provisioning: Provisioning) -> StrEnum:
        async with provisioning.change(actor=who.actor, because=who.because) as step:
            return await ask(step)

    answer(run(changed), as_json=as_json)


def answer(outcome: str, *, as_json: bool, **more: str | int) -> None:
    """Print what came of a change; end the command with 1 if it is not so now.

    ``more`` is what is so now: nothing is said of it if the change was refused.
    """
    text = OUTCOME_TEXTS[outcome]
    so_now = more if text.standing.is_done else {}
    if as_json:
        typer.echo(json.dumps({"outcome": outcome, "message": text.message, **so_now}))
    else:
        named = "".join(f" {name}: {value}" for name, value in so_now.items())
        typer.echo(f"{outcome}: {text.message}{named}", err=not text.standing.is_done)
    if not text.standing.is_done:
        raise typer.Exit(EXIT_FINDINGS)


def refuse(outcome: str, *, as_json: bool) -> NoReturn:
    """End the command because of an outcome that is a refusal."""
    answer(outcome, as_json=as_json)
    raise AssertionError(f"{outcome} is no refusal")


def listed(
    tenant: str,
    ask: Callable[[Provisioning, UUID], Awaitable[tuple[T, ...]]],
    *,
    as_json: bool,
) -> tuple[T, ...]:
    """Return a list of a tenant, which must be known: an unknown one's would look empty."""

    async def found(provisioning: Provisioning) -> tuple[T, ...]:
        whose = await tenant_named(provisioning, tenant, as_json=as_json)
        return await ask(provisioning, whose.tenant_id)

    return run(found)


def show(rows: Sequence[Summarized], columns: Sequence[str], *, as_json: bool) -> None:
    """Print a list: these columns for people, everything for machines."""
    if as_json:
        typer.echo(json.dumps([row.summary() for row in rows]))
        return
    table = new_table(*(name.replace("_", " ") for name in columns))
    for row in rows:
        table.add_row(*(Text(_cell(row, name)) for name in columns))
    console().print(table)


def _cell(row: Summarized, name: str) -> str:
    """Return a field for people; one that they type again, whole."""
    value = getattr(row, name)
    if name in _TYPED_AGAIN and value is not None:
        return printable(value.isoformat())
    return cell(value)


def tell_of_more(rows: Sequence[T], limit: int, mark: Callable[[T], object]) -> None:
    """Say how to go on, where a list is as long as it may be."""
    if len(rows) == limit:
        typer.echo(f"There may be more: --after {printable(mark(rows[-1]))}", err=True)


def load(tenant: str, file: Path, kind: type[F], who: Author, *, as_json: bool) -> None:
    """Load a sheet for a tenant: all of it, or nothing and every fault."""
    now = datetime.now(UTC)

    async def loaded(provisioning: Provisioning) -> Imported | Rejected:
        whose = await tenant_named(provisioning, tenant, as_json=as_json)
        with sheet_import(provisioning, file, who, as_json=as_json) as (importing, sheet):
            return await importing.load(
                sheet, kind, lambda step, row: row.put(step, whose.tenant_id, now)
            )

    tell_of_import(run(loaded), as_json=as_json)


def load_for_all(file: Path, kind: type[F], who: Author, ask: Put[F], *, as_json: bool) -> None:
    """Load a sheet that touches all tenants: all of it, or nothing and every fault."""

    async def loaded(provisioning: Provisioning) -> Imported | Rejected:
        with sheet_import(provisioning, file, who, as_json=as_json) as (importing, sheet):
            return await importing.load(sheet, kind, ask)

    tell_of_import(run(loaded), as_json=as_json)


@contextmanager
def sheet_import(
    provisioning: Provisioning, file: Path, who: Author, *, as_json: bool
) -> Iterator[tuple[Import, BinaryIO]]:
    """Lend what imports, and the open sheet; a bar shows how far it is, if anybody looks."""
    with _opened(file) as sheet, progress(is_quiet=as_json) as bar:
        task = bar.add_task("checking", total=None)

        def tick(done: int, of: int | None) -> None:
            if done % LINES_A_TICK == 0:
                bar.update(
                    task,
                    description="checking" if of is None else "loading",
                    completed=done,
                    total=of,
                )

        yield Import(provisioning, who, tick), sheet


def tell_of_import(imported: Imported | Rejected, *, as_json: bool) -> None:
    """Print what was loaded; or each fault, and end the command with 1."""
    if as_json:
        typer.echo(json.dumps(imported.summary()))
    elif isinstance(imported, Imported):
        typer.echo(f"{imported.loaded} loaded, {imported.unchanged} unchanged.")
    else:
        for fault in imported.faults:
            typer.echo(str(fault), err=True)
        more = f" {imported.more} more faults are not listed." if imported.more else ""
        typer.echo(
            f"Nothing was loaded.{more} Correct the lines and load the file again.", err=True
        )
    if isinstance(imported, Rejected):
        raise typer.Exit(EXIT_FINDINGS)


async def _run(ask: Callable[[Provisioning], Awaitable[T]]) -> T:
    patient = (
        read(read_admin_settings)
        .database()
        .model_copy(update={"call_seconds_max": STATEMENT_SECONDS_MAX})
    )
    try:
        async with db.pool(patient) as pool:
            return await ask(Provisioning(pool, call_seconds_max=STATEMENT_SECONDS_MAX))
    except LedgerUnavailable as error:
        fail_without_ledger(error, "DIALOUT_ADMIN__DSN")


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """Open a sheet for two readings; what comes through a pipe is kept for the second one."""
    try:
        with ExitStack() as stack:
            sheet: BinaryIO = (
                sys.stdin.buffer if str(file) == "-" else stack.enter_context(file.open("rb"))
            )
            if not sheet.seekable():
                kept = stack.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(sheet, kept)
                kept.seek(0)
                sheet = kept
            yield sheet
    except OSError as error:
        fail(f"{printable(file)} cannot be read: {error.strerror}")


def _only(found: Sequence[T], text: str, *, as_json: bool) -> T:
    """Return the only tenant that was found; end the command if there is another, or none."""
    if len(found) > 1:
        fail(f"Several tenants have the name {shown(text)}. Say whose by id: dialout tenant list")
    return found[0] if found else refuse("unknown_tenant", as_json=as_json)


def _tenant_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _login() -> str:
    """Return who is logged in, by the account and not by what the environment claims."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"


def _name(path: tuple[int | str, ...]) -> str:
    return " ".join(str(part) for part in path).replace("_", " ")
