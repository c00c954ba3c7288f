"""Who is in front of each browser, and which calls are theirs to watch and to end."""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from gateway.console.meeting import Participant

SESSIONS_MAX = 1000
CALLS_MAX = 20
"""Calls of one session that the page remembers; older ones go on without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedCall:
    """A call that was asked for on this page; ``kind`` and ``number`` as they were asked for.

    ``back_of`` is the call that it calls back, if it does.
    """

    call_id: UUID
    kind: str
    number: str
    back_of: UUID | None = None


@dataclass(slots=True, kw_only=True)
class Session:
    """One browser. It may do nothing to calls of others.

    ``call_backs`` has, by the call, what calls it back. ``watchers`` are called when ``calls``
    have changed.
    """

    participant: Participant
    calls: OrderedDict[UUID, PlacedCall] = field(default_factory=OrderedDict)
    call_backs: dict[UUID, PlacedCall] = field(default_factory=dict)
    watchers: set[Callable[[], None]] = field(default_factory=set)

    def remember(self, call: PlacedCall) -> None:
        """Note a call as this session's; the oldest is forgotten beyond ``CALLS_MAX``."""
        self.calls[call.call_id] = call
        while len(self.calls) > CALLS_MAX:
            oldest, _ = self.calls.popitem(last=False)
            self.call_backs.pop(oldest, None)
        for changed in self.watchers:
            changed()

    def call_back(self, call: PlacedCall, over: PlacedCall | None) -> PlacedCall:
        """Return what calls a call back: the same for whoever asks, unless that one is ``over``."""
        again = self.call_backs.get(call.call_id)
        if again is None or again is over:
            again = PlacedCall(
                call_id=uuid4(), kind=call.kind, number=call.number, back_of=call.call_id
            )
            self.call_backs[call.call_id] = again
        return again


class Sessions:
    """The sessions by their secret, in memory: a restart of the page forgets them all.

    Beyond ``SESSIONS_MAX`` the one that was used longest ago is forgotten.
    """

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def find(self, secret: str | None) -> Session | None:
        """Return the session with this secret, if there is one."""
        if secret is None or secret not in self._sessions:
            return None
        self._sessions.move_to_end(secret)
        return self._sessions[secret]

    def begin(self, participant: Participant) -> tuple[str, Session]:
        """Begin a session; return its secret, too."""
        secret = secrets.token_urlsafe(32)
        self._sessions[secret] = Session(participant=participant)
        while len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)
        return secret, self._sessions[secret]
