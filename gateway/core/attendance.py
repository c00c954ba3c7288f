"""Who attends a conference, and how long that has been a reason to end its telephone calls.

A call costs money for as long as somebody's receiver is off. Nobody needs it any more when its
telephone is the only member of the conference, or when the meeting's organizer has gone. Both
are known of members that were listed, never of a silence; and each new member gives everybody
the whole time again.

Instants are seconds of one clock, which the caller chooses.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from gateway.core.rating import Seconds


class DropReason(StrEnum):
    """Why a call that goes on is ended."""

    ALONE = "alone"
    ORGANIZER_GONE = "organizer_gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a conference may be like that. None is for ever.

    ``warning_seconds`` before the end its telephones are told; 0 tells them nothing.
    """

    alone_seconds: Seconds | None
    organizer_gone_seconds: Seconds | None
    warning_seconds: Seconds

    @property
    def is_endless(self) -> bool:
        """Whether nothing is ever a reason."""
        return self.alone_seconds is None and self.organizer_gone_seconds is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One channel in a conference. ``presides``: with it, the organizer is present."""

    uniqueid: str
    channel: str
    presides: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """The end of somebody's patience with a conference that has been so ``since`` an instant."""

    reason: DropReason
    since: float
    drop_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Attendance:
    """The members of one conference, as last listed. Values never change; each list gives one.

    ``attended`` says that the organizer was there at some time: of a conference that never
    had one, nobody can say that he has gone.
    """

    members: tuple[Member, ...]
    attended: bool
    alone_since: float | None
    organizer_gone_since: float | None

    @classmethod
    def first_seen(cls, members: Iterable[Member], *, attended: bool, at: float) -> Self:
        """Return a conference whose past is unknown, but for what ``attended`` says of it."""
        unseen = cls(members=(), attended=attended, alone_since=None, organizer_gone_since=None)
        return unseen.listed(members, joined=True, at=at)

    def listed(self, members: Iterable[Member], *, joined: bool, at: float) -> Self:
        """Return the conference with these members, who are all of them.

        ``joined`` says that somebody came since the last list, and may have left again.
        """
        present = tuple(members)
        presided = any(each.presides for each in present)
        attended = self.attended or presided
        afresh = joined or not self._uniqueids().issuperset(each.uniqueid for each in present)
        is_alone = len(present) == 1
        is_left = attended and not presided
        return replace(
            self,
            members=present,
            attended=attended,
            alone_since=_since(self.alone_since, at, holds=is_alone, afresh=afresh),
            organizer_gone_since=_since(
                self.organizer_gone_since, at, holds=is_left, afresh=afresh
            ),
        )

    def expiry(self, patience: Patience) -> Expiry | None:
        """Return when the conference's telephones are to be dropped, if it stays as it is."""
        limits = (
            (DropReason.ALONE, self.alone_since, patience.alone_seconds),
            (DropReason.ORGANIZER_GONE, self.organizer_gone_since, patience.organizer_gone_seconds),
        )
        expiries = (
            Expiry(reason=reason, since=since, drop_at=since + seconds)
            for reason, since, seconds in limits
            if since is not None and seconds is not None
        )
        return min(expiries, key=lambda each: each.drop_at, default=None)

    def _uniqueids(self) -> set[str]:
        return {each.uniqueid for each in self.members}


def _since(before: float | None, at: float, *, holds: bool, afresh: bool) -> float | None:
    if not holds:
        return None
    return at if before is None or afresh else before
