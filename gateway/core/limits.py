"""How much of something a tenant, an organizer or a meeting may do, and what happens beyond it.

docs/limits.md says what each limit is for. What counts against it is counted by the ledger, in
the transaction that sets funds aside.
"""

from dataclasses import dataclass
from enum import StrEnum

from gateway.core.reasons import Reason


class LimitUnit(StrEnum):
    """What a limit is counted in."""

    CALLS = "calls"
    CALLEES = "callees"
    SECONDS = "seconds"
    MICROS = "micros"


class LimitScope(StrEnum):
    """Whose doings count together."""

    TENANT = "tenant"
    ORGANIZER = "organizer"
    MEETING = "meeting"


class LimitMode(StrEnum):
    """What happens to a call beyond a limit.

    ``observe`` lets it pass and says so in the log; ``block`` refuses it, and blocks its
    organizer until somebody lifts that.
    """

    OBSERVE = "observe"
    REFUSE = "refuse"
    BLOCK = "block"


class LimitKind(StrEnum):
    """What is limited. Declared in the order in which the rules are asked."""

    CONCURRENT_CALLS = "concurrent_calls"
    CALLS_A_MINUTE = "calls_a_minute"
    CALLEES_A_DAY = "callees_a_day"
    PRICE = "price"
    SPEND_A_DAY = "spend_a_day"
    MEETING_TIME = "meeting_time"
    MEETING_SPEND = "meeting_spend"
    FAIR_USE = "fair_use"
    FAIR_USE_NOTICE = "fair_use_notice"

    @property
    def unit(self) -> LimitUnit:
        """What its amount is counted in; the price is in micros for a minute."""
        return _UNITS[self]

    @property
    def scopes(self) -> tuple[LimitScope, ...]:
        """Whose doings it can limit."""
        return _SCOPES.get(self, (LimitScope.TENANT, LimitScope.ORGANIZER))

    @property
    def modes(self) -> tuple[LimitMode, ...]:
        """What may happen beyond it."""
        return (LimitMode.OBSERVE,) if self is self.FAIR_USE_NOTICE else tuple(LimitMode)

    @property
    def reason(self) -> Reason:
        """Why a call beyond it is refused. A notice refuses none, and has no reason."""
        return Reason(f"limit_{self}")


_UNITS = {
    LimitKind.CONCURRENT_CALLS: LimitUnit.CALLS,
    LimitKind.CALLS_A_MINUTE: LimitUnit.CALLS,
    LimitKind.CALLEES_A_DAY: LimitUnit.CALLEES,
    LimitKind.PRICE: LimitUnit.MICROS,
    LimitKind.SPEND_A_DAY: LimitUnit.MICROS,
    LimitKind.MEETING_TIME: LimitUnit.SECONDS,
    LimitKind.MEETING_SPEND: LimitUnit.MICROS,
    LimitKind.FAIR_USE: LimitUnit.SECONDS,
    LimitKind.FAIR_USE_NOTICE: LimitUnit.SECONDS,
}

# An add-on is one organizer's own.
_SCOPES: dict[LimitKind, tuple[LimitScope, ...]] = {
    LimitKind.MEETING_TIME: (LimitScope.MEETING,),
    LimitKind.MEETING_SPEND: (LimitScope.MEETING,),
    LimitKind.FAIR_USE: (LimitScope.ORGANIZER,),
    LimitKind.FAIR_USE_NOTICE: (LimitScope.ORGANIZER,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit that is in force for a call, and how much of it is used already.

    ``most`` and ``used`` are in the unit of the kind. What is set aside counts as used. The
    price has no use that adds up: ``used`` is 0.
    """

    kind: LimitKind
    scope: LimitScope
    mode: LimitMode
    most: int
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitTerms:
    """A limit as it is set. ``most`` of None: none, whatever holds for all the others."""

    kind: LimitKind
    most: int | None
    mode: LimitMode = LimitMode.REFUSE


DEFAULT_LIMITS = (
    LimitTerms(kind=LimitKind.CONCURRENT_CALLS, most=250),
    LimitTerms(kind=LimitKind.CALLEES_A_DAY, most=250, mode=LimitMode.OBSERVE),
)
"""What a new tenant has for each of its organizers."""
