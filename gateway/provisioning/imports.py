"""A sheet into the database: all of it, or none of it and everything that is wrong with it.

A sheet is read twice. The first reading finds what is wrong with the lines themselves, so that
no transaction is open, and no row of a tenant locked, for a sheet that is no good anyway.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import BinaryIO, Final, TypeVar

from gateway.ledger import Change, Provisioning, RateDeckOutcome
from gateway.provisioning.decks import Clash, DeckSheet, Version
from gateway.provisioning.forms import Author, DeckForm, DeckRowForm
from gateway.provisioning.outcomes import OUTCOME_TEXTS, Standing
from gateway.sheet import Line, Row, SheetFault, read_sheet

FAULTS_MAX: Final = 1000
LINES_A_TURN: Final = 500
"""How many lines are read before it is asked whether to go on."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class DeckImported:
    """What came of a deck of so many lines, and which of them contradict the numbering plans."""

    outcome: RateDeckOutcome
    lines: int
    clashes: Sequence[Clash]


# What to say of a sheet of several versions.
_LOUDEST_FIRST: Final = (
    RateDeckOutcome.PUT,
    RateDeckOutcome.SCHEDULED,
    RateDeckOutcome.EXISTS,
)


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

    def extend(self, faults: Iterable[SheetFault]) -> None:
        for fault in faults:
            self.add(fault)

    def rejected(self) -> Rejected | None:
        """Return what was found; None if nothing was."""
        if not self._listed:
            return None
        return Rejected(faults=tuple(self._listed), more=self._more)


def _takes_all(_line: Line[R]) -> Iterable[SheetFault]:
    """Find nothing wrong with a line beside the others."""
    return ()


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
        self, file: BinaryIO, deck: DeckForm, at: datetime
    ) -> DeckImported | Rejected:
        """Make the sheet the whole of a deck from its start on; ``at`` is now."""
        sheet = DeckSheet(deck, at, await self._provisioning.countries())
        lines = await self._read(file, DeckRowForm, sheet.take, sheet.finish)
        if isinstance(lines, Rejected):
            return lines
        versions = await asyncio.to_thread(lambda: list(sheet.versions()))
        outcomes: set[RateDeckOutcome] = set()
        async with self._changing() as change:
            for version in versions:
                outcome = await self._put_version(change, deck, version, at)
                if not OUTCOME_TEXTS[outcome].standing.is_done:
                    change.abandon()
                    return DeckImported(outcome=outcome, lines=lines, clashes=sheet.clashes)
                outcomes.add(outcome)
        outcome = next(each for each in _LOUDEST_FIRST if each in outcomes)
        return DeckImported(outcome=outcome, lines=lines, clashes=sheet.clashes)

    async def _put_version(
        self, change: Change, deck: DeckForm, version: Version, at: datetime
    ) -> RateDeckOutcome:
        rows = len(version.rows)
        return await change.rate_deck_put(
            deck.name,
            deck.currency,
            version.rows,
            at,
            starts_at=version.starts_at,
            time_zone=deck.time_zone,
            progress=lambda sent: self._progress(sent, rows),
        )

    async def _read(
        self,
        file: BinaryIO,
        kind: type[R],
        take: Callable[[Line[R]], Iterable[SheetFault]] = _takes_all,
        finish: Callable[[], Iterable[SheetFault]] = tuple,
    ) -> int | Rejected:
        """Return how many lines there are, all of them good, or what is wrong with them.

        Elsewhere than on the loop that serves calls, and in turns, so that it can be ended.
        """
        faults = _Faults()
        sheet = read_sheet(file, kind)
        lines = 0
        while turn := await asyncio.to_thread(_read_some, sheet, take, faults):
            lines += turn
            self._progress(lines, None)
        faults.extend(finish())
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


def _read_some(
    sheet: Iterator[Line[R] | SheetFault],
    take: Callable[[Line[R]], Iterable[SheetFault]],
    faults: _Faults,
) -> int:
    """Read some lines, and return how many there were."""
    lines = 0
    for each in islice(sheet, LINES_A_TURN):
        lines += 1
        faults.extend((each,) if isinstance(each, SheetFault) else take(each))
    return lines


def _tell_nobody(_done: int, _of: int | None) -> None:
    """Report nothing."""
