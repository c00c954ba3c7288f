"""One request, from what was asked to what the ledger set aside: facts, decision, reservation."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID
from weakref import WeakValueDictionary

from gateway.core.dial_out import DialOut, DialOutRequest, Terms
from gateway.core.e164 import Destination, read_number
from gateway.core.explanation import explanation
from gateway.core.policy import Allow, Deny, Facts, decide
from gateway.ledger import Ledger, RequestOutcome

UNCLAIMED_SECONDS_MAX = 30
"""How long a reservation waits for its gate. The gate is reached in milliseconds."""


TENANT_REQUESTS_MAX = 4
"""Requests of one tenant that use a connection at once. They queue for the tenant's row in
any case; so they queue here, and leave the other connections to the other tenants."""


class Admission:
    """Decides a request and has the ledger set aside what the call may cost."""

    def __init__(self, *, ledger: Ledger, terms: Terms) -> None:
        self._ledger = ledger
        self._terms = terms
        self._places: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()

    async def admit(
        self, request: DialOutRequest, *, at: datetime, gate_uniqueid: str | None = None
    ) -> tuple[RequestOutcome, DialOut | None]:
        """Return what the ledger did with the request, and its row.

        The row is None only for a tenant that does not exist: there is nobody to record
        it under. ``gate_uniqueid`` names a channel that waits in the gate already; the
        reservation is then claimed for it in the same transaction.

        Raises ``LedgerUnavailable``; whether anything was written is then unknown, and
        asking again with the same key finds out.
        """
        async with self._place(request.key.tenant_id):
            return await self._admit(request, at, gate_uniqueid)

    def _place(self, tenant_id: UUID) -> asyncio.Semaphore:
        place = self._places.get(tenant_id)
        if place is None:
            place = self._places[tenant_id] = asyncio.Semaphore(TENANT_REQUESTS_MAX)
        return place

    async def _admit(
        self, request: DialOutRequest, at: datetime, gate_uniqueid: str | None
    ) -> tuple[RequestOutcome, DialOut | None]:
        facts = await self._facts(request, at)
        decision = decide(facts)
        because = explanation(facts, decision)
        match decision:
            case Deny(reason=reason):
                number = facts.number if isinstance(facts.number, Destination) else None
                return await self._ledger.refuse(request, number, reason, because, at)
            case Allow(sources=sources):
                assert isinstance(facts.number, Destination), "no number, no permission"
                assert facts.destination is not None, "no destination, no permission"
                return await self._ledger.reserve(
                    request,
                    facts.number,
                    sources,
                    facts.destination.rate,
                    self._terms,
                    because,
                    at,
                    at + timedelta(seconds=UNCLAIMED_SECONDS_MAX),
                    gate_uniqueid=gate_uniqueid,
                )

    async def _facts(self, request: DialOutRequest, at: datetime) -> Facts:
        """Ask who is calling, read the digits as that person means them, ask what they cost."""
        tenant_id = request.key.tenant_id
        who = await self._ledger.organizer_facts(
            tenant_id, request.organizer_id, request.initiator_id, at
        )
        if who.tenant is None or who.organizer is None:
            return Facts(tenant=who.tenant, organizer=who.organizer, number=None, destination=None)
        number = read_number(request.number_typed, who.initiator_region or who.organizer.region)
        destination = None
        if isinstance(number, Destination):
            destination = await self._ledger.destination_facts(tenant_id, number, at)
        return Facts(
            tenant=who.tenant, organizer=who.organizer, number=number, destination=destination
        )
