"""What benchmarks that end in a verdict call wrong: one that passes everything proves nothing."""

from dataclasses import replace
from uuid import UUID

import pytest

from bench.crash import OPEN_SECONDS_MAX, Outcome
from bench.outage import AsteriskDied, AsteriskStopped, LedgerAway
from bench.soak import Sample, Soak
from gateway.core.dial_out import DialOutState
from tests.calls.crowd import Asked, Call, Planned
from tests.core.test_progress import RESERVED


def call(told: str | None = None, hang_up_seconds: float | None = None) -> Call:
    """Return a call that was dialled once, and talked and billed for no second."""
    planned = Planned(number="+442079460123", hang_up_seconds=hang_up_seconds)
    asked = Asked(planned=planned, ids=[UUID(int=1)], taken=True, told=told)
    return Call(number=planned.number, asked=asked, rows=(), invites=1, talked=0.0)


GOOD = Outcome(
    seed=1, gateways=2, kills=1, seconds=1.0, calls=(call(),), open_seconds=1.0, findings=0
)


def test_a_crash_that_leaves_money_set_aside_for_long_fails() -> None:
    """A source that is not given back is money that nobody can use meanwhile."""
    assert GOOD.faults == ()

    (late,) = replace(GOOD, open_seconds=OPEN_SECONDS_MAX + 0.1).faults

    assert late == "open for 10.1 s"


@pytest.mark.parametrize(
    ("told", "hang_up_seconds", "is_wrong"),
    [
        (DialOutState.RELEASED, None, True),
        (DialOutState.ANSWERED, None, True),
        (DialOutState.RELEASED, 0.5, False),
        (DialOutState.RESERVED, None, False),
        (DialOutState.ENDED, None, False),
        (None, None, False),
    ],
)
def test_a_call_that_was_told_to_be_dialled_and_was_not_fails(
    told: DialOutState | None, hang_up_seconds: float | None, *, is_wrong: bool
) -> None:
    """Unless its client has called it off, or was told the truth."""
    never = replace(call(told, hang_up_seconds), invites=0)

    outcome = replace(GOOD, calls=(call(), never))

    assert [fault.startswith("taken and never dialled") for fault in outcome.faults] == (
        [True] if is_wrong else []
    )
    assert len(outcome.figures()["taken_and_not_dialled"]) == 1


def test_a_call_whose_only_gateway_died_at_the_gate_is_not_forgotten() -> None:
    """Nobody was there to let it dial; with another gateway somebody was."""
    ended = replace(RESERVED, state=DialOutState.ENDED, evidence="absent_twice")
    never = replace(call(DialOutState.RELEASED), invites=0, rows=(ended,))
    refused = replace(never, rows=(replace(ended, evidence="record"),))

    assert replace(GOOD, gateways=1, calls=(call(), never)).faults == ()
    assert len(replace(GOOD, gateways=1, calls=(call(), refused)).faults) == 1
    assert len(replace(GOOD, gateways=2, calls=(call(), never)).faults) == 1


def test_a_crash_in_which_nothing_is_dialled_fails() -> None:
    """It has tried nothing, or next to nothing."""
    never = replace(call(), invites=0)

    assert replace(GOOD, calls=()).faults == ("0 of 0 calls reached the carrier",)
    assert replace(GOOD, calls=(call(), *[never] * 2)).faults == ()
    assert replace(GOOD, calls=(call(), *[never] * 3)).faults == (
        "1 of 4 calls reached the carrier",
    )


def test_a_crash_ends_for_whoever_waits_then() -> None:
    """Nobody served them, for the last gateway was dead; that says nothing of the others."""
    never = replace(call(), invites=0)
    waits = replace(never, asked=replace(never.asked, cut_short=True))

    assert replace(GOOD, calls=(call(), *[waits] * 3)).faults == ()
    assert replace(GOOD, calls=(waits,)).faults == ("0 of 0 calls reached the carrier",)


def test_an_outage_that_leaves_findings_fails() -> None:
    """The ledger's own check is the last word on its rows."""
    away = LedgerAway(
        seconds=1.0,
        slice_seconds=2,
        left=(),
        stayed=(),
        unfunded=call(),
        settled_seconds=0.1,
        refusal="ledger_unavailable",
        findings=0,
    )
    died = AsteriskDied(calls=(), settled_seconds=0.1, findings=0)
    stopped = AsteriskStopped(calls=(), findings=0)
    for outcome in (away, died, stopped):
        assert outcome.faults == ()
        assert replace(outcome, findings=2).faults == ("2 findings of the ledger",)


@pytest.mark.parametrize(("dialled", "is_wrong"), [(0, True), (40, True), (97, False)])
def test_a_soak_in_which_hardly_anything_is_dialled_fails(dialled: int, *, is_wrong: bool) -> None:
    """Of a gateway that refuses everybody nothing is left, either."""
    none = Sample(
        at_seconds=0.0,
        memory_bytes=1,
        memory_blocks=1,
        tasks=1,
        files=1,
        calls=0,
        open_rows=0,
        connections=1,
        records=0,
        channels=0,
    )
    soak = Soak(
        seconds=10.0,
        rate=10.0,
        calls=90,
        idle=none,
        warm=none,
        samples=(none,) * 3,
        rest=none,
        answers={"201": 90, "intercepted": 10},
        dialled=dialled,
        log={},
    )

    assert soak.faults() == (["hardly any call was dialled"] if is_wrong else [])
