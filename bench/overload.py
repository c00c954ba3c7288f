"""More calls asked for than can be placed: what is refused, how soon, and do the others notice?

The product's own gateway and a real PostgreSQL beside an Asterisk that is simulated, so that
the gateway is what gives way first. Its capacity is measured, then one, two and five times as much
is offered, whether answered or not. No call that was taken may be dialled twice, or billed what
the carrier did not see; and hangups are to be in the books as soon as under no load.
"""

import asyncio
import json
import math
import secrets
import socket
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import count
from pathlib import Path
from random import Random
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

from pydantic import SecretStr

from gateway import db
from gateway.core.key import DialOutKey
from gateway.core.rating import Micros
from gateway.lab.postgres import Postgres
from gateway.lab.program import free_port
from gateway.lab.sample import create_sample_tenant
from gateway.ledger import Ledger, Provisioning
from gateway.settings import (
    ApiSettings,
    BridgeSettings,
    CallSettings,
    CoolDownSettings,
    DatabaseSettings,
    GivenSettings,
    GuardSettings,
    LogSettings,
    ProofSettings,
)
from gateway.simulator.asterisk import VirtualAsterisk
from gateway.simulator.carrier import Telephone
from gateway.simulator.faults import Faults
from gateway.simulator.gateway_process import GatewayProcess

TENANTS = 8
CLIENTS = 16
"""How many ask without a pause while the capacity is measured."""

LOADS = (1, 2, 5)
TELEPHONE = Telephone(ring_ms=100, talk_ms=2_000)
LAST_SECONDS = 30.0
"""How long the calls of one load have to end in before the next one begins."""

_HOST = "127.0.0.1"
_READY_SECONDS = 20.0
_CREDITS = Micros(10**13)


class Fate(StrEnum):
    """What became of a call that was taken."""

    RIGHT = "right"
    """Dialled once, and billed what the carrier saw."""
    NOT_DIALLED = "not dialled"
    """It came too late to its gate: nobody was called, and nothing is billed."""
    WRONG = "wrong"


@dataclass(slots=True, kw_only=True)
class Load:
    """What was asked for at one rate, and what became of it. Durations in seconds."""

    name: str
    begun: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    taken: dict[DialOutKey, str] = field(default_factory=dict)
    taken_in: list[float] = field(default_factory=list)
    refused_in: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)

    def note(self, key: DialOutKey, number: str, answer: "Answer", seconds: float) -> None:
        """Count one request."""
        if answer.status == 201:
            self.taken[key] = number
            self.taken_in.append(seconds)
        elif answer.reason == "overloaded" and answer.retry_seconds >= 1:
            self.refused_in.append(seconds)
        else:
            self.failed[answer.reason or str(answer.status)] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request was answered."""

    status: int
    reason: str | None
    retry_seconds: int


class Client:
    """Asks for calls over as many connections as are needed at once; light, unlike the load."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._token = token
        self._free: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()

    async def place(self, key: DialOutKey, number: str) -> Answer:
        """Ask for a call."""
        body = {
            "tenant_id": str(key.tenant_id),
            "dial_out_id": str(key.dial_out_id),
            "kind": "add_participant",
            "organizer_id": "alice",
            "initiator_id": "alice",
            # Of its own: nobody's telephone stops ringing because another call was the last one.
            "conference_id": key.dial_out_id.hex,
            "number": number,
        }
        status, headers, text = await self._request("POST", "/v1/dial-outs", json.dumps(body))
        return Answer(
            status=status,
            reason=json.loads(text).get("reason"),
            retry_seconds=int(headers.get("retry-after", "0")),
        )

    async def is_ready(self) -> bool:
        """Return whether a call could be placed."""
        try:
            return (await self._request("GET", "/readyz", ""))[0] == 200
        except OSError:
            return False

    def close(self) -> None:
        """Close all connections, none of which may be in use."""
        for _, writer in self._free:
            writer.close()

    async def _request(
        self, method: str, path: str, body: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        reader, writer = await self._connection()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {_HOST}\r\nAuthorization: Bearer {self._token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write((head + body).encode())
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (each.partition(": ") for each in lines)
        }
        text = await reader.readexactly(int(headers["content-length"]))
        self._free.append((reader, writer))
        return int(status.split()[1]), headers, text

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._free:
            reader, writer = self._free.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(_HOST, self._port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Everything that runs."""

    client: Client
    asterisk: VirtualAsterisk
    ledger: Ledger
    log: Path
    tenants: tuple[UUID, ...]
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    async def ask(self, load: Load) -> None:
        """Ask for one call to a telephone of its own."""
        number = next(self._numbers)
        tenant_id = self.tenants[number % len(self.tenants)]
        key = DialOutKey(tenant_id=tenant_id, dial_out_id=uuid4())
        dialled = f"+44207{number:07d}"
        self.asterisk.carrier.plan(dialled, TELEPHONE)
        begun = time.perf_counter()
        answer = await self.client.place(key, dialled)
        load.note(key, dialled, answer, time.perf_counter() - begun)


async def measure(seconds: float) -> list[dict[str, Any]]:
    """Offer each load for so long; return a row of figures of each."""
    with TemporaryDirectory(prefix="dialout-bench-") as directory:
        async with (
            Postgres(Path(directory)) as postgres,
            VirtualAsterisk(random=Random(1), faults=Faults(())) as asterisk,
        ):
            database = DatabaseSettings(dsn=SecretStr(await postgres.create_database("bench")))
            await db.migrate(database)
            async with db.pool(database) as pool:
                settings = _settings(database, asterisk)
                log = Path(directory) / "gateway.log"
                gateway = GatewayProcess(settings, log)
                client = Client(settings.api.port, settings.api.token_text())
                bench = Bench(
                    client=client,
                    asterisk=asterisk,
                    ledger=Ledger(pool, call_seconds_max=10.0),
                    log=log,
                    tenants=tuple([await _tenant(Provisioning(pool)) for _ in range(TENANTS)]),
                )
                try:
                    gateway.start()
                    await _until_ready(client)
                    return await _loads(bench, seconds)
                finally:
                    client.close()
                    await gateway.stop()


async def _loads(bench: Bench, seconds: float) -> list[dict[str, Any]]:
    await _closed(bench, Load(name="warm-up"), seconds / 2)
    capacity = await _closed(bench, Load(name="as fast as it can"), seconds)
    await _all_over(bench)
    a_second = len(capacity.taken) / capacity.seconds
    rows = [await _figures(bench, capacity)]
    for times in LOADS:
        load = Load(name=f"{times} x {a_second:.0f}/s")
        await _open(bench, load, times * a_second, seconds)
        await _all_over(bench)
        rows.append(await _figures(bench, load))
    return rows


async def _closed(bench: Bench, load: Load, seconds: float) -> Load:
    """Have a few clients ask, each as soon as it was answered."""
    until = time.monotonic() + seconds

    async def ask_on() -> None:
        while time.monotonic() < until:
            await bench.ask(load)

    await asyncio.gather(*(ask_on() for _ in range(CLIENTS)))
    load.seconds = time.monotonic() - load.begun
    return load


async def _open(bench: Bench, load: Load, a_second: float, seconds: float) -> None:
    """Have so many ask in each second, whatever they are answered."""
    async with asyncio.TaskGroup() as asking:
        for number in range(round(a_second * seconds)):
            await asyncio.sleep(max(0.0, load.begun + number / a_second - time.monotonic()))
            asking.create_task(bench.ask(load))
    load.seconds = time.monotonic() - load.begun


async def _all_over(bench: Bench) -> None:
    """Return once no call is up, and the ledger has taken all of them."""
    async with asyncio.timeout(LAST_SECONDS):
        while bench.asterisk.channels_count or await bench.ledger.open_dial_outs():
            await asyncio.sleep(0.05)


async def _figures(bench: Bench, load: Load) -> dict[str, Any]:
    fates = Counter([await _fate(bench, key) for key in load.taken])
    asked = len(load.taken) + len(load.refused_in) + load.failed.total()
    return {
        "load": load.name,
        "asked a second": round(asked / load.seconds),
        "taken": len(load.taken),
        "taken, p50/p99 ms": _span(load.taken_in),
        "overloaded": len(load.refused_in),
        "overloaded, p50/p99 ms": _span(load.refused_in),
        "otherwise": dict(load.failed),
        "hangup to booked, p50/p99 ms": _span(_booked_in(bench.log, load)),
        "taken and not dialled": fates[Fate.NOT_DIALLED],
        "wrong": fates[Fate.WRONG],
    }


async def _fate(bench: Bench, key: DialOutKey) -> Fate:
    """Return what became of a call that was taken, by the ledger and by the carrier."""
    row = await bench.ledger.dial_out(key)
    calls = [call for call in bench.asterisk.carrier.calls if call.key == key.hex]
    if row is None or row.ended_at is None or len(calls) > 1:
        return Fate.WRONG
    billed = row.billable_seconds or 0
    if not calls:
        return Fate.WRONG if billed else Fate.NOT_DIALLED
    talked_ms = calls[0].talked_ms
    # The bridge sees the answer and the hangup a moment later than the carrier.
    is_right = talked_ms is not None and abs(billed - math.ceil(talked_ms / 1000)) <= 1
    return Fate.RIGHT if is_right else Fate.WRONG


def _booked_in(log: Path, load: Load) -> list[float]:
    """Return how long after each hangup the gateway said that the ledger has taken it."""
    ids = {str(key.dial_out_id) for key in load.taken}
    told = (line for line in log.read_text().splitlines() if '"dial_out.ended"' in line)
    return [
        (
            datetime.fromisoformat(line["timestamp"]) - datetime.fromisoformat(line["ended_at"])
        ).total_seconds()
        for line in map(json.loads, told)
        if line["dial_out_id"] in ids
    ]


def _span(seconds: list[float]) -> str:
    if len(seconds) < 2:
        return "-"
    cuts = quantiles(seconds, n=100, method="inclusive")
    return f"{cuts[49] * 1000:.0f} / {cuts[98] * 1000:.0f}"


async def _tenant(provisioning: Provisioning) -> UUID:
    """Make a tenant whose credits last."""
    tenant_id = (await create_sample_tenant(provisioning)).tenant_id
    async with provisioning.change(actor="bench") as change:
        await change.credits_add(tenant_id, uuid4(), _CREDITS, datetime.now().astimezone())
    return tenant_id


async def _until_ready(client: Client) -> None:
    async with asyncio.timeout(_READY_SECONDS):
        while not await client.is_ready():
            await asyncio.sleep(0.05)


def _settings(database: DatabaseSettings, asterisk: VirtualAsterisk) -> GivenSettings:
    return GivenSettings(
        database=database,
        bridges={
            "main": BridgeSettings(
                host=asterisk.host,
                port=asterisk.port,
                username=asterisk.account,
                secret=SecretStr(asterisk.secret),
                caller_id="+442079460999",
            )
        },
        api=ApiSettings(
            host=_HOST,
            port=free_port(socket.SOCK_STREAM),
            token=SecretStr(secrets.token_hex(24)),
        ),
        call=CallSettings(talk_seconds_max=60, slice_seconds=60, ring_seconds=5),
        cool_down=CoolDownSettings(attempts=0),
        guard=GuardSettings(alone_seconds=0, organizer_gone_seconds=0),
        proof=ProofSettings(every_hours=0),
        log=LogSettings(format="json", level="info"),
    )
