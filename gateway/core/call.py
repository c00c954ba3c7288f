"""What Asterisk did about one dial-out: a state machine in one table.

Everything that may follow what is in ``_NEXT``. An event that does not fit changes
nothing and says so: channels are separate topics in Asterisk, so events of two channels
may overtake each other, and a reconnect may leave some out.

This file does not know of AMI, of the ledger, or of money.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Self

from gateway.core.causes import Disposition, is_answer, unanswered
from gateway.core.key import DialOutKey


class CallState(StrEnum):
    """How far the call has come."""

    RESERVED = "reserved"
    RELEASED = "released"
    DIALING = "dialing"
    ANSWERED = "answered"
    HUNG_UP = "hung_up"
    ENDED = "ended"


class CallEvent(StrEnum):
    """What can happen to a call."""

    RELEASE = "release"
    DIAL_BEGIN = "dial_begin"
    DIAL_ANSWER = "dial_answer"
    DIAL_FAIL = "dial_fail"
    TRUNK_HANGUP = "trunk_hangup"
    GATE_HANGUP = "gate_hangup"


_NEXT: Mapping[CallState, Mapping[CallEvent, CallState]] = {
    CallState.RESERVED: {
        CallEvent.RELEASE: CallState.RELEASED,
        CallEvent.GATE_HANGUP: CallState.ENDED,
    },
    CallState.RELEASED: {
        CallEvent.DIAL_BEGIN: CallState.DIALING,
        CallEvent.GATE_HANGUP: CallState.ENDED,
    },
    CallState.DIALING: {
        CallEvent.DIAL_ANSWER: CallState.ANSWERED,
        CallEvent.DIAL_FAIL: CallState.HUNG_UP,
        CallEvent.TRUNK_HANGUP: CallState.HUNG_UP,
        CallEvent.GATE_HANGUP: CallState.ENDED,
    },
    CallState.ANSWERED: {
        CallEvent.TRUNK_HANGUP: CallState.HUNG_UP,
        CallEvent.GATE_HANGUP: CallState.ENDED,
    },
    CallState.HUNG_UP: {
        CallEvent.DIAL_FAIL: CallState.HUNG_UP,
        CallEvent.TRUNK_HANGUP: CallState.HUNG_UP,
        CallEvent.GATE_HANGUP: CallState.ENDED,
    },
    CallState.ENDED: {},
}


class Unproved(StrEnum):
    """What is billed of a call whose end nothing proves: the least it lasted, or the most."""

    LEAST = "least"
    MOST = "most"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a call ended, and how we know.

    Times are milliseconds of the Asterisk host's clock. ``answered_at_ms`` is None when
    nobody answered; nothing is billed then. ``ended_at_ms`` is when the telephone's leg
    hung up, or when the gate's channel did if there never was such a leg.

    ``latest_end_ms`` is None where that is proved. Else the end was not before ``ended_at_ms``
    and not after ``latest_end_ms``; of a call that nobody is known to have answered, nothing
    proves that nobody did. ``released_at`` is the release that it is about, by the ledger's
    record, if another may have come after it; else None.
    """

    disposition: Disposition
    hangup_cause: int
    answered_at_ms: int | None
    ended_at_ms: int
    evidence: str
    latest_end_ms: int | None = None
    released_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call as far as it has been seen. Values never change; each event gives a new one.

    ``witnessed`` says that every event since the release was seen. Without it, silence
    proves nothing: a call that seems never to have been dialled may have been answered
    while nobody looked. Nor does it where the gate was told to dial, ``may_dial``: Asterisk
    may leave out an event, and a failed dial tells of itself.
    """

    key: DialOutKey
    gate_uniqueid: str
    state: CallState = CallState.RESERVED
    witnessed: bool = True
    may_dial: bool = False
    trunk_uniqueid: str | None = None
    dial_status: str | None = None
    answered_at_ms: int | None = None
    hung_up_at_ms: int | None = None
    hangup_cause: int | None = None

    def follows(self, event: CallEvent) -> bool:
        """Return whether ``event`` may follow what has been seen."""
        return event in _NEXT[self.state]

    def released(self) -> Self:
        """The gate has been told to dial."""
        return replace(self._after(CallEvent.RELEASE), may_dial=True)

    def dial_begun(self, trunk_uniqueid: str) -> Self:
        """The INVITE is being sent; from here on the telephone's leg has a name."""
        return replace(self._after(CallEvent.DIAL_BEGIN), trunk_uniqueid=trunk_uniqueid)

    def dial_ended(self, dial_status: str, at_ms: int) -> Self:
        """The telephone answered, or the attempt is over."""
        if is_answer(dial_status):
            return replace(
                self._after(CallEvent.DIAL_ANSWER), dial_status=dial_status, answered_at_ms=at_ms
            )
        return replace(self._after(CallEvent.DIAL_FAIL), dial_status=dial_status)

    def trunk_hung_up(self, cause: int, at_ms: int) -> Self:
        """The telephone's leg is gone. This is where billing ends."""
        return replace(self._after(CallEvent.TRUNK_HANGUP), hung_up_at_ms=at_ms, hangup_cause=cause)

    def gate_hung_up(self) -> Self:
        """The channel that ran the gate is gone, and with it everything it dialled."""
        return self._after(CallEvent.GATE_HANGUP)

    def unwitnessed(self) -> Self:
        """Events may have been missed."""
        return replace(self, witnessed=False)

    def ending(self, *, gate_cause: int, gate_at_ms: int) -> Ending | None:
        """Return how the call ended, or None if what was seen does not prove it.

        ``gate_cause`` and ``gate_at_ms`` are of the hangup of the gate's own channel. The
        None is the case for the record that the Asterisk host keeps.
        """
        if self.answered_at_ms is not None:
            if self.hung_up_at_ms is None:
                return None
            return Ending(
                disposition=Disposition.ANSWERED,
                hangup_cause=gate_cause if self.hangup_cause is None else self.hangup_cause,
                answered_at_ms=self.answered_at_ms,
                ended_at_ms=self.hung_up_at_ms,
                evidence="events",
            )
        if not self.witnessed or (self.may_dial and self.dial_status is None):
            return None
        cause = gate_cause if self.hangup_cause is None else self.hangup_cause
        return Ending(
            disposition=Disposition.FAILED
            if self.dial_status is None
            else unanswered(self.dial_status, cause),
            hangup_cause=cause,
            answered_at_ms=None,
            ended_at_ms=gate_at_ms if self.hung_up_at_ms is None else self.hung_up_at_ms,
            evidence="events",
        )

    def undialled(self, *, gate_cause: int, gate_at_ms: int) -> Ending | None:
        """Return how a call ended that was let dial, and of which the host has no record at all.

        The gate's channel writes one at its end from before it dials. So without one it never
        did, if nothing else was seen that says so; else None.
        """
        if not self.witnessed or self.trunk_uniqueid is not None:
            return None
        return Ending(
            disposition=Disposition.FAILED,
            hangup_cause=gate_cause,
            answered_at_ms=None,
            ended_at_ms=gate_at_ms,
            evidence="events",
        )

    def _after(self, event: CallEvent) -> Self:
        assert self.follows(event), f"{event} does not follow {self.state}"
        return replace(self, state=_NEXT[self.state][event])
