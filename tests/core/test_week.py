"""Hours of the week: how they are written, what they cover, and when two of them overlap."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.week import (
    DAY_MINUTES,
    WEEK_MINUTES,
    Hours,
    days_named,
    end_time_named,
    time_named,
)
from tests.core.arbitrary import deterministic


def hours(days: str, start: str, end: str) -> Hours | None:
    """Return hours as a sheet writes them."""
    return Hours.of(days_named(days), time_named(start), end_time_named(end))


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("mon", {0}),
        ("mon-fri", {0, 1, 2, 3, 4}),
        ("sat,sun", {5, 6}),
        ("sat; sun", {5, 6}),
        ("Fri-Mon,wed", {4, 5, 6, 0, 2}),
        ("mon-sun", set(range(7))),
        ("sun-mon", {6, 0}),
    ],
)
def test_days_are_read(text: str, days: set[int]) -> None:
    """Ranges go on over the week's end, as people say Friday to Monday."""
    assert days_named(text) == days


@pytest.mark.parametrize(
    "text", ["", "mon-", "monday", "mon fri", "mon,,fri", "1-5", "mon-fri-sat"]
)
def test_what_names_no_days_is_refused(text: str) -> None:
    """Nothing is guessed at: a price on the wrong day is a wrong bill."""
    with pytest.raises(ValueError, match="must be days like mon-fri or sat,sun"):
        days_named(text)


@pytest.mark.parametrize(
    "text", ["", "8:00", "24:00", "23:60", "12", "12:00:00", "\u0967\u0968:00", "12:00 "]
)
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    """Of digits that are ASCII alone; a day ends at 24:00, and never begins there."""
    with pytest.raises(ValueError, match="must be a time like 08:00"):
        time_named(text)
    assert end_time_named("24:00") == DAY_MINUTES


@pytest.mark.parametrize(
    ("days", "start", "end", "shown"),
    [
        ("mon-fri", "08:00", "18:00", "mon-fri 08:00-18:00"),
        ("sat,sun", "00:00", "24:00", "sat-sun 00:00-24:00"),
        ("sat", "00:00", "00:00", "sat 00:00-24:00"),
        ("fri", "22:00", "06:00", "fri 22:00-24:00, sat 00:00-06:00"),
        ("sun", "22:00", "06:00", "mon 00:00-06:00, sun 22:00-24:00"),
        ("mon-sun", "22:00", "06:00", "mon-sun 00:00-06:00 22:00-24:00"),
        ("mon,wed", "09:00", "10:00", "mon 09:00-10:00, wed 09:00-10:00"),
        ("mon", "12:00", "12:00", "mon 12:00-24:00, tue 00:00-12:00"),
    ],
)
def test_hours_are_shown_by_day(days: str, start: str, end: str, shown: str) -> None:
    """What passes midnight belongs to the day on which it begins, and is shown on both."""
    assert str(hours(days, start, end)) == shown


@pytest.mark.parametrize(
    ("days", "start", "end"), [("mon-sun", "00:00", "24:00"), ("mon-sun", "07:00", "07:00")]
)
def test_all_hours_are_none_in_particular(days: str, start: str, end: str) -> None:
    """A row that holds at any time is the row without hours, however it is written."""
    assert hours(days, start, end) is None


spans = st.builds(
    Hours.of,
    st.frozensets(st.integers(0, 6), min_size=1),
    st.integers(0, DAY_MINUTES - 1),
    st.integers(0, DAY_MINUTES),
)


def minutes(found: Hours | None) -> set[int]:
    """Return each minute that is covered."""
    whole = ((0, WEEK_MINUTES),) if found is None else found.spans
    return {minute for start, end in whole for minute in range(start, end)}


@deterministic
@given(
    days=st.frozensets(st.integers(0, 6), min_size=1),
    start=st.integers(0, DAY_MINUTES - 1),
    end=st.integers(0, DAY_MINUTES),
)
def test_hours_are_counted_from_their_day(days: frozenset[int], start: int, end: int) -> None:
    """Minute by minute, over midnight and the week's end, in spans that do not touch."""
    found = Hours.of(days, start, end)

    length = (end - start) % DAY_MINUTES or DAY_MINUTES
    assert minutes(found) == {
        (day * DAY_MINUTES + start + minute) % WEEK_MINUTES
        for day in days
        for minute in range(length)
    }
    ends = [] if found is None else [edge for span in found.spans for edge in span]
    assert all(earlier < later for earlier, later in pairwise(ends))


@deterministic
@given(one=spans, other=spans)
def test_hours_overlap_if_a_minute_is_in_both(one: Hours | None, other: Hours | None) -> None:
    """Two prices for one minute of the week: whichever a call met would be an accident."""
    if one is not None and other is not None:
        assert one.overlap(other) == bool(minutes(one) & minutes(other))
