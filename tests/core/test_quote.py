"""What people are told of a call before it is made."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.core.dial_out import SourceStanding
from gateway.core.e164 import Destination, Region
from gateway.core.facts import Facts, Sku, SourceKind, known
from gateway.core.quote import Quote, quote
from gateway.core.rating import Micros, Rate, Seconds
from gateway.core.reasons import REASON_TEXTS, Reason
from tests.core.cases import Case, DeckRow, Licence, facts

RATE = Rate(
    deck_id=1,
    deck="deck",
    prefix="254",
    regions=None,
    currency="USD",
    price_micros=Micros(21_000),
    connect_fee_micros=Micros(0),
    initial_increment_seconds=Seconds(60),
    increment_seconds=Seconds(60),
)
POOL = SourceStanding(
    kind=SourceKind.POOL,
    benefit_id="standard_pool",
    unit="seconds",
    currency=None,
    capped=True,
    granted=3600,
    used=2840,
    reserved=0,
    free=760,
    seconds=Seconds(760),
    micros=Micros(0),
)
CREDITS = SourceStanding(
    kind=SourceKind.CREDITS,
    benefit_id=None,
    unit="micros",
    currency="USD",
    capped=True,
    granted=1_000_000,
    used=0,
    reserved=0,
    free=1_000_000,
    seconds=Seconds(1110),
    micros=Micros(399_000),
)


def known_facts(rate: Rate | None = RATE, typed: str = "+254202012345") -> Facts:
    """Return the facts of a call to Nairobi at this rate."""
    case = Case(
        at=datetime(2026, 11, 21, tzinfo=UTC),
        typed=typed,
        organizer=Region("GB"),
        licences=(Licence(sku=Sku.AUDIO_CONFERENCING),),
        deck=(DeckRow(prefix="254", regions=None),),
        credits_set_up=True,
    )
    found = facts(case)
    if found.destination is None:
        return found
    return replace(found, destination=replace(known(found.destination), rate=rate))


def allowed(
    *sources: SourceStanding, talk: int, limit: int | None = None, rate: Rate | None = RATE
) -> Quote:
    """Return the quote of a call that is paid for so long."""
    return quote(
        known_facts(rate),
        reason=None,
        sources=sources,
        talk_seconds=Seconds(talk),
        limit_seconds=Seconds(limit or talk),
    )


def test_the_pool_and_then_credits() -> None:
    """Who pays, in which order and for how long, at which price, and when the call is cut."""
    found = allowed(POOL, CREDITS, talk=1870)

    assert found.sentence == (
        "12:40 from the pool, then 0.021 USD a minute from credits, cut at 31:10."
    )
    assert [(payer.source, payer.seconds) for payer in found.payers] == [
        (SourceKind.POOL, 760),
        (SourceKind.CREDITS, 1110),
    ]


def test_a_connect_fee_is_named() -> None:
    """It is charged at the answer: a price a minute alone would be a false one."""
    fee = replace(RATE, connect_fee_micros=Micros(50_000))

    assert allowed(CREDITS, talk=1110, rate=fee).sentence == (
        "0.021 USD a minute from credits and 0.05 USD to connect, cut at 18:30."
    )


def test_minutes_alone_have_no_price() -> None:
    """A deck prices the destination, too; but nobody would pay that."""
    found = allowed(POOL, replace(CREDITS, seconds=Seconds(0)), talk=760)

    assert found.sentence == "12:40 from the pool, cut at 12:40."
    assert found.rate is None
    assert "price_micros" not in found.summary()


def test_a_call_that_may_finish_unpaid_says_so() -> None:
    """Where the tenant lets calls finish, the cut comes later than the funds end."""
    assert allowed(POOL, talk=760, limit=3600).sentence == (
        "12:40 from the pool, unpaid from 12:40 on, cut at 1:00:00."
    )


@pytest.mark.parametrize("kind", list(SourceKind))
def test_every_source_has_a_name(kind: SourceKind) -> None:
    """One that had none would break the quote of the call that it pays."""
    assert allowed(replace(POOL, kind=kind), talk=760).sentence


@pytest.mark.parametrize("reason", list(Reason))
def test_a_refusal_is_told_in_its_own_words(reason: Reason) -> None:
    """With the number as it was read, and no price: nothing would be paid."""
    refused = quote(
        known_facts(), reason=reason, sources=(POOL,), talk_seconds=None, limit_seconds=None
    )

    assert refused.summary() == {
        "allowed": False,
        "reason": reason,
        "sentence": REASON_TEXTS[reason].message,
        "destination": "+254202012345",
        "region": "KE",
        "number_kind": "fixed_line",
        "paid_by": [],
    }


def test_what_is_no_number_has_no_destination() -> None:
    """It is refused before a country is known."""
    refused = quote(
        known_facts(typed="12"),
        reason=Reason.NUMBER_INVALID,
        sources=(),
        talk_seconds=None,
        limit_seconds=None,
    )

    assert refused.destination is None
    assert set(refused.summary()) == {"allowed", "reason", "sentence", "paid_by"}


def test_an_allowed_quote_is_whole() -> None:
    """Everything that a page may want to show, in seconds and micro-units."""
    summary = allowed(POOL, CREDITS, talk=1870).summary()

    assert isinstance(known_facts().number, Destination)
    assert summary["allowed"] is True
    assert (summary["talk_seconds"], summary["limit_seconds"]) == (1870, 1870)
    assert (summary["price_micros"], summary["currency"]) == (21_000, "USD")
    assert (summary["initial_increment_seconds"], summary["increment_seconds"]) == (60, 60)
    assert summary["paid_by"] == [
        {"source": "pool", "benefit_id": "standard_pool", "seconds": 760},
        {"source": "credits", "benefit_id": None, "seconds": 1110},
    ]
