"""A sheet of comma-separated values: its rows, or everything that is wrong with it, by line.

RFC 4180 in UTF-8, with or without a byte order mark. The first line names the columns, in any
order; an empty cell is a value that is not given. A sheet is read a line at a time, so that
its size does not matter.
"""

import codecs
import csv
from abc import abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

LINE_BYTES_MAX: Final = 65_536
_SHOWN_CHARS_MAX: Final = 60


class Row(BaseModel):
    """What one line of a sheet holds; its fields are the columns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    @abstractmethod
    def key(self) -> Hashable:
        """What no second line of the sheet may have, too."""

    @classmethod
    def columns(cls) -> dict[str, bool]:
        """Return each column, and whether it must be there."""
        return {
            field.alias or name: field.is_required() for name, field in cls.model_fields.items()
        }


R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line(Generic[R]):
    """A line without fault. ``number`` counts from 1, the header's."""

    number: int
    row: R


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetFault:
    """What is wrong in a line, and what would be right. No ``column``: the line as a whole.

    The message is safe to print: whatever it quotes of the sheet is escaped.
    """

    line: int
    column: str | None = None
    message: str

    def __str__(self) -> str:
        where = "" if self.column is None else f"{self.column}: "
        return f"line {self.line}: {where}{self.message}"

    def summary(self) -> dict[str, object]:
        """Return the fault as plain JSON values."""
        return {"line": self.line, "column": self.column, "message": self.message}


def read_sheet(file: BinaryIO, kind: type[R]) -> Iterator[Line[R] | SheetFault]:
    """Yield each line as a row of this kind, or what is wrong with it.

    A header with a fault is the end: what stands below could only be guessed at.
    """
    records = _records(file)
    first = next(records, None)
    if first is None:
        yield SheetFault(line=1, message=f"The file is empty. {_columns(kind)}")
        return
    header = first
    if isinstance(header, SheetFault):
        yield header
        return
    faults = list(_header_faults(header, kind))
    if faults:
        yield from faults
        return
    yield from _rows(records, header, kind)


def explained(fault: ErrorDetails) -> str:
    """Return what is wrong with a value that somebody typed: the value, and what is allowed."""
    if fault["type"] == "missing":
        return "must not be empty"
    message = fault["msg"].removeprefix("Value error, ").replace("Input should", "must")
    return f"{shown(fault['input'])}: {message}"


def shown(value: object) -> str:
    """Return a value quoted, short, and without what a terminal would act on."""
    text = str(value)
    if len(text) > _SHOWN_CHARS_MAX:
        return f"{text[:_SHOWN_CHARS_MAX]!r}..."
    return repr(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """The cells of one line, or of several, if a quoted cell has line ends in it."""

    line: int
    cells: Sequence[str]


def _records(file: BinaryIO) -> Iterator[_Record | SheetFault]:
    reader = csv.reader(_lines(file), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield SheetFault(line=line, message=f"is not RFC 4180: {error}")
            continue
        if not _is_text(cells):
            yield SheetFault(line=line, message="is not UTF-8")
        elif cells:
            yield _Record(line=line, cells=cells)


def _lines(file: BinaryIO) -> Iterator[str]:
    """Yield the lines as text; bytes that are no text become surrogates, to be found later."""
    mark = codecs.BOM_UTF8
    while raw := file.readline(LINE_BYTES_MAX + 1):
        if len(raw) > LINE_BYTES_MAX:
            raise csv.Error(f"longer than {LINE_BYTES_MAX} bytes; what follows was not read")
        yield raw.removeprefix(mark).decode(errors="surrogateescape")
        mark = b""


def _is_text(cells: Sequence[str]) -> bool:
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return False
    return True


def _header_faults(header: _Record, kind: type[Row]) -> Iterator[SheetFault]:
    for name in dict.fromkeys(header.cells):
        if name not in kind.columns():
            yield _header_fault(name, f"There is no such column. {_columns(kind)}")
        elif header.cells.count(name) > 1:
            yield _header_fault(name, "The column comes twice.")
    for name, is_required in kind.columns().items():
        if is_required and name not in header.cells:
            yield _header_fault(name, f"The column is missing. {_columns(kind)}")


def _header_fault(name: str, message: str) -> SheetFault:
    return SheetFault(line=1, column=name if name.isidentifier() else shown(name), message=message)


def _columns(kind: type[Row]) -> str:
    """Return which columns a sheet may have."""
    needed = [name for name, is_required in kind.columns().items() if is_required]
    optional = [name for name in kind.columns() if name not in needed]
    names = f"Columns, separated by commas: {', '.join(needed)}"
    return f"{names}; and if need be {', '.join(optional)}." if optional else f"{names}."


def _rows(
    records: Iterator[_Record | SheetFault], header: _Record, kind: type[R]
) -> Iterator[Line[R] | SheetFault]:
    seen: dict[Hashable, int] = {}
    record: _Record | SheetFault | None = None
    for record in records:
        if isinstance(record, SheetFault):
            yield record
            continue
        for each in _row(record, header.cells, kind):
            if isinstance(each, Line):
                first = seen.setdefault(each.row.key, each.number)
                if first != each.number:
                    each = SheetFault(line=each.number, message=f"is for the same as line {first}")
            yield each
    if record is None:
        yield SheetFault(line=header.line, message="There are no lines below the header.")


def _row(record: _Record, names: Sequence[str], kind: type[R]) -> Iterator[Line[R] | SheetFault]:
    """Yield the row, or a fault for each of its cells that has one."""
    if len(record.cells) != len(names):
        message = f"has {len(record.cells)} cells where the header has {len(names)}"
        yield SheetFault(line=record.line, message=message)
        return
    given = {name: cell for name, cell in zip(names, record.cells, strict=True) if cell}
    try:
        yield Line(number=record.line, row=kind.model_validate(given))
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            column = str(fault["loc"][0]) if fault["loc"] else None
            yield SheetFault(line=record.line, column=column, message=explained(fault))
