"""What the gate is told when a channel may dial; ``dialout-release`` in the dialplan reads it."""

from dataclasses import dataclass

from gateway.core.e164 import E164
from gateway.core.key import DialOutKey
from gateway.core.rating import Seconds

CAP_GRACE_SECONDS = 10
"""The second limit in Asterisk, beyond ringing and talking: it ends what the first one missed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Good for one visit of the gate by one channel, and for the number in it.

    ``limit_seconds`` is how long the telephone may talk for now. That may be moved once it
    has answered; ``longest_seconds`` may not.
    """

    key: DialOutKey
    visit: str
    uniqueid: str
    destination: E164
    limit_seconds: Seconds
    longest_seconds: Seconds
    ring_seconds: Seconds
    caller_id: E164

    @property
    def cap_seconds(self) -> int:
        """How long the channel may live from the release on."""
        return self.ring_seconds + self.longest_seconds + CAP_GRACE_SECONDS

    @property
    def text(self) -> str:
        """The value of DIALOUT_VERDICT."""
        fields = (
            "allow",
            self.key.hex,
            self.visit,
            self.uniqueid,
            self.destination.removeprefix("+"),
            str(self.limit_seconds * 1000),
            str(self.cap_seconds),
            str(self.ring_seconds),
            self.caller_id.removeprefix("+"),
        )
        return ":".join(fields)
