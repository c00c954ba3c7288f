"""The record of a call that the Asterisk host keeps."""

import pytest

from gateway.core.causes import Disposition
from gateway.core.record import CallRecord


def test_an_answered_call_is_reckoned_back_from_its_end() -> None:
    """The host writes the end and how long the call was answered; the answer lies between."""
    record = CallRecord.parse("abc-gate:1700000010500:4250:16:ANSWER")

    assert record is not None
    ending = record.ending()
    assert ending.disposition is Disposition.ANSWERED
    assert ending.answered_at_ms == 1_700_000_006_250
    assert ending.ended_at_ms == 1_700_000_010_500


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("u:1700000010500::17:BUSY", Disposition.BUSY),
        ("u:1700000010500::0:CANCEL", Disposition.CANCELLED),
        ("u:1700000010500::0:", Disposition.FAILED),
        ("u:1700000010500:0:16:NOANSWER", Disposition.NO_ANSWER),
    ],
)
def test_an_unanswered_call_bills_nothing(text: str, expected: Disposition) -> None:
    """Only the status says that there was an answer."""
    record = CallRecord.parse(text)

    assert record is not None
    ending = record.ending()
    assert ending.disposition is expected
    assert ending.answered_at_ms is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "u:17000:1:16:ANSWER",
        "u:1700000010500:-1:16:ANSWER",
        "u:1700000010500:1:16",
        "a:b:c:d:e",
    ],
)
def test_anything_else_is_no_record(text: str) -> None:
    """A record that cannot be read proves nothing."""
    assert CallRecord.parse(text) is None


def test_an_answer_that_lasted_no_time_is_an_answer() -> None:
    """Asterisk writes no duration for a call that it dropped at once; the carrier charges it."""
    record = CallRecord.parse("u:1700000010500::16:ANSWER")

    assert record is not None
    ending = record.ending()
    assert ending.disposition is Disposition.ANSWERED
    assert ending.answered_at_ms == ending.ended_at_ms


def test_a_record_without_a_length_lasted_since_the_answer_that_was_seen() -> None:
    """Asterisk writes none where a Redirect tore an answered call down; the seconds were talked."""
    record = CallRecord.parse("u:1700000010500::21:ANSWER")

    assert record is not None
    assert record.ending(1_700_000_004_000).answered_at_ms == 1_700_000_004_000
    assert record.ending(1_700_000_020_000).answered_at_ms == 1_700_000_010_500


def test_a_length_on_record_is_better_than_an_answer_that_was_noted() -> None:
    """The channel's own figure is exact; what was noted may have been reckoned."""
    record = CallRecord.parse("u:1700000010500:4250:16:ANSWER")

    assert record is not None
    assert record.ending(1_700_000_001_000).answered_at_ms == 1_700_000_006_250
