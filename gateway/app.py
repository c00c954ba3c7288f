"""Builds the gateway from its settings, runs it, and lets it down gently."""

import asyncio
import contextlib
import signal
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import structlog
import uvicorn

from gateway import __version__, db, metrics
from gateway.admission import Admission
from gateway.ami import AmiClient
from gateway.api import Administration, create_api
from gateway.bridge import Bridge
from gateway.dialer import Dialer
from gateway.explainer import Explainer
from gateway.guard import Guard
from gateway.inquiry import Inquiry
from gateway.ledger import Ledger, Outbox, Provisioning, Reports
from gateway.outbox import Courier, Receiver, webhook_client
from gateway.proof import Proof
from gateway.reaper import Reaper
from gateway.reconcile import Reconciliation
from gateway.settings import AdminSettings, AmiSettings, ProofSettings, Settings
from gateway.settlement import Settlement
from gateway.slices import Slices

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
        _courier(settings) as courier,
        db.pool(settings.proof.database(settings.database)) as patient,
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
            slices=Slices(
                ami=ami,
                ledger=ledger,
                now=_now,
                warnings=settings.call.warning_seconds,
                ahead_seconds=settings.call.extend_ahead_seconds,
            ),
            now=_now,
        )
        bridge = Bridge(
            ami=ami,
            ledger=ledger,
            dialer=dialer,
            reconciliation=Reconciliation(ami=ami, ledger=ledger, dialer=dialer),
            guard=Guard(
                ami=ami,
                ledger=ledger,
                dialer=dialer,
                patience=settings.guard.patience(),
                now=_now,
            ),
        )
        metrics.watch(
            calls=lambda: len(set(dialer.live_keys())),
            asterisk_up=lambda: ami.ready,
            ledger_up=lambda: bridge.ledger_answers,
            ready=lambda: bridge.ready,
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
                tasks.create_task(courier.run()),
                tasks.create_task(_proof(settings.proof, patient).run()),
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
        reports = Reports(pool, call_seconds_max=settings.call_seconds_max)
        yield Administration(provisioning=provisioning, reports=reports, token=token)


@contextlib.asynccontextmanager
async def _courier(settings: Settings) -> AsyncIterator[Courier]:
    """Lend what tells others of events, on connections of its own, so that no call waits for it."""
    few = settings.database.model_copy(update={"connections_max": 2})
    async with db.pool(few) as pool, webhook_client() as client:
        yield Courier(
            outbox=Outbox(pool, call_seconds_max=few.call_seconds_max),
            client=client,
            receiver=Receiver.of(settings.webhooks),
            now=_now,
        )


def _proof(settings: ProofSettings, pool: db.Pool) -> Proof:
    """Return the check of the books, on connections that no call waits for."""
    return Proof(
        ledger=Ledger(pool, call_seconds_max=settings.call_seconds_max),
        every=timedelta(hours=settings.every_hours),
        lease_seconds=settings.lease_seconds(),
        now=_now,
    )


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
