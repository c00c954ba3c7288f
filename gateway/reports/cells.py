"""The cells of a report, and how they are written: as CSV for people's programs, or as JSON.

CSV is that of RFC 4180: UTF-8 without byte order mark, a header, commas, CRLF, and quotes
where a cell has one of these in it. Money is a decimal number in units of the currency.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-`` or ``@`` for a formula, and
what stands in names and typed numbers is other people's. Such a text gets an apostrophe in
front, and so does one that begins with an apostrophe: whoever takes one apostrophe off gets
what was there. A plus sign and digits, as telephone numbers are written, stay as they are: as
a formula they are that number, and nothing else.
"""

import csv
import json
import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from typing import Final, TypeAlias

from gateway.core.rating import Micros

MICROS_A_UNIT: Final = 1_000_000
CHUNK_CHARS: Final = 65_536

# The wide forms of the four signs are read as the narrow ones in some languages.
_FORMULA = re.compile("['=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"\+[0-9]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in micro-units of the currency that its row names."""

    micros: Micros

    @property
    def units(self) -> str:
        """The amount in units, exactly."""
        sign = "-" if self.micros < 0 else ""
        units, rest = divmod(abs(self.micros), MICROS_A_UNIT)
        return f"{sign}{units}.{rest:06d}"


@dataclass(frozen=True, slots=True)
class Text:
    """What somebody else wrote. Empty where nobody wrote anything."""

    text: str

    @property
    def guarded(self) -> str:
        """The text such that no spreadsheet computes it."""
        if _FORMULA.match(self.text) and not _NUMBER.fullmatch(self.text):
            return f"'{self.text}"
        return self.text


Cell: TypeAlias = str | int | Money | Text | Mapping[str, int] | None
Cells: TypeAlias = dict[str, Cell]


def iso(at: datetime) -> str:
    """Return an instant in UTC, as ISO 8601 to the millisecond: Asterisk tells no more."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def csv_line(cells: Iterable[str]) -> str:
    """Return one line of a CSV file."""
    line = StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue()


def csv_row(cells: Cells) -> str:
    """Return a row as one line of a CSV file."""
    return csv_line(map(_csv_cell, cells.values()))


def json_row(cells: Cells) -> str:
    """Return a row as a JSON object. Money is micros, under a name that says so."""
    return json.dumps(dict(map(_json_member, cells.items())), ensure_ascii=False)


async def csv_text(columns: Iterable[str], rows: AsyncIterable[Cells]) -> AsyncIterator[str]:
    """Yield a whole CSV file, in pieces."""
    yield csv_line(columns)
    async for row in rows:
        yield csv_row(row)


async def json_text(rows: AsyncIterable[Cells]) -> AsyncIterator[str]:
    """Yield a whole JSON array, in pieces. One that was cut off is no JSON, and so noticed."""
    opening = "[\n"
    async for row in rows:
        yield opening + json_row(row)
        opening = ",\n"
    yield "[]\n" if opening == "[\n" else "\n]\n"


async def in_chunks(pieces: AsyncIterable[str]) -> AsyncIterator[bytes]:
    """Yield the same text in few large pieces, for a network or a disk."""
    held = StringIO()
    async for piece in pieces:
        held.write(piece)
        if held.tell() >= CHUNK_CHARS:
            yield held.getvalue().encode()
            held = StringIO()
    if held.tell():
        yield held.getvalue().encode()


def _csv_cell(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case Text():
            return cell.guarded
        case Money():
            return cell.units
        case Mapping():
            return " ".join(f"{name}:{count}" for name, count in sorted(cell.items()))
        case _:
            return str(cell)


def _json_member(member: tuple[str, Cell]) -> tuple[str, object]:
    name, cell = member
    match cell:
        case Text():
            return name, cell.text or None
        case Money():
            return f"{name}_micros", cell.micros
        case _:
            return name, cell
