"""How reports are written: read back by other programs, whatever people have written in them."""

import asyncio
import csv
import json
import re
from collections.abc import AsyncIterator, Sequence
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.rating import Micros
from gateway.reports.cells import (
    CHUNK_CHARS,
    Cells,
    Money,
    Text,
    csv_row,
    csv_text,
    in_chunks,
    json_row,
    json_text,
)
from tests.core.arbitrary import deterministic

TRIGGERS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"

# What a spreadsheet would act on, and what a CSV file is made of, more often than chance has it.
hostile = st.text(st.sampled_from(f"{TRIGGERS}'\",;1a ") | st.characters(exclude_categories=["Cs"]))


def parse_rfc4180(text: str) -> list[list[str]]:
    """Read CSV by the grammar of RFC 4180 alone, and insist that there is nothing else."""
    field = r'(?:"(?:[^"]|"")*"|[^",\r\n]*)'
    record = re.compile(rf"{field}(?:,{field})*\r\n")
    records, place = [], 0
    while place < len(text):
        found = record.match(text, place)
        assert found, f"no record at {text[place : place + 40]!r}"
        records.append(
            [
                cell[1:-1].replace('""', '"') if cell.startswith('"') else cell
                for cell in re.findall(rf"({field})(?:,|\r\n)", found[0])
            ]
        )
        place = found.end()
    return records


async def each(rows: Sequence[Cells]) -> AsyncIterator[Cells]:
    """Yield the rows."""
    for row in rows:
        yield row


def whole(pieces: AsyncIterator[str]) -> str:
    """Return all pieces of a text."""

    async def gathered() -> str:
        return "".join([piece async for piece in pieces])

    return asyncio.run(gathered())


@deterministic
@given(st.lists(st.lists(hostile, min_size=2, max_size=2), max_size=5))
def test_csv_is_read_as_it_was_written(texts: list[list[str]]) -> None:
    """By the grammar of RFC 4180 itself and by Python's reader: quotes, commas and line ends."""
    rows: list[Cells] = [dict(zip("ab", map(Text, pair), strict=True)) for pair in texts]
    written = whole(csv_text(("a", "b"), each(rows)))

    read = parse_rfc4180(written)

    assert read[0] == ["a", "b"]
    assert read == list(csv.reader(StringIO(written, newline=""), strict=True))
    assert [[cell.removeprefix("'") for cell in row] for row in read[1:]] == texts


@deterministic
@given(hostile)
def test_no_text_is_a_formula(text: str) -> None:
    """A name like =HYPERLINK(...) would run on the machine of whoever opens the export."""
    [[cell, _]] = parse_rfc4180(csv_row({"a": Text(text), "b": 1}))

    assert cell[:1] not in TRIGGERS or cell == "" or re.fullmatch(r"\+[0-9]+", cell, re.ASCII)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("\t=1", "'\t=1"),
        ("\uff1d1", "'\uff1d1"),
        ("'t Hooft", "''t Hooft"),
        ("+442079460123", "+442079460123"),
        ("+44 20 7946 0123", "'+44 20 7946 0123"),
        ("+٤٤", "'+٤٤"),
        ("Ann = Bob", "Ann = Bob"),
        ("", ""),
    ],
)
def test_an_apostrophe_is_in_front_of_what_could_be_computed(text: str, cell: str) -> None:
    """And of another apostrophe, so that one may be taken off each; a whole number stays."""
    assert Text(text).guarded == cell


def test_telephone_numbers_keep_their_plus_sign() -> None:
    """They are ours, checked by the database, and what other programs look calls up by."""
    assert csv_row({"a": "+442079460123", "b": 0}) == "+442079460123,0\r\n"


@pytest.mark.parametrize(
    ("micros", "units"),
    [(0, "0.000000"), (1, "0.000001"), (-1, "-0.000001"), (12_345_678, "12.345678")],
)
def test_money_is_exact(micros: int, units: str) -> None:
    """To the millionth: a sum over the export is the ledger's."""
    assert Money(Micros(micros)).units == units


def test_json_names_its_units() -> None:
    """Money in JSON is micros, as everywhere; absent texts are null; texts are not changed."""
    row: Cells = {"name": Text("=1"), "nobody": Text(""), "charge": Money(Micros(5)), "n": {"x": 1}}

    assert json.loads(json_row(row)) == {
        "name": "=1",
        "nobody": None,
        "charge_micros": 5,
        "n": {"x": 1},
    }


@deterministic
@given(st.lists(st.dictionaries(st.text(max_size=3), hostile.map(Text)), max_size=4))
def test_json_is_one_array(rows: list[Cells]) -> None:
    """However many rows there are, none included; and a part of it is no JSON."""
    written = whole(json_text(each(rows)))

    assert len(json.loads(written)) == len(rows)
    with pytest.raises(json.JSONDecodeError):
        json.loads(written[: written.rindex("]")])


def test_an_empty_csv_has_its_header() -> None:
    """A program that reads it finds the columns that it looks for."""
    assert whole(csv_text(("a", "b"), each([]))) == "a,b\r\n"


def test_text_goes_out_in_few_pieces() -> None:
    """Never more in memory than a piece, nor one for each row."""
    long_rows: list[Cells] = [{"a": "x" * 999}] * 1000

    async def sizes() -> list[int]:
        return [len(chunk) async for chunk in in_chunks(csv_text(("a",), each(long_rows)))]

    found = asyncio.run(sizes())

    assert sum(found) == len("a\r\n") + 1000 * 1001
    assert max(found) < CHUNK_CHARS + 2000
    assert len(found) == 16


def test_rows_are_asked_for_as_they_are_needed() -> None:
    """An export without end begins at once: a slow client is no load on the ledger."""

    async def endless() -> AsyncIterator[Cells]:
        while True:
            yield {"a": "x"}

    async def first() -> bytes:
        return await anext(in_chunks(json_text(endless())))

    assert asyncio.run(first()).startswith(b'[\n{"a": "x"},\n')
