"""The specification, ``decisions.txt``, against the rules; and that it leaves none of them out."""

from dataclasses import fields
from datetime import UTC, datetime
from itertools import chain

import pytest

from gateway.core.choices import Choices
from gateway.core.explanation import explain
from gateway.core.policy import RULES, Allow, Deny, decide
from gateway.core.reasons import Reason
from tests.core.cases import facts, reference
from tests.core.decision_table import Row, rows

OF_THE_LEDGER = {
    Reason.PROMOTION_EXHAUSTED,
    Reason.ADDON_EXHAUSTED,
    Reason.POOL_EXHAUSTED,
    Reason.CREDITS_EXHAUSTED,
    Reason.CALLEE_COOLING_DOWN,
    Reason.DUPLICATE,
}
"""What is left of a source, and what was asked for before, only the ledger can say."""

BOUNDARIES = [
    "2018-06-30T23:59:59.999999",
    "2018-07-01",
    "2018-11-11T23:59:59.999999",
    "2018-11-12",
    "2019-11-30T23:59:59.999999",
    "2019-12-01",
]


def refusals(row: Row) -> list[str]:
    """Return the names of all the rules that refuse a row, in order."""
    explanation = explain(facts(row.case), at=row.case.at, metadata_version="")
    return [name for name, reason in explanation.rules.items() if reason]


@pytest.mark.parametrize("row", rows(), ids=str)
def test_the_answer_is_that_of_the_table(row: Row) -> None:
    """Each row is a line of the contract; the table says why."""
    assert decide(facts(row.case)) == row.decision, row.because


def test_no_request_is_in_the_table_twice() -> None:
    """Two rows for one request say the same, or contradict each other."""
    cases = [row.case for row in rows()]

    assert [case for case in cases if cases.count(case) > 1] == []


def test_the_table_has_every_reason_that_policy_can_give() -> None:
    """A reason without a row is one that nobody has specified."""
    given = {row.decision.reason for row in rows() if isinstance(row.decision, Deny)}

    assert given == set(Reason) - OF_THE_LEDGER


def test_the_table_has_every_source_first_and_last() -> None:
    """Each benefit that is shipped pays in some row alone, and with credits after it."""
    answers = [
        [source.benefit_id for source in row.decision.sources]
        for row in rows()
        if isinstance(row.decision, Allow)
    ]

    for benefit in chain((None,), (row["benefit_id"] for row in reference("benefits"))):
        assert [benefit] in answers
    for benefit in (row["benefit_id"] for row in reference("benefits")):
        assert [benefit, None] in answers


def test_every_rule_alone_decides_a_row() -> None:
    """A row that nothing else refuses shows that the rule is there: it fails without it."""
    alone = {name for row in rows() if len(names := refusals(row)) == 1 for name in names}

    assert alone == {rule.name for rule in RULES}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("tenant_active", "organizer_known"),
        ("number_allocated", "destination_clear"),
        ("toll_free", "destination_clear"),
        ("premium", "destination_clear"),
        ("destination_clear", "operator_list"),
        ("operator_list", "high_risk_list"),
        ("high_risk_list", "tenant_list"),
        ("tenant_list", "audio_conferencing"),
        ("audio_conferencing", "location"),
        ("location", "organizer_permission"),
        ("organizer_permission", "meeting_permission"),
        ("organizer_unblocked", "meeting_organizer"),
        ("meeting_organizer", "number_allocated"),
        ("organizer_unblocked", "number_allocated"),
        ("meeting_permission", "limit_concurrent_calls"),
        ("limit_concurrent_calls", "limit_calls_a_minute"),
        ("limit_calls_a_minute", "limit_callees_a_day"),
        ("limit_callees_a_day", "limit_price"),
        ("limit_price", "limit_spend_a_day"),
        ("limit_spend_a_day", "limit_meeting_time"),
        ("limit_meeting_time", "limit_meeting_spend"),
        ("limit_meeting_time", "limit_fair_use"),
    ],
)
def test_the_table_shows_which_of_two_rules_is_asked_first(first: str, second: str) -> None:
    """The order is part of the contract: a row that both refuse fails when they change places.

    The kinds of number exclude each other; and after an unknown tenant or organizer, or what
    is no number, nothing can be asked.
    """
    assert any(refusals(row)[:2] == [first, second] for row in rows())


@pytest.mark.parametrize("choice", [field.name for field in fields(Choices)])
def test_the_table_has_every_choice(choice: str) -> None:
    """Each is chosen in some row otherwise than the default."""
    default = getattr(Choices(), choice)

    assert any(getattr(row.case.choices, choice) != default for row in rows())


@pytest.mark.parametrize("instant", BOUNDARIES)
def test_the_table_has_the_instants_at_which_the_rules_change(instant: str) -> None:
    """The last microsecond of one regime, and the first of the next."""
    at = datetime.fromisoformat(instant).replace(tzinfo=UTC)

    assert any(row.case.at == at for row in rows())
