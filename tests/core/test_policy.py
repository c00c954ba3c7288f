"""The rules of docs/entitlement.md, a row a case."""

from dataclasses import replace

import pytest

from gateway.core.e164 import E164, Destination, NumberKind, NumberRefusal, Region
from gateway.core.explanation import explanation
from gateway.core.policy import (
    ORDINARY_KINDS,
    Allow,
    Decision,
    Deny,
    DestinationFacts,
    DialOutPermission,
    Facts,
    OrganizerFacts,
    Sku,
    SourceKind,
    TenantFacts,
    decide,
)
from gateway.core.rating import Micros, Rate, Seconds
from gateway.core.reasons import REASON_TEXTS, Reason

RATE = Rate(
    deck_id=1,
    prefix="254",
    currency="USD",
    price_micros=Micros(250_000),
    connect_fee_micros=Micros(0),
    initial_increment_seconds=Seconds(60),
    increment_seconds=Seconds(60),
)
LONDON = Destination(e164=E164("+442079460000"), region=Region("GB"), kind=NumberKind.FIXED_LINE)
NAIROBI = Destination(e164=E164("+254202000000"), region=Region("KE"), kind=NumberKind.FIXED_LINE)
BOTH = frozenset({Sku.AUDIO_CONFERENCING, Sku.COMMUNICATIONS_CREDITS})
CONFERENCING = frozenset({Sku.AUDIO_CONFERENCING})
CREDITS = frozenset({Sku.COMMUNICATIONS_CREDITS})
NONE: frozenset[Sku] = frozenset()
ANY, DOMESTIC = DialOutPermission.ANY, DialOutPermission.DOMESTIC
ZONE_A, NOTHING = DialOutPermission.ZONE_A, DialOutPermission.NONE
POOL_ONLY = Allow(sources=(SourceKind.POOL,))
CREDITS_ONLY = Allow(sources=(SourceKind.CREDITS,))
POOL_THEN_CREDITS = Allow(sources=(SourceKind.POOL, SourceKind.CREDITS))


def facts(
    *,
    licences: frozenset[Sku] = BOTH,
    permission: DialOutPermission = ANY,
    home: str = "GB",
    number: Destination | NumberRefusal = LONDON,
    in_zone_a: bool = True,
    rate: Rate | None = RATE,
    credits_set_up: bool = True,
    suspended: bool = False,
) -> Facts:
    """Return complete facts: by default an organizer who may call London from pool or credits."""
    return Facts(
        tenant=TenantFacts(suspended=suspended, credits_set_up=credits_set_up),
        organizer=OrganizerFacts(region=Region(home), permission=permission, licences=licences),
        number=number,
        destination=DestinationFacts(in_zone_a=in_zone_a, rate=rate),
    )


#   licences      permission home  number   zone A  rate   set up   answer
ROWS = [
    (BOTH,         ANY,      "GB", LONDON,  True,   RATE,  True,   POOL_THEN_CREDITS),
    (CONFERENCING, ANY,      "GB", LONDON,  True,   RATE,  True,   POOL_ONLY),
    (BOTH,         ANY,      "GB", LONDON,  True,   None,  True,   POOL_ONLY),
    (BOTH,         ANY,      "GB", LONDON,  True,   RATE,  False,  POOL_ONLY),
    (BOTH,         ANY,      "GB", NAIROBI, False,  RATE,  True,   CREDITS_ONLY),
    (CONFERENCING, ANY,      "GB", NAIROBI, False,  RATE,  True,   Reason.NO_CREDITS_LICENCE),
    (BOTH,         ANY,      "GB", NAIROBI, False,  RATE,  False,  Reason.CREDITS_NOT_SET_UP),
    (BOTH,         ANY,      "GB", NAIROBI, False,  None,  True,   Reason.NO_RATE),
    # The own country outside Zone A needs credits all the same.
    (BOTH,         ANY,      "KE", NAIROBI, False,  RATE,  True,   CREDITS_ONLY),
    (CREDITS,      ANY,      "GB", LONDON,  True,   RATE,  True,   Reason.NO_AUDIO_CONFERENCING),
    (NONE,         ANY,      "GB", LONDON,  True,   RATE,  True,   Reason.NO_AUDIO_CONFERENCING),
    (BOTH,         DOMESTIC, "GB", LONDON,  True,   RATE,  True,   POOL_THEN_CREDITS),
    (BOTH,         DOMESTIC, "US", LONDON,  True,   RATE,  True,   Reason.PERMISSION_DOMESTIC),
    (BOTH,         DOMESTIC, "KE", NAIROBI, False,  RATE,  True,   CREDITS_ONLY),
    (BOTH,         ZONE_A,   "US", LONDON,  True,   RATE,  True,   POOL_THEN_CREDITS),
    (BOTH,         ZONE_A,   "KE", NAIROBI, False,  RATE,  True,   Reason.PERMISSION_ZONE_A),
    (BOTH,         NOTHING,  "GB", LONDON,  True,   RATE,  True,   Reason.PERMISSION_NONE),
    # The licence is asked before the permission, the permission before the money.
    (NONE,         NOTHING,  "GB", LONDON,  True,   RATE,  True,   Reason.NO_AUDIO_CONFERENCING),
    (CONFERENCING, DOMESTIC, "GB", NAIROBI, False,  None,  False,  Reason.PERMISSION_DOMESTIC),
]  # fmt: skip


@pytest.mark.parametrize(
    ("licences", "permission", "home", "number", "in_zone_a", "rate", "credits_set_up", "answer"),
    ROWS,
)
def test_who_may_call_whom_and_who_pays(
    licences: frozenset[Sku],
    permission: DialOutPermission,
    home: str,
    number: Destination,
    in_zone_a: bool,
    rate: Rate | None,
    credits_set_up: bool,
    answer: Allow | Reason,
) -> None:
    """Each row is a rule of the contract."""
    expected: Decision = Deny(reason=answer) if isinstance(answer, Reason) else answer

    decision = decide(
        facts(
            licences=licences,
            permission=permission,
            home=home,
            number=number,
            in_zone_a=in_zone_a,
            rate=rate,
            credits_set_up=credits_set_up,
        )
    )

    assert decision == expected


@pytest.mark.parametrize("kind", sorted(set(NumberKind) - ORDINARY_KINDS))
def test_kinds_that_are_priced_apart_are_refused(kind: NumberKind) -> None:
    """Premium, satellite and their like are where toll fraud earns; nobody pays for them."""
    decision = decide(facts(number=replace(LONDON, kind=kind)))

    assert decision == Deny(reason=Reason.NUMBER_KIND_REFUSED)


def test_a_suspended_tenant_learns_nothing_else() -> None:
    """A refusal must not tell an outsider what a tenant may call."""
    broken = facts(
        suspended=True, licences=NONE, number=NumberRefusal(reason=Reason.NUMBER_INVALID)
    )

    assert decide(broken) == Deny(reason=Reason.TENANT_SUSPENDED)


def test_unknown_tenants_and_organizers_are_named() -> None:
    """Whoever is not known is refused before any number is read."""
    nobody = Facts(tenant=None, organizer=None, number=None, destination=None)
    no_organizer = replace(facts(), organizer=None, number=None, destination=None)

    assert decide(nobody) == Deny(reason=Reason.TENANT_UNKNOWN)
    assert decide(no_organizer) == Deny(reason=Reason.ORGANIZER_UNKNOWN)


@pytest.mark.parametrize(
    "reason", [Reason.NUMBER_INVALID, Reason.EMERGENCY_OR_SHORT_CODE, Reason.NUMBER_NOT_ALLOCATED]
)
def test_a_refused_number_is_refused_for_its_own_reason(reason: Reason) -> None:
    """What the reading of the number found is the answer."""
    unread = replace(facts(), number=NumberRefusal(reason=reason), destination=None)

    assert decide(unread) == Deny(reason=reason)


def test_every_reason_has_a_sentence() -> None:
    """API and people get words with each code."""
    assert set(REASON_TEXTS) == set(Reason)


def test_the_same_facts_give_the_same_bytes() -> None:
    """A stored explanation can be compared with a new one, byte by byte."""
    one = facts(licences=frozenset([Sku.AUDIO_CONFERENCING, Sku.COMMUNICATIONS_CREDITS]))
    two = facts(licences=frozenset([Sku.COMMUNICATIONS_CREDITS, Sku.AUDIO_CONFERENCING]))

    assert explanation(one, decide(one)) == explanation(two, decide(two))
    assert '"sources":["pool","credits"]' in explanation(one, decide(one))
