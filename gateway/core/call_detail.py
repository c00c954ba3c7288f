"""What Asterisk's own call detail says about a call: its events (CEL) or its record (CDR).

For a call that is in no list of channels and left no record of ours. What the tables do not
say proves nothing: a row may be late, or lost. So only a row that tells of the end ends a
call, and one that tells of the answer makes the call longer at the least.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.core.call import Ending
from gateway.core.causes import Disposition, is_answer, unanswered

ANSWER: Final = "ANSWER"
HANGUP: Final = "HANGUP"
BRIDGE_ENTER: Final = "BRIDGE_ENTER"

CEL: Final = "cel"
CDR: Final = "cdr"

_SECOND_MS: Final = 1000

_BY_CDR: Final = {
    "NO ANSWER": Disposition.NO_ANSWER,
    "BUSY": Disposition.BUSY,
    "CONGESTION": Disposition.CONGESTION,
    "FAILED": Disposition.FAILED,
}

CAUSE_UNKNOWN: Final = 0

CLOCK_MS_MAX: Final = 600_000
"""How far a call may lie, by these tables, from when it was asked for: clocks that differ, and
how long a telephone rings. A time zone that is set wrongly is further off than that."""

LIST_MS_MAX: Final = 2000
"""How much later than that a list may be taken: Asterisk tells its start to the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """Milliseconds of the Asterisk host's clock; ``is_cut`` if the table kept whole seconds."""

    at_ms: int
    is_cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The telephone answered, and of the end nothing is said."""

    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelEvent:
    """One row of CEL. ``bridge_id``, ``cause`` and ``dial_status`` are of the kinds that tell."""

    uniqueid: str
    kind: str
    at: Instant
    is_trunk: bool
    bridge_id: str | None = None
    cause: int | None = None
    dial_status: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DialRecord:
    """One row of CDR: the gate's channel dialled the trunk. ``answer`` is None if nobody did."""

    disposition: str
    answer: Instant | None
    end: Instant


def told_by_events(gate_uniqueid: str, events: Iterable[ChannelEvent]) -> Ending | Answer | None:
    """Return what the events say about the leg that a gate dialled; None if nothing.

    The leg is the one on the trunk that was in a bridge with the gate's own channel: other
    calls of the same application may share everything else. Two such legs are not ours to
    choose from.
    """
    rows = tuple(events)
    gate = [each for each in rows if each.uniqueid == gate_uniqueid]
    hangup = _last(gate, HANGUP)
    if hangup is not None and hangup.dial_status and not is_answer(hangup.dial_status):
        return _unanswered(hangup, hangup.dial_status)
    bridges = {each.bridge_id for each in gate if each.kind == BRIDGE_ENTER}
    legs = {each.uniqueid for each in rows if each.is_trunk and each.bridge_id in bridges - {None}}
    if len(legs) != 1:
        return None
    leg = [each for each in rows if each.uniqueid in legs]
    answer, end = _last(leg, ANSWER), _last(leg, HANGUP)
    if answer is None:
        return None
    if end is None:
        return Answer(at_ms=answer.at.at_ms)
    return _answered(answer.at, end.at, CAUSE_UNKNOWN if end.cause is None else end.cause, CEL)


def told_of_dial_in(
    uniqueid: str, admitted_at_ms: int, events: Iterable[ChannelEvent]
) -> Ending | None:
    """Return how a telephone that called in hung up; None if nothing says so.

    It is billed from when it was let in, which the tables do not know.
    """
    end = _last([each for each in events if each.uniqueid == uniqueid], HANGUP)
    if end is None:
        return None
    cause = CAUSE_UNKNOWN if end.cause is None else end.cause
    return _answered(Instant(at_ms=admitted_at_ms, is_cut=False), end.at, cause, CEL)


def told_by_records(records: Iterable[DialRecord]) -> Ending | None:
    """Return what the records of one gate's calls on the trunk say; None unless there is one."""
    rows = tuple(records)
    if len(rows) != 1:
        return None
    [record] = rows
    if record.answer is not None:
        return _answered(record.answer, record.end, CAUSE_UNKNOWN, CDR)
    disposition = _BY_CDR.get(record.disposition)
    if disposition is None:
        return None
    return Ending(
        disposition=disposition,
        hangup_cause=CAUSE_UNKNOWN,
        answered_at_ms=None,
        ended_at_ms=record.end.at_ms,
        evidence=CDR,
    )


def is_plausible(
    told: Ending | Answer, *, requested_at_ms: int, latest_end_ms: int, was_answered: bool
) -> bool:
    """Return whether what the tables say can be this call, and not be told in another time zone.

    ``latest_end_ms`` is when it was in no list of channels any more; ``was_answered`` says that
    its answer was seen. No table makes either undone.
    """
    if isinstance(told, Answer):
        began_ms = ended_ms = told.at_ms
    else:
        began_ms, ended_ms = told.answered_at_ms or told.ended_at_ms, told.ended_at_ms
        if told.answered_at_ms is None and was_answered:
            return False
    begins_in_time = abs(began_ms - requested_at_ms) <= CLOCK_MS_MAX
    return begins_in_time and began_ms <= ended_ms <= latest_end_ms + LIST_MS_MAX


def _answered(answer: Instant, end: Instant, cause: int, evidence: str) -> Ending:
    """Return an answered call. Of whole seconds it is only known between which it lay."""
    least_ms = end.at_ms
    if answer.is_cut:
        least_ms = max(answer.at_ms, least_ms - _SECOND_MS + 1)
    latest_ms = end.at_ms + _SECOND_MS - 1 if end.is_cut else end.at_ms
    return Ending(
        disposition=Disposition.ANSWERED,
        hangup_cause=cause,
        answered_at_ms=answer.at_ms,
        ended_at_ms=least_ms,
        latest_end_ms=latest_ms if latest_ms > least_ms else None,
        evidence=evidence,
    )


def _unanswered(hangup: ChannelEvent, dial_status: str) -> Ending:
    cause = CAUSE_UNKNOWN if hangup.cause is None else hangup.cause
    return Ending(
        disposition=unanswered(dial_status, cause),
        hangup_cause=cause,
        answered_at_ms=None,
        ended_at_ms=hangup.at.at_ms,
        evidence=CEL,
    )


def _last(events: Iterable[ChannelEvent], kind: str) -> ChannelEvent | None:
    """Return the last event of a kind, whatever order the rows came in."""
    return max(
        (each for each in events if each.kind == kind),
        key=lambda each: each.at.at_ms,
        default=None,
    )
