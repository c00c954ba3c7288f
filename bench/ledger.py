"""How long the ledger's two calls on the path of a telephone call take, alone and in a crowd."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID, uuid4

from pydantic import SecretStr

from bench.figures import Figures
from gateway import db
from gateway.core.dial_out import DialOutKind, DialOutRequest, Terms
from gateway.core.e164 import E164, Destination, NumberKind, Region
from gateway.core.facts import OrganizerId
from gateway.core.key import DialOutKey
from gateway.core.rating import Micros, Rate, Seconds
from gateway.core.waterfall import CREDITS
from gateway.lab.postgres import Postgres
from gateway.lab.sample import create_sample_tenant
from gateway.ledger import Claim, Ledger, Provisioning, RequestOutcome
from gateway.settings import DatabaseSettings

CROWD = 20
LONDON = Destination(e164=E164("+442079460000"), region=Region("GB"), kind=NumberKind.FIXED_LINE)
RATE = Rate(
    deck_id=1,
    deck="sample",
    prefix="44",
    regions=None,
    currency="USD",
    price_micros=Micros(1),
    connect_fee_micros=Micros(0),
    initial_increment_seconds=Seconds(1),
    increment_seconds=Seconds(1),
)
TERMS = Terms(
    talk_seconds_max=Seconds(60),
    talk_seconds_min=Seconds(60),
    slice_seconds=Seconds(14_400),
    ring_seconds=Seconds(30),
    caller_id=E164("+442079460999"),
)


async def measure(count: int) -> list[Figures]:
    """Reserve and claim ``count`` dial-outs one after the other, then ``CROWD`` at a time."""
    with TemporaryDirectory(prefix="dialout-bench-") as directory:
        async with Postgres(Path(directory)) as postgres:
            dsn = await postgres.create_database("bench")
            settings = DatabaseSettings(dsn=SecretStr(dsn), connections_max=CROWD)
            await db.migrate(settings)
            async with db.pool(settings) as pool:
                ledger = Ledger(pool)
                tenant = (await create_sample_tenant(Provisioning(pool))).tenant_id
                return [
                    figures
                    for at_once in (1, CROWD)
                    for figures in await _measure(ledger, tenant, count, at_once)
                ]


async def _measure(ledger: Ledger, tenant: UUID, count: int, at_once: int) -> list[Figures]:
    keys = [DialOutKey(tenant_id=tenant, dial_out_id=uuid4()) for _ in range(count)]
    crowd = "alone" if at_once == 1 else f"{at_once} at once"
    return [
        Figures.of(
            f"reserve, {crowd}", await _time_all(lambda k: _reserve(ledger, k), keys, at_once)
        ),
        Figures.of(f"claim, {crowd}", await _time_all(lambda k: _claim(ledger, k), keys, at_once)),
    ]


async def _time_all(
    step: Callable[[DialOutKey], Awaitable[None]], keys: list[DialOutKey], at_once: int
) -> list[float]:
    waiting = iter(keys)
    durations: list[float] = []

    async def work() -> None:
        for key in waiting:
            begun = time.perf_counter()
            await step(key)
            durations.append(time.perf_counter() - begun)

    await asyncio.gather(*(work() for _ in range(at_once)))
    return durations


async def _reserve(ledger: Ledger, key: DialOutKey) -> None:
    now = datetime.now(UTC)
    request = DialOutRequest(
        key=key,
        kind=DialOutKind.CALL_ME,
        organizer_id=OrganizerId("alice"),
        initiator_id=None,
        conference_id="bench",
        number_typed="+442079460000",
    )
    outcome, _ = await ledger.reserve(
        *(request, LONDON, (CREDITS,), RATE, TERMS, "{}", now),
        now + timedelta(minutes=5),
    )
    assert outcome is RequestOutcome.RESERVED, outcome


async def _claim(ledger: Ledger, key: DialOutKey) -> None:
    claim = await ledger.claim(key, key.gate_uniqueid, datetime.now(UTC))
    assert isinstance(claim, Claim), claim
