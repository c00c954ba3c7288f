"""One seed, run: gateways, an Asterisk and a ledger, and what goes wrong between them."""

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx
from pydantic import SecretStr

from gateway.core.dial_out import DialOut, DialOutState
from gateway.core.key import DialOutKey
from gateway.db import Pool
from gateway.ledger import Ledger, Provisioning
from gateway.settings import (
    ApiSettings,
    BridgeSettings,
    DatabaseSettings,
    GivenSettings,
    LogSettings,
    ProofSettings,
)
from gateway.simulator.asterisk import VirtualAsterisk
from gateway.simulator.audit import (
    UNSYNCED_MS,
    Death,
    Disturbance,
    Evidence,
    Fault,
    Shutdown,
    audit,
)
from gateway.simulator.clock import Clock
from gateway.simulator.database_proxy import DatabaseProxy
from gateway.simulator.faults import Fault as AsteriskFault
from gateway.simulator.gateway_process import GatewayProcess
from gateway.simulator.rules import Rules
from gateway.simulator.scenario import TROUBLE_MS, Request, Scenario, Trouble, TroubleKind
from gateway.simulator.tenant import CALLER_ID, create_tenant

READY_SECONDS: Final = 60.0
REST_SECONDS: Final = 10.0
"""How long everything has to come to rest, once it is well again and the last channel is gone."""

CALLS_SECONDS: Final = 60.0
"""How long the last channel may stay once everything is well."""

_SLICES: Final = """
SELECT p.dial_out_id, sum(p.seconds)
FROM dialout.part AS p
WHERE p.tenant_id = $1
GROUP BY p.dial_out_id, p.slice
ORDER BY p.dial_out_id, p.slice
"""

_LASTING: Final = frozenset(
    {
        TroubleKind.LEDGER_SLOW,
        TroubleKind.LEDGER_SLOW_FOR_ALL,
        TroubleKind.CLOCK_STEPPED,
    }
)
_OF_CHANNELS: Final = frozenset(
    {
        AsteriskFault.EVENT_DROPPED,
        AsteriskFault.EVENT_LATE,
        AsteriskFault.CHANNEL_LATE,
        AsteriskFault.CHANNEL_SLOW,
        AsteriskFault.CHANNEL_SILENT,
    }
)
_DEAF: Final = frozenset(
    {AsteriskFault.EVENT_DROPPED, AsteriskFault.CHANNEL_SLOW, AsteriskFault.CHANNEL_SILENT}
)
"""What is not said is known only when somebody looks for it, later than any call lasts."""
_HARMLESS: Final = frozenset(
    {AsteriskFault.EVENT_DOUBLED, AsteriskFault.ANSWER_DOUBLED, AsteriskFault.BYTES_SPLIT}
)
_EVER_MS: Final = 1 << 62
_TRACEBACK: Final = "Traceback (most recent call last)"
_SAID_LENGTH_MAX: Final = 300

_POLL_SECONDS: Final = 0.1
_SLOW_MS: Final = 1_000
"""No answer takes as long where nothing is amiss and the machine has time."""
_TRIES: Final = 4
_TRY_AGAIN_SECONDS: Final = 0.6
_HOST: Final = "127.0.0.1"
_API_HOSTS: Final = range(int(IPv4Address("127.0.1.1")), int(IPv4Address("127.255.255.254")))
"""Every one of them is this machine. A world has one for itself, so a port of its gateways stays
theirs while they are down, also where another campaign runs."""
_API_PORT: Final = 8080
_KILLS: Final = frozenset(
    {
        TroubleKind.GATEWAY_KILLED,
        TroubleKind.GATEWAY_KILLED_TWICE,
        TroubleKind.GATEWAY_KILLED_WITHOUT_LEDGER,
    }
)


class WorldError(Exception):
    """A world could not be set up or ended. The text says which part, and what it said last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where worlds are run, one after the other: a database, and a folder for logs.

    ``pool``, ``ledger`` and ``provisioning`` may do everything there; ``socket`` and ``login``
    lead the gateways to it. ``turn`` is held while a world is set up.
    """

    pool: Pool
    ledger: Ledger
    provisioning: Provisioning
    socket: Path
    database: str
    login: str
    logs: Path
    client: httpx.AsyncClient
    turn: asyncio.Semaphore
    rules: Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a seed came to. ``story`` is what happened, a line each.

    Of the ``requests`` so many ``calls`` were dialled, and so many of those ``answered``.
    """

    seed: int
    requests: int
    calls: int
    answered: int
    faults: tuple[Fault, ...]
    story: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "seed": self.seed,
            "requests": self.requests,
            "calls": self.calls,
            "answered": self.answered,
            "faults": [fault.summary() for fault in self.faults],
            "story": list(self.story),
        }


async def run(scenario: Scenario, site: Site) -> Result:
    """Run a seed to its end and return what came of it. Raises ``WorldError``."""
    async with AsyncExitStack() as parts:
        world = World(scenario, site)
        parts.push_async_callback(world.close)
        return await world.run(parts)


class World:
    """Everything of one seed while it runs."""

    def __init__(self, scenario: Scenario, site: Site) -> None:
        self._scenario = replace(scenario, funds=site.rules.funds(scenario.funds))
        self._site = site
        self._asterisk = VirtualAsterisk(
            random=Random(f"{scenario.seed} asterisk"),  # noqa: S311
            faults=scenario.faults(),
            clock=Clock(offset_ms=scenario.clock_offset_ms, drift_ppm=scenario.clock_drift_ppm),
        )
        self._proxies: list[DatabaseProxy] = []
        self._gateways: list[GatewayProcess] = []
        self._api_host = str(IPv4Address(secrets.choice(_API_HOSTS)))
        self._token = secrets.token_hex(24)
        self._began = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._story: list[str] = []
        self._accepted: set[DialOutKey] = set()
        self._disturbances: list[Disturbance] = []
        self._delays: list[Disturbance] = []
        self._began_at_ms = 0

    async def run(self, parts: AsyncExitStack) -> Result:
        """Set up, ask, have go wrong, make well, wait for rest, and audit."""
        async with self._site.turn:
            await self._set_up(parts)
        await self._troubled()
        await self._made_well()
        rows = await self._at_rest()
        return await self._audited(rows)

    async def _set_up(self, parts: AsyncExitStack) -> None:
        """Return when every gateway would take a call."""
        await create_tenant(
            self._site.provisioning,
            self._site.ledger,
            self._scenario,
            addon_minutes=self._site.rules.scale,
        )
        for request in self._scenario.requests:
            self._asterisk.carrier.plan(request.number, request.telephone)
        await self._asterisk.start()
        for _ in range(self._scenario.gateways):
            proxy = await parts.enter_async_context(DatabaseProxy(self._site.socket))
            self._proxies.append(proxy)
            gateway = GatewayProcess(self._settings(proxy), self._log(len(self._gateways)))
            self._gateways.append(gateway)
            gateway.start()
            # One after the other, so that a seed's eldest session is always the same one's.
            await self._all_ready()

    async def close(self) -> None:
        """Stop everything that the world has started."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for gateway in self._gateways:
            gateway.kill()
        for gateway in self._gateways:
            await gateway.ended()
        await self._asterisk.stop()

    def _log(self, gateway: int) -> Path:
        return self._site.logs / f"seed-{self._scenario.seed}-gateway-{gateway}.log"

    def _settings(self, proxy: DatabaseProxy) -> GivenSettings:
        site = self._site
        dsn = f"postgresql://{site.login}@{_HOST}:{proxy.port}/{site.database}?sslmode=disable"
        asterisk = self._asterisk
        return GivenSettings(
            database=DatabaseSettings(dsn=SecretStr(dsn), connections_max=3),
            bridges={
                "main": BridgeSettings(
                    host=asterisk.host,
                    port=asterisk.port,
                    username=asterisk.account,
                    secret=SecretStr(asterisk.secret),
                    caller_id=CALLER_ID,
                )
            },
            api=ApiSettings(
                host=self._api_host,
                port=_API_PORT + len(self._gateways),
                token=SecretStr(self._token),
            ),
            call=site.rules.call,
            cool_down=site.rules.cool_down,
            guard=site.rules.guard,
            proof=ProofSettings(every_hours=0),
            log=LogSettings(format="json", level="info"),
        )

    # What happens.

    async def _all_ready(self) -> None:
        try:
            async with asyncio.timeout(READY_SECONDS):
                for gateway in self._gateways:
                    while not await self._is_ready(gateway):
                        await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise WorldError(f"A gateway does not get ready; see {self._site.logs}.") from None

    async def _is_ready(self, gateway: GatewayProcess) -> bool:
        try:
            return (await self._site.client.get(f"{gateway.url}/readyz")).is_success
        except httpx.HTTPError:
            return False

    async def _troubled(self) -> None:
        """Ask for everything, and let everything go wrong that is to."""
        self._began = time.monotonic()
        self._began_at_ms = self._asterisk.clock.now_ms()
        async with asyncio.TaskGroup() as doing:
            for trouble in self._scenario.troubles:
                doing.create_task(self._trouble(trouble))
            for request in self._scenario.requests:
                if request.intercepted:
                    doing.create_task(self._intercept(request))
                else:
                    for ask in request.asks:
                        doing.create_task(self._ask(request, ask.at_ms, ask.gateway))
                if request.cancel is not None:
                    doing.create_task(self._cancel(request))
                if request.replayed:
                    doing.create_task(self._replay(request))

    async def _until(self, at_ms: int) -> None:
        await asyncio.sleep(max(0.0, self._began + at_ms / 1000 - time.monotonic()))

    async def _intercept(self, request: Request) -> None:
        await self._until(request.asks[0].at_ms)
        self._asterisk.intercept(
            request.number,
            {
                "DIALOUT_TENANT": str(request.key.tenant_id),
                "DIALOUT_ORGANIZER": request.organizer_id,
                "DIALOUT_INITIATOR": request.organizer_id,
                "DIALOUT_CONFERENCE": request.conference_id,
                "DIALOUT_ID": str(request.key.dial_out_id),
            },
        )

    async def _ask(self, request: Request, at_ms: int, gateway: int) -> None:
        """Ask as a patient client does: the other gateway next, with the same id."""
        await self._until(at_ms)
        body = {
            "tenant_id": str(request.key.tenant_id),
            "dial_out_id": str(request.key.dial_out_id),
            "kind": request.kind,
            "organizer_id": request.organizer_id,
            "initiator_id": request.organizer_id,
            "conference_id": request.conference_id,
            "number": request.number,
        }
        await self._said(request, gateway, "POST", "/v1/dial-outs", json=body)

    async def _cancel(self, request: Request) -> None:
        assert request.cancel is not None, "asked of those that are called off"
        await self._until(request.cancel.at_ms)
        path = f"/v1/dial-outs/{request.key.dial_out_id}"
        tenant = {"tenant_id": str(request.key.tenant_id)}
        await self._said(request, request.cancel.gateway, "DELETE", path, params=tenant)

    async def _replay(self, request: Request) -> None:
        """Have the channel of a dial-out that is over come to the gate again, if it is in time."""
        await self._until(max(ask.at_ms for ask in request.asks))
        until = self._began + TROUBLE_MS / 1000
        while time.monotonic() < until:
            row = await self._site.ledger.dial_out(request.key)
            if row is not None and _is_final(row) and self._asterisk.replay(request.key):
                self._tell(f"replay of {request.key.dial_out_id}, which is {row.state}")
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def _said(
        self, request: Request, first: int, method: str, path: str, **more: Any
    ) -> None:
        for each in range(_TRIES):
            gateway = self._gateways[(first + each) % len(self._gateways)]
            asked_at_ms = self._asterisk.clock.now_ms()
            try:
                response = await self._site.client.request(
                    method,
                    f"{gateway.url}{path}",
                    headers={"Authorization": f"Bearer {self._token}"},
                    **more,
                )
                answer = _answer(response)
                is_final = not response.is_server_error
                if response.is_success and method == "POST":
                    self._accepted.add(request.key)
            except httpx.HTTPError as error:
                answer, is_final = type(error).__name__, False
            self._tell(f"{method} {request.key.dial_out_id}: {answer}")
            now_ms = self._asterisk.clock.now_ms()
            if not is_final or now_ms - asked_at_ms > _SLOW_MS:
                self._delays.append(Disturbance(from_ms=asked_at_ms, until_ms=now_ms))
            if is_final:
                return
            await asyncio.sleep(_TRY_AGAIN_SECONDS)

    async def _trouble(self, trouble: Trouble) -> None:
        if trouble.point is not None:
            self._proxies[trouble.gateway].at(trouble.point, lambda: self._strike(trouble))
            return
        await self._until(trouble.at_ms)
        await self._happens(trouble)

    def _strike(self, trouble: Trouble) -> None:
        """Have a trouble happen now. What is killed does not get to see that it is cut off."""
        if trouble.kind in _KILLS:
            self._gateways[trouble.gateway].kill()
        task = asyncio.create_task(self._happens(trouble))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _happens(self, trouble: Trouble) -> None:
        self._tell(f"trouble: {trouble}")
        with self._disturbing(lasting=trouble.kind in _LASTING):
            await self._befalls(trouble)

    @contextmanager
    def _disturbing(self, *, lasting: bool) -> Iterator[None]:
        """Keep from when until when something is wrong; what is ``lasting`` is to the end."""
        clock = self._asterisk.clock
        from_ms = clock.now_ms()
        try:
            yield
        finally:
            until_ms = _EVER_MS if lasting else clock.now_ms()
            self._disturbances.append(Disturbance(from_ms=from_ms, until_ms=until_ms))

    async def _befalls(self, trouble: Trouble) -> None:
        gateway = self._gateways[trouble.gateway]
        seconds = trouble.milliseconds / 1000
        match trouble.kind:
            case TroubleKind.GATEWAY_KILLED:
                await self._killed(gateway, seconds)
            case TroubleKind.GATEWAY_KILLED_TWICE:
                await self._killed(gateway, seconds)
                await asyncio.sleep(seconds / 4)
                await self._killed(gateway, seconds)
            case TroubleKind.GATEWAY_KILLED_WITHOUT_LEDGER:
                await self._killed_without_ledger(gateway, seconds)
            case TroubleKind.GATEWAY_STOPPED:
                await gateway.stop()
                await asyncio.sleep(seconds)
                self._started(gateway)
            case TroubleKind.CLOCK_STEPPED:
                gateway.step_clock(trouble.step_seconds)
            case TroubleKind.LEDGER_SLOW_FOR_ALL:
                for proxy in self._proxies:
                    proxy.slow(seconds / 16)
            case _:
                await _fails(self._proxies[trouble.gateway], trouble.kind, seconds)

    async def _killed_without_ledger(self, gateway: GatewayProcess, seconds: float) -> None:
        for proxy in self._proxies:
            proxy.go_away()
        await self._killed(gateway, seconds)
        await asyncio.sleep(seconds)
        for proxy in self._proxies:
            proxy.heal()

    async def _killed(self, gateway: GatewayProcess, seconds: float) -> None:
        gateway.kill()
        await gateway.ended()
        await asyncio.sleep(seconds)
        self._started(gateway)

    def _started(self, gateway: GatewayProcess) -> None:
        """Start a gateway, unless another trouble has done so meanwhile."""
        if not gateway.is_running:
            gateway.start()

    # What is left.

    async def _made_well(self) -> None:
        """Let nothing go wrong any more, and have every gateway run."""
        await self._asterisk.heal()
        for proxy in self._proxies:
            proxy.forget_blows()
            proxy.heal()
        for task in list(self._tasks):
            with suppress(asyncio.CancelledError):
                await task
        for proxy in self._proxies:
            proxy.heal()
        for gateway in self._gateways:
            self._started(gateway)
        await self._all_ready()
        self._tell("everything is well")

    async def _at_rest(self) -> dict[DialOutKey, DialOut | None]:
        """Return the rows once nothing is open any more, or when the time for that is over."""
        await self._channels_gone()
        deadline = time.monotonic() + REST_SECONDS
        while True:
            rows = await self._rows()
            if all(map(_is_final, rows.values())) or time.monotonic() > deadline:
                return rows
            await asyncio.sleep(_POLL_SECONDS)

    async def _channels_gone(self) -> None:
        """Wait until every telephone is put down, and nobody waits at the gate."""
        deadline = time.monotonic() + CALLS_SECONDS
        while self._asterisk.channels_count and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_SECONDS)

    async def _rows(self) -> dict[DialOutKey, DialOut | None]:
        return {
            request.key: await self._site.ledger.dial_out(request.key)
            for request in self._scenario.requests
        }

    async def _slices(self) -> dict[DialOutKey, tuple[int, ...]]:
        """Return for how many seconds each dial-out was paid at once, in their order."""
        tenant_id = self._scenario.tenant_id
        slices: defaultdict[DialOutKey, tuple[int, ...]] = defaultdict(tuple)
        for dial_out_id, seconds in await self._site.pool.fetch(_SLICES, tenant_id):
            slices[DialOutKey(tenant_id=tenant_id, dial_out_id=dial_out_id)] += (seconds,)
        return slices

    async def _audited(self, rows: dict[DialOutKey, DialOut | None]) -> Result:
        calls = self._asterisk.carrier.calls
        tenant_id = self._scenario.tenant_id
        requests = self._scenario.requests
        evidence = Evidence(
            calls=calls,
            rows=rows,
            called_off={each.key for each in requests if each.cancel is not None},
            accepted=self._accepted,
            asked_at_ms={each.key: self._began_at_ms + each.asks[0].at_ms for each in requests},
            deaths=self._deaths(),
            shutdowns=self._shutdowns(),
            disturbances=[*self._disturbances, *self._disturbed_by_asterisk()],
            delays=self._delays,
            crashes=self._crashes(),
            credit_seconds=self._scenario.funds.credit_seconds,
            slices=await self._slices(),
            balances=await self._site.ledger.balances(tenant_id),
            findings=await self._site.ledger.check(tenant_id),
        )
        for applied in self._asterisk.faults.applied:
            self._story.append(f"Asterisk: {applied.planned}: {applied.subject}")
        return Result(
            seed=self._scenario.seed,
            requests=len(requests),
            calls=len(calls),
            answered=sum(call.answered_at_ms is not None for call in calls),
            faults=audit(evidence),
            story=tuple(self._story),
        )

    def _deaths(self) -> list[Death]:
        """Return when Asterisk died, and how much of its records went with it."""
        lost_ms = {
            AsteriskFault.KILLED: None,
            AsteriskFault.KILLED_UNSYNCED: UNSYNCED_MS,
            AsteriskFault.KILLED_FORGETTING: 1 << 62,
        }
        deaths = []
        for applied in self._asterisk.faults.applied:
            if applied.planned.fault in lost_ms:
                lost = lost_ms[applied.planned.fault]
                since = None if lost is None else applied.at_ms - lost
                deaths.append(Death(at_ms=applied.at_ms, records_from_ms=since))
        return deaths

    def _shutdowns(self) -> list[Shutdown]:
        return [
            Shutdown(from_ms=applied.at_ms, until_ms=applied.at_ms + applied.planned.milliseconds)
            for applied in self._asterisk.faults.applied
            if applied.planned.fault is AsteriskFault.SHUT_DOWN
        ]

    def _disturbed_by_asterisk(self) -> Iterator[Disturbance]:
        for applied in self._asterisk.faults.applied:
            planned = applied.planned
            if planned.fault not in _HARMLESS:
                yield Disturbance(
                    from_ms=applied.at_ms,
                    until_ms=_EVER_MS
                    if planned.fault in _DEAF
                    else applied.at_ms + planned.milliseconds,
                    uniqueid=applied.subject if planned.fault in _OF_CHANNELS else "",
                )

    def _crashes(self) -> dict[str, str]:
        """Return which gateways ended without being told to, or have a traceback in their log."""
        crashes = {}
        for number, gateway in enumerate(self._gateways):
            gateway.look()
            if gateway.crashes:
                crashes[f"gateway {number}"] = f"ended by itself {gateway.crashes} times"
            elif said := _first_traceback(self._log(number)):
                crashes[f"gateway {number}"] = said
        return crashes

    def _tell(self, line: str) -> None:
        self._story.append(f"{round((time.monotonic() - self._began) * 1000):>6} ms  {line}")


def _first_traceback(log: Path) -> str | None:
    """Return the end of the first line of a log with a traceback; standard error has several."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if _TRACEBACK in line:
                rest = line if line.startswith("{") else line + lines.read(_SAID_LENGTH_MAX)
                return rest.strip()[-_SAID_LENGTH_MAX:]
    return None


def _answer(response: httpx.Response) -> str:
    """Return what an answer comes to, for the story; a fault of the gateway's is no JSON."""
    try:
        body = response.json()
    except ValueError:
        return f"{response.status_code} {response.text[:80]}"
    return f"{response.status_code} {body.get('reason') or body.get('state')}"


async def _fails(proxy: DatabaseProxy, kind: TroubleKind, seconds: float) -> None:
    """Have the way to the ledger fail. What is lost at a point, the proxy loses by itself."""
    match kind:
        case TroubleKind.LEDGER_CUT:
            proxy.cut()
        case TroubleKind.LEDGER_SLOW:
            proxy.slow(seconds / 10)
        case TroubleKind.LEDGER_AWAY:
            proxy.go_away()
            await asyncio.sleep(seconds)
            proxy.heal()
        case TroubleKind.LEDGER_STALLED:
            proxy.stall()
            await asyncio.sleep(seconds)
            proxy.heal()
        case _:
            pass


def _is_final(row: DialOut | None) -> bool:
    return row is None or row.state in (DialOutState.REFUSED, DialOutState.ENDED)
