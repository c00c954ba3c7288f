"""The usage of calls as people account for it: one row a funding part.

Pure. A call is set aside and billed in slices of a few minutes, which nobody outside the
ledger needs to know of: what one source paid, at one price and without a break, is one row.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Final, assert_never

from gateway.core.e164 import Region
from gateway.core.facts import Sku, SourceKind
from gateway.core.rating import Micros, Seconds
from gateway.ledger import BilledPart, UsageCall
from gateway.reports.cells import Cells, Money, Text, iso


class CallType(StrEnum):
    """Which way a call went."""

    CONF_OUT = "conf_out"
    CONF_IN = "conf_in"


class Scope(StrEnum):
    """Whether the destination is in the organizer's usage location."""

    DOMESTIC = "domestic"
    INTERNATIONAL = "international"


class Capability(StrEnum):
    """What paid, in the words of Microsoft's own usage report."""

    SUBSCRIPTION = "MCOMEETADD"
    PAY_PER_MINUTE = "MCOMEETACPEA"
    EXTENDED_ADDON = "MCOMEETADD_DIALOUT_US"
    CREDITS = "MCOPSTNPP"
    FREE = "FREECALL"
    """Nobody: seconds beyond what was set aside, which the operator bears."""


class Payer(StrEnum):
    """What paid: a kind of source, or nobody."""

    PROMOTION = "promotion"
    ADDON = "addon"
    POOL = "pool"
    CREDITS = "credits"
    NOBODY = "nobody"


COLUMNS: Final = (
    "usage_id",
    "call_id",
    "conference_id",
    "organizer_id",
    "organizer_name",
    "organizer_usage_location",
    "initiator_id",
    "caller_id",
    "call_type",
    "number_type",
    "scope",
    "destination_region",
    "destination_dialled",
    "destination_number",
    "start",
    "end",
    "duration_seconds",
    "connection_fee",
    "charge",
    "currency",
    "capability",
    "paid_by",
    "disposition",
    "unproved",
)

UNANSWERED: Final = 0
"""The number of the row of a call that nobody answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """What one source paid of one call, or what nobody paid of it.

    ``number`` counts the rows of a call from 1. ``start`` and ``end`` are UTC and cover whole
    seconds, counted from the answer; a row without an answer goes from the request to the end.
    ``charge_micros`` has the connection fee in it. The capability is None where nobody
    answered, and the payer too.
    """

    call: UsageCall
    number: int
    start: datetime
    end: datetime
    seconds: Seconds
    connection_fee_micros: Micros
    charge_micros: Micros
    payer: Payer | None
    capability: Capability | None

    @property
    def usage_id(self) -> str:
        """What tells the row from all others of the tenant; it never changes."""
        return f"{self.call.dial_out_id}-{self.number}"

    def cells(self) -> Cells:
        """Return the row, column by column as ``COLUMNS`` names them."""
        call = self.call
        return {
            "usage_id": self.usage_id,
            "call_id": str(call.dial_out_id),
            "conference_id": Text(call.conference_id),
            "organizer_id": Text(call.organizer_id),
            "organizer_name": Text(call.organizer_name or ""),
            "organizer_usage_location": call.organizer_region,
            "initiator_id": Text(call.initiator_id or ""),
            "caller_id": call.caller_id,
            "call_type": CallType.CONF_IN if call.calls_in else CallType.CONF_OUT,
            "number_type": call.number_kind,
            "scope": scope(call.region, call.organizer_region),
            "destination_region": call.region,
            "destination_dialled": Text(call.number_typed),
            "destination_number": call.destination,
            "start": iso(self.start),
            "end": iso(self.end),
            "duration_seconds": self.seconds,
            "connection_fee": Money(self.connection_fee_micros),
            "charge": Money(self.charge_micros),
            "currency": call.currency,
            "capability": self.capability,
            "paid_by": self.payer,
            "disposition": call.disposition,
            "unproved": call.unproved,
        }


def scope(destination: Region, usage_location: Region | None) -> Scope | None:
    """Return the scope of a call; None where the usage location is not known any more."""
    if usage_location is None:
        return None
    return Scope.DOMESTIC if destination == usage_location else Scope.INTERNATIONAL


def usage_rows(call: UsageCall) -> Iterator[UsageRow]:
    """Yield the rows of a call, in the order of its seconds.

    Their seconds and charges sum to what was billed of the call and to what overran.
    """
    if call.answered_at is None:
        yield _unanswered(call)
        return
    seconds, fee_is_due = 0, True
    rows = [*_paid(call), *_unpaid(call)]
    for number, part in enumerate(rows, start=1):
        pays_fee = fee_is_due and part.payer is Payer.CREDITS
        yield UsageRow(
            call=call,
            number=number,
            start=call.answered_at + timedelta(seconds=seconds),
            end=call.answered_at + timedelta(seconds=seconds + part.seconds),
            seconds=part.seconds,
            connection_fee_micros=part.connect_fee_micros if pays_fee else Micros(0),
            charge_micros=part.micros,
            payer=part.payer,
            capability=part.capability,
        )
        seconds += part.seconds
        fee_is_due = fee_is_due and not pays_fee


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretch:
    seconds: Seconds
    micros: Micros
    connect_fee_micros: Micros
    payer: Payer
    capability: Capability


def _paid(call: UsageCall) -> Iterator[_Stretch]:
    billed = (part for part in call.billed if part.seconds or part.micros)
    for _, parts in groupby(billed, key=_what_pays):
        run = list(parts)
        yield _Stretch(
            seconds=Seconds(sum(part.seconds for part in run)),
            micros=Micros(sum(part.micros for part in run)),
            connect_fee_micros=run[0].connect_fee_micros,
            payer=Payer(run[0].source),
            capability=capability(run[0].source, run[0].sku, is_ppm=call.is_pay_per_minute),
        )


def _unpaid(call: UsageCall) -> Iterator[_Stretch]:
    if call.overrun_seconds:
        yield _Stretch(
            seconds=call.overrun_seconds,
            micros=Micros(0),
            connect_fee_micros=Micros(0),
            payer=Payer.NOBODY,
            capability=Capability.FREE,
        )


def _unanswered(call: UsageCall) -> UsageRow:
    return UsageRow(
        call=call,
        number=UNANSWERED,
        start=call.requested_at,
        end=call.ended_at,
        seconds=Seconds(0),
        connection_fee_micros=Micros(0),
        charge_micros=Micros(0),
        payer=None,
        capability=None,
    )


def _what_pays(part: BilledPart) -> tuple[object, ...]:
    return part.source, part.benefit_id, part.source_id, part.rate


def capability(source: SourceKind, sku: Sku | None, *, is_ppm: bool) -> Capability:
    """Return what a source is called: after the licence that brought it."""
    if source is SourceKind.CREDITS:
        return Capability.PAY_PER_MINUTE if is_ppm else Capability.CREDITS
    assert sku is not None, "a benefit names its licence"
    match sku:
        case Sku.AUDIO_CONFERENCING:
            return Capability.SUBSCRIPTION
        case Sku.AUDIO_CONFERENCING_PPM:
            return Capability.PAY_PER_MINUTE
        case Sku.EXTENDED_DIALOUT_US_CA:
            return Capability.EXTENDED_ADDON
        case Sku.COMMUNICATIONS_CREDITS:
            return Capability.CREDITS
    assert_never(sku)
