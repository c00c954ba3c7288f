"""A deck as its sheet is read: faults by line, clashes with the numbering plans, versions."""

import re
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest

from gateway.core.e164 import Region
from gateway.ledger import DeckRow
from gateway.provisioning.decks import STARTS_MAX, DeckSheet
from gateway.provisioning.forms import DeckForm, DeckRowForm
from gateway.sheet import SheetFault, read_sheet

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HEADER = (
    "prefix,name,price,currency,connect_fee,initial_increment,increment,regions,valid_from,"
    "days,from,to\n"
)
LONELY = "prefix: has hours, and no line prices the prefix at other times from then on"
COUNTRIES = {
    "Kenya": Region("KE"),
    "Guinea": Region("GN"),
    "Guinea-Bissau": Region("GW"),
    "United Kingdom": Region("GB"),
    "Jamaica": Region("JM"),
}


def line(prefix: str = "44", **cells: str) -> str:
    """Return a line that is good unless ``cells`` make it bad; ``start`` and ``end`` are times."""
    given = {"prefix": prefix, "price": "0.01", "initial_increment": "60", "increment": "60"}
    given |= {{"start": "from", "end": "to"}.get(name, name): cell for name, cell in cells.items()}
    return ",".join(given.get(column, "") for column in HEADER.strip().split(",")) + "\n"


def read(text: str, *, starts_at: datetime | None = None) -> tuple[DeckSheet, list[SheetFault]]:
    """Return a sheet in USD as it was read, and what is wrong with it."""
    deck = DeckForm(name="deck", currency="USD", starts_at=starts_at)
    sheet = DeckSheet(deck, NOW, COUNTRIES)
    faults: list[SheetFault] = []
    for each in read_sheet(BytesIO(text.encode()), DeckRowForm):
        faults.extend([each] if isinstance(each, SheetFault) else sheet.take(each))
    return sheet, [*faults, *sheet.finish()]


def shape(rows: list[DeckRow]) -> list[tuple[str, int, str | None]]:
    """Return prefix, price and hours of rows."""
    return [
        (row.prefix, row.price_micros, None if row.hours is None else str(row.hours))
        for row in rows
    ]


@pytest.mark.parametrize(
    ("lines", "faults"),
    [
        ([line(currency="EUR")], ["line 2: currency: 'EUR': the deck is in USD"]),
        ([line(currency="USD")], []),
        ([line(), line()], ["line 3: is for the same as line 2"]),
        ([line(), line(days="mon-sun")], ["line 3: is for the same as line 2"]),
        ([line(), line(start="08:00")], ["line 3: from and to: needs both, or none of them"]),
        (
            [line(start="08:00", end="08:00")],
            ["line 2: to: is the same as from: leave both out for whole days"],
        ),
        (
            [line(), line(start="24:00", end="08:00")],
            ["line 3: from: '24:00': must be a time like 08:00"],
        ),
        (
            [line(), line(days="funday")],
            ["line 3: days: 'funday': must be days like mon-fri or sat,sun"],
        ),
        (
            [line(), line(days="mon"), line(start="18:00", end="20:00")],
            ["line 4: prefix: has hours that line 3 has, too"],
        ),
        (
            [line(), line(days="sun", start="22:00", end="06:00"), line(days="mon")],
            ["line 4: prefix: has hours that line 3 has, too"],
        ),
        ([line(), line(days="mon"), line(days="tue"), line("45"), line("45", days="mon")], []),
        (
            [line(days="mon"), line("45")],
            [f"line 2: {LONELY}"],
        ),
        (
            [line(valid_from="2027-01-01"), line(days="mon")],
            [f"line 3: {LONELY}"],
        ),
        ([line(valid_from="soon")], ["line 2: valid_from: 'soon': must be a time like"]),
        ([line(name="\x1b[31m")], ["line 2: name: '\\x1b[31m': must be 1 to 128 characters"]),
    ],
)
def test_lines_that_contradict_each_other_are_named(lines: list[str], faults: list[str]) -> None:
    """Each by its number and with what would be right, before anything is written."""
    _, found = read(HEADER + "".join(lines))

    assert len(found) == len(faults)
    assert all(str(fault).startswith(text) for fault, text in zip(found, faults, strict=True)), (
        found
    )


def test_a_sheet_without_starts_is_one_version() -> None:
    """It takes effect now, or when the command says; hours are rows of their prefix."""
    sheet, faults = read(HEADER + line() + line("45") + line(days="sat", price="0.02"))
    later, _ = read(HEADER + line(), starts_at=NOW + timedelta(days=1))

    assert faults == []
    [version] = sheet.versions()
    assert version.starts_at == NOW
    assert shape(list(version.rows)) == [
        ("44", 10_000, None),
        ("44", 20_000, "sat 00:00-24:00"),
        ("45", 10_000, None),
    ]
    assert [each.starts_at for each in later.versions()] == [NOW + timedelta(days=1)]


def test_a_row_holds_until_a_later_one_of_its_prefix() -> None:
    """Each version is whole: what does not start anew goes on; the hours of before do not."""
    sheet, faults = read(
        HEADER
        + line("45")
        + line(days="sat", price="0.02")
        + line("33", valid_from="2027-02-01")
        + line(price="0.03", valid_from="2027-01-01T00:00:00+01:00")
        + line()
    )

    assert faults == []
    first, second, third = sheet.versions()
    assert shape(list(first.rows)) == [
        ("45", 10_000, None),
        ("44", 10_000, None),
        ("44", 20_000, "sat 00:00-24:00"),
    ]
    assert second.starts_at == datetime(2026, 12, 31, 23, tzinfo=UTC)
    assert shape(list(second.rows)) == [("45", 10_000, None), ("44", 30_000, None)]
    assert {row.prefix for row in third.rows} == {"45", "44", "33"}


def test_the_starts_of_a_sheet_have_an_end() -> None:
    """Each is a copy of the deck: a sheet with a start a line would be one of a million rows."""
    days = [f"2027-01-{day:02}" for day in range(1, STARTS_MAX + 2)]

    _, faults = read(HEADER + "".join(line(valid_from=day) for day in days))

    assert [str(fault) for fault in faults] == [
        f"line {STARTS_MAX + 2}: valid_from: is a start more than the {STARTS_MAX} that a sheet "
        "may have"
    ]


def test_hours_price_the_countries_of_their_prefix() -> None:
    """Else a call within them would be refused as one to another country."""
    sheet, _ = read(
        HEADER
        + line("1", regions="US;CA")
        + line("1", days="sat")
        + line("1", days="sun", regions="US")
    )

    [version] = sheet.versions()
    assert [row.regions for row in version.rows] == [
        frozenset({"US", "CA"}),
        frozenset({"US", "CA"}),
        frozenset({"US"}),
    ]


@pytest.mark.parametrize(
    ("prefix", "cells", "clash"),
    [
        ("1876", {"regions": "JM"}, None),
        ("1876", {"regions": "US"}, (("US",), ("JM",))),
        ("1", {"regions": "US;CA;JM"}, None),
        ("44", {"regions": "GB;IE"}, (("GB", "IE"), ("GB", "GG", "IM", "JE"))),
        ("254", {"name": "Kenya"}, None),
        ("2547", {"name": "KENYA - Mobile"}, None),
        ("2547", {"name": "Jamaica, mobile"}, (("JM",), ("KE",))),
        ("245", {"name": "Guinea-Bissau"}, None),
        ("245", {"name": "Guinea Special"}, (("GN",), ("GW",))),
        ("4477", {"name": "United Kingdom: mobile"}, None),
        ("4477", {"name": "Mobile of Kenya"}, None),
        ("254", {"name": "Jamaica", "regions": "KE"}, None),
        ("45123", {}, ((), ())),
        ("999", {"regions": "GB"}, (("GB",), ())),
        ("882", {"regions": "001"}, None),
    ],
)
def test_rows_at_odds_with_the_numbering_plans_are_told(
    prefix: str, cells: dict[str, str], clash: tuple[tuple[str, ...], tuple[str, ...]] | None
) -> None:
    """A typing error in a prefix prices another country; it is loaded all the same, and told."""
    sheet, faults = read(
        HEADER + line(prefix, **({"name": ""} | {k: f'"{v}"' for k, v in cells.items()}))
    )

    assert faults == []
    assert [(each.line, each.prefix, each.named, each.reached) for each in sheet.clashes] == (
        [] if clash is None else [(2, prefix, *clash)]
    )


def test_the_sheet_of_the_manual_is_good() -> None:
    """Whoever copies the sample of docs/rating.md has a deck that can be loaded."""
    manual = (Path(__file__).parents[2] / "docs" / "rating.md").read_text(encoding="utf-8")
    [sample] = re.findall(r"^```csv\n(.+?)^```$", manual, re.MULTILINE | re.DOTALL)

    sheet, faults = read(sample)

    assert (faults, sheet.clashes) == ([], [])
    [version] = sheet.versions()
    assert [str(row.hours) for row in version.rows if row.hours] == [
        "mon 20:00-24:00, tue-fri 00:00-07:00 20:00-24:00, sat 00:00-07:00",
        "sat-sun 07:00-20:00",
    ]
