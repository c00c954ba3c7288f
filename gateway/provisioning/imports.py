"""A sheet into the database: all of it, or none of it and everything that is wrong with it.

A sheet is read twice. The first reading finds what is wrong with the lines themselves, so that
no transaction is open, and no row of a tenant locked, for a sheet that is no good anyway.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import BinaryIO, Final, TypeVar

from gateway.ledger import Change, DeckRow, Provisioning, RateDeckOutcome
from gateway.provisioning.forms import Author, DeckRowForm
from gateway.provisioning.outcomes import OUTCOME_TEXTS, Standing
from gateway.sheet import Line, Row, SheetFault, read_sheet

FAULTS_MAX: Final = 1000
LINES_A_TURN: Final = 200
"""How many lines are read before other tasks, such as calls, get their turn."""

R = TypeVar("R", bound=Row)

Put = Callable[[Change, R], Awaitable[StrEnum]]
Progress = Callable[[int, int | None], None]
"""Hears how many lines are done, and of how many; None while they are still being checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """How many lines changed something, and how many were so already."""

    loaded: int
    unchanged: int

    def summary(self) -> dict[str, object]:
        """Return it as plain JSON values."""
        return {"loaded": self.loaded, "unchanged": self.unchanged}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Nothing was loaded. ``more`` faults than are listed were found."""

    faults: tuple[SheetFault, ...]
    more: int

    def summary(self) -> dict[str, object]:
        """Return it as plain JSON values."""
        return {"faults": [fault.summary() for fault in self.faults], "more": self.more}


class _Faults:
    """The first faults, and the number of the others: a sheet may have one in each line."""

    def __init__(self) -> None:
        self._listed: list[SheetFault] = []
        self._more = 0

    def add(self, fault: SheetFault) -> None:
        if len(self._listed) < FAULTS_MAX:
            self._listed.append(fault)
        else:
            self._more += 1

    def rejected(self) -> Rejected | None:
        """Return what was found; None if nothing was."""
        if not self._listed:
            return None
        return Rejected(faults=tuple(self._listed), more=self._more)


class Import:
    """Sheets into the database, in the name of ``author``. Files must be seekable."""

    def __init__(
        self,
        provisioning: Provisioning,
        author: Author,
        progress: Progress | None = None,
    ) -> None:
        self._provisioning = provisioning
        self._author = author
        self._progress = progress or _tell_nobody

    async def load(self, file: BinaryIO, kind: type[R], put: Put[R]) -> Imported | Rejected:
        """Put each row, in one transaction. A refusal of one line undoes all of them."""
        lines = await self._read(file, kind)
        if isinstance(lines, Rejected):
            return lines
        file.seek(0)
        faults = _Faults()
        loaded = unchanged = 0
        async with self._changing() as change:
            for each in read_sheet(file, kind):
                fault, standing = await _put(change, each, put)
                if fault is not None:
                    faults.add(fault)
                elif standing is Standing.UNCHANGED:
                    unchanged += 1
                else:
                    loaded += 1
                self._progress(loaded + unchanged, lines)
            rejected = faults.rejected()
            if rejected is not None:
                change.abandon()
                return rejected
        return Imported(loaded=loaded, unchanged=unchanged)

    async def load_deck(
        self, file: BinaryIO, name: str, currency: str, at: datetime
    ) -> tuple[RateDeckOutcome, int] | Rejected:
        """Make the sheet the whole of a deck from ``at`` on; return its number of prefixes, too."""
        rows: list[DeckRow] = []
        lines = await self._read(file, DeckRowForm, lambda row: rows.append(row.deck_row()))
        if isinstance(lines, Rejected):
            return lines
        async with self._changing() as change:
            return await change.rate_deck_put(name, currency, rows, at), lines

    async def _read(
        self, file: BinaryIO, kind: type[R], take: Callable[[R], None] | None = None
    ) -> int | Rejected:
        """Return how many lines there are, all of them good, or what is wrong with them."""
        faults = _Faults()
        lines = 0
        for each in read_sheet(file, kind):
            lines += 1
            if isinstance(each, SheetFault):
                faults.add(each)
            elif take is not None:
                take(each.row)
            if lines % LINES_A_TURN == 0:
                self._progress(lines, None)
                await asyncio.sleep(0)
        return faults.rejected() or lines

    def _changing(self) -> AbstractAsyncContextManager[Change]:
        return self._provisioning.change(actor=self._author.actor, because=self._author.because)


async def _put(
    change: Change, each: Line[R] | SheetFault, put: Put[R]
) -> tuple[SheetFault | None, Standing]:
    """Put one row. A line that was good before is faulty now if somebody rewrote the file."""
    if isinstance(each, SheetFault):
        return each, Standing.REFUSED
    text = OUTCOME_TEXTS[await put(change, each.row)]
    if text.standing.is_done:
        return None, text.standing
    return SheetFault(line=each.number, message=text.message), text.standing


def _tell_nobody(_done: int, _of: int | None) -> None:
    """Report nothing."""
