"""What goes wrong between Asterisk and its gateways: drawn beforehand, applied at a point.

A fault hangs on the n-th time that something happens (an event of a name, an action of a name)
and not on a time of day, so that a seed that failed fails again alone.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Self


class Fault(StrEnum):
    """One way to go wrong."""

    EVENT_DROPPED = "event_dropped"
    """One event never arrives."""
    EVENT_DOUBLED = "event_doubled"
    EVENT_LATE = "event_late"
    """One event is overtaken by the later ones of its channel."""
    CHANNEL_LATE = "channel_late"
    """All events of a channel wait, in their order, while those of others pass."""
    CHANNEL_SLOW = "channel_slow"
    """Each event of a channel arrives so much later than it would, from this one on."""
    CHANNEL_SILENT = "channel_silent"
    """No event of a channel arrives, from this one on."""
    ANSWER_DROPPED = "answer_dropped"
    """The action is carried out, and nobody hears of it."""
    ANSWER_LATE = "answer_late"
    """The action is carried out, and heard of late, perhaps when nobody waits any more."""
    ANSWER_DOUBLED = "answer_doubled"
    ANSWER_REFUSED = "answer_refused"
    """The action is not carried out."""
    BYTES_SPLIT = "bytes_split"
    """For a while, bytes arrive in pieces that are cut anywhere."""
    CUT_BEFORE = "cut_before"
    """The connection ends, and the action is not carried out."""
    CUT_AFTER = "cut_after"
    """The action is carried out, and the connection ends before its answer."""
    CUT_IN_ANSWER = "cut_in_answer"
    """The connection ends in the middle of an answer, as of a list."""
    LIST_UNFINISHED = "list_unfinished"
    """The event that ends a list is missing."""
    LIST_SHORT = "list_short"
    """An item is missing, and ListItems tells."""
    LIST_CANCELLED = "list_cancelled"
    HALF_OPEN = "half_open"
    """For a while nothing is read or said, and what was sent meanwhile arrives then."""
    HALF_OPEN_RESET = "half_open_reset"
    """The same, and at its end the connections are reset."""
    KILLED = "killed"
    """Asterisk dies and starts again, with all records."""
    KILLED_UNSYNCED = "killed_unsynced"
    """Asterisk dies, and what it recorded within the last second is lost."""
    KILLED_FORGETTING = "killed_forgetting"
    """Asterisk dies, and its disk with all records is lost."""
    SHUT_DOWN = "shut_down"
    """Asterisk is restarted by its operator: every channel is hung up, told and recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFault:
    """A fault and its point: the ``nth`` time, from 1, that ``point`` happens.

    ``point`` is ``event <name>`` or ``action <name>``. ``milliseconds`` is how long it lasts,
    where it lasts. What befalls events befalls them ``everywhere``, or only on their way to the
    eldest session; so does what befalls connections.
    """

    fault: Fault
    point: str
    nth: int
    milliseconds: int = 0
    everywhere: bool = True

    def __str__(self) -> str:
        lasting = f" for {self.milliseconds} ms" if self.milliseconds else ""
        where = "" if self.everywhere else ", for one session"
        return f"{self.fault}{lasting} at {self.point}, no. {self.nth}{where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedFault:
    """A fault that happened, when by the Asterisk host's clock, and to what."""

    planned: PlannedFault
    at_ms: int
    subject: str

    def __str__(self) -> str:
        return f"{self.at_ms} {self.planned} ({self.subject})"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """How often a fault is drawn, where it may hang, and how long it may last.

    ``everywhere_share`` is how often it is everywhere, where that makes a difference.
    """

    fault: Fault
    weight: int
    points: tuple[str, ...]
    milliseconds: tuple[int, int] = (0, 0)
    everywhere_share: float = 0.5


_CALL_EVENTS = (
    "event UserEvent",
    "event DialBegin",
    "event DialState",
    "event DialEnd ANSWER",
    "event DialEnd",
    "event Hangup leg",
    "event Hangup gate",
    "event OriginateResponse",
    "event ConfbridgeJoin",
)
_CALL_ACTIONS = (
    "action Originate",
    "action Setvar DIALOUT_VERDICT",
    "action Redirect",
    "action Setvar DB_DELETE",
    "action AbsoluteTimeout",
    "action Hangup",
    "action DBGet",
)
_LISTS = ("action CoreShowChannels", "action DBGetTree")
_STEADY_ACTIONS = ("action Ping", "action Setvar DIALOUT_HEARTBEAT", "action Login", *_LISTS)
_ACTIONS = (*_CALL_ACTIONS, *_STEADY_ACTIONS)
_ANYTHING = (*_CALL_EVENTS, *_CALL_ACTIONS, *_LISTS)
_DEATHS = (*_CALL_EVENTS, "event DialEnd ANSWER", "event DialEnd ANSWER", "event Hangup leg")
"""An answer more often than the rest: from it on there is something to lose."""
_LATE = (100, 6000)
_DOWN = (200, 4000)

_KINDS = (
    _Kind(fault=Fault.EVENT_DROPPED, weight=10, points=_CALL_EVENTS),
    _Kind(fault=Fault.EVENT_DOUBLED, weight=6, points=_CALL_EVENTS),
    _Kind(fault=Fault.EVENT_LATE, weight=8, points=_CALL_EVENTS, milliseconds=_LATE),
    _Kind(fault=Fault.CHANNEL_LATE, weight=8, points=_CALL_EVENTS, milliseconds=_LATE),
    _Kind(fault=Fault.CHANNEL_SLOW, weight=6, points=_CALL_EVENTS, milliseconds=_LATE),
    _Kind(fault=Fault.CHANNEL_SILENT, weight=5, points=_CALL_EVENTS),
    _Kind(fault=Fault.ANSWER_DROPPED, weight=8, points=_ACTIONS),
    _Kind(fault=Fault.ANSWER_LATE, weight=8, points=_ACTIONS, milliseconds=(500, 5000)),
    _Kind(fault=Fault.ANSWER_DOUBLED, weight=4, points=_ACTIONS),
    _Kind(fault=Fault.ANSWER_REFUSED, weight=6, points=(*_CALL_ACTIONS, *_LISTS)),
    _Kind(fault=Fault.BYTES_SPLIT, weight=4, points=_ANYTHING, milliseconds=(500, 4000)),
    _Kind(fault=Fault.CUT_BEFORE, weight=6, points=_ACTIONS),
    _Kind(fault=Fault.CUT_AFTER, weight=10, points=_ACTIONS),
    _Kind(fault=Fault.CUT_IN_ANSWER, weight=4, points=_LISTS),
    _Kind(fault=Fault.LIST_UNFINISHED, weight=4, points=_LISTS),
    _Kind(fault=Fault.LIST_SHORT, weight=4, points=_LISTS),
    _Kind(fault=Fault.LIST_CANCELLED, weight=4, points=_LISTS),
    _Kind(fault=Fault.HALF_OPEN, weight=4, points=_ANYTHING, milliseconds=(1000, 11_000)),
    _Kind(fault=Fault.HALF_OPEN_RESET, weight=3, points=_ANYTHING, milliseconds=(1000, 11_000)),
    _Kind(fault=Fault.KILLED, weight=8, points=_DEATHS, milliseconds=_DOWN),
    _Kind(fault=Fault.KILLED_UNSYNCED, weight=6, points=_DEATHS, milliseconds=_DOWN),
    _Kind(fault=Fault.KILLED_FORGETTING, weight=5, points=_DEATHS, milliseconds=_DOWN),
    _Kind(fault=Fault.SHUT_DOWN, weight=4, points=_DEATHS, milliseconds=_DOWN),
    # One gateway hears of its own channel when another one has answered that.
    _Kind(
        fault=Fault.CHANNEL_SLOW,
        weight=12,
        points=("event UserEvent",),
        milliseconds=(3000, 6000),
        everywhere_share=0.0,
    ),
    # Of a telephone that answered, only the end is heard: that nobody did is not said.
    _Kind(fault=Fault.EVENT_DROPPED, weight=8, points=("event DialEnd ANSWER",)),
)
"""How often what goes wrong, and where."""


class Faults:
    """The faults of one run: those to come, and those that came."""

    def __init__(self, planned: Sequence[PlannedFault] = ()) -> None:
        self.planned = tuple(planned)
        self.applied: list[AppliedFault] = []
        self._seen: Counter[str] = Counter()
        self._to_come: defaultdict[str, dict[int, PlannedFault]] = defaultdict(dict)
        for each in planned:
            self._to_come[each.point][each.nth] = each

    @classmethod
    def none(cls) -> Self:
        """Return a run without a fault."""
        return cls()

    @classmethod
    def drawn(cls, random: Random, *, count: int, calls: int = 6) -> Self:
        """Draw so many faults, each as often as its weight says.

        ``calls`` is how many are expected, so that a fault hangs on one of them.
        """
        drawn = random.choices(_KINDS, [kind.weight for kind in _KINDS], k=count)
        return cls([_plan(random, kind, calls) for kind in drawn])

    def due(self, point: str) -> PlannedFault | None:
        """Note that something happens; return what goes wrong with it."""
        to_come = self._to_come.get(point)
        if not to_come:
            return None
        self._seen[point] += 1
        return to_come.pop(self._seen[point], None)

    def note(self, planned: PlannedFault, *, at_ms: int, subject: str) -> None:
        """Keep that a fault happened, for the story of its seed."""
        self.applied.append(AppliedFault(planned=planned, at_ms=at_ms, subject=subject))

    def end(self) -> None:
        """Have nothing more go wrong."""
        self._to_come.clear()


def _plan(random: Random, kind: _Kind, calls: int) -> PlannedFault:
    point = random.choice(kind.points)
    return PlannedFault(
        fault=kind.fault,
        point=point,
        nth=random.randint(1, 3 * calls if point in _STEADY_ACTIONS else calls),
        milliseconds=random.randint(*kind.milliseconds),
        everywhere=random.random() < kind.everywhere_share,
    )
