"""What the ledger said lately of those who ask and of whom they call, for when it says nothing.

Whoever has not asked of late, and whatever number was not asked for, is not known here: nobody
is let call on a guess. The memory is bounded; what was used longest ago goes first.
"""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from gateway.core.dial_out import DialOutRequest
from gateway.core.e164 import E164, Destination
from gateway.core.facts import OrganizerId
from gateway.core.rating import Rate
from gateway.ledger import DestinationAnswer, LedgerUnavailable, OrganizerAnswer, TriedDeck

ANSWERS_MAX = 5000
"""How many askers are remembered, and how many numbers: together some 20 MB."""

_Asker = tuple[UUID, OrganizerId, str | None, str]
_Number = tuple[UUID, OrganizerId | None, E164]

K = TypeVar("K")
V = TypeVar("V")


class Memory:
    """Answers as the ledger did, for ``seconds_max`` after it did; ``clock`` counts seconds.

    Raises ``LedgerUnavailable`` for whatever it does not know.
    """

    def __init__(self, *, seconds_max: float, clock: Callable[[], float]) -> None:
        self._askers: _Lately[_Asker, OrganizerAnswer] = _Lately(seconds_max, clock)
        self._numbers: _Lately[_Number, DestinationAnswer] = _Lately(seconds_max, clock)

    def note_organizer(self, request: DialOutRequest, answer: OrganizerAnswer) -> None:
        """Remember what the ledger said of those whom a request names."""
        self._askers.note(_asker(request), answer)

    def note_destination(
        self,
        tenant_id: UUID,
        destination: Destination,
        organizer_id: OrganizerId | None,
        answer: DestinationAnswer,
    ) -> None:
        """Remember what the ledger said of a number, by the tenant's own deck."""
        self._numbers.note((tenant_id, organizer_id, destination.e164), answer)

    async def organizer_facts(self, request: DialOutRequest, at: datetime) -> OrganizerAnswer:
        """Return what was said of those whom a request names, and of their meeting."""
        return self._askers.last(_asker(request))

    async def destination_facts(
        self,
        tenant_id: UUID,
        destination: Destination,
        at: datetime,
        *,
        tried: TriedDeck | None = None,
        organizer_id: OrganizerId | None = None,
    ) -> DestinationAnswer:
        """Return what was said of this very number when the organizer called it."""
        return self._numbers.last((tenant_id, organizer_id, destination.e164))

    async def inbound_rate(self, tenant_id: UUID, number: Destination, at: datetime) -> Rate | None:
        """Raise: no telephone is let in on what was known before."""
        raise LedgerUnavailable("What it costs to call in is not remembered.")


class _Lately(Generic[K, V]):
    """Values that are good for so many seconds, the latest ``ANSWERS_MAX`` of them."""

    def __init__(self, seconds_max: float, clock: Callable[[], float]) -> None:
        self._seconds_max = seconds_max
        self._clock = clock
        self._values: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def note(self, name: K, value: V) -> None:
        self._values[name] = (self._clock(), value)
        self._values.move_to_end(name)
        if len(self._values) > ANSWERS_MAX:
            self._values.popitem(last=False)

    def last(self, name: K) -> V:
        noted_at, value = self._values.get(name, (float("-inf"), None))
        if value is None or self._clock() - noted_at > self._seconds_max:
            raise LedgerUnavailable("The ledger does not answer, and has not of this for long.")
        return value


def _asker(request: DialOutRequest) -> _Asker:
    return (
        request.key.tenant_id,
        request.organizer_id,
        request.initiator_id,
        request.conference_id,
    )
