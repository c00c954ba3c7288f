"""Reserve and settle in a ledger of ten thousand rows, and in one of ten million.

Both lie in one server, and their turns alternate, so that whatever else the machine does
slows both. The rows are written straight into the tables: what is measured is how long the
functions take among them, not whether they add up.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from uuid import UUID, uuid4

import asyncpg
from pydantic import SecretStr

from bench.figures import Figures
from bench.ledger import LONDON, RATE, TERMS
from gateway import db
from gateway.core.causes import Disposition
from gateway.core.dial_out import DialOutKind, DialOutRequest
from gateway.core.facts import OrganizerId
from gateway.core.key import DialOutKey
from gateway.core.waterfall import CREDITS
from gateway.lab.postgres import Postgres
from gateway.lab.sample import create_sample_tenant
from gateway.ledger import Ledger, Provisioning, RequestOutcome, SettleOutcome
from gateway.settings import DatabaseSettings

ROWS_A_CALL: Final = 5
"""One dial-out, one part, one charge, and two entries."""

MONTHS: Final = 12
TURN: Final = 50

_OPEN = "SELECT dialout.month_open(date_trunc('month', now() - $1 * interval '1 month', 'UTC'))"

# A settled call of a minute, paid by credits, at an instant of the past twelve months. Half of
# all calls are the tenant's that is measured.
_FILL = """
    WITH call AS MATERIALIZED (
        SELECT
            CASE WHEN n % 2 = 0 THEN $1::uuid ELSE gen_random_uuid() END AS tenant_id,
            gen_random_uuid() AS dial_out_id,
            now() - interval '5 minutes' - (n::float / $3 * interval '360 days') AS at,
            n
        FROM generate_series($2::bigint, $2::bigint + $4::bigint - 1) AS n
    ),

    dial_outs AS (
        INSERT INTO dialout.dial_out (
            tenant_id, dial_out_id, requested_at, kind, organizer_id, conference_id,
            number_typed, state, destination, region, number_kind, expires_at, released_at,
            answered_at, ended_at, asked_kinds, asked_benefits, may_finish, talk_seconds_max,
            slice_seconds, slices, talk_seconds, limit_seconds, ring_seconds, caller_id,
            gate_uniqueid, disposition, hangup_cause, billable_seconds, overrun_seconds,
            evidence, explanation
        )
        SELECT
            c.tenant_id, c.dial_out_id, c.at, 'call_me', 'alice', 'bench', '+442079460000',
            'ended', '+442079460000', 'GB', 'fixed_line', c.at + interval '30 seconds', c.at,
            c.at, c.at + interval '60 seconds', '{credits}', '{null}', false, 60, 60, 1, 60, 60,
            30, '+442079460999', 'gate', 'answered', 16, 60, 0, 'bench',
            json_build_object('because', repeat('x', 400))
        FROM call AS c
    ),

    parts AS (
        INSERT INTO dialout.part (
            tenant_id, dial_out_id, filed_at, slice, part, kind, seconds, micros, rate,
            begins_at, from_at, to_at, at
        )
        SELECT
            c.tenant_id, c.dial_out_id, c.at, 1, 1, 'credits', 60, 1,
            ROW(1, '44', 'USD', 1, 0, 1, 1)::dialout.rate_terms, c.at, '-infinity', 'infinity', c.at
        FROM call AS c
    ),

    charges AS (
        INSERT INTO dialout.charge (
            tenant_id, dial_out_id, filed_at, slice, part, seconds, micros
        )
        SELECT c.tenant_id, c.dial_out_id, c.at, 1, 1, 60, 1 FROM call AS c
    )

    INSERT INTO dialout.entry (
        tenant_id, filed_at, number, digest, source_id, kind, granted_delta, used_delta,
        reserved_delta, dial_out_id, slice, part, at, written_at
    )
    SELECT
        c.tenant_id, c.at, 1000000000 + 2 * c.n + e.step, sha256('bench'), $5::uuid, e.kind, 0,
        e.step, 1 - 2 * e.step, c.dial_out_id, 1, 1, c.at, c.at
    FROM call AS c
    CROSS JOIN (VALUES ('reserve', 0), ('settle', 1)) AS e (kind, step)
"""
_BATCH: Final = 50_000


@dataclass(slots=True)
class Durations:
    """How long each call of the functions took, in seconds."""

    reserve: list[float] = field(default_factory=list)
    claim: list[float] = field(default_factory=list)
    settle: list[float] = field(default_factory=list)


async def measure(rows: tuple[int, ...], calls: int) -> list[Figures]:
    """Place and settle ``calls`` calls in a ledger of each size, in turns."""
    with TemporaryDirectory(prefix="dialout-bench-") as directory:
        async with Postgres(Path(directory)) as postgres:
            ledgers: list[tuple[int, str, UUID, Durations]] = []
            for size in rows:
                dsn = await postgres.create_database(f"rows_{size}")
                ledgers.append((size, dsn, await _filled(dsn, size), Durations()))
            for turn in range(calls // TURN + 1):
                for _, dsn, tenant_id, durations in ledgers:
                    # The first turn finds nothing in memory, and is not counted.
                    await _turn(dsn, tenant_id, durations if turn else Durations())
            return [
                Figures.of(f"{name}, {size:,} rows", getattr(durations, name))
                for name in ("reserve", "claim", "settle")
                for size, _, _, durations in ledgers
            ]


@asynccontextmanager
async def _ledger(dsn: str) -> AsyncIterator[tuple[Ledger, Provisioning]]:
    settings = DatabaseSettings(dsn=SecretStr(dsn), connections_max=2)
    async with db.pool(settings) as pool:
        yield Ledger(pool), Provisioning(pool)


async def _filled(dsn: str, rows: int) -> UUID:
    """Make a ledger of so many rows, and return the tenant whose half of them are."""
    await db.migrate(DatabaseSettings(dsn=SecretStr(dsn)))
    async with _ledger(dsn) as (ledger, provisioning):
        tenant_id = (await create_sample_tenant(provisioning)).tenant_id
        [source_id] = [each.source_id for each in await ledger.balances(tenant_id) if each.currency]
    owner = await asyncpg.connect(dsn)
    for months in range(1, MONTHS + 1):
        await owner.execute(_OPEN, months)
    await owner.execute("SET session_replication_role = replica")
    calls = rows // ROWS_A_CALL
    for first in range(0, calls, _BATCH):
        count = min(_BATCH, calls - first)
        await owner.execute(_FILL, tenant_id, first, float(calls), count, source_id)
    await owner.execute("VACUUM (ANALYZE, FREEZE)")
    await owner.execute("CHECKPOINT")
    await owner.close()
    return tenant_id


async def _turn(dsn: str, tenant_id: UUID, durations: Durations) -> None:
    async with _ledger(dsn) as (ledger, _):
        await ledger.ping()
        for _ in range(TURN):
            await _call(ledger, tenant_id, durations)


async def _call(ledger: Ledger, tenant_id: UUID, durations: Durations) -> None:
    key = DialOutKey(tenant_id=tenant_id, dial_out_id=uuid4())
    now = datetime.now(UTC)
    request = DialOutRequest(
        key=key,
        kind=DialOutKind.CALL_ME,
        organizer_id=OrganizerId("alice"),
        initiator_id=None,
        conference_id="bench",
        number_typed="+442079460000",
    )
    begun = time.perf_counter()
    reserved, _ = await ledger.reserve(
        *(request, LONDON, (CREDITS,), RATE, TERMS, "{}", now, now + timedelta(minutes=1))
    )
    durations.reserve.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    await ledger.claim(key, key.gate_uniqueid, now)
    durations.claim.append(time.perf_counter() - begun)
    await ledger.answered(key, now)
    begun = time.perf_counter()
    settled, _ = await ledger.settle(
        key,
        answered_at=now,
        ended_at=now + timedelta(seconds=61),
        hangup_cause=16,
        disposition=Disposition.ANSWERED,
        evidence="bench",
    )
    durations.settle.append(time.perf_counter() - begun)
    assert (reserved, settled) == (RequestOutcome.RESERVED, SettleOutcome.SETTLED)
