"""The dial-out report: what each organizer's calls came to. Pure.

One row an organizer; one who moved to another country has a row for each usage location.
"""

from collections import Counter
from collections.abc import AsyncIterable
from dataclasses import dataclass, field
from typing import Final

from gateway.core.e164 import Region
from gateway.core.rating import Micros
from gateway.ledger import OrganizerRefusals, OrganizerUse
from gateway.reports.cells import Cells, Money, Text
from gateway.reports.usage import Scope

COLUMNS: Final = (
    "organizer_id",
    "organizer_name",
    "usage_location",
    "calls",
    "duration_seconds",
    "charge",
    "currency",
    "domestic_calls",
    "domestic_seconds",
    "domestic_charge",
    "international_calls",
    "international_seconds",
    "international_charge",
    "unanswered_calls",
    "unpaid_seconds",
    "refused_calls",
    "refused",
)


@dataclass(slots=True, kw_only=True)
class OrganizerRow:
    """What the calls of one organizer came to.

    Counted by scope; a call whose scope nobody knows any more is international. Money is in
    micros of ``currency``.
    """

    organizer_id: str
    organizer_name: str | None
    usage_location: Region | None
    currency: str
    calls: Counter[Scope] = field(default_factory=Counter)
    seconds: Counter[Scope] = field(default_factory=Counter)
    micros: Counter[Scope] = field(default_factory=Counter)
    unanswered: int = 0
    unpaid_seconds: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def add(self, found: OrganizerUse | OrganizerRefusals) -> None:
        """Count what was found of one month."""
        if isinstance(found, OrganizerRefusals):
            self.refused[found.reason] += found.calls
            return
        scope = Scope.DOMESTIC if found.is_domestic else Scope.INTERNATIONAL
        self.calls[scope] += found.calls
        self.seconds[scope] += found.seconds
        self.micros[scope] += found.micros
        self.unanswered += found.unanswered
        self.unpaid_seconds += found.unpaid_seconds

    def cells(self) -> Cells:
        """Return the row, column by column as ``COLUMNS`` names them."""
        return {
            "organizer_id": Text(self.organizer_id),
            "organizer_name": Text(self.organizer_name or ""),
            "usage_location": self.usage_location,
            "calls": self.calls.total(),
            "duration_seconds": self.seconds.total(),
            "charge": Money(Micros(self.micros.total())),
            "currency": self.currency,
            **self._scope(Scope.DOMESTIC),
            **self._scope(Scope.INTERNATIONAL),
            "unanswered_calls": self.unanswered,
            "unpaid_seconds": self.unpaid_seconds,
            "refused_calls": self.refused.total(),
            "refused": dict(self.refused),
        }

    def _scope(self, scope: Scope) -> Cells:
        return {
            f"{scope}_calls": self.calls[scope],
            f"{scope}_seconds": self.seconds[scope],
            f"{scope}_charge": Money(Micros(self.micros[scope])),
        }


async def organizer_rows(
    found: AsyncIterable[OrganizerUse | OrganizerRefusals], currency: str
) -> list[OrganizerRow]:
    """Return a row for each organizer who made calls or tried to, by id."""
    rows: dict[tuple[str, str], OrganizerRow] = {}
    async for each in found:
        key = (each.organizer_id, each.organizer_region or "")
        if key not in rows:
            rows[key] = OrganizerRow(
                organizer_id=each.organizer_id,
                organizer_name=each.organizer_name,
                usage_location=each.organizer_region,
                currency=currency,
            )
        rows[key].add(each)
    return [rows[key] for key in sorted(rows)]
