"""What calls cost, reckoned by hand, with fractions; and how a price changes with the time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from zoneinfo import ZoneInfo

from tests.ledger.stateful.calendar import MINUTE, moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The price of a minute, of the answer, and the steps in which time is counted."""

    prefix: str
    price: int
    connect: int
    initial: int
    increment: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """The same time of each of some days, 0 being Monday, in minutes since midnight."""

    days: frozenset[int]
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What a deck holds from an instant on: prices at any time, and those of some hours."""

    starts_at: int
    prices: tuple[Price, ...]
    hours: Hours | None = None
    within: Price | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deck:
    """A deck by name, its versions in order, and the clock that its hours are of."""

    name: str
    deck_id: int
    zone: ZoneInfo
    versions: tuple[Version, ...]

    def price(self, number: str, at: int) -> Price | None:
        """Return what a minute to a number costs at an instant: the longest prefix decides."""
        version = next((each for each in reversed(self.versions) if each.starts_at <= at), None)
        if version is None:
            return None
        found = [each for each in version.prices if number.startswith(each.prefix)]
        if not found:
            return None
        price = max(found, key=lambda each: len(each.prefix))
        if (
            version.within
            and version.within.prefix == price.prefix
            and self._is_within(version, at)
        ):
            return version.within
        return price

    def changes(
        self, number: str, decided: Price, since: int, until: int
    ) -> Iterator[tuple[int, Price | None]]:
        """Yield each instant between two at which another price begins, and that price.

        A shorter prefix than the one that the call was decided on may be another country's:
        then there is no price.
        """
        before: Price | None = decided
        for at in self._candidates(since, until):
            price = self.price(number, at)
            if price and len(price.prefix) < len(decided.prefix):
                price = None
            if price != before:
                yield at, price
                before = price

    def _candidates(self, since: int, until: int) -> list[int]:
        starts = {each.starts_at for each in self.versions if since < each.starts_at < until}
        if any(each.hours for each in self.versions):
            starts.update(range((since // MINUTE + 1) * MINUTE, until, MINUTE))
        return sorted(starts)

    def _is_within(self, version: Version, at: int) -> bool:
        assert version.hours is not None, "a price of some hours has hours"
        local = moment(at).astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        return (
            local.weekday() in version.hours.days
            and version.hours.start <= minute < version.hours.end
        )


Stretch = tuple[int, Price]
"""So many seconds, each at this price."""


def costs(stretches: Sequence[Stretch]) -> list[int]:
    """Return what each stretch of a call adds to the ones before it; the sum is the call's."""
    total = 0
    added = []
    for place in range(len(stretches)):
        cost = _cost(stretches[: place + 1], is_whole=not any(s for s, _ in stretches[place + 1 :]))
        added.append(cost - total)
        total = cost
    return added


def _cost(stretches: Sequence[Stretch], *, is_whole: bool) -> int:
    spent = [(seconds, price) for seconds, price in stretches if seconds]
    if not spent:
        return 0
    first, last = spent[0][1], spent[-1][1]
    micros = sum(Fraction(seconds * price.price, 60) for seconds, price in spent)
    if is_whole:
        seconds = sum(seconds for seconds, _ in spent)
        steps = ceil(Fraction(max(0, seconds - first.initial), last.increment))
        counted = first.initial + steps * last.increment
        micros += Fraction((counted - seconds) * last.price, 60)
    return first.connect + ceil(micros)


def bound(stretches: Sequence[Stretch]) -> int:
    """Return the most that a call can cost that uses up to so many seconds of each stretch.

    With several prices the dearest answer and the dearest last step are reckoned with.
    """
    prices = [price for _, price in stretches]
    if len(set(prices)) <= 1:
        return sum(costs(stretches))
    step = max(max(price.initial, price.increment) for price in prices)
    dearest = max(price.price for price in prices)
    spent = sum(seconds * price.price for seconds, price in stretches)
    return max(price.connect for price in prices) + ceil(Fraction(spent + dearest * step, 60))


def seconds_payable(micros: int, seconds_max: int, price: Price, before: Sequence[Stretch]) -> int:
    """Return the most seconds that a call can go on, so that all of it costs no more."""
    low, high = 0, seconds_max
    while low < high:
        middle = (low + high + 1) // 2
        if bound([*before, (middle, price)]) <= micros:
            low = middle
        else:
            high = middle - 1
    return low
