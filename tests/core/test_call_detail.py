"""What Asterisk's own call detail proves, and what it does not."""

import pytest

from gateway.core.call import Ending
from gateway.core.call_detail import (
    Answer,
    ChannelEvent,
    DialRecord,
    Instant,
    is_plausible,
    told_by_events,
    told_by_records,
    told_of_dial_in,
)
from gateway.core.causes import Disposition

GATE, LEG, OTHER = "key-gate", "asterisk-1.2", "asterisk-1.9"
NOON_MS = 1_700_000_000_250


def at(milliseconds: int) -> Instant:
    """Return an instant after noon, as exact tables have it."""
    return Instant(at_ms=NOON_MS + milliseconds, is_cut=False)


def second(seconds: int) -> Instant:
    """Return an instant of a table that keeps whole seconds."""
    return Instant(at_ms=1_700_000_000_000 + seconds * 1000, is_cut=True)


def event(
    uniqueid: str,
    kind: str,
    milliseconds: int,
    *,
    bridge_id: str | None = None,
    cause: int | None = None,
    dial_status: str | None = None,
) -> ChannelEvent:
    """Return a row of CEL."""
    return ChannelEvent(
        uniqueid=uniqueid,
        kind=kind,
        at=at(milliseconds),
        is_trunk=uniqueid != GATE,
        bridge_id=bridge_id,
        cause=cause,
        dial_status=dial_status,
    )


BRIDGED = (
    event(LEG, "BRIDGE_ENTER", 1, bridge_id="dial"),
    event(GATE, "BRIDGE_ENTER", 2, bridge_id="dial"),
)
ANSWERED = event(LEG, "ANSWER", 0)
ENDED = (
    event(LEG, "HANGUP", 4250, cause=16),
    event(GATE, "HANGUP", 4251, cause=16, dial_status="ANSWER"),
)


def test_a_call_is_billed_by_the_leg_on_the_trunk() -> None:
    """From its answer to its hangup, as the events of the AMI would have it."""
    told = told_by_events(GATE, (ANSWERED, *BRIDGED, *ENDED))

    assert told == Ending(
        disposition=Disposition.ANSWERED,
        hangup_cause=16,
        answered_at_ms=NOON_MS,
        ended_at_ms=NOON_MS + 4250,
        evidence="cel",
    )


def test_rows_may_come_in_any_order() -> None:
    """A table has none, and Asterisk writes those of two channels as they happen to come."""
    rows = (ANSWERED, *BRIDGED, *ENDED)

    assert told_by_events(GATE, rows[::-1]) == told_by_events(GATE, rows)


def test_an_answer_alone_ends_nothing() -> None:
    """Asterisk was killed, or the row of the end is late: all that is known is the answer."""
    assert told_by_events(GATE, (ANSWERED, *BRIDGED)) == Answer(at_ms=NOON_MS)


@pytest.mark.parametrize(
    "rows",
    [
        (),
        BRIDGED,
        (*BRIDGED, *ENDED),
        # Whose leg it was is not said.
        (ANSWERED, ENDED[0]),
        (ANSWERED, BRIDGED[0], *ENDED),
        (ANSWERED, BRIDGED[1], *ENDED),
        # The gate hung up, and whether it had dialled is not said.
        (event(GATE, "HANGUP", 9, cause=16),),
        # Two legs in one bridge with the gate.
        (ANSWERED, *BRIDGED, *ENDED, event(OTHER, "BRIDGE_ENTER", 5, bridge_id="dial")),
    ],
)
def test_what_the_rows_do_not_say_proves_nothing(rows: tuple[ChannelEvent, ...]) -> None:
    """A row that is missing is late, or lost. It never means that nothing has happened."""
    assert told_by_events(GATE, rows) is None


def test_another_call_of_the_same_application_is_not_taken_for_it() -> None:
    """An intercepted channel may have others under its linkedid: only a bridge tells them apart."""
    others = (
        event(OTHER, "ANSWER", -9000),
        event(OTHER, "BRIDGE_ENTER", -8000, bridge_id="before"),
        event(OTHER, "HANGUP", 99_000),
    )

    told = told_by_events(GATE, (*others, ANSWERED, *BRIDGED, *ENDED))

    assert isinstance(told, Ending)
    assert told.ended_at_ms == NOON_MS + 4250


@pytest.mark.parametrize(
    ("status", "cause", "expected"),
    [
        ("BUSY", 17, Disposition.BUSY),
        ("NOANSWER", None, Disposition.NO_ANSWER),
        ("CANCEL", 0, Disposition.CANCELLED),
    ],
)
def test_a_failed_dial_is_proved_by_its_status(
    status: str, cause: int | None, expected: Disposition
) -> None:
    """Only the gate's own hangup says it; no answer in the rows would be no proof."""
    told = told_by_events(GATE, [event(GATE, "HANGUP", 7, cause=cause, dial_status=status)])

    assert isinstance(told, Ending)
    assert (told.disposition, told.answered_at_ms) == (expected, None)
    assert told.ended_at_ms == NOON_MS + 7


def test_a_telephone_that_called_in_is_billed_from_when_it_was_let_in() -> None:
    """The tables know when it hung up, and only the ledger knows when it was let in."""
    told = told_of_dial_in(GATE, NOON_MS, [event(GATE, "HANGUP", 900, cause=16)])

    assert told is not None
    assert (told.answered_at_ms, told.ended_at_ms) == (NOON_MS, NOON_MS + 900)
    assert told_of_dial_in(GATE, NOON_MS, [event(GATE, "ANSWER", 0)]) is None


def test_a_record_of_an_answer_is_exact_where_its_table_is() -> None:
    """Both instants with their fraction: nothing is left to bound."""
    told = told_by_records([DialRecord(disposition="ANSWERED", answer=at(0), end=at(2005))])

    assert told is not None
    assert (told.answered_at_ms, told.ended_at_ms) == (NOON_MS, NOON_MS + 2005)
    assert (told.evidence, told.latest_end_ms) == ("cdr", None)


@pytest.mark.parametrize(
    ("answer", "end", "least_ms", "most_ms"),
    [
        # Cut at both ends, four seconds apart: longer than three, shorter than five.
        (second(10), second(14), 3001, 4999),
        (second(10), second(10), 0, 999),
        (second(10), Instant(at_ms=1_700_000_014_500, is_cut=False), 3501, 4500),
    ],
)
def test_whole_seconds_are_bounds(
    answer: Instant, end: Instant, least_ms: int, most_ms: int
) -> None:
    """Nobody is billed for the part of a second that a table has cut off."""
    told = told_by_records([DialRecord(disposition="ANSWERED", answer=answer, end=end)])

    assert told is not None
    assert told.answered_at_ms is not None
    assert told.latest_end_ms is not None
    assert told.ended_at_ms - told.answered_at_ms == least_ms
    assert told.latest_end_ms - told.answered_at_ms == most_ms


def test_an_unanswered_record_gives_everything_back() -> None:
    """Its disposition says what became of the dial."""
    told = told_by_records([DialRecord(disposition="NO ANSWER", answer=None, end=at(0))])

    assert told is not None
    assert (told.disposition, told.answered_at_ms) == (Disposition.NO_ANSWER, None)


@pytest.mark.parametrize(
    "records",
    [
        [],
        [DialRecord(disposition="ODD", answer=None, end=at(0))],
        [DialRecord(disposition="BUSY", answer=None, end=at(0))] * 2,
    ],
)
def test_no_record_or_an_odd_one_proves_nothing(records: list[DialRecord]) -> None:
    """Nor do two, of which one may be another call's."""
    assert told_by_records(records) is None


def can_be(told: Ending | Answer, *, was_answered: bool) -> bool:
    """Return whether this can be a call that was asked for at noon, and had ended in an hour."""
    return is_plausible(
        told,
        requested_at_ms=NOON_MS,
        latest_end_ms=NOON_MS + 3_600_000,
        was_answered=was_answered,
    )


@pytest.mark.parametrize(
    ("shift_ms", "expected"), [(0, True), (90_000, True), (900_000, False), (-3_600_000, False)]
)
def test_times_of_another_zone_are_not_believed(shift_ms: int, expected: bool) -> None:
    """A zone is a quarter of an hour off at the least; a call begins soon after it is asked for."""
    answered = Answer(at_ms=NOON_MS + shift_ms)
    ended = told_by_records(
        [DialRecord(disposition="ANSWERED", answer=at(shift_ms), end=at(shift_ms + 5000))]
    )

    assert ended is not None
    for told in (answered, ended):
        assert can_be(told, was_answered=True) is expected


def test_a_call_that_ends_before_it_began_is_not_believed() -> None:
    """Whatever wrote that has another clock, or another call."""
    told = told_by_records([DialRecord(disposition="ANSWERED", answer=at(5000), end=at(0))])

    assert told is not None
    assert not can_be(told, was_answered=True)


@pytest.mark.parametrize("was_answered", [False, True])
def test_an_answer_that_was_seen_is_not_undone(was_answered: bool) -> None:
    """A table that says that nobody answered would make free what the carrier charges for."""
    told = told_by_records([DialRecord(disposition="NO ANSWER", answer=None, end=at(0))])

    assert told is not None
    assert can_be(told, was_answered=was_answered) is not was_answered


@pytest.mark.parametrize(("ended_ms", "expected"), [(3_599_000, True), (3_600_000 + 2001, False)])
def test_a_call_that_no_list_had_any_more_has_ended(ended_ms: int, expected: bool) -> None:
    """The end of a telephone that called in, in another zone: its beginning is the ledger's."""
    told = told_of_dial_in(GATE, NOON_MS, [event(GATE, "HANGUP", ended_ms, cause=16)])

    assert told is not None
    assert can_be(told, was_answered=True) is expected
