"""``dialout ledger``: prove the books, keep their heads, and take old months out."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from pydantic import BaseModel, ValidationError, field_validator

from gateway import db
from gateway.cli.provisioning import tenant_among
from gateway.cli.terminal import (
    EXIT_FINDINGS,
    JsonOption,
    TenantOption,
    console,
    fail,
    fail_without_ledger,
    new_table,
    printable,
    progress,
    read,
)
from gateway.ledger import (
    AttachOutcome,
    ChainHead,
    DetachOutcome,
    Finding,
    FindingCode,
    Ledger,
    LedgerUnavailable,
    Month,
    Months,
)
from gateway.proof import prove, stretches
from gateway.settings import DatabaseSettings, read_database_settings

ledger_cli = typer.Typer(
    help="Prove the ledger, and take old months out of it.", no_args_is_help=True
)

CALL_SECONDS_MAX = 3600.0
"""A month of a large tenant's takes its time, and nobody waits on a telephone."""

_OWNERS = "DIALOUT_DATABASE__DSN, which must be the owner's login"

MonthOption = Annotated[str, typer.Option(help="A month of UTC: 2025-01.")]


class _KeptHead(BaseModel):
    """A head as ``ChainHead.summary`` writes it."""

    tenant_id: UUID
    month: datetime
    number: int
    digest: bytes

    @field_validator("month", mode="before")
    @classmethod
    def _first_instant(cls, text: str) -> datetime:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)

    @field_validator("digest", mode="before")
    @classmethod
    def _from_hex(cls, text: str) -> bytes:
        return bytes.fromhex(text)


class _Line(BaseModel):
    """A line of ``check --json``; of what it may hold, a head is what can be compared."""

    head: _KeptHead | None = None


@dataclass(slots=True, kw_only=True)
class Telling:
    """Says what is found as it is found; keeps only the count and a tenant's last head."""

    as_json: bool
    findings: int = 0
    heads: list[ChainHead] = field(default_factory=list)

    def finding(self, finding: Finding) -> None:
        """Say one finding."""
        self.findings += 1
        if self.as_json:
            typer.echo(json.dumps({"finding": finding.summary()}))
        else:
            text = f"{finding.tenant_id}: {finding.check}: {finding.subject}: {finding.detail}"
            typer.echo(printable(text))

    def tenant(self, heads: tuple[ChainHead, ...]) -> None:
        """Say the heads of a tenant: for machines all of them, for people the last one."""
        if self.as_json:
            for head in heads:
                typer.echo(json.dumps({"head": head.summary()}))
        else:
            self.heads.extend(heads[-1:])

    def end(self, stretches_done: int) -> None:
        """Say the result."""
        result = {"stretches": stretches_done, "findings": self.findings}
        if self.as_json:
            typer.echo(json.dumps({"result": result}))
            return
        if self.heads:
            table = new_table("tenant", "month", "entry", "digest")
            for head in self.heads:
                table.add_row(*map(str, head.summary().values()))
            console().print(table)
        typer.echo("ledger check: " + (f"{self.findings} findings" if self.findings else "clean"))


@ledger_cli.command("check")
def check(
    tenant: TenantOption = None,
    heads: Annotated[
        Path | None,
        typer.Option(
            help="What an earlier `check --json` printed: its heads must still be there.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Prove the books: every total, every reservation, every charge. Exit 1 on any finding.

    Reads only, and keeps no call waiting. Prints each tenant's last entry and its digest; with
    --json a line for each finding, each month's head and the result. Keep that output where
    nobody who can change the database can change it, and give it to --heads next time.
    """
    telling = Telling(as_json=as_json)
    kept = [] if heads is None else _kept(heads)
    with _ledger_or_fail("DIALOUT_DATABASE__DSN"):
        asyncio.run(_check(telling, tenant, kept))
    if telling.findings:
        raise typer.Exit(EXIT_FINDINGS)


@ledger_cli.command("months")
def months(as_json: JsonOption = False) -> None:
    """List the months that the ledger is kept by, oldest first."""
    with _ledger_or_fail("DIALOUT_DATABASE__DSN"):
        found = asyncio.run(_months())
    if as_json:
        typer.echo(json.dumps([month.summary() for month in found]))
        return
    table = new_table("month", "dial-outs (estimated)", "bytes", "taken out")
    for month in found:
        summary = month.summary()
        table.add_row(
            str(summary["month"]),
            "unknown" if month.is_detached and not month.dial_outs else str(month.dial_outs),
            str(month.bytes),
            "yes" if month.is_detached else "",
        )
    console().print(table)


@ledger_cli.command("detach")
def detach(
    before: Annotated[str, typer.Option(help="Take out every month before this one: 2025-01.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and say what would be done, and do nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Take old months out of the ledger, into the schema dialout_archive, oldest first.

    Each is checked first; the first that is unsound or has a call that is open ends the
    command with exit code 1. Calls go on meanwhile. docs/ledger.md says how to keep, restore
    and put back a month. Needs the owner's login.
    """
    until = _month("--before", before)
    with _ledger_or_fail(_OWNERS):
        good = asyncio.run(_detach(until, dry_run=dry_run, as_json=as_json))
    if not good:
        raise typer.Exit(EXIT_FINDINGS)


@ledger_cli.command("attach")
def attach(month: MonthOption, as_json: JsonOption = False) -> None:
    """Put a month back that was taken out and still is, or again, in dialout_archive.

    Calls wait while the month is read once. Needs the owner's login.
    """
    which = _month("--month", month)
    with _ledger_or_fail(_OWNERS):
        outcome = asyncio.run(_attach(which))
    _say(which, outcome, as_json=as_json)
    if outcome is not AttachOutcome.ATTACHED:
        raise typer.Exit(EXIT_FINDINGS)


async def _check(telling: Telling, tenant: str | None, kept: list[ChainHead]) -> None:
    kept_of = {
        tenant_id: list(heads) for tenant_id, heads in groupby(kept, lambda head: head.tenant_id)
    }
    done = 0
    async with db.pool(_patient(), read_only=True) as pool:
        books = Ledger(pool, call_seconds_max=CALL_SECONDS_MAX)
        known = await books.tenants()
        if tenant is not None:
            whose = tenant_among(known, tenant, as_json=telling.as_json)
            known = (whose,)
            kept_of = {whose.tenant_id: kept_of.get(whose.tenant_id, [])}
        tenants = [each.tenant_id for each in known]
        with progress(is_quiet=telling.as_json) as bars:
            bar = bars.add_task("checking", total=await _total(books, tenants))
            for tenant_id in tenants:
                async for stretch in stretches(books, [tenant_id]):
                    for finding in await prove(books, stretch):
                        telling.finding(finding)
                    bars.advance(bar)
                    done += 1
                for finding in await books.check_heads(tenant_id, kept_of.pop(tenant_id, [])):
                    telling.finding(finding)
                telling.tenant(await books.heads(tenant_id))
    for tenant_id in kept_of:
        telling.finding(_gone(tenant_id))
    telling.end(done)


async def _total(books: Ledger, tenants: list[UUID]) -> int:
    return sum([len(await books.months(tenant_id)) + 1 for tenant_id in tenants])


def _gone(tenant_id: UUID) -> Finding:
    return Finding(
        tenant_id=tenant_id,
        check=FindingCode.HEAD_DIFFERS,
        subject=str(tenant_id),
        detail="the tenant was known before and is missing",
    )


async def _months() -> tuple[Month, ...]:
    async with db.pool(_patient(), read_only=True) as pool:
        return await Months(pool, call_seconds_max=CALL_SECONDS_MAX).months()


async def _detach(until: datetime, *, dry_run: bool, as_json: bool) -> bool:
    """Take out the months before ``until``; return False at the first that must stay."""
    async with db.pool(_patient()) as pool:
        owner = Months(pool, call_seconds_max=CALL_SECONDS_MAX)
        books = Ledger(pool, call_seconds_max=CALL_SECONDS_MAX)
        for month in await owner.months():
            if month.is_detached or month.month >= until:
                continue
            telling = Telling(as_json=as_json)
            await _check_month(telling, books, month.month)
            if telling.findings:
                _say(month.month, "unsound", as_json=as_json)
                return False
            take_out = _would_detach if dry_run else _really_detach
            outcome, good = await take_out(owner, month.month)
            _say(month.month, outcome, as_json=as_json)
            if not good:
                return False
    return True


async def _really_detach(owner: Months, month: datetime) -> tuple[str, bool]:
    outcome = await owner.detach(month, datetime.now(UTC))
    return outcome, outcome is DetachOutcome.DETACHED


async def _would_detach(owner: Months, month: datetime) -> tuple[str, bool]:
    refusal = await owner.refusal(month, datetime.now(UTC))
    return refusal or "would_be_detached", refusal is None


async def _check_month(telling: Telling, books: Ledger, month: datetime) -> None:
    tenants = await books.tenants()
    with progress(is_quiet=telling.as_json) as bars:
        bar = bars.add_task(f"checking {month:%Y-%m}", total=len(tenants))
        for tenant in tenants:
            for finding in await books.check_month(tenant.tenant_id, month):
                telling.finding(finding)
            bars.advance(bar)


async def _attach(month: datetime) -> AttachOutcome:
    async with db.pool(_patient()) as pool:
        return await Months(pool, call_seconds_max=CALL_SECONDS_MAX).attach(month)


def _say(month: datetime, outcome: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"month": f"{month:%Y-%m}", "outcome": outcome}))
    else:
        typer.echo(f"{month:%Y-%m}: {outcome.replace('_', ' ')}")


def _month(option: str, text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        fail(f"{option} {text}: a month is written 2025-01")


def _kept(file: Path) -> list[ChainHead]:
    """Return the heads that an earlier check printed, by tenant; other lines are passed over."""
    heads = []
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                head = _Line.model_validate_json(line).head
            except ValidationError:
                fail(f"{file}, line {number}: not a line that `ledger check --json` printed")
            if head is not None:
                heads.append(ChainHead(**head.model_dump()))
    return sorted(heads, key=lambda head: head.tenant_id)


def _patient() -> DatabaseSettings:
    return read(read_database_settings).model_copy(update={"call_seconds_max": CALL_SECONDS_MAX})


@contextmanager
def _ledger_or_fail(variable: str) -> Iterator[None]:
    try:
        yield
    except LedgerUnavailable as error:
        fail_without_ledger(error, variable)
