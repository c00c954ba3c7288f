"""What may be typed into provisioning, and that whatever is answered has its words."""

import re
import time
from datetime import UTC, datetime
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from gateway.ledger import provisioning_answers
from gateway.provisioning.forms import (
    CreditsForm,
    DeckRowForm,
    Funds,
    Instant,
    LicenceForm,
    MeetingForm,
    Name,
    OrganizerForm,
    PersonId,
    PrefixForm,
    Price,
    PurchaseForm,
    Reason,
    RegionCode,
    RegionCodes,
)
from gateway.provisioning.outcomes import OUTCOME_TEXTS, Standing
from gateway.sheet import Line, Row, read_sheet

OUTCOMES = {
    member
    for name, kind in vars(provisioning_answers).items()
    if name.endswith("Outcome") and issubclass(kind, StrEnum)
    for member in kind
}


def test_every_outcome_has_its_words() -> None:
    """Neither an outcome without a text nor a text that nobody gives: both sides are compared."""
    assert {str(outcome) for outcome in OUTCOMES} == set(OUTCOME_TEXTS)
    assert all(text.message.endswith(".") for text in OUTCOME_TEXTS.values())


@pytest.mark.parametrize(
    ("outcome", "is_done"),
    [
        ("created", True),
        ("exists", True),
        ("unchanged", True),
        ("removed", True),
        ("absent", False),
        ("unknown_tenant", False),
        ("exists_with_different_terms", False),
        ("not_sold", False),
        ("needed_by_addon", False),
    ],
)
def test_done_is_what_is_as_it_was_asked_to_be(outcome: str, is_done: bool) -> None:
    """Scripts go by it: exit 0 says that things are now as the command said."""
    assert OUTCOME_TEXTS[outcome].standing.is_done is is_done


def test_only_what_is_done_counts_as_done() -> None:
    """A refusal that counted as done would let a sheet be loaded in part."""
    refusals = {Standing.ABSENT, Standing.CONFLICT, Standing.REFUSED}

    assert {each for each in Standing if not each.is_done} == refusals


@pytest.mark.parametrize(
    ("kind", "typed", "value"),
    [
        (Price, "0", 0),
        (Price, "0.013", 13_000),
        (Price, "0.000001", 1),
        (Price, "1000000", 10**12),
        (Funds, "12.50", 12_500_000),
        (Funds, "0.1", 100_000),
        (Instant, "2026-11-21", datetime(2026, 11, 21, tzinfo=UTC)),
        (Instant, "2026-11-21T09:30:00", datetime(2026, 11, 21, 9, 30, tzinfo=UTC)),
        (Instant, "2026-11-21T09:30:00+01:00", datetime(2026, 11, 21, 8, 30, tzinfo=UTC)),
        (Instant, "2026-11-21T09:30:00Z", datetime(2026, 11, 21, 9, 30, tzinfo=UTC)),
        (Name, "Zoë & Søn, 東京 👩‍💻", "Zoë & Søn, 東京 👩‍💻"),
        (PersonId, "alice+x@example.com", "alice+x@example.com"),
        (RegionCodes, "US;CA", frozenset({"US", "CA"})),
        (RegionCodes, "001", frozenset({"001"})),
        (RegionCode, "XK", "XK"),
        (Reason, " contract 7", " contract 7"),
    ],
)
def test_what_is_well_typed_means_this(kind: Any, typed: str, value: object) -> None:
    """Money is exact to the millionth, a date is its first instant in UTC, names are people's."""
    assert TypeAdapter(kind).validate_python(typed) == value


@pytest.mark.parametrize("typed", ["2026-11-21", "2026-11-21T00:00:00"])
def test_where_the_host_stands_does_not_matter(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    """The same sheet means the same wherever it is loaded."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        read = TypeAdapter(Instant).validate_python(typed)
    time.tzset()

    assert read == datetime(2026, 11, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "typed"),
    [
        (Price, 0.013),
        (Price, 1),
        (Price, "-1"),
        (Price, "+1"),
        (Price, "1e3"),
        (Price, "NaN"),
        (Price, ".5"),
        (Price, "1,5"),
        (Price, "0.0000001"),
        (Price, "1000000.000001"),
        (Price, "१"),
        (Price, " 1"),
        (Price, "1\n"),
        (Funds, "0"),
        (Funds, "1000000000.000001"),
        (Instant, "soon"),
        (Instant, ""),
        (Instant, 1_700_000_000),
        (Instant, "0001-01-01T00:00:00+14:00"),
        (Name, ""),
        (Name, "a\nb"),
        (Name, "a\x00"),
        (Name, "a\x1b[2J"),
        (Name, "a\x9b2J"),
        (Name, "\u202ea"),
        (Name, "\ud800"),
        (Name, "x" * 257),
        (PersonId, "a b"),
        (PersonId, "a\n"),
        (PersonId, "é"),
        (PersonId, "x" * 129),
        (RegionCodes, "US;"),
        (RegionCodes, "us"),
        (RegionCodes, "USA"),
        (RegionCodes, []),
        (RegionCodes, "US;UK"),
        (RegionCodes, "ZZ"),
        (RegionCode, "UK"),
        (RegionCode, "XX"),
        (RegionCode, "ZZ"),
        (RegionCode, "001"),
        (Instant, "9999-12-31T23:59:59-12:00"),
        (Reason, ""),
        (Reason, " "),
        (Reason, "\u00a0\u3000"),
        (Reason, "\u200b"),
    ],
)
def test_what_is_ill_typed_is_refused(kind: Any, typed: object) -> None:
    """Nothing is guessed at: no floats for money, no other digits, no half of a character."""
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(typed)


FORMS: tuple[type[Row], ...] = (
    OrganizerForm,
    LicenceForm,
    PurchaseForm,
    CreditsForm,
    MeetingForm,
    PrefixForm,
    DeckRowForm,
)


def _fits(header: str, form: type[Row]) -> bool:
    required = {name for name, field in form.model_fields.items() if field.is_required()}
    return required <= set(header.split(",")) <= set(form.model_fields)


@pytest.mark.parametrize("typed", ["1000000.000001", "9" * 20, "9" * 100_000])
def test_too_much_money_is_told_how_much_there_may_be(typed: str) -> None:
    """Nothing is wrong with the form of a large number, and nobody is to look for that."""
    with pytest.raises(ValidationError, match="must be 0 to 1000000 units"):
        TypeAdapter(Price).validate_python(typed)


def test_the_sheets_of_the_manual_are_good() -> None:
    """Whoever copies a sample of docs/provisioning.md has a sheet that can be loaded."""
    manual = (Path(__file__).parents[2] / "docs" / "provisioning.md").read_text(encoding="utf-8")
    samples = re.findall(r"^```csv\n(.+?)^```$", manual, re.MULTILINE | re.DOTALL)
    kinds = [[form for form in FORMS if _fits(sample.splitlines()[0], form)] for sample in samples]

    assert kinds == [[form] for form in FORMS]
    for sample, [form] in zip(samples, kinds, strict=True):
        lines = list(read_sheet(BytesIO(sample.encode()), form))
        assert all(isinstance(line, Line) for line in lines), sample


def test_a_deck_row_says_it_in_the_ledgers_words() -> None:
    """Prices of a minute in micros; regions that are not named are None, not none at all."""
    row = DeckRowForm.model_validate(
        {"prefix": "44", "price": "0.013001", "initial_increment": "60", "increment": "6"}
    ).deck_row()

    assert (row.price_micros, row.connect_fee_micros, row.regions) == (13_001, 0, None)
    assert (row.initial_increment_seconds, row.increment_seconds) == (60, 6)
