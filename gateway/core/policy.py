"""May this organizer have this telephone called, and who may pay? A table of rules, in order.

Nothing here awaits, logs or asks for the time: the shell gathers ``Facts``, calls
``decide`` and acts on the answer. No balance is seen here. One that was read before the
decision is stale by the time the decision is used, so the ledger checks the balance
itself, in the transaction that reserves. The rules are those of docs/entitlement.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from gateway.core.e164 import Destination, NumberKind, NumberRefusal, Region
from gateway.core.rating import Rate
from gateway.core.reasons import Reason

OrganizerId = NewType("OrganizerId", str)


class Sku(StrEnum):
    """A licence that an organizer can hold."""

    AUDIO_CONFERENCING = "audio_conferencing"
    COMMUNICATIONS_CREDITS = "communications_credits"


class DialOutPermission(StrEnum):
    """Which destinations an organizer's meetings may reach, whoever pays."""

    ANY = "any"
    DOMESTIC = "domestic"
    ZONE_A = "zone_a"
    NONE = "none"


class SourceKind(StrEnum):
    """What pays for a call."""

    POOL = "pool"
    CREDITS = "credits"


ORDINARY_KINDS = frozenset(
    {
        NumberKind.FIXED_LINE,
        NumberKind.MOBILE,
        NumberKind.FIXED_LINE_OR_MOBILE,
        NumberKind.VOIP,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantFacts:
    """What counts of a tenant at the instant of the call."""

    suspended: bool
    credits_set_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizerFacts:
    """What counts of a meeting's organizer at the instant of the call.

    ``region`` is the usage location of the licence, not where anybody travels.
    """

    region: Region
    permission: DialOutPermission
    licences: frozenset[Sku]


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationFacts:
    """What the reference data says of a destination at the instant of the call."""

    in_zone_a: bool
    rate: Rate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that the decision rests on, and nothing else.

    ``None`` is a fact too: no such tenant, no such organizer, or no destination to know
    anything of.
    """

    tenant: TenantFacts | None
    organizer: OrganizerFacts | None
    number: Destination | NumberRefusal | None
    destination: DestinationFacts | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """The call may be made, if one of ``sources`` can pay; they are asked in this order."""

    sources: tuple[SourceKind, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """The call is not made."""

    reason: Reason


Decision = Allow | Deny


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Facts that are complete: the tenant, the organizer and the destination are known."""

    tenant: TenantFacts
    organizer: OrganizerFacts
    number: Destination
    destination: DestinationFacts


Rule = Callable[[Case], Reason | None]


def decide(facts: Facts) -> Decision:
    """Return the first refusal that applies, else the sources that may pay, in order.

    The order is part of the contract. A suspended tenant learns only that it is
    suspended, so that a refusal never tells an outsider what the tenant may call.
    """
    case = _complete(facts)
    if isinstance(case, Deny):
        return case
    for rule in RULES:
        reason = rule(case)
        if reason is not None:
            return Deny(reason=reason)
    return _waterfall(case)


def _complete(facts: Facts) -> Case | Deny:
    if facts.tenant is None:
        return Deny(reason=Reason.TENANT_UNKNOWN)
    if facts.tenant.suspended:
        return Deny(reason=Reason.TENANT_SUSPENDED)
    if facts.organizer is None:
        return Deny(reason=Reason.ORGANIZER_UNKNOWN)
    if isinstance(facts.number, NumberRefusal):
        return Deny(reason=facts.number.reason)
    assert facts.number is not None, "a known organizer's number has been read"
    assert facts.destination is not None, "a destination has been looked up"
    return Case(
        tenant=facts.tenant,
        organizer=facts.organizer,
        number=facts.number,
        destination=facts.destination,
    )


def _number_kind(case: Case) -> Reason | None:
    return None if case.number.kind in ORDINARY_KINDS else Reason.NUMBER_KIND_REFUSED


def _audio_conferencing(case: Case) -> Reason | None:
    licensed = Sku.AUDIO_CONFERENCING in case.organizer.licences
    return None if licensed else Reason.NO_AUDIO_CONFERENCING


def _permission(case: Case) -> Reason | None:
    match case.organizer.permission:
        case DialOutPermission.ANY:
            return None
        case DialOutPermission.DOMESTIC:
            domestic = case.number.region == case.organizer.region
            return None if domestic else Reason.PERMISSION_DOMESTIC
        case DialOutPermission.ZONE_A:
            return None if case.destination.in_zone_a else Reason.PERMISSION_ZONE_A
        case DialOutPermission.NONE:
            return Reason.PERMISSION_NONE


RULES: tuple[Rule, ...] = (
    _number_kind,
    _audio_conferencing,
    _permission,
)


def _waterfall(case: Case) -> Decision:
    """Return the sources that may pay; a refusal names what the last one lacks."""
    pool = (SourceKind.POOL,) if case.destination.in_zone_a else ()
    lacking = _credits_lack(case)
    credits_ = () if lacking else (SourceKind.CREDITS,)
    sources = pool + credits_
    if sources:
        return Allow(sources=sources)
    assert lacking is not None, "no source, so credits lack something"
    return Deny(reason=lacking)


def _credits_lack(case: Case) -> Reason | None:
    if Sku.COMMUNICATIONS_CREDITS not in case.organizer.licences:
        return Reason.NO_CREDITS_LICENCE
    if not case.tenant.credits_set_up:
        return Reason.CREDITS_NOT_SET_UP
    if case.destination.rate is None:
        return Reason.NO_RATE
    return None
