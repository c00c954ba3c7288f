"""Rows of the database, read as values of the core. Here asyncpg's records end."""

from uuid import UUID

import asyncpg
from pydantic import TypeAdapter

from gateway.core.attendance import DropReason
from gateway.core.call import Unproved
from gateway.core.causes import Disposition
from gateway.core.choices import Choices, MeetingPermission
from gateway.core.dial_out import (
    BridgeName,
    DialOut,
    DialOutKind,
    DialOutRequest,
    DialOutState,
    FundingPart,
    SourceStanding,
)
from gateway.core.e164 import E164, NumberKind
from gateway.core.facts import (
    Benefit,
    Blocks,
    DialOutPermission,
    OrganizerFacts,
    OrganizerId,
    Sku,
    SourceKind,
    TenantFacts,
)
from gateway.core.key import DialOutKey
from gateway.core.limits import Limit, LimitScope
from gateway.core.outage import Outage, OutageKind
from gateway.core.rating import Rate
from gateway.core.reasons import Reason
from gateway.ledger.answers import (
    Balance,
    ChainHead,
    Claim,
    ClaimOutcome,
    DestinationAnswer,
    ExtendOutcome,
    Extension,
    Finding,
    FindingCode,
    LastProof,
    MeetingPermissions,
    OrganizerAnswer,
    RecentNumber,
    Rehearsal,
    Saving,
    Serving,
    TenantName,
    Unit,
)

Row = asyncpg.Record

_PARTS = TypeAdapter(tuple[FundingPart, ...])
_SOURCES = TypeAdapter(tuple[SourceStanding, ...])
_CHOICES = TypeAdapter(Choices)
_BENEFITS = TypeAdapter(tuple[Benefit, ...])
_COUNTS = TypeAdapter(dict[str, int])
_LIMITS = TypeAdapter(tuple[Limit, ...])


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
            bridge=BridgeName(row["bridge"]),
            meeting_name=row["meeting_name"],
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
        limit_seconds=row["limit_seconds"],
        talk_seconds_max=row["talk_seconds_max"],
        slices=row["slices"],
        ring_seconds=row["ring_seconds"],
        caller_id=row["caller_id"],
        gate_uniqueid=row["gate_uniqueid"],
        disposition=None if row["disposition"] is None else Disposition(row["disposition"]),
        hangup_cause=row["hangup_cause"],
        billable_seconds=row["billable_seconds"],
        overrun_seconds=row["overrun_seconds"],
        evidence=row["evidence"],
        parts=_PARTS.validate_json(row["parts"]),
        sources=_SOURCES.validate_json(row["sources"] or "[]"),
        explanation=row["explanation"],
        dropped=None if row["dropped"] is None else DropReason(row["dropped"]),
        confirms=row["confirms"],
        joined_at=row["joined_at"],
        asterisk_booted_at=row["asterisk_booted_at"],
        least_seconds=row["least_seconds"],
        most_seconds=row["most_seconds"],
        unproved=None if row["unproved"] is None else Unproved(row["unproved"]),
        granted=row["granted"],
    )


def claim_or_outcome(row: Row) -> Claim | ClaimOutcome:
    """Read what a channel was released for, or why it was not."""
    if row["outcome"] != "claimed":
        return ClaimOutcome(row["outcome"])
    return Claim(
        destination=row["destination"],
        limit_seconds=row["limit_seconds"],
        talk_seconds_max=row["talk_seconds_max"],
        ring_seconds=row["ring_seconds"],
        caller_id=row["caller_id"],
    )


def extension(row: Row) -> Extension:
    """Read how long a call may go on."""
    return Extension(
        outcome=ExtendOutcome(row["outcome"]),
        slices=row["slices"],
        talk_seconds=row["talk_seconds"],
        limit_seconds=row["limit_seconds"],
        more=bool(row["more"]),
    )


def organizer_answer(row: Row) -> OrganizerAnswer:
    """Read the facts of a tenant that exists."""
    organizer = None
    if row["region"] is not None:
        organizer = OrganizerFacts(
            region=row["region"],
            permission=DialOutPermission(row["permission"]),
            licences=frozenset(Sku(sku) for sku in row["licences"]),
            dial_out_disabled=row["dial_out_disabled"],
            blocked=row["blocked"],
        )
    meeting = None
    if row["meeting_to_self"] is not None:
        meeting = MeetingPermissions(
            to_self=MeetingPermission(row["meeting_to_self"]),
            to_third_party=MeetingPermission(row["meeting_to_third_party"]),
            organizer_id=row["meeting_organizer_id"],
        )
    return OrganizerAnswer(
        tenant=TenantFacts(
            suspended=row["suspended"],
            credits_set_up=row["credits_set_up"],
            choices=_CHOICES.validate_json(row["choices"]),
            benefits=_BENEFITS.validate_json(row["benefits"]),
        ),
        organizer=organizer,
        initiator_region=row["initiator_region"],
        meeting=meeting,
        limits=_LIMITS.validate_json(row["limits"]),
    )


def recent_number(row: Row) -> RecentNumber:
    """Read a number that a participant was called at."""
    return RecentNumber(
        destination=E164(row["destination"]),
        number_typed=row["number_typed"],
        last_at=row["last_at"],
    )


def destination_answer(row: Row) -> DestinationAnswer:
    """Read what is known of a destination."""
    return DestinationAnswer(
        zones=frozenset(row["zones"]),
        blocks=Blocks(
            operator=row["operator_prefix"],
            high_risk=row["high_risk_prefix"],
            tenant=row["tenant_prefix"],
            exempt=row["exempt_prefix"],
        ),
        called_today=frozenset(map(LimitScope, row["called_today"])),
        rate=None if row["deck_id"] is None else rate(row),
    )


def rate(row: Row) -> Rate:
    """Read a rate of a deck."""
    return Rate(
        deck_id=row["deck_id"],
        deck=row["deck"],
        prefix=row["prefix"],
        regions=None if row["regions"] is None else frozenset(row["regions"]),
        currency=row["currency"],
        price_micros=row["price_micros"],
        connect_fee_micros=row["connect_fee_micros"],
        initial_increment_seconds=row["initial_increment_seconds"],
        increment_seconds=row["increment_seconds"],
    )


def rehearsal(row: Row) -> Rehearsal:
    """Read what a reservation would have been."""
    return Rehearsal(
        reason=None if row["reason"] is None else Reason(row["reason"]),
        talk_seconds=row["talk_seconds"],
        limit_seconds=row["limit_seconds"],
        sources=_SOURCES.validate_json(row["sources"] or "[]"),
    )


def tenant_name(row: Row) -> TenantName:
    """Read who a tenant is."""
    return TenantName(tenant_id=row["tenant_id"], name=row["name"], currency=row["currency"])


def saving(row: Row) -> Saving:
    """Read what dropped calls have saved."""
    return Saving(
        tenant_id=row["tenant_id"],
        reason=DropReason(row["reason"]),
        calls=row["calls"],
        seconds=row["seconds"],
        micros=row["micros"],
        currency=row["currency"],
    )


def outage(row: Row) -> Outage:
    """Read an outage."""
    return Outage(
        outage_id=row["outage_id"],
        bridge=BridgeName(row["bridge"]),
        kind=OutageKind(row["kind"]),
        began_at=row["began_at"],
        ended_at=row["ended_at"],
        detail=row["detail"],
    )


def serving(row: Row) -> Serving:
    """Read who served a bridge before a gateway."""
    return Serving(
        served_until=row["served_until"],
        outages=tuple(map(outage, row["noted"])),
    )


def balance(row: Row) -> Balance:
    """Read a row of ``balance``."""
    return Balance(
        source_id=row["source_id"],
        kind=SourceKind(row["kind"]),
        benefit_id=row["benefit_id"],
        organizer_id=row["organizer_id"],
        capped=row["capped"],
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
        tenant_id=tenant_id,
        check=FindingCode(row["finding"]),
        subject=row["subject"],
        detail=row["detail"],
    )


def chain_head(tenant_id: UUID, row: Row) -> ChainHead:
    """Read the last entry of a tenant's month."""
    return ChainHead(
        tenant_id=tenant_id, month=row["month"], number=row["number"], digest=row["digest"]
    )


def last_proof(row: Row) -> LastProof | None:
    """Read what the last check of all books has found; None if there was none."""
    if row["checked_at"] is None:
        return None
    return LastProof(
        checked_at=row["checked_at"],
        seconds=row["seconds"],
        findings=_COUNTS.validate_json(row["findings"]),
    )
