"""A meeting whose organizer has telephones called, through the API and nothing else."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import httpx

from gateway.core.choices import Choices
from gateway.core.dial_out import MAIN_BRIDGE, BridgeName, DialOutKind, DialOutRequest, Terms
from gateway.core.e164 import E164, Destination, NumberKind, Region
from gateway.core.facts import DialOutPermission, OrganizerId, Sku, SourceKind
from gateway.core.key import DialOutKey
from gateway.core.rating import Micros, Seconds
from gateway.core.waterfall import Source
from gateway.lab.carrier import Carrier
from gateway.ledger import (
    Balance,
    Channel,
    DeckRow,
    Ledger,
    Provisioning,
    RequestOutcome,
    Segment,
)

Answer = dict[str, Any]

ORGANIZER = OrganizerId("alice")
ELSEWHERE = BridgeName("elsewhere")
PATIENT = {"Prefer": "wait=10"}
"""What a client says that asks for many calls at once, and would rather wait than be refused."""

_NUMBERS = count(4010)


def london(ending: str) -> str:
    """Return a number in London that no test has used; its ending tells the carrier what to do."""
    return f"+442079{next(_NUMBERS)}{ending}"


def nairobi(ending: str) -> str:
    """Return the same for Nairobi, which is outside Zone A."""
    return f"+254202{next(_NUMBERS)}{ending}"


def by_second(prefix: str) -> DeckRow:
    """Return a price of one cent a second."""
    return DeckRow(
        prefix=prefix,
        regions=None,
        price_micros=Micros(600_000),
        connect_fee_micros=Micros(0),
        initial_increment_seconds=Seconds(1),
        increment_seconds=Seconds(1),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """The meeting of one tenant, whose pool has an hour."""

    client: httpx.AsyncClient
    ledger: Ledger
    provisioning: Provisioning
    carrier: Carrier
    tenant_id: UUID

    @classmethod
    async def create(
        cls,
        client: httpx.AsyncClient,
        ledger: Ledger,
        provisioning: Provisioning,
        carrier: Carrier,
    ) -> "Meeting":
        """Make a tenant with one organizer, whose deck charges by the second, one cent each."""
        tenant_id = uuid4()
        async with provisioning.change(actor="test") as change:
            await change.rate_deck_put(
                "by-second", "USD", (by_second("254"), by_second("44")), datetime.now(UTC)
            )
            await change.tenant_create(
                tenant_id,
                name=f"tenant {tenant_id}",
                time_zone="UTC",
                currency="USD",
                rate_deck="by-second",
            )
        meeting = cls(
            client=client,
            ledger=ledger,
            provisioning=provisioning,
            carrier=carrier,
            tenant_id=tenant_id,
        )
        await meeting.add_organizer(ORGANIZER)
        await meeting.license(ORGANIZER, Sku.AUDIO_CONFERENCING)
        return meeting

    async def another(self) -> "Meeting":
        """Return the meeting of another tenant, beside this one."""
        return await Meeting.create(self.client, self.ledger, self.provisioning, self.carrier)

    async def add_organizer(
        self, organizer_id: str, permission: DialOutPermission = DialOutPermission.ANY
    ) -> None:
        """Make an organizer in Great Britain known."""
        async with self.provisioning.change(actor="test") as change:
            await change.organizer_put(
                self.tenant_id,
                OrganizerId(organizer_id),
                display_name=organizer_id,
                region=Region("GB"),
                permission=permission,
            )

    async def license(self, organizer_id: str, sku: Sku) -> None:
        """Give an organizer a licence that counts from a moment ago."""
        now = datetime.now(UTC)
        async with self.provisioning.change(actor="test") as change:
            await change.licence_assign(
                self.tenant_id,
                OrganizerId(organizer_id),
                sku,
                valid_from=now - timedelta(seconds=1),
                valid_to=None,
                channel=Channel.CSP,
                segment=Segment.COMMERCIAL,
                at=now,
            )

    async def choose(self, **choices: Any) -> None:
        """Have the tenant choose these, and everything else as a new one does."""
        async with self.provisioning.change(actor="test") as change:
            await change.policy_put(self.tenant_id, Choices(**choices), datetime.now(UTC))

    async def buy_credits(self, micros: int) -> None:
        """Give the tenant credits, and the organizer the right to use them."""
        await self.license(ORGANIZER, Sku.COMMUNICATIONS_CREDITS)
        async with self.provisioning.change(actor="test") as change:
            await change.credits_add(self.tenant_id, uuid4(), Micros(micros), datetime.now(UTC))

    async def set_aside_of_pool(
        self,
        seconds: int,
        bridge: BridgeName = ELSEWHERE,
        number: str = "+442079460000",
        **asked: Any,
    ) -> DialOutKey:
        """Reserve some of the pool for a call that whoever reserved it never places.

        On a bridge that no gateway serves, or it would be given back in seconds.
        """
        now = datetime.now(UTC)
        key = DialOutKey(tenant_id=self.tenant_id, dial_out_id=uuid4())
        outcome, _ = await self.ledger.reserve(
            replace(
                DialOutRequest(
                    key=key,
                    kind=DialOutKind.CALL_ME,
                    organizer_id=ORGANIZER,
                    initiator_id=None,
                    conference_id="elsewhere",
                    number_typed=number,
                    bridge=bridge,
                ),
                **asked,
            ),
            Destination(e164=E164(number), region=Region("GB"), kind=NumberKind.FIXED_LINE),
            (Source(kind=SourceKind.POOL, benefit_id="standard_pool"),),
            None,
            Terms(
                talk_seconds_max=Seconds(seconds),
                talk_seconds_min=Seconds(seconds),
                slice_seconds=Seconds(seconds),
                ring_seconds=Seconds(5),
                caller_id=E164("+442079460999"),
            ),
            "{}",
            now,
            now + timedelta(hours=1),
        )
        assert outcome is RequestOutcome.RESERVED
        return key

    async def set_aside(self, number: str, conference_id: str) -> str:
        """Reserve for a call as ``post`` asks for it, and let nobody begin it; return its id."""
        key = await self.set_aside_of_pool(
            60,
            MAIN_BRIDGE,
            number=number,
            kind=DialOutKind.ADD_PARTICIPANT,
            initiator_id="guest@example.com",
            conference_id=conference_id,
        )
        return str(key.dial_out_id)

    async def post(self, number: str, **fields: Any) -> httpx.Response:
        """Ask for a telephone to be called."""
        headers = fields.pop("headers", None)
        body = {
            "tenant_id": str(self.tenant_id),
            "kind": "add_participant",
            "organizer_id": ORGANIZER,
            "initiator_id": "guest@example.com",
            "conference_id": "room",
            "number": number,
            **fields,
        }
        return await self.client.post("/v1/dial-outs", json=body, headers=headers)

    async def place(self, number: str, **fields: Any) -> Answer:
        """Ask, and insist that it is taken."""
        response = await self.post(number, **fields)
        assert response.status_code == 201, response.text
        answer: Answer = response.json()
        return answer

    async def refused(self, number: str, **fields: Any) -> str:
        """Ask, and insist that it is refused; return the reason."""
        response = await self.post(number, **fields)
        assert response.status_code == 403, response.text
        reason: str = response.json()["reason"]
        return reason

    async def read(self, dial_out_id: str) -> Answer:
        """Return what the API knows of a dial-out; nothing if it knows none."""
        response = await self.client.get(self.path(dial_out_id))
        return response.json() if response.is_success else {}

    async def cancel(self, dial_out_id: str) -> httpx.Response:
        """End a dial-out."""
        return await self.client.delete(self.path(dial_out_id))

    def path(self, dial_out_id: str) -> str:
        """Return where a dial-out is found."""
        return f"/v1/dial-outs/{dial_out_id}?tenant_id={self.tenant_id}"

    async def until(
        self, dial_out_id: str, condition: Callable[[Answer], bool], seconds: float = 20.0
    ) -> Answer:
        """Return the dial-out as soon as the condition holds; TimeoutError if it does not."""
        async with asyncio.timeout(seconds):
            while True:
                answer = await self.read(dial_out_id)
                if condition(answer):
                    return answer
                await asyncio.sleep(0.05)

    async def ended(self, dial_out_id: str, seconds: float = 20.0) -> Answer:
        """Return the dial-out once it has ended."""
        return await self.until(dial_out_id, lambda it: it.get("state") == "ended", seconds)

    async def answered(self, dial_out_id: str) -> Answer:
        """Return the dial-out once the telephone has answered; it may have hung up since."""
        return await self.until(dial_out_id, lambda it: it.get("answered_at") is not None)

    async def balance(self, kind: str) -> Balance:
        """Return one of the tenant's sources."""
        [balance] = [
            each for each in await self.ledger.balances(self.tenant_id) if each.kind == kind
        ]
        return balance

    async def rings(self, number: str, times: int = 1) -> None:
        """Return once the carrier has been asked to ring this number, so often in all."""
        async with asyncio.timeout(30):
            while self.invites(number) < times:
                await asyncio.sleep(0.02)

    def invites(self, number: str) -> int:
        """Return how many calls to this number the carrier has seen."""
        return sum(1 for invite in self.carrier.invites() if invite.number == number)

    async def assert_books_are_clean(self) -> None:
        """Insist that the ledger proves itself, and that nothing is set aside any more."""
        assert await self.ledger.check(self.tenant_id) == ()
        for balance in await self.ledger.balances(self.tenant_id):
            assert balance.reserved == 0
