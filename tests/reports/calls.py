"""Calls that have ended, as the ledger tells of them, for tests that need no ledger."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import strategies as st

from gateway.core.causes import Disposition
from gateway.core.e164 import E164, NumberKind, Region
from gateway.core.facts import Sku, SourceKind
from gateway.core.rating import Micros, Seconds
from gateway.ledger import BilledPart, UsageCall

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
MARCH = UUID(int=3)
APRIL = UUID(int=4)
CALL = UsageCall(
    dial_out_id=UUID(int=1),
    requested_at=NOON - timedelta(seconds=9),
    conference_id="room-1",
    organizer_id="ann@example.com",
    organizer_name="Ann",
    organizer_region=Region("GB"),
    is_pay_per_minute=False,
    calls_in=False,
    initiator_id="bob@example.com",
    caller_id=E164("+442079460999"),
    number_typed="020 7946 0123",
    destination=E164("+442079460123"),
    region=Region("GB"),
    number_kind=NumberKind.FIXED_LINE,
    answered_at=NOON,
    ended_at=NOON + timedelta(seconds=900),
    disposition=Disposition.ANSWERED,
    overrun_seconds=Seconds(0),
    unproved=None,
    currency="EUR",
    billed=(),
)


def by_pool(seconds: int, source_id: UUID = MARCH) -> BilledPart:
    """Return what the pool of a month paid of one slice."""
    return BilledPart(
        source=SourceKind.POOL,
        benefit_id="standard_pool",
        sku=Sku.AUDIO_CONFERENCING,
        source_id=source_id,
        rate=None,
        connect_fee_micros=Micros(0),
        seconds=Seconds(seconds),
        micros=Micros(0),
    )


def by_addon(seconds: int) -> BilledPart:
    """Return what an organizer's add-on paid of one slice."""
    return replace(
        by_pool(seconds),
        source=SourceKind.ADDON,
        benefit_id="extended_dialout_us_ca",
        sku=Sku.EXTENDED_DIALOUT_US_CA,
    )


def by_credits(seconds: int, micros: int, *, rate: str = "first", fee: int = 5_000) -> BilledPart:
    """Return what credits paid of one slice."""
    return BilledPart(
        source=SourceKind.CREDITS,
        benefit_id=None,
        sku=None,
        source_id=None,
        rate=rate,
        connect_fee_micros=Micros(fee),
        seconds=Seconds(seconds),
        micros=Micros(micros),
    )


def call(billed: Iterable[BilledPart] = (), *, overrun: int = 0) -> UsageCall:
    """Return a call that was answered at noon, and what was billed of it."""
    return replace(CALL, billed=tuple(billed), overrun_seconds=Seconds(overrun))


parts = st.one_of(
    st.builds(by_pool, st.integers(0, 300), st.sampled_from([MARCH, APRIL])),
    st.builds(by_addon, st.integers(0, 300)),
    st.builds(
        by_credits,
        st.integers(0, 300),
        st.integers(0, 10**9),
        rate=st.sampled_from(["first", "second"]),
        fee=st.integers(0, 10**6),
    ),
)
"""What a slice of a call may have been paid by."""
