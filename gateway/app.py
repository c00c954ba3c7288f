"""Builds the gateway from its settings, runs it, and lets it down gently."""

import asyncio
import contextlib
import signal
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta

import structlog
import uvicorn

from gateway import __version__, db, metrics
from gateway.admission import Admission
from gateway.ami import AmiClient
from gateway.api import Administration, create_api
from gateway.bridge import Bridge
from gateway.bridges import Bridges
from gateway.core.dial_out import BridgeName
from gateway.core.e164 import read_long_plans
from gateway.dial_in import DialIns
from gateway.dialer import TRUNK_CHANNELS, Dialer
from gateway.explainer import Explainer
from gateway.grants import GrantingLedger, Grants, Journal
from gateway.guard import Guard
from gateway.inquiry import Inquiry
from gateway.ledger import CallDetail, Ledger, Outbox, Provisioning, Reports
from gateway.outages import Outages
from gateway.outbox import Courier, Receiver, webhook_client
from gateway.progress import Progress
from gateway.proof import Proof
from gateway.reaper import Reaper
from gateway.reconcile import Reconciliation
from gateway.settings import AdminSettings, BridgeSettings, ProofSettings, Settings
from gateway.settlement import Settlement
from gateway.slices import Slices
from gateway.waiting_room import WaitingRoom

log = structlog.get_logger()

DRAIN_SECONDS = 5.0

CALLS_CONNECTIONS = 6
"""Connections of the calls in progress, which no request waits for: claims, slices, settlements."""

READS_CONNECTIONS = 2
"""Connections of the pool of requests that are left to those that only look something up."""

TENANTS_AT_ONCE = 2
"""So many requests are decided at once even if no connection is left over then: were it one, a
tenant whose rows are locked would keep out all the others."""

LAG_SECONDS = 0.5
"""How often it is looked whether the event loop is late."""


def _now() -> datetime:
    return datetime.now(UTC)


async def serve(settings: Settings, *, now: Callable[[], datetime] = _now) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises ``AmiLoginRefused`` if Asterisk refuses the login, and ``JournalUnusable`` if grants
    cannot be written down.

    ``now`` is the clock of this host, which dates requests. Calls are timed by Asterisk's own.
    Calls that are up stay up: Asterisk keeps their limits, and the next start settles them.
    """
    read_long_plans()
    stop = asyncio.Event()
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_, stop.set)
    async with (
        db.pool(settings.database) as pool,
        db.pool(settings.database.apart(CALLS_CONNECTIONS)) as calls,
        _administration(settings.admin) as administration,
        _courier(settings) as courier,
        db.pool(settings.proof.database(settings.database)) as patient,
        _call_details(settings) as call_details,
        _grants(settings, calls, now) as grants,
    ):
        requests = _ledger(settings, pool, grants)
        ledger = _ledger(settings, calls, grants)
        room = _waiting_room(settings)
        inquiry = Inquiry(ledger=requests, trunks=settings.trunks(), room=room)
        admission = Admission(
            ledger=requests,
            inquiry=inquiry,
            terms=settings.terms(),
            calls_max=settings.capacity.calls_max,
            grants=grants,
        )
        progress = Progress(ledger=requests)
        bridges = [
            _bridge(
                BridgeName(name),
                settings,
                ledger,
                admission,
                progress,
                call_details.get(name),
                grants,
                now,
            )
            for name in settings.bridges
        ]
        all_bridges = Bridges(bridges, ledger=requests, default=settings.default_bridge)
        api = create_api(
            bridges=all_bridges,
            ledger=requests,
            progress=progress,
            explainer=Explainer(ledger=requests, inquiry=inquiry, terms=settings.terms()),
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
                tasks.create_task(_watch_lag(room)),
                tasks.create_task(_proof(settings.proof, patient).run()),
            ]
            if grants is not None:
                services.append(tasks.create_task(grants.run()))
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


@contextlib.asynccontextmanager
async def _grants(
    settings: Settings, pool: db.Pool, now: Callable[[], datetime]
) -> AsyncIterator[Grants | None]:
    """Lend what goes on while the ledger is away, with what was left to book; None if nothing."""
    bounds, directory = settings.grants.bounds(), settings.grants.directory
    if bounds is None or directory is None:
        yield None
        return
    grants = Grants(
        bounds=bounds,
        journal=Journal(directory),
        books=Ledger(pool, call_seconds_max=settings.database.call_seconds_max),
        trunks=settings.trunks(),
        clock=time.monotonic,
        now=now,
    )
    try:
        await grants.open()
        yield grants
    finally:
        grants.close()


def _ledger(settings: Settings, pool: db.Pool, grants: Grants | None) -> Ledger:
    """Return the ledger, as those see it who follow calls."""
    seconds_max = settings.database.call_seconds_max
    if grants is None:
        return Ledger(pool, call_seconds_max=seconds_max)
    return GrantingLedger(pool, grants=grants, call_seconds_max=seconds_max)


def _waiting_room(settings: Settings) -> WaitingRoom:
    """Return where requests wait that are to be decided on the connections of requests."""
    return WaitingRoom(
        at_once=max(TENANTS_AT_ONCE, settings.database.connections_max - READS_CONNECTIONS),
        waiting_max=settings.capacity.waiting_max,
    )


async def _watch_lag(room: WaitingRoom) -> None:
    """Look for ever by how much the event loop is late."""
    time = asyncio.get_running_loop().time
    while True:
        due = time() + LAG_SECONDS
        await asyncio.sleep(LAG_SECONDS)
        lag_seconds = time() - due
        metrics.lagged(lag_seconds)
        room.note_lag(lag_seconds)


@contextlib.asynccontextmanager
async def _call_details(settings: Settings) -> AsyncIterator[dict[str, CallDetail]]:
    """Lend what each bridge's Asterisk says of calls elsewhere, by name, where it does."""
    async with contextlib.AsyncExitStack() as pools:
        yield {
            name: CallDetail(
                await pools.enter_async_context(db.pool(tables.database(), read_only=True)),
                cel_table=tables.cel_table,
                cdr_table=tables.cdr_table,
                zone=tables.zone(),
                trunk_channels=TRUNK_CHANNELS,
                call_seconds_max=tables.call_seconds_max,
            )
            for name, bridge in settings.bridges.items()
            if (tables := bridge.call_detail) is not None
        }


def _bridge(
    name: BridgeName,
    settings: Settings,
    ledger: Ledger,
    admission: Admission,
    progress: Progress,
    call_detail: CallDetail | None,
    grants: Grants | None,
    now: Callable[[], datetime],
) -> Bridge:
    """Return one bridge, and everything that follows its calls."""
    ami = _ami(settings.bridges[name])
    metrics.watch_link(
        name, malformed=lambda: ami.malformed_messages, late=lambda: ami.late_answers
    )
    settlement = Settlement(ami=ami, ledger=ledger, now=now, unproved=settings.call.unproved)
    slices = Slices(
        ami=ami,
        ledger=ledger,
        now=now,
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
        now=now,
        grants=grants,
    )
    dial_ins = DialIns(
        bridge=name,
        ami=ami,
        admission=admission,
        settlement=settlement,
        slices=slices,
        in_doubt=dialer.in_doubt,
        now=now,
    )
    return Bridge(
        name=name,
        ami=ami,
        ledger=ledger,
        dialer=dialer,
        dial_ins=dial_ins,
        reconciliation=Reconciliation(
            bridge=name,
            ami=ami,
            ledger=ledger,
            dialer=dialer,
            dial_ins=dial_ins,
            settlement=settlement,
            call_detail=call_detail,
        ),
        guard=Guard(
            ami=ami,
            ledger=ledger,
            dialer=dialer,
            patience=settings.guard.patience(),
            now=now,
        ),
        reaper=Reaper(dialer=dialer, dial_ins=dial_ins, settlement=settlement),
        outages=Outages(bridge=name, ledger=ledger, now=now),
        grants=grants,
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
