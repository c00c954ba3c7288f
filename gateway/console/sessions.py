"""Who is in front of each browser, and which calls are theirs to watch and to end."""

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from uuid import UUID

from gateway.console.meeting import Participant

SESSIONS_MAX = 1000
CALLS_MAX = 20
"""Calls of one session that the page remembers; older ones go on without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedCall:
    """A call that was asked for on this page; ``kind`` and ``number`` as they were asked for."""

    call_id: UUID
    kind: str
    number: str


@dataclass(slots=True, kw_only=True)
class Session:
    """One browser. It may do nothing to calls of others."""

    participant: Participant
    calls: OrderedDict[UUID, PlacedCall] = field(default_factory=OrderedDict)

    def remember(self, call: PlacedCall) -> None:
        """Note a call as this session's; the oldest is forgotten beyond ``CALLS_MAX``."""
        self.calls[call.call_id] = call
        while len(self.calls) > CALLS_MAX:
            self.calls.popitem(last=False)


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
