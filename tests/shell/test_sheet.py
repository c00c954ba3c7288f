"""Sheets: what is read of them, and what is said of faulty ones."""

from collections.abc import Hashable
from io import BytesIO
from typing import Annotated

import pytest
from pydantic import Field

from gateway.sheet import LINE_BYTES_MAX, Line, Row, SheetFault, read_sheet, shown

HEADER = b"name,seconds,note\n"


class Song(Row):
    """What the sheets of these tests hold."""

    name: str
    seconds: Annotated[int, Field(ge=1, le=600)]
    note: str = "none"

    @property
    def key(self) -> Hashable:
        """The name."""
        return self.name


def read(content: bytes) -> tuple[list[tuple[int, Song]], list[str]]:
    """Return the good lines of a sheet with their numbers, and its faults as people see them."""
    each = list(read_sheet(BytesIO(content), Song))
    good = [(line.number, line.row) for line in each if isinstance(line, Line)]
    return good, [str(fault) for fault in each if isinstance(fault, SheetFault)]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (HEADER + b"a,1,x\n", [(2, Song(name="a", seconds=1, note="x"))]),
        (b"\xef\xbb\xbf" + HEADER + b"a,1,x\n", [(2, Song(name="a", seconds=1, note="x"))]),
        (HEADER + b"a,1,x", [(2, Song(name="a", seconds=1, note="x"))]),
        (b"note,name,seconds\r\nx,a,1\r\n", [(2, Song(name="a", seconds=1, note="x"))]),
        (b"name,seconds\na,1\n", [(2, Song(name="a", seconds=1))]),
        (HEADER + b"a,1,\n", [(2, Song(name="a", seconds=1))]),
        (HEADER + b"\na,1,x\n\n", [(3, Song(name="a", seconds=1, note="x"))]),
        (
            HEADER + '"é, ""b"""'.encode() + b",1,x\n",
            [(2, Song(name='é, "b"', seconds=1, note="x"))],
        ),
        (
            HEADER + b'a,1,"x\ny"\nb,2,z\n',
            [(2, Song(name="a", seconds=1, note="x\ny")), (4, Song(name="b", seconds=2, note="z"))],
        ),
    ],
)
def test_good_sheets_are_read(content: bytes, rows: list[tuple[int, Song]]) -> None:
    """As spreadsheets write them: byte order mark or none, any order, quotes, empty cells."""
    assert read(content) == (rows, [])


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        (b"", ["line 1: The file is empty."]),
        (b"\n\n", ["line 1: The file is empty."]),
        (HEADER, ["line 1: There are no lines below the header."]),
        (b"name,seconds,colour\na,1,x\n", ["line 1: colour: There is no such column."]),
        (b"name,note\na,x\n", ["line 1: seconds: The column is missing."]),
        (b"name,name,seconds\na,b,1\n", ["line 1: name: The column comes twice."]),
        (b"name;seconds\na;1\n", ["line 1: 'name;seconds'", "line 1: name", "line 1: seconds"]),
        (b"\xff\xfen\x00a\x00\n\x00", ["line 1: is not UTF-8"]),
        (b'"name\n', ["line 1: is not RFC 4180"]),
        (HEADER + b"a,1\n", ["line 2: has 2 cells where the header has 3"]),
        (HEADER + b"a,1,x,y\n", ["line 2: has 4 cells where the header has 3"]),
        (HEADER + b",1,x\n", ["line 2: name: must not be empty"]),
        (HEADER + b"a,601,x\n", ["line 2: seconds: '601': must be less than or equal to 600"]),
        (HEADER + b"a,,x\n", ["line 2: seconds: must not be empty"]),
        (HEADER + b"a,1,\xff\n", ["line 2: is not UTF-8"]),
        (HEADER + b"a,\x00\x1b[31m,x\n", ["line 2: seconds: '\\x00\\x1b[31m': must be"]),
        (HEADER + b'"a"b,1,x\n', ["line 2: is not RFC 4180"]),
        (HEADER + b'"a,1,x\nb,2,y\n', ["line 2: is not RFC 4180: unexpected end of data"]),
        (HEADER + b"a,1,x\nb,2,y\na,3,z\n", ["line 4: is for the same as line 2"]),
        (HEADER + b"a," + b"1" * LINE_BYTES_MAX, ["line 2: is not RFC 4180: longer than 65536"]),
    ],
)
def test_faults_are_named_by_line(content: bytes, faults: list[str]) -> None:
    """Line, column, what stands there and what is allowed: enough to mend it at once."""
    _, found = read(content)

    assert len(found) == len(faults)
    for said, expected in zip(found, faults, strict=True):
        assert said.startswith(expected)


def test_every_fault_is_named_and_the_rest_is_read() -> None:
    """One reading shows all there is to mend; a broken line does not hide the next one."""
    good, faults = read(HEADER + b"a,x,1\nb,1\nc,3,z\n" + b'"d"d,1,x\n,0,\ne,5,z\n')

    assert [number for number, _ in good] == [4, 7]
    assert [fault.split(":")[0] for fault in faults] == [
        "line 2",
        "line 3",
        "line 5",
        "line 6",
        "line 6",
    ]


def test_a_header_fault_tells_which_columns_there_are() -> None:
    """Nobody should have to look into the manual for a misspelt name."""
    _, [fault] = read(b"nam,seconds,name\n")

    assert "name, seconds; and if need be note." in fault


def test_a_sheet_is_read_a_line_at_a_time() -> None:
    """The size of a sheet is no matter of memory: a line is used before the next one is read."""

    class Endless(BytesIO):
        lines = 0

        def readline(self, _size: int | None = -1, /) -> bytes:
            self.lines += 1
            return HEADER if self.lines == 1 else b"song %d,1,x\n" % self.lines

    file = Endless()
    lines = read_sheet(file, Song)

    for _ in range(10):
        next(lines)

    assert file.lines == 11


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "'a'"),
        ("\x1b[2J\x07", "'\\x1b[2J\\x07'"),
        ("\u202egnp.exe", "'\\u202egnp.exe'"),
        ("x" * 61, f"'{'x' * 60}'..."),
    ],
)
def test_what_is_quoted_is_harmless(value: str, text: str) -> None:
    """A terminal must not act on what somebody wrote into a sheet."""
    assert shown(value) == text
