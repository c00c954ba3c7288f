"""One closed list of reasons, on every side. A code that one side lacks is a refusal unheard of."""

import re
from pathlib import Path

from gateway import db
from gateway.core.causes import Disposition
from gateway.core.facts import SourceKind
from gateway.core.reasons import REASON_TEXTS, Reason

ROOT = Path(__file__).resolve().parents[2]
UNANSWERED = [each for each in Disposition if each is not Disposition.ANSWERED]


def test_every_reason_says_what_and_what_to_do() -> None:
    """The log, the API and the terminal show these texts."""
    assert set(REASON_TEXTS) == set(Reason)
    for text in REASON_TEXTS.values():
        assert text.message.endswith(".")
        assert text.remedy.endswith(".")


async def test_the_database_has_the_same_list(owner: db.Connection) -> None:
    """A dial-out can be refused for nothing else: the table is what its foreign key points at."""
    rows = await owner.fetch("SELECT code, message, remedy FROM dialout.reason")

    assert {row["code"]: (row["message"], row["remedy"]) for row in rows} == {
        reason: (text.message, text.remedy) for reason, text in REASON_TEXTS.items()
    }


def test_every_source_can_be_exhausted() -> None:
    """SQL makes the code of the source's kind; a new kind needs its reason."""
    assert {f"{kind}_exhausted" for kind in SourceKind} <= set(Reason)


def test_every_reason_has_its_prompt() -> None:
    """In their order, then the other answers of a keypad, and how a call can end for its asker.

    No prompt is for what is never said.
    """
    dialplan = (ROOT / "asterisk-conf" / "prompts.conf").read_text()

    said = [*Reason, "calling", "gateway_away", "overloaded", *UNANSWERED]
    assert re.findall(r"^exten => (\w+),1,Playback", dialplan, re.MULTILINE) == said


def test_every_reason_is_in_the_rules_that_people_read() -> None:
    """docs/entitlement.md names each of them."""
    rules = (ROOT / "docs" / "entitlement.md").read_text()

    assert {reason for reason in Reason if f"`{reason}`" not in rules} == set()
