"""The state machine of a call: what may follow what, and what an ending rests on."""

from uuid import UUID

import pytest

from gateway.core.call import _NEXT, Call, CallEvent, CallState
from gateway.core.causes import Disposition
from gateway.core.key import DialOutKey

KEY = DialOutKey(tenant_id=UUID(int=1), dial_out_id=UUID(int=2))
RESERVED = Call(key=KEY, gate_uniqueid=KEY.gate_uniqueid)
RELEASED = RESERVED.released()
DIALING = RELEASED.dial_begun("trunk-1")
ANSWERED = DIALING.dial_ended("ANSWER", 1_000)


def test_every_state_is_in_the_table() -> None:
    """A state without a row would raise on its first event, in the middle of a call."""
    assert set(_NEXT) == set(CallState)


def test_nothing_follows_the_end() -> None:
    """An ended call is settled; an event that is late must not open it again."""
    ended = RELEASED.gate_hung_up()

    assert not any(ended.follows(event) for event in CallEvent)


@pytest.mark.parametrize("event", list(CallEvent))
@pytest.mark.parametrize("state", list(CallState))
def test_an_event_either_fits_or_changes_nothing(state: CallState, event: CallEvent) -> None:
    """What does not fit is refused before it is applied: the old value is all there is."""
    call = Call(key=KEY, gate_uniqueid=KEY.gate_uniqueid, state=state)

    if call.follows(event):
        assert call._after(event).state is _NEXT[state][event]
    else:
        with pytest.raises(AssertionError):
            call._after(event)
    assert call.state is state


def test_an_answered_call_is_billed_from_answer_to_hangup_of_the_trunk_leg() -> None:
    """Not from the dial, and not to the hangup of the gate's channel, which comes later."""
    call = ANSWERED.trunk_hung_up(16, 7_500).gate_hung_up()

    ending = call.ending(gate_cause=31, gate_at_ms=9_999)

    assert ending is not None
    assert (ending.answered_at_ms, ending.ended_at_ms) == (1_000, 7_500)
    assert (ending.disposition, ending.hangup_cause) == (Disposition.ANSWERED, 16)


@pytest.mark.parametrize(
    ("dial_status", "cause", "expected"),
    [
        ("BUSY", 17, Disposition.BUSY),
        ("NOANSWER", 0, Disposition.NO_ANSWER),
        ("NOANSWER", 19, Disposition.NO_ANSWER),
        ("CANCEL", 16, Disposition.CANCELLED),
        ("CONGESTION", 34, Disposition.CONGESTION),
        ("CHANUNAVAIL", 0, Disposition.FAILED),
        ("SOMETHING_NEW", 16, Disposition.FAILED),
        # Asterisk calls a number that does not exist unanswered; the cause knows better.
        ("NOANSWER", 1, Disposition.FAILED),
        # We hung up while it rang: what the far side said to that does not matter.
        ("CANCEL", 17, Disposition.CANCELLED),
    ],
)
def test_an_unanswered_call_ends_with_what_the_network_said(
    dial_status: str, cause: int, expected: Disposition
) -> None:
    """Each way of not being answered has its disposition, and none of them bills."""
    call = DIALING.dial_ended(dial_status, 2_000).trunk_hung_up(cause, 2_001).gate_hung_up()

    ending = call.ending(gate_cause=cause, gate_at_ms=2_002)

    assert ending is not None
    assert ending.disposition is expected
    assert ending.hangup_cause == cause
    assert ending.answered_at_ms is None


def test_the_hangup_of_the_trunk_leg_may_overtake_its_dial_end() -> None:
    """Two channels are two topics in Asterisk: their events come in either order."""
    call = DIALING.trunk_hung_up(17, 2_001).dial_ended("BUSY", 2_002).gate_hung_up()

    ending = call.ending(gate_cause=17, gate_at_ms=2_003)

    assert ending is not None
    assert ending.disposition is Disposition.BUSY


def test_a_call_that_never_reached_the_trunk_has_failed() -> None:
    """Nobody told the gate to dial, and so nobody rang."""
    ending = RESERVED.gate_hung_up().ending(gate_cause=21, gate_at_ms=5)

    assert ending is not None
    assert (ending.disposition, ending.hangup_cause) == (Disposition.FAILED, 21)


@pytest.mark.parametrize(
    "call",
    [
        RESERVED.unwitnessed().gate_hung_up(),
        RELEASED.gate_hung_up(),
        ANSWERED.gate_hung_up(),
        DIALING.gate_hung_up(),
    ],
    ids=[
        "events may be missing",
        "may have been dialled unseen",
        "answered, hangup not seen",
        "dialled, outcome not seen",
    ],
)
def test_silence_proves_nothing(call: Call) -> None:
    """Where events are missing the ending is unknown, and the host's record has to say."""
    assert call.ending(gate_cause=16, gate_at_ms=9) is None


def test_a_call_without_a_record_was_never_dialled() -> None:
    """It was let dial and hung up before it did: the host, which writes of each dial, has none."""
    ending = RELEASED.gate_hung_up().undialled(gate_cause=16, gate_at_ms=9)

    assert ending is not None
    assert (ending.disposition, ending.answered_at_ms) == (Disposition.FAILED, None)


@pytest.mark.parametrize(
    "call", [RELEASED.unwitnessed(), DIALING], ids=["events may be missing", "dialled"]
)
def test_a_record_that_is_missing_undoes_nothing_that_was_seen(call: Call) -> None:
    """Whose dial was seen, or could have been missed, may have been answered all the same."""
    assert call.gate_hung_up().undialled(gate_cause=16, gate_at_ms=9) is None
