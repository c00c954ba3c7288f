"""The page "Call me / Add somebody" on real parts, for as long as somebody wants to try it."""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import UUID

import uvicorn
from rich.console import Console
from rich.table import Table

from gateway import db
from gateway.console import Meeting, Participant, SampleNumber, Upstream, create_console
from gateway.lab import program
from gateway.lab.program import LabError
from gateway.lab.sample import create_sample_tenant
from gateway.lab.service import Service
from gateway.lab.stack import stack
from gateway.lab.telephone import telephones_on
from gateway.ledger import Provisioning

__all__ = ["LabError", "page", "run_web_demo", "sample_meeting"]

RING_SECONDS = 20
TALK_SECONDS_MAX = 600
PLAIN_COLUMNS = 120
"""The width of the table where there is no terminal to ask."""

SAMPLES = (
    SampleNumber(number="+44 20 7946 0070", what="answers, and presses 1 to join: for Call me"),
    SampleNumber(number="+44 20 7946 0010", what="answers and stays, but presses nothing"),
    SampleNumber(number="+44 20 7946 0025", what="answers, and hangs up after five seconds"),
    SampleNumber(number="+44 20 7946 0080", what="rings and is never answered: cancel it"),
    SampleNumber(number="+44 20 7946 0086", what="is busy"),
    SampleNumber(number="+44 20 7946 0099", what="does not exist"),
    SampleNumber(number="+254 20 2000010", what="Kenya: credits pay, by the minute"),
    SampleNumber(number="+44 909 879 0000", what="premium rate: refused"),
    SampleNumber(number="112", what="an emergency number: refused"),
)

_HOST = "127.0.0.1"
_START_SECONDS = 10.0
_STOP_SECONDS = 1


async def run_web_demo(lab: Path, port: int) -> None:
    """Serve the page until SIGTERM or Ctrl-C; then stop everything that was started.

    ``port`` of the loopback interface, 0 for any. Raises a group with a LabError where a part
    does not start.
    """
    stop = asyncio.Event()
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_, stop.set)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(_serve(lab, port))
        await stop.wait()
        serving.cancel()


async def _serve(lab: Path, port: int) -> None:
    """Start everything, and serve until cancelled."""
    console = Console(width=None if sys.stdout.isatty() else PLAIN_COLUMNS)
    options = {
        "DIALOUT_CALL__RING_SECONDS": str(RING_SECONDS),
        "DIALOUT_CALL__TALK_SECONDS_MAX": str(TALK_SECONDS_MAX),
    }
    # Before the parts, which take seconds: a port that is taken is said at once.
    with _listener(port) as listener:
        console.rule("starting PostgreSQL, a SIP carrier, Asterisk and the gateway")
        async with AsyncExitStack() as parts:
            started = await parts.enter_async_context(stack(lab))
            pool = await parts.enter_async_context(db.pool(started.owner))
            tenant = await create_sample_tenant(Provisioning(pool))
            await parts.enter_async_context(telephones_on(started.carrier.ear_port, presses="1"))
            service = await parts.enter_async_context(
                Service(started.asterisk, database=started.gateway, options=options)
            )
            url = await parts.enter_async_context(
                page(service, sample_meeting(tenant.tenant_id), listener)
            )
            _announce(console, url)
            await asyncio.Event().wait()


def sample_meeting(tenant_id: UUID, name: str = "Weekly meeting") -> Meeting:
    """Return a meeting of the sample tenant's Alice, and who may be in it."""
    return Meeting(
        tenant_id=tenant_id,
        organizer_id="alice",
        conference_id="weekly-meeting",
        name=name,
        participants=(
            Participant(participant_id="alice", name="Alice, the organizer", initiator_id="alice"),
            Participant(participant_id="bob", name="Bob, a guest", initiator_id="bob"),
            Participant(participant_id="anonymous", name="Somebody anonymous", initiator_id=None),
        ),
        samples=SAMPLES,
    )


@asynccontextmanager
async def page(
    service: Service, meeting: Meeting, listener: socket.socket | None = None
) -> AsyncIterator[str]:
    """Serve the page of a meeting and give its URL. Without ``listener`` on any free port."""
    with listener or _listener(0) as listening:
        async with service.client() as client:
            server = _Server(
                uvicorn.Config(
                    create_console(meeting, Upstream(client, meeting)),
                    log_config=None,
                    log_level="critical",
                    lifespan="off",
                    access_log=False,
                    server_header=False,
                    # Browsers that follow a call never end their request by themselves.
                    timeout_graceful_shutdown=_STOP_SECONDS,
                )
            )
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            try:
                await program.until(lambda: server.started or serving.done(), _START_SECONDS)
                yield f"http://{_HOST}:{listening.getsockname()[1]}/"
            finally:
                server.should_exit = True
                await serving


def _listener(port: int) -> socket.socket:
    try:
        return socket.create_server((_HOST, port))
    except OSError as error:
        raise LabError(f"Port {port} cannot be used: {error}. Choose another: --port") from error


def _announce(console: Console, url: str) -> None:
    table = Table("number", "what happens")
    for sample in SAMPLES:
        table.add_row(sample.number, sample.what)
    console.print(table)
    console.rule(f"open [bold]{url}[/bold]; Ctrl-C stops everything")


class _Server(uvicorn.Server):
    """uvicorn without signal handlers: the demo stops the server, not the reverse."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to ``run_web_demo``."""
        yield
