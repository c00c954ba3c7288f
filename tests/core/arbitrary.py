"""Facts that nobody thought of, for tests of what holds for all of them."""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st

from gateway.core.choices import (
    Choices,
    Confirmation,
    MeetingPermission,
    Opening,
    PoolBasis,
    Stance,
)
from gateway.core.e164 import E164, ORDINARY_KINDS, Destination, NumberKind, NumberRefusal, Region
from gateway.core.facts import (
    ZONE_A,
    AskerRole,
    Benefit,
    Blocks,
    Callee,
    DestinationFacts,
    DialOutPermission,
    Facts,
    MeetingFacts,
    OrganizerFacts,
    Sku,
    SourceKind,
    TenantFacts,
    known,
)
from gateway.core.limits import Limit, LimitKind, LimitMode, LimitScope
from gateway.core.rating import Micros, Rate, Seconds
from gateway.core.reasons import Reason

deterministic = settings(derandomize=True, database=None, deadline=None, max_examples=300)
"""The same examples each time: a test that failed fails again, and one that passed passes."""

countries = st.sampled_from([Region(code) for code in ("US", "CA", "PR", "GB", "KE")])
regions = countries | st.sampled_from([Region("001"), Region("ZZ")])
zones = st.sampled_from([ZONE_A, ZONE_A, "zone_b"])
prefixes = st.integers(1, 10**15 - 1).map(str)
texts = st.text(max_size=20)


def rarely(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[str | None]:
    """Return None, most of the time: what is refused at once shows nothing further."""
    return st.one_of(st.none(), st.none(), st.none(), st.none(), strategy)


choices = st.builds(
    Choices,
    addon_regions=st.frozensets(countries),
    addon_fair_use_minutes=st.integers(1, 44_640),
    pool_basis=st.sampled_from(PoolBasis),
    ppm_needs_credits_licence=st.booleans(),
    premium=st.sampled_from(Opening),
    toll_free=st.sampled_from(Stance),
    unallocated=st.sampled_from(Opening),
    high_risk_prefixes=st.sampled_from(Stance),
    meeting_to_self=st.sampled_from(MeetingPermission),
    meeting_to_third_party=st.sampled_from(MeetingPermission),
    confirmation=st.sampled_from(Confirmation),
)

benefits = st.lists(
    st.builds(
        Benefit,
        benefit_id=texts,
        kind=st.sampled_from([SourceKind.PROMOTION, SourceKind.ADDON, SourceKind.POOL]),
        sku=st.sampled_from([Sku.AUDIO_CONFERENCING, *Sku]),
        zone=st.none() | zones,
    ),
    max_size=5,
    unique_by=lambda benefit: benefit.benefit_id,
).map(tuple)

tenants = st.builds(
    TenantFacts,
    suspended=st.sampled_from([False, False, False, False, True]),
    credits_set_up=st.sampled_from([True, True, True, False]),
    choices=choices,
    benefits=benefits,
)

organizers = st.builds(
    OrganizerFacts,
    region=countries,
    permission=st.sampled_from([DialOutPermission.ANY, *DialOutPermission]),
    licences=st.frozensets(st.sampled_from(Sku)),
    dial_out_disabled=st.sampled_from([False, False, False, False, True]),
    blocked=st.sampled_from([False, False, False, False, True]),
)


@st.composite
def limit(draw: st.DrawFn) -> Limit:
    """Return a limit that there can be; mostly one that is not reached."""
    kind = draw(st.sampled_from(LimitKind))
    return Limit(
        kind=kind,
        scope=draw(st.sampled_from(kind.scopes)),
        mode=draw(st.sampled_from(kind.modes)),
        most=draw(st.sampled_from([10, 10, 10, 2**62])),
        used=draw(st.integers(0, 11)),
    )


limits = st.lists(limit(), max_size=4, unique_by=lambda each: (each.kind, each.scope)).map(tuple)

meetings = st.builds(
    MeetingFacts,
    asker=st.sampled_from(AskerRole),
    callee=st.sampled_from(Callee),
    permission=st.sampled_from([MeetingPermission.EVERYONE, *MeetingPermission]),
    reading_region=countries,
    organizer_matches=st.sampled_from([True, True, True, True, False]),
)

numbers = st.builds(
    Destination,
    e164=st.integers(10**6, 10**15 - 1).map(lambda digits: E164(f"+{digits}")),
    region=regions,
    kind=st.sampled_from([*NumberKind, *sorted(ORDINARY_KINDS), *sorted(ORDINARY_KINDS)]),
)

no_numbers = st.builds(
    NumberRefusal,
    reason=st.sampled_from([Reason.NUMBER_INVALID, Reason.EMERGENCY_OR_SHORT_CODE]),
)

rates = st.builds(
    Rate,
    deck_id=st.integers(1, 2**31 - 1),
    deck=st.text(min_size=1, max_size=8),
    prefix=prefixes,
    regions=st.none() | st.frozensets(regions, min_size=1),
    currency=st.sampled_from(["EUR", "USD"]),
    price_micros=st.integers(0, 2**62).map(Micros),
    connect_fee_micros=st.integers(0, 2**62).map(Micros),
    initial_increment_seconds=st.integers(1, 3600).map(Seconds),
    increment_seconds=st.integers(1, 3600).map(Seconds),
)


@st.composite
def destinations(draw: st.DrawFn, number: Destination) -> DestinationFacts:
    """Return what may be known of a number; its rate is mostly one of its own country."""
    elsewhere = draw(st.frozensets(regions))
    return DestinationFacts(
        zones=draw(st.frozensets(zones)),
        blocks=Blocks(
            operator=draw(rarely(prefixes)),
            high_risk=draw(rarely(prefixes)),
            tenant=draw(rarely(prefixes)),
            exempt=draw(rarely(prefixes)),
        ),
        rate=draw(st.one_of(st.none(), rates, rates, rates)),
        rate_regions=draw(st.sampled_from([elsewhere | {number.region}, elsewhere])),
        rate_is_exact=draw(st.booleans()),
        trunk_serves=draw(st.booleans()),
        trunk_reaches=draw(st.sampled_from([True, True, True, True, False])),
        called_today=draw(
            st.frozensets(st.sampled_from([LimitScope.TENANT, LimitScope.ORGANIZER]))
        ),
    )


@st.composite
def of_a_number(draw: st.DrawFn) -> Facts:
    """Return facts of a number that was asked for by somebody known."""
    number = draw(numbers)
    return Facts(
        tenant=draw(tenants),
        organizer=draw(organizers),
        meeting=draw(meetings),
        number=number,
        destination=draw(destinations(number)),
        limits=draw(limits),
    )


@st.composite
def past_every_rule(draw: st.DrawFn) -> Facts:
    """Return facts that hardly any rule refuses, so that who may pay is the question."""
    subject = draw(of_a_number())
    tenant, organizer = known(subject.tenant), known(subject.organizer)
    conferencing = draw(st.sampled_from([Sku.AUDIO_CONFERENCING, Sku.AUDIO_CONFERENCING_PPM]))
    more = draw(st.sampled_from([frozenset(), frozenset(Sku) - {Sku.AUDIO_CONFERENCING_PPM}]))
    return replace(
        subject,
        tenant=replace(
            tenant,
            suspended=False,
            choices=replace(
                tenant.choices,
                premium=Opening.CREDITS,
                toll_free=Stance.ALLOW,
                unallocated=Opening.CREDITS,
            ),
        ),
        organizer=replace(
            organizer,
            permission=DialOutPermission.ANY,
            licences=organizer.licences | {conferencing} | more,
            dial_out_disabled=False,
            blocked=False,
        ),
        meeting=replace(
            known(subject.meeting),
            permission=MeetingPermission.EVERYONE,
            organizer_matches=True,
        ),
        limits=tuple(replace(each, mode=LimitMode.OBSERVE) for each in subject.limits),
        destination=replace(
            known(subject.destination),
            zones=frozenset({ZONE_A}),
            blocks=Blocks(),
            rate_regions=frozenset({subject.dialled.region}),
            rate_is_exact=True,
            trunk_serves=True,
            trunk_reaches=True,
        ),
    )


@st.composite
def of_no_number(draw: st.DrawFn) -> Facts:
    """Return facts as they are when the digits, the organizer or the tenant cannot be known."""
    tenant = draw(st.none() | tenants)
    organizer = draw(st.none() | organizers) if tenant else None
    return Facts(
        tenant=tenant,
        organizer=organizer,
        meeting=draw(meetings) if organizer else None,
        number=draw(no_numbers) if organizer else None,
        destination=None,
    )


anything = of_a_number() | past_every_rule() | of_no_number()
"""Facts as the shell can gather them: a later one is None only if an earlier one forbids it."""
