"""Hours of the week, as a rate deck writes them: on which days, from when until when.

They are what a clock shows, in minutes from Monday midnight, and know of no date or time zone.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Final, Self, TypeAlias

DAY_MINUTES: Final = 1440
WEEK_MINUTES: Final = 7 * DAY_MINUTES

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Span: TypeAlias = tuple[int, int]

_DAY: Final = "|".join(DAYS)
_DAYS: Final = re.compile(rf"({_DAY})(?:-({_DAY}))?")
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_MIDNIGHT_AFTER: Final = "24:00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """Some minutes of the week, but not all: each span from its first until before its last.

    The spans are in order, and a minute lies between any two of them: so the same hours are
    equal, however they were written. What begins on Sunday and passes midnight is two spans.
    """

    spans: tuple[Span, ...]

    @classmethod
    def of(cls, days: frozenset[int], start: int, end: int) -> Self | None:
        """Return a time of day, in minutes, on these days, 0 being Monday; None if it is always.

        An end that is no later than the start is on the day after.
        """
        length = (end - start) % DAY_MINUTES or DAY_MINUTES
        begins = (day * DAY_MINUTES + start for day in days)
        spans = tuple(_joined(_within_week((begin, begin + length)) for begin in begins))
        return None if spans == ((0, WEEK_MINUTES),) else cls(spans=spans)

    def overlap(self, other: Self) -> bool:
        """Return whether some minute is in both."""
        return any(
            start < other_end and other_start < end
            for start, end in self.spans
            for other_start, other_end in other.spans
        )

    def __str__(self) -> str:
        """Return the hours by day; days with the same hours stand together."""
        by_day = [tuple(self._on(day)) for day in range(len(DAYS))]
        days = groupby(range(len(DAYS)), lambda day: by_day[day])
        return ", ".join(f"{_day_names(list(run))} {' '.join(on)}" for on, run in days if on)

    def _on(self, day: int) -> Iterator[str]:
        first = day * DAY_MINUTES
        for start, end in self.spans:
            begins, ends = max(start - first, 0), min(end - first, DAY_MINUTES)
            if begins < ends:
                yield f"{_clock(begins)}-{_clock(ends)}"


def days_named(text: str) -> frozenset[int]:
    """Return the days that a text like ``mon-fri`` or ``sat,sun`` names, 0 being Monday.

    Raises ``ValueError``.
    """
    found: set[int] = set()
    for part in re.split("[,;]", text.lower()):
        match = _DAYS.fullmatch(part.strip())
        if match is None:
            raise ValueError("must be days like mon-fri or sat,sun")
        first = DAYS.index(match[1])
        last = DAYS.index(match[2] or match[1])
        found.update((first + n) % len(DAYS) for n in range((last - first) % len(DAYS) + 1))
    return frozenset(found)


def time_named(text: str) -> int:
    """Return the minute of the day that a text like ``18:30`` names.

    Raises ``ValueError``.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("must be a time like 08:00")
    return int(match[1]) * 60 + int(match[2])


def end_time_named(text: str) -> int:
    """Return the minute of the day before which something ends; ``24:00`` is midnight, too.

    Raises ``ValueError``.
    """
    return DAY_MINUTES if text == _MIDNIGHT_AFTER else time_named(text)


def _within_week(span: Span) -> Iterator[Span]:
    """Yield what a span covers of the week; what passes its end is at its beginning."""
    start, end = span
    if start < WEEK_MINUTES:
        yield start, min(end, WEEK_MINUTES)
    if end > WEEK_MINUTES:
        yield max(start - WEEK_MINUTES, 0), end - WEEK_MINUTES


def _joined(spans: Iterable[Iterable[Span]]) -> Iterator[Span]:
    """Yield the spans in order, those that touch or overlap as one."""
    ordered = sorted(chain.from_iterable(spans))
    start, end = ordered[0]
    for next_start, next_end in ordered[1:]:
        if next_start > end:
            yield start, end
            start = next_start
        end = max(end, next_end)
    yield start, end


def _day_names(days: list[int]) -> str:
    return DAYS[days[0]] if len(days) == 1 else f"{DAYS[days[0]]}-{DAYS[days[-1]]}"


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
