"""Digits as people type them, and the country that they really mean."""

import phonenumbers
import pytest

from gateway.core.e164 import (
    Destination,
    NumberKind,
    NumberRefusal,
    Region,
    prefix_reach,
    read_number,
    regions_reached,
)
from gateway.core.reasons import Reason


@pytest.mark.parametrize(
    ("typed", "region", "e164", "country"),
    [
        ("+44 20 7946 0000", "US", "+442079460000", "GB"),
        ("020 7946 0000", "GB", "+442079460000", "GB"),
        ("011 44 20 7946 0000", "US", "+442079460000", "GB"),
        ("00 44 20 7946 0000", "DE", "+442079460000", "GB"),
        ("(202) 555-0123", "US", "+12025550123", "US"),
        ("2025550123", "CA", "+12025550123", "US"),
        ("+1 416 555 0123", "US", "+14165550123", "CA"),
        # The calling code is not the country.
        ("+1 876 555 0123", "US", "+18765550123", "JM"),
        ("+1 658 555 0123", "US", "+16585550123", "JM"),
        ("+1 787 555 0123", "US", "+17875550123", "PR"),
        ("+1 809 555 0123", "US", "+18095550123", "DO"),
        ("+1 441 292 1234", "US", "+14412921234", "BM"),
        ("+1 242 345 6789", "US", "+12423456789", "BS"),
        ("+1 721 542 5678", "US", "+17215425678", "SX"),
        ("+7 701 555 0123", "RU", "+77015550123", "KZ"),
        ("+44 7911 123456", "GB", "+447911123456", "GG"),
        ("+39 06 698 12345", "IT", "+390669812345", "VA"),
        ("+358 18 12345", "FI", "+3581812345", "AX"),
        ("+61 8 9162 1234", "AU", "+61891621234", "CC"),
        # A leading zero that belongs to the number stays.
        ("02 1234 5678", "IT", "+390212345678", "IT"),
    ],
)
def test_a_number_and_its_country(typed: str, region: str, e164: str, country: str) -> None:
    """The country is the region of the number; a wrong one is a wrong price."""
    number = read_number(typed, Region(region))

    assert isinstance(number, Destination)
    assert (number.e164, number.region) == (e164, country)


def test_the_same_digits_mean_two_countries_to_two_people() -> None:
    """Digits without + are read in the country of whoever typed them."""
    german = read_number("030 901820", Region("DE"))
    italian = read_number("030 901820", Region("IT"))

    assert isinstance(german, Destination)
    assert isinstance(italian, Destination)
    assert (german.e164, german.region) == ("+4930901820", "DE")
    assert (italian.e164, italian.region) == ("+39030901820", "IT")


@pytest.mark.parametrize(
    ("typed", "region", "kind"),
    [
        ("+1 888 555 0123", "US", NumberKind.TOLL_FREE),
        ("+1 900 555 0123", "US", NumberKind.PREMIUM_RATE),
        ("0900 1234567", "DE", NumberKind.PREMIUM_RATE),
        ("+44 70 1234 5678", "GB", NumberKind.PERSONAL),
        ("+44 3069 990000", "GB", NumberKind.UAN),
        ("+870 773 111 632", "US", NumberKind.GLOBAL_NETWORK),
        ("+882 16 5556 1234", "US", NumberKind.GLOBAL_NETWORK),
        ("+254 712 345 678", "US", NumberKind.MOBILE),
    ],
)
def test_the_kind_of_a_number(typed: str, region: str, kind: NumberKind) -> None:
    """Kinds that are priced apart are told apart; a satellite network has no country."""
    number = read_number(typed, Region(region))

    assert isinstance(number, Destination)
    assert number.kind is kind
    assert (number.region == "001") == (kind is NumberKind.GLOBAL_NETWORK)


@pytest.mark.parametrize(
    ("typed", "region"),
    [
        ("112", "GB"),
        ("999", "GB"),
        ("911", "US"),
        ("9-1-1", "US"),
        (" 9 1 1 ", "US"),
        ("9111234567", "US"),
        ("+44 999", "US"),
        ("110", "DE"),
        ("411", "US"),
    ],
)
def test_emergency_and_short_codes_are_never_numbers(typed: str, region: str) -> None:
    """However they are written, and whoever's they are."""
    refusal = NumberRefusal(reason=Reason.EMERGENCY_OR_SHORT_CODE)

    assert read_number(typed, Region(region)) == refusal


@pytest.mark.parametrize(
    ("typed", "region", "organizer"),
    [
        ("000", "GB", "AU"),
        ("0 0 0", "GB", "AU"),
        ("911", "DE", "US"),
        ("119", "AU", "JP"),
        ("999", "DE", "GB"),
        ("17", "GB", "FR"),
    ],
)
def test_an_emergency_number_of_the_organizers_country_is_none_either(
    typed: str, region: str, organizer: str
) -> None:
    """Somebody abroad dials what helps at home; nobody may believe that help is being called."""
    refusal = NumberRefusal(reason=Reason.EMERGENCY_OR_SHORT_CODE)

    assert read_number(typed, Region(region), Region(organizer)) == refusal
    assert read_number(typed, Region(region)) != refusal


@pytest.mark.parametrize(
    ("typed", "region", "organizer", "country"),
    [
        ("020 7946 0000", "GB", "US", "GB"),
        ("030 901820", "IT", "DE", "IT"),
        # It begins with 911, which connects at once in the US, but is whole in Germany.
        ("0911 1234567", "DE", "US", "DE"),
        ("+1 911 234 5678", "DE", "US", "ZZ"),
    ],
)
def test_the_organizers_country_changes_no_number(
    typed: str, region: str, organizer: str, country: str
) -> None:
    """Only whole emergency numbers of it are refused; digits are read where they are dialled."""
    number = read_number(typed, Region(region), Region(organizer))

    assert number == read_number(typed, Region(region))
    assert isinstance(number, Destination)
    assert number.region == country


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "+",
        "+1",
        "+12",
        "1234567",
        "+++12025550123",
        "+1 202 555 0123 4567 8901",
        "1-800-FLOWERS",
        "+1 202 555 0123 x12",
        "+1 202 555 0123;ext=12",
        "tel:+12025550123",
        "+1202555012&PJSIP/1",
        "+12025550123@trunk",
        "${SHELL(id)}",
        "+12025550123\r\nAction: Originate",
        "+12025550123\x00",
        "+\u0661\u0662\u0660\u0662\u0665\u0665\u0665\u0660\u0661\u0662\u0663",
        "\uff0b\uff11\uff12\uff10\uff12\uff15\uff15\uff15\uff10\uff11\uff12\uff13",
        "2" * 41,
        "+" + "9" * 39,
    ],
)
def test_what_is_no_number_is_refused(typed: str) -> None:
    """Letters, other scripts, extensions, dial strings and protocol lines are not read at all."""
    assert read_number(typed, Region("US")) == NumberRefusal(reason=Reason.NUMBER_INVALID)


@pytest.mark.parametrize(
    ("typed", "e164", "country"),
    [
        ("+45 12 34 56 78", "+4512345678", "DK"),
        ("+49 12345", "+4912345", "DE"),
        ("+263 13 12345", "+2631312345", "ZW"),
        # Several countries share the calling code: whose it would be cannot be told.
        ("+44 7700 900123", "+447700900123", "ZZ"),
        ("+1 200 555 0123", "+12005550123", "ZZ"),
    ],
)
def test_a_number_in_no_given_range_is_told_apart(typed: str, e164: str, country: str) -> None:
    """Possible but never given out: the ranges in which fraud buys its numbers."""
    number = read_number(typed, Region("FR"))

    assert isinstance(number, Destination)
    assert (number.e164, number.region, number.kind) == (e164, country, NumberKind.UNALLOCATED)


@pytest.mark.parametrize(
    ("prefix", "regions", "is_exact"),
    [
        # A calling code that several share is meant for the first; +1 is two of twenty-five.
        ("1", "US CA", False),
        ("7", "RU", False),
        ("39", "IT", False),
        ("44", "GB", False),
        ("47", "NO", False),
        ("61", "AU", False),
        ("212", "MA", False),
        ("262", "RE", False),
        ("358", "FI", False),
        ("590", "GP", False),
        ("599", "CW", False),
        ("45", "DK", False),
        # A longer prefix that one country alone has is that country's.
        ("1202", "US", False),
        ("1416", "CA", False),
        ("1787", "PR", False),
        ("1876", "JM", False),
        ("1671", "GU", False),
        ("77", "KZ", False),
        ("441481", "GG", False),
        ("3906698", "VA", False),
        ("35818", "AX", False),
        ("4779", "SJ", False),
        # One that several have is meant for the first of those that have it.
        ("12", "US CA", False),
        ("447", "GB", False),
        ("4477", "GB", False),
        # What no ordinary number begins with.
        ("1900", "US CA", True),
        ("1888", "US CA", True),
        ("1500", "US", True),
        ("449", "GB", True),
        ("4470", "GB", True),
        ("44800", "GB", True),
        ("49180", "DE", True),
        ("49900", "DE", True),
        ("78", "RU", False),
        ("19", "US CA", False),
        ("4476", "GB", False),
        # A network's calling code is all its own.
        ("800", "001", True),
        ("870", "001", True),
        ("8816", "001", True),
        ("979", "001", True),
        # No number begins so, or no country has the code.
        ("45123", "", False),
        ("3100", "", False),
        ("999", "", False),
        ("88", "", False),
        ("0", "", False),
    ],
)
def test_what_a_prefix_of_a_deck_stands_for(prefix: str, regions: str, is_exact: bool) -> None:
    """A deck that means one country must not price another; and a premium price must be exact."""
    reach = prefix_reach(prefix)

    assert (reach.regions, reach.is_exact) == (frozenset(regions.split()), is_exact)


@pytest.mark.parametrize(
    ("prefix", "reached"),
    [
        ("7", "RU KZ"),
        ("77", "KZ"),
        ("44", "GB GG JE IM"),
        ("447700", "GB JE"),
        ("1876", "JM"),
        ("1787", "PR"),
        ("8816", "001"),
        ("45123", ""),
        ("999", ""),
    ],
)
def test_whose_numbers_begin_with_a_prefix(prefix: str, reached: str) -> None:
    """Not only the country that it is meant for: a deck may rightly name any of these."""
    found = regions_reached(prefix)

    assert found == frozenset(reached.split())
    assert prefix_reach(prefix).regions <= found


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_no_part_of_an_ordinary_number_is_an_exact_prefix(region: str) -> None:
    """Else credits would pay premium prices under the name of a whole country."""
    example = phonenumbers.example_number(region)
    assert example is not None
    digits = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)[1:]

    assert not any(prefix_reach(digits[:n]).is_exact for n in range(1, len(digits) + 1))


# They share the ranges of a neighbour, and the metadata cannot tell them apart.
SHARED_RANGES = {"EH": "MA", "MF": "BL"}


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_the_example_number_of_every_country_is_its_own(region: str) -> None:
    """Typed with +, by somebody elsewhere, each country's example is a number of that country."""
    example = phonenumbers.example_number(region)
    assert example is not None
    e164 = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)

    number = read_number(e164, Region("ZW" if region == "US" else "US"))

    assert isinstance(number, Destination)
    assert (number.e164, number.region) == (e164, SHARED_RANGES.get(region, region))
