"""What one seed stands for: who pays, who is called, and what goes wrong when.

Everything is drawn here, before anything runs, and by nothing but the seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final, TypeVar
from uuid import UUID

from gateway.core.dial_out import DialOutKind
from gateway.core.facts import OrganizerId, Sku
from gateway.core.key import DialOutKey
from gateway.core.rating import Seconds
from gateway.simulator.carrier import Pickup, Telephone
from gateway.simulator.database_proxy import Moment, Point
from gateway.simulator.faults import Faults

T = TypeVar("T")

ASKING_MS: Final = 5_000
"""Within this time from the start everything is asked for."""

TROUBLE_MS: Final = 7_000
"""Within this time from the start whatever goes wrong at an instant does."""


class TroubleKind(StrEnum):
    """One way for a gateway or its ledger to go wrong."""

    GATEWAY_KILLED = "gateway_killed"
    GATEWAY_KILLED_TWICE = "gateway_killed_twice"
    """Once more as soon as it is up again."""
    GATEWAY_KILLED_WITHOUT_LEDGER = "gateway_killed_without_ledger"
    """The ledger is away then, and when the gateway starts again."""
    GATEWAY_STOPPED = "gateway_stopped"
    """By SIGTERM, as an operator does it."""
    LEDGER_CUT = "ledger_cut"
    LEDGER_AWAY = "ledger_away"
    LEDGER_STALLED = "ledger_stalled"
    LEDGER_SLOW = "ledger_slow"
    LEDGER_SLOW_FOR_ALL = "ledger_slow_for_all"
    """For every gateway: what one has read, another one has changed meanwhile."""
    REQUEST_LOST = "request_lost"
    """The connection ends before the ledger hears of it."""
    ANSWER_LOST = "answer_lost"
    """The ledger has done it, and the connection ends before the gateway hears so."""
    CLOCK_STEPPED = "clock_stepped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What goes wrong with one gateway or its way to the ledger.

    It happens at ``at_ms`` from the start, or at ``point`` if there is one. It lasts for
    ``milliseconds``; a gateway is down for so long. ``step_seconds`` is how far its clock jumps.
    """

    kind: TroubleKind
    gateway: int
    at_ms: int
    point: Point | None = None
    milliseconds: int = 0
    step_seconds: int = 0

    def __str__(self) -> str:
        when = (
            f"{self.point.moment} {self.point.function} {self.point.nth}"
            if self.point
            else f"at {self.at_ms} ms"
        )
        lasting = f" for {self.milliseconds} ms" if self.milliseconds else ""
        stepped = f" by {self.step_seconds} s" if self.step_seconds else ""
        return f"gateway {self.gateway}: {self.kind}{stepped}{lasting} {when}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One time that a request is made: when, from the start, and of which gateway."""

    at_ms: int
    gateway: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One dial-out, asked for once or more often, and the telephone that is called.

    One that is ``intercepted`` comes by another application's channel, once. ``cancel`` is by
    whom it is called off, None if it is not. One that is ``replayed`` has its channel come to
    the gate once more when it is over.
    """

    key: DialOutKey
    kind: DialOutKind
    organizer_id: OrganizerId
    conference_id: str
    number: str
    telephone: Telephone
    asks: tuple[Ask, ...]
    cancel: Ask | None
    replayed: bool

    @property
    def intercepted(self) -> bool:
        """Whether it comes by the intercept."""
        return self.kind is DialOutKind.INTERCEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class Funds:
    """What there is to pay with, as little as some calls need.

    ``credit_seconds`` are worth that much at the only rate that there is.
    """

    pool_seconds: Seconds
    addon_seconds: Seconds
    credit_seconds: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One seed, spelled out."""

    seed: int
    tenant_id: UUID
    funds: Funds
    gateways: int
    requests: tuple[Request, ...]
    troubles: tuple[Trouble, ...]
    asterisk_faults: int
    clock_offset_ms: int
    clock_drift_ppm: int

    def faults(self) -> Faults:
        """Return what goes wrong with Asterisk and its manager interface."""
        return Faults.drawn(Random(f"{self.seed} faults"), count=self.asterisk_faults)  # noqa: S311


HOLDERS: Final = {
    OrganizerId("ann"): (Sku.AUDIO_CONFERENCING, Sku.COMMUNICATIONS_CREDITS),
    OrganizerId("ben"): (
        Sku.AUDIO_CONFERENCING,
        Sku.EXTENDED_DIALOUT_US_CA,
        Sku.COMMUNICATIONS_CREDITS,
    ),
    OrganizerId("cem"): (Sku.AUDIO_CONFERENCING_PPM, Sku.COMMUNICATIONS_CREDITS),
}
"""Who organizes, and what each holds: the pool, the add-on, pay per minute."""

_TROUBLES: Final = {
    TroubleKind.GATEWAY_KILLED: 8,
    TroubleKind.GATEWAY_KILLED_TWICE: 2,
    TroubleKind.GATEWAY_KILLED_WITHOUT_LEDGER: 2,
    TroubleKind.GATEWAY_STOPPED: 3,
    TroubleKind.LEDGER_CUT: 2,
    TroubleKind.LEDGER_AWAY: 3,
    TroubleKind.LEDGER_STALLED: 3,
    TroubleKind.LEDGER_SLOW: 5,
    TroubleKind.LEDGER_SLOW_FOR_ALL: 8,
    TroubleKind.REQUEST_LOST: 3,
    TroubleKind.ANSWER_LOST: 5,
    TroubleKind.CLOCK_STEPPED: 2,
}
_AT_A_POINT: Final = {
    TroubleKind.GATEWAY_KILLED: 0.6,
    TroubleKind.GATEWAY_KILLED_TWICE: 0.5,
    TroubleKind.REQUEST_LOST: 1.0,
    TroubleKind.ANSWER_LOST: 1.0,
}
"""How often a trouble hangs on a step of the work and not on an instant."""

_FUNCTIONS: Final = {
    "reserve": 4,
    "claim": 4,
    "answered": 2,
    "extend": 2,
    "settle": 3,
    "void": 2,
    "seen": 1,
}
_FAULTS_COUNT: Final = {0: 2, 1: 5, 2: 6, 3: 4, 4: 3}
_STEPS_SECONDS: Final = (-86_400, -3_600, -45, -7, -2, 2, 7, 45, 3_600, 86_400)
_PICKUPS: Final = {
    Pickup.ANSWERS: 16,
    Pickup.BUSY: 2,
    Pickup.SILENT: 1,
    Pickup.UNKNOWN: 1,
    Pickup.CONGESTED: 1,
}
_KINDS: Final = {
    DialOutKind.ADD_PARTICIPANT: 7,
    DialOutKind.CALL_ME: 2,
    DialOutKind.INTERCEPT: 2,
}


def draw(seed: int) -> Scenario:
    """Return what a seed stands for: always the same."""
    random = Random(seed)  # noqa: S311 - to be repeated, not to be secret
    tenant_id = _uuid(random)
    gateways = random.choice((1, 2, 2))
    requests = tuple(
        _request(random, tenant_id, gateways, place) for place in range(random.randint(4, 15))
    )
    faults = _weighted(random, _FAULTS_COUNT)
    of_asterisk = sum(random.random() < 0.5 for _ in range(faults))
    return Scenario(
        seed=seed,
        tenant_id=tenant_id,
        funds=_funds(random),
        gateways=gateways,
        requests=requests,
        troubles=tuple(_trouble(random, gateways) for _ in range(faults - of_asterisk)),
        asterisk_faults=of_asterisk,
        clock_offset_ms=random.choice((0, 0, -1_500, 2_500, 3_600_000)),
        clock_drift_ppm=random.choice((0, 0, -200, 200)),
    )


def _request(random: Random, tenant_id: UUID, gateways: int, place: int) -> Request:
    kind = _weighted(random, _KINDS)
    organizer_id = random.choice(tuple(HOLDERS))
    at_ms = random.randrange(ASKING_MS)
    asks = [Ask(at_ms=at_ms, gateway=random.randrange(gateways))]
    if kind is not DialOutKind.INTERCEPT:
        while random.random() < 0.25:
            later_ms = random.choice((0, 0, 0, 30, 400, 2_000))
            asks.append(Ask(at_ms=at_ms + later_ms, gateway=random.randrange(gateways)))
    cancel = None
    if random.random() < 0.2:
        # Half of them while it is reserved and claimed: within that time the order makes the end.
        later_ms = random.choice((0, 900, 1_500, 4_000, *[random.randrange(700)] * 4))
        cancel = Ask(at_ms=at_ms + later_ms, gateway=random.randrange(gateways))
    return Request(
        key=DialOutKey(tenant_id=tenant_id, dial_out_id=_uuid(random)),
        kind=kind,
        organizer_id=organizer_id,
        # One of its own: when a meeting ends, what rings for it is ended, too.
        conference_id=f"room-{place}",
        number=_number(random, place),
        telephone=_telephone(random),
        asks=tuple(asks),
        cancel=cancel,
        replayed=kind is not DialOutKind.INTERCEPT and random.random() < 0.1,
    )


def _telephone(random: Random) -> Telephone:
    talk_ms = None if random.random() < 0.1 else random.choice((0, 300, 1_000, 3_000, 7_000))
    return Telephone(
        pickup=_weighted(random, _PICKUPS),
        ring_ms=random.randrange(20, 1_200),
        talk_ms=None if talk_ms is None else talk_ms + random.randrange(1_500),
    )


def _number(random: Random, place: int) -> str:
    """Return a number that no other request of the seed calls: London, or Washington."""
    digits = f"{random.randrange(10_000):04}{place:02}"
    if random.random() < 0.3:
        return f"+12022{digits}"
    return f"+44207{random.randrange(2, 10)}{digits}"


def _funds(random: Random) -> Funds:
    return Funds(
        pool_seconds=Seconds(random.choice((0, 7, 25, 120))),
        addon_seconds=Seconds(random.choice((0, 9, 60))),
        credit_seconds=Seconds(random.choice((12, 33, 300, 300))),
    )


def _trouble(random: Random, gateways: int) -> Trouble:
    kind = _weighted(random, _TROUBLES)
    point = None
    if random.random() < _AT_A_POINT.get(kind, 0.0):
        moment = random.choice(tuple(Moment))
        if kind in (TroubleKind.REQUEST_LOST, TroubleKind.ANSWER_LOST):
            moment = Moment.BEFORE if kind is TroubleKind.REQUEST_LOST else Moment.AFTER
        point = Point(
            function=_weighted(random, _FUNCTIONS),
            nth=random.choice((1, 1, 1, 2, 2, 3, 4, 6)),
            moment=moment,
        )
    return Trouble(
        kind=kind,
        gateway=random.randrange(gateways),
        at_ms=random.randrange(TROUBLE_MS),
        point=point,
        milliseconds=random.choice((100, 400, 1_500, 3_500)),
        step_seconds=random.choice(_STEPS_SECONDS) if kind is TroubleKind.CLOCK_STEPPED else 0,
    )


def _uuid(random: Random) -> UUID:
    return UUID(int=random.getrandbits(128), version=4)


def _weighted(random: Random, weights: dict[T, int]) -> T:
    keys: Sequence[T] = tuple(weights)
    return random.choices(keys, tuple(weights.values()))[0]
