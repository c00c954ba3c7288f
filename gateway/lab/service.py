"""The gateway itself, as operators run it: ``dialout serve`` in a process of its own."""

import asyncio
import os
import secrets
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from gateway.core.dial_out import MAIN_BRIDGE, BridgeName
from gateway.lab import program
from gateway.lab.asterisk import Asterisk
from gateway.lab.program import LabError
from gateway.settings import DatabaseSettings

_HOST = "127.0.0.1"
_START_SECONDS = 20.0
_STOP_SECONDS = 8.0
_POLL_SECONDS = 0.02

SERVE = ("-m", "gateway.cli", "serve")

CALLER_ID = "+442079460999"


class Service:
    """One gateway process beside an Asterisk. It may be killed and started again.

    ``output`` is the file that takes its log lines; None shows them on our own standard
    output, as they happen. ``options`` are further settings, by their environment names;
    ``bridge`` is what they call the Asterisk, ``arguments`` what Python is given to run it.
    As a context manager it is started and stopped.
    """

    def __init__(
        self,
        asterisk: Asterisk,
        *,
        database: DatabaseSettings,
        output: Path | None = None,
        options: dict[str, str] | None = None,
        bridge: BridgeName = MAIN_BRIDGE,
        arguments: Sequence[str] = SERVE,
    ) -> None:
        self.port = program.free_port(socket.SOCK_STREAM)
        self.token = secrets.token_hex(24)
        self._output = output
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None
        named = f"DIALOUT_BRIDGES__{bridge.upper()}__"
        self._environment = {
            f"{named}PORT": str(asterisk.ami_port),
            f"{named}USERNAME": asterisk.account,
            f"{named}SECRET": asterisk.secret,
            f"{named}CALLER_ID": CALLER_ID,
            "DIALOUT_DATABASE__DSN": database.dsn.get_secret_value(),
            "DIALOUT_API__PORT": str(self.port),
            "DIALOUT_API__TOKEN": self.token,
            **(options or {}),
        }

    @property
    def url(self) -> str:
        """Where the API listens."""
        return f"http://{_HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process; None before it was started."""
        return None if self._process is None else self._process.pid

    def client(self) -> httpx.AsyncClient:
        """Return a client of the API with its token. The caller closes it."""
        return httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=10.0,
            limits=httpx.Limits(max_connections=None),
        )

    async def start(self) -> None:
        """Return when a call could be placed. Raises LabError if that takes longer than 20 s."""
        argv = [
            *("setpriv", "--pdeathsig=KILL"),
            *(sys.executable, *self._arguments),
        ]
        own = {k: v for k, v in os.environ.items() if not k.startswith("DIALOUT_")}
        self._process = await program.spawn(argv, self._output, environment=own | self._environment)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._ready()
        except TimeoutError as error:
            await self.kill()
            said = program.tail(self._output) if self._output else "see above"
            raise LabError(f"The gateway did not become ready. It said:\n{said}") from error
        except BaseException:
            await self.kill()
            raise

    async def stop(self) -> None:
        """Shut the gateway down as an operator does; calls stay up."""
        if self._process is not None:
            await program.stop(self._process, _STOP_SECONDS)

    async def kill(self) -> None:
        """End the gateway as a crash would."""
        if self._process is not None:
            await program.kill(self._process)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _ready(self) -> None:
        assert self._process is not None, "start has spawned it"
        async with self.client() as client:
            while True:
                if self._process.returncode is not None:
                    said = program.tail(self._output) if self._output else "see above"
                    raise LabError(f"The gateway ended at once. It said:\n{said}")
                try:
                    if (await client.get("/readyz")).is_success:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(_POLL_SECONDS)
