"""A process of a campaign: runs seeds, several at once, as it is told on its standard input.

The first line says where, each one after it is a seed. For each seed it prints one line: what
came of it. It ends when its input does.
"""

import asyncio
import json
import sys
import traceback
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
from pydantic import BaseModel, ConfigDict, SecretStr

from gateway import db
from gateway.ledger import Ledger, Provisioning
from gateway.settings import DatabaseSettings
from gateway.simulator.gateway_process import warm_up
from gateway.simulator.rules import Rules
from gateway.simulator.scenario import draw
from gateway.simulator.world import Site, WorldError, run

_OWNER_SECONDS_MAX = 20.0
_SET_UP_AT_ONCE = 2
"""To set a world up is work, while to run it is to wait: more at once would only be slower."""


class Place(BaseModel):
    """One database where seeds are run, one after the other."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    database: str
    owner_dsn: str


class Order(BaseModel):
    """Where a worker works, and by which rules."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    places: tuple[Place, ...]
    socket: Path
    login: str
    logs: Path
    rules: Rules


async def work() -> None:
    """Run seeds until there are no more."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    order = Order.model_validate_json(await reader.readline())
    warm_up()
    seeds: asyncio.Queue[int | None] = asyncio.Queue()
    async with AsyncExitStack() as parts:
        client = await parts.enter_async_context(
            httpx.AsyncClient(verify=False, timeout=10.0, trust_env=False)  # noqa: S501 - loopback
        )
        turn = asyncio.Semaphore(_SET_UP_AT_ONCE)
        sites = [await _site(parts, order, place, client, turn) for place in order.places]
        async with asyncio.TaskGroup() as working:
            for site in sites:
                working.create_task(_work_at(site, seeds))
            while line := await reader.readline():
                seeds.put_nowait(int(line))
            for _ in sites:
                seeds.put_nowait(None)


async def _site(
    parts: AsyncExitStack,
    order: Order,
    place: Place,
    client: httpx.AsyncClient,
    turn: asyncio.Semaphore,
) -> Site:
    owner = DatabaseSettings(dsn=SecretStr(place.owner_dsn), connections_max=2)
    pool = await parts.enter_async_context(db.pool(owner))
    return Site(
        pool=pool,
        ledger=Ledger(pool, call_seconds_max=_OWNER_SECONDS_MAX),
        provisioning=Provisioning(pool, call_seconds_max=_OWNER_SECONDS_MAX),
        socket=order.socket,
        database=place.database,
        login=order.login,
        logs=order.logs,
        client=client,
        turn=turn,
        rules=order.rules,
    )


async def _work_at(site: Site, seeds: asyncio.Queue[int | None]) -> None:
    while (seed := await seeds.get()) is not None:
        try:
            answer = (await run(draw(seed), site)).summary()
        except WorldError as error:
            answer = {"seed": seed, "not_run": str(error)}
        except Exception:
            # A fault of the simulation's own, in one seed: it must not cost all the others.
            answer = {"seed": seed, "not_run": traceback.format_exc()}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(work())
