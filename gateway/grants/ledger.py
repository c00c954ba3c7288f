"""The ledger as everybody sees it who need not know of grants.

A dial-out that was granted and is not booked yet is here all the same. What would change it in
the books is written to the journal, or waits as it does for a ledger that is away: whoever has
to tell the ledger something goes on trying until it has taken it.
"""

from datetime import datetime
from uuid import UUID

from gateway.core.attendance import DropReason
from gateway.core.call import Ending, Unproved
from gateway.core.causes import Disposition
from gateway.core.dial_out import BridgeName, DialOut, DialOutRequest
from gateway.core.e164 import Destination
from gateway.core.facts import OrganizerId
from gateway.core.grant import Answered, Ended, Joined
from gateway.core.key import DialOutKey
from gateway.db import Pool
from gateway.grants.grants import Grants
from gateway.ledger import (
    AnsweredOutcome,
    Claim,
    ClaimOutcome,
    DestinationAnswer,
    DroppedOutcome,
    Extension,
    JoinedOutcome,
    Ledger,
    LedgerUnavailable,
    OrganizerAnswer,
    SettleOutcome,
    TriedDeck,
    VoidOutcome,
)


class GrantingLedger(Ledger):
    """A ledger that remembers what it said, and has the dial-outs that are not booked yet.

    While it is known to be away nobody waits for what a request must know first.
    """

    def __init__(self, pool: Pool, *, grants: Grants, call_seconds_max: float = 2.0) -> None:
        super().__init__(pool, call_seconds_max=call_seconds_max)
        self._grants = grants

    async def ping(self) -> None:
        """Return if the ledger answers; note whether it does."""
        try:
            await super().ping()
        except LedgerUnavailable:
            self._grants.note_ledger(answers=False)
            raise
        self._grants.note_ledger(answers=True)

    async def organizer_facts(self, request: DialOutRequest, at: datetime) -> OrganizerAnswer:
        """Return what the ledger knows of those whom a request names, and remember it."""
        self._insist_on_answers()
        answer = await super().organizer_facts(request, at)
        self._grants.note_key(request.key)
        self._grants.memory.note_organizer(request, answer)
        return answer

    async def destination_facts(
        self,
        tenant_id: UUID,
        destination: Destination,
        at: datetime,
        *,
        tried: TriedDeck | None = None,
        organizer_id: OrganizerId | None = None,
    ) -> DestinationAnswer:
        """Return what the ledger knows of a number, and remember it, unless it is only tried."""
        self._insist_on_answers()
        answer = await super().destination_facts(
            tenant_id, destination, at, tried=tried, organizer_id=organizer_id
        )
        if tried is None:
            self._grants.memory.note_destination(tenant_id, destination, organizer_id, answer)
        return answer

    async def dial_out(self, key: DialOutKey) -> DialOut | None:
        """Return one dial-out."""
        return self._grants.held(key) or await super().dial_out(key)

    async def is_released(self, gate_uniqueid: str, bridge: BridgeName) -> bool:
        """Return whether a channel is the gate of a call that is under way, whoever released it."""
        key = DialOutKey.of_gate(gate_uniqueid)
        held = None if key is None else self._grants.held(key)
        if held is not None and held.gate_uniqueid == gate_uniqueid:
            return True
        return await super().is_released(gate_uniqueid, bridge)

    async def claim(
        self,
        key: DialOutKey,
        gate_uniqueid: str,
        at: datetime,
        asterisk_booted_at: datetime | None = None,
    ) -> Claim | ClaimOutcome:
        """Release the dial-out to the one channel that reached the gate.

        A granted one is claimed nowhere: the gate finds out whether it was dialled before.
        """
        granted = self._grants.claim(key)
        return granted or await super().claim(key, gate_uniqueid, at, asterisk_booted_at)

    async def take_over(
        self,
        key: DialOutKey,
        gate_uniqueid: str,
        at: datetime,
        asterisk_booted_at: datetime | None = None,
    ) -> Claim | ClaimOutcome:
        """Release the dial-out to a channel that its own gateway has let wait, once."""
        self._insist_on_a_row(key)
        return await super().take_over(key, gate_uniqueid, at, asterisk_booted_at)

    async def answered(self, key: DialOutKey, at: datetime) -> AnsweredOutcome:
        """Note the instant at which the telephone answered; the first one stands."""
        if await self._grants.note(Answered(key=key, at=at)):
            return AnsweredOutcome.ANSWERED
        return await super().answered(key, at)

    async def joined(self, key: DialOutKey, at: datetime) -> JoinedOutcome:
        """Note the instant at which the callee came into the conference; the first one stands."""
        if await self._grants.note(Joined(key=key, at=at)):
            return JoinedOutcome.JOINED
        return await super().joined(key, at)

    async def extend(self, key: DialOutKey, *, slices: int, at: datetime) -> Extension:
        """Set aside the next slice of a call."""
        self._insist_on_a_row(key)
        return await super().extend(key, slices=slices, at=at)

    async def dropped(self, key: DialOutKey, reason: DropReason, at: datetime) -> DroppedOutcome:
        """Note that a call was ended for this reason."""
        self._insist_on_a_row(key)
        return await super().dropped(key, reason, at)

    async def settle(
        self,
        key: DialOutKey,
        *,
        answered_at: datetime,
        ended_at: datetime,
        hangup_cause: int,
        disposition: Disposition,
        evidence: str,
        latest_end: datetime | None = None,
        unproved: Unproved | None = None,
    ) -> tuple[SettleOutcome, DialOut | None]:
        """Bill a call that was answered. What is not booked yet waits, on the disk, until it is."""
        if latest_end is None:
            ending = _ending(disposition, hangup_cause, answered_at, ended_at, evidence)
            await self._grants.note(Ended(key=key, ending=ending))
        self._insist_on_a_row(key)
        return await super().settle(
            key,
            answered_at=answered_at,
            ended_at=ended_at,
            hangup_cause=hangup_cause,
            disposition=disposition,
            evidence=evidence,
            latest_end=latest_end,
            unproved=unproved,
        )

    async def void(
        self,
        key: DialOutKey,
        *,
        at: datetime,
        hangup_cause: int | None,
        disposition: Disposition,
        only_if_unclaimed: bool,
        evidence: str,
        latest_end: datetime | None = None,
        released_at: datetime | None = None,
    ) -> tuple[VoidOutcome, DialOut | None]:
        """Give everything back for a call that nobody answered.

        A grant that was never let dial is forgotten, and nothing of it is booked. A record that
        lies on the Asterisk host is another gateway's, and is to stay there. One that was let
        dial is not given back by who has not heard of that.
        """
        held = self._grants.held(key)
        if await self._grants.drop(key):
            return VoidOutcome.RELEASED, held
        held = self._grants.held(key)
        is_other = held is not None and released_at not in (None, held.released_at)
        if held is not None and (only_if_unclaimed or is_other):
            return VoidOutcome.RELEASED, held
        if latest_end is None:
            ending = _ending(disposition, hangup_cause or 0, None, at, evidence)
            await self._grants.note(Ended(key=key, ending=ending))
        self._insist_on_a_row(key)
        return await super().void(
            key,
            at=at,
            hangup_cause=hangup_cause,
            disposition=disposition,
            only_if_unclaimed=only_if_unclaimed,
            evidence=evidence,
            latest_end=latest_end,
            released_at=released_at,
        )

    def _insist_on_answers(self) -> None:
        if self._grants.ledger_is_away:
            raise LedgerUnavailable("It did not answer when it was asked last.")

    def _insist_on_a_row(self, key: DialOutKey) -> None:
        if self._grants.held(key) is not None:
            raise LedgerUnavailable("The call was granted, and is not booked yet.")


def _ending(
    disposition: Disposition,
    hangup_cause: int,
    answered_at: datetime | None,
    ended_at: datetime,
    evidence: str,
) -> Ending:
    return Ending(
        disposition=disposition,
        hangup_cause=hangup_cause,
        answered_at_ms=None if answered_at is None else _ms(answered_at),
        ended_at_ms=_ms(ended_at),
        evidence=evidence,
    )


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
