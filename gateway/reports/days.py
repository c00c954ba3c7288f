"""Minutes and money by day, of the tenant's own days. Pure."""

from collections import Counter, defaultdict
from datetime import date, timedelta

from gateway.core.rating import Micros, Seconds
from gateway.reports.period import Period
from gateway.reports.usage import Payer, UsageRow


class Days:
    """Seconds and money by day and payer.

    A row counts whole for the day on which it starts, as its money cannot be told apart.
    """

    def __init__(self, period: Period) -> None:
        self._period = period
        self._seconds: defaultdict[date, Counter[Payer]] = defaultdict(Counter)
        self._micros: defaultdict[date, Counter[Payer]] = defaultdict(Counter)

    def add(self, row: UsageRow) -> None:
        """Count one row; a call that nobody answered counts for nothing."""
        if row.payer is None:
            return
        day = self._period.day(row.start)
        self._seconds[day][row.payer] += row.seconds
        self._micros[day][row.payer] += row.charge_micros

    def days(self) -> list[date]:
        """Return every day of the period, and of whatever call was answered just after it."""
        first, last = self._period.days
        last = max([last, *self._seconds])
        return [first + timedelta(days=n) for n in range((last - first).days + 1)]

    def seconds(self, day: date, payer: Payer) -> Seconds:
        """Return what a payer's rows of a day lasted."""
        return Seconds(self._seconds[day][payer] if day in self._seconds else 0)

    def micros(self, day: date, payer: Payer) -> Micros:
        """Return what a payer's rows of a day were charged."""
        return Micros(self._micros[day][payer] if day in self._micros else 0)

    def payers(self) -> list[Payer]:
        """Return whoever paid anything, and nobody if nobody did, in the order of ``Payer``."""
        found = {payer for counted in self._seconds.values() for payer in counted}
        return [payer for payer in Payer if payer in found]
