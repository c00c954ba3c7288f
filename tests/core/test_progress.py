"""The steps of a dial-out, as its row tells of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from gateway.core.attendance import DropReason
from gateway.core.causes import Disposition
from gateway.core.dial_out import DialOut, DialOutKind, DialOutRequest, DialOutState, FundingPart
from gateway.core.facts import OrganizerId, SourceKind
from gateway.core.key import DialOutKey
from gateway.core.progress import Stage, Step, reached, steps
from gateway.core.rating import Micros, Seconds
from gateway.core.reasons import REASON_TEXTS, Reason

AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)

RESERVED = DialOut(
    request=DialOutRequest(
        key=DialOutKey(tenant_id=UUID(int=1), dial_out_id=UUID(int=2)),
        kind=DialOutKind.CALL_ME,
        organizer_id=OrganizerId("alice"),
        initiator_id="bob",
        conference_id="room",
        number_typed="020 7946 0000",
    ),
    state=DialOutState.RESERVED,
    reason=None,
    destination=None,
    region=None,
    number_kind=None,
    requested_at=AT,
    expires_at=None,
    released_at=None,
    answered_at=None,
    seen_at=None,
    ended_at=None,
    talk_seconds=None,
    limit_seconds=None,
    talk_seconds_max=None,
    slices=None,
    ring_seconds=None,
    caller_id=None,
    gate_uniqueid=None,
    disposition=None,
    hangup_cause=None,
    billable_seconds=None,
    overrun_seconds=None,
    evidence=None,
    parts=(),
    sources=(),
    explanation="null",
)
RELEASED = replace(RESERVED, state=DialOutState.RELEASED, released_at=AT + timedelta(seconds=1))
ANSWERED = replace(RELEASED, state=DialOutState.ANSWERED, answered_at=AT + timedelta(seconds=9))
JOINED = replace(ANSWERED, joined_at=AT + timedelta(seconds=14))
PAID = FundingPart(
    source=SourceKind.CREDITS,
    benefit_id=None,
    seconds=Seconds(300),
    micros=Micros(3_000_000),
    billed_seconds=Seconds(192),
    billed_micros=Micros(1_920_000),
    currency="USD",
)


def ended(
    dial_out: DialOut,
    disposition: Disposition,
    evidence: str = "events",
    *,
    seconds: int = 0,
    parts: tuple[FundingPart, ...] = (),
    dropped: DropReason | None = None,
) -> DialOut:
    """Return a dial-out as it is once it has ended."""
    return replace(
        dial_out,
        state=DialOutState.ENDED,
        ended_at=AT + timedelta(minutes=5),
        disposition=disposition,
        evidence=evidence,
        billable_seconds=Seconds(seconds),
        parts=parts,
        dropped=dropped,
    )


def stages(dial_out: DialOut) -> list[Stage]:
    """Return the stages that a row tells of."""
    return [step.stage for step in steps(dial_out)]


def test_a_row_tells_every_step_but_the_ringing() -> None:
    """So a gateway that did not place the call tells of it, too."""
    whole = ended(JOINED, Disposition.ANSWERED, seconds=192, parts=(PAID,))

    assert stages(RESERVED) == [Stage.RESERVED]
    assert stages(RELEASED) == [Stage.RESERVED, Stage.DIALING]
    assert stages(ANSWERED) == [Stage.RESERVED, Stage.DIALING, Stage.ANSWERED]
    assert stages(JOINED) == [Stage.RESERVED, Stage.DIALING, Stage.ANSWERED, Stage.JOINED]
    assert stages(whole) == [*stages(JOINED), Stage.ENDED]


def test_steps_come_in_the_order_of_their_numbers() -> None:
    """A client is told what follows a number; one that went back would be told twice."""
    numbers = [step.stage.number for step in steps(ended(JOINED, Disposition.ANSWERED, seconds=1))]

    assert numbers == sorted(set(numbers))
    assert [stage.number for stage in Stage] == [1, 2, 3, 4, 5, 6, 7]


def test_only_the_end_is_last() -> None:
    """A stream that ended sooner would leave its reader waiting for what became of the call."""
    assert {stage for stage in Stage if stage.is_last} == {Stage.ENDED, Stage.REFUSED}


@pytest.mark.parametrize("reason", list(Reason))
def test_a_refusal_is_the_only_step(reason: Reason) -> None:
    """Nothing was set aside, and the reader learns why in a word and in a sentence."""
    [step] = steps(replace(RESERVED, state=DialOutState.REFUSED, reason=reason))

    assert step.summary() == {
        "stage": "refused",
        "at": "2026-11-21T09:30:00.000+00:00",
        "text": REASON_TEXTS[reason].message,
        "reason": reason,
    }


@pytest.mark.parametrize("evidence", ["cancelled", "expired", "not_originated"])
def test_what_was_never_dialled_is_not_said_to_be(evidence: str) -> None:
    """It was claimed for its channel before Asterisk was asked, so the row looks released."""
    assert Stage.DIALING not in stages(ended(RELEASED, Disposition.FAILED, evidence))


@pytest.mark.parametrize(
    ("dial_out", "text"),
    [
        (ended(RELEASED, Disposition.BUSY), "The telephone is busy."),
        (ended(RELEASED, Disposition.NO_ANSWER), "Nobody answered."),
        (ended(RELEASED, Disposition.CONGESTION), "The telephone network had no line free."),
        (ended(RELEASED, Disposition.FAILED), "The number could not be reached."),
        (
            ended(RESERVED, Disposition.CANCELLED, "cancelled"),
            "The call was cancelled before anybody answered.",
        ),
        (ended(RESERVED, Disposition.FAILED, "expired"), "The call could not be placed."),
        (
            ended(JOINED, Disposition.ANSWERED, seconds=192, parts=(PAID,)),
            "The call lasted 3:12 and cost 1.92 USD.",
        ),
        (ended(JOINED, Disposition.ANSWERED, seconds=61), "The call lasted 1:01."),
        (
            ended(replace(ANSWERED, confirms=True), Disposition.ANSWERED, seconds=20),
            "The telephone was answered, but nobody there pressed 1. The call lasted 0:20.",
        ),
        (
            ended(JOINED, Disposition.ANSWERED, seconds=20, dropped=DropReason.ALONE),
            "The call lasted 0:20. It was ended because nobody else was in the meeting.",
        ),
    ],
)
def test_the_end_is_told_in_words(dial_out: DialOut, text: str) -> None:
    """What became of the call, how long it was and what it cost, for a person to read."""
    assert steps(dial_out)[-1].text == text


@pytest.mark.parametrize("disposition", list(Disposition))
def test_every_disposition_has_its_words(disposition: Disposition) -> None:
    """One that had none would break the stream at its last event."""
    assert steps(ended(RELEASED, disposition))[-1].text


@pytest.mark.parametrize("reason", list(DropReason))
def test_every_reason_to_drop_has_its_words(reason: DropReason) -> None:
    """As with the dispositions."""
    call = ended(JOINED, Disposition.ANSWERED, seconds=1, dropped=reason)

    assert steps(call)[-1].text.startswith("The call lasted 0:01. It was ended because ")


@pytest.mark.parametrize("stage", [stage for stage in Stage if not stage.is_last])
def test_every_stage_before_the_last_can_be_told(stage: Stage) -> None:
    """By its name alone, as Asterisk reports it."""
    assert reached(stage, AT) == Step(stage=stage, at=AT, text=reached(stage, AT).text)


def test_the_end_says_what_it_came_to() -> None:
    """A page can show it without asking again."""
    summary = steps(ended(JOINED, Disposition.ANSWERED, seconds=192, parts=(PAID,)))[-1].summary()

    assert summary["disposition"] == "answered"
    assert (summary["billable_seconds"], summary["cost_micros"]) == (192, 1_920_000)
    assert summary["currency"] == "USD"
