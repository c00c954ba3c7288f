"""When evidence of calls may be missing, and what the clocks of two hosts tell of it.

An outage is reckoned by the clock of the Asterisk host, by which calls are billed, so that the
two can be compared. The gateway reads that clock when Asterisk answers it; what happens between
two readings is placed by a clock of the gateway that nobody can set, and that only counts on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from gateway.core.dial_out import BridgeName
from gateway.core.rating import Seconds

STEP_MS_MIN: Final = 2000
"""What clocks may differ between two readings before that is a step: they drift, and an answer
takes its time."""

DETAIL_LENGTH_MAX: Final = 200


class OutageKind(StrEnum):
    """What was away, or what could not be trusted."""

    LINK = "link"
    """One gateway had no link to the bridge."""
    ASTERISK = "asterisk"
    """Asterisk was not running: it has booted since its last sign of life."""
    LEDGER = "ledger"
    """The database did not answer one gateway."""
    GATEWAY = "gateway"
    """No gateway served the bridge."""
    CLOCK = "clock"
    """A host's clock was set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """An interval in which evidence of the calls of a bridge may be missing.

    Both instants are by the clock of the Asterisk host. ``detail`` says more of the cause.
    """

    outage_id: UUID
    bridge: BridgeName
    kind: OutageKind
    began_at: datetime
    ended_at: datetime
    detail: str

    @property
    def seconds(self) -> Seconds:
        """How long it lasted, in whole seconds."""
        return Seconds(int((self.ended_at - self.began_at).total_seconds()))

    def summary(self) -> dict[str, JsonValue]:
        """Return it as plain JSON values."""
        return {
            "outage_id": str(self.outage_id),
            "bridge": self.bridge,
            "kind": self.kind,
            "began_at": self.began_at.isoformat(timespec="milliseconds"),
            "ended_at": self.ended_at.isoformat(timespec="milliseconds"),
            "seconds": self.seconds,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What three clocks said at one moment, in milliseconds.

    ``asterisk_ms`` is that of the Asterisk host, read somewhere between ``asked_ms`` and
    ``answered_ms`` of the gateway's steady clock; ``gateway_ms`` is the gateway's own time of
    day at the answer.
    """

    asterisk_ms: int
    gateway_ms: int
    asked_ms: int
    answered_ms: int

    def asterisk_at(self, steady_ms: int) -> int:
        """Return what Asterisk's clock says when the steady clock says ``steady_ms``."""
        return self.asterisk_ms + steady_ms - self.answered_ms


def steps(before: Reading, after: Reading) -> Iterator[tuple[str, int]]:
    """Yield which clocks were set between two readings, and by how much: ahead is positive.

    That of Asterisk may have been read at any moment while its answer was awaited, so that
    nothing is concluded from a difference that such a wait explains.
    """
    steady_ms = after.answered_ms - before.answered_ms
    by_gateway_ms = after.gateway_ms - before.gateway_ms - steady_ms
    if abs(by_gateway_ms) >= STEP_MS_MIN:
        yield "the gateway's", by_gateway_ms
    awaited_ms = before.answered_ms - before.asked_ms + after.answered_ms - after.asked_ms
    by_asterisk_ms = after.asterisk_ms - before.asterisk_ms - steady_ms
    if abs(by_asterisk_ms) >= STEP_MS_MIN + awaited_ms:
        yield "Asterisk's", by_asterisk_ms


def step_detail(clock: str, by_ms: int) -> str:
    """Return in words whose clock was set by how much."""
    direction = "ahead" if by_ms > 0 else "back"
    return f"{clock} clock was set {abs(by_ms) / 1000:.1f} s {direction}"


def detail_of(text: str) -> str:
    """Return what others have said of a cause, as it may be kept: printable and not long."""
    return "".join(each if each.isprintable() else " " for each in text)[:DETAIL_LENGTH_MAX]
