"""The far end of the trunk: telephones that do as planned, and the truth of what they did.

Nothing here reaches the gateway. What it bills is held against this.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.simulator.clock import Clock


class Pickup(StrEnum):
    """What a telephone does when it is called."""

    ANSWERS = "answers"
    BUSY = "busy"
    SILENT = "silent"
    """It rings for as long as it is let."""
    UNKNOWN = "unknown"
    """There is no such number."""
    CONGESTED = "congested"


@dataclass(frozen=True, slots=True, kw_only=True)
class Telephone:
    """How one telephone behaves. Times in milliseconds of the Asterisk host's clock.

    ``ring_ms`` passes before it answers or refuses. One whose ``talk_ms`` is None never hangs
    up by itself.
    """

    pickup: Pickup = Pickup.ANSWERS
    ring_ms: int = 200
    talk_ms: int | None = None


class Signal(StrEnum):
    """What the carrier tells Asterisk about a call that was dialled."""

    RINGS = "rings"
    ANSWERS = "answers"
    REFUSES = "refuses"
    HANGS_UP = "hangs_up"


class EndedBy(StrEnum):
    """Who ended a call, as the carrier saw it."""

    TELEPHONE = "telephone"
    BRIDGE = "bridge"
    DEATH = "death"
    """Asterisk was killed: from then on nobody heard what was said."""


@dataclass(slots=True, kw_only=True, eq=False)
class CarrierCall:
    """One INVITE and what came of it. Times in milliseconds of the Asterisk host's clock.

    ``number`` is as dialled, with its plus. ``key`` is that of the dial-out whose verdict let
    it be dialled, ``leg`` the uniqueid of the channel. ``recorded`` is whether Asterisk lived to
    write its end down.
    """

    number: str
    caller: str
    key: str
    leg: str
    telephone: Telephone
    invited_at_ms: int
    rang_at_ms: int | None = None
    answered_at_ms: int | None = None
    ended_at_ms: int | None = None
    ended_by: EndedBy | None = None
    recorded: bool = False
    _tell: Callable[[Signal], None] = field(repr=False)
    _timer: asyncio.TimerHandle | None = field(default=None, repr=False)

    @property
    def talked_ms(self) -> int | None:
        """How long the telephone was up; zero if nobody answered, None while it is up."""
        if self.answered_at_ms is None:
            return 0
        return None if self.ended_at_ms is None else self.ended_at_ms - self.answered_at_ms


class Carrier:
    """Every telephone that can be dialled, and every call that was."""

    def __init__(self, clock: Clock) -> None:
        self.calls: list[CarrierCall] = []
        """All that were dialled, in order."""
        self._clock = clock
        self._telephones: dict[str, tuple[Telephone, ...]] = {}
        self._dialled: defaultdict[str, int] = defaultdict(int)
        self._up: set[CarrierCall] = set()

    def plan(self, number: str, *telephones: Telephone) -> None:
        """Have the n-th call to a number, with its plus, meet the n-th of these telephones.

        Later calls meet the last one. A number without a plan answers until it is hung up.
        """
        self._telephones[number] = telephones

    def calls_to(self, number: str) -> tuple[CarrierCall, ...]:
        """Return the calls to a number, with its plus, in order."""
        return tuple(call for call in self.calls if call.number == number)

    def forget_ended(self) -> tuple[CarrierCall, ...]:
        """Return the calls that have ended, and keep them no longer: a long run has many.

        How often a number was called is forgotten, too, where none of its calls is left.
        """
        ended = tuple(call for call in self.calls if call.ended_at_ms is not None)
        self.calls = [call for call in self.calls if call.ended_at_ms is None]
        for number in {call.number for call in ended} - {call.number for call in self.calls}:
            del self._dialled[number]
        return ended

    def invite(
        self, *, number: str, caller: str, key: str, leg: str, tell: Callable[[Signal], None]
    ) -> CarrierCall:
        """Take an INVITE. What becomes of it is told until the call has ended, never at once."""
        call = CarrierCall(
            number=number,
            caller=caller,
            key=key,
            leg=leg,
            telephone=self._telephone(number),
            invited_at_ms=self._clock.now_ms(),
            _tell=tell,
        )
        self._dialled[number] += 1
        self.calls.append(call)
        self._up.add(call)
        if call.telephone.pickup in (Pickup.ANSWERS, Pickup.SILENT):
            self._after(call, 0, self._ring)
        else:
            self._after(call, call.telephone.ring_ms, self._refuse)
        return call

    def hang_up(self, call: CarrierCall) -> None:
        """End a call from the bridge's side, unless it has ended."""
        self._end(call, EndedBy.BRIDGE)

    def lose_bridge(self) -> None:
        """End every call: Asterisk is no more."""
        for call in tuple(self._up):
            self._end(call, EndedBy.DEATH)

    def _telephone(self, number: str) -> Telephone:
        planned = self._telephones.get(number)
        if not planned:
            return Telephone()
        return planned[min(self._dialled[number], len(planned) - 1)]

    def _ring(self, call: CarrierCall) -> None:
        call.rang_at_ms = self._clock.now_ms()
        if call.telephone.pickup is Pickup.ANSWERS:
            self._after(call, call.telephone.ring_ms, self._answer)
        call._tell(Signal.RINGS)

    def _answer(self, call: CarrierCall) -> None:
        call.answered_at_ms = self._clock.now_ms()
        if call.telephone.talk_ms is not None:
            self._after(call, call.telephone.talk_ms, self._leave)
        call._tell(Signal.ANSWERS)

    def _refuse(self, call: CarrierCall) -> None:
        self._end(call, EndedBy.TELEPHONE)
        call._tell(Signal.REFUSES)

    def _leave(self, call: CarrierCall) -> None:
        self._end(call, EndedBy.TELEPHONE)
        call._tell(Signal.HANGS_UP)

    def _end(self, call: CarrierCall, by: EndedBy) -> None:
        if call not in self._up:
            return
        self._up.remove(call)
        call.ended_at_ms = self._clock.now_ms()
        call.ended_by = by
        if call._timer is not None:
            call._timer.cancel()
            call._timer = None

    def _after(
        self, call: CarrierCall, milliseconds: int, do: Callable[[CarrierCall], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        call._timer = loop.call_later(self._clock.seconds(milliseconds), do, call)
