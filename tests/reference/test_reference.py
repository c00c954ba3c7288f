"""The shipped reference data: what a line may say, and the facts that are easily got wrong."""

import csv
import re
from datetime import date
from itertools import pairwise
from pathlib import Path

import phonenumbers
import pytest
from phonenumbers import PhoneNumberType

FILES = Path(__file__).parents[2] / "sql" / "reference"

#: The last day on which somebody looked for sources; nothing can have been listed later.
RESEARCHED_ON = date(2026, 11, 21)

#: file -> its columns, and how many of the first ones are the key, by which it is sorted.
SHAPES = {
    "countries": (1, "region,name,selector_2018"),
    "availability": (
        2,
        "region,version,audio_conferencing_sold,credits_sold,call_me,toll_numbers,toll_free_numbers",
    ),
    "zones": (3, "zone,region,valid_from,valid_to"),
    "restrictions": (3, "region,kind,valid_from,valid_to,source"),
    "benefits": (1, "benefit_id,kind,sku,zone,minutes_a_licence,valid_from,valid_to,source"),
    "high_risk_prefixes": (1, "prefix,region,note,source,listed_on"),
}

YES_NO = {"yes", "no"}
CLOSED_SETS = [
    ("countries", "selector_2018", YES_NO),
    ("availability", "version", {"2018-04-03", "2019-04-09", "2022-09-22", "2023-01-25"}),
    (
        "availability",
        "audio_conferencing_sold",
        {"yes", "no", "ppm_only", "outside_users_only"},
    ),
    ("availability", "credits_sold", YES_NO),
    (
        "availability",
        "call_me",
        {
            "included",
            "included_except_customers_buying_in_CN",
            "credits_required",
            "credits_per_minute",
            "not_available",
        },
    ),
    ("availability", "toll_numbers", YES_NO),
    ("availability", "toll_free_numbers", YES_NO),
    ("zones", "zone", {"zone_a"}),
    ("restrictions", "kind", {"dial_out_disabled"}),
    ("benefits", "kind", {"promotion", "pool", "addon"}),
    ("benefits", "sku", {"audio_conferencing", "extended_dialout_us_ca"}),
    ("benefits", "zone", {"zone_a", ""}),
]

Row = dict[str, str]


def cells(name: str) -> list[list[str]]:
    """Return a file's lines as they are written, the header among them."""
    text = (FILES / f"{name}.csv").read_bytes().decode("utf-8")
    assert "\r" not in text
    assert text.endswith("\n")
    return list(csv.reader(text.splitlines(), strict=True))


def rows(name: str) -> list[Row]:
    """Return the lines of a file by column."""
    header, *lines = cells(name)
    return [dict(zip(header, line, strict=True)) for line in lines]


def zone_a() -> set[str]:
    """Return the regions of Zone A."""
    return {row["region"] for row in rows("zones")}


def availability(region: str) -> dict[str, Row]:
    """Return what is known of a region, by version."""
    return {row["version"]: row for row in rows("availability") if row["region"] == region}


def benefit(benefit_id: str) -> Row:
    """Return the benefit of that name."""
    return next(row for row in rows("benefits") if row["benefit_id"] == benefit_id)


@pytest.mark.parametrize("name", SHAPES)
def test_a_file_has_its_columns_and_is_sorted_by_a_unique_key(name: str) -> None:
    """The loader relies on the columns, and a key that is there twice contradicts itself.

    Sorted, because then a change shows as the lines that changed.
    """
    key_columns, columns = SHAPES[name]
    header, *lines = cells(name)
    keys = [line[:key_columns] for line in lines]

    assert header == columns.split(",")
    assert {len(line) for line in lines} == {len(header)}
    assert keys == sorted(keys)
    assert len({tuple(key) for key in keys}) == len(keys)
    assert all(cell == cell.strip() for line in lines for cell in line)


def test_no_file_is_without_a_test() -> None:
    """A file that nothing checks would ship whatever is in it."""
    assert {file.stem for file in FILES.glob("*.csv")} == set(SHAPES)


@pytest.mark.parametrize(("name", "column", "words"), CLOSED_SETS)
def test_a_column_says_only_words_of_its_closed_set(
    name: str, column: str, words: set[str]
) -> None:
    """Each word is in use, too, so that no set is wider than the data: a misspelt "yes" is a no."""
    assert {row[column] for row in rows(name)} == words


@pytest.mark.parametrize("name", ["availability", "zones", "restrictions"])
def test_every_region_named_is_a_country_of_the_list(name: str) -> None:
    """The tables refer to it; a region that is missing there cannot be loaded."""
    countries = {row["region"] for row in rows("countries")}

    assert {row["region"] for row in rows(name)} <= countries


def test_every_country_is_a_region_that_a_number_can_have() -> None:
    """A destination's country comes from the number metadata: another code would never match."""
    assert {row["region"] for row in rows("countries")} <= phonenumbers.SUPPORTED_REGIONS


@pytest.mark.parametrize("name", ["zones", "restrictions", "benefits"])
def test_a_period_ends_after_it_begins(name: str) -> None:
    """An empty bound is no bound. The end is exclusive, so an equal one would be no time at all."""
    for row in rows(name):
        begin = date.fromisoformat(row["valid_from"] or "0001-01-01")
        end = date.fromisoformat(row["valid_to"] or "9999-12-31")
        assert begin < end, row


# Zones and countries.


def test_the_44_countries_and_the_86_of_the_selector() -> None:
    """The two figures of the public documents, and Zone A lies within the selector."""
    selector = {row["region"] for row in rows("countries") if row["selector_2018"] == "yes"}

    assert len(zone_a()) == 44
    assert len(selector) == 86
    assert zone_a() < selector


@pytest.mark.parametrize(
    ("region", "in_zone_a"),
    [
        ("CN", True),  # where nothing is sold
        ("IN", True),
        ("RU", True),  # where no credits are sold
        ("KR", True),
        ("TW", True),
        ("US", True),
        ("PR", True),  # an entry of its own beside US
        ("CA", True),
        ("GU", False),  # +1, and none of them the US
        ("MP", False),
        ("BS", False),
        ("JM", False),
        ("DO", False),
        ("BM", False),
        ("KZ", False),  # +7, and not Russia
        ("BY", False),  # whose page once said that Call Me was available
        ("BH", False),
        ("MC", False),
        ("ZW", False),
        ("CK", False),
    ],
)
def test_who_is_in_zone_a_and_who_only_seems_to_be(region: str, in_zone_a: bool) -> None:
    """A calling code is no country, and a destination may be where nothing is sold."""
    assert (region in zone_a()) is in_zone_a


# Availability.


@pytest.mark.parametrize(
    ("region", "column", "by_version"),
    [
        # CN, IN: destinations of Zone A where Audio Conferencing is not sold.
        ("CN", "audio_conferencing_sold", "no no outside_users_only outside_users_only"),
        ("CN", "credits_sold", "no no no no"),
        ("IN", "audio_conferencing_sold", "no no no no"),
        ("IN", "credits_sold", "no no no no"),
        ("IN", "call_me", "included included included included"),
        # RU, KR, TW: Zone A and sold, but never credits.
        ("RU", "audio_conferencing_sold", "yes yes yes yes"),
        ("RU", "credits_sold", "no no no no"),
        ("KR", "audio_conferencing_sold", "yes yes yes yes"),
        ("KR", "credits_sold", "no no no no"),
        ("TW", "audio_conferencing_sold", "yes yes yes yes"),
        ("TW", "credits_sold", "no no no no"),
        # BY: "available" on the page of 2018, never in Zone A.
        ("BY", "audio_conferencing_sold", "no no ppm_only ppm_only"),
        ("BY", "call_me", "included credits_per_minute credits_per_minute credits_per_minute"),
        # BH flips.
        ("BH", "audio_conferencing_sold", "no yes no no"),
        ("BH", "credits_sold", "yes no no no"),
        # HK and UA change once each.
        ("HK", "audio_conferencing_sold", "no yes yes yes"),
        ("HK", "credits_sold", "no yes yes yes"),
        ("UA", "credits_sold", "yes yes no no"),
        # PR has a page of its own.
        ("PR", "audio_conferencing_sold", "yes yes yes yes"),
        # Listed later: no page in 2018 and 2019.
        ("GU", "audio_conferencing_sold", "- - ppm_only ppm_only"),
        ("MP", "audio_conferencing_sold", "- - ppm_only ppm_only"),
        ("BS", "audio_conferencing_sold", "- - ppm_only ppm_only"),
        ("JM", "audio_conferencing_sold", "- - ppm_only ppm_only"),
        ("BM", "audio_conferencing_sold", "- - ppm_only ppm_only"),
        ("KZ", "credits_sold", "- - no no"),
        ("DO", "call_me", "not_available credits_required credits_required credits_required"),
        # Never on a page at all.
        ("ZW", "audio_conferencing_sold", "- - - -"),
        ("CK", "audio_conferencing_sold", "- - - -"),
    ],
)
def test_what_is_sold_where_by_version(region: str, column: str, by_version: str) -> None:
    """The versions disagree, so the version is a setting. A dash: the source is silent."""
    known = availability(region)
    versions = ["2018-04-03", "2019-04-09", "2022-09-22", "2023-01-25"]

    said = [known[version][column] if version in known else "-" for version in versions]

    assert said == by_version.split()


def test_call_me_is_included_exactly_in_zone_a() -> None:
    """In every version, but for BY in 2018: two lists of different documents confirm each other."""
    for version in ("2018-04-03", "2019-04-09", "2022-09-22", "2023-01-25"):
        included = {
            row["region"]
            for row in rows("availability")
            if row["version"] == version and row["call_me"].startswith("included")
        }
        assert included - zone_a() == ({"BY"} if version == "2018-04-03" else set())
        assert zone_a() <= included


def test_a_region_that_is_on_a_page_stays_on_the_later_ones() -> None:
    """A row that was lost would read as "the source is silent"."""
    assert len(rows("availability")) == 86 * 2 + 114 * 2
    selector = {row["region"] for row in rows("countries") if row["selector_2018"] == "yes"}
    for region in selector:
        assert len(availability(region)) == 4, region


def test_customers_in_china_may_not_dial_out() -> None:
    """Only they: CN stays a destination, and no other country's customers are barred."""
    assert [(row["region"], row["kind"]) for row in rows("restrictions")] == [
        ("CN", "dial_out_disabled")
    ]


# Benefits.


@pytest.mark.parametrize(
    ("benefit_id", "kind", "sku", "zone", "minutes", "valid_from", "valid_to"),
    [
        ("complimentary_2018", "promotion", "audio_conferencing", "zone_a", "", "", "2018-07-01"),
        (
            "complimentary_900",
            "promotion",
            "audio_conferencing",
            "zone_a",
            "900",
            "2018-11-12",
            "2019-12-01",
        ),
        ("extended_dialout_us_ca", "addon", "extended_dialout_us_ca", "", "", "", ""),
        ("standard_pool", "pool", "audio_conferencing", "zone_a", "60", "2019-12-01", ""),
    ],
)
def test_what_a_licence_brings_and_when(
    benefit_id: str,
    kind: str,
    sku: str,
    zone: str,
    minutes: str,
    valid_from: str,
    valid_to: str,
) -> None:
    """The regimes of the documents to the day: until 2018-06-30 inclusive is until 2018-07-01."""
    assert list(benefit(benefit_id).values())[:7] == [
        benefit_id,
        kind,
        sku,
        zone,
        minutes,
        valid_from,
        valid_to,
    ]


def test_there_is_no_other_benefit() -> None:
    """A fifth one would pay for calls without a rule that says so."""
    assert len(rows("benefits")) == 4


def test_at_any_instant_one_benefit_at_most_brings_minutes_in_zone_a() -> None:
    """Complimentary minutes were replaced by the pool, never added to it."""
    regimes = sorted(
        (row["valid_from"] or "0001-01-01", row["valid_to"] or "9999-12-31")
        for row in rows("benefits")
        if row["sku"] == "audio_conferencing"
    )

    for (_, end), (begin, _) in pairwise(regimes):
        assert end <= begin


@pytest.mark.parametrize("name", ["restrictions", "benefits", "high_risk_prefixes"])
def test_every_line_names_its_source(name: str) -> None:
    """What refuses a call, or pays for it, can be looked up by whoever doubts it."""
    assert all(len(row["source"]) > 20 for row in rows(name))


# High-risk prefixes.

HIGH_RISK = rows("high_risk_prefixes")


def calling_code(prefix: str) -> str:
    """Return the calling code that the digits begin with."""
    codes = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
    return next(prefix[:n] for n in (1, 2, 3) if int(prefix[:n]) in codes)


def region_of(prefix: str) -> str | None:
    """Return the region of a range: its calling code's only one, else that of a number in it."""
    code = calling_code(prefix)
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE[int(code)]
    if len(regions) == 1:
        return str(regions[0])
    national = (prefix[len(code) :] + "2345678901")[:10]
    return phonenumbers.region_code_for_number(phonenumbers.parse(f"+{code}{national}"))


@pytest.mark.parametrize("row", HIGH_RISK, ids=[row["prefix"] for row in HIGH_RISK])
def test_a_high_risk_line_is_digits_with_a_public_source_and_a_day(row: Row) -> None:
    """The list is on by default, so each line must answer "says who, and since when?"."""
    assert re.fullmatch(r"[1-9][0-9]{1,14}", row["prefix"])
    assert re.search(r"https?://\S+", row["source"])
    assert row["note"]
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", row["listed_on"])
    assert date.fromisoformat(row["listed_on"]) <= RESEARCHED_ON


@pytest.mark.parametrize("row", HIGH_RISK, ids=[row["prefix"] for row in HIGH_RISK])
def test_a_high_risk_line_names_the_region_of_its_range(row: Row) -> None:
    """A slip of one digit blocks another country; the region says which one was meant."""
    assert row["region"] == region_of(row["prefix"])


def test_no_high_risk_line_is_covered_by_a_shorter_one() -> None:
    """It would be a line that never decides, and stays when the one that does is removed."""
    prefixes = {row["prefix"] for row in HIGH_RISK}

    for prefix in prefixes:
        assert not {prefix[:n] for n in range(1, len(prefix))} & prefixes, prefix


@pytest.mark.parametrize("kind", [PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE])
def test_no_high_risk_line_covers_an_ordinary_number_of_a_listed_country(kind: int) -> None:
    """A wrong no costs a customer, and in these countries there are some: narrow ranges only.

    All of Zone A is among them.
    """
    prefixes = tuple(row["prefix"] for row in HIGH_RISK)

    for region in {row["region"] for row in rows("countries")}:
        example = phonenumbers.example_number_for_type(region, kind)
        assert example is not None, region
        digits = f"{example.country_code}{phonenumbers.national_significant_number(example)}"
        assert not digits.startswith(prefixes), region
