"""A call that is placed while the ledger is away: who may pay for it, how much, what is kept of it.

What is here is decided on facts that the ledger gave a while ago. So a grant is small, and only
what costs the tenant nothing by the second may pay for it: minutes of an add-on or a promotion.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field, TypeAdapter, ValidationError

from gateway.core.call import Ending
from gateway.core.choices import Choices, Confirmation
from gateway.core.dial_out import DialOut, DialOutKind, DialOutRequest, DialOutState, Terms
from gateway.core.e164 import Destination
from gateway.core.facts import OrganizerId, SourceKind
from gateway.core.key import DialOutKey
from gateway.core.policy import Allow, Decision
from gateway.core.rating import Seconds
from gateway.core.waterfall import Source

GRANTABLE: Final = frozenset({SourceKind.ADDON, SourceKind.PROMOTION})
"""What may pay for a grant. Minutes of a pool run out, and credits are money: of both only the
ledger knows what is left."""

_CONFIRMING = frozenset({DialOutKind.CALL_ME, DialOutKind.ADD_PARTICIPANT, DialOutKind.KEYPAD})


class GrantRefusal(StrEnum):
    """Why a call is not granted. Whoever asks hears that the ledger is away."""

    NO_SOURCES = "no_sources"
    LEDGER_ANSWERS = "ledger_answers"
    OUTAGE_TOO_LONG = "outage_too_long"
    IDS_UNKNOWN = "ids_unknown"
    ASKED_BEFORE = "asked_before"
    NOT_KNOWN = "not_known"
    NOT_COVERED = "not_covered"
    CALLS_OF_ORGANIZER = "calls_of_organizer"
    SECONDS_OF_ORGANIZER = "seconds_of_organizer"
    CALLS_IN_ALL = "calls_in_all"
    SECONDS_IN_ALL = "seconds_in_all"
    NOT_WRITTEN = "not_written"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantBounds:
    """How much may be granted until the ledger has booked it.

    A call is granted ``call_seconds_max``, an organizer so many calls and seconds, and all
    organizers together so many. Facts may be ``facts_seconds_max`` old, and after
    ``outage_seconds_max`` nothing is granted any more. Without ``sources`` nothing is at all.
    """

    sources: frozenset[SourceKind]
    call_seconds_max: Seconds
    calls_max: int
    seconds_max: Seconds
    calls_in_all_max: int
    seconds_in_all_max: Seconds
    facts_seconds_max: Seconds
    outage_seconds_max: Seconds

    @property
    def ids_seconds(self) -> Seconds:
        """How long it is remembered that an id was asked for: as long as who asked is known.

        That is as old as facts may be when the ledger goes away, and as long as it may be away.
        """
        return Seconds(self.facts_seconds_max + self.outage_seconds_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What was granted to one request at one instant, and everything to book it by.

    ``limit_seconds`` is how long the telephone may talk on it. ``explanation`` is the JSON text
    of the facts and the decision.
    """

    request: DialOutRequest
    destination: Destination
    sources: tuple[Source, ...]
    terms: Terms
    limit_seconds: Seconds
    confirms: bool
    explanation: str
    at: datetime
    expires_at: datetime

    @property
    def key(self) -> DialOutKey:
        """The dial-out that it is for."""
        return self.request.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A line of the journal: a grant was given. Nothing is originated before it is written."""

    grant: Grant
    what: Literal["granted"] = "granted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A line of the journal: its channel is let go on to the trunk, once this is written."""

    key: DialOutKey
    at: datetime
    what: Literal["released"] = "released"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A line of the journal: the telephone answered, by the Asterisk host's clock."""

    key: DialOutKey
    at: datetime
    what: Literal["answered"] = "answered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """A line of the journal: the callee came into the conference."""

    key: DialOutKey
    at: datetime
    what: Literal["joined"] = "joined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A line of the journal: the call is proved to be over."""

    key: DialOutKey
    ending: Ending
    what: Literal["ended"] = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """A line of the journal: the call is booked, or was never let dial."""

    key: DialOutKey
    what: Literal["gone"] = "gone"


Later = Released | Answered | Joined | Ended
"""What a journal tells of a grant that was given."""

Line = Annotated[Granted | Later | Gone, Field(discriminator="what")]

_LINE: Final[TypeAdapter[Line]] = TypeAdapter(Line)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantedCall:
    """What the journal tells of one grant."""

    grant: Grant
    released_at: datetime | None = None
    answered_at: datetime | None = None
    joined_at: datetime | None = None
    ending: Ending | None = None

    @property
    def dial_out(self) -> DialOut:
        """The dial-out as it will be booked, as far as it has come."""
        grant = self.grant
        state = DialOutState.RESERVED
        if self.released_at is not None:
            state = DialOutState.RELEASED if self.answered_at is None else DialOutState.ANSWERED
        return DialOut(
            request=grant.request,
            state=state,
            reason=None,
            destination=grant.destination.e164,
            region=grant.destination.region,
            number_kind=grant.destination.kind,
            requested_at=grant.at,
            expires_at=grant.expires_at,
            released_at=None if self.released_at is None else grant.at,
            answered_at=self.answered_at,
            seen_at=None,
            ended_at=None,
            talk_seconds=grant.limit_seconds,
            limit_seconds=grant.limit_seconds,
            talk_seconds_max=grant.terms.talk_seconds_max,
            slices=1,
            ring_seconds=grant.terms.ring_seconds,
            caller_id=grant.terms.caller_id,
            gate_uniqueid=None if self.released_at is None else grant.key.gate_uniqueid,
            disposition=None,
            hangup_cause=None,
            billable_seconds=None,
            overrun_seconds=None,
            evidence=None,
            parts=(),
            sources=(),
            explanation=grant.explanation,
            confirms=grant.confirms,
            joined_at=self.joined_at,
            granted=True,
        )


def payers(decision: Decision, bounds: GrantBounds) -> tuple[Source, ...]:
    """Return the sources that may pay for a grant: those in front that are marked.

    None if another one comes first: what it has left is not known, so neither is whether it
    would have paid.
    """
    if not isinstance(decision, Allow):
        return ()
    marked: list[Source] = []
    for source in decision.sources:
        if source.kind not in bounds.sources & GRANTABLE:
            break
        marked.append(source)
    return tuple(marked)


def beyond(
    bounds: GrantBounds, unbooked: Iterable[Grant], organizer: tuple[UUID, OrganizerId]
) -> GrantRefusal | None:
    """Return which bound one more grant would be beyond; ``organizer`` with the tenant's id."""
    everybodys = list(unbooked)
    own = [each for each in everybodys if _organizer(each) == organizer]
    for grants, calls_max, seconds_max, calls, seconds in (
        (
            own,
            bounds.calls_max,
            bounds.seconds_max,
            GrantRefusal.CALLS_OF_ORGANIZER,
            GrantRefusal.SECONDS_OF_ORGANIZER,
        ),
        (
            everybodys,
            bounds.calls_in_all_max,
            bounds.seconds_in_all_max,
            GrantRefusal.CALLS_IN_ALL,
            GrantRefusal.SECONDS_IN_ALL,
        ),
    ):
        if len(grants) >= calls_max:
            return calls
        if sum(each.limit_seconds for each in grants) + bounds.call_seconds_max > seconds_max:
            return seconds
    return None


def _organizer(grant: Grant) -> tuple[UUID, OrganizerId]:
    return grant.key.tenant_id, grant.request.organizer_id


def confirms(choices: Choices, kind: DialOutKind) -> bool:
    """Return whether the callee must press a key before joining, as the ledger would say."""
    match choices.confirmation:
        case Confirmation.NEVER:
            return False
        case Confirmation.CALL_ME:
            return kind is DialOutKind.CALL_ME
        case Confirmation.ALWAYS:
            return kind in _CONFIRMING


def written(line: Line) -> bytes:
    """Return a line of the journal, with its end."""
    return _LINE.dump_json(line) + b"\n"


def read(text: bytes) -> tuple[dict[DialOutKey, GrantedCall], tuple[int, ...]]:
    """Return the calls that a journal tells of, and the numbers of the lines that nobody can read.

    A last line without its end is one that a crash has torn: it was never answered, so nothing
    was done that it would tell of. Any other that is no line of a journal is damage.
    """
    lines = text.split(b"\n")
    calls: dict[DialOutKey, GrantedCall] = {}
    damaged = []
    for number, each in enumerate(lines[:-1], start=1):
        try:
            _apply(_LINE.validate_json(each), calls)
        except ValidationError:
            damaged.append(number)
    return calls, tuple(damaged)


def after(call: GrantedCall, line: Later) -> GrantedCall:
    """Return what is known of a call once another line tells of it; what was told first stands."""
    match line:
        case Released():
            return replace(call, released_at=call.released_at or line.at)
        case Answered():
            return replace(call, answered_at=call.answered_at or line.at)
        case Joined():
            return replace(call, joined_at=call.joined_at or line.at)
        case Ended():
            return replace(call, ending=call.ending or line.ending)


def _apply(line: Line, calls: dict[DialOutKey, GrantedCall]) -> None:
    """Apply a line to what the lines before it tell of.

    An id is granted twice if the first line came late, and was taken for not written. Its
    channel is let dial by the last one; from then on no other can be.
    """
    match line:
        case Granted(grant=grant):
            if grant.key not in calls or calls[grant.key].released_at is None:
                calls[grant.key] = GrantedCall(grant=grant)
        case Gone():
            calls.pop(line.key, None)
        case _ if line.key in calls:
            calls[line.key] = after(calls[line.key], line)
        case _:
            pass
