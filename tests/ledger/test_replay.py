"""Recorded requests decided again, under another deck, policy or numbering plan."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import phonenumbers
import pytest
from typer.testing import CliRunner

from gateway.admission import Admission
from gateway.cli.main import cli
from gateway.core.choices import MeetingPermission, Opening
from gateway.core.dial_out import MAIN_BRIDGE, BridgeName
from gateway.core.e164 import Region
from gateway.core.facts import OrganizerId, Sku, SourceKind
from gateway.core.rating import Micros
from gateway.core.reasons import Reason
from gateway.core.trunk import Trunk
from gateway.inquiry import Inquiry
from gateway.ledger import Ledger, RequestOutcome, TriedDeck
from gateway.replay import Candidate, Replay, Replayed, Unread
from tests.ledger.test_explainer import asked
from tests.ledger.world import (
    ACTOR,
    CREDITS,
    LONDON_ROW,
    NOON,
    ORGANIZER,
    POOL,
    TERMS,
    YEAR_BEFORE,
    World,
)

LATER = NOON + timedelta(days=1)
PREMIUM = "+44 909 879 0000"
KENYA = "+254 20 2000000"
LONDON = "020 7946 0123"


@pytest.fixture
def inquiry(ledger: Ledger) -> Inquiry:
    """What is asked before anything is decided."""
    return Inquiry(ledger=ledger, trunks={MAIN_BRIDGE: Trunk()})


@pytest.fixture
async def history(world: World, ledger: Ledger, inquiry: Inquiry) -> World:
    """A tenant with four calls: London by the pool, Kenya by credits, a premium number, nonsense.

    London and Kenya were answered for 90 s, Kenya at 12,000 micros a minute and a fee of 5,000.
    """
    name = f"deck {uuid4()}"
    rows = [replace(LONDON_ROW, prefix=prefix) for prefix in ("44", "254", "4490")]
    await world.put_deck(name, rows, YEAR_BEFORE)
    await world.update(rate_deck=name)
    await world.add_licence()
    await world.add_licence(sku=Sku.COMMUNICATIONS_CREDITS)
    await world.add_credits(10_000_000)
    admission = Admission(ledger=ledger, inquiry=inquiry, terms={MAIN_BRIDGE: TERMS})
    for number in (LONDON, KENYA, PREMIUM, "12"):
        request = asked(world, number)
        await admission.admit(request, at=NOON)
        if number in (LONDON, KENYA):
            await ledger.claim(request.key, "a-gate", NOON)
            await world.settle(request.key, 90_000)
    return world


async def replayed(
    world: World, inquiry: Inquiry, *, deck: str | None = None, **choices: Any
) -> dict[str, Replayed]:
    """Return what a candidate would have done with each number."""
    found = await world.ledger.rate_deck_find(deck) if deck else None
    run = Replay(
        ledger=world.ledger,
        inquiry=inquiry,
        candidate=Candidate(
            deck=TriedDeck(deck_id=found[0], rates_at=LATER) if found else None, choices=choices
        ),
    )
    return {
        each.dial_out.request.number_typed: each
        async for each in run.run(world.tenant_id, NOON, LATER)
    }


async def test_nothing_changes_where_nothing_is_different(history: World, inquiry: Inquiry) -> None:
    """The same deck, the same policy, the same plans: every answer and every charge is the same."""
    again = await replayed(history, inquiry)

    assert set(again) == {LONDON, KENYA, PREMIUM, "12"}
    assert not any(each.is_changed for each in again.values())
    assert [again[n].recorded_micros for n in (LONDON, KENYA)] == [0, 29_000]


async def test_a_policy_that_opens_premium_numbers(history: World, inquiry: Inquiry) -> None:
    """The deck has a rate for exactly them, so the refusal becomes a call."""
    again = await replayed(history, inquiry, premium=Opening.CREDITS)

    changed = {number for number, each in again.items() if each.is_changed}
    assert changed == {PREMIUM}
    assert again[PREMIUM].before is Reason.NUMBER_KIND_REFUSED
    assert again[PREMIUM].after is None


async def test_a_deck_moves_money_and_refuses_what_it_lacks(
    history: World, inquiry: Inquiry
) -> None:
    """London is paid in minutes, whatever it costs; Kenya costs what the other deck says.

    The decks were imported after the calls, as those that somebody wants to try are.
    """
    dearer = f"deck {uuid4()}"
    await history.put_deck(
        dearer, [replace(LONDON_ROW, prefix="254", price_micros=Micros(20_000))], LATER
    )
    without = f"deck {uuid4()}"
    await history.put_deck(without, [LONDON_ROW], LATER)

    dear = await replayed(history, inquiry, deck=dearer)
    refused = await replayed(history, inquiry, deck=without)

    assert (dear[KENYA].candidate_micros, dear[KENYA].moved_micros) == (45_000, 16_000)
    assert not dear[LONDON].is_changed
    assert (refused[KENYA].after, refused[KENYA].moved_micros) == (Reason.NO_RATE, -29_000)


async def test_another_numbering_plan_is_tried_by_installing_it(
    history: World, inquiry: Inquiry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digits are read again: a range that was ordinary and now is premium is refused."""
    monkeypatch.setattr(
        phonenumbers, "number_type", lambda _number: phonenumbers.PhoneNumberType.PREMIUM_RATE
    )

    again = await replayed(history, inquiry)

    assert again[LONDON].after is Reason.NUMBER_KIND_REFUSED
    assert again[KENYA].moved_micros == -29_000


async def test_a_call_that_loses_its_minutes_is_paid_by_credits(
    history: World, inquiry: Inquiry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seconds that the pool paid go to credits, at their rate and with their fee."""
    monkeypatch.setattr(
        phonenumbers, "number_type", lambda _number: phonenumbers.PhoneNumberType.UNKNOWN
    )

    again = await replayed(history, inquiry, unallocated=Opening.CREDITS)

    assert again[LONDON].after is None
    assert again[LONDON].moved_micros == 2 * 12_000 + 5_000
    assert again[KENYA].moved_micros == 0


async def test_a_source_that_newly_may_pay_does(history: World, inquiry: Inquiry) -> None:
    """It is taken to have enough: what credits paid is given back."""
    await history.add_licence(sku=Sku.EXTENDED_DIALOUT_US_CA)
    await placed(history, inquiry, KENYA, 90_000, typed="00 254 20 2000000")

    again = await replayed(history, inquiry, addon_regions=frozenset({Region("KE")}))

    assert again["00 254 20 2000000"].moved_micros == -29_000
    assert not again[KENYA].is_changed  # the licence came after it


async def test_what_the_ledger_refused_stays_refused(history: World, inquiry: Inquiry) -> None:
    """Policy had allowed it and nothing was left: no stricter policy refuses it newly."""
    exhausted = await refused_for_want(history, inquiry)

    same = await replayed(history, inquiry)
    stricter = await replayed(history, inquiry, meeting_to_third_party=MeetingPermission.ORGANIZER)

    assert same[exhausted].before is same[exhausted].after is Reason.CREDITS_EXHAUSTED
    assert not same[exhausted].is_changed
    assert stricter[exhausted].before is Reason.CREDITS_EXHAUSTED


async def test_what_the_ledger_refused_may_find_another_source(
    history: World, inquiry: Inquiry
) -> None:
    """One that was not asked then is taken to have enough."""
    await history.add_licence(sku=Sku.EXTENDED_DIALOUT_US_CA)
    exhausted = await refused_for_want(history, inquiry)

    again = await replayed(history, inquiry, addon_regions=frozenset({Region("KE")}))

    assert (again[exhausted].before, again[exhausted].after) == (Reason.CREDITS_EXHAUSTED, None)


async def test_seconds_that_nobody_would_pay_are_told(history: World, inquiry: Inquiry) -> None:
    """The pool paid what it had and credits the rest; without a rate the rest is nobody's."""
    await history.reserve(None, POOL, seconds=3600 - 90 - 30)
    await placed(history, inquiry, LONDON, 90_000, typed="+44 20 7946 0123")
    kenya_only = f"deck {uuid4()}"
    await history.put_deck(kenya_only, [replace(LONDON_ROW, prefix="254")], LATER)

    again = await replayed(history, inquiry, deck=kenya_only)

    split = again["+44 20 7946 0123"]
    assert (split.after, split.candidate_micros, split.unfunded_seconds) == (None, 0, 60)
    assert split.recorded_micros == 12_000 + 5_000


async def test_a_meetings_own_permission_is_not_a_choice(history: World, inquiry: Inquiry) -> None:
    """A choice holds for meetings without one, so it changes nothing for this one."""
    async with history.provisioning.change(actor=ACTOR) as change:
        await change.meeting_put(
            history.tenant_id,
            "room-1",
            to_self=MeetingPermission.EVERYONE,
            to_third_party=MeetingPermission.EVERYONE,
        )
    await placed(history, inquiry, LONDON, 90_000, typed="+44 20 7946 0123", initiator="guest")
    choice = {"meeting_to_third_party": MeetingPermission.ORGANIZER}

    again = await replayed(history, inquiry, **choice)

    assert again["+44 20 7946 0123"].after is None


async def test_digits_are_read_again_where_they_were_read(history: World, inquiry: Inquiry) -> None:
    """In the asker's country, not the organizer's: else every national number would change."""
    await history.add_organizer(OrganizerId("kim"), region="KE")
    await placed(history, inquiry, KENYA, 90_000, typed="020 2000000", initiator="kim")

    again = await replayed(history, inquiry)

    assert not again["020 2000000"].is_changed


async def test_a_number_that_is_read_otherwise_is_looked_up_anew(
    history: World, inquiry: Inquiry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was known of the old number says nothing about the new one."""
    monkeypatch.setattr(phonenumbers, "format_number", lambda _number, _form: "+254202000001")

    again = await replayed(history, inquiry)

    assert again[LONDON].after is Reason.DESTINATION_AMBIGUOUS


async def test_a_bridge_that_is_not_in_the_settings_is_not_guessed_at(
    history: World, ledger: Ledger, inquiry: Inquiry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deck needs no trunk. A number that is read otherwise does: nobody knows what reached it."""
    sold = BridgeName("sold")
    then = Inquiry(ledger=ledger, trunks={sold: Trunk()})
    request = replace(asked(history, "+44 20 7946 0199"), bridge=sold)
    admission = Admission(ledger=ledger, inquiry=then, terms={sold: TERMS})
    await admission.admit(request, at=NOON)
    kenya_only = f"deck {uuid4()}"
    await history.put_deck(kenya_only, [replace(LONDON_ROW, prefix="254")], LATER)

    same = await replayed(history, inquiry)
    priced = await replayed(history, inquiry, deck=kenya_only)
    monkeypatch.setattr(phonenumbers, "format_number", lambda _number, _form: "+254202000001")
    otherwise = await replayed(history, inquiry)

    assert (same[request.number_typed].unread, priced[request.number_typed].unread) == (None, None)
    assert not same[request.number_typed].is_changed
    assert otherwise[request.number_typed].unread is Unread.UNKNOWN_BRIDGE
    assert not otherwise[request.number_typed].is_changed
    assert otherwise[LONDON].unread is None


async def placed(
    world: World,
    inquiry: Inquiry,
    number: str,
    milliseconds: int,
    *,
    typed: str | None = None,
    initiator: str = ORGANIZER,
) -> None:
    """Have a call placed, answered and settled."""
    request = replace(asked(world, typed or number), initiator_id=initiator)
    admission = Admission(ledger=world.ledger, inquiry=inquiry, terms={MAIN_BRIDGE: TERMS})
    outcome, _ = await admission.admit(request, at=NOON)
    assert outcome is RequestOutcome.RESERVED
    await world.ledger.claim(request.key, "a-gate", NOON)
    await world.settle(request.key, milliseconds)


async def refused_for_want(world: World, inquiry: Inquiry) -> str:
    """Have a call to Kenya refused because all credits are set aside; return how it was typed."""
    free = (await world.balance(SourceKind.CREDITS)).free
    dear = replace(world.rate, price_micros=Micros((free - 5_000) // 60 * 60), prefix="254")
    await world.reserve(None, CREDITS, seconds=60, rate=dear)
    request = asked(world, "00254 20 2000000")
    admission = Admission(ledger=world.ledger, inquiry=inquiry, terms={MAIN_BRIDGE: TERMS})
    _, dial_out = await admission.admit(request, at=NOON)
    assert dial_out is not None
    assert dial_out.reason is Reason.CREDITS_EXHAUSTED
    return request.number_typed


async def test_what_an_older_version_stored_is_counted_apart(
    history: World, inquiry: Inquiry
) -> None:
    """Nothing is known of its facts, so nothing is claimed of it."""
    await history.reserve(replace(history.request(), number_typed="020 7946 0199"))

    again = await replayed(history, inquiry, premium=Opening.CREDITS)

    assert [number for number, each in again.items() if each.unread] == ["020 7946 0199"]
    assert not again["020 7946 0199"].is_changed


async def test_the_command_lists_it_per_tenant(
    history: World, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a policy file; a table for people and everything in JSON."""
    monkeypatch.setenv("DIALOUT_DATABASE__DSN", dsn)
    monkeypatch.setenv("DIALOUT_BRIDGES__MAIN__CALLER_ID", "+442079460999")
    monkeypatch.setenv("COLUMNS", "200")
    policy = tmp_path / "policy.toml"
    policy.write_text('premium = "credits"\n')
    words = ["replay", "--since", "2026-03-01", "--policy", str(policy)]

    told = await asyncio.to_thread(CliRunner().invoke, cli, [*words, "--json"])
    shown = await asyncio.to_thread(CliRunner().invoke, cli, words)

    answer = json.loads(told.stdout)
    [tenant] = answer["tenants"]
    assert (tenant["requests"], tenant["newly_allowed"]) == (4, {"number_kind_refused": 1})
    assert (tenant["newly_refused"], tenant["moved_micros"]) == ({}, 0)
    assert [change["number_typed"] for change in answer["changes"]] == [PREMIUM]
    assert (told.exit_code, shown.exit_code) == (0, 0)
    assert "1 number_kind_refused" in shown.stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("premium = ", "no policy"),
        ('premim = "credits"', "premim: no such choice"),
        ('premium = "sometimes"', "premium: "),
        ("addon_fair_use_minutes = 0", "addon_fair_use_minutes: "),
    ],
)
async def test_a_policy_that_is_none_says_why(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, said: str
) -> None:
    """Exit 2 and the line that is wrong; nothing is replayed."""
    monkeypatch.setenv("DIALOUT_DATABASE__DSN", dsn)
    monkeypatch.setenv("DIALOUT_BRIDGES__MAIN__CALLER_ID", "+442079460999")
    policy = tmp_path / "policy.toml"
    policy.write_text(content)

    result = await asyncio.to_thread(
        CliRunner().invoke, cli, ["replay", "--since", "2026-03-01", "--policy", str(policy)]
    )

    assert result.exit_code == 2
    assert said in result.stderr
