"""A telephone calls in: who lets it in, who is charged, and who hears why not."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.core.choices import Choices, MeetingPermission
from gateway.core.dial_in import DialInExplanation, Free, Judgement, Metered, explain, judge
from gateway.core.e164 import E164, Destination, NumberKind, NumberRefusal, Region
from gateway.core.facts import (
    AskerRole,
    Blocks,
    Callee,
    DestinationFacts,
    DialOutPermission,
    Facts,
    MeetingFacts,
    OrganizerFacts,
    Sku,
    TenantFacts,
)
from gateway.core.policy import Deny
from gateway.core.rating import Micros, Rate, Seconds
from gateway.core.reasons import Reason
from gateway.core.waterfall import CREDITS

TOLL = Destination(e164=E164("+442079460000"), region=Region("GB"), kind=NumberKind.FIXED_LINE)
TOLL_FREE = Destination(e164=E164("+448081570000"), region=Region("GB"), kind=NumberKind.TOLL_FREE)
RATE = Rate(
    deck_id=1,
    deck="inbound",
    prefix="44",
    regions=None,
    currency="USD",
    price_micros=Micros(20_000),
    connect_fee_micros=Micros(0),
    initial_increment_seconds=Seconds(1),
    increment_seconds=Seconds(1),
)
PPM = frozenset({Sku.AUDIO_CONFERENCING_PPM, Sku.COMMUNICATIONS_CREDITS})
STANDARD = frozenset({Sku.AUDIO_CONFERENCING})
BOTH = PPM | STANDARD
FUNDED = Metered(sources=(CREDITS,), needs_funds=True)
MAY_OVERRUN = Metered(sources=(CREDITS,), needs_funds=False)
UNPAID = Metered(sources=(), needs_funds=False)
WITHOUT_LICENCE = Choices(ppm_needs_credits_licence=False)


def leg(
    number: Destination | NumberRefusal | None = TOLL,
    licences: frozenset[Sku] = STANDARD,
    *,
    suspended: bool = False,
    credits_set_up: bool = True,
    choices: Choices | None = None,
    blocked: bool = False,
    rate: Rate | None = RATE,
    organizer_matches: bool = True,
) -> Facts:
    """Return what is known of a leg into the meeting of an organizer in Great Britain."""
    return Facts(
        tenant=TenantFacts(
            suspended=suspended,
            credits_set_up=credits_set_up,
            choices=choices or Choices(),
            benefits=(),
        ),
        organizer=OrganizerFacts(
            region=Region("GB"),
            permission=DialOutPermission.NONE,
            licences=licences,
            dial_out_disabled=True,
            blocked=blocked,
        ),
        meeting=MeetingFacts(
            asker=AskerRole.ANONYMOUS,
            callee=Callee.SELF,
            permission=MeetingPermission.ORGANIZER,
            reading_region=Region("GB"),
            organizer_matches=organizer_matches,
        ),
        number=number,
        destination=DestinationFacts(
            zones=frozenset(),
            blocks=Blocks(operator="44", tenant="44"),
            rate=rate,
            rate_regions=frozenset(),
            rate_is_exact=False,
            trunk_serves=False,
        ),
    )


def nobody(reason: Reason) -> Judgement:
    """Return the refusal for a reason."""
    return Deny(reason=reason)


CASES: tuple[tuple[str, Facts, Judgement], ...] = (
    ("standard, toll", leg(), Free()),
    ("no licence, toll", leg(licences=frozenset()), Free()),
    ("both subscriptions, toll", leg(licences=BOTH), Free()),
    ("standard, toll, no credits", leg(credits_set_up=False, rate=None), Free()),
    ("blocked, toll", leg(blocked=True), Free()),
    ("by the minute, toll", leg(licences=PPM), MAY_OVERRUN),
    ("by the minute, toll, blocked", leg(licences=PPM, blocked=True), MAY_OVERRUN),
    ("by the minute, toll, no rate", leg(licences=PPM, rate=None), UNPAID),
    ("by the minute, toll, no credits", leg(licences=PPM, credits_set_up=False), UNPAID),
    (
        "by the minute, toll, no credits licence",
        leg(licences=frozenset({Sku.AUDIO_CONFERENCING_PPM})),
        UNPAID,
    ),
    (
        "by the minute, toll, needs no credits licence",
        leg(licences=frozenset({Sku.AUDIO_CONFERENCING_PPM}), choices=WITHOUT_LICENCE),
        MAY_OVERRUN,
    ),
    ("by the minute, toll-free", leg(TOLL_FREE, PPM), FUNDED),
    ("standard with credits, toll-free", leg(TOLL_FREE, BOTH), FUNDED),
    ("standard, toll-free", leg(TOLL_FREE), nobody(Reason.NO_CREDITS_LICENCE)),
    (
        "standard, toll-free, no credits",
        leg(TOLL_FREE, credits_set_up=False),
        nobody(Reason.NOT_COVERED),
    ),
    (
        "by the minute, toll-free, no credits",
        leg(TOLL_FREE, PPM, credits_set_up=False),
        nobody(Reason.CREDITS_NOT_SET_UP),
    ),
    ("by the minute, toll-free, no rate", leg(TOLL_FREE, PPM, rate=None), nobody(Reason.NO_RATE)),
    ("blocked, toll-free", leg(TOLL_FREE, PPM, blocked=True), nobody(Reason.ORGANIZER_BLOCKED)),
    (
        "credits alone, toll-free",
        leg(TOLL_FREE, frozenset({Sku.COMMUNICATIONS_CREDITS})),
        nobody(Reason.NO_AUDIO_CONFERENCING),
    ),
    ("suspended, toll", leg(suspended=True), nobody(Reason.TENANT_SUSPENDED)),
    ("suspended, toll-free", leg(TOLL_FREE, PPM, suspended=True), nobody(Reason.TENANT_SUSPENDED)),
    (
        "another's meeting",
        leg(organizer_matches=False),
        nobody(Reason.MEETING_OF_ANOTHER_ORGANIZER),
    ),
    (
        "no number",
        leg(NumberRefusal(reason=Reason.NUMBER_INVALID)),
        nobody(Reason.NUMBER_INVALID),
    ),
    (
        "no organizer",
        replace(leg(), organizer=None, meeting=None, number=None, destination=None),
        nobody(Reason.ORGANIZER_UNKNOWN),
    ),
    (
        "no tenant",
        Facts(tenant=None, organizer=None, meeting=None, number=None, destination=None),
        nobody(Reason.TENANT_UNKNOWN),
    ),
)


@pytest.mark.parametrize(("facts", "judgement"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_each_leg_is_judged_by_who_pays_for_it(facts: Facts, judgement: Judgement) -> None:
    """A caller waits in the dark: what costs the operator is paid for, all else is let in.

    What bounds the calls out of a meeting, its permissions and the lists of prefixes, is no
    reason against somebody who calls in.
    """
    assert judge(facts) == judgement


@pytest.mark.parametrize("facts", [c[1] for c in CASES], ids=[c[0] for c in CASES])
def test_what_is_stored_explains_itself_again(facts: Facts) -> None:
    """The same facts give the same bytes, and a refusal always says what would let it pass."""
    explanation = explain(facts, at=datetime(2026, 3, 10, tzinfo=UTC), metadata_version="9.0")
    parsed = DialInExplanation.parse(explanation.text)

    assert parsed == explanation
    assert parsed is not None
    assert parsed.again().text == explanation.text
    assert explanation.decision == judge(facts)
    if isinstance(explanation.decision, Deny):
        assert explanation.to_pass


@pytest.mark.parametrize("text", ["", "{}", '{"dial_in_format":1}', "null"])
def test_what_is_no_explanation_is_none(text: str) -> None:
    """A row of another version must not stop a report of the others."""
    assert DialInExplanation.parse(text) is None
