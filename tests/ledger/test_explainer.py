"""Why: what a call would be answered, and what is on record, on a real database."""

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from typer.testing import CliRunner

from gateway import db
from gateway.admission import Admission
from gateway.cli.main import cli
from gateway.core.call import Unproved
from gateway.core.choices import Choices, Exhaustion, Opening
from gateway.core.dial_out import MAIN_BRIDGE, DialOutKind, DialOutRequest
from gateway.core.e164 import METADATA_VERSION, Region
from gateway.core.explanation import Explanation
from gateway.core.facts import Sku, SourceKind
from gateway.core.key import DialOutKey
from gateway.core.policy import Allow
from gateway.core.reasons import REASON_TEXTS, Reason
from gateway.core.trunk import Trunk
from gateway.explainer import Explainer, question
from gateway.inquiry import Inquiry
from gateway.ledger import Ledger, RequestOutcome
from gateway.waiting_room import TENANT_REQUESTS_MAX
from tests.ledger.test_outages import outage, vanished
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

NUMBERS = (
    "020 7946 0123",
    "+44 7700 900123",
    "+254 20 2000000",
    "+1 876 555 0123",
    "+1 900 555 0123",
    "112",
    "12",
)


@pytest.fixture
def inquiry(ledger: Ledger) -> Inquiry:
    """What is asked before anything is decided."""
    trunk = Trunk(toll_free_regions=frozenset({Region("GB")}))
    return Inquiry(ledger=ledger, trunks={MAIN_BRIDGE: trunk})


@pytest.fixture
def explainer(ledger: Ledger, inquiry: Inquiry) -> Explainer:
    """The explainer under test."""
    return Explainer(ledger=ledger, inquiry=inquiry, terms={MAIN_BRIDGE: TERMS})


@pytest.fixture
def admission(ledger: Ledger, inquiry: Inquiry) -> Admission:
    """What decides real calls, to compare with."""
    return Admission(ledger=ledger, inquiry=inquiry, terms={MAIN_BRIDGE: TERMS})


@pytest.fixture
async def funded(world: World) -> World:
    """A tenant whose organizer has minutes and credits, and whose deck prices Kenya, too."""
    name = f"deck {uuid4()}"
    rows = [LONDON_ROW, replace(LONDON_ROW, prefix="254"), replace(LONDON_ROW, prefix="1")]
    await world.put_deck(name, rows, YEAR_BEFORE)
    await world.update(rate_deck=name)
    await world.add_licence()
    await world.add_licence(sku=Sku.COMMUNICATIONS_CREDITS)
    await world.add_credits(100_000)
    return world


def asked(world: World, number: str) -> DialOutRequest:
    """Return a request for a number, with an id of its own."""
    return question(
        world.tenant_id,
        organizer_id=ORGANIZER,
        initiator_id=ORGANIZER,
        kind=DialOutKind.ADD_PARTICIPANT,
        conference_id="room-1",
        number=number,
        bridge=MAIN_BRIDGE,
    )


async def test_a_rehearsal_answers_as_the_call_does(
    funded: World, explainer: Explainer, admission: Admission
) -> None:
    """The same reason, the same seconds, the same sources: else nobody could rely on it."""
    for number in (*NUMBERS, *NUMBERS):  # the second time with less in the sources
        request = asked(funded, number)

        rehearsed = await explainer.rehearsed(request, NOON)
        _, dial_out = await admission.admit(request, at=NOON)
        recorded = await explainer.recorded(request.key)

        assert dial_out is not None
        assert recorded is not None
        assert rehearsed.reason == dial_out.reason
        assert rehearsed == replace(recorded, is_reproduced=None, evidence=None)
        assert recorded.is_reproduced


async def test_questions_wait_with_the_tenant_s_own_calls(
    funded: World, inquiry: Inquiry, explainer: Explainer, admission: Admission
) -> None:
    """Else one tenant's questions, which cost it nothing, would take every connection there is."""
    other = await World.create(funded.ledger, funded.provisioning)
    async with AsyncExitStack() as held:
        for _ in range(TENANT_REQUESTS_MAX):
            await held.enter_async_context(inquiry.place(funded.tenant_id))
        answer = asyncio.create_task(explainer.rehearsed(asked(funded, NUMBERS[0]), NOON))
        call = asyncio.create_task(admission.admit(asked(funded, NUMBERS[0]), at=NOON))

        await explainer.rehearsed(asked(other, NUMBERS[0]), NOON)
        await admission.admit(asked(other, NUMBERS[0]), at=NOON)
        assert not answer.done()
        assert not call.done()

    assert (await answer).reason is None
    assert (await call)[0] is RequestOutcome.RESERVED


async def test_a_rehearsal_leaves_nothing_behind(
    funded: World, explainer: Explainer, owner: db.Connection
) -> None:
    """Nothing is reserved or recorded, no month is opened, and no lock is kept."""
    counts = "SELECT count(*) FROM dialout."
    tables = ("dial_out", "part", "charge", "source", "entry", "chain", "tenant_audit")
    before = [await owner.fetchval(counts + table) for table in tables]

    answers = [await explainer.rehearsed(asked(funded, number), NOON) for number in NUMBERS]

    assert {answer.reason is None for answer in answers} == {True, False}
    assert [await owner.fetchval(counts + table) for table in tables] == before
    await owner.execute("SELECT FROM dialout.tenant FOR UPDATE NOWAIT")
    assert await funded.ledger.check() == ()


@pytest.mark.parametrize(
    ("at", "payer"),
    [
        ("2018-05-15", SourceKind.PROMOTION),
        ("2018-08-15", SourceKind.CREDITS),
        ("2020-08-15", SourceKind.POOL),
    ],
)
async def test_the_instant_decides_the_regime(
    world: World, explainer: Explainer, at: str, payer: SourceKind
) -> None:
    """The same request on three days has three answers."""
    since = datetime(2017, 1, 1, tzinfo=UTC)
    name = f"deck {uuid4()}"
    await world.put_deck(name, [LONDON_ROW], since)
    await world.update(rate_deck=name)
    await world.add_licence(valid_from=since)
    await world.add_licence(sku=Sku.COMMUNICATIONS_CREDITS, valid_from=since)
    instant = datetime.fromisoformat(at).replace(tzinfo=UTC)
    await world.add_credits(1_000_000, at=instant)

    answer = await explainer.rehearsed(asked(world, "020 7946 0123"), instant)

    assert answer.reason is None
    assert next(each.kind for each in answer.sources if each.seconds) is payer


async def test_each_source_is_told_with_its_numbers(funded: World, explainer: Explainer) -> None:
    """What it had when it was asked, and what it gives."""
    await funded.reserve(None, seconds=3000)

    answer = await explainer.rehearsed(asked(funded, "020 7946 0123"), NOON)

    pool, credits_ = answer.sources
    assert (pool.granted, pool.reserved, pool.free, pool.seconds) == (3600, 3000, 600, 600)
    assert (credits_.free, credits_.currency) == (100_000, "EUR")
    assert answer.talk_seconds == pool.seconds + credits_.seconds


async def test_a_refusal_says_what_would_make_it_pass(world: World, explainer: Explainer) -> None:
    """Everything that is in the way, in order, and doing it does help."""
    request = asked(world, "020 7946 0123")

    refused = await explainer.rehearsed(request, NOON)
    await world.add_licence()
    passed = await explainer.rehearsed(request, NOON)

    assert refused.reason is Reason.NO_AUDIO_CONFERENCING
    assert refused.to_pass[0] == REASON_TEXTS[Reason.NO_AUDIO_CONFERENCING].remedy
    assert (passed.reason, passed.to_pass) == (None, ())


async def test_an_exhausted_source_is_told_with_its_remedy(
    world: World, explainer: Explainer, admission: Admission
) -> None:
    """Policy allows it and the ledger refuses: the answer is the ledger's, with its numbers."""
    await world.add_licence()
    await world.reserve(None, seconds=3600)
    request = asked(world, "020 7946 0123")

    await admission.admit(request, at=NOON)
    answer = await explainer.recorded(request.key)

    assert answer is not None
    assert answer.reason is Reason.POOL_EXHAUSTED
    assert answer.to_pass == (REASON_TEXTS[Reason.POOL_EXHAUSTED].remedy,)
    assert [(each.kind, each.free) for each in answer.sources] == [(SourceKind.POOL, 0)]


async def test_an_unknown_tenant_is_explained_too(world: World, explainer: Explainer) -> None:
    """There is nothing to look at beyond the first rule, and it says so."""
    nowhere = replace(
        asked(world, "020 7946 0123"), key=DialOutKey(tenant_id=uuid4(), dial_out_id=uuid4())
    )

    answer = await explainer.rehearsed(nowhere, NOON)

    assert answer.reason is Reason.TENANT_UNKNOWN
    assert answer.explanation is not None
    assert list(answer.explanation.rules) == ["tenant_known"]
    assert await explainer.recorded(nowhere.key) is None


async def test_what_is_stored_is_the_whole_reasoning(
    funded: World, explainer: Explainer, admission: Admission
) -> None:
    """Number, region, kind, metadata, rules, sources, deck and prefix: all in the record."""
    request = asked(funded, "+254 20 2000000")
    _, dial_out = await admission.admit(request, at=NOON)
    assert dial_out is not None

    stored = Explanation.parse(dial_out.explanation)

    assert stored is not None
    assert stored.metadata_version == METADATA_VERSION
    assert stored.at == NOON
    assert stored.facts.dialled.region == "KE"
    assert stored.facts.destination is not None
    assert stored.facts.destination.rate is not None
    assert stored.facts.destination.rate.prefix == "254"
    assert isinstance(stored.decision, Allow)
    assert stored.again().text == dial_out.explanation


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("+1 202 555 0123", None),
        ("+1 416 555 0123", None),
        ("+1 787 555 0123", Reason.POOL_EXHAUSTED),
        ("+1 242 345 6789", Reason.NOT_COVERED),
        ("+1 876 555 0123", Reason.NOT_COVERED),
        ("+1 671 300 1234", Reason.NOT_COVERED),
        ("+1 900 555 0123", Reason.NUMBER_KIND_REFUSED),
        ("+1 888 555 0123", Reason.TOLL_FREE_REFUSED),
    ],
)
async def test_the_addon_reaches_the_us_and_canada_and_nothing_else(
    world: World, admission: Admission, number: str, reason: Reason | None
) -> None:
    """With an empty pool and no credits: +1 is many countries, and Puerto Rico is one of them."""
    await world.update(rate_deck=None)
    await world.add_licence()
    await world.reserve(None, POOL, seconds=3600)
    await world.add_licence(sku=Sku.EXTENDED_DIALOUT_US_CA)

    _, dial_out = await admission.admit(asked(world, number), at=NOON)

    assert dial_out is not None
    assert dial_out.reason is reason
    assert [part.source for part in dial_out.parts] == ([] if reason else [SourceKind.ADDON])


async def test_only_an_ordinary_call_may_go_on_without_funds(
    funded: World, explainer: Explainer
) -> None:
    """A premium number costs by the minute what nobody has set aside: it is cut, always."""
    name = f"deck {uuid4()}"
    await funded.put_deck(
        name, [replace(LONDON_ROW, prefix=prefix) for prefix in ("254", "4490")], YEAR_BEFORE
    )
    await funded.update(rate_deck=name)
    finish = Choices(premium=Opening.CREDITS, on_exhaustion=Exhaustion.FINISH)
    async with funded.provisioning.change(actor=ACTOR) as change:
        await change.policy_put(funded.tenant_id, finish, NOON)

    kenya = await explainer.rehearsed(asked(funded, "+254 20 2000000"), NOON)
    premium = await explainer.rehearsed(asked(funded, "+44 909 879 0000"), NOON)

    assert (kenya.reason, premium.reason) == (None, None)
    assert kenya.talk_seconds == premium.talk_seconds == 420
    assert kenya.limit_seconds == TERMS.talk_seconds_max
    assert premium.limit_seconds == premium.talk_seconds


async def test_rules_that_have_changed_since_are_told(
    funded: World, explainer: Explainer, admission: Admission, owner: db.Connection
) -> None:
    """The stored reasoning stands, and it is said that this version would reason otherwise."""
    request = asked(funded, "+254 20 2000000")
    await admission.admit(request, at=NOON)
    await owner.execute(
        """
        UPDATE dialout.dial_out
        SET explanation = replace(explanation::text, '"premium":null', '"premium":"no_rate"')::json
        """
    )

    answer = await explainer.recorded(request.key)

    assert answer is not None
    assert answer.explanation is not None
    assert answer.explanation.rules["premium"] is Reason.NO_RATE
    assert answer.is_reproduced is False


# The command.


@pytest.fixture
def terminal(dsn: str, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """A terminal at which somebody types who has the gateway's settings."""
    monkeypatch.setenv("DIALOUT_DATABASE__DSN", dsn)
    monkeypatch.setenv("DIALOUT_DATABASE__CALL_SECONDS_MAX", "20")
    monkeypatch.setenv("DIALOUT_BRIDGES__MAIN__CALLER_ID", "+442079460999")
    monkeypatch.setenv("COLUMNS", "200")
    return CliRunner()


async def typed(terminal: CliRunner, *words: str) -> tuple[int, str, str]:
    """Run ``dialout explain`` and return its exit code and what it said."""
    result = await asyncio.to_thread(terminal.invoke, cli, ["explain", *words])
    return result.exit_code, result.stdout, result.stderr


async def test_the_command_answers_as_a_call_would(funded: World, terminal: CliRunner) -> None:
    """Exit 0 for allowed and 1 for refused, and the reason among the first words."""
    allowed = await typed(terminal, "020 7946 0123", "--organizer", ORGANIZER)
    refused = await typed(terminal, "+1 900 555 0123", "--organizer", ORGANIZER)
    anonymous = await typed(
        terminal, "020 7946 0123", "--organizer", ORGANIZER, "--anonymous", "--call-me"
    )

    assert allowed[0] == 0
    assert "ALLOWED, 3600 s, paid by pool" in allowed[1]
    assert refused[0] == 1
    assert refused[1].startswith("REFUSED: number_kind_refused.")
    assert "policy premium = credits" in refused[1]
    assert "REFUSED: meeting_authenticated_only." in anonymous[1]


async def test_the_command_asks_which_bridge_is_meant(
    funded: World, terminal: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each trunk reaches other countries, so a guess could be the wrong answer."""
    monkeypatch.setenv("DIALOUT_BRIDGES__EAST__CALLER_ID", "+12125550100")
    monkeypatch.setenv("DIALOUT_BRIDGES__EAST__REGIONS", '["US"]')
    words = ("020 7946 0123", "--organizer", ORGANIZER)

    unsaid = await typed(terminal, *words)
    unknown = await typed(terminal, *words, "--bridge", "west")
    east = await typed(terminal, *words, "--bridge", "east")
    main = await typed(terminal, *words, "--bridge", "main")
    monkeypatch.setenv("DIALOUT_CALL__DEFAULT_BRIDGE", "east")
    default = await typed(terminal, *words)

    assert (unsaid[0], unknown[0]) == (2, 2)
    assert "--bridge main or east" in unsaid[2]
    assert "There is no bridge west." in unknown[2]
    for refused in (east, default):
        assert refused[0] == 1
        assert refused[1].startswith("REFUSED: destination_not_served.")
    assert main[0] == 0


async def test_the_command_prints_what_is_stored_byte_for_byte(
    funded: World, terminal: CliRunner, admission: Admission
) -> None:
    """Twice the same bytes, and the tenant need not be named."""
    request = asked(funded, "+254 20 2000000")
    await admission.admit(request, at=NOON)
    words = (str(request.key.dial_out_id), "--json")

    first, second = await typed(terminal, *words), await typed(terminal, *words)

    assert first == second
    told = json.loads(first[1])
    assert (told["answer"], told["is_reproduced"]) == ("allow", True)
    assert told["explanation"]["facts"]["number"]["e164"] == "+254202000000"
    assert {rule["rule"] for rule in told["explanation"]["rules"]} >= {"premium", "location"}


async def test_the_command_prints_how_the_end_is_known(world: World, terminal: CliRunner) -> None:
    """The evidence, its bounds, by which of them it was billed, and what was away meanwhile."""
    await world.add_credits(1_000_000)
    key = await world.released(CREDITS)
    await vanished(world, key, 61, 130, Unproved.LEAST)
    for each in (outage(55, 131), outage(140, 150)):
        await world.ledger.outage_note(each)

    _, text, _ = await typed(terminal, str(key.dial_out_id))
    _, answer, _ = await typed(terminal, str(key.dial_out_id), "--json")
    evidence = json.loads(answer)["evidence"]

    for words in ("absent_twice", "61 s", "130 s", "least", "outage, link"):
        assert words in text
    assert "12:00:55Z to 2026-03-10 12:02:11Z, lost" in text
    assert (evidence["least_seconds"], evidence["most_seconds"]) == (61, 130)
    assert (evidence["unproved"], evidence["billed_seconds"]) == ("least", 61)
    assert [each["seconds"] for each in evidence["outages"]] == [76]


@pytest.mark.parametrize("number", ["[/red]", ":smile:", "\x1b[2J"])
async def test_what_was_typed_is_printed_as_it_was(
    funded: World, terminal: CliRunner, number: str
) -> None:
    """Callers write numbers: no markup, no picture, nothing that a terminal would act on."""
    request = asked(funded, number)
    await funded.reserve(request)

    told = await typed(terminal, str(request.key.dial_out_id))

    assert told[0] == 0
    assert repr(number)[1:-1] in told[1]
    assert "\x1b" not in told[1]


async def test_who_paid_is_left_out_where_it_is_not_known(
    funded: World, terminal: CliRunner, owner: db.Connection
) -> None:
    """Version 0.1 stored no sources with its dial-outs."""
    request = asked(funded, "020 7946 0123")
    await funded.reserve(request)
    await owner.execute("UPDATE dialout.dial_out SET sources = NULL")

    told = await typed(terminal, str(request.key.dial_out_id))

    assert told[1].splitlines()[0].rstrip() == "ALLOWED, 1800 s"


async def test_a_name_that_two_tenants_have_must_be_told_apart(
    funded: World, terminal: CliRunner
) -> None:
    """Guessing would explain somebody else's call."""
    elsewhere = await funded.elsewhere()

    both = await typed(terminal, "020 7946 0123", "--organizer", ORGANIZER)
    one = await typed(
        *(terminal, "020 7946 0123", "--organizer", ORGANIZER),
        *("--tenant", str(elsewhere.tenant_id)),
    )

    assert both[0] == 2
    assert "--tenant" in both[2]
    assert "no_audio_conferencing" in one[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("020 7946 0123",), "--organizer"),
        (("020 7946 0123", "--organizer", "nobody"), "no organizer nobody"),
        ((str(UUID(int=1)),), "no dial-out"),
        (("1", "--organizer", "a", "--at", "soon"), "--at soon"),
        (("1", "--organizer", "a", "--at", "9999-12-31T23:59:59-12:00"), "--at 9999"),
        (("1", "--organizer", "\udcff"), "organizer: '\\udcff'"),
        (("1", "--organizer", ""), "organizer: ''"),
        (("1", "--organizer", "a", "--initiator", "\x1b[2J"), "initiator: '\\x1b[2J'"),
        (("1", "--organizer", "a", "--conference", "a b"), "conference: 'a b'"),
        (("1", "--organizer", "a", "--anonymous", "--initiator", "b"), "exclude"),
    ],
)
async def test_what_cannot_be_explained_says_why(
    funded: World, terminal: CliRunner, words: tuple[str, ...], said: str
) -> None:
    """Exit 2, one line, and what to do; never a traceback."""
    code, output, errors = await typed(terminal, *words)

    assert (code, output) == (2, "")
    assert said in errors
