"""The calls that a gateway follows: by the channel that runs the gate, and by the leg it dialled.

Kept by the dialer; whoever watches a bridge looks here for what a channel is.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from gateway.core.call import Call, CallEvent, CallState
from gateway.core.dial_out import DialOutRequest
from gateway.core.key import DialOutKey
from gateway.core.verdict import CAP_GRACE_SECONDS
from gateway.ledger import Claim, ClaimOutcome, LedgerUnavailable

_MAY_RING = frozenset({CallState.RESERVED, CallState.RELEASED, CallState.DIALING})


@dataclass(slots=True, eq=False)
class LiveCall:
    """A call that this gateway follows.

    Instants are on the event loop's clock; from ``cap_at`` on it is hung up. ``claiming`` is
    the claim of a call that we originated, ``claimed_at`` when it was asked for, and
    ``released_at`` the same by the clock that dates it in the ledger.
    ``cancelled`` keeps a gate shut that has not been reached yet. ``dialled`` is set once
    the trunk is being dialled, or never will be. ``granted`` is what was released.
    ``answered`` is set once the telephone was, also where nobody saw it happen.
    """

    call: Call
    request: DialOutRequest
    born_at: float
    cap_at: float
    claiming: asyncio.Task[Claim | ClaimOutcome] | None = None
    claimed_at: float = 0.0
    released_at: datetime | None = None
    granted: Claim | None = None
    answered: bool = False
    cancelled: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    dialled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_answered(self) -> bool:
        """Whether somebody has picked up the telephone, and it is not known to be hung up."""
        return self.answered or self.call.state is CallState.ANSWERED

    @property
    def is_unanswered(self) -> bool:
        """Whether the telephone may still be rung, or be ringing, and is meant to."""
        return not (self.answered or self.cancelled) and self.call.state in _MAY_RING

    async def is_ours(self) -> bool | None:
        """Return whether we may end the call: we claimed it, or no claim of ours was needed.

        None if the ledger did not say whether it took the claim.
        """
        if self.claiming is None:
            return True
        try:
            return isinstance(await self.claiming, Claim)
        except LedgerUnavailable:
            return None

    def cancel(self, retry_seconds: float = 0.0) -> None:
        """Keep the call from its gate, and have it hung up in so long if it still is there."""
        self.cancelled = True
        self.cap_at = _time() + retry_seconds

    def may_last(self, seconds: float) -> None:
        """Take the call for overdue no sooner than Asterisk cuts it, and not much later."""
        if not self.cancelled:
            self.cap_at = _cap_at(seconds)


class LiveCalls:
    """All of them. ``gate`` is the uniqueid of the channel that runs the gate of a call."""

    def __init__(self) -> None:
        self._by_gate: dict[str, LiveCall] = {}
        self._by_leg: dict[str, LiveCall] = {}

    def __iter__(self) -> Iterator[LiveCall]:
        return iter(tuple(self._by_gate.values()))

    def __len__(self) -> int:
        return len(self._by_gate)

    def __contains__(self, gate: str) -> bool:
        return gate in self._by_gate

    def at_gate(self, gate: str) -> LiveCall | None:
        """Return the call whose gate this channel runs."""
        return self._by_gate.get(gate)

    def originated(self, gate: str) -> LiveCall | None:
        """Return the call whose gate this channel runs, if this gateway had it begun."""
        live = self._by_gate.get(gate)
        return None if live is None or live.claiming is None else live

    def of_leg(self, leg: str) -> LiveCall | None:
        """Return the call that has this leg on the trunk."""
        return self._by_leg.get(leg)

    def track(self, call: Call, request: DialOutRequest, seconds: int) -> LiveCall:
        """Follow a call that may live so long."""
        live = LiveCall(call=call, request=request, born_at=_time(), cap_at=_cap_at(seconds))
        self._by_gate[call.gate_uniqueid] = live
        return live

    def begin(self, live: LiveCall, leg: str) -> None:
        """Follow the telephone's leg, too."""
        live.call = live.call.dial_begun(leg)
        self._by_leg[leg] = live
        live.dialled.set()

    def forget(self, live: LiveCall) -> bool:
        """Follow a call no longer; return whether it was followed, and not another in its place."""
        gate = live.call.gate_uniqueid
        if self._by_gate.get(gate) is not live:
            return False
        del self._by_gate[gate]
        live.dialled.set()
        if live.call.trunk_uniqueid is not None:
            self._by_leg.pop(live.call.trunk_uniqueid, None)
        return True

    def link_lost(self) -> None:
        """From now on events may be missed: no call in hand is fully witnessed any more."""
        for live in self._by_gate.values():
            live.call = live.call.unwitnessed()

    # What others ask.

    def witnessed_keys(self) -> frozenset[DialOutKey]:
        """Return the keys of the calls of which everything was seen, and no end."""
        return frozenset(live.call.key for live in self._by_gate.values() if live.call.witnessed)

    def keys(self) -> Iterator[DialOutKey]:
        """Yield the keys of the calls that are up or on their way."""
        return (live.call.key for live in self._by_gate.values())

    def request(self, gate: str) -> DialOutRequest | None:
        """Return what asked for a call; None if none is followed there."""
        live = self._by_gate.get(gate)
        return None if live is None else live.request

    def call(self, gate: str) -> Call | None:
        """Return how far a call has come; None if none is followed there."""
        live = self._by_gate.get(gate)
        return None if live is None else live.call

    def unanswered(self) -> tuple[tuple[str, DialOutRequest], ...]:
        """Return the gate and the request of each call that nobody has answered yet."""
        return tuple(
            (gate, live.request) for gate, live in self._by_gate.items() if live.is_unanswered
        )

    def follows(self, gate: str) -> bool:
        """Return whether a call is followed there, and all of it was seen."""
        live = self._by_gate.get(gate)
        return live is not None and live.call.witnessed

    def has_released(self, gate: str, leg: str) -> bool:
        """Return whether this gateway let a channel dial, and ``leg`` is what came of it."""
        live = self._by_gate.get(gate)
        if live is None:
            return False
        if live.call.trunk_uniqueid is None:
            return live.call.follows(CallEvent.DIAL_BEGIN)
        return live.call.trunk_uniqueid == leg

    def leg_of(self, gate: str) -> str | None:
        """Return the leg on the trunk that a call has, if it is followed and has one."""
        live = self._by_gate.get(gate)
        return None if live is None else live.call.trunk_uniqueid

    def has_leg(self, leg: str) -> bool:
        """Return whether a leg on the trunk is of a call that is followed."""
        return leg in self._by_leg

    def has_for(self, conference_id: str) -> bool:
        """Return whether a call is up, or on its way, that is for a conference."""
        return any(live.request.conference_id == conference_id for live in self._by_gate.values())


def _cap_at(seconds: float) -> float:
    """Return when a call that may live so long is overdue, whatever Asterisk should do."""
    return _time() + seconds + 2 * CAP_GRACE_SECONDS


def _time() -> float:
    return asyncio.get_running_loop().time()
