"""What is known of one request: everything that policy must know before it can decide."""

from datetime import datetime
from functools import partial
from uuid import UUID

from gateway.core.dial_out import DialOutKind, DialOutRequest
from gateway.core.e164 import (
    Destination,
    NumberRefusal,
    Region,
    prefix_reach,
    read_number,
)
from gateway.core.facts import (
    AskerRole,
    Callee,
    DestinationFacts,
    Facts,
    MeetingFacts,
    OrganizerId,
    TenantFacts,
)
from gateway.ledger import DestinationAnswer, Ledger, MeetingPermissions, TriedDeck


class Inquiry:
    """Asks the ledger, and reads the digits as the person means them who typed them.

    ``toll_free_regions`` are the countries whose toll-free numbers the trunk reaches.
    """

    def __init__(self, *, ledger: Ledger, toll_free_regions: frozenset[Region]) -> None:
        self._ledger = ledger
        self._toll_free_regions = toll_free_regions

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
                request.key.tenant_id, number, at, organizer_id=request.organizer_id
            ),
            limits=who.limits,
        )

    async def destination(
        self,
        tenant_id: UUID,
        number: Destination | NumberRefusal,
        at: datetime,
        *,
        tried: TriedDeck | None = None,
        organizer_id: OrganizerId | None = None,
    ) -> DestinationFacts | None:
        """Return what is known of a number; None for what is no number."""
        if isinstance(number, NumberRefusal):
            return None
        answer = await self._ledger.destination_facts(
            tenant_id, number, at, tried=tried, organizer_id=organizer_id
        )
        return _destination(number, answer, number.region in self._toll_free_regions)


def _meeting(
    request: DialOutRequest,
    tenant: TenantFacts,
    own: MeetingPermissions | None,
    reading_region: Region,
) -> MeetingFacts:
    choices = tenant.choices
    facts = partial(MeetingFacts, asker=_asker(request), reading_region=reading_region)
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


def _destination(
    number: Destination, answer: DestinationAnswer, trunk_serves: bool
) -> DestinationFacts:
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
        trunk_serves=trunk_serves,
        called_today=answer.called_today,
    )
