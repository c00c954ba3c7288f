"""What happens on the link and on Asterisk, as values.

`at` is Asterisk's own clock in milliseconds since the epoch, None when it sent no timestamp
(`timestampevents=no`). The clocks of two hosts differ, so times of calls are compared and billed
by this one only.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkUp:
    """Actions are accepted from here on. What happened before is unknown until it is reconciled.

    An uptime shorter than the one seen last tells that Asterisk was restarted.
    """

    uptime_seconds: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkDown:
    """The link that the last `LinkUp` announced is gone; events were missed from here on."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """Asterisk announced that it stops. Every call on it ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReached:
    """A channel waits at the gate for the verdict on its key."""

    key_hex: str
    visit: str
    channel: str
    uniqueid: str
    at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InterceptReached:
    """A channel waits with a raw number that nobody asked the gateway about yet.

    Everything but `channel` and `uniqueid` is what the originator claims. Each may be empty.
    """

    visit: str
    number: str
    tenant: str
    organizer: str
    initiator: str
    conference: str
    dial_out_id: str
    channel: str
    uniqueid: str
    at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeypadReached:
    """A participant has typed a number in the conference, and waits for what comes of it.

    Everything but `channel` and `uniqueid` is what the participant's channel claims. Each but
    `number` may be empty.
    """

    visit: str
    number: str
    tenant: str
    organizer: str
    initiator: str
    conference: str
    channel: str
    uniqueid: str
    at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeypadCancelReached:
    """A participant asks by a key that whatever rings for him rings no longer, and waits.

    Everything but `channel` and `uniqueid` is what the participant's channel claims.
    """

    visit: str
    channel: str
    uniqueid: str
    at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DialInReached:
    """A telephone has called a service number, and waits to be let into a conference.

    `number` is the service number, `caller` who calls, as the carrier has it; the rest is what
    the operator's dialplan says of the meeting. `caller` may be empty.
    """

    visit: str
    number: str
    caller: str
    tenant: str
    organizer: str
    conference: str
    channel: str
    uniqueid: str
    at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DialInAdmitted:
    """A telephone that waited is let in: what it is charged for begins at `admitted_at_ms`."""

    key_hex: str
    admitted_at_ms: int
    uniqueid: str
    at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DialBegin:
    """A leg is being dialled. `uniqueid` is empty when no channel dials it (an Originate).

    `context` is where in the dialplan the channel is that dials.
    """

    uniqueid: str
    dest_uniqueid: str
    dest_channel: str
    at: int | None
    context: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialState:
    """A leg that is being dialled has come further; RINGING says that the telephone rings."""

    uniqueid: str
    dest_uniqueid: str
    dial_status: str
    at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DialEnd:
    """Dialling a leg is over; a `dial_status` of ANSWER is the start of billing."""

    uniqueid: str
    dest_uniqueid: str
    dial_status: str
    at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hangup:
    """A channel is gone. `cause` is the Q.850 number, 0 when Asterisk gave none."""

    uniqueid: str
    linkedid: str
    channel: str
    cause: int
    at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConferenceChanged:
    """Somebody joined a conference, or left it. Who is in it now, its list of members tells."""

    conference: str
    joined: bool
    channel: str
    uniqueid: str
    at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConferenceEnded:
    """The last member has left a conference, or it was ended."""

    conference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginateResponse:
    """An Originate is over, answered or not. `uniqueid` is empty when no channel came of it."""

    action_id: str
    uniqueid: str
    success: bool
    reason: int


Event = (
    LinkUp
    | LinkDown
    | Shutdown
    | GateReached
    | InterceptReached
    | KeypadReached
    | KeypadCancelReached
    | DialInReached
    | DialInAdmitted
    | DialBegin
    | DialState
    | DialEnd
    | Hangup
    | ConferenceChanged
    | ConferenceEnded
    | OriginateResponse
)
