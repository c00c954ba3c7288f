"""What holds for every decision, whatever the facts."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.choices import Choices, MeetingPermission, Opening, Stance
from gateway.core.e164 import E164, ORDINARY_KINDS, Destination, NumberKind, Region
from gateway.core.explanation import Explanation, explain
from gateway.core.facts import (
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
from gateway.core.limits import LimitKind, LimitMode
from gateway.core.policy import RULES, Allow, Deny, blocking, decide, observed
from gateway.core.rating import Micros, Rate, Seconds
from gateway.core.reasons import REASON_TEXTS, Reason
from gateway.core.waterfall import CREDITS
from tests.core import arbitrary
from tests.core.arbitrary import deterministic
from tests.core.cases import facts
from tests.core.decision_table import rows

ROOT = Path(__file__).parents[2]
AT = datetime(2020, 8, 15, 12, 0, 0, 1, tzinfo=UTC)
INSTANTS = st.datetimes(min_value=datetime(2017, 1, 1), timezones=st.timezones())  # noqa: DTZ001

WATERFALL = [SourceKind.PROMOTION, SourceKind.ADDON, SourceKind.POOL, SourceKind.CREDITS]
NOTICE = LimitKind.FAIR_USE_NOTICE
NOBODY_PAYS = {
    Reason.NOT_COVERED,
    Reason.CREDITS_NOT_SET_UP,
    Reason.NO_CREDITS_LICENCE,
    Reason.NO_RATE,
}


def told(subject: Facts) -> Explanation:
    """Explain facts, at no particular time."""
    return explain(subject, at=AT, metadata_version="1.2.3")


@deterministic
@given(arbitrary.past_every_rule())
def test_one_licence_more_never_turns_a_yes_into_a_no(subject: Facts) -> None:
    """Nor does it take a source away: who buys something must not lose by it."""
    before = decide(subject)

    for sku in Sku:
        after = decide(assign(sku)(subject))
        if isinstance(before, Allow):
            assert isinstance(after, Allow)
            assert set(before.sources) <= set(after.sources)


@deterministic
@given(arbitrary.past_every_rule())
def test_credits_alone_pay_for_what_is_no_ordinary_number(subject: Facts) -> None:
    """Minutes cost the tenant nothing, so nobody would notice whom a premium call enriches."""
    decision = decide(subject)

    if isinstance(decision, Allow) and subject.dialled.kind not in ORDINARY_KINDS:
        assert decision.sources == (CREDITS,)


@deterministic
@given(arbitrary.anything)
def test_a_limit_less_never_turns_a_yes_into_a_no(subject: Facts) -> None:
    """Nor gives it another payer, nor another reason to what something else refuses."""
    before = decide(subject)
    refuses_by_limit = isinstance(before, Deny) and before.reason in {
        kind.reason for kind in LimitKind if kind is not NOTICE
    }

    for gone in subject.limits:
        after = decide(
            replace(subject, limits=tuple(each for each in subject.limits if each is not gone))
        )
        assert refuses_by_limit or after == before


@deterministic
@given(arbitrary.of_a_number())
def test_limits_that_only_observe_decide_nothing(subject: Facts) -> None:
    """But each one that would have refused is told, and none of them blocks anybody."""
    refusing = replace(
        subject,
        limits=tuple(
            each if each.kind is NOTICE else replace(each, mode=LimitMode.REFUSE)
            for each in subject.limits
        ),
    )
    observing = replace(
        subject, limits=tuple(replace(each, mode=LimitMode.OBSERVE) for each in subject.limits)
    )

    assert decide(observing) == decide(replace(subject, limits=()))
    for rule, reason in told(refusing).rules.items():
        if rule.startswith("limit_") and reason:
            assert reason in {
                each.kind.reason for each in observed(observing) if each.kind is not NOTICE
            }
            assert not blocking(observing, reason)


def could_pay(benefit: Benefit, subject: Facts) -> bool:
    """Return whether the specification lets a benefit pay: by licence, destination and kind."""
    covered: bool
    if benefit.zone is None:
        covered = subject.dialled.region in known(subject.tenant).choices.addon_regions
    else:
        covered = benefit.zone in known(subject.destination).zones
    licensed = benefit.sku in known(subject.organizer).licences
    return covered and licensed and subject.dialled.kind in ORDINARY_KINDS


@deterministic
@given(arbitrary.past_every_rule())
def test_no_source_pays_for_what_an_earlier_one_could_have(subject: Facts) -> None:
    """All that could pay are asked, once, each kind before the next, and credits at the end."""
    decision = decide(subject)
    able = {each.benefit_id for each in known(subject.tenant).benefits if could_pay(each, subject)}

    if isinstance(decision, Allow):
        asked = [source.benefit_id for source in decision.sources if source != CREDITS]
        kinds = [WATERFALL.index(source.kind) for source in decision.sources]
        assert sorted(asked, key=str) == sorted(able)
        assert kinds == sorted(kinds)
        assert decision.sources.count(CREDITS) <= 1
    elif decision.reason in NOBODY_PAYS:
        assert not able


# The same facts, the same bytes.


@deterministic
@given(arbitrary.anything, INSTANTS, arbitrary.texts)
def test_a_stored_explanation_gives_its_own_bytes_again(
    subject: Facts, at: datetime, version: str
) -> None:
    """Facts survive being stored: the same decision, for the same reasons, byte for byte."""
    explanation = explain(subject, at=at, metadata_version=version)

    stored = Explanation.parse(explanation.text)

    assert stored is not None
    assert stored.facts == subject
    assert stored.decision == decide(subject)
    assert stored.again().text == explanation.text


AGAIN = """
import sys
from gateway.core.explanation import Explanation
for line in sys.stdin:
    print(Explanation.parse(line).again().text)
"""

EVERYTHING = replace(
    Choices(),
    addon_regions=frozenset(map(Region, ("US", "CA", "PR", "GU", "MP", "VI", "AS"))),
)


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_another_process_gives_the_same_bytes(seed: str) -> None:
    """Sets have another order in another process; what is written of them has not."""
    texts = [
        explain(known_facts, at=row.case.at, metadata_version="1.2.3").text
        for row in rows()
        for known_facts in (
            facts(row.case),
            facts(replace(row.case, choices=EVERYTHING)),
        )
    ]

    answer = subprocess.run(
        [sys.executable, "-c", AGAIN],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed},
        input="\n".join(texts),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )

    assert answer.stdout.splitlines() == texts


# What would have made it pass.

LONDON = Destination(e164=E164("+442079460000"), region=Region("GB"), kind=NumberKind.FIXED_LINE)
GOOD = Facts(
    tenant=TenantFacts(suspended=False, credits_set_up=True, choices=Choices(), benefits=()),
    organizer=OrganizerFacts(
        region=Region("GB"),
        permission=DialOutPermission.ANY,
        licences=frozenset({Sku.AUDIO_CONFERENCING, Sku.COMMUNICATIONS_CREDITS}),
        dial_out_disabled=False,
    ),
    meeting=MeetingFacts(
        asker=AskerRole.ORGANIZER,
        callee=Callee.SELF,
        permission=MeetingPermission.EVERYONE,
        reading_region=Region("GB"),
    ),
    number=LONDON,
    destination=DestinationFacts(
        zones=frozenset(),
        blocks=Blocks(),
        rate=Rate(
            deck_id=1,
            deck="deck",
            prefix="44",
            regions=None,
            currency="USD",
            price_micros=Micros(1),
            connect_fee_micros=Micros(0),
            initial_increment_seconds=Seconds(1),
            increment_seconds=Seconds(1),
        ),
        rate_regions=frozenset({Region("GB")}),
        rate_is_exact=True,
        trunk_serves=True,
    ),
)

Change = Callable[[Facts], Facts]


def of_tenant(**changes: Any) -> Change:
    """Change what is known of the tenant."""
    return lambda old: replace(old, tenant=replace(known(old.tenant), **changes))


def choose(**changes: Any) -> Change:
    """Change the tenant's choices."""
    return lambda old: of_tenant(choices=replace(known(old.tenant).choices, **changes))(old)


def of_organizer(**changes: Any) -> Change:
    """Change what is known of the organizer."""
    return lambda old: replace(old, organizer=replace(known(old.organizer), **changes))


def assign(sku: Sku) -> Change:
    """Give the organizer one more licence."""
    return lambda old: of_organizer(licences=known(old.organizer).licences | {sku})(old)


def of_meeting(**changes: Any) -> Change:
    """Change what is known of the meeting."""
    return lambda old: replace(old, meeting=replace(known(old.meeting), **changes))


def of_destination(**changes: Any) -> Change:
    """Change what the lists, the deck and the trunk have of the destination."""
    return lambda old: replace(old, destination=replace(known(old.destination), **changes))


def unlist(name: str) -> Change:
    """Take the prefix off one of the lists."""
    return lambda old: of_destination(
        blocks=replace(known(old.destination).blocks, **{name: None})
    )(old)


def raise_limit(kind: LimitKind) -> Change:
    """Raise a limit beyond everything."""
    return lambda old: replace(
        old,
        limits=tuple(
            replace(each, most=2**62) if each.kind is kind else each for each in old.limits
        ),
    )


def price(old: Facts) -> Facts:
    """Give the deck a rate for exactly this number, in its own country."""
    return of_destination(
        rate=known(GOOD.destination).rate,
        rate_regions=frozenset({old.dialled.region}),
        rate_is_exact=True,
    )(old)


def become_known(old: Facts) -> Facts:
    """Let the tenant have the organizer, so that the meeting and the number can be known."""
    return replace(GOOD, tenant=old.tenant)


REMEDIES: dict[Reason, Change] = {
    Reason.TENANT_UNKNOWN: lambda old: replace(old, tenant=GOOD.tenant),
    Reason.TENANT_SUSPENDED: of_tenant(suspended=False),
    Reason.ORGANIZER_UNKNOWN: become_known,
    Reason.NUMBER_INVALID: lambda old: replace(
        old, number=GOOD.number, destination=GOOD.destination
    ),
    Reason.NUMBER_NOT_ALLOCATED: choose(unallocated=Opening.CREDITS),
    Reason.TOLL_FREE_REFUSED: choose(toll_free=Stance.ALLOW),
    Reason.TOLL_FREE_NOT_SERVED: of_destination(trunk_serves=True),
    Reason.DESTINATION_NOT_SERVED: of_destination(trunk_reaches=True),
    Reason.NUMBER_KIND_REFUSED: lambda old: price(choose(premium=Opening.CREDITS)(old)),
    Reason.NO_EXACT_RATE: price,
    Reason.DESTINATION_AMBIGUOUS: price,
    Reason.BLOCKED_BY_OPERATOR: unlist("operator"),
    Reason.BLOCKED_HIGH_RISK: choose(high_risk_prefixes=Stance.ALLOW),
    Reason.BLOCKED_BY_TENANT: unlist("tenant"),
    Reason.NO_AUDIO_CONFERENCING: assign(Sku.AUDIO_CONFERENCING_PPM),
    Reason.LOCATION_DISABLED: of_organizer(dial_out_disabled=False),
    Reason.PERMISSION_NONE: of_organizer(permission=DialOutPermission.ANY),
    Reason.PERMISSION_DOMESTIC: of_organizer(permission=DialOutPermission.ANY),
    Reason.PERMISSION_ZONE_A: of_organizer(permission=DialOutPermission.ANY),
    Reason.MEETING_ORGANIZER_ONLY: of_meeting(permission=MeetingPermission.EVERYONE),
    Reason.MEETING_AUTHENTICATED_ONLY: of_meeting(permission=MeetingPermission.EVERYONE),
    Reason.ORGANIZER_BLOCKED: of_organizer(blocked=False),
    Reason.MEETING_OF_ANOTHER_ORGANIZER: of_meeting(organizer_matches=True),
    **{kind.reason: raise_limit(kind) for kind in LimitKind if kind is not NOTICE},
    Reason.NOT_COVERED: lambda old: of_tenant(credits_set_up=True)(
        assign(Sku.COMMUNICATIONS_CREDITS)(old)
    ),
    Reason.CREDITS_NOT_SET_UP: of_tenant(credits_set_up=True),
    Reason.NO_CREDITS_LICENCE: assign(Sku.COMMUNICATIONS_CREDITS),
    Reason.NO_RATE: price,
}
"""What each remedy says, done. An emergency number has none."""

NEVER = REASON_TEXTS[Reason.EMERGENCY_OR_SHORT_CODE].remedy
BY_REMEDY = {REASON_TEXTS[reason].remedy: reason for reason in REMEDIES}


def follow(explanation: Explanation) -> Facts:
    """Do all that an explanation says would make the call pass."""
    better = explanation.facts
    for remedy in explanation.to_pass:
        better = REMEDIES[BY_REMEDY[remedy]](better)
    return better


@deterministic
@given(arbitrary.anything)
def test_whoever_does_what_would_make_it_pass_may_call(subject: Facts) -> None:
    """Each remedy removes what it is for; what shows only then is named then, and so on.

    There is an end to it: a rule that was satisfied refuses no more, so no more rounds than
    there are rules, and the waterfall.
    """
    for _ in (*RULES, "waterfall"):
        explanation = told(subject)
        if isinstance(explanation.decision, Allow):
            assert explanation.to_pass == ()
            return
        if NEVER in explanation.to_pass:
            return
        refused = {reason for reason in explanation.rules.values() if reason}
        subject = follow(explanation)
        assert not refused & set(told(subject).rules.values())
    raise AssertionError(f"still refused: {told(subject).text}")


def test_every_remedy_is_of_one_reason() -> None:
    """Otherwise nobody could tell what to do."""
    assert len(BY_REMEDY) == len(REMEDIES)
