"""What an explanation says of a decision, and that it can be read back."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from gateway.core.e164 import Region
from gateway.core.explanation import FORMAT, Explanation, explain
from gateway.core.facts import AskerRole, DialOutPermission, Sku, SourceKind
from gateway.core.limits import LimitKind
from gateway.core.policy import RULES, Allow, Deny, Rule
from gateway.core.reasons import REASON_TEXTS, Reason
from gateway.core.waterfall import CREDITS, Lack, Look, Source
from tests.core.cases import Case, DeckRow, Licence, Listed, facts
from tests.core.decision_table import Row, rows

AT = datetime(2020, 8, 15, 12, 30, tzinfo=UTC)
POOL = Source(kind=SourceKind.POOL, benefit_id="standard_pool")
ADDON = Source(kind=SourceKind.ADDON, benefit_id="extended_dialout_us_ca")

LONDON = Case(
    at=AT,
    typed="020 7946 0000",
    credits_set_up=True,
    organizer=Region("GB"),
    licences=(Licence(sku=Sku.AUDIO_CONFERENCING), Licence(sku=Sku.COMMUNICATIONS_CREDITS)),
    deck=(DeckRow(prefix="44", regions=None),),
)


def told(case: Case) -> Explanation:
    """Explain a case."""
    return explain(facts(case), at=case.at, metadata_version="9.0.1")


@pytest.mark.parametrize("row", rows(), ids=str)
def test_every_row_of_the_table_can_be_told_again(row: Row) -> None:
    """What was stored is read back as it was, and the same facts give the same bytes."""
    explanation = told(row.case)

    assert explanation.decision == row.decision
    assert Explanation.parse(explanation.text) == explanation
    assert explanation.again().text == explanation.text


def test_a_yes_names_every_source_and_nothing_to_do() -> None:
    """Also one that does not pay, and what it lacks: somebody will ask why."""
    explanation = told(LONDON)

    assert explanation.decision == Allow(sources=(POOL, CREDITS))
    assert explanation.sources == (
        Look(source=ADDON, lacks=(Lack.LICENCE, Lack.DESTINATION)),
        Look(source=POOL, lacks=()),
        Look(source=CREDITS, lacks=()),
    )
    assert explanation.rules == {rule.name: None for rule in RULES}
    assert explanation.to_pass == ()
    assert (explanation.at, explanation.metadata_version) == (AT, "9.0.1")


@pytest.mark.parametrize(
    ("case", "lacks"),
    [
        (replace(LONDON, licences=()), (Lack.LICENCE,)),
        (replace(LONDON, credits_set_up=False), (Lack.CREDITS,)),
        (replace(LONDON, deck=()), (Lack.RATE,)),
        (
            replace(LONDON, licences=(), credits_set_up=False, deck=()),
            (Lack.LICENCE, Lack.CREDITS, Lack.RATE),
        ),
    ],
)
def test_all_that_credits_lack_is_told(case: Case, lacks: tuple[Lack, ...]) -> None:
    """Not only what the answer names: it would be the next answer."""
    assert told(case).sources[-1] == Look(source=CREDITS, lacks=lacks)


@pytest.mark.parametrize(
    ("typed", "licences", "lacks"),
    [
        ("+44 20 7946 0000", (Licence(sku=Sku.AUDIO_CONFERENCING),), ()),
        ("+44 20 7946 0000", (), (Lack.LICENCE,)),
        ("+254 20 2012345", (Licence(sku=Sku.AUDIO_CONFERENCING),), (Lack.DESTINATION,)),
        ("+44 909 879 0000", (Licence(sku=Sku.AUDIO_CONFERENCING),), (Lack.NUMBER_KIND,)),
        ("+881 612 345 678", (), (Lack.LICENCE, Lack.DESTINATION, Lack.NUMBER_KIND)),
    ],
)
def test_all_that_minutes_lack_is_told(
    typed: str, licences: tuple[Licence, ...], lacks: tuple[Lack, ...]
) -> None:
    """Sources are looked at even if a rule has refused already."""
    explanation = told(replace(LONDON, typed=typed, licences=licences))

    assert Look(source=POOL, lacks=lacks) in explanation.sources


def test_what_else_would_refuse_is_told_in_order() -> None:
    """Whoever mends the first obstacle alone would only meet the next one."""
    case = replace(
        LONDON,
        typed="+254 20 2012345",
        organizer=Region("CN"),
        permission=DialOutPermission.NONE,
        licences=(),
        asker=AskerRole.ANONYMOUS,
        deck=(DeckRow(prefix="254", regions=frozenset({Region("GB")})),),
        listed=Listed(operator=("25",), tenant=("254",)),
    )
    obstacles = [
        Reason.DESTINATION_AMBIGUOUS,
        Reason.BLOCKED_BY_OPERATOR,
        Reason.BLOCKED_BY_TENANT,
        Reason.NO_AUDIO_CONFERENCING,
        Reason.LOCATION_DISABLED,
        Reason.PERMISSION_NONE,
        Reason.MEETING_AUTHENTICATED_ONLY,
        Reason.NO_CREDITS_LICENCE,
    ]

    explanation = told(case)

    assert explanation.decision == Deny(reason=obstacles[0])
    assert [reason for reason in explanation.rules.values() if reason] == obstacles[:-1]
    assert explanation.to_pass == tuple(REASON_TEXTS[reason].remedy for reason in obstacles)


@pytest.mark.parametrize(
    ("case", "last"),
    [
        (replace(LONDON, tenant_known=False), "tenant_known"),
        (replace(LONDON, organizer=None), "organizer_known"),
        (replace(LONDON, suspended=True, organizer=None), "organizer_known"),
        (replace(LONDON, typed="999"), "number_readable"),
    ],
)
def test_nothing_is_asked_that_cannot_be_known(case: Case, last: str) -> None:
    """Without a tenant, an organizer or a number, the later rules have no facts."""
    explanation = told(case)

    names = [rule.name for rule in RULES]
    assert list(explanation.rules) == names[: names.index(last) + 1]
    assert explanation.sources == ()


def test_each_rule_is_told_with_the_facts_it_looked_at() -> None:
    """For people: the question, the answer and what it rests on, in one place."""
    case = replace(LONDON, permission=DialOutPermission.DOMESTIC, typed="+254 20 2012345")
    told_rules = {each["rule"]: each for each in told(case).plain()["rules"]}

    assert list(told_rules) == [rule.name for rule in RULES]
    assert told_rules["organizer_permission"] == {
        "rule": "organizer_permission",
        "refuses": "permission_domestic",
        "facts": {
            "organizer.permission": "domestic",
            "organizer.region": "GB",
            "number.region": "KE",
            "destination.zones": [],
        },
    }
    assert told_rules["destination_clear"]["facts"] == {
        "number.region": "KE",
        "destination.rate.deck": None,
        "destination.rate.prefix": None,
        "destination.rate_regions": [],
    }


@pytest.mark.parametrize(
    "path",
    sorted({path for rule in RULES for path in rule.facts}),
)
def test_a_fact_that_a_rule_names_is_there(path: str) -> None:
    """A misspelt one would be told as unknown for ever."""
    readable, unreadable = (
        told(replace(LONDON, typed=typed)).plain()["facts"] for typed in ("020 7946 0000", "999")
    )

    assert has(readable, path) or has(unreadable, path)


def has(plain: Any, path: str) -> bool:
    """Return whether plain facts have something at a path, be it nothing."""
    first, _, rest = path.partition(".")
    if isinstance(plain, list):
        return first in set(LimitKind)
    return isinstance(plain, dict) and first in plain and (not rest or has(plain[first], rest))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_looks_at_no_fact_that_it_does_not_name(rule: Rule) -> None:
    """What it rests on is told in full: rows that agree on its facts agree on its answer."""
    answers: dict[str, Reason | None] = {}
    for row in rows():
        for each in told(row.case).plain()["rules"]:
            if each["rule"] == rule.name:
                refusal = answers.setdefault(json.dumps(each["facts"]), each["refuses"])
                assert refusal == each["refuses"], f"{row}: {each['facts']}"
    assert len(answers) > 1


def test_the_text_is_canonical() -> None:
    """No spaces, fields in declared order, sets sorted: equal explanations are equal bytes."""
    text = told(LONDON).text

    assert text == json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)
    assert list(json.loads(text)) == list(Explanation.__slots__)
    assert '"licences":["audio_conferencing","communications_credits"]' in text
    assert '"addon_regions":["CA","US"]' in text
    assert '"at":"2020-08-15T12:30:00Z"' in text


def test_an_instant_keeps_the_offset_that_it_was_given_in() -> None:
    """Whoever explains a call of half past two in Paris finds half past two again."""
    paris = AT.astimezone(timezone(timedelta(hours=2)))

    text = told(replace(LONDON, at=paris)).text

    assert '"at":"2020-08-15T14:30:00+02:00"' in text
    again = Explanation.parse(text)
    assert again is not None
    assert again.again().text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "null",
        "no JSON",
        '{"facts":{},"decision":{"sources":["pool"]}}',
        told(LONDON).text.replace(f'"format":{FORMAT}', '"format":1'),
        told(LONDON).text.replace(f'"format":{FORMAT}', f'"format":{FORMAT + 1}'),
        told(LONDON).text.replace("communications_credits", "communication_credits"),
        told(LONDON).text[:-1],
    ],
)
def test_what_is_of_another_format_is_not_read(text: str) -> None:
    """Older records were written otherwise, and are shown as they are; a guess would be a lie."""
    assert Explanation.parse(text) is None


def test_every_reason_has_a_sentence_and_a_remedy() -> None:
    """API and people get words with each code."""
    assert list(REASON_TEXTS) == list(Reason)
    for text in REASON_TEXTS.values():
        assert text.message.endswith(".")
        assert text.remedy.endswith(".")


def test_no_rule_is_asked_twice() -> None:
    """An explanation has one answer by each name."""
    assert len({rule.name for rule in RULES}) == len(RULES)
