"""A second reading of the rules, for the numbers of the whole world.

Written from the specification, and without a line of the gateway's code: it asks phonenumbers
and the shipped zones itself, and answers in plain words. It knows only what the numbers of the
world need: organizers who may call anywhere, and a rate deck that has each number by itself.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from pathlib import Path

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberType, ValidationResult

REFERENCE = Path(__file__).parents[2] / "sql" / "reference"

CONFERENCING, PER_MINUTE = "audio_conferencing", "audio_conferencing_ppm"
ADDON, CREDITS = "extended_dialout_us_ca", "communications_credits"

WITHOUT_EXACT_RATE = frozenset({"81601234567", "59821123"})
"""Ordinary numbers begin with the digits of these, which are none: no rate is exactly theirs."""


class Class(StrEnum):
    """What a number is to the rules."""

    ORDINARY = "ordinary"
    TOLL_FREE = "toll_free"
    PREMIUM = "premium"
    UNALLOCATED = "unallocated"
    SHORT = "short"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """An organizer's licences, and what the tenant has: credits, and choices all open or none."""

    licences: frozenset[str]
    has_credits: bool
    is_open: bool = False


def region_of(number: PhoneNumber) -> str:
    """Return the country of a number: never its calling code."""
    return phonenumbers.region_code_for_number(number) or "ZZ"


def class_of(number: PhoneNumber) -> Class:
    """Return what a number is to the rules."""
    if phonenumbers.shortnumberinfo.is_valid_short_number(number):
        return Class.SHORT
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return Class.IMPOSSIBLE
    if not 7 <= len(_digits(number)) <= 15:
        return Class.IMPOSSIBLE
    if region_of(number) == "001":
        return Class.PREMIUM
    match phonenumbers.number_type(number):
        case PhoneNumberType.UNKNOWN:
            return Class.UNALLOCATED
        case PhoneNumberType.TOLL_FREE:
            return Class.TOLL_FREE
        case (
            PhoneNumberType.FIXED_LINE
            | PhoneNumberType.MOBILE
            | PhoneNumberType.FIXED_LINE_OR_MOBILE
            | PhoneNumberType.VOIP
        ):
            return Class.ORDINARY
        case _:
            return Class.PREMIUM


def answer(number: PhoneNumber, customer: Customer, at: datetime) -> str:
    """Return who may pay, in order, or why nobody may."""
    refusal = _refusal_of_number(number, customer)
    if refusal:
        return f"no {refusal}"
    if not customer.licences & {CONFERENCING, PER_MINUTE}:
        return "no no_audio_conferencing"
    payers = " > ".join(_payers(number, customer, at))
    return payers or f"no {_why_no_credits(customer)}"


def _refusal_of_number(number: PhoneNumber, customer: Customer) -> str | None:
    digits = _digits(number)
    match class_of(number):
        case Class.SHORT:
            return "emergency_or_short_code"
        case Class.IMPOSSIBLE:
            return "number_invalid"
        case Class.UNALLOCATED if not customer.is_open:
            return "number_not_allocated"
        case Class.TOLL_FREE if not customer.is_open:
            return "toll_free_refused"
        case Class.TOLL_FREE if region_of(number) not in {"US", "GB"}:
            return "toll_free_not_served"
        case Class.PREMIUM if not customer.is_open:
            return "number_kind_refused"
        case Class.PREMIUM if digits in WITHOUT_EXACT_RATE:
            return "no_exact_rate"
    on_the_list = any(map(digits.startswith, _column("high_risk_prefixes", "prefix")))
    return "blocked_high_risk" if on_the_list and not customer.is_open else None


def _payers(number: PhoneNumber, customer: Customer, at: datetime) -> Iterator[str]:
    if class_of(number) is Class.ORDINARY:
        yield from _minutes(region_of(number), customer.licences, at.date().isoformat())
    if customer.has_credits and CREDITS in customer.licences:
        yield "credits"


def _minutes(region: str, licences: frozenset[str], day: str) -> Iterator[str]:
    complimentary = CONFERENCING in licences and region in _column("zones", "region")
    if complimentary and day <= "2018-06-30":
        yield "complimentary_2018"
    if complimentary and "2018-11-12" <= day <= "2019-11-30":
        yield "complimentary_900"
    if ADDON in licences and region in {"US", "CA"}:
        yield "extended_dialout_us_ca"
    if complimentary and day >= "2019-12-01":
        yield "standard_pool"


def _why_no_credits(customer: Customer) -> str:
    licensed = CREDITS in customer.licences
    if customer.has_credits:
        return "no_credits_licence"
    return "credits_not_set_up" if licensed else "not_covered"


@cache
def _column(file: str, column: str) -> frozenset[str]:
    with (REFERENCE / f"{file}.csv").open(encoding="utf-8") as lines:
        return frozenset(row[column] for row in csv.DictReader(lines))


def _digits(number: PhoneNumber) -> str:
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:]
