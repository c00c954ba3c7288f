"""What gateways and the virtual Asterisk say to each other, and what goes wrong on its way."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from random import Random

from gateway.simulator.clock import Clock
from gateway.simulator.faults import Fault, Faults, PlannedFault
from gateway.simulator.life import Told
from gateway.simulator.manager import Asked, Manager, Reply, refused
from gateway.simulator.session import Session

_FAULTY_REFUSAL = "Internal error"

_SHUTDOWN = (
    b"Event: Shutdown\r\nPrivilege: system,all\r\nShutdown: Cleanly\r\nRestart: False\r\n\r\n"
)

_DISASTERS = frozenset(
    {
        Fault.HALF_OPEN,
        Fault.HALF_OPEN_RESET,
        Fault.KILLED,
        Fault.KILLED_UNSYNCED,
        Fault.KILLED_FORGETTING,
        Fault.SHUT_DOWN,
    }
)
"""Faults that befall all of Asterisk. They come right after what they hang on."""


class Wire:
    """All sessions of the manager interface. Whoever is logged in is told every event.

    ``disaster`` is called for what befalls more than the wire. Actions go to the ``manager``;
    while there is none, nothing listens.
    """

    def __init__(
        self,
        *,
        account: str,
        secret: str,
        faults: Faults,
        clock: Clock,
        random: Random,
        uptime_seconds: Callable[[], int],
        disaster: Callable[[PlannedFault], None],
    ) -> None:
        self.manager: Manager | None = None
        self._account = account
        self._secret = secret
        self._faults = faults
        self._clock = clock
        self._random = random
        self._uptime_seconds = uptime_seconds
        self._disaster = disaster
        self._sessions: dict[Session, None] = {}
        self._is_held = False

    def session(self) -> Session:
        """Return the other end of a new connection."""
        return Session(random=self._random, take=self._take, opened=self._opened, lost=self._lost)

    def cut(self) -> None:
        """Reset every connection."""
        for session in tuple(self._sessions):
            session.cut()

    def cut_held(self) -> None:
        """Reset the connections on which nothing is read."""
        for session in tuple(self._sessions):
            if session.is_held:
                session.cut()

    def say_farewell(self) -> None:
        """Tell everybody of a shutdown, and end every connection once that is said."""
        for session in tuple(self._sessions):
            if session.logged_in:
                session.write(_SHUTDOWN)
            session.close()

    def hold(self, *, everywhere: bool) -> None:
        """Read and say nothing on any connection, new ones among them, or only on the eldest."""
        self._is_held = everywhere
        for session in tuple(self._sessions)[: None if everywhere else 1]:
            session.hold()

    def go_on(self) -> None:
        """Read and say again."""
        self._is_held = False
        for session in tuple(self._sessions):
            session.go_on()

    # Events.

    def tell(self, told: Told) -> None:
        """Tell every session of an event, unless something goes wrong."""
        planned = None if told.point is None else self._faults.due(told.point)
        if planned is not None:
            self._note(planned, told.uniqueid)
        eldest = True
        for session in tuple(self._sessions):
            if session.logged_in:
                if planned is not None and (planned.everywhere or eldest):
                    self._tell_faultily(session, told, planned)
                else:
                    session.tell(told.uniqueid, told.frame)
                eldest = False
        if planned is not None and planned.fault in _DISASTERS:
            self._disaster(planned)

    @staticmethod
    def _tell_faultily(session: Session, told: Told, planned: PlannedFault) -> None:
        seconds = planned.milliseconds / 1000
        match planned.fault:
            case Fault.EVENT_DROPPED:
                return
            case Fault.EVENT_LATE:
                asyncio.get_running_loop().call_later(seconds, session.write, told.frame)
                return
            case Fault.EVENT_DOUBLED:
                session.tell(told.uniqueid, told.frame)
            case Fault.CHANNEL_LATE:
                session.keep_back(told.uniqueid, seconds)
            case Fault.CHANNEL_SLOW:
                session.slow(told.uniqueid, seconds)
            case Fault.CHANNEL_SILENT:
                session.silence(told.uniqueid)
            case Fault.BYTES_SPLIT:
                session.split(seconds)
            case _:
                pass
        session.tell(told.uniqueid, told.frame)

    # Actions.

    def _take(self, session: Session, frame: bytes) -> None:
        if self.manager is None:
            return
        asked = Asked.parse(frame)
        planned = self._faults.due(asked.point)
        if planned is not None:
            self._note(planned, asked.headers.get("Channel", ""))
        fault = None if planned is None else planned.fault
        if fault is Fault.CUT_BEFORE:
            session.cut()
        elif fault is Fault.ANSWER_REFUSED:
            session.write(_rendered(asked, refused(_FAULTY_REFUSAL)))
        else:
            self._answer(session, asked, self._reply(session, asked), planned)
        if planned is not None and fault in _DISASTERS:
            self._disaster(planned)

    def _reply(self, session: Session, asked: Asked) -> Reply:
        assert self.manager is not None, "who has taken an action listens"
        if asked.name == "Login":
            return self._log_in(session, asked)
        if not session.logged_in:
            return refused("Permission denied")
        return self.manager.carry_out(asked)

    def _log_in(self, session: Session, asked: Asked) -> Reply:
        claimed = asked.headers.get("Username"), asked.headers.get("Secret")
        if claimed != (self._account, self._secret):
            return refused("Authentication failed")
        return Reply(lines=(("Message", "Authentication accepted"),))

    def _answer(
        self, session: Session, asked: Asked, reply: Reply, planned: PlannedFault | None
    ) -> None:
        if planned is None:
            session.write(_rendered(asked, reply))
        else:
            _answer_faultily(session, asked, reply, planned)
        if asked.name == "Login":
            self._greet(session, accepted=reply.refusal is None)

    def _greet(self, session: Session, *, accepted: bool) -> None:
        if not accepted:
            session.close()
            return
        session.logged_in = True
        uptime = self._uptime_seconds()
        session.write(
            "Event: FullyBooted\r\nPrivilege: system,all\r\n"
            f"Uptime: {uptime}\r\nLastReload: {uptime}\r\n"
            "Status: Fully Booted\r\n\r\n".encode()
        )

    # Bookkeeping.

    def _opened(self, session: Session) -> None:
        self._sessions[session] = None
        if self._is_held:
            session.hold()

    def _lost(self, session: Session) -> None:
        self._sessions.pop(session, None)

    def _note(self, planned: PlannedFault, subject: str) -> None:
        self._faults.note(planned, at_ms=self._clock.now_ms(), subject=subject)


def _answer_faultily(session: Session, asked: Asked, reply: Reply, planned: PlannedFault) -> None:
    data = _rendered(asked, _faulty(reply, planned.fault))
    seconds = planned.milliseconds / 1000
    match planned.fault:
        case Fault.ANSWER_DROPPED:
            pass
        case Fault.ANSWER_LATE:
            asyncio.get_running_loop().call_later(seconds, session.write, data)
        case Fault.ANSWER_DOUBLED:
            session.write(data * 2)
        case Fault.CUT_AFTER:
            session.cut()
        case Fault.CUT_IN_ANSWER:
            session.write(data[: len(data) // 2])
            session.close()
        case Fault.BYTES_SPLIT:
            session.split(seconds)
            session.write(data)
        case _:
            session.write(data)


def _faulty(reply: Reply, fault: Fault) -> Reply:
    """Return a list that lacks something; anything else as it is."""
    if reply.complete is None:
        return reply
    match fault:
        case Fault.LIST_UNFINISHED:
            return replace(reply, ending=None)
        case Fault.LIST_SHORT:
            return replace(reply, items=reply.items[:-1], listed=max(1, len(reply.items)))
        case Fault.LIST_CANCELLED:
            return replace(reply, ending="Cancelled")
        case _:
            return reply


def _rendered(asked: Asked, reply: Reply) -> bytes:
    """Return the bytes of an answer."""
    action = f"ActionID: {asked.action_id}\r\n"
    if reply.refusal is not None:
        return f"Response: Error\r\n{action}Message: {reply.refusal}\r\n\r\n".encode()
    lines = "".join(f"{name}: {value}\r\n" for name, value in reply.lines)
    parts = [f"Response: Success\r\n{action}{lines}\r\n"]
    parts += (f"Event: {name}\r\n{action}{body}\r\n" for name, body in reply.items)
    if reply.complete is not None and reply.ending is not None:
        listed = len(reply.items) if reply.listed is None else reply.listed
        parts.append(
            f"Event: {reply.complete}\r\n{action}EventList: {reply.ending}\r\n"
            f"ListItems: {listed}\r\n\r\n"
        )
    return "".join(parts).encode()
