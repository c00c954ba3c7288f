"""Outages and the calls that span them, as people account for them: one row an outage and call.

An outage that no call spans is a row without one. Numbers are masked: the id of a call leads to
it for whoever may see it.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from gateway import logs
from gateway.core.outage import Outage
from gateway.core.rating import Micros
from gateway.ledger import GapCall, Reports
from gateway.reports.cells import Cells, Money, Text, iso
from gateway.reports.usage import CallType

COLUMNS: Final = (
    "outage_id",
    "bridge",
    "kind",
    "began",
    "ended",
    "seconds",
    "detail",
    "tenant_id",
    "call_id",
    "call_type",
    "destination",
    "answered",
    "call_ended",
    "evidence",
    "least_seconds",
    "most_seconds",
    "unproved",
    "billed_seconds",
    "charge",
    "otherwise_seconds",
    "otherwise_charge",
    "currency",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRow:
    """An outage, and a call that spans it; without one, no call does."""

    outage: Outage
    call: GapCall | None

    def cells(self) -> Cells:
        """Return the row, column by column as ``COLUMNS`` names them."""
        return _outage_cells(self.outage) | _call_cells(self.call)


def masked(call: GapCall) -> str:
    """Return the number that was called, or that was called in on, as all may read it."""
    return logs.mask(call.destination)


def _outage_cells(outage: Outage) -> Cells:
    return {
        "outage_id": str(outage.outage_id),
        "bridge": outage.bridge,
        "kind": outage.kind,
        "began": iso(outage.began_at),
        "ended": iso(outage.ended_at),
        "seconds": outage.seconds,
        "detail": Text(outage.detail),
    }


def _call_cells(call: GapCall | None) -> Cells:
    if call is None:
        return dict.fromkeys(COLUMNS[7:])
    return {
        "tenant_id": str(call.tenant_id),
        "call_id": str(call.dial_out_id),
        "call_type": CallType.CONF_IN if call.calls_in else CallType.CONF_OUT,
        "destination": masked(call),
        "answered": None if call.answered_at is None else iso(call.answered_at),
        "call_ended": None if call.ended_at is None else iso(call.ended_at),
        "evidence": call.evidence,
        "least_seconds": call.least_seconds,
        "most_seconds": call.most_seconds,
        "unproved": call.unproved,
        "billed_seconds": call.billed_seconds,
        "charge": _money(call.billed_micros),
        "otherwise_seconds": call.otherwise_seconds,
        "otherwise_charge": _money(call.otherwise_micros),
        "currency": call.currency,
    }


def _money(micros: Micros | None) -> Money | None:
    return None if micros is None else Money(micros)


async def gap_rows(
    reports: Reports, outages: Iterable[Outage], tenant_id: UUID | None
) -> AsyncIterator[GapRow]:
    """Yield each outage with each call that spans it: of a tenant, or of all."""
    for outage in outages:
        is_alone = True
        async for call in reports.gap_calls(outage.outage_id, tenant_id):
            is_alone = False
            yield GapRow(outage=outage, call=call)
        if is_alone:
            yield GapRow(outage=outage, call=None)


@dataclass(slots=True, kw_only=True)
class Totals:
    """What outages and their calls come to. A call that spans several counts once.

    ``otherwise_seconds`` and ``otherwise_micros`` are what the other bounds would have billed
    more, or less, by currency.
    """

    outages: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    open: int = 0
    unproved: int = 0
    otherwise_seconds: Counter[str] = field(default_factory=Counter)
    otherwise_micros: Counter[str] = field(default_factory=Counter)
    _counted: set[tuple[UUID, UUID]] = field(default_factory=set)

    def add(self, outage: Outage) -> None:
        """Count an outage."""
        self.outages[outage.kind] += 1
        self.seconds[outage.kind] += outage.seconds

    def add_call(self, call: GapCall) -> None:
        """Count a call, if it has not been."""
        key = call.tenant_id, call.dial_out_id
        if key in self._counted:
            return
        self._counted.add(key)
        self.calls += 1
        self.open += call.ended_at is None
        self.unproved += call.unproved is not None
        if call.unproved is not None:
            self.otherwise_seconds[call.currency] += call.seconds_otherwise_more
            self.otherwise_micros[call.currency] += call.micros_otherwise_more
