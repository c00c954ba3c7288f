"""The product's own gateway in a process of its own, that costs milliseconds to start.

It is forked from a server that has imported everything once. It may be killed as a crash does,
stopped as an operator does, and started again on the same port.
"""

import asyncio
import gc
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from multiprocessing import forkserver, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Final

import uvloop

from gateway import app, logs
from gateway.settings import Settings

_STOP_SECONDS: Final = 8.0
_POLL_SECONDS: Final = 0.02


class GatewayProcess:
    """One gateway. ``output`` is the file to which each of its lives adds its log."""

    def __init__(self, settings: Settings, output: Path) -> None:
        self._settings = settings
        self._output = output
        self._process: ForkServerProcess | None = None
        self._line: Connection | None = None
        self._step_seconds = 0
        self._is_ordered = False
        self.crashes = 0
        """How often it has ended without being told to, as far as that was looked at."""

    @property
    def url(self) -> str:
        """Where its API listens."""
        return f"http://{self._settings.api.host}:{self._settings.api.port}"

    @property
    def is_running(self) -> bool:
        """Whether it has been started and has not ended since."""
        return self._process is not None and self._process.is_alive()

    def start(self) -> None:
        """Fork it. It needs some time before it answers."""
        assert not self.is_running, "one at a time has the port"
        self.look()
        ours, its = _server().Pipe()
        process = _server().Process(target=_run, args=(self._settings, self._output, its))
        # Not in a thread: it looks after all processes, and two at once would get in their way.
        process.start()
        its.close()
        self._process, self._line = process, ours
        self._is_ordered = False
        self._tell_clock()

    def look(self) -> None:
        """Count a crash if it has ended by itself since it was started."""
        if self._process is not None and not self._is_ordered and not self._process.is_alive():
            self.crashes += 1
            self._is_ordered = True

    def kill(self) -> None:
        """End it as a crash would, at once."""
        self._order_end()
        if self._process is not None:
            self._process.kill()

    async def stop(self) -> None:
        """Have it shut down as an operator does, and kill it if it takes too long."""
        self._order_end()
        process = self._process
        if process is not None:
            process.terminate()
            await self._gone(process, _STOP_SECONDS)
        await self.ended()

    async def ended(self) -> None:
        """Return once it is gone; what is not by itself is killed."""
        process, line = self._process, self._line
        if process is None or line is None:
            return
        if not await self._gone(process, _STOP_SECONDS):
            process.kill()
            await self._gone(process, _STOP_SECONDS)
        if self._process is process:
            self._process = self._line = None
            process.close()
            line.close()

    def step_clock(self, seconds: int) -> None:
        """Have the clock of its host jump, forward or back, and stay so over its lives."""
        self._step_seconds += seconds
        self._tell_clock()

    def _order_end(self) -> None:
        self.look()
        self._is_ordered = True

    def _tell_clock(self) -> None:
        if self._line is not None:
            with suppress(OSError):
                self._line.send(self._step_seconds)

    async def _gone(self, process: ForkServerProcess, seconds: float) -> bool:
        """Return whether it ends in time. Several may wait for it."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._process is process and process.is_alive():
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return True


def warm_up() -> None:
    """Start the server that forks gateways. Takes seconds; without it the first start does."""
    _server()
    forkserver.ensure_running()


@lru_cache(maxsize=1)
def _server() -> ForkServerContext:
    """Return the server that forks gateways, warm from the first one on."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["gateway.simulator.preload"])
    return context


def _run(settings: Settings, output: Path, line: Connection) -> None:
    """Be a gateway until told to stop, or until whoever started us is gone."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for standard in (1, 2):
        os.dup2(file, standard)
    os.close(file)
    gc.freeze()  # what the server has imported is shared with it, as long as nobody touches it
    logs.configure("json", settings.log.level)
    uvloop.run(_serve(settings, line))


async def _serve(settings: Settings, line: Connection) -> None:
    clock = _SteppedClock()
    asyncio.get_running_loop().add_reader(line.fileno(), _hear, line, clock.step_to)
    await app.serve(settings, now=clock.now)


def _hear(line: Connection, step_to: Callable[[int], None]) -> None:
    try:
        step_to(line.recv())
    except (EOFError, OSError):
        os._exit(0)


class _SteppedClock:
    """The clock of the gateway's host, which somebody may set wrong."""

    def __init__(self) -> None:
        self._step = timedelta()

    def step_to(self, seconds: int) -> None:
        """Be so far ahead of the time that it is, from now on."""
        self._step = timedelta(seconds=seconds)

    def now(self) -> datetime:
        """Return what it shows."""
        return datetime.now(UTC) + self._step
