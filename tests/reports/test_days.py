"""The period of a report, and its days: the tenant's own, also when its clocks change."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.reports.days import Days
from gateway.reports.period import Period, PeriodFault, period
from gateway.reports.usage import Payer, usage_rows
from tests.core.arbitrary import deterministic
from tests.reports.calls import NOON, by_credits, by_pool, call

SOME_ZONES = st.sampled_from(
    [
        "UTC",
        "Europe/London",
        "America/Los_Angeles",
        "Asia/Kathmandu",
        "Pacific/Apia",
        "Africa/Cairo",
    ]
)


def of(since: str, until: str | None, zone: str = "Europe/London") -> Period:
    """Return a period as it was typed at noon."""
    return period(since, until, time_zone=zone, now=NOON)


def test_a_date_is_the_tenants_own() -> None:
    """A month of a report is the month of the pool, and not one that begins an hour off."""
    april = of("2026-04-01", "2026-05-01")

    assert april.since == datetime(2026, 3, 31, 23, tzinfo=UTC)
    assert april.until == datetime(2026, 4, 30, 23, tzinfo=UTC)
    assert april.days == (date(2026, 4, 1), date(2026, 4, 30))


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-07-01T12:00", datetime(2026, 7, 1, 11, tzinfo=UTC)),
        ("2026-07-01T12:00Z", datetime(2026, 7, 1, 12, tzinfo=UTC)),
        ("2026-07-01T12:00-05:00", datetime(2026, 7, 1, 17, tzinfo=UTC)),
    ],
)
def test_an_offset_says_which_time(text: str, instant: datetime) -> None:
    """A time without one is the tenant's."""
    assert of("2026-01-01", text).until == instant


def test_a_day_without_midnight_begins_with_its_first_instant() -> None:
    """Clocks in Cairo go from 23:59:59 to 01:00 on the last Friday of April."""
    day = of("2026-04-24", "2026-04-25", "Africa/Cairo")

    assert day.since == datetime(2026, 4, 23, 22, tzinfo=UTC)
    assert day.until - day.since == timedelta(hours=23)


def test_without_an_end_it_lasts_until_now() -> None:
    """The usual question is what there was so far."""
    assert of("2026-03-01", None).until == NOON


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("tomorrow", None),
        ("2026-13-01", None),
        ("0001-01-01", None),
        ("2026-01-01", "9999-12-31"),
        ("2026-02-01", "2026-02-01"),
        ("2026-03-10T12:00:01Z", None),
    ],
)
def test_a_period_that_is_none_is_refused(since: str, until: str | None) -> None:
    """With a sentence, and not with an empty report that looks like a quiet month."""
    with pytest.raises(PeriodFault, match=r"must be a time|ends before it starts"):
        of(since, until)


@deterministic
@given(SOME_ZONES, st.integers(0, 150_000), st.integers(1, 900))
def test_days_are_all_there_once(zone: str, hour: int, hours: int) -> None:
    """Every day between the first and the last, also over a change of the clocks or a lost day."""
    start = datetime(2011, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
    wanted = period(
        start.isoformat(), (start + timedelta(hours=hours)).isoformat(), time_zone=zone, now=NOON
    )
    days = Days(wanted).days()

    assert days == sorted(set(days))
    assert (days[0], days[-1]) == wanted.days
    assert {b - a for a, b in pairwise(days)} <= {timedelta(days=1)}


def test_a_row_counts_for_the_tenants_day() -> None:
    """Half past midnight in London in summer is the day before in UTC."""
    days = Days(of("2026-07-01", "2026-07-02"))
    night = datetime(2026, 6, 30, 23, 30, tzinfo=UTC)
    for row in usage_rows(replace(call([by_pool(60), by_credits(30, 500)]), answered_at=night)):
        days.add(row)

    [day] = days.days()
    assert day == date(2026, 7, 1)
    assert (days.seconds(day, Payer.POOL), days.seconds(day, Payer.CREDITS)) == (60, 30)
    assert (days.micros(day, Payer.POOL), days.micros(day, Payer.CREDITS)) == (0, 500)
    assert days.payers() == [Payer.POOL, Payer.CREDITS]


def test_a_call_that_is_answered_after_the_period_is_not_left_out() -> None:
    """It was asked for within it, so its minutes are in the export and in the chart."""
    days = Days(of("2026-03-09", "2026-03-10"))
    for row in usage_rows(call([by_pool(60)])):
        days.add(row)

    assert days.days() == [date(2026, 3, 9), date(2026, 3, 10)]
    assert days.seconds(date(2026, 3, 10), Payer.POOL) == 60


def test_a_call_that_nobody_answered_counts_for_nothing() -> None:
    """A chart of minutes has none of it, and no payer either."""
    days = Days(of("2026-03-10", None))
    for row in usage_rows(replace(call(), answered_at=None)):
        days.add(row)

    assert days.payers() == []
