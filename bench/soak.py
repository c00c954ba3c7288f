"""Calls for a long time, and whether the gateway has anything left of them.

One gateway, in a process of its own, on a virtual Asterisk and a real PostgreSQL. Telephones
answer and hang up, are busy, ring in vain or do not exist; some calls outlast their first slice,
some are called off, some come by the intercept. Every call has a conference that few others
have, so that whatever is kept by its name would show.

It comes to rest three times: before the first call, after a time to warm up, in which caches fill
and pools of connections grow, and after the last call.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import count
from math import sqrt
from pathlib import Path
from random import Random
from socket import SOCK_STREAM
from statistics import NormalDist, fmean, linear_regression
from tempfile import TemporaryDirectory
from typing import Any, Final, Self
from uuid import UUID, uuid4

import asyncpg
import httpx
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from gateway import db
from gateway.core.rating import Micros
from gateway.core.record import FAMILY
from gateway.lab.postgres import Postgres
from gateway.lab.program import free_port
from gateway.lab.sample import create_sample_tenant
from gateway.ledger import Provisioning
from gateway.settings import (
    ApiSettings,
    BridgeSettings,
    CallSettings,
    CoolDownSettings,
    DatabaseSettings,
    GivenSettings,
    LogSettings,
    ProofSettings,
)
from gateway.simulator.asterisk import VirtualAsterisk
from gateway.simulator.carrier import Pickup, Telephone
from gateway.simulator.faults import Faults
from gateway.simulator.gateway_process import GatewayProcess
from gateway.simulator.tenant import CALLER_ID

SAMPLES_MIN: Final = 40
SAMPLE_SECONDS: Final = 10.0
WARM_UP_SHARE: Final = 1 / 6

JUDGED_SECONDS_MIN: Final = 600.0
"""Of a shorter run what memory does says nothing."""

BYTES_A_CALL_MAX: Final = 32.0
BLOCKS_A_CALL_MAX: Final = 0.2
"""More than this for each call is a leak: an object takes one block and some fifty bytes."""

DIALLED_SHARE_MIN: Final = 0.5
"""Of what was asked for. Nearly all is dialled but what is called off; of nothing nothing leaks."""

REST_SECONDS: Final = 120.0

_HOST: Final = "127.0.0.1"
_DATABASE, _LOGIN, _GROUP = "dialout", "gateway", "dialout_gateway"
_READY_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.2
_NUMBERS: Final = tuple(f"+442079460{number:03}" for number in range(1000))
_CALLS_A_CONFERENCE: Final = 4
_TENANTS: Final = 8
_CREDITS: Final = Micros(10**12)
_INTERCEPTED, _CALLED_OFF = 0.1, 0.03
_OPEN: Final = "SELECT count(*) FROM dialout.open_dial_out"
_CONNECTIONS: Final = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What there was at one moment. The first five are of the gateway's process."""

    at_seconds: float
    memory_bytes: int
    memory_blocks: int
    tasks: int
    files: int
    calls: int
    open_rows: int
    connections: int
    records: int
    channels: int

    @property
    def other_files(self) -> int:
        """Files that are no connection to PostgreSQL: those come and go with their pools."""
        return self.files - self.connections

    @property
    def at_rest(self) -> bool:
        """Whether nothing is left that is of any call."""
        return not (self.calls or self.open_rows or self.records or self.channels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """By how much something grows with each call, and how far off that may be (95 %).

    Samples close to each other are alike, so it may be further off than that.
    """

    per_call: float
    error: float

    @classmethod
    def of(cls, samples: Sequence[Sample], name: str, rate: float) -> Self:
        """Return the trend of a field by least squares; of three samples at least."""
        xs = [each.at_seconds * rate for each in samples]
        ys = [float(getattr(each, name)) for each in samples]
        line = linear_regression(xs, ys)
        spread = sum((x - fmean(xs)) ** 2 for x in xs)
        missed = sum(
            (y - line.intercept - line.slope * x) ** 2 for x, y in zip(xs, ys, strict=True)
        )
        deviation = sqrt(missed / (len(xs) - 2) / spread)
        return cls(per_call=line.slope, error=NormalDist().inv_cdf(0.975) * deviation)

    def exceeds(self, most: float) -> bool:
        """Return whether it certainly grows by more than that."""
        return self.per_call - self.error > most


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """A run: at rest before any call, warm, and after the last; ``samples`` between the latter.

    ``calls`` are the requests after the time to warm up, ``log`` what the gateway complained of.
    """

    seconds: float
    rate: float
    calls: int
    idle: Sample
    warm: Sample
    samples: tuple[Sample, ...]
    rest: Sample
    answers: dict[str, int]
    dialled: int
    log: dict[str, int]

    @property
    def memory(self) -> Trend:
        """By how much the memory has grown with each call since it was warm."""
        return Trend.of(self.samples, "memory_bytes", self.rate)

    @property
    def blocks_a_call(self) -> float:
        """How many objects each call has left, by what there is at rest."""
        return (self.rest.memory_blocks - self.warm.memory_blocks) / self.calls

    def faults(self) -> list[str]:
        """Return what is wrong, in words; empty is what is hoped for."""
        asked = sum(self.answers.values())
        judged = self.seconds >= JUDGED_SECONDS_MIN
        found = {
            "hardly any call was dialled": self.dialled <= asked * DIALLED_SHARE_MIN,
            "calls, rows, records or channels are left": not self.rest.at_rest,
            "calls were followed after their end": "call.overdue" in self.log,
            "tasks are left": self.rest.tasks > self.idle.tasks,
            "files are left": self.rest.other_files > self.idle.other_files,
            "memory grows": judged and self.memory.exceeds(BYTES_A_CALL_MAX),
            "objects are left": judged and self.blocks_a_call > BLOCKS_A_CALL_MAX,
        }
        return [what for what, is_so in found.items() if is_so]

    def figures(self) -> dict[str, Any]:
        """Return what was measured, as plain JSON values."""
        seen = {
            f"{field.name}_idle_warm_most_rest": [
                getattr(self.idle, field.name),
                getattr(self.warm, field.name),
                max(getattr(each, field.name) for each in self.samples),
                getattr(self.rest, field.name),
            ]
            for field in fields(Sample)
            if field.name != "at_seconds"
        }
        return {
            "seconds": round(self.seconds),
            "calls_dialled": self.dialled,
            "answers": self.answers,
            **seen,
            "memory_bytes_a_call": f"{self.memory.per_call:+.1f} ± {self.memory.error:.1f}",
            "memory_blocks_a_call": round(self.blocks_a_call, 3),
            "log": self.log,
            "wrong": self.faults() or "nothing",
        }


async def measure(seconds: float, rate: float, seed: int) -> Soak:
    """Place ``rate`` calls a second for so many seconds, and watch what becomes of the gateway."""
    warm_up_seconds = seconds * WARM_UP_SHARE
    async with _bench(seed) as bench:
        idle = await bench.sample()
        await bench.run(warm_up_seconds, rate)
        warm = await bench.rest(idle)
        before = bench.answers.total()
        samples = await bench.run(seconds - warm_up_seconds, rate)
        return Soak(
            seconds=seconds,
            rate=rate,
            calls=bench.answers.total() - before,
            idle=idle,
            warm=warm,
            samples=samples,
            rest=await bench.rest(idle),
            answers=dict(sorted(bench.answers.items())),
            dialled=bench.dialled,
            log=bench.log(),
        )


class _Bench:
    """The running parts, and what is seen of them."""

    def __init__(
        self,
        *,
        asterisk: VirtualAsterisk,
        pool: db.Pool,
        gateway: GatewayProcess,
        token: str,
        tenant_ids: Sequence[UUID],
        output: Path,
        random: Random,
    ) -> None:
        self.dialled = 0
        self.answers: Counter[str] = Counter()
        self._asterisk = asterisk
        self._pool = pool
        self._gateway = gateway
        self._headers = {"Authorization": f"Bearer {token}"}
        self._tenant_ids = tenant_ids
        self._output = output
        self._random = random
        self._calls = count()
        self._began = time.monotonic()

    async def ready(self) -> None:
        """Return when a call could be placed. Raises ``TimeoutError``."""
        async with asyncio.timeout(_READY_SECONDS), self._client() as client:
            while True:
                try:
                    if (await client.get("/readyz")).is_success:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(_POLL_SECONDS)

    async def run(self, seconds: float, rate: float) -> tuple[Sample, ...]:
        """Place calls for so long, and return what was sampled meanwhile."""
        self._began = time.monotonic()
        async with self._client() as client, asyncio.TaskGroup() as doing:
            sampling = doing.create_task(self._sample_for(seconds))
            for call in range(int(seconds * rate)):
                await asyncio.sleep(max(0.0, self._began + call / rate - time.monotonic()))
                doing.create_task(self._place(client))
        return sampling.result()

    async def rest(self, idle: Sample) -> Sample:
        """Return what there is once nothing is left, or what is left after two minutes."""
        deadline = time.monotonic() + REST_SECONDS
        while True:
            sample = await self.sample()
            if (sample.at_rest and sample.tasks <= idle.tasks) or time.monotonic() > deadline:
                return sample
            await asyncio.sleep(_POLL_SECONDS)

    async def sample(self) -> Sample:
        """Return what there is now. The carrier forgets what has ended."""
        self.dialled += len(self._asterisk.carrier.forget_ended())
        async with self._client() as client:
            text = (await client.get("/metrics")).raise_for_status().text
        process = {
            sample.name: int(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name in _METRICS
        }
        return Sample(
            at_seconds=time.monotonic() - self._began,
            **{field: process[name] for name, field in _METRICS.items()},
            open_rows=await self._pool.fetchval(_OPEN),
            connections=await self._pool.fetchval(_CONNECTIONS, _LOGIN),
            records=len(self._asterisk.records.tree(FAMILY)),
            channels=self._asterisk.channels_count,
        )

    def log(self) -> dict[str, int]:
        """Return how often the gateway had anything to complain of, by what."""
        lines = self._output.read_text().splitlines()
        return dict(Counter(json.loads(line)["event"] for line in lines))

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._gateway.url,
            headers=self._headers,
            timeout=10.0,
            trust_env=False,
            limits=httpx.Limits(max_connections=50),
        )

    async def _sample_for(self, seconds: float) -> tuple[Sample, ...]:
        interval = min(SAMPLE_SECONDS, seconds / SAMPLES_MIN)
        samples = []
        for turn in range(1, int(seconds / interval) + 1):
            await asyncio.sleep(max(0.0, self._began + turn * interval - time.monotonic()))
            samples.append(await self.sample())
        return tuple(samples)

    async def _place(self, client: httpx.AsyncClient) -> None:
        """Have somebody call somebody, in one of the ways that there are."""
        meeting = next(self._calls) // _CALLS_A_CONFERENCE
        request = {
            "tenant_id": str(self._tenant_ids[meeting % _TENANTS]),
            "kind": "add_participant",
            "organizer_id": "alice",
            "initiator_id": "alice",
            "conference_id": f"soak-{meeting}",
            "number": self._random.choice(_NUMBERS),
        }
        chance = self._random.random()
        if chance < _INTERCEPTED:
            self._intercept(request)
            self.answers["intercepted"] += 1
            return
        try:
            answer = await client.post("/v1/dial-outs", json=request)
            self.answers[str(answer.json().get("reason") or answer.status_code)] += 1
            if answer.is_success and chance > 1 - _CALLED_OFF:
                await client.delete(
                    f"/v1/dial-outs/{answer.json()['dial_out_id']}",
                    params={"tenant_id": request["tenant_id"]},
                )
        except httpx.TransportError as error:
            self.answers[type(error).__name__] += 1

    def _intercept(self, request: dict[str, str]) -> None:
        self._asterisk.intercept(
            request["number"],
            {
                "DIALOUT_TENANT": request["tenant_id"],
                "DIALOUT_ORGANIZER": request["organizer_id"],
                "DIALOUT_INITIATOR": request["initiator_id"],
                "DIALOUT_CONFERENCE": request["conference_id"],
                "DIALOUT_ID": "",
            },
        )


_METRICS: Final = {
    "process_resident_memory_bytes": "memory_bytes",
    "dialout_memory_blocks": "memory_blocks",
    "dialout_tasks": "tasks",
    "process_open_fds": "files",
    "dialout_calls": "calls",
}


@asynccontextmanager
async def _bench(seed: int) -> AsyncIterator[_Bench]:
    """Start everything, and stop it in order."""
    async with AsyncExitStack() as parts:
        directory = Path(parts.enter_context(TemporaryDirectory(prefix="dialout-soak-")))
        postgres = await parts.enter_async_context(Postgres(directory))
        owner = DatabaseSettings(dsn=SecretStr(await postgres.create_database(_DATABASE)))
        await db.migrate(owner)
        await postgres.create_login(_LOGIN, member_of=_GROUP)
        pool = await parts.enter_async_context(db.pool(owner))
        tenant_ids = [await _tenant(pool) for _ in range(_TENANTS)]
        asterisk = VirtualAsterisk(random=Random(seed), faults=Faults.none())
        await parts.enter_async_context(asterisk)
        for number, telephone in zip(_NUMBERS, _telephones(Random(seed)), strict=False):
            asterisk.carrier.plan(number, telephone)
        settings = _settings(asterisk, postgres.dsn(_DATABASE, _LOGIN), token=uuid4().hex)
        output = directory / "gateway.log"
        gateway = GatewayProcess(settings, output)
        gateway.start()
        parts.push_async_callback(gateway.stop)
        bench = _Bench(
            asterisk=asterisk,
            pool=pool,
            gateway=gateway,
            token=settings.api.token_text(),
            tenant_ids=tenant_ids,
            output=output,
            random=Random(seed),
        )
        await bench.ready()
        yield bench


async def _tenant(pool: asyncpg.Pool) -> UUID:
    """Make a tenant whose credits do not end."""
    provisioning = Provisioning(pool)
    tenant = await create_sample_tenant(provisioning)
    async with provisioning.change(actor="bench") as change:
        await change.credits_add(tenant.tenant_id, uuid4(), _CREDITS, datetime.now(UTC))
    return tenant.tenant_id


def _telephones(random: Random) -> Iterator[Telephone]:
    """Yield telephones for ever: four of five answer, one of twenty of those talks for long."""
    pickups = (Pickup.ANSWERS, Pickup.BUSY, Pickup.SILENT, Pickup.UNKNOWN)
    while True:
        yield Telephone(
            pickup=random.choices(pickups, (80, 10, 5, 5))[0],
            ring_ms=random.randint(100, 1500),
            talk_ms=25_000 if random.random() < 0.05 else random.randint(500, 10_000),
        )


def _settings(asterisk: VirtualAsterisk, dsn: str, *, token: str) -> GivenSettings:
    return GivenSettings(
        database=DatabaseSettings(dsn=SecretStr(dsn)),
        bridges={
            "main": BridgeSettings(
                host=asterisk.host,
                port=asterisk.port,
                username=asterisk.account,
                secret=SecretStr(asterisk.secret),
                caller_id=CALLER_ID,
            )
        },
        api=ApiSettings(host=_HOST, port=free_port(SOCK_STREAM), token=SecretStr(token)),
        call=CallSettings(
            ring_seconds=5,
            talk_seconds_min=1,
            slice_seconds=20,
            warning_seconds=(5,),
            extend_ahead_seconds=2,
        ),
        cool_down=CoolDownSettings(attempts=0),
        proof=ProofSettings(every_hours=0),
        log=LogSettings(format="json", level="warning"),
    )


def draw(soak: Soak, path: Path) -> None:
    """Write how the figures went, once warm, to an SVG or PNG file. Needs the extra ``charts``."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 9.0), layout="constrained")
    minutes = [each.at_seconds / 60 for each in soak.samples]
    names = ("memory_bytes", "memory_blocks", "tasks", "files", "calls", "open_rows")
    for axes, name in zip(figure.subplots(len(names), 1, sharex=True), names, strict=True):
        axes.plot(minutes, _values(soak.samples, name), linewidth=1)
        axes.set_title(name.replace("_", " "), loc="left", fontsize=9)
        axes.set_ylim(bottom=0)
    axes.set_xlabel("minutes")
    figure.savefig(path)


def _values(samples: Iterable[Sample], name: str) -> list[int]:
    return [getattr(each, name) for each in samples]
