"""Builds the gateway from its settings, runs it, and lets it down gently."""

import asyncio
import contextlib
import signal
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import structlog
import uvicorn

from gateway import __version__, db
from gateway.admission import Admission
from gateway.ami import AmiClient
from gateway.api import Administration, create_api
from gateway.bridge import Bridge
from gateway.dialer import Dialer
from gateway.explainer import Explainer
from gateway.inquiry import Inquiry
from gateway.ledger import Ledger, Provisioning
from gateway.reaper import Reaper
from gateway.reconcile import Reconciliation
from gateway.settings import AdminSettings, AmiSettings, Settings
from gateway.settlement import Settlement

log = structlog.get_logger()

DRAIN_SECONDS = 5.0


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises ``AmiLoginRefused`` if Asterisk refuses the login.

    Calls that are up stay up: Asterisk keeps their limits, and the next start settles them.
    """
    stop = asyncio.Event()
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_, stop.set)
    async with (
        db.pool(settings.database) as pool,
        _administration(settings.admin) as administration,
    ):
        ledger = Ledger(pool, call_seconds_max=settings.database.call_seconds_max)
        ami = _ami(settings.ami)
        inquiry = Inquiry(
            ledger=ledger,
            toll_free_regions=settings.call.regions_served_toll_free(),
        )
        settlement = Settlement(ami=ami, ledger=ledger, now=_now)
        dialer = Dialer(
            ami=ami,
            ledger=ledger,
            admission=Admission(ledger=ledger, inquiry=inquiry, terms=settings.call.terms()),
            settlement=settlement,
            now=_now,
        )
        bridge = Bridge(
            ami=ami,
            ledger=ledger,
            dialer=dialer,
            reconciliation=Reconciliation(ami=ami, ledger=ledger, dialer=dialer),
        )
        api = create_api(
            dialer=dialer,
            ledger=ledger,
            explainer=Explainer(ledger=ledger, inquiry=inquiry, terms=settings.call.terms()),
            readiness=bridge,
            token=settings.api.token_text(),
            administration=administration,
        )
        server = _Server(
            uvicorn.Config(
                api,
                host=settings.api.host,
                port=settings.api.port,
                log_config=None,
                log_level="warning",
                lifespan="off",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=int(DRAIN_SECONDS),
            )
        )
        async with asyncio.TaskGroup() as tasks:
            http = tasks.create_task(server.serve())
            services = [
                tasks.create_task(bridge.run()),
                tasks.create_task(Reaper(dialer=dialer, settlement=settlement).run()),
            ]
            log.info("gateway.started", version=__version__, port=settings.api.port)
            await _first(http, stop)
            log.info("gateway.stopping")
            server.should_exit = True
            await http
            await dialer.drain(DRAIN_SECONDS)
            for service in services:
                service.cancel()
    log.info("gateway.stopped")


async def _first(http: asyncio.Task[None], stop: asyncio.Event) -> None:
    """Wait for the signal to stop, or for an HTTP server that could not start."""
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({http, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()


class _Server(uvicorn.Server):
    """uvicorn without signal handlers: the application stops the server, not the reverse."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to ``serve``."""
        yield


@contextlib.asynccontextmanager
async def _administration(settings: AdminSettings) -> AsyncIterator[Administration | None]:
    """Lend what provisions, on connections of its own, so that no call waits for it."""
    token = settings.token_text()
    if token is None:
        yield None
        return
    async with db.pool(settings.database()) as pool:
        provisioning = Provisioning(pool, call_seconds_max=settings.call_seconds_max)
        yield Administration(provisioning=provisioning, token=token)


def _now() -> datetime:
    return datetime.now(UTC)


def _ami(settings: AmiSettings) -> AmiClient:
    return AmiClient(
        host=settings.host,
        port=settings.port,
        username=settings.username,
        secret=settings.secret_text(),
        ssl=_tls(settings),
    )


def _tls(settings: AmiSettings) -> ssl.SSLContext | None:
    if not settings.tls:
        return None
    return ssl.create_default_context(cafile=settings.tls_ca_file)
