"""A rate deck as its sheet is read: which lines contradict each other, and what holds when.

A row holds from its start until a later one of its prefix starts, so a sheet with several
starts is as many versions of the deck, each of them whole.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from gateway.core.e164 import Region, regions_reached
from gateway.ledger import DeckRow
from gateway.provisioning.forms import DeckForm, DeckRowForm
from gateway.sheet import Line, SheetFault, shown

STARTS_MAX: Final = 24
"""Each start is a copy of the whole deck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """A row that says it prices ``named``, where no number of such a country begins so.

    ``reached`` are the countries whose numbers do begin with the prefix; a row without any
    prices nothing. Nothing is ``named`` if the row names no country.
    """

    line: int
    prefix: str
    name: str | None
    named: tuple[Region, ...]
    reached: tuple[Region, ...]

    def summary(self) -> dict[str, object]:
        """Return it as plain JSON values."""
        return {
            "line": self.line,
            "prefix": self.prefix,
            "name": self.name,
            "named": list(self.named),
            "reached": list(self.reached),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What a deck holds from an instant on."""

    starts_at: datetime
    rows: Sequence[DeckRow]


class DeckSheet:
    """The rows of a sheet for ``deck``. ``now`` is when they take effect unless it is said.

    ``countries`` are known by name, as a row may name the one that it prices.
    """

    def __init__(self, deck: DeckForm, now: datetime, countries: Mapping[str, Region]) -> None:
        self.clashes: list[Clash] = []
        self._currency = deck.currency
        self._start = deck.starts_at or now
        self._countries = {name.casefold(): region for name, region in countries.items()}
        self._always: dict[datetime, dict[str, DeckRow]] = {}
        self._within: dict[tuple[datetime, str], list[_Window]] = {}

    def take(self, line: Line[DeckRowForm]) -> Iterator[SheetFault]:
        """Add a line, or yield what is wrong with it beside the others."""
        form, number = line.row, line.number
        starts_at = form.valid_from or self._start
        if form.currency not in (None, self._currency):
            message = f"{shown(form.currency)}: the deck is in {self._currency}"
            yield SheetFault(line=number, column="currency", message=message)
        elif (form.from_time is None) != (form.to_time is None):
            yield SheetFault(line=number, message="from and to: needs both, or none of them")
        elif form.from_time is not None and form.from_time == form.to_time:
            message = "is the same as from: leave both out for whole days"
            yield SheetFault(line=number, column="to", message=message)
        elif starts_at not in self._always and len(self._always) == STARTS_MAX:
            message = f"is a start more than the {STARTS_MAX} that a sheet may have"
            yield SheetFault(line=number, column="valid_from", message=message)
        else:
            yield from self._add(number, starts_at, form.deck_row())

    def finish(self) -> Iterator[SheetFault]:
        """Yield what the whole sheet lacks."""
        for (starts_at, prefix), windows in self._within.items():
            if prefix not in self._always[starts_at]:
                for each in windows:
                    message = "has hours, and no line prices the prefix at other times from then on"
                    yield SheetFault(line=each.line, column="prefix", message=message)

    def versions(self) -> Iterator[Version]:
        """Yield what the deck holds, start by start."""
        held: dict[str, tuple[DeckRow, ...]] = {}
        for starts_at, always in sorted(self._always.items()):
            held |= {
                prefix: (row, *self._windows(starts_at, row)) for prefix, row in always.items()
            }
            yield Version(starts_at=starts_at, rows=[row for rows in held.values() for row in rows])

    def _add(self, number: int, starts_at: datetime, row: DeckRow) -> Iterator[SheetFault]:
        always = self._always.setdefault(starts_at, {})
        if row.hours is None:
            always[row.prefix] = row
        else:
            windows = self._within.setdefault((starts_at, row.prefix), [])
            other = next((each for each in windows if each.overlaps(row)), None)
            if other is not None:
                message = f"has hours that line {other.line} has, too"
                yield SheetFault(line=number, column="prefix", message=message)
            windows.append(_Window(line=number, row=row))
        clash = self._clash(number, row)
        if clash is not None:
            self.clashes.append(clash)

    def _windows(self, starts_at: datetime, always: DeckRow) -> Iterator[DeckRow]:
        """Yield the prices of a prefix within hours; they are of the countries that it prices."""
        for each in self._within.get((starts_at, always.prefix), ()):
            yield replace(each.row, regions=each.row.regions or always.regions)

    def _clash(self, number: int, row: DeckRow) -> Clash | None:
        named = row.regions or self._regions_by_name(row.name)
        reached = regions_reached(row.prefix)
        if reached and named <= reached:
            return None
        return Clash(
            line=number,
            prefix=row.prefix,
            name=row.name,
            named=tuple(sorted(named)),
            reached=tuple(sorted(reached)),
        )

    def _regions_by_name(self, name: str | None) -> frozenset[Region]:
        """Return the country that a row's name begins with; none if it begins with no country."""
        words = [] if name is None else name.casefold().split()
        beginnings = (" ".join(words[:count]).rstrip(",;:-") for count in range(len(words), 0, -1))
        found = (self._countries.get(beginning.strip()) for beginning in beginnings)
        return frozenset(filter(None, [next(filter(None, found), None)]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    line: int
    row: DeckRow

    def overlaps(self, row: DeckRow) -> bool:
        hours, others = self.row.hours, row.hours
        return hours is not None and others is not None and hours.overlap(others)
