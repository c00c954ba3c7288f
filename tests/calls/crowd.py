"""Many telephones called through the API, each at a number of its own, and what they came to.

A client here does what the documentation tells clients to do: it asks again with the same id
when a gateway does not answer or is away, of another gateway at once if there is one, else no
sooner than it is told to, and with a new id only when it is told so. The carrier's own record
says afterwards what was right.
"""

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from uuid import UUID, uuid4

import httpx

from gateway import db
from gateway.core.causes import Disposition
from gateway.core.choices import Confirmation
from gateway.core.dial_out import DialOut, DialOutState
from gateway.core.key import DialOutKey
from gateway.lab.carrier import Carrier
from gateway.lab.service import SERVE, Service
from gateway.lab.stack import Stack
from gateway.ledger import Ledger, Provisioning
from tests.calls.meeting import Meeting

CREDITS_MICROS = 10**12
"""More than any crowd talks for."""

OPTIONS = {
    "DIALOUT_CALL__RING_SECONDS": "5",
    "DIALOUT_CALL__TALK_SECONDS_MAX": "300",
    "DIALOUT_CALL__TALK_SECONDS_MIN": "1",
    "DIALOUT_CALL__WARNING_SECONDS": "[]",
    "DIALOUT_COOL_DOWN__ATTEMPTS": "0",
    "DIALOUT_LOG__FORMAT": "json",
}

TALK_HUNDREDTHS = range(100, 401)
RING_HUNDREDTHS = range(10, 151)
HANG_UP_SECONDS = (0.5, 4.0)
"""When a client hangs up that does so: some while it rings."""

SECONDS_OFF_MAX = 1
CLOCKS_APART_SECONDS = 0.05
"""How far the carrier's clock may be from Asterisk's, which bills, where nothing was unseen."""

LEDGER_SECONDS_MAX = 20.0
CARRIER_SECONDS_MAX = 15.0
"""For how long the carrier may be behind the ledger with the end of a call."""
ASK_AGAIN_SECONDS = (0.1, 0.4)
"""How long a client waits before it asks again at first, twice that the next time, and so on."""
ASK_AGAIN_SECONDS_MAX = 2.0
PATIENCE_SECONDS = 15.0
"""For how long somebody asks again."""

_FIRST_DIGITS = "01378"
_KINDS = ("left", "left", "asks", "busy", "left", "left", "asks", "left", "left", "asks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A telephone to be called. ``hang_up_seconds`` is when the client ends it, if it does."""

    number: str
    hang_up_seconds: float | None = None


@dataclass(slots=True, kw_only=True)
class Asked:
    """A call that was asked for: under which ids, and whether that was taken.

    ``failures`` are what the client met before that, ``hang_up_failures`` before it could end it.
    ``told`` is the state that it was told when it was taken. ``cut_short`` says that it found no
    gateway, and the crowd lost its patience before it did.
    """

    planned: Planned
    ids: list[UUID] = field(default_factory=lambda: [uuid4()])
    failures: list[str] = field(default_factory=list)
    hang_up_failures: list[str] = field(default_factory=list)
    taken: bool = False
    told: str | None = None
    refusal: str | None = None
    cut_short: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that is over, as both sides have it. ``talked`` is in seconds, by the carrier."""

    number: str
    asked: Asked
    rows: tuple[DialOut, ...]
    invites: int
    talked: float

    @property
    def carrier_seconds(self) -> int:
        """How many seconds the call began by the carrier's clock."""
        return math.ceil(self.talked)

    @property
    def billed_seconds(self) -> int:
        """What the ledger has billed."""
        return sum(row.billable_seconds or 0 for row in self.rows)

    @property
    def off_seconds(self) -> int:
        """How many seconds more were billed than the carrier counts."""
        return self.billed_seconds - self.carrier_seconds

    @property
    def is_exact(self) -> bool:
        """Whether the bill is what the carrier's clock says, as far as two clocks can agree."""
        apart = CLOCKS_APART_SECONDS if self.talked else 0
        return self.billed_seconds in {
            math.ceil(self.talked - apart),
            math.ceil(self.talked + apart),
        }

    @property
    def was_turned_away(self) -> bool:
        """Whether it was begun, and got no further than the gate through no fault of its own."""
        return not self.invites and any(
            row.disposition is Disposition.FAILED and row.evidence == "events" for row in self.rows
        )

    @property
    def was_forgotten(self) -> bool:
        """Whether the client was told that it is being called, and it was not, though it waited."""
        was_told = self.asked.told in (DialOutState.RELEASED, DialOutState.ANSWERED)
        waited = self.asked.planned.hang_up_seconds is None
        return was_told and waited and not self.invites

    @property
    def was_absent(self) -> bool:
        """Whether there was nothing to know its end by but that it was not there."""
        return any(row.evidence == "absent_twice" for row in self.rows)

    @property
    def is_open(self) -> bool:
        """Whether money is still set aside for it."""
        over = (DialOutState.REFUSED, DialOutState.ENDED)
        return any(row.state not in over for row in self.rows)

    def __str__(self) -> str:
        rows = ", ".join(
            f"{row.request.key.dial_out_id} {row.state} {row.disposition} {row.evidence}"
            f" {row.billable_seconds} s"
            for row in self.rows
        )
        return (
            f"{self.number}: {self.invites} INVITEs, {self.carrier_seconds} s by the carrier,"
            f" {self.billed_seconds} s billed ({rows or 'no row'});"
            f" {dict(Counter(self.asked.failures))} {dict(Counter(self.asked.hang_up_failures))}"
        )


def crowd_numbers(chance: random.Random) -> Iterator[Planned]:
    """Yield calls without an end, each to another number in London.

    Of ten, six are hung up by the telephone, three by the client, at times while it rings,
    and one is busy.
    """
    used: set[str] = set()
    for kind in cycle(_KINDS):
        number = _number(chance, kind)
        while number in used:
            number = _number(chance, kind)
        used.add(number)
        hang_up = chance.uniform(*HANG_UP_SECONDS) if kind == "asks" else None
        yield Planned(number=number, hang_up_seconds=hang_up)


def _number(chance: random.Random, kind: str) -> str:
    """Return a number by which the carrier knows what to do, see its table."""
    area = f"+4420{chance.choice(_FIRST_DIGITS)}{chance.randrange(10)}"
    match kind:
        case "left":
            return f"{area}{chance.choice(TALK_HUNDREDTHS):04d}60"
        case "asks":
            return f"{area}{chance.choice(RING_HUNDREDTHS):04d}61"
        case _:
            return f"{area}{chance.randrange(10_000):04d}86"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Gateways beside one stack, and a meeting with ample credits: ``ways`` to it, by each."""

    parts: Stack
    services: Sequence[Service]
    ways: Sequence[Meeting]
    logs: Sequence[Path]

    @property
    def meeting(self) -> Meeting:
        """The meeting, by way of the first gateway."""
        return self.ways[0]

    @property
    def service(self) -> Service:
        """The first gateway."""
        return self.services[0]


@asynccontextmanager
async def gateways_beside(
    parts: Stack,
    directory: Path,
    count: int = 1,
    options: Mapping[str, str] | None = None,
    of_first: Mapping[str, str] | None = None,
    arguments: Sequence[str] = SERVE,
) -> AsyncIterator[Site]:
    """Start so many gateways whose logs go to a directory; lend them with a new meeting.

    ``options`` are further settings of all of them, ``of_first`` of the first one alone;
    ``arguments`` are what Python is given to run each.
    """
    async with AsyncExitStack() as opened:
        pool = await opened.enter_async_context(db.pool(parts.owner))
        logs = [directory / f"gateway-{number}.log" for number in range(count)]
        services = [
            await opened.enter_async_context(
                Service(
                    parts.asterisk,
                    database=parts.gateway,
                    output=log,
                    options=OPTIONS | dict(options or {}) | dict(also or {}),
                    arguments=arguments,
                )
            )
            for log, also in zip(logs, [of_first] + [None] * (count - 1), strict=True)
        ]
        clients = [await opened.enter_async_context(each.client()) for each in services]
        meeting = await Meeting.create(
            clients[0],
            Ledger(pool, call_seconds_max=LEDGER_SECONDS_MAX),
            Provisioning(pool, call_seconds_max=LEDGER_SECONDS_MAX),
            parts.carrier,
        )
        await meeting.choose(confirmation=Confirmation.NEVER)
        await meeting.buy_credits(CREDITS_MICROS)
        ways = [replace(meeting, client=client) for client in clients]
        yield Site(parts=parts, services=services, ways=ways, logs=logs)


class Crowd:
    """Clients of one meeting, by way of one gateway or of several, and what they asked for."""

    def __init__(self, ways: Sequence[Meeting], chance: random.Random) -> None:
        self.asked: list[Asked] = []
        self._ways = ways
        self._chance = chance
        self._patient = True

    def lose_patience(self) -> None:
        """Have nobody ask again for a call that was not taken yet."""
        self._patient = False

    async def call(self, planned: Planned) -> None:
        """Have a telephone called, and hang it up if that is the client's to do.

        A client that has given up asking does not know whether it is called, and ends it, too.
        """
        asked = Asked(planned=planned)
        self.asked.append(asked)
        await self._ask(asked)
        if planned.hang_up_seconds is not None:
            await asyncio.sleep(planned.hang_up_seconds if asked.taken else 0)
            await self._hang_up(asked)

    async def _ask(self, asked: Asked) -> None:
        """Ask until it is taken, or refused for good, or given up."""
        began = time.monotonic()
        for number, way in enumerate(cycle(self._in_some_order()), 1):
            seconds, has_nobody = self._pause((number - 1) // len(self._ways)), True
            try:
                response = await way.post(
                    asked.planned.number,
                    dial_out_id=str(asked.ids[-1]),
                    conference_id=f"room-{asked.ids[0].hex}",
                )
            except httpx.TransportError as error:
                asked.failures.append(type(error).__name__)
            else:
                if response.is_success:
                    asked.taken, asked.told = True, response.json()["state"]
                    return
                reason = str(response.json().get("reason"))
                if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    asked.refusal = f"{response.status_code} {reason}"
                    return
                asked.failures.append(reason)
                has_nobody = reason == "bridge_unavailable"
                if reason == "call_not_placed":
                    asked.ids.append(uuid4())
                if number % len(self._ways) == 0:
                    seconds += int(response.headers["Retry-After"])
            if time.monotonic() + seconds - began > PATIENCE_SECONDS:
                return
            if not self._patient:
                asked.cut_short = has_nobody
                return
            await asyncio.sleep(seconds)

    async def _hang_up(self, asked: Asked) -> None:
        """End a call, by whichever gateway hears of it."""
        for number, way in enumerate(cycle(self._in_some_order())):
            try:
                response = await way.cancel(str(asked.ids[-1]))
            except httpx.TransportError as error:
                asked.hang_up_failures.append(type(error).__name__)
            else:
                if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    return
                asked.hang_up_failures.append(str(response.json().get("reason")))
            await asyncio.sleep(self._pause(number // len(self._ways)))

    def _pause(self, rounds: int) -> float:
        """Return how long to wait after every gateway was asked so often."""
        seconds = self._chance.uniform(*ASK_AGAIN_SECONDS)
        return min(ASK_AGAIN_SECONDS_MAX, seconds * 2.0 ** min(rounds, 8))

    def _in_some_order(self) -> Sequence[Meeting]:
        return self._chance.sample(self._ways, len(self._ways))


async def reckoned(meeting: Meeting, asked: Sequence[Asked]) -> tuple[Call, ...]:
    """Return each call as the ledger and the carrier have it, which must be over by then."""
    talked = await _talked(meeting.carrier, {each.planned.number for each in asked})
    invites = Counter(each.number for each in await asyncio.to_thread(meeting.carrier.invites))
    return tuple(
        [
            Call(
                number=each.planned.number,
                asked=each,
                rows=await _rows(meeting, each),
                invites=invites[each.planned.number],
                talked=talked.get(each.planned.number, 0.0),
            )
            for each in asked
        ]
    )


async def _talked(carrier: Carrier, numbers: AbstractSet[str]) -> dict[str, float]:
    """Return how long each number talked, once the carrier has the ends of all that answered.

    It may note a hangup later than the ledger: each hears of it from Asterisk by a way of its own.
    """
    deadline = time.monotonic() + CARRIER_SECONDS_MAX
    while True:
        answered = await asyncio.to_thread(carrier.answers)
        talked = {each.number: each.seconds for each in await asyncio.to_thread(carrier.cdrs)}
        if numbers & answered.keys() <= talked.keys() or time.monotonic() > deadline:
            return talked
        await asyncio.sleep(0.1)


async def _rows(meeting: Meeting, asked: Asked) -> tuple[DialOut, ...]:
    keys = (DialOutKey(tenant_id=meeting.tenant_id, dial_out_id=each) for each in asked.ids)
    found = [await meeting.ledger.dial_out(key) for key in keys]
    return tuple(row for row in found if row is not None)
