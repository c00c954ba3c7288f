"""How far a dial-out has come, as those hear it who wait for it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from gateway.core.attendance import DropReason
from gateway.core.causes import Disposition
from gateway.core.dial_out import DialOut, DialOutState
from gateway.core.rating import Micros, Seconds
from gateway.core.reasons import REASON_TEXTS, Reason
from gateway.core.wording import clock, money


class Stage(StrEnum):
    """How far it has come. Declared in order: none of them is ever followed by an earlier one."""

    RESERVED = "reserved"
    DIALING = "dialing"
    RINGING = "ringing"
    ANSWERED = "answered"
    JOINED = "joined"
    ENDED = "ended"
    REFUSED = "refused"

    @property
    def number(self) -> int:
        """Its place in the order, from 1: the same on every gateway, and after every restart."""
        return _NUMBERS[self]

    @property
    def is_last(self) -> bool:
        """Whether nothing can follow."""
        return self in (Stage.ENDED, Stage.REFUSED)


_NUMBERS = {stage: number for number, stage in enumerate(Stage, start=1)}
LAST_NUMBERS = frozenset(stage.number for stage in Stage if stage.is_last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A stage that was reached at an instant, and what there is to say of it.

    What follows ``text`` is known of a last stage only: ``reason`` of one that is refused, the
    rest of one that has ended. ``currency`` is None where money has paid for nothing.
    """

    stage: Stage
    at: datetime
    text: str
    reason: Reason | None = None
    disposition: Disposition | None = None
    dropped: DropReason | None = None
    billable_seconds: Seconds | None = None
    cost_micros: Micros | None = None
    currency: str | None = None

    def summary(self) -> dict[str, Any]:
        """Return the step as plain JSON values; absent ones are left out."""
        plain = {
            "stage": self.stage,
            "at": self.at.isoformat(timespec="milliseconds"),
            "text": self.text,
            "reason": self.reason,
            "disposition": self.disposition,
            "dropped": self.dropped,
            "billable_seconds": self.billable_seconds,
            "cost_micros": self.cost_micros,
            "currency": self.currency,
        }
        return {name: value for name, value in plain.items() if value is not None}


def reached(stage: Stage, at: datetime) -> Step:
    """Return the step to a stage that is not the last."""
    return Step(stage=stage, at=at, text=_TEXTS[stage])


def steps(dial_out: DialOut) -> tuple[Step, ...]:
    """Return the steps that a row tells of, in order. Of ringing no row tells."""
    if dial_out.state is DialOutState.REFUSED:
        return (_refused(dial_out),)
    instants = {
        Stage.RESERVED: dial_out.requested_at,
        Stage.DIALING: None if dial_out.evidence in _NEVER_DIALLED else dial_out.released_at,
        Stage.ANSWERED: dial_out.answered_at,
        Stage.JOINED: dial_out.joined_at,
    }
    taken = tuple(reached(stage, at) for stage, at in instants.items() if at is not None)
    return (*taken, _ended(dial_out)) if dial_out.state is DialOutState.ENDED else taken


_TEXTS = {
    Stage.RESERVED: "The call is paid for and about to be placed.",
    Stage.DIALING: "The number is being dialled.",
    Stage.RINGING: "The telephone rings.",
    Stage.ANSWERED: "The telephone was answered.",
    Stage.JOINED: "The telephone is in the meeting.",
}
_UNANSWERED = {
    Disposition.BUSY: "The telephone is busy.",
    Disposition.NO_ANSWER: "Nobody answered.",
    Disposition.CONGESTION: "The telephone network had no line free.",
    Disposition.FAILED: "The number could not be reached.",
    Disposition.CANCELLED: "The call was cancelled before anybody answered.",
}
_DROPPED = {
    DropReason.ALONE: "It was ended because nobody else was in the meeting.",
    DropReason.ORGANIZER_GONE: "It was ended because the organizer had left the meeting.",
}
_NEVER_DIALLED = frozenset({"cancelled", "expired", "not_originated"})
_NOT_PLACED = frozenset({"expired", "not_originated"})


def _refused(dial_out: DialOut) -> Step:
    reason = dial_out.reason
    assert reason is not None, "a refused dial-out has its reason"
    return Step(
        stage=Stage.REFUSED,
        at=dial_out.requested_at,
        text=REASON_TEXTS[reason].message,
        reason=reason,
    )


def _ended(dial_out: DialOut) -> Step:
    assert dial_out.ended_at is not None, "an ended dial-out has its end"
    return Step(
        stage=Stage.ENDED,
        at=dial_out.ended_at,
        text=_end_text(dial_out),
        disposition=dial_out.disposition,
        dropped=dial_out.dropped,
        billable_seconds=dial_out.billable_seconds,
        cost_micros=dial_out.cost_micros,
        currency=_currency(dial_out),
    )


def _end_text(dial_out: DialOut) -> str:
    if dial_out.evidence in _NOT_PLACED:
        return "The call could not be placed."
    if dial_out.disposition in _UNANSWERED:
        return _UNANSWERED[dial_out.disposition]
    sentences = [_bill_text(dial_out)]
    if dial_out.confirms and dial_out.joined_at is None:
        sentences.insert(0, "The telephone was answered, but nobody there pressed 1.")
    if dial_out.dropped is not None:
        sentences.append(_DROPPED[dial_out.dropped])
    return " ".join(sentences)


def _bill_text(dial_out: DialOut) -> str:
    lasted = f"The call lasted {clock(dial_out.billable_seconds or Seconds(0))}"
    currency = _currency(dial_out)
    if not dial_out.cost_micros or currency is None:
        return f"{lasted}."
    return f"{lasted} and cost {money(dial_out.cost_micros, currency)}."


def _currency(dial_out: DialOut) -> str | None:
    return next((part.currency for part in dial_out.parts if part.billed_micros), None)
