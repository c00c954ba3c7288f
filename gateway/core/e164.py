"""Digits as a person typed them, read as a telephone number: a destination or a refusal.

The only module that knows phonenumbers. A country is the region of the number, never
its calling code: +1 alone is twenty-five countries.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from typing import NewType

import phonenumbers
import regex
from phonenumbers import PhoneMetadata, PhoneNumberType, ValidationResult, shortnumberinfo

from gateway.core.reasons import Reason

E164 = NewType("E164", str)
"""A plus sign and 7 to 15 ASCII digits."""

Region = NewType("Region", str)
"""ISO 3166-1 alpha-2, upper case; ``001`` for a network that belongs to no country, ``ZZ`` for
a number whose country cannot be told."""

METADATA_VERSION = phonenumbers.__version__
"""The edition of the numbering plans that numbers are read by."""

GLOBAL_REGION = Region(phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY)
UNKNOWN_REGION = Region("ZZ")
REGIONS = frozenset(map(Region, phonenumbers.SUPPORTED_REGIONS))
"""Every country that has a numbering plan."""

NUMBER_CHARS_MAX = 40

# ASCII only: what passes here goes on to a parser that would read digits of any script,
# letters as keypad digits, and extensions.
_TYPED = re.compile(r"\s*\+?[0-9()\-./ ]+\s*", re.ASCII)
_E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)


class NumberKind(StrEnum):
    """What a number is for, as its country's numbering plan says."""

    FIXED_LINE = "fixed_line"
    MOBILE = "mobile"
    FIXED_LINE_OR_MOBILE = "fixed_line_or_mobile"
    VOIP = "voip"
    TOLL_FREE = "toll_free"
    PREMIUM_RATE = "premium_rate"
    SHARED_COST = "shared_cost"
    PERSONAL = "personal"
    PAGER = "pager"
    UAN = "uan"
    VOICEMAIL = "voicemail"
    GLOBAL_NETWORK = "global_network"
    UNALLOCATED = "unallocated"


ORDINARY_KINDS = frozenset(
    {
        NumberKind.FIXED_LINE,
        NumberKind.MOBILE,
        NumberKind.FIXED_LINE_OR_MOBILE,
        NumberKind.VOIP,
    }
)
"""What every source may pay for. All other kinds can cost the caller anything."""

_KINDS = {
    PhoneNumberType.FIXED_LINE: NumberKind.FIXED_LINE,
    PhoneNumberType.MOBILE: NumberKind.MOBILE,
    PhoneNumberType.FIXED_LINE_OR_MOBILE: NumberKind.FIXED_LINE_OR_MOBILE,
    PhoneNumberType.VOIP: NumberKind.VOIP,
    PhoneNumberType.TOLL_FREE: NumberKind.TOLL_FREE,
    PhoneNumberType.PREMIUM_RATE: NumberKind.PREMIUM_RATE,
    PhoneNumberType.SHARED_COST: NumberKind.SHARED_COST,
    PhoneNumberType.PERSONAL_NUMBER: NumberKind.PERSONAL,
    PhoneNumberType.PAGER: NumberKind.PAGER,
    PhoneNumberType.UAN: NumberKind.UAN,
    PhoneNumberType.VOICEMAIL: NumberKind.VOICEMAIL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A number that a telephone can have. Unless it is ``UNALLOCATED``, its plan gives it out."""

    e164: E164
    region: Region
    kind: NumberKind


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberRefusal:
    """Why the typed digits are no destination."""

    reason: Reason


def read_number(
    typed: str, region: Region, other_region: Region | None = None
) -> Destination | NumberRefusal:
    """Return the destination that ``typed`` means to somebody in ``region``.

    ``region`` decides only what digits without a plus sign mean. A short code of that
    region, or of the country that the number names, is refused before anything else, and so
    is an emergency number of ``other_region``, the organizer's: a parser that pads or strips
    digits must never turn one into a telephone number.
    """
    if len(typed) > NUMBER_CHARS_MAX or not _TYPED.fullmatch(typed):
        return NumberRefusal(reason=Reason.NUMBER_INVALID)
    if _is_emergency_number(typed, region) or _is_emergency_number(typed, other_region):
        return NumberRefusal(reason=Reason.EMERGENCY_OR_SHORT_CODE)
    try:
        number = phonenumbers.parse(typed, region)
    except phonenumbers.NumberParseException:
        return NumberRefusal(reason=Reason.NUMBER_INVALID)
    if shortnumberinfo.is_valid_short_number(number):
        return NumberRefusal(reason=Reason.EMERGENCY_OR_SHORT_CODE)
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if phonenumbers.is_possible_number_with_reason(
        number
    ) != ValidationResult.IS_POSSIBLE or not _E164.fullmatch(e164):
        return NumberRefusal(reason=Reason.NUMBER_INVALID)
    number_region = phonenumbers.region_code_for_number(number)
    kind = _KINDS.get(phonenumbers.number_type(number), NumberKind.UNALLOCATED)
    if number_region == GLOBAL_REGION:
        kind = NumberKind.GLOBAL_NETWORK
    # Telephones connect at the last digit of an emergency number; but Kaunas, 037, is no 03.
    if kind is NumberKind.UNALLOCATED and _begins_emergency_number(_dialled(typed), number, region):
        return NumberRefusal(reason=Reason.EMERGENCY_OR_SHORT_CODE)
    return Destination(e164=E164(e164), region=Region(number_region or UNKNOWN_REGION), kind=kind)


def _is_emergency_number(typed: str, region: Region | None) -> bool:
    return region is not None and shortnumberinfo.is_emergency_number(_dialled(typed), region)


def _begins_emergency_number(
    dialled: str, number: phonenumbers.PhoneNumber, region: Region
) -> bool:
    """Return whether the digits reach an emergency service, with a trunk digit before it or not."""
    national = phonenumbers.national_significant_number(number) if dialled else ""
    return any(
        shortnumberinfo.connects_to_emergency_number(digits, region)
        for digits in (dialled, dialled.lstrip("0"), national.lstrip("0"))
        if digits
    )


def _dialled(typed: str) -> str:
    """Return the digits as they would be dialled; none if a plus sign names the country."""
    return "" if typed.lstrip().startswith("+") else re.sub(r"[^0-9]", "", typed)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixReach:
    """What a prefix of a rate deck stands for.

    ``regions`` are the countries that a row with this prefix prices unless it names others;
    empty if that cannot be told. ``is_exact`` says that no ordinary number begins with it.
    """

    regions: frozenset[Region]
    is_exact: bool


def read_long_plans() -> None:
    """Read the numbering plans that take long, those of +1, so that no call has to wait for it."""
    for region in _regions_of("1"):
        _ordinary_numbers(region)
        _every_number(region)


@lru_cache(maxsize=4_096)
def prefix_reach(prefix: str) -> PrefixReach:
    """Return what ``prefix``, digits without a plus sign, stands for.

    A prefix that several countries share is meant for the first of them, as carriers mean
    it: 7 is Russia, not Kazakhstan; 44 is Great Britain, not Jersey. 1 is the US and Canada.
    """
    reached = regions_reached(prefix)
    if GLOBAL_REGION in reached or not reached:
        return PrefixReach(regions=reached, is_exact=bool(reached))
    code, rest = _split(prefix)
    ordinary = any(_begins_a_number(rest, _ordinary_numbers(each)) for each in reached)
    meant = _MEANT.get(code, frozenset(_regions_of(code)[:1])).intersection(reached)
    return PrefixReach(regions=reached if len(reached) == 1 else meant, is_exact=not ordinary)


def regions_reached(prefix: str) -> frozenset[Region]:
    """Return all countries with numbers that begin with a prefix, be it meant for them or not."""
    code, rest = _split(prefix)
    everyone = _regions_of(code)
    if GLOBAL_REGION in everyone:
        return frozenset({GLOBAL_REGION})
    return frozenset(each for each in everyone if _begins_a_number(rest, _every_number(each)))


def _split(prefix: str) -> tuple[str, str]:
    """Return the calling code that a prefix begins with, and the rest; none if there is none."""
    code = next((prefix[:digits] for digits in (1, 2, 3) if _regions_of(prefix[:digits])), "")
    return code, prefix[len(code) :]


_MEANT = {"1": frozenset({Region("US"), Region("CA")})}


def _regions_of(calling_code: str) -> tuple[Region, ...]:
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(calling_code or 0), ())
    return tuple(map(Region, regions))


def _begins_a_number(digits: str, numbers: "regex.Pattern[str] | None") -> bool:
    return numbers is not None and bool(numbers.fullmatch(digits, partial=True))


_ORDINARY = ("fixed_line", "mobile", "voip")
_SPECIAL = (
    "toll_free",
    "premium_rate",
    "shared_cost",
    "personal_number",
    "pager",
    "uan",
    "voicemail",
)


def _ordinary_numbers(region: Region) -> "regex.Pattern[str] | None":
    return _numbers(region, _ORDINARY)


def _every_number(region: Region) -> "regex.Pattern[str] | None":
    return _numbers(region, _ORDINARY + _SPECIAL)


# A deck has prefixes of every country, in any order: more patterns than the library itself keeps.
@cache
def _numbers(region: Region, kinds: tuple[str, ...]) -> "regex.Pattern[str] | None":
    """Return what numbers of these kinds look like in a country; None if it has none."""
    plan = PhoneMetadata.metadata_for_region(region)
    numbers = (getattr(plan, kind, None) for kind in kinds)
    patterns = [each.national_number_pattern for each in numbers if each is not None]
    alternatives = "|".join(f"(?:{pattern})" for pattern in patterns if pattern)
    return regex.compile(alternatives) if alternatives else None
