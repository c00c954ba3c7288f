"""Many seeds, on one PostgreSQL: as many at once as the machine bears, each in a world of its own.

They wait most of the time. Each runs in a database of its own, because what one gateway finds
expired, by a clock that is wrong, may be another world's.
"""

import asyncio
import json
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from gateway import db
from gateway.lab.postgres import Postgres
from gateway.lab.program import LabError
from gateway.ledger import Provisioning
from gateway.settings import DatabaseSettings
from gateway.simulator.audit import Wrong
from gateway.simulator.rules import Rules
from gateway.simulator.tenant import put_deck
from gateway.simulator.worker import Order, Place

WORLDS_A_WORKER: Final = 14
"""They share one event loop; a gateway beside them is a process of its own."""

_CONNECTIONS_A_WORLD: Final = 32
_LINE_BYTES_MAX: Final = 1 << 20
_TEMPLATE: Final = "simulation"
_LOGIN: Final = "gateway"
_GROUP: Final = "dialout_gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a worker says of one seed. ``not_run`` says why it could not be run, if it was not.

    Of the ``requests`` so many ``calls`` were dialled, and so many of those ``answered``.
    """

    seed: int
    requests: int
    calls: int
    answered: int
    faults: tuple[dict[str, Any], ...]
    story: tuple[str, ...]
    not_run: str | None

    @classmethod
    def read(cls, line: bytes) -> Self:
        """Read a worker's line."""
        answer = json.loads(line)
        return cls(
            seed=answer["seed"],
            requests=answer.get("requests", 0),
            calls=answer.get("calls", 0),
            answered=answer.get("answered", 0),
            faults=tuple(answer.get("faults", ())),
            story=tuple(answer.get("story", ())),
            not_run=answer.get("not_run"),
        )

    @property
    def counts(self) -> Counter[Wrong]:
        """How much of what must never happen did."""
        counts: Counter[Wrong] = Counter()
        for fault in self.faults:
            counts[Wrong(fault["wrong"])] += fault["amount"]
        return counts


class Campaign:
    """A running PostgreSQL with a database for each world, and the workers that run seeds there.

    ``logs`` is where the log of each seed goes.
    """

    def __init__(self, *, workers: int, worlds: int, rules: Rules, logs: Path) -> None:
        self._workers = workers
        self._worlds = worlds
        self._rules = rules
        self._logs = logs

    async def run(self, seeds: Iterable[int]) -> AsyncGenerator[Told, None]:
        """Run seeds and tell of each as it ends, in no order. Raises ``LabError``.

        Whoever stops listening, or is cancelled, has everything stopped.
        """
        waiting = iter(seeds)
        results: asyncio.Queue[Told | Exception | None] = asyncio.Queue()
        async with AsyncExitStack() as parts:
            orders = await parts.enter_async_context(self._places())
            tasks = [asyncio.create_task(self._employ(each, waiting, results)) for each in orders]
            parts.push_async_callback(_stopped, tasks)
            left = len(tasks)
            while left:
                told = await results.get()
                if isinstance(told, Exception):
                    raise told
                if told is None:
                    left -= 1
                else:
                    yield told

    @asynccontextmanager
    async def _places(self) -> AsyncIterator[list[Order]]:
        """Lend what each worker is told: databases that are there, one for each world."""
        count = self._workers * self._worlds
        async with AsyncExitStack() as parts:
            directory = parts.enter_context(tempfile.TemporaryDirectory(prefix="dialout-"))
            postgres = await parts.enter_async_context(
                Postgres(Path(directory), connections_max=_CONNECTIONS_A_WORLD * count + 20)
            )
            await _prepare(postgres)
            dsns = [
                await postgres.create_database(f"world_{number}", _TEMPLATE)
                for number in range(count)
            ]
            places = [
                Place(database=f"world_{number}", owner_dsn=dsn) for number, dsn in enumerate(dsns)
            ]
            yield [
                Order(
                    places=tuple(places[first :: self._workers]),
                    socket=_socket(dsns[0]),
                    login=_LOGIN,
                    logs=self._logs,
                    rules=self._rules,
                )
                for first in range(self._workers)
            ]

    async def _employ(
        self,
        order: Order,
        waiting: Iterator[int],
        results: "asyncio.Queue[Told | Exception | None]",
    ) -> None:
        """Give one worker a seed for each of its places, and another for each that is done."""
        try:
            async with _worker() as process:
                assert process.stdin is not None, "it was started with a pipe"
                assert process.stdout is not None, "it was started with a pipe"
                process.stdin.write(order.model_dump_json().encode() + b"\n")
                running = sum(_give(process.stdin, waiting) for _ in order.places)
                while running:
                    line = await process.stdout.readline()
                    if not line:
                        raise LabError(f"A worker of the campaign has {_end(await process.wait())}")
                    results.put_nowait(Told.read(line))
                    running += _give(process.stdin, waiting) - 1
            results.put_nowait(None)
        except LabError as error:
            results.put_nowait(error)
        except (OSError, ValueError) as error:
            results.put_nowait(LabError(f"A worker of the campaign cannot be run: {error}"))


def _end(code: int) -> str:
    """Return in words how a process has ended."""
    if code < 0:
        return f"been killed: signal {-code}, {signal.strsignal(-code)}."
    return f"ended with exit code {code}; what it said is above."


def _give(stdin: asyncio.StreamWriter, waiting: Iterator[int]) -> int:
    """Give a worker the next seed; return how many that were."""
    seed = next(waiting, None)
    if seed is None:
        return 0
    stdin.write(f"{seed}\n".encode())
    return 1


@asynccontextmanager
async def _worker() -> AsyncIterator[asyncio.subprocess.Process]:
    """Lend a worker. It dies with us, also if we are killed, and its gateways with it."""
    process = await asyncio.create_subprocess_exec(
        *("setpriv", "--pdeathsig=KILL", sys.executable, "-m", "gateway.simulator.worker"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES_MAX,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _stopped(tasks: list["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _prepare(postgres: Postgres) -> None:
    """Make the database that those of the worlds are copies of."""
    owner = DatabaseSettings(dsn=SecretStr(await postgres.create_database(_TEMPLATE)))
    await db.migrate(owner)
    await postgres.create_login(_LOGIN, member_of=_GROUP)
    async with db.pool(owner) as pool:
        # No seed kills this server, so nobody needs to wait for its disk.
        await pool.execute("ALTER SYSTEM SET synchronous_commit = off")
        # Nor does any table get so large that it is worth looking after.
        await pool.execute("ALTER SYSTEM SET autovacuum = off")
        await pool.execute("SELECT pg_reload_conf()")
        await put_deck(Provisioning(pool, call_seconds_max=20.0))


def _socket(dsn: str) -> Path:
    """Return the file of the server's Unix socket."""
    [folder] = parse_qs(urlsplit(dsn).query)["host"]
    return Path(folder) / ".s.PGSQL.5432"
