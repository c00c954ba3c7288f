"""May this organizer have this telephone called, and who may pay? A table of rules, in order.

Nothing here awaits, logs or asks for the time: the shell gathers ``Facts``, calls
``decide`` and acts on the answer. No balance is seen here. One that was read before the
decision is stale by the time the decision is used, so the ledger checks the balance
itself, in the transaction that reserves. The rules are those of docs/entitlement.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from gateway.core.choices import MeetingPermission, Opening, Stance
from gateway.core.e164 import ORDINARY_KINDS, NumberKind, NumberRefusal
from gateway.core.facts import (
    ZONE_A,
    AskerRole,
    DialOutPermission,
    Facts,
    Sku,
    SourceKind,
    known,
)
from gateway.core.limits import Limit, LimitKind, LimitMode
from gateway.core.reasons import Reason
from gateway.core.waterfall import Look, Source, payers, refusal, waterfall


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """The call may be made, if one of ``sources`` can pay; they are asked in this order."""

    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """The call is not made."""

    reason: Reason


Decision = Allow | Deny


@dataclass(frozen=True, slots=True)
class Rule:
    """One question. ``refusal`` answers it from the ``facts`` that are named; None goes on.

    ``is_final`` says that nothing further can be asked after a refusal: the later rules
    would lack their facts.
    """

    name: str
    refusal: Callable[[Facts], Reason | None]
    facts: tuple[str, ...]
    is_final: bool = False


def decide(facts: Facts) -> Decision:
    """Return the first refusal that applies, else the sources that may pay, in order.

    The order is part of the contract. A suspended tenant learns only that it is
    suspended, so that a refusal never tells an outsider what the tenant may call.
    """
    for rule in RULES:
        reason = rule.refusal(facts)
        if reason is not None:
            return Deny(reason=reason)
    return funding(waterfall(facts))


def funding(looks: tuple[Look, ...]) -> Decision:
    """Return the sources that may pay, in order, or why none may."""
    sources = payers(looks)
    return Allow(sources=sources) if sources else Deny(reason=refusal(looks))


def _tenant_known(facts: Facts) -> Reason | None:
    return Reason.TENANT_UNKNOWN if facts.tenant is None else None


def _tenant_active(facts: Facts) -> Reason | None:
    return Reason.TENANT_SUSPENDED if known(facts.tenant).suspended else None


def _organizer_known(facts: Facts) -> Reason | None:
    return Reason.ORGANIZER_UNKNOWN if facts.organizer is None else None


def _organizer_unblocked(facts: Facts) -> Reason | None:
    return Reason.ORGANIZER_BLOCKED if known(facts.organizer).blocked else None


def _meeting_organizer(facts: Facts) -> Reason | None:
    matches = known(facts.meeting).organizer_matches
    return None if matches else Reason.MEETING_OF_ANOTHER_ORGANIZER


def _number_readable(facts: Facts) -> Reason | None:
    number = known(facts.number)
    return number.reason if isinstance(number, NumberRefusal) else None


def _number_allocated(facts: Facts) -> Reason | None:
    if facts.dialled.kind is not NumberKind.UNALLOCATED:
        return None
    opened = known(facts.tenant).choices.unallocated is Opening.CREDITS
    return None if opened else Reason.NUMBER_NOT_ALLOCATED


def _toll_free(facts: Facts) -> Reason | None:
    if facts.dialled.kind is not NumberKind.TOLL_FREE:
        return None
    if known(facts.tenant).choices.toll_free is Stance.DENY:
        return Reason.TOLL_FREE_REFUSED
    return None if known(facts.destination).trunk_serves else Reason.TOLL_FREE_NOT_SERVED


def _destination_served(facts: Facts) -> Reason | None:
    """Refuse a country that the bridge's trunk does not reach; toll-free has a list of its own."""
    if facts.dialled.kind is NumberKind.TOLL_FREE or known(facts.destination).trunk_reaches:
        return None
    return Reason.DESTINATION_NOT_SERVED


def _premium(facts: Facts) -> Reason | None:
    """Refuse what is priced like a premium number, unless it has a price of its own."""
    if facts.dialled.kind in _NOT_PREMIUM:
        return None
    if known(facts.tenant).choices.premium is Opening.DENY:
        return Reason.NUMBER_KIND_REFUSED
    destination = known(facts.destination)
    exact = destination.rate is not None and destination.rate_is_exact
    return None if exact else Reason.NO_EXACT_RATE


_NOT_PREMIUM = ORDINARY_KINDS | {NumberKind.TOLL_FREE, NumberKind.UNALLOCATED}


def _destination_clear(facts: Facts) -> Reason | None:
    destination = known(facts.destination)
    if destination.rate is None or facts.dialled.region in destination.rate_regions:
        return None
    return Reason.DESTINATION_AMBIGUOUS


def _operator_list(facts: Facts) -> Reason | None:
    listed = known(facts.destination).blocks.operator
    return None if listed is None else Reason.BLOCKED_BY_OPERATOR


def _high_risk_list(facts: Facts) -> Reason | None:
    blocks = known(facts.destination).blocks
    if blocks.high_risk is None or blocks.exempt is not None:
        return None
    heeded = known(facts.tenant).choices.high_risk_prefixes is Stance.DENY
    return Reason.BLOCKED_HIGH_RISK if heeded else None


def _tenant_list(facts: Facts) -> Reason | None:
    listed = known(facts.destination).blocks.tenant
    return None if listed is None else Reason.BLOCKED_BY_TENANT


def _audio_conferencing(facts: Facts) -> Reason | None:
    licensed = not _CONFERENCING.isdisjoint(known(facts.organizer).licences)
    return None if licensed else Reason.NO_AUDIO_CONFERENCING


_CONFERENCING = frozenset({Sku.AUDIO_CONFERENCING, Sku.AUDIO_CONFERENCING_PPM})


def _location(facts: Facts) -> Reason | None:
    return Reason.LOCATION_DISABLED if known(facts.organizer).dial_out_disabled else None


def _organizer_permission(facts: Facts) -> Reason | None:
    organizer = known(facts.organizer)
    match organizer.permission:
        case DialOutPermission.ANY:
            return None
        case DialOutPermission.DOMESTIC:
            domestic = facts.dialled.region == organizer.region
            return None if domestic else Reason.PERMISSION_DOMESTIC
        case DialOutPermission.ZONE_A:
            inside = ZONE_A in known(facts.destination).zones
            return None if inside else Reason.PERMISSION_ZONE_A
        case DialOutPermission.NONE:
            return Reason.PERMISSION_NONE


def _meeting_permission(facts: Facts) -> Reason | None:
    meeting = known(facts.meeting)
    match meeting.permission:
        case MeetingPermission.EVERYONE:
            return None
        case MeetingPermission.AUTHENTICATED:
            named = meeting.asker is not AskerRole.ANONYMOUS
            return None if named else Reason.MEETING_AUTHENTICATED_ONLY
        case MeetingPermission.ORGANIZER:
            organizer = meeting.asker is AskerRole.ORGANIZER
            return None if organizer else Reason.MEETING_ORGANIZER_ONLY


def observed(facts: Facts) -> tuple[Limit, ...]:
    """Return the limits that let a call pass and have it noted that it is beyond them."""
    return tuple(
        limit
        for limit in facts.limits
        if limit.mode is LimitMode.OBSERVE and _is_beyond(limit, facts)
    )


def blocking(facts: Facts, reason: Reason) -> bool:
    """Return whether a call that is refused for ``reason`` has its organizer blocked."""
    return any(
        limit.mode is LimitMode.BLOCK and limit.kind.reason is reason and _is_beyond(limit, facts)
        for limit in facts.limits
    )


def _limit(kind: LimitKind, facts: Facts) -> Reason | None:
    beyond = any(
        limit.kind is kind and limit.mode is not LimitMode.OBSERVE and _is_beyond(limit, facts)
        for limit in facts.limits
    )
    return kind.reason if beyond else None


def _is_beyond(limit: Limit, facts: Facts) -> bool:
    """Return whether a call would be beyond a limit, by what was used before it.

    Money limits what credits may give: where minutes may pay, the ledger says whether they do.
    """
    is_used = limit.used >= limit.most
    match limit.kind:
        case LimitKind.CONCURRENT_CALLS | LimitKind.CALLS_A_MINUTE | LimitKind.MEETING_TIME:
            return is_used
        case LimitKind.CALLEES_A_DAY:
            return is_used and limit.scope not in known(facts.destination).called_today
        case LimitKind.PRICE:
            rate = known(facts.destination).rate
            credits_may = SourceKind.CREDITS in _payer_kinds(facts)
            return credits_may and rate is not None and rate.price_micros > limit.most
        case LimitKind.SPEND_A_DAY | LimitKind.MEETING_SPEND:
            return is_used and _payer_kinds(facts) == [SourceKind.CREDITS]
        case LimitKind.FAIR_USE | LimitKind.FAIR_USE_NOTICE:
            return is_used and SourceKind.ADDON in _payer_kinds(facts)


def _payer_kinds(facts: Facts) -> list[SourceKind]:
    return [source.kind for source in payers(waterfall(facts))]


_NUMBER = ("number.region", "number.kind")
_DECK = ("destination.rate.deck", "destination.rate.prefix")

# What the waterfall looks at.
_PAYERS = (
    "organizer.licences",
    "tenant.credits_set_up",
    "tenant.benefits",
    "tenant.choices.addon_regions",
    "tenant.choices.ppm_needs_credits_licence",
    *_NUMBER,
    "destination.zones",
    "destination.rate",
)
_LIMITS: dict[LimitKind, tuple[str, ...]] = {
    LimitKind.CONCURRENT_CALLS: (),
    LimitKind.CALLS_A_MINUTE: (),
    LimitKind.CALLEES_A_DAY: ("destination.called_today",),
    LimitKind.PRICE: ("destination.rate.price_micros", *_PAYERS),
    LimitKind.SPEND_A_DAY: _PAYERS,
    LimitKind.MEETING_TIME: (),
    LimitKind.MEETING_SPEND: _PAYERS,
    LimitKind.FAIR_USE: _PAYERS,
}

# name, asked by, facts looked at. The first refusal is the answer; then the waterfall.
RULES: tuple[Rule, ...] = (
    Rule("tenant_known", _tenant_known, ("tenant",), is_final=True),
    Rule("tenant_active", _tenant_active, ("tenant.suspended",)),
    Rule("organizer_known", _organizer_known, ("organizer",), is_final=True),
    Rule("organizer_unblocked", _organizer_unblocked, ("organizer.blocked",)),
    Rule("meeting_organizer", _meeting_organizer, ("meeting.organizer_matches",)),
    Rule(
        "number_readable",
        _number_readable,
        ("meeting.reading_region", "number.reason"),
        is_final=True,
    ),
    Rule("number_allocated", _number_allocated, (*_NUMBER, "tenant.choices.unallocated")),
    Rule(
        "toll_free", _toll_free, (*_NUMBER, "tenant.choices.toll_free", "destination.trunk_serves")
    ),
    Rule("destination_served", _destination_served, (*_NUMBER, "destination.trunk_reaches")),
    Rule(
        "premium",
        _premium,
        (*_NUMBER, "tenant.choices.premium", *_DECK, "destination.rate_is_exact"),
    ),
    Rule(
        "destination_clear",
        _destination_clear,
        ("number.region", *_DECK, "destination.rate_regions"),
    ),
    Rule("operator_list", _operator_list, ("destination.blocks.operator",)),
    Rule(
        "high_risk_list",
        _high_risk_list,
        (
            "destination.blocks.high_risk",
            "destination.blocks.exempt",
            "tenant.choices.high_risk_prefixes",
        ),
    ),
    Rule("tenant_list", _tenant_list, ("destination.blocks.tenant",)),
    Rule("audio_conferencing", _audio_conferencing, ("organizer.licences",)),
    Rule("location", _location, ("organizer.region", "organizer.dial_out_disabled")),
    Rule(
        "organizer_permission",
        _organizer_permission,
        ("organizer.permission", "organizer.region", "number.region", "destination.zones"),
    ),
    Rule(
        "meeting_permission",
        _meeting_permission,
        ("meeting.permission", "meeting.asker", "meeting.callee"),
    ),
    *(
        Rule(f"limit_{kind}", partial(_limit, kind), (f"limits.{kind}", *more))
        for kind, more in _LIMITS.items()
    ),
)
