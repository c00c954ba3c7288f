"""Many connections on few funding sources, for a minute: is anything overdrawn, lost or stuck?

The books are proved at the end, and compared with what every client was told.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from pydantic import SecretStr

from bench.ledger import LONDON, RATE
from bench.ledger import TERMS as LONG
from gateway import db
from gateway.core.causes import Disposition
from gateway.core.dial_out import DialOut, DialOutKind, DialOutRequest
from gateway.core.e164 import Region
from gateway.core.facts import DialOutPermission, OrganizerId, Sku, SourceKind
from gateway.core.key import DialOutKey
from gateway.core.rating import Micros, Seconds
from gateway.core.waterfall import CREDITS, Source
from gateway.lab.postgres import Postgres
from gateway.ledger import (
    Channel,
    DeckRow,
    Ledger,
    LedgerUnavailable,
    Provisioning,
    RequestOutcome,
    Segment,
)
from gateway.settings import DatabaseSettings

TENANTS = 25
"""Each has two sources that all its calls draw on: a pool, and credits."""

POOL = Source(kind=SourceKind.POOL, benefit_id="standard_pool")
ORGANIZER = OrganizerId("alice")
TERMS = replace(
    LONG,
    talk_seconds_max=Seconds(120),
    talk_seconds_min=Seconds(20),
    slice_seconds=Seconds(60),
)
ROW = DeckRow(
    prefix=RATE.prefix,
    price_micros=RATE.price_micros,
    connect_fee_micros=RATE.connect_fee_micros,
    initial_increment_seconds=RATE.initial_increment_seconds,
    increment_seconds=RATE.increment_seconds,
)
LOT_MICROS = 200
TOP_UP_CHANCE = 0.02
YEAR = timedelta(days=365)


@dataclass(slots=True)
class Tally:
    """What the clients were told."""

    steps: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    used: Counter[tuple[UUID, SourceKind]] = field(default_factory=Counter)
    durations: list[float] = field(default_factory=list)

    def book(self, ended: DialOut) -> None:
        """Count what an ended call has cost."""
        tenant_id = ended.request.key.tenant_id
        for part in ended.parts:
            amount = part.billed_micros if part.currency else part.billed_seconds
            self.used[tenant_id, part.source] += amount or 0


async def measure(connections: int, seconds: float) -> dict[str, Any]:
    """Let ``connections`` clients call as fast as they can for ``seconds``; return the figures."""
    with TemporaryDirectory(prefix="dialout-bench-") as directory:
        async with Postgres(Path(directory), connections_max=connections + 20) as postgres:
            settings = DatabaseSettings(
                dsn=SecretStr(await postgres.create_database("bench")),
                connections_max=connections,
                call_seconds_max=30,
            )
            await db.migrate(settings)
            async with db.pool(settings) as pool:
                ledger = Ledger(pool, call_seconds_max=30)
                tenants = [await _tenant(Provisioning(pool)) for _ in range(TENANTS)]
                provisioning = Provisioning(pool, call_seconds_max=30)
                tally = await _crowd(ledger, provisioning, tenants, connections, seconds)
                return await _figures(ledger, tenants, tally, settings, seconds)


async def _tenant(provisioning: Provisioning) -> UUID:
    """Make a tenant with an hour of minutes and a lot that a few calls use up."""
    tenant_id, now = uuid4(), datetime.now(UTC)
    async with provisioning.change(actor="bench") as change:
        # The first deck of a database is the one that the rate is of.
        await change.rate_deck_put(RATE.deck, RATE.currency, [ROW], now - YEAR)
        await change.tenant_create(
            tenant_id, name="bench", time_zone="UTC", currency="USD", rate_deck=RATE.deck
        )
        await change.organizer_put(
            tenant_id,
            ORGANIZER,
            display_name="Alice",
            region=Region("GB"),
            permission=DialOutPermission.ANY,
        )
        await change.licence_assign(
            tenant_id,
            ORGANIZER,
            Sku.AUDIO_CONFERENCING,
            valid_from=now - YEAR,
            valid_to=None,
            channel=Channel.CSP,
            segment=Segment.COMMERCIAL,
            at=now,
        )
        await change.credits_add(tenant_id, uuid4(), Micros(LOT_MICROS), now)
    return tenant_id


async def _crowd(
    ledger: Ledger,
    provisioning: Provisioning,
    tenants: list[UUID],
    connections: int,
    seconds: float,
) -> Tally:
    tally = Tally()
    until = time.monotonic() + seconds

    async def client(seed: int) -> None:
        chance = random.Random(seed)
        while time.monotonic() < until:
            begun = time.perf_counter()
            tenant_id = chance.choice(tenants)
            if chance.random() < TOP_UP_CHANCE:
                await _top_up(provisioning, tenant_id, tally)
            await _call(ledger, tenant_id, chance, tally)
            tally.durations.append(time.perf_counter() - begun)

    await asyncio.gather(*(client(seed) for seed in range(connections)))
    return tally


async def _top_up(provisioning: Provisioning, tenant_id: UUID, tally: Tally) -> None:
    async with provisioning.change(actor="bench") as change:
        outcome = await change.credits_add(
            tenant_id, uuid4(), Micros(LOT_MICROS), datetime.now(UTC)
        )
    tally.steps[f"credits {outcome}"] += 1


async def _call(ledger: Ledger, tenant_id: UUID, chance: random.Random, tally: Tally) -> None:
    """Live one call through, or a part of its life; each step's answer is counted."""
    for step in _life(ledger, tenant_id, chance, tally):
        try:
            tally.steps[await step] += 1
        except (LedgerUnavailable, asyncpg.PostgresError) as error:
            tally.failures[f"{type(error).__name__}: {error}"] += 1
            return


def _life(ledger: Ledger, tenant_id: UUID, chance: random.Random, tally: Tally) -> Iterator[Any]:
    key = DialOutKey(tenant_id=tenant_id, dial_out_id=uuid4())
    now = datetime.now(UTC)
    sources = chance.choice([(POOL,), (CREDITS,), (POOL, CREDITS)])
    reserved: list[RequestOutcome] = []

    async def reserve() -> str:
        outcome, _ = await ledger.reserve(
            DialOutRequest(
                key=key,
                kind=DialOutKind.CALL_ME,
                organizer_id=ORGANIZER,
                initiator_id=None,
                conference_id="bench",
                number_typed="+442079460000",
            ),
            *(LONDON, sources, RATE, TERMS, "{}", now, now + timedelta(minutes=5)),
        )
        reserved.append(outcome)
        return f"reserve {outcome}"

    async def claim() -> str:
        found = await ledger.claim(key, key.gate_uniqueid, now)
        return f"claim {getattr(found, 'value', 'claimed')}"

    async def void() -> str:
        outcome, _ = await ledger.void(
            key,
            at=now,
            hangup_cause=17,
            disposition=Disposition.BUSY,
            only_if_unclaimed=False,
            evidence="bench",
        )
        return f"void {outcome}"

    async def answered() -> str:
        return f"answered {await ledger.answered(key, now)}"

    async def extend() -> str:
        return f"extend {(await ledger.extend(key, slices=1, at=now)).outcome}"

    async def settle() -> str:
        outcome, ended = await ledger.settle(
            key,
            answered_at=now,
            ended_at=now + timedelta(milliseconds=chance.randrange(60_000)),
            hangup_cause=16,
            disposition=Disposition.ANSWERED,
            evidence="bench",
        )
        if ended is not None:
            tally.book(ended)
        return f"settle {outcome}"

    yield reserve()
    if reserved != [RequestOutcome.RESERVED]:
        return
    yield claim()
    if chance.random() < 0.3:
        yield void()
        return
    yield answered()
    yield extend()
    yield settle()


async def _figures(
    ledger: Ledger,
    tenants: list[UUID],
    tally: Tally,
    settings: DatabaseSettings,
    seconds: float,
) -> dict[str, Any]:
    balances = [each for tenant in tenants for each in await ledger.balances(tenant)]
    told = sum(tally.used.values())
    connection = await asyncpg.connect(settings.dsn.get_secret_value())
    deadlocks = await connection.fetchval(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    await connection.close()
    return {
        "calls": len(tally.durations),
        "calls_per_second": round(len(tally.durations) / seconds, 1),
        "steps": dict(tally.steps.most_common()),
        "failures": dict(tally.failures),
        "sources": 2 * len(tenants),
        "lots": sum(each.kind is SourceKind.CREDITS for each in balances),
        "deadlocks": deadlocks,
        "overdrawn": sum(each.free < 0 for each in balances),
        "still_reserved": sum(each.reserved for each in balances),
        "used_by_the_books": sum(each.used for each in balances),
        "used_by_what_clients_were_told": told,
        "findings": [each.summary() for each in await ledger.check()],
    }
