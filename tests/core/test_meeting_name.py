"""What is spelled of a meeting's name to somebody who is called."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.meeting_name import spellable
from tests.core.arbitrary import deterministic


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("Weekly sales", "Weekly-sales"),
        ("  Q&A,  part 1! ", "Q-A-part-1"),
        ("Réunion d'été", "Reunion-d-ete"),
        ("weekly-meeting", "weekly-meeting"),
        ("\uff12\uff10\uff12\uff16 plan", "2026-plan"),
        ("会議", ""),
        ("", ""),
        ("${SHELL(id)}", "SHELL-id"),
        ("word " * 40, "word-" * 11 + "word-"[:4]),
    ],
)
def test_words_stay_and_everything_else_goes(name: str, spelled: str) -> None:
    """Accents go with what cannot be spelled, words stay apart, long names end early."""
    assert spellable(name) == spelled.rstrip("-")


@deterministic
@given(st.text(max_size=200))
def test_nothing_else_is_ever_spelled(name: str) -> None:
    """Letters, digits and single dashes: what an AMI line and a dialplan can hold unquoted."""
    assert re.fullmatch(r"([A-Za-z0-9]+(-[A-Za-z0-9]+)*)?", spellable(name))
    assert len(spellable(name)) <= 60
