"""Grants: who may pay, how much is given at once, and what a journal tells after a crash."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from gateway.core.call import Ending
from gateway.core.causes import Disposition
from gateway.core.choices import Choices, Confirmation
from gateway.core.dial_out import DialOutKind, DialOutRequest, DialOutState, Terms
from gateway.core.e164 import E164, Destination, NumberKind, Region
from gateway.core.facts import OrganizerId, SourceKind
from gateway.core.grant import (
    Answered,
    Ended,
    Gone,
    Grant,
    GrantBounds,
    Granted,
    GrantedCall,
    GrantRefusal,
    Joined,
    Line,
    Released,
    beyond,
    confirms,
    payers,
    read,
    written,
)
from gateway.core.key import DialOutKey
from gateway.core.policy import Allow, Deny
from gateway.core.rating import Seconds
from gateway.core.reasons import Reason
from gateway.core.waterfall import CREDITS, Source

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
TENANT = UUID(int=7)
ANN = OrganizerId("ann")
ADDON = Source(kind=SourceKind.ADDON, benefit_id="addon")
PROMOTION = Source(kind=SourceKind.PROMOTION, benefit_id="promotion")
POOL = Source(kind=SourceKind.POOL, benefit_id="pool")
BOUNDS = GrantBounds(
    sources=frozenset({SourceKind.ADDON, SourceKind.PROMOTION}),
    call_seconds_max=Seconds(600),
    calls_max=3,
    seconds_max=Seconds(1200),
    calls_in_all_max=5,
    seconds_in_all_max=Seconds(2400),
    facts_seconds_max=Seconds(900),
    outage_seconds_max=Seconds(900),
)


def grant(organizer: str = ANN, seconds: int = 600) -> Grant:
    """Return what was granted to an organizer."""
    return Grant(
        request=DialOutRequest(
            key=DialOutKey(tenant_id=TENANT, dial_out_id=uuid4()),
            kind=DialOutKind.CALL_ME,
            organizer_id=OrganizerId(organizer),
            initiator_id=None,
            conference_id="room",
            number_typed="020 7946 0123",
        ),
        destination=Destination(
            e164=E164("+442079460123"), region=Region("GB"), kind=NumberKind.FIXED_LINE
        ),
        sources=(ADDON,),
        terms=Terms(
            talk_seconds_max=Seconds(3600),
            talk_seconds_min=Seconds(60),
            slice_seconds=Seconds(300),
            ring_seconds=Seconds(30),
            caller_id=E164("+442079460999"),
        ),
        limit_seconds=Seconds(seconds),
        confirms=True,
        explanation="{}",
        at=NOON,
        expires_at=NOON + timedelta(seconds=8),
    )


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ((ADDON, POOL, CREDITS), (ADDON,)),
        ((PROMOTION, ADDON, CREDITS), (PROMOTION, ADDON)),
        ((POOL, ADDON), ()),
        ((CREDITS,), ()),
    ],
)
def test_only_what_stands_in_front_pays(
    sources: tuple[Source, ...], expected: tuple[Source, ...]
) -> None:
    """Behind a pool nobody knows whether it would have come to the add-on; money never pays."""
    assert payers(Allow(sources=sources), BOUNDS) == expected


def test_what_is_refused_or_not_marked_is_not_granted() -> None:
    """A refusal stands, whoever is away; and an operator may leave promotions out."""
    addon_alone = replace(BOUNDS, sources=frozenset({SourceKind.ADDON}))
    pool_marked = replace(BOUNDS, sources=frozenset({SourceKind.POOL}))

    assert payers(Deny(reason=Reason.ORGANIZER_BLOCKED), BOUNDS) == ()
    assert payers(Allow(sources=(PROMOTION, ADDON)), addon_alone) == ()
    assert payers(Allow(sources=(POOL,)), pool_marked) == ()


@pytest.mark.parametrize(
    ("unbooked", "expected"),
    [
        ([], None),
        ([grant()], None),
        ([grant(), grant()], GrantRefusal.SECONDS_OF_ORGANIZER),
        ([grant(seconds=60)] * 3, GrantRefusal.CALLS_OF_ORGANIZER),
        ([grant("bob")] * 4, GrantRefusal.SECONDS_IN_ALL),
        ([grant("bob", 60)] * 5, GrantRefusal.CALLS_IN_ALL),
    ],
)
def test_what_is_not_booked_yet_counts(
    unbooked: list[Grant], expected: GrantRefusal | None
) -> None:
    """An organizer, and all of them together, get so many calls and seconds until then."""
    assert beyond(BOUNDS, unbooked, (TENANT, ANN)) == expected
    assert beyond(BOUNDS, unbooked, (UUID(int=8), ANN)) in (None, expected)


def test_a_journal_tells_what_became_of_each_call() -> None:
    """Read again after a crash, it has all that is not booked, and nothing that is."""
    up, over, booked, unused = grant(), grant(), grant(), grant()
    ending = Ending(
        disposition=Disposition.ANSWERED,
        hangup_cause=16,
        answered_at_ms=1,
        ended_at_ms=2001,
        evidence="events",
    )
    lines: list[Line] = [
        *(Granted(grant=each) for each in (up, over, booked, unused)),
        *(Released(key=each.key, at=NOON) for each in (up, over, booked)),
        Answered(key=over.key, at=NOON),
        Joined(key=over.key, at=NOON),
        Ended(key=over.key, ending=ending),
        Gone(key=booked.key),
    ]

    calls, damaged = read(b"".join(map(written, lines)))

    assert damaged == ()
    assert calls == {
        up.key: GrantedCall(grant=up, released_at=NOON),
        over.key: GrantedCall(
            grant=over, released_at=NOON, answered_at=NOON, joined_at=NOON, ending=ending
        ),
        unused.key: GrantedCall(grant=unused),
    }
    assert calls[up.key].dial_out.state is DialOutState.RELEASED
    assert calls[over.key].dial_out.state is DialOutState.ANSWERED
    assert calls[unused.key].dial_out.state is DialOutState.RESERVED


def test_of_two_grants_of_one_id_the_last_one_before_the_release_was_dialled() -> None:
    """The first came late and counted for nothing; one after the release was let nobody dial."""
    first = grant()
    second, third = (
        replace(first, request=replace(first.request, number_typed=number)) for number in "23"
    )
    lines: tuple[Granted | Released, ...] = (
        Granted(grant=first),
        Granted(grant=second),
        Released(key=first.key, at=NOON),
        Granted(grant=third),
    )

    calls, _ = read(b"".join(map(written, lines)))

    assert calls == {first.key: GrantedCall(grant=second, released_at=NOON)}


def test_wherever_a_crash_tears_a_line_the_lines_before_it_stand() -> None:
    """The torn one was never answered, so nothing was done that it would tell of."""
    whole, torn = grant(), grant()
    before, line = written(Granted(grant=whole)), written(Granted(grant=torn))

    for length in range(len(line)):
        assert read(before + line[:length]) == ({whole.key: GrantedCall(grant=whole)}, ())


def test_a_line_that_is_damaged_is_named_and_takes_no_other_along() -> None:
    """Bits that rot on a disk are no crash: somebody has to look at what the line has told."""
    first, last = grant(), grant()
    damaged = written(Granted(grant=grant())).replace(b"granted", b"gr\xffnted")

    calls, numbers = read(
        written(Granted(grant=first)) + damaged + b"\n" + written(Granted(grant=last))
    )

    assert set(calls) == {first.key, last.key}
    assert numbers == (2, 3)


@pytest.mark.parametrize(
    ("confirmation", "kinds"),
    [
        (Confirmation.NEVER, set()),
        (Confirmation.CALL_ME, {DialOutKind.CALL_ME}),
        (
            Confirmation.ALWAYS,
            {DialOutKind.CALL_ME, DialOutKind.ADD_PARTICIPANT, DialOutKind.KEYPAD},
        ),
    ],
)
def test_a_granted_callee_is_asked_for_a_key_as_any_other(
    confirmation: Confirmation, kinds: set[DialOutKind]
) -> None:
    """The tenant's choice holds, as the ledger applies it to what it reserves."""
    choices = Choices(confirmation=confirmation)

    assert {kind for kind in DialOutKind if confirms(choices, kind)} == kinds
