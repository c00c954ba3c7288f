"""The price of a call to one destination. What a call costs is reckoned in SQL alone."""

from dataclasses import dataclass
from typing import NewType

from gateway.core.canonical import SortedSet
from gateway.core.e164 import Region

Micros = NewType("Micros", int)
"""Millionths of one unit of a currency."""

Seconds = NewType("Seconds", int)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """One row of the rate deck of a name: the longest prefix that the destination begins with.

    ``prefix`` is digits without a plus sign; ``regions`` are the countries that the deck names
    for it, None if it names none. ``price_micros`` is for a minute. The first
    ``initial_increment_seconds`` are charged whole, then each started
    ``increment_seconds``; the connect fee once an answered call.
    """

    deck_id: int
    deck: str
    prefix: str
    regions: SortedSet[Region] | None
    currency: str
    price_micros: Micros
    connect_fee_micros: Micros
    initial_increment_seconds: Seconds
    increment_seconds: Seconds
