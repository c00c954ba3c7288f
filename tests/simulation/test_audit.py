"""The audit: what the carrier saw against what the ledger says. Each row is one thing wrong."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from gateway.core.call import Unproved
from gateway.core.causes import Disposition
from gateway.core.dial_out import DialOut, DialOutKind, DialOutRequest, DialOutState
from gateway.core.e164 import E164
from gateway.core.facts import OrganizerId, SourceKind
from gateway.core.key import DialOutKey
from gateway.core.rating import Seconds
from gateway.core.reasons import Reason
from gateway.ledger import Balance, Finding, FindingCode
from gateway.ledger.answers import Unit
from gateway.simulator.audit import Death, Disturbance, Evidence, Shutdown, Wrong, audit
from gateway.simulator.carrier import CarrierCall, EndedBy, Signal, Telephone

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp()) * 1000
KEY = DialOutKey(tenant_id=UUID(int=1), dial_out_id=UUID(int=2))
OTHER = DialOutKey(tenant_id=UUID(int=1), dial_out_id=UUID(int=3))
ROW = DialOut(
    request=DialOutRequest(
        key=KEY,
        kind=DialOutKind.ADD_PARTICIPANT,
        organizer_id=OrganizerId("ann"),
        initiator_id=None,
        conference_id="room",
        number_typed="+442079460123",
    ),
    state=DialOutState.ENDED,
    reason=None,
    destination=E164("+442079460123"),
    region=None,
    number_kind=None,
    requested_at=NOON,
    expires_at=NOON,
    released_at=NOON,
    answered_at=NOON,
    seen_at=None,
    ended_at=NOON,
    talk_seconds=Seconds(10),
    limit_seconds=Seconds(10),
    talk_seconds_max=Seconds(12),
    slices=2,
    ring_seconds=Seconds(5),
    caller_id=None,
    gate_uniqueid=KEY.gate_uniqueid,
    disposition=Disposition.ANSWERED,
    hangup_cause=16,
    billable_seconds=Seconds(4),
    overrun_seconds=Seconds(0),
    evidence="events",
    parts=(),
    sources=(),
    explanation="{}",
)


SLICES = (5, 5)


def _nobody(_signal: Signal) -> None:
    """Hear nothing."""


def call(milliseconds: int = 3_500, ended_by: EndedBy = EndedBy.TELEPHONE) -> CarrierCall:
    """Return a call as the carrier saw it, answered at noon."""
    return CarrierCall(
        number="+442079460123",
        caller="+442079460999",
        key=KEY.hex,
        leg="leg",
        telephone=Telephone(),
        _tell=_nobody,
        invited_at_ms=NOON_MS - 1_000,
        answered_at_ms=NOON_MS,
        ended_at_ms=NOON_MS + milliseconds,
        ended_by=ended_by,
        recorded=ended_by is not EndedBy.DEATH,
    )


UNPROVED = replace(
    ROW,
    evidence="absent_twice",
    billable_seconds=Seconds(2),
    least_seconds=Seconds(2),
    most_seconds=Seconds(6),
    unproved=Unproved.LEAST,
)
NEVER_ANSWERED = replace(
    call(), answered_at_ms=None, ended_at_ms=NOON_MS, ended_by=EndedBy.TELEPHONE
)


def wrongs(
    row: DialOut | None,
    *calls: CarrierCall,
    called_off: bool = False,
    deaths: tuple[Death, ...] = (),
    shutdowns: tuple[Shutdown, ...] = (),
    slices: tuple[int, ...] = SLICES,
    disturbances: tuple[Disturbance, ...] = (),
    delays: tuple[Disturbance, ...] = (),
    credit_seconds: int = 0,
    accepted: bool = True,
) -> dict[Wrong, int]:
    """Return how much is wrong of what, of one dial-out."""
    faults = audit(
        Evidence(
            calls=calls,
            rows={KEY: row, OTHER: None},
            called_off={OTHER, KEY} if called_off else {OTHER},
            accepted={KEY} if accepted else set(),
            asked_at_ms={KEY: NOON_MS - 2_000, OTHER: NOON_MS - 2_000},
            deaths=deaths,
            shutdowns=shutdowns,
            disturbances=disturbances,
            delays=delays,
            crashes={},
            credit_seconds=credit_seconds,
            slices={KEY: slices},
            balances=(),
            findings=(),
        )
    )
    return {fault.wrong: fault.amount for fault in faults}


@pytest.mark.parametrize(
    ("row", "calls", "wrong"),
    [
        (ROW, [call()], {}),
        (ROW, [call(4_000)], {}),
        (ROW, [call(4_001)], {Wrong.LOST_SECONDS: 1}),
        (ROW, [call(3_000)], {Wrong.EXTRA_SECONDS: 1}),
        (replace(ROW, billable_seconds=Seconds(1)), [call(0)], {}),
        (replace(ROW, billable_seconds=Seconds(0)), [call(0)], {Wrong.LOST_SECONDS: 1}),
        (ROW, [], {Wrong.EXTRA_SECONDS: 4, Wrong.NOT_DIALLED: 1}),
        (ROW, [NEVER_ANSWERED], {Wrong.EXTRA_SECONDS: 4}),
        (ROW, [call(), call()], {Wrong.DOUBLE_DIAL: 1}),
        (None, [], {Wrong.NOT_DIALLED: 1}),
        (None, [call()], {Wrong.DOUBLE_DIAL: 1}),
        (replace(ROW, state=DialOutState.REFUSED), [], {}),
        (
            replace(ROW, state=DialOutState.REFUSED, reason=Reason.NUMBER_INVALID),
            [call()],
            {Wrong.DOUBLE_DIAL: 1},
        ),
        (
            replace(ROW, evidence="expired", billable_seconds=Seconds(0)),
            [NEVER_ANSWERED],
            {Wrong.DOUBLE_DIAL: 1},
        ),
        (replace(ROW, state=DialOutState.ANSWERED), [call()], {Wrong.STUCK_RESERVATION: 1}),
        # Cut at what it was paid for: the last of its milliseconds is nobody's.
        (replace(ROW, billable_seconds=Seconds(10)), [call(10_004, EndedBy.BRIDGE)], {}),
        (replace(ROW, billable_seconds=Seconds(10)), [call(11_004)], {Wrong.OVERDRAFT: 1}),
        (ROW, [call(3_500, EndedBy.BRIDGE)], {Wrong.DROPPED_CALL: 1}),
        # Its second slice was paid for, and Asterisk was not told in time.
        (replace(ROW, billable_seconds=Seconds(5)), [call(4_990, EndedBy.BRIDGE)], {}),
        (
            replace(ROW, billable_seconds=Seconds(7)),
            [call(6_500, EndedBy.BRIDGE)],
            {Wrong.DROPPED_CALL: 1},
        ),
    ],
)
def test_each_thing_wrong_is_found(
    row: DialOut | None, calls: list[CarrierCall], wrong: dict[Wrong, int]
) -> None:
    """What is right is left alone, and each second too few or too many is named and counted."""
    assert wrongs(row, *calls) == wrong


def test_a_call_that_somebody_called_off_was_not_dropped() -> None:
    """The product ends it because it was told to."""
    assert wrongs(ROW, call(3_500, EndedBy.BRIDGE), called_off=True) == {}


def test_a_call_may_be_cut_where_its_sources_were_short_for_a_while() -> None:
    """Asterisk could not be told in time of a slice that was paid when funds had come back."""
    short = replace(ROW, billable_seconds=Seconds(7))
    cut = call(7_050, EndedBy.BRIDGE)
    assert Wrong.DROPPED_CALL not in wrongs(short, cut, slices=(5, 2, 3))
    assert Wrong.DROPPED_CALL in wrongs(short, cut)


UNDIALLED = replace(
    ROW, answered_at=None, billable_seconds=Seconds(0), disposition=Disposition.FAILED
)
LONG_AGO = Disturbance(from_ms=NOON_MS - 60_000, until_ms=NOON_MS - 50_000)
BEFORE = Disturbance(from_ms=NOON_MS - 3_000, until_ms=NOON_MS - 2_000)
AFTER = Disturbance(from_ms=NOON_MS + 20_000, until_ms=NOON_MS + 21_000)
OF_ANOTHER = replace(BEFORE, uniqueid=OTHER.gate_uniqueid)


@pytest.mark.parametrize("disturbance", [None, LONG_AGO, AFTER, OF_ANOTHER])
def test_a_call_is_extended_while_there_are_funds(disturbance: Disturbance | None) -> None:
    """A cut at the end of a slice is a dropped call if only the gateway can be to blame."""
    disturbances = (disturbance,) if disturbance else ()
    cut, paid = call(5_000, EndedBy.BRIDGE), replace(ROW, billable_seconds=Seconds(5))
    dropped = {Wrong.DROPPED_CALL: 1}
    rich = 100
    assert wrongs(paid, cut, credit_seconds=rich, disturbances=disturbances) == dropped
    assert wrongs(paid, cut, credit_seconds=21, disturbances=disturbances) == {}
    assert wrongs(paid, cut, credit_seconds=rich, disturbances=(BEFORE,)) == {}


def test_a_call_may_end_at_the_longest_that_it_may_last() -> None:
    """There is no slice after the last one, however much its sources have."""
    row = replace(
        ROW, billable_seconds=Seconds(12), talk_seconds=Seconds(12), limit_seconds=Seconds(12)
    )
    assert wrongs(row, call(11_900, EndedBy.BRIDGE), credit_seconds=100) == {}


@pytest.mark.parametrize(
    ("disturbance", "called_off", "wrong"),
    [
        (None, False, {Wrong.NOT_DIALLED: 1}),
        (None, True, {}),
        (BEFORE, False, {}),
        (replace(BEFORE, uniqueid=KEY.gate_uniqueid), False, {}),
        (OF_ANOTHER, False, {Wrong.NOT_DIALLED: 1}),
        (LONG_AGO, False, {Wrong.NOT_DIALLED: 1}),
        (AFTER, False, {Wrong.NOT_DIALLED: 1}),
    ],
)
def test_what_is_reserved_is_dialled(
    disturbance: Disturbance | None, *, called_off: bool, wrong: dict[Wrong, int]
) -> None:
    """A gateway that dials nothing loses no second, and is of no use."""
    disturbances = (disturbance,) if disturbance else ()
    assert wrongs(UNDIALLED, called_off=called_off, disturbances=disturbances) == wrong
    assert wrongs(UNDIALLED, called_off=called_off, delays=disturbances) == wrong


@pytest.mark.parametrize(
    ("delays", "wrong"),
    [((), {Wrong.NOT_DIALLED: 1}), ((Disturbance(from_ms=NOON_MS, until_ms=NOON_MS),), {})],
)
def test_what_no_gateway_took_need_not_be_known(
    delays: tuple[Disturbance, ...], wrong: dict[Wrong, int]
) -> None:
    """Its client was told so, and has no call; but there was a reason."""
    assert wrongs(None, accepted=False, delays=delays) == wrong
    assert wrongs(None, accepted=False, called_off=True) == {}


@pytest.mark.parametrize(
    ("least", "disturbances", "wrong"),
    [
        (0, (), {Wrong.LOST_SECONDS: 9}),
        (8, (), {Wrong.LOST_SECONDS: 1}),
        (9, (), {}),
        (0, (BEFORE,), {}),
    ],
)
def test_a_call_is_seen_until_shortly_before_asterisk_dies(
    least: int, disturbances: tuple[Disturbance, ...], wrong: dict[Wrong, int]
) -> None:
    """Bounds that say nothing are right, too; the gateways knew better when the link ended."""
    died = Death(at_ms=NOON_MS + 12_000, records_from_ms=None)
    row = replace(
        UNPROVED,
        talk_seconds=Seconds(12),
        least_seconds=Seconds(least),
        most_seconds=Seconds(12),
        billable_seconds=Seconds(least),
    )
    death = Disturbance(from_ms=died.at_ms - 20, until_ms=died.at_ms + 3_000)
    cut = call(12_000, EndedBy.DEATH)
    unanswered = replace(death, from_ms=died.at_ms - 500, until_ms=died.at_ms + 500)
    faults = wrongs(
        row, cut, deaths=(died,), disturbances=(death, *disturbances), delays=(unanswered,)
    )
    assert faults == wrong


def test_a_call_that_an_operator_shut_down_was_not_dropped() -> None:
    """Asterisk hangs everything up before it is restarted in order."""
    shutdown = Shutdown(from_ms=NOON_MS + 3_400, until_ms=NOON_MS + 4_000)
    assert wrongs(ROW, call(3_500, EndedBy.BRIDGE), shutdowns=(shutdown,)) == {}


@pytest.mark.parametrize(
    ("row", "milliseconds", "wrong"),
    [
        (UNPROVED, 3_500, {}),
        (UNPROVED, 1_500, {}),
        (UNPROVED, 900, {Wrong.EXTRA_SECONDS: 1}),
        (UNPROVED, 6_500, {Wrong.LOST_SECONDS: 1}),
        (replace(UNPROVED, unproved=Unproved.MOST), 3_500, {Wrong.LOST_SECONDS: 4}),
        (replace(UNPROVED, unproved=Unproved.MOST, billable_seconds=Seconds(6)), 3_500, {}),
    ],
)
def test_bounds_hold_the_truth_and_one_of_them_is_billed(
    row: DialOut, milliseconds: int, wrong: dict[Wrong, int]
) -> None:
    """Where Asterisk died with the call, the bounds must be right, and the policy kept."""
    died = Death(at_ms=NOON_MS + milliseconds, records_from_ms=None)
    assert wrongs(row, call(milliseconds, EndedBy.DEATH), deaths=(died,)) == wrong


@pytest.mark.parametrize(
    ("death", "wrong"),
    [
        (None, {Wrong.LOST_SECONDS: 2}),
        (Death(at_ms=NOON_MS + 9_000, records_from_ms=None), {Wrong.LOST_SECONDS: 2}),
        (Death(at_ms=NOON_MS + 9_000, records_from_ms=NOON_MS + 8_000), {Wrong.LOST_SECONDS: 2}),
        (Death(at_ms=NOON_MS + 4_000, records_from_ms=NOON_MS + 3_000), {}),
    ],
)
def test_a_guess_is_no_settlement_where_there_was_evidence(
    death: Death | None, wrong: dict[Wrong, int]
) -> None:
    """Bounds excuse a second that is not billed only if all that proved it is gone."""
    assert wrongs(UNPROVED, call(), deaths=(death,) if death else ()) == wrong
    assert wrongs(UNPROVED, replace(call(), recorded=False)) == {}, "it died in that moment"


def test_the_books_are_audited_too() -> None:
    """The ledger's own findings, an overdrawn source, funds that stay aside, and what crashed."""
    balance = Balance(
        source_id=uuid4(),
        kind=SourceKind.POOL,
        benefit_id="standard_pool",
        organizer_id=None,
        capped=True,
        unit=Unit.SECONDS,
        currency=None,
        valid_from=NOON,
        valid_to=NOON + timedelta(days=1),
        granted=10,
        used=8,
        reserved=3,
        free=-1,
    )
    finding = Finding(tenant_id=KEY.tenant_id, check=FindingCode.UNFUNDED, subject="a", detail="b")
    evidence = Evidence(
        calls=(),
        rows={},
        called_off=(),
        accepted=(),
        asked_at_ms={},
        deaths=(),
        shutdowns=(),
        disturbances=(),
        delays=(),
        crashes={"gateway 0": "ended by itself"},
        credit_seconds=0,
        slices={},
        balances=(balance,),
        findings=(finding,),
    )
    assert [fault.wrong for fault in audit(evidence)] == [
        Wrong.OVERDRAFT,
        Wrong.OVERDRAFT,
        Wrong.STUCK_RESERVATION,
        Wrong.CRASHED,
    ]
