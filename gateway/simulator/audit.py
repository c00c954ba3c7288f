"""What the carrier saw against what the ledger says: every second and every reservation.

Nothing of the gateway is asked: it is not believed what it says of itself.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import Any, Final

from gateway.core.call import Unproved
from gateway.core.dial_out import DialOut, DialOutState
from gateway.core.key import DialOutKey
from gateway.ledger import Balance, Finding
from gateway.simulator.carrier import CarrierCall, EndedBy

UNSYNCED_MS: Final = 1_000
"""What a killed Asterisk may have lost of its records."""

OVER_MS: Final = 1_000
"""How much longer than it was paid for a telephone may be up: the limit is cut in Asterisk."""

EARLY_MS: Final = 700
"""How much earlier than at what is paid for Asterisk may cut: the gateway errs early."""

REACH_MS: Final = 8_000
"""How long after it is over something that went wrong may still be felt: whoever had no answer
asks again after five seconds, and a gateway that starts has to look around first."""

GATE_MS: Final = 10_000
"""How long a request may be on its way to its INVITE: what nobody claims expires before."""

UNSEEN_MS: Final = 3_000
"""How long before the death of Asterisk a call may have been seen last: from one heartbeat to the
next, and a second."""

_DEATH_TAKES_MS: Final = 200
"""How long after it was ordered Asterisk may be dead: what lies between is the same fault."""

NEVER_DIALED: Final = frozenset({"cancelled", "expired", "not_originated"})
"""Evidence that says that the trunk was never dialled."""


class Wrong(StrEnum):
    """What must never happen, in the order in which it is reported."""

    DOUBLE_DIAL = "double_dial"
    LOST_SECONDS = "lost_seconds"
    EXTRA_SECONDS = "extra_seconds"
    OVERDRAFT = "overdraft"
    STUCK_RESERVATION = "stuck_reservation"
    DROPPED_CALL = "dropped_call"
    NOT_DIALLED = "not_dialled"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that must never happen, and how it shows. ``subject`` is a dial-out's id, or not.

    ``amount`` is what the table counts: seconds, where seconds are lost or invented.
    """

    wrong: Wrong
    subject: str
    detail: str
    amount: int = 1

    def summary(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "wrong": self.wrong,
            "subject": self.subject,
            "detail": self.detail,
            "amount": self.amount,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """When Asterisk was killed, by its own clock, and what of its records that cost.

    ``records_from_ms`` is the instant from which on they are lost, None if none is.
    """

    at_ms: int
    records_from_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """When an operator had Asterisk hang up everything, by its own clock."""

    from_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """When something was made to go wrong, by Asterisk's clock.

    ``uniqueid`` is the channel that it befell, empty if it may be felt by every call.
    """

    from_ms: int
    until_ms: int
    uniqueid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is known of one run when it has come to rest.

    ``rows`` are what the ledger has of the requests that were made; ``called_off`` those that
    somebody cancelled, ``accepted`` those that a gateway took. ``asked_at_ms`` is when each was
    made first, by Asterisk's clock. ``slices`` are the seconds for which each was paid, one after
    the other, ``credit_seconds`` those that anybody could have been paid for at the start.
    ``delays`` are requests that had no answer, or late, whether for a disturbance or because this
    machine has too much to do. ``crashes`` say what happened to gateways that ended by themselves,
    or have a traceback in their log.
    """

    calls: Sequence[CarrierCall]
    rows: Mapping[DialOutKey, DialOut | None]
    called_off: Collection[DialOutKey]
    accepted: Collection[DialOutKey]
    asked_at_ms: Mapping[DialOutKey, int]
    deaths: Sequence[Death]
    shutdowns: Sequence[Shutdown]
    disturbances: Sequence[Disturbance]
    delays: Sequence[Disturbance]
    crashes: Mapping[str, str]
    credit_seconds: int
    slices: Mapping[DialOutKey, Sequence[int]]
    balances: Sequence[Balance]
    findings: Sequence[Finding]


def audit(evidence: Evidence) -> tuple[Fault, ...]:
    """Return everything that must never happen and did."""
    calls: dict[str, list[CarrierCall]] = defaultdict(list)
    for call in evidence.calls:
        calls[call.key].append(call)
    faults = [
        *_strangers(calls, evidence.rows),
        *_books(evidence.balances, evidence.findings),
        *(
            Fault(wrong=Wrong.CRASHED, subject=gateway, detail=said)
            for gateway, said in evidence.crashes.items()
        ),
    ]
    for key, row in evidence.rows.items():
        faults += _dial_out(key, row, calls[key.hex], evidence)
    return tuple(faults)


def _strangers(
    calls: Mapping[str, list[CarrierCall]], rows: Mapping[DialOutKey, DialOut | None]
) -> Iterator[Fault]:
    known = {key.hex for key in rows}
    for key, of_key in calls.items():
        if key not in known:
            yield Fault(
                wrong=Wrong.DOUBLE_DIAL,
                subject=key,
                detail=f"{len(of_key)} INVITEs that nobody asked for",
            )


def _books(balances: Iterable[Balance], findings: Iterable[Finding]) -> Iterator[Fault]:
    for finding in findings:
        yield Fault(
            wrong=Wrong.OVERDRAFT,
            subject=finding.subject,
            detail=f"ledger check: {finding.check}: {finding.detail}",
        )
    for balance in balances:
        if balance.capped and balance.used + balance.reserved > balance.granted:
            yield Fault(
                wrong=Wrong.OVERDRAFT,
                subject=balance.kind,
                detail=f"{balance.used} used and {balance.reserved} set aside"
                f" of {balance.granted} {balance.unit}",
            )
        if balance.reserved:
            yield Fault(
                wrong=Wrong.STUCK_RESERVATION,
                subject=balance.kind,
                detail=f"{balance.reserved} {balance.unit} still set aside",
            )


def _dial_out(
    key: DialOutKey, row: DialOut | None, calls: Sequence[CarrierCall], evidence: Evidence
) -> Iterator[Fault]:
    subject = str(key.dial_out_id)
    if len(calls) > 1:
        yield Fault(wrong=Wrong.DOUBLE_DIAL, subject=subject, detail=f"{len(calls)} INVITEs")
    if row is None or row.state is DialOutState.REFUSED:
        if calls:
            what = "without a row" if row is None else f"refused: {row.reason}"
            yield Fault(wrong=Wrong.DOUBLE_DIAL, subject=subject, detail=f"INVITE, {what}")
        elif row is None:
            yield from _unknown(key, evidence)
        return
    if row.state is not DialOutState.ENDED:
        yield Fault(wrong=Wrong.STUCK_RESERVATION, subject=subject, detail=f"is {row.state}")
        return
    if calls and row.evidence in NEVER_DIALED:
        yield Fault(wrong=Wrong.DOUBLE_DIAL, subject=subject, detail=f"INVITE, {row.evidence}")
    call = calls[0] if calls else None
    yield from _seconds(subject, row, call, evidence.deaths)
    if call is None:
        yield from _not_dialled(key, row, evidence)
    else:
        yield from _seen(key, row, call, evidence)
        yield from _length(subject, row, call)
        if key not in evidence.called_off:
            yield from _dropped(key, row, call, evidence)


def _seconds(
    subject: str, row: DialOut, call: CarrierCall | None, deaths: Sequence[Death]
) -> Iterator[Fault]:
    """Compare the seconds that were begun with those that were billed, exactly."""
    true = _begun(call)
    payable = min(true, row.talk_seconds or 0)
    billed = row.billable_seconds or 0
    said = f"{_truth(call)}; billed {billed} by {row.evidence}"
    if row.unproved is None:
        if billed < payable:
            yield _lost(subject, said, payable - billed)
        elif billed > payable:
            yield _extra(subject, said, billed - payable)
        return
    least, most = row.least_seconds or 0, row.most_seconds or 0
    said += f", between {least} and {most}"
    if least > true:
        yield _extra(subject, said, least - true)
    if most < payable:
        yield _lost(subject, said, payable - most)
    due = min(most if row.unproved is Unproved.MOST else least, row.talk_seconds or 0)
    if billed < due:
        yield _lost(subject, f"{said}, policy {row.unproved}", due - billed)
    elif billed > due:
        yield _extra(subject, f"{said}, policy {row.unproved}", billed - due)
    if billed < payable and not _is_lost(call, deaths):
        yield _lost(subject, f"{said}, and there was evidence", payable - billed)


def _seen(key: DialOutKey, row: DialOut, call: CarrierCall, evidence: Evidence) -> Iterator[Fault]:
    """See that a call with which Asterisk died was noted as alive until shortly before.

    Nothing else may have gone wrong: with the link to Asterisk the gateways note that, if they
    run and the ledger is there.
    """
    if row.unproved is None or call.ended_by is not EndedBy.DEATH or call.ended_at_ms is None:
        return
    ended_at_ms = call.ended_at_ms
    others = [
        *(
            each
            for each in evidence.disturbances
            if not 0 <= ended_at_ms - each.from_ms <= _DEATH_TAKES_MS
        ),
        # What had no answer then, or later, had none because of the death.
        *(each for each in evidence.delays if each.until_ms < ended_at_ms - _DEATH_TAKES_MS),
    ]
    due = ((call.talked_ms or 0) - UNSEEN_MS) // 1000
    least = row.least_seconds or 0
    if least < due and not _is_disturbed(
        key, others, evidence, call.invited_at_ms, ended_at_ms + REACH_MS
    ):
        detail = f"{_truth(call)}; seen for {least} only, and nothing else went wrong"
        yield _lost(str(key.dial_out_id), detail, due - least)


def _unknown(key: DialOutKey, evidence: Evidence) -> Iterator[Fault]:
    """See that the ledger knows of what was accepted, and of what nothing kept from it."""
    subject = str(key.dial_out_id)
    if key in evidence.accepted:
        detail = "was accepted, and the ledger does not know of it"
        yield Fault(wrong=Wrong.NOT_DIALLED, subject=subject, detail=detail)
    elif _is_left_alone(key, evidence):
        detail = "nothing went wrong, and yet the ledger does not know of it"
        yield Fault(wrong=Wrong.NOT_DIALLED, subject=subject, detail=detail)


def _not_dialled(key: DialOutKey, row: DialOut, evidence: Evidence) -> Iterator[Fault]:
    """See that what was reserved was dialled, unless somebody or something kept it from that."""
    if _is_left_alone(key, evidence):
        detail = f"nothing went wrong, and yet: {row.disposition} by {row.evidence}"
        yield Fault(wrong=Wrong.NOT_DIALLED, subject=str(key.dial_out_id), detail=detail)


def _is_left_alone(key: DialOutKey, evidence: Evidence) -> bool:
    """Return whether nobody and nothing kept a request from being dialled."""
    asked_at_ms = evidence.asked_at_ms[key]
    disturbances = (*evidence.disturbances, *evidence.delays)
    return key not in evidence.called_off and not _is_disturbed(
        key, disturbances, evidence, asked_at_ms, asked_at_ms + GATE_MS
    )


def _is_disturbed(
    key: DialOutKey,
    disturbances: Iterable[Disturbance],
    evidence: Evidence,
    from_ms: int,
    until_ms: int,
) -> bool:
    """Return whether a call may have felt, within that time, that something went wrong."""
    others = [each.hex for each in evidence.rows if each != key]
    return any(
        each.from_ms <= until_ms
        and each.until_ms + REACH_MS >= from_ms
        and not any(other in each.uniqueid for other in others)
        for each in disturbances
    )


def _lost(subject: str, detail: str, seconds: int) -> Fault:
    return Fault(wrong=Wrong.LOST_SECONDS, subject=subject, detail=detail, amount=seconds)


def _extra(subject: str, detail: str, seconds: int) -> Fault:
    return Fault(wrong=Wrong.EXTRA_SECONDS, subject=subject, detail=detail, amount=seconds)


def _length(subject: str, row: DialOut, call: CarrierCall) -> Iterator[Fault]:
    """See that the telephone was up no longer than paid for."""
    talked_ms, paid_ms = call.talked_ms or 0, _paid_ms(row)
    if call.ended_at_ms is None:
        yield Fault(wrong=Wrong.OVERDRAFT, subject=subject, detail="is still up")
    if talked_ms > paid_ms + OVER_MS:
        yield Fault(
            wrong=Wrong.OVERDRAFT,
            subject=subject,
            detail=f"up for {talked_ms} ms, paid for {paid_ms} ms",
        )


def _dropped(
    key: DialOutKey, row: DialOut, call: CarrierCall, evidence: Evidence
) -> Iterator[Fault]:
    """See that what nobody called off was up until its telephone, or its funds, ended it.

    Where the gateway could not tell Asterisk in time that another slice was paid for, the call
    is cut at the end of the one before; it could if there were funds and nothing went wrong.
    """
    talked_ms, slices = call.talked_ms or 0, evidence.slices.get(key, ())
    is_at_a_limit = talked_ms >= _paid_ms(row) - EARLY_MS or any(
        abs(talked_ms - seconds * 1000) < EARLY_MS for seconds in accumulate(slices)
    )
    if (
        call.answered_at_ms is not None
        and call.ended_by is EndedBy.BRIDGE
        and not (is_at_a_limit and _may_end_there(key, row, call, evidence))
        and not _is_shut_down(call, evidence.shutdowns)
    ):
        yield Fault(
            wrong=Wrong.DROPPED_CALL,
            subject=str(key.dial_out_id),
            detail=f"ended by us after {talked_ms} ms, paid for {_paid_ms(row)} ms",
        )


def _may_end_there(key: DialOutKey, row: DialOut, call: CarrierCall, evidence: Evidence) -> bool:
    """Return whether a call may have got no further than to what it was paid for."""
    talked_ms, most = call.talked_ms or 0, row.talk_seconds_max or 0
    if talked_ms >= most * 1000 - EARLY_MS:
        return True
    # More than all calls together ever set aside, one on top of the other, and this one's rest.
    needed = sum(each.talk_seconds or 0 for each in evidence.rows.values() if each) + most
    return needed > evidence.credit_seconds or _is_disturbed(
        key,
        (*evidence.disturbances, *evidence.delays),
        evidence,
        call.invited_at_ms,
        call.ended_at_ms or call.invited_at_ms,
    )


def _paid_ms(row: DialOut) -> int:
    return max(row.talk_seconds or 0, row.limit_seconds or 0) * 1000


def _is_shut_down(call: CarrierCall, shutdowns: Sequence[Shutdown]) -> bool:
    ended_at_ms = call.ended_at_ms or 0
    return any(each.from_ms <= ended_at_ms <= each.until_ms for each in shutdowns)


def _is_lost(call: CarrierCall | None, deaths: Sequence[Death]) -> bool:
    """Return whether Asterisk died with all that proved when the call ended."""
    if call is None or call.ended_at_ms is None:
        return False
    return not call.recorded or any(
        death.records_from_ms is not None
        and death.records_from_ms <= call.ended_at_ms <= death.at_ms
        for death in deaths
    )


def _begun(call: CarrierCall | None) -> int:
    """Return the seconds that a call began; an answered one has begun one at least."""
    if call is None or call.answered_at_ms is None:
        return 0
    return max(1, -(-(call.talked_ms or 0) // 1000))


def _truth(call: CarrierCall | None) -> str:
    if call is None:
        return "never dialled"
    if call.answered_at_ms is None:
        return "never answered"
    return f"up for {call.talked_ms} ms, ended by {call.ended_by}"
