"""Whether the gateway is as fast after an attack as it was before: the same calls, timed twice.

Between the two it is given five hundred hostile numbers, names of organizers and names of
meetings over HTTP, and five hundred extensions through the intercept.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine, Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from bench.figures import Figures
from gateway import db
from gateway.lab.sample import create_sample_tenant
from gateway.lab.service import Service
from gateway.lab.stack import Stack, stack
from gateway.ledger import Provisioning
from tests.calls.hostile import GOOD_NUMBER, texts
from tests.gate.ami_socket import AmiSocket

ATTACKER = "attacker"
AT_ONCE = 20
LINE_BYTES_MAX = 900

Place = Callable[[dict[str, Any]], Coroutine[Any, Any, httpx.Response]]


async def measure(lab: Path, calls: int) -> list[Figures]:
    """Time ``calls`` good calls before the attack and after it, from request to dialling."""
    secret = secrets.token_hex(24)
    async with stack(lab, applications={ATTACKER: secret}) as parts, db.pool(parts.owner) as pool:
        tenant = await create_sample_tenant(Provisioning(pool))
        with TemporaryDirectory() as directory:
            async with (
                Service(
                    parts.asterisk,
                    database=parts.gateway,
                    output=Path(directory) / "gateway.log",
                ) as service,
                service.client() as client,
            ):
                place = _placing(client, str(tenant.tenant_id))
                numbers = _numbers()
                await _timed(place, numbers, calls // 4)
                before = await _timed(place, numbers, calls)
                await _attack(parts, secret, place)
                after = await _timed(place, numbers, calls)
    return [Figures.of("before the attack", before), Figures.of("after it", after)]


def _numbers() -> Iterator[str]:
    """Yield numbers in London at which the carrier is busy; each once, or it would cool down."""
    return (f"+4420{number:06d}86" for number in count(794_000))


def _placing(client: httpx.AsyncClient, tenant_id: str) -> Place:
    async def place(fields: dict[str, Any]) -> httpx.Response:
        body = {
            "tenant_id": tenant_id,
            "kind": "add_participant",
            "organizer_id": "alice",
            "initiator_id": "alice",
            "conference_id": "bench",
            "number": GOOD_NUMBER,
        }
        return await client.post("/v1/dial-outs", json={**body, **fields})

    return place


async def _timed(place: Place, numbers: Iterator[str], calls: int) -> list[float]:
    """Return how long each of so many calls took to be dialled, in seconds."""
    seconds = []
    for _ in range(calls):
        begun = time.perf_counter()
        (await place({"number": next(numbers)})).raise_for_status()
        seconds.append(time.perf_counter() - begun)
    return seconds


async def _attack(parts: Stack, secret: str, place: Place) -> None:
    """Give it everything hostile there is; whatever were let through would be seen in INVITEs."""
    before = len(parts.carrier.invites())
    places = asyncio.Semaphore(AT_ONCE)

    async def one(step: Coroutine[Any, Any, Any]) -> None:
        async with places:
            await step

    asterisk = parts.asterisk
    async with AmiSocket(asterisk.host, asterisk.ami_port, ATTACKER, secret) as attacker:
        steps: list[Coroutine[Any, Any, Any]] = [
            place({field: text})
            for field, good in (("number", GOOD_NUMBER), ("organizer_id", "alice"))
            for text in texts(good)
            if text.strip() and not text.isalnum()
        ]
        steps += [
            attacker.send(
                ("Action", "Originate"),
                ("Channel", f"Local/{text}@dialout-intercept/n"),
                ("Application", "Wait"),
                ("Data", "1"),
                ("Async", "true"),
            )
            for text in texts(GOOD_NUMBER)
            if not {"\r", "\n", "\x00"} & set(text) and len(text.encode()) < LINE_BYTES_MAX
        ]
        await asyncio.gather(*map(one, steps))
    dialled = len(parts.carrier.invites()) - before
    if dialled:
        raise AssertionError(f"the attack got {dialled} calls through")
