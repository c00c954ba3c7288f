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
from gateway.core.choices import Opening
from gateway.core.facts import Sku
from gateway.core.rating import Micros
from gateway.core.reasons import Reason
from gateway.inquiry import Inquiry
from gateway.ledger import Ledger
from gateway.replay import Candidate, Replay, Replayed
from tests.ledger.test_explainer import asked
from tests.ledger.world import LONDON_ROW, NOON, TERMS, YEAR_BEFORE, World

LATER = NOON + timedelta(days=1)
PREMIUM = "+44 909 879 0000"
KENYA = "+254 20 2000000"
LONDON = "020 7946 0123"


@pytest.fixture
def inquiry(ledger: Ledger) -> Inquiry:
    """What is asked before anything is decided."""
    return Inquiry(ledger=ledger, toll_free_regions=frozenset())


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
    admission = Admission(ledger=ledger, inquiry=inquiry, terms=TERMS)
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
        candidate=Candidate(deck_id=found[0] if found else None, choices=choices),
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
    """London is paid in minutes, whatever it costs; Kenya costs what the other deck says."""
    dearer = f"deck {uuid4()}"
    await history.put_deck(
        dearer, [replace(LONDON_ROW, prefix="254", price_micros=Micros(20_000))], YEAR_BEFORE
    )
    without = f"deck {uuid4()}"
    await history.put_deck(without, [LONDON_ROW], YEAR_BEFORE)

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


async def test_what_an_older_version_stored_is_counted_apart(
    history: World, inquiry: Inquiry
) -> None:
    """Nothing is known of its facts, so nothing is claimed of it."""
    await history.reserve(replace(history.request(), number_typed="020 7946 0199"))

    again = await replayed(history, inquiry, premium=Opening.CREDITS)

    assert [number for number, each in again.items() if not each.is_readable] == ["020 7946 0199"]
    assert not again["020 7946 0199"].is_changed


async def test_the_command_lists_it_per_tenant(
    history: World, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a policy file; a table for people and everything in JSON."""
    monkeypatch.setenv("DIALOUT_DATABASE__DSN", dsn)
    monkeypatch.setenv("DIALOUT_CALL__CALLER_ID", "+442079460999")
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
    monkeypatch.setenv("DIALOUT_CALL__CALLER_ID", "+442079460999")
    policy = tmp_path / "policy.toml"
    policy.write_text(content)

    result = await asyncio.to_thread(
        CliRunner().invoke, cli, ["replay", "--since", "2026-03-01", "--policy", str(policy)]
    )

    assert result.exit_code == 2
    assert said in result.stderr
