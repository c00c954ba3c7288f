"""Clocks and months, reckoned by hand: instants are whole microseconds since 1970, in UTC."""

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
BEGINNING = -(2**62)
"""Before all instants."""
END = 2**62
"""After all instants."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(moment: datetime) -> int:
    """Return an instant of a clock of any zone."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment(at: int) -> datetime:
    """Return an instant as UTC says it."""
    return _EPOCH + timedelta(microseconds=at)


def first_whole(microseconds: int) -> int:
    """Return how many seconds have begun after so long, the last one perhaps not ended."""
    return -(-microseconds // SECOND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """Where the months of a tenant begin: at midnight of its anchor day, by its own clock."""

    zone: ZoneInfo
    anchor_day: int

    def period(self, at: int) -> tuple[int, int]:
        """Return the beginning of the month that an instant is in, and of the next one."""
        local = moment(at).astimezone(self.zone)
        starts = [self._start(local.year * 12 + local.month - 1 + each) for each in range(-1, 3)]
        later = next(place for place, start in enumerate(starts) if start > at)
        return starts[later - 1], starts[later]

    def year_later(self, at: int) -> int:
        """Return the instant of the same wall clock a year on; of 29 February, a day before."""
        local = moment(at).astimezone(self.zone).replace(tzinfo=None)
        day = min(local.day, monthrange(local.year + 1, local.month)[1])
        return self._instant(local.replace(year=local.year + 1, day=day), fold=1)

    def _start(self, month: int) -> int:
        year, month = month // 12, month % 12 + 1
        day = min(self.anchor_day, monthrange(year, month)[1])
        return self._instant(datetime(year, month, day), fold=0)  # noqa: DTZ001

    def _instant(self, local: datetime, *, fold: int) -> int:
        """Return when a wall clock shows this; ``fold`` 1: the second time, if it does so twice.

        What it skips is when it would have been, had the clock not been put forward.
        """
        aware = local.replace(tzinfo=self.zone, fold=fold)
        if instant(aware.astimezone(UTC)) < instant(aware.replace(fold=0).astimezone(UTC)):
            aware = aware.replace(fold=0)
        return instant(aware.astimezone(UTC))
