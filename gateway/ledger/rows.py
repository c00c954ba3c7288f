"""Rows of the database, read as values of the core. Here asyncpg's records end."""

import json
from typing import Any
from uuid import UUID

import asyncpg

from gateway.core.causes import Disposition
from gateway.core.dial_out import DialOut, DialOutKind, DialOutRequest, DialOutState, FundingPart
from gateway.core.e164 import NumberKind
from gateway.core.key import DialOutKey
from gateway.core.policy import (
    DestinationFacts,
    DialOutPermission,
    OrganizerFacts,
    OrganizerId,
    Sku,
    SourceKind,
    TenantFacts,
)
from gateway.core.rating import Rate
from gateway.core.reasons import Reason
from gateway.ledger.answers import Balance, Claim, Finding, OrganizerAnswer, Unit

Row = asyncpg.Record


def key(row: Row) -> DialOutKey:
    """Read the key of a dial-out."""
    return DialOutKey(tenant_id=row["tenant_id"], dial_out_id=row["dial_out_id"])


def dial_out(row: Row) -> DialOut:
    """Read a row of ``dial_out_record``."""
    return DialOut(
        request=DialOutRequest(
            key=key(row),
            kind=DialOutKind(row["kind"]),
            organizer_id=OrganizerId(row["organizer_id"]),
            initiator_id=row["initiator_id"],
            conference_id=row["conference_id"],
            number_typed=row["number_typed"],
        ),
        state=DialOutState(row["state"]),
        reason=None if row["reason"] is None else Reason(row["reason"]),
        destination=row["destination"],
        region=row["region"],
        number_kind=None if row["number_kind"] is None else NumberKind(row["number_kind"]),
        requested_at=row["requested_at"],
        expires_at=row["expires_at"],
        released_at=row["released_at"],
        answered_at=row["answered_at"],
        seen_at=row["seen_at"],
        ended_at=row["ended_at"],
        talk_seconds=row["talk_seconds"],
        ring_seconds=row["ring_seconds"],
        caller_id=row["caller_id"],
        gate_uniqueid=row["gate_uniqueid"],
        disposition=None if row["disposition"] is None else Disposition(row["disposition"]),
        hangup_cause=row["hangup_cause"],
        billable_seconds=row["billable_seconds"],
        overrun_seconds=row["overrun_seconds"],
        evidence=row["evidence"],
        parts=tuple(_part(part) for part in json.loads(row["parts"])),
        explanation=row["explanation"],
    )


def _part(part: dict[str, Any]) -> FundingPart:
    return FundingPart(
        source=SourceKind(part["source"]),
        seconds=part["seconds"],
        micros=part["micros"],
        billed_seconds=part["billed_seconds"],
        billed_micros=part["billed_micros"],
        currency=part["currency"],
    )


def claim(row: Row) -> Claim:
    """Read what a channel was released for."""
    return Claim(
        destination=row["destination"],
        talk_seconds=row["talk_seconds"],
        ring_seconds=row["ring_seconds"],
        caller_id=row["caller_id"],
    )


def organizer_answer(row: Row) -> OrganizerAnswer:
    """Read the facts of a tenant that exists."""
    organizer = None
    if row["region"] is not None:
        organizer = OrganizerFacts(
            region=row["region"],
            permission=DialOutPermission(row["permission"]),
            licences=frozenset(Sku(sku) for sku in row["licences"]),
        )
    return OrganizerAnswer(
        tenant=TenantFacts(suspended=row["suspended"], credits_set_up=row["credits_set_up"]),
        organizer=organizer,
        initiator_region=row["initiator_region"],
    )


def destination_facts(row: Row) -> DestinationFacts:
    """Read the facts of a destination."""
    rate = None
    if row["deck_id"] is not None:
        rate = Rate(
            deck_id=row["deck_id"],
            prefix=row["prefix"],
            currency=row["currency"],
            price_micros=row["price_micros"],
            connect_fee_micros=row["connect_fee_micros"],
            initial_increment_seconds=row["initial_increment_seconds"],
            increment_seconds=row["increment_seconds"],
        )
    return DestinationFacts(in_zone_a=row["in_zone_a"], rate=rate)


def balance(row: Row) -> Balance:
    """Read a row of ``balance``."""
    return Balance(
        source_id=row["source_id"],
        kind=SourceKind(row["kind"]),
        unit=Unit(row["unit"]),
        currency=row["currency"],
        valid_from=row["valid_from"],
        valid_to=row["valid_to"],
        granted=row["granted"],
        used=row["used"],
        reserved=row["reserved"],
        free=row["free"],
    )


def finding(tenant_id: UUID, row: Row) -> Finding:
    """Read what the check found wrong."""
    return Finding(
        tenant_id=tenant_id, check=row["finding"], subject=row["subject"], detail=row["detail"]
    )
