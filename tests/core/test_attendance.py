"""When a conference's telephones have been left behind, by its lists of members alone."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.attendance import Attendance, DropReason, Expiry, Member, Patience
from gateway.core.rating import Seconds
from tests.core.arbitrary import deterministic

PATIENCE = Patience(
    alone_seconds=Seconds(300), organizer_gone_seconds=Seconds(900), warning_seconds=Seconds(60)
)
HOST = Member(uniqueid="host", channel="PJSIP/host-1", presides=True)
GUEST = Member(uniqueid="guest", channel="PJSIP/guest-1", presides=False)
PHONE = Member(uniqueid="phone", channel="Local/d@dialout-gate-1;1", presides=False)
OTHER_PHONE = Member(uniqueid="other", channel="Local/d@dialout-gate-2;1", presides=False)


def conference(*members: Member, at: float = 0.0, attended: bool = False) -> Attendance:
    """Return a conference that is seen for the first time."""
    return Attendance.first_seen(members, attended=attended, at=at)


def after(before: Attendance, *members: Member, at: float, joined: bool = False) -> Attendance:
    """Return the conference with other members."""
    return before.listed(members, joined=joined, at=at)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (conference(), None),
        (conference(PHONE, at=5), Expiry(reason=DropReason.ALONE, since=5, drop_at=305)),
        (conference(PHONE, GUEST), None),
        # Two telephones that a host brought together may talk to each other.
        (conference(PHONE, OTHER_PHONE), None),
        (conference(PHONE, HOST), None),
        # Alone with himself, the organizer is alone as well.
        (conference(HOST), Expiry(reason=DropReason.ALONE, since=0, drop_at=300)),
        (
            conference(PHONE, GUEST, attended=True, at=7),
            Expiry(reason=DropReason.ORGANIZER_GONE, since=7, drop_at=907),
        ),
        (conference(PHONE, HOST, attended=True), None),
    ],
)
def test_who_is_there_decides(found: Attendance, expected: Expiry | None) -> None:
    """Exactly one member is alone; whose organizer was never there, has lost none."""
    assert found.expiry(PATIENCE) == expected


def test_the_first_of_two_reasons_counts() -> None:
    """Left by everybody at once: alone ends sooner. Left earlier by the organizer: that does."""
    together = after(conference(PHONE, HOST), PHONE, at=10)
    later = after(after(conference(PHONE, HOST, GUEST), PHONE, GUEST, at=10), PHONE, at=800)

    assert together.expiry(PATIENCE) == Expiry(reason=DropReason.ALONE, since=10, drop_at=310)
    assert later.expiry(PATIENCE) == Expiry(reason=DropReason.ORGANIZER_GONE, since=10, drop_at=910)


def test_somebody_who_leaves_gives_no_more_time() -> None:
    """Or a conference that empties one by one would run for hours after its organizer."""
    left = after(conference(PHONE, OTHER_PHONE, GUEST, HOST), PHONE, OTHER_PHONE, GUEST, at=10)
    fewer = after(left, PHONE, OTHER_PHONE, at=400)

    assert fewer.organizer_gone_since == 10


@pytest.mark.parametrize(
    ("members", "joined"),
    [
        ((PHONE, OTHER_PHONE), False),  # who is on the list for the first time
        ((PHONE,), True),  # who came and went between two lists
    ],
)
def test_somebody_who_joins_gives_everybody_the_whole_time(
    members: tuple[Member, ...], joined: bool
) -> None:
    """A conference that people still come to is not a forgotten one."""
    left = after(conference(PHONE, HOST), PHONE, at=10)
    visited = after(left, *members, at=200, joined=joined)

    assert visited.organizer_gone_since == 200
    assert after(visited, PHONE, at=250).alone_since in (200, 250)


def test_an_organizer_who_returns_ends_it() -> None:
    """And when he leaves again, the time begins anew."""
    left = after(conference(PHONE, GUEST, HOST), PHONE, GUEST, at=10)
    back = after(left, PHONE, GUEST, HOST, at=500)
    gone = after(back, PHONE, GUEST, at=600)

    assert back.expiry(PATIENCE) is None
    assert gone.expiry(PATIENCE) == Expiry(
        reason=DropReason.ORGANIZER_GONE, since=600, drop_at=1500
    )


def test_the_same_list_again_changes_nothing() -> None:
    """Looking is no visit."""
    alone = conference(PHONE, at=5)

    assert after(alone, PHONE, at=100) == alone


def test_a_reason_that_is_off_never_counts() -> None:
    """An operator may switch off either, or both."""
    left = after(conference(PHONE, HOST), PHONE, at=10)
    no_alone = replace(PATIENCE, alone_seconds=None)
    off = replace(no_alone, organizer_gone_seconds=None)

    assert left.expiry(no_alone) == Expiry(reason=DropReason.ORGANIZER_GONE, since=10, drop_at=910)
    assert left.expiry(off) is None
    assert (no_alone.is_endless, off.is_endless) == (False, True)


LISTS = st.lists(
    st.tuples(
        st.sets(st.sampled_from([HOST, GUEST, PHONE, OTHER_PHONE])),
        st.booleans(),
        st.integers(1, 1000),
    ),
    max_size=12,
)


@deterministic
@given(lists=LISTS, attended=st.booleans())
def test_nobody_is_dropped_before_his_time(
    lists: list[tuple[set[Member], bool, int]], attended: bool
) -> None:
    """Over any history: who is due was so for the whole time, without a visitor."""
    now, found = 0.0, conference(attended=attended)
    history = [(now, set[Member](), True)]
    for members, joined, seconds in lists:
        now += seconds
        found = after(found, *members, at=now, joined=joined)
        history.append((now, members, joined))
        expiry = found.expiry(PATIENCE)
        if expiry is None:
            continue
        span = [each for each in history if each[0] >= expiry.since]
        assert not any(joined for at, _, joined in span if at > expiry.since)
        for _, present, _ in span:
            assert len(present) == 1 if expiry.reason is DropReason.ALONE else HOST not in present
