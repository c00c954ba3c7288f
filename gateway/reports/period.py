"""The period of a report, as people type it: in the time zone of the tenant. Pure."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from gateway.reports.cells import iso

YEARS: Final = range(1970, 3000)
"""What a report may be of; beyond, an instant has no place in every time zone."""


class PeriodFault(Exception):
    """The period cannot be reported on. The text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """From ``since`` until before ``until``, in UTC; days are those of ``zone``."""

    since: datetime
    until: datetime
    zone: ZoneInfo

    @property
    def last(self) -> datetime:
        """The last instant of it."""
        return self.until - timedelta(microseconds=1)

    @property
    def days(self) -> tuple[date, date]:
        """The first day that it touches, and the last."""
        return self.day(self.since), self.day(self.last)

    def day(self, at: datetime) -> date:
        """Return the tenant's day of an instant."""
        return at.astimezone(self.zone).date()


def period(since: str, until: str | None, *, time_zone: str, now: datetime) -> Period:
    """Return the period that was typed. Without an end, it lasts until ``now``.

    Times are ISO 8601. One without an offset is the tenant's own, and a date alone is the
    first instant of that day there: so a month is what the pool's month is. Raises
    ``PeriodFault``.
    """
    zone = ZoneInfo(time_zone)
    start = _instant(since, zone)
    end = now if until is None else _instant(until, zone)
    if end <= start:
        raise PeriodFault("The period ends before it starts. Its end is exclusive.")
    return Period(since=start, until=end, zone=zone)


def of_kept_calls(wanted: Period, kept_from: datetime | None) -> Period:
    """Return a period all of whose calls are still there.

    Months that were taken out of the ledger would look like months without calls. Raises
    ``PeriodFault`` if it begins before ``kept_from``.
    """
    if kept_from is not None and wanted.since < kept_from:
        raise PeriodFault(
            f"Calls before {iso(kept_from)} were taken out of the ledger. Begin there, or put "
            "the months back."
        )
    return wanted


def _instant(text: str, zone: ZoneInfo) -> datetime:
    try:
        named = datetime.fromisoformat(text)
    except ValueError:
        named = None
    if named is None or named.year not in YEARS:
        raise PeriodFault(
            f"{text!r}: must be a time of the years {YEARS[0]} to {YEARS[-1]}, "
            "like 2026-11-21 or 2026-11-21T09:30:00+01:00"
        )
    return (named if named.tzinfo else named.replace(tzinfo=zone)).astimezone(UTC)
