"""Builds the gateway from its settings, runs it, and lets it down gently."""

import asyncio
import contextlib
import signal
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import structlog
import uvicorn

from gateway import __version__, db
from gateway.admission import Admission
from gateway.ami import AmiClient
from gateway.api import Administration, create_api
from gateway.bridge import Bridge
from gateway.bridges import Bridges
from gateway.core.dial_out import BridgeName
from gateway.dial_in import DialIns
from gateway.dialer import Dialer
from gateway.explainer import Explainer
from gateway.guard import Guard
from gateway.inquiry import Inquiry
from gateway.ledger import Ledger, Outbox, Provisioning, Reports
from gateway.outbox import Courier, Receiver, webhook_client
from gateway.progress import Progress
from gateway.proof import Proof
from gateway.reaper import Reaper
from gateway.reconcile import Reconciliation
from gateway.settings import AdminSettings, BridgeSettings, ProofSettings, Settings
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
        inquiry = Inquiry(ledger=ledger, trunks=settings.trunks())
        admission = Admission(ledger=ledger, inquiry=inquiry, terms=settings.terms())
        progress = Progress(ledger=ledger)
        bridges = [
            _bridge(BridgeName(name), settings, ledger, admission, progress)
            for name in settings.bridges
        ]
        all_bridges = Bridges(bridges, ledger=ledger, default=settings.default_bridge)
        api = create_api(
            bridges=all_bridges,
            ledger=ledger,
            progress=progress,
            explainer=Explainer(ledger=ledger, inquiry=inquiry, terms=settings.terms()),
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
                tasks.create_task(all_bridges.run()),
                tasks.create_task(courier.run()),
                tasks.create_task(_proof(settings.proof, patient).run()),
            ]
            log.info("gateway.started", version=__version__, port=settings.api.port)
            await _first(http, stop)
            log.info("gateway.stopping")
            progress.close()
            server.should_exit = True
            await http
            await asyncio.gather(*(each.drain(DRAIN_SECONDS) for each in bridges))
            for service in services:
                service.cancel()
    log.info("gateway.stopped")


def _bridge(
    name: BridgeName,
    settings: Settings,
    ledger: Ledger,
    admission: Admission,
    progress: Progress,
) -> Bridge:
    """Return one bridge, and everything that follows its calls."""
    ami = _ami(settings.bridges[name])
    settlement = Settlement(ami=ami, ledger=ledger, now=_now)
    slices = Slices(
        ami=ami,
        ledger=ledger,
        now=_now,
        warnings=settings.call.warning_seconds,
        ahead_seconds=settings.call.extend_ahead_seconds,
    )
    dialer = Dialer(
        bridge=name,
        ami=ami,
        ledger=ledger,
        admission=admission,
        settlement=settlement,
        slices=slices,
        progress=progress,
        now=_now,
    )
    dial_ins = DialIns(
        bridge=name,
        ami=ami,
        admission=admission,
        settlement=settlement,
        slices=slices,
        in_doubt=dialer.in_doubt,
        now=_now,
    )
    return Bridge(
        name=name,
        bridges=frozenset(map(BridgeName, settings.bridges)),
        ami=ami,
        ledger=ledger,
        dialer=dialer,
        dial_ins=dial_ins,
        reconciliation=Reconciliation(
            bridge=name, ami=ami, ledger=ledger, dialer=dialer, dial_ins=dial_ins
        ),
        guard=Guard(
            ami=ami,
            ledger=ledger,
            dialer=dialer,
            patience=settings.guard.patience(),
            now=_now,
        ),
        reaper=Reaper(dialer=dialer, dial_ins=dial_ins, settlement=settlement),
    )


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


def _ami(settings: BridgeSettings) -> AmiClient:
    return AmiClient(
        host=settings.host,
        port=settings.port,
        username=settings.username,
        secret=settings.secret_text(),
        ssl=_tls(settings),
    )


def _tls(settings: BridgeSettings) -> ssl.SSLContext | None:
    if not settings.tls:
        return None
    return ssl.create_default_context(cafile=settings.tls_ca_file)
