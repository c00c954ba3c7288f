"""What is known of one request: everything that policy must know before it can decide."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import partial
from typing import Protocol
from uuid import UUID

from gateway.core.dial_out import BridgeName, DialOutKind, DialOutRequest
from gateway.core.e164 import (
    Destination,
    NumberRefusal,
    Region,
    prefix_reach,
    read_number,
)
from gateway.core.facts import (
    AskerRole,
    Blocks,
    Callee,
    DestinationFacts,
    Facts,
    MeetingFacts,
    OrganizerId,
    TenantFacts,
)
from gateway.core.rating import Rate
from gateway.core.trunk import Trunk
from gateway.ledger import DestinationAnswer, MeetingPermissions, OrganizerAnswer, TriedDeck
from gateway.waiting_room import PATIENCE_SECONDS, Overloaded, WaitingRoom

_NO_TRUNK = Trunk(regions=frozenset())
"""Of a bridge that is not in the settings: it reaches nothing."""


class Reference(Protocol):
    """Who says what is known: the ledger, or who remembers what it said. As ``Ledger`` does."""

    async def organizer_facts(self, request: DialOutRequest, at: datetime) -> OrganizerAnswer:
        """Return what is known of those whom a request names, and of their meeting."""

    async def destination_facts(
        self,
        tenant_id: UUID,
        destination: Destination,
        at: datetime,
        *,
        tried: TriedDeck | None = None,
        organizer_id: OrganizerId | None = None,
    ) -> DestinationAnswer:
        """Return what is known of a destination."""

    async def inbound_rate(self, tenant_id: UUID, number: Destination, at: datetime) -> Rate | None:
        """Return what it costs to call a service number."""


class Inquiry:
    """Asks the ledger, and reads the digits as the person means them who typed them.

    ``trunks`` say what each bridge reaches, ``room`` how many may ask at once.
    """

    def __init__(
        self,
        *,
        ledger: Reference,
        trunks: Mapping[BridgeName, Trunk],
        room: WaitingRoom | None = None,
    ) -> None:
        self._ledger = ledger
        self._trunks = trunks
        self._room = room or WaitingRoom()

    def place(
        self, tenant_id: UUID, *, patience_seconds: float = PATIENCE_SECONDS
    ) -> AbstractAsyncContextManager[None]:
        """Return what a tenant's requests are to hold from the first fact to the reservation.

        Entering it raises ``Overloaded``, see ``WaitingRoom.place``.
        """
        return self._room.place(tenant_id, patience_seconds=patience_seconds)

    def turn_away(self, *, retry_seconds: float) -> Overloaded:
        """Return what is to be raised to somebody whom other reasons leave no room for."""
        return self._room.turn_away(retry_seconds=retry_seconds)

    def knows(self, bridge: BridgeName) -> bool:
        """Return whether it is known what a bridge reaches."""
        return bridge in self._trunks

    async def facts(self, request: DialOutRequest, at: datetime) -> Facts:
        """Return what counts for ``request`` at ``at``. Raises ``LedgerUnavailable``."""
        who = await self._ledger.organizer_facts(request, at)
        if who.tenant is None or who.organizer is None:
            return Facts(
                tenant=who.tenant,
                organizer=who.organizer,
                meeting=None,
                number=None,
                destination=None,
            )
        meeting = _meeting(
            request, who.tenant, who.meeting, who.initiator_region or who.organizer.region
        )
        number = read_number(request.number_typed, meeting.reading_region, who.organizer.region)
        return Facts(
            tenant=who.tenant,
            organizer=who.organizer,
            meeting=meeting,
            number=number,
            destination=await self.destination(
                request.key.tenant_id,
                number,
                at,
                bridge=request.bridge,
                organizer_id=request.organizer_id,
            ),
            limits=who.limits,
        )

    async def dial_in_facts(self, request: DialOutRequest, at: datetime) -> Facts:
        """Return what counts for a telephone that calls in; its number is the service number.

        Raises ``LedgerUnavailable``.
        """
        who = await self._ledger.organizer_facts(request, at)
        if who.tenant is None or who.organizer is None:
            return Facts(
                tenant=who.tenant,
                organizer=who.organizer,
                meeting=None,
                number=None,
                destination=None,
            )
        number = read_number(request.number_typed, who.organizer.region, who.organizer.region)
        return Facts(
            tenant=who.tenant,
            organizer=who.organizer,
            meeting=_meeting(request, who.tenant, who.meeting, who.organizer.region),
            number=number,
            destination=await self._service_number(request.key.tenant_id, number, at),
            limits=who.limits,
        )

    async def _service_number(
        self, tenant_id: UUID, number: Destination | NumberRefusal, at: datetime
    ) -> DestinationFacts | None:
        if isinstance(number, NumberRefusal):
            return None
        rate = await self._ledger.inbound_rate(tenant_id, number, at)
        return DestinationFacts(
            zones=frozenset(),
            blocks=Blocks(),
            rate=rate,
            rate_regions=frozenset(),
            rate_is_exact=False,
            trunk_serves=True,
        )

    async def destination(
        self,
        tenant_id: UUID,
        number: Destination | NumberRefusal,
        at: datetime,
        *,
        bridge: BridgeName,
        tried: TriedDeck | None = None,
        organizer_id: OrganizerId | None = None,
    ) -> DestinationFacts | None:
        """Return what is known of a number that ``bridge`` may call; None for what is no number."""
        if isinstance(number, NumberRefusal):
            return None
        answer = await self._ledger.destination_facts(
            tenant_id, number, at, tried=tried, organizer_id=organizer_id
        )
        return _destination(number, answer, self._trunks.get(bridge, _NO_TRUNK))


def _meeting(
    request: DialOutRequest,
    tenant: TenantFacts,
    own: MeetingPermissions | None,
    reading_region: Region,
) -> MeetingFacts:
    choices = tenant.choices
    facts = partial(
        MeetingFacts,
        asker=_asker(request),
        reading_region=reading_region,
        organizer_matches=(
            own is None or own.organizer_id is None or own.organizer_id == request.organizer_id
        ),
    )
    if request.kind is DialOutKind.CALL_ME:
        permission = own.to_self if own else choices.meeting_to_self
        return facts(callee=Callee.SELF, permission=permission)
    permission = own.to_third_party if own else choices.meeting_to_third_party
    return facts(callee=Callee.THIRD_PARTY, permission=permission)


def _asker(request: DialOutRequest) -> AskerRole:
    if request.initiator_id is None:
        return AskerRole.ANONYMOUS
    if request.initiator_id == request.organizer_id:
        return AskerRole.ORGANIZER
    return AskerRole.AUTHENTICATED


def _destination(number: Destination, answer: DestinationAnswer, trunk: Trunk) -> DestinationFacts:
    regions: frozenset[Region] = frozenset()
    is_exact = False
    if answer.rate is not None:
        reach = prefix_reach(answer.rate.prefix)
        regions = reach.regions if answer.rate.regions is None else answer.rate.regions
        is_exact = reach.is_exact
    return DestinationFacts(
        zones=answer.zones,
        blocks=answer.blocks,
        rate=answer.rate,
        rate_regions=regions,
        rate_is_exact=is_exact,
        trunk_serves=number.region in trunk.toll_free_regions,
        trunk_reaches=trunk.regions is None or number.region in trunk.regions,
        called_today=answer.called_today,
    )
