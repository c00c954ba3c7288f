"""``dialout replay``: what would have become of recorded requests under something else."""

import asyncio
import json
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, assert_never

import typer
from rich.table import Table

from gateway import db
from gateway.cli.provisioning import tenant_among
from gateway.cli.terminal import (
    JsonOption,
    TenantOption,
    checked,
    console,
    fail,
    fail_without_ledger,
    instant,
    new_table,
    printable,
    progress,
    read,
)
from gateway.core.choices import ChoiceFaults, read_choices
from gateway.core.e164 import METADATA_VERSION
from gateway.inquiry import Inquiry
from gateway.ledger import Ledger, LedgerUnavailable, TenantName, TriedDeck
from gateway.provisioning.forms import DECK_NAME
from gateway.replay import Candidate, Replay, Replayed, Unread
from gateway.settings import PlacingSettings, read_placing_settings

CALL_SECONDS_MAX = 60.0
"""A page of records may be far away on the disk, and nobody waits on a telephone."""

CHANGES_SHOWN = 20

NOT_REPLAYED = frozenset(
    {
        "addon_fair_use_minutes",
        "availability_version",
        "confirmation",
        "on_exhaustion",
        "pool_basis",
    }
)
"""Choices that no rule looks at: they change what the ledger funds, how a call goes on, or
provisioning."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What changes for one tenant. Money in micros of ``currency``."""

    tenant: TenantName
    requests: int = 0
    unread: Counter[Unread] = field(default_factory=Counter)
    newly_refused: Counter[str] = field(default_factory=Counter)
    newly_allowed: Counter[str] = field(default_factory=Counter)
    recorded_micros: int = 0
    candidate_micros: int = 0
    unfunded_seconds: int = 0

    def add(self, replayed: Replayed) -> None:
        """Count one request."""
        self.requests += 1
        if replayed.unread is not None:
            self.unread[replayed.unread] += 1
        if replayed.before is None and replayed.after is not None:
            self.newly_refused[replayed.after] += 1
        if replayed.before is not None and replayed.after is None:
            self.newly_allowed[replayed.before] += 1
        self.recorded_micros += replayed.recorded_micros
        self.candidate_micros += replayed.candidate_micros
        self.unfunded_seconds += replayed.unfunded_seconds

    def summary(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "tenant_id": str(self.tenant.tenant_id),
            "name": self.tenant.name,
            "currency": self.tenant.currency,
            "requests": self.requests,
            "unread": dict(self.unread),
            "newly_refused": dict(self.newly_refused),
            "newly_allowed": dict(self.newly_allowed),
            "recorded_micros": self.recorded_micros,
            "candidate_micros": self.candidate_micros,
            "moved_micros": self.candidate_micros - self.recorded_micros,
            "unfunded_seconds": self.unfunded_seconds,
        }


def replay(
    since: Annotated[str, typer.Option(help="From when on, ISO 8601; without an offset, UTC.")],
    until: Annotated[str | None, typer.Option(help="Until before when. Default: now.")] = None,
    tenant: TenantOption = None,
    deck: Annotated[
        str | None, typer.Option(help="A rate deck by name, instead of each tenant's own.")
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file of choices, as `dialout policy show` names them; "
            "what it leaves out stays as it was.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Decide recorded requests again, under another deck, policy or numbering plan. Read-only.

    The digits are always read again, by the numbering plans that are installed. Lists what
    would be newly refused, newly allowed, and the money that would move, per tenant.
    """
    choices = {} if policy is None else _choices(policy)
    unseen = sorted(NOT_REPLAYED.intersection(choices))
    deck_name = None if deck is None else checked("deck", DECK_NAME, deck)
    start, end = instant("--since", since), instant("--until", until)
    settings = read(read_placing_settings)
    try:
        tallies, changes = asyncio.run(
            _Run(settings, choices, deck_name, as_json).tenants(tenant, start, end)
        )
    except LedgerUnavailable as error:
        fail_without_ledger(error, "DIALOUT_DATABASE__DSN")
    if unseen:
        typer.echo(
            f"Not replayed: {', '.join(unseen)}. They change no decision that is on record, "
            "but what the ledger funds or what may be provisioned.",
            err=True,
        )
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "metadata_version": METADATA_VERSION,
                    "tenants": [tally.summary() for tally in tallies],
                    "changes": [change.summary() for change in changes],
                    "not_replayed": unseen,
                }
            )
        )
        return
    out = console()
    out.print(_table(tallies))
    if changes:
        out.print(_changes(changes[:CHANGES_SHOWN]))
    if len(changes) > CHANGES_SHOWN:
        out.print(f"{len(changes) - CHANGES_SHOWN} more changes: --json lists them all.")


class _Run:
    """One run over the tenants, with a bar for whoever watches."""

    def __init__(
        self,
        settings: PlacingSettings,
        choices: dict[str, Any],
        deck: str | None,
        as_json: bool,
    ) -> None:
        self._database = settings.database.model_copy(update={"call_seconds_max": CALL_SECONDS_MAX})
        self._trunks = settings.trunks()
        self._choices = choices
        self._deck = deck
        self._as_json = as_json
        self._bar = progress(is_quiet=as_json)
        self._changes: list[Replayed] = []

    async def tenants(
        self, tenant: str | None, since: datetime, until: datetime
    ) -> tuple[list[Tally], list[Replayed]]:
        async with db.pool(self._database, read_only=True) as pool:
            ledger = Ledger(pool, call_seconds_max=CALL_SECONDS_MAX)
            tenants = list(await ledger.tenants())
            if tenant is not None:
                tenants = [tenant_among(tenants, tenant, as_json=self._as_json)]
            if not tenants:
                fail("There is no tenant yet.")
            deck, tenants = await self._priced(ledger, tenants)
            run = Replay(
                ledger=ledger,
                inquiry=Inquiry(ledger=ledger, trunks=self._trunks),
                candidate=Candidate(deck=deck, choices=self._choices),
            )
            with self._bar:
                tallies = [await self._tenant(ledger, run, each, since, until) for each in tenants]
            return tallies, self._changes

    async def _priced(
        self, ledger: Ledger, tenants: list[TenantName]
    ) -> tuple[TriedDeck | None, list[TenantName]]:
        """Return the deck to try, as it is now, and the tenants whose currency it is in."""
        if self._deck is None:
            return None, tenants
        found = await ledger.rate_deck_find(self._deck)
        if found is None:
            fail(f"There is no rate deck {self._deck}. See: dialout deck list")
        deck_id, currency = found
        priced = [each for each in tenants if each.currency == currency]
        if not priced:
            fail(f"The deck {self._deck} is in {currency}, and the tenants are not.")
        if len(priced) < len(tenants):
            left_out = len(tenants) - len(priced)
            typer.echo(f"{left_out} tenants in other currencies than {currency} left out", err=True)
        return TriedDeck(deck_id=deck_id, rates_at=datetime.now(UTC)), priced

    async def _tenant(
        self, ledger: Ledger, run: Replay, tenant: TenantName, since: datetime, until: datetime
    ) -> Tally:
        tally = Tally(tenant=tenant)
        total = await ledger.dial_outs_count(tenant.tenant_id, since, until)
        task = self._bar.add_task(printable(tenant.name), total=total)
        async for replayed in run.run(tenant.tenant_id, since, until):
            tally.add(replayed)
            if replayed.is_changed:
                self._changes.append(replayed)
            self._bar.advance(task)
        return tally


def _choices(file: Path) -> dict[str, Any]:
    try:
        return read_choices(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ChoiceFaults) as error:
        fail(f"{file} is no policy:\n{error}")


def _table(tallies: list[Tally]) -> Table:
    table = new_table(
        "tenant", "requests", "newly refused", "newly allowed", "charged", "would be", "moved"
    )
    for tally in tallies:
        table.add_row(
            printable(tally.tenant.name),
            "\n".join([str(tally.requests), *map(_unread, tally.unread.items())]),
            _reasons(tally.newly_refused),
            _reasons(tally.newly_allowed),
            _money(tally.recorded_micros, tally.tenant.currency),
            _money(tally.candidate_micros, tally.tenant.currency),
            _money(tally.candidate_micros - tally.recorded_micros, tally.tenant.currency),
        )
    return table


def _changes(changes: list[Replayed]) -> Table:
    table = new_table("asked for", "number", "was", "would be", "moved")
    for change in changes:
        summary = change.summary()
        table.add_row(
            summary["requested_at"],
            printable(summary["number_typed"]),
            summary["before"],
            summary["after"],
            _money(change.moved_micros, change.currency or ""),
        )
    return table


def _unread(counted: tuple[Unread, int]) -> str:
    match counted:
        case Unread.OTHER_FORMAT, count:
            return f"{count} of an older format"
        case Unread.UNKNOWN_BRIDGE, count:
            return f"{count} of a bridge that is not in the settings"
        case Unread.CALLED_IN, count:
            return f"{count} of telephones that called in"
        case never:
            assert_never(never)


def _reasons(counted: Counter[str]) -> str:
    return "\n".join(f"{count} {reason}" for reason, count in counted.most_common()) or "0"


def _money(micros: int, currency: str) -> str:
    sign = "-" if micros < 0 else ""
    units, rest = divmod(abs(micros), 1_000_000)
    return f"{sign}{units}.{rest:06d} {currency}".rstrip()
