"""The pool report: what each source was granted, and what became of it. Pure."""

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.ledger import Standing
from gateway.reports.cells import Cells, Text, iso
from gateway.reports.usage import Capability, capability

COLUMNS: Final = (
    "capability",
    "paid_by",
    "benefit_id",
    "usage_location",
    "organizer_id",
    "organizer_name",
    "valid_from",
    "valid_to",
    "unit",
    "currency",
    "total",
    "used",
    "reserved",
    "available",
    "lapsed",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FundRow:
    """One source as it stands at ``at``; every amount is in its unit.

    What was granted is what is used, reserved, available and lapsed. The country is the usage
    location of the organizer whose source it is; one that the tenant shares has none, because
    its minutes are not split by country.
    """

    standing: Standing
    at: datetime

    @property
    def capability(self) -> Capability:
        """What it is called: after the licence that brought it."""
        return capability(self.standing.kind, self.standing.sku, is_ppm=False)

    @property
    def is_over(self) -> bool:
        """Whether the source can pay no more."""
        valid_to = self.standing.valid_to
        return valid_to is not None and valid_to <= self.at

    @property
    def available(self) -> int | None:
        """What it can still pay; None where that has no bound."""
        if self.is_over:
            return 0
        return self.standing.free if self.standing.capped else None

    @property
    def lapsed(self) -> int:
        """What nobody used in time."""
        return self.standing.free if self.is_over else 0

    def cells(self) -> Cells:
        """Return the row, column by column as ``COLUMNS`` names them."""
        of = self.standing
        return {
            "capability": self.capability,
            "paid_by": of.kind,
            "benefit_id": of.benefit_id,
            "usage_location": of.organizer_region,
            "organizer_id": Text(of.organizer_id or ""),
            "organizer_name": Text(of.organizer_name or ""),
            "valid_from": None if of.valid_from is None else iso(of.valid_from),
            "valid_to": None if of.valid_to is None else iso(of.valid_to),
            "unit": of.unit,
            "currency": of.currency,
            "total": of.granted,
            "used": of.used,
            "reserved": of.reserved,
            "available": self.available,
            "lapsed": self.lapsed,
        }


async def fund_rows(standings: AsyncIterable[Standing], at: datetime) -> AsyncIterator[FundRow]:
    """Yield the rows of the pool report as of ``at``."""
    async for standing in standings:
        yield FundRow(standing=standing, at=at)
