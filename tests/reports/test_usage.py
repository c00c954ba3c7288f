"""The rows of usage: one a funding part, which sum to what was billed."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.causes import Disposition
from gateway.core.e164 import Region
from gateway.core.facts import Sku, SourceKind
from gateway.ledger import BilledPart
from gateway.reports.usage import COLUMNS, Capability, Payer, Scope, capability, scope, usage_rows
from tests.core.arbitrary import deterministic
from tests.reports.calls import APRIL, CALL, NOON, by_addon, by_credits, by_pool, call, parts


def test_slices_are_no_rows() -> None:
    """12:40 of pool, then credits: two rows, each with its own time, and the fee once."""
    billed = [
        *(by_pool(300), by_pool(300), by_pool(160)),
        *(by_credits(140, 54_000), by_credits(60, 21_000)),
    ]

    pool, credit = usage_rows(call(billed))

    assert (pool.payer, pool.seconds, pool.charge_micros) == (Payer.POOL, 760, 0)
    assert (pool.start, pool.end) == (NOON, NOON + timedelta(seconds=760))
    assert (credit.payer, credit.seconds, credit.charge_micros) == (Payer.CREDITS, 200, 75_000)
    assert (credit.start, credit.end) == (pool.end, NOON + timedelta(seconds=960))
    assert (pool.connection_fee_micros, credit.connection_fee_micros) == (0, 5_000)
    assert [pool.usage_id, credit.usage_id] == [f"{CALL.dial_out_id}-1", f"{CALL.dial_out_id}-2"]


def test_another_month_or_price_is_another_row() -> None:
    """Each row belongs to one month's pool and has one price, and the fee stays the first's."""
    billed = [
        *(by_pool(60), by_pool(30, APRIL)),
        *(by_credits(60, 17_000), by_credits(30, 9_000, rate="second", fee=7_000)),
    ]

    rows = list(usage_rows(call(billed)))

    assert [row.seconds for row in rows] == [60, 30, 60, 30]
    assert [row.connection_fee_micros for row in rows] == [0, 0, 5_000, 0]


def test_a_source_that_paid_nothing_is_no_row() -> None:
    """Credits were set aside for a call that ended within the pool's minutes."""
    [row] = usage_rows(call([by_pool(60), by_credits(0, 0), by_pool(30)]))

    assert (row.payer, row.seconds) == (Payer.POOL, 90)


def test_what_nobody_pays_is_said_to_be_free() -> None:
    """Seconds beyond what was set aside are in the export, at no charge, last of the call."""
    *_, last = usage_rows(call([by_pool(60)], overrun=7))

    assert (last.capability, last.payer) == (Capability.FREE, Payer.NOBODY)
    assert (last.seconds, last.charge_micros) == (7, 0)
    assert last.start == NOON + timedelta(seconds=60)


def test_an_unanswered_call_is_one_row_of_nothing() -> None:
    """From the request to the end, and its id is one that no funding part has."""
    busy = replace(CALL, answered_at=None, disposition=Disposition.BUSY)

    [row] = usage_rows(busy)

    assert row.usage_id.endswith("-0")
    assert (row.seconds, row.charge_micros, row.capability, row.payer) == (0, 0, None, None)
    assert (row.start, row.end) == (busy.requested_at, busy.ended_at)


@deterministic
@given(st.lists(parts, max_size=12), st.integers(0, 60))
@example([by_credits(0, 7)], 0)
@example([by_pool(60), by_addon(0), by_pool(60)], 1)
def test_rows_sum_to_the_call(billed: list[BilledPart], overrun: int) -> None:
    """No second and no micro is lost or told twice, whatever pays in whichever order."""
    rows = list(usage_rows(call(billed, overrun=overrun)))

    assert sum(row.seconds for row in rows) == sum(part.seconds for part in billed) + overrun
    assert sum(row.charge_micros for row in rows) == sum(part.micros for part in billed)
    assert sum(row.connection_fee_micros > 0 for row in rows) <= 1
    assert len({row.usage_id for row in rows}) == len(rows)
    ends = [NOON, *(row.end for row in rows)]
    assert [row.start for row in rows] == ends[:-1]


@pytest.mark.parametrize(
    ("source", "sku", "is_ppm", "expected"),
    [
        (SourceKind.POOL, Sku.AUDIO_CONFERENCING, False, "MCOMEETADD"),
        (SourceKind.PROMOTION, Sku.AUDIO_CONFERENCING, False, "MCOMEETADD"),
        (SourceKind.ADDON, Sku.EXTENDED_DIALOUT_US_CA, False, "MCOMEETADD_DIALOUT_US"),
        (SourceKind.ADDON, Sku.EXTENDED_DIALOUT_US_CA, True, "MCOMEETADD_DIALOUT_US"),
        (SourceKind.CREDITS, None, False, "MCOPSTNPP"),
        (SourceKind.CREDITS, None, True, "MCOMEETACPEA"),
        (SourceKind.PROMOTION, Sku.AUDIO_CONFERENCING_PPM, True, "MCOMEETACPEA"),
        (SourceKind.PROMOTION, Sku.COMMUNICATIONS_CREDITS, False, "MCOPSTNPP"),
    ],
)
def test_a_source_is_called_after_its_licence(
    source: SourceKind, sku: Sku | None, is_ppm: bool, expected: str
) -> None:
    """The words are Microsoft's, so that whoever reads its reports can read ours."""
    assert capability(source, sku, is_ppm=is_ppm) == expected


@pytest.mark.parametrize(
    ("destination", "location", "expected"),
    [
        ("GB", "GB", Scope.DOMESTIC),
        ("CA", "US", Scope.INTERNATIONAL),
        ("001", "US", Scope.INTERNATIONAL),
        ("GB", None, None),
    ],
)
def test_domestic_is_the_same_country(
    destination: str, location: str | None, expected: Scope | None
) -> None:
    """And never the same calling code; where nobody knows, nothing is claimed."""
    assert scope(Region(destination), None if location is None else Region(location)) is expected


def test_every_column_is_named_in_order() -> None:
    """An export without a row has the header of one with rows."""
    [row] = usage_rows(call([by_addon(60)]))

    assert tuple(row.cells()) == COLUMNS


def test_times_are_utc_to_the_millisecond() -> None:
    """ISO 8601 with a Z, whatever zone the machine is in."""
    answered = replace(CALL, answered_at=NOON + timedelta(microseconds=123_456))
    [row] = usage_rows(replace(answered, billed=(by_pool(60),)))

    assert row.cells()["start"] == "2026-03-10T12:00:00.123Z"
    assert row.cells()["end"] == "2026-03-10T12:01:00.123Z"
