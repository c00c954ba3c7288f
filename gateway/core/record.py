"""The record that the Asterisk host keeps of a call until the gateway has settled it."""

import re
from dataclasses import dataclass
from typing import Self

from gateway.core.call import Ending
from gateway.core.causes import Disposition, is_answer, unanswered

FAMILY = "dialout/ended"
"""Where the records lie in AstDB; below it the key's 64 hex digits."""

_RECORD = re.compile(
    r"(?P<uniqueid>[^:]{1,149}):(?P<end>[0-9]{13}):(?P<answered>[0-9]{0,9})"
    r":(?P<cause>[0-9]{0,3}):(?P<status>[A-Z]{0,16})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """What the hangup handler of the gate's channel wrote. Times in milliseconds."""

    gate_uniqueid: str
    ended_at_ms: int
    answered_ms: int | None
    hangup_cause: int
    dial_status: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the record, or None if ``text`` is not one.

        Anybody who may originate can write into AstDB, so no number in it may be so large
        that it breaks whoever reckons with it: nine digits of milliseconds are eleven days.
        """
        match = _RECORD.fullmatch(text)
        if match is None:
            return None
        return cls(
            gate_uniqueid=match["uniqueid"],
            ended_at_ms=int(match["end"]),
            answered_ms=int(match["answered"]) if match["answered"] else None,
            hangup_cause=int(match["cause"] or 0),
            dial_status=match["status"],
        )

    def ending(self, noted_ms: int | None = None) -> Ending:
        """Return how the call ended. Answered for no time at all is answered all the same.

        ``noted_ms`` is when somebody saw the telephone answer, None if nobody did. It counts
        where the record has no length: a call that a Redirect tore down lasted all the same.
        """
        answered_at_ms = None
        if not is_answer(self.dial_status):
            what = unanswered(self.dial_status, self.hangup_cause)
        else:
            what = Disposition.ANSWERED
            answered_at_ms = self._answered_at_ms(noted_ms)
        return Ending(
            disposition=what,
            hangup_cause=self.hangup_cause,
            answered_at_ms=answered_at_ms,
            ended_at_ms=self.ended_at_ms,
            evidence="record",
        )

    def _answered_at_ms(self, noted_ms: int | None) -> int:
        if self.answered_ms is not None:
            return self.ended_at_ms - self.answered_ms
        return self.ended_at_ms if noted_ms is None else min(noted_ms, self.ended_at_ms)
