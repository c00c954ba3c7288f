"""Digits as people type them, and the country that they really mean."""

import phonenumbers
import pytest

from gateway.core.e164 import Destination, NumberKind, NumberRefusal, Region, read_number
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
    danish = read_number("030 901820", Region("IT"))

    assert isinstance(german, Destination)
    assert german.region == "DE"
    assert german != danish


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


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_the_emergency_number_of_every_country_is_refused(region: str) -> None:
    """112 or 911 or 999: whichever the country has reaches nobody through this gateway."""
    digits = [
        code
        for code in ("112", "911", "999", "000", "110", "119")
        if phonenumbers.shortnumberinfo.is_emergency_number(code, region)
    ]

    for code in digits:
        assert isinstance(read_number(code, Region(region)), NumberRefusal)


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


@pytest.mark.parametrize("typed", ["+44 7700 900123", "+1 200 555 0123"])
def test_a_number_in_no_given_range_is_told_apart(typed: str) -> None:
    """Possible but never given out: the ranges in which fraud buys its numbers."""
    assert read_number(typed, Region("GB")) == NumberRefusal(reason=Reason.NUMBER_NOT_ALLOCATED)


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
