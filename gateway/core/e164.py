"""Digits as a person typed them, read as a telephone number: a destination or a refusal.

The only module that knows phonenumbers. A country is the region of the number, never
its calling code: +1 alone is twenty-five countries.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

import phonenumbers
from phonenumbers import PhoneNumberType, ValidationResult, shortnumberinfo

from gateway.core.reasons import Reason

E164 = NewType("E164", str)
"""A plus sign and 7 to 15 ASCII digits."""

Region = NewType("Region", str)
"""ISO 3166-1 alpha-2, upper case; ``001`` for a network that belongs to no country."""

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
    """A telephone that exists in a numbering plan."""

    e164: E164
    region: Region
    kind: NumberKind


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberRefusal:
    """Why the typed digits are no destination."""

    reason: Reason


def read_number(typed: str, region: Region) -> Destination | NumberRefusal:
    """Return the destination that ``typed`` means to somebody in ``region``.

    ``region`` decides only what digits without a plus sign mean. A short code of that
    region, or of the country that the number names, is refused before anything else:
    a parser that pads or strips digits must never turn one into a telephone number.
    """
    if len(typed) > NUMBER_CHARS_MAX or not _TYPED.fullmatch(typed):
        return NumberRefusal(reason=Reason.NUMBER_INVALID)
    if _is_short_code(typed, region):
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
    kind = _KINDS.get(phonenumbers.number_type(number))
    if number_region is None or kind is None:
        return NumberRefusal(reason=Reason.NUMBER_NOT_ALLOCATED)
    if number_region == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY:
        kind = NumberKind.GLOBAL_NETWORK
    return Destination(e164=E164(e164), region=Region(number_region), kind=kind)


def _is_short_code(typed: str, region: Region) -> bool:
    """Return whether the digits, dialled as they are in ``region``, reach a service."""
    digits = re.sub(r"[^0-9]", "", typed)
    if not digits or typed.lstrip().startswith("+"):
        return False
    if shortnumberinfo.connects_to_emergency_number(digits, region):
        return True
    try:
        number = phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        return False
    return shortnumberinfo.is_valid_short_number_for_region(number, region)
