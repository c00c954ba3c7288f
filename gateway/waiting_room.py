"""Where requests wait to be decided: a few are decided at once, some wait, the others are told.

A request that is answered too late has cost the ledger as much as one that is answered in time,
and helps nobody. So whoever would have to wait for longer than patience lasts is turned away at
once, and hears when there may be room. No tenant can fill the room for the others.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import ceil
from uuid import UUID

import structlog

from gateway import metrics

log = structlog.get_logger()

TENANT_REQUESTS_MAX = 4
"""Requests of one tenant that are decided at once, those that only ask among them. Those that
reserve queue for the tenant's row in any case; so all of them queue here, and leave the other
connections to the other tenants: one at least, if there are two at all."""

TENANT_SHARE = 2
"""No tenant has more than one in so many of the places to wait."""

PATIENCE_SECONDS = 1.0
"""How long whoever does not say waits. The gate gives up after three seconds, in which there must
be room for the decision, too, which takes the ledger two at most."""

LAG_SECONDS_MAX = 1.0
"""How late the event loop may be for anybody to be let in: what the calls in progress need of it
goes first, and whoever came in would be told too late."""

RETRY_SECONDS_MAX = 30
"""The longest time that anybody is asked to stay away for."""

OTHERS_SECONDS = 0.5
"""How long a gateway without room leaves it to the others beside the same Asterisk to answer."""

_PACE_WEIGHT = 0.1
_TOLD_SECONDS = 1.0


class Overloaded(Exception):
    """More is asked for than can be answered in time. Nothing was begun; use the same id again.

    There may be room in ``retry_seconds``, whole ones.
    """

    def __init__(self, *, retry_seconds: int) -> None:
        super().__init__(f"there may be room in {retry_seconds} s")
        self.retry_seconds = retry_seconds


@dataclass(slots=True, eq=False)
class _Decided:
    """A request that is being decided, since an instant on the event loop's clock."""

    tenant_id: UUID
    since: float


class WaitingRoom:
    """Lets so many requests be decided ``at_once``, and so many more wait, oldest first."""

    def __init__(self, *, at_once: int = 2 * TENANT_REQUESTS_MAX, waiting_max: int = 100) -> None:
        self._at_once = at_once
        self._tenant_max = max(1, min(TENANT_REQUESTS_MAX, at_once - 1))
        self._waiting_max = waiting_max
        self._decided: set[_Decided] = set()
        self._waiting: dict[asyncio.Future[_Decided], UUID] = {}
        self._pace_seconds = 0.0
        self._lag_seconds = 0.0
        self._told_at = 0.0
        self._untold = 0

    @asynccontextmanager
    async def place(
        self, tenant_id: UUID, *, patience_seconds: float = PATIENCE_SECONDS
    ) -> AsyncIterator[None]:
        """Lend what a request is to hold from the first fact to the reservation.

        Raises ``Overloaded``: at once if there is no room, if the gateway itself is late, or if
        the wait is expected to outlast the patience; else when it has.
        """
        if self._lag_seconds > LAG_SECONDS_MAX:
            raise self.turn_away(retry_seconds=self._lag_seconds)
        decided = (
            self._admit(tenant_id)
            if self._has_room(tenant_id)
            else await self._turn(tenant_id, patience_seconds)
        )
        try:
            yield
        finally:
            self._leave(decided)

    def note_lag(self, seconds: float) -> None:
        """Take note of by how much the event loop is late now."""
        self._lag_seconds = seconds

    def turn_away(self, *, retry_seconds: float) -> Overloaded:
        """Count somebody for whom there is no room; return what is to be raised."""
        metrics.turned_away()
        self._untold += 1
        if _time() >= self._told_at + _TOLD_SECONDS:
            log.warning("requests.overloaded", refused=self._untold, waiting=len(self._waiting))
            self._told_at, self._untold = _time(), 0
        return Overloaded(retry_seconds=min(RETRY_SECONDS_MAX, max(1, ceil(retry_seconds))))

    async def _turn(self, tenant_id: UUID, patience_seconds: float) -> _Decided:
        """Wait for a place."""
        expected_seconds = self._expected_seconds(tenant_id)
        if self._is_full_for(tenant_id) or expected_seconds > patience_seconds:
            raise self.turn_away(retry_seconds=expected_seconds)
        turn: asyncio.Future[_Decided] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = tenant_id
        try:
            async with asyncio.timeout(patience_seconds):
                return await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._leave(turn.result())  # it was our turn in the moment in which we gave up
            if isinstance(error, TimeoutError):
                raise self.turn_away(retry_seconds=self._expected_seconds(tenant_id)) from None
            raise
        finally:
            self._waiting.pop(turn, None)

    def _has_room(self, tenant_id: UUID) -> bool:
        return len(self._decided) < self._at_once and self._of(tenant_id) < self._tenant_max

    def _is_full_for(self, tenant_id: UUID) -> bool:
        own_max = ceil(self._waiting_max / TENANT_SHARE)
        return len(self._waiting) >= self._waiting_max or self._own_waiting(tenant_id) >= own_max

    def _admit(self, tenant_id: UUID) -> _Decided:
        decided = _Decided(tenant_id, _time())
        self._decided.add(decided)
        return decided

    def _leave(self, decided: _Decided) -> None:
        self._decided.discard(decided)
        self._pace_seconds += _PACE_WEIGHT * (_time() - decided.since - self._pace_seconds)
        for turn, tenant_id in list(self._waiting.items()):
            if not turn.done() and self._has_room(tenant_id):
                turn.set_result(self._admit(tenant_id))

    def _expected_seconds(self, tenant_id: UUID) -> float:
        """Return how long one more would wait, by how fast others were, and by who is slow now."""
        turns = ceil((self._own_waiting(tenant_id) + 1) / self._tenant_max)
        in_the_way = [each for each in self._decided if each.tenant_id == tenant_id]
        if len(self._decided) >= self._at_once:
            turns = max(turns, ceil((len(self._waiting) + 1) / self._at_once))
            in_the_way = list(self._decided)
        slowest_seconds = max((_time() - each.since for each in in_the_way), default=0.0)
        return turns * max(self._pace_seconds, slowest_seconds)

    def _of(self, tenant_id: UUID) -> int:
        return sum(each.tenant_id == tenant_id for each in self._decided)

    def _own_waiting(self, tenant_id: UUID) -> int:
        return sum(each == tenant_id for each in self._waiting.values())


def _time() -> float:
    return asyncio.get_running_loop().time()
