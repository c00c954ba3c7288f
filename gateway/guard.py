"""Ends calls that their meeting has left behind: alone in the conference, or without its organizer.

Events only say that somebody joined or left. Who is there is taken from Asterisk's own list,
after each event and again before anything is done, so no call is dropped on what was missed,
came late or out of order. After a lost link or a restart everything is listed anew and all
time begins anew; a list that is not complete changes nothing.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Any

import structlog

from gateway import metrics
from gateway.ami import (
    AmiClient,
    AmiError,
    ConferenceChanged,
    Event,
    GateReached,
    Hangup,
    InterceptReached,
    Participant,
)
from gateway.core.attendance import Attendance, DropReason, Expiry, Member, Patience
from gateway.core.key import DialOutKey
from gateway.dialer import Dialer
from gateway.ledger import Ledger, LedgerUnavailable
from gateway.settlement import names

log = structlog.get_logger()

PERIOD_SECONDS = 1.0

WARNING_CONTEXT = "dialout-warning"
WHISPER_SECONDS_MAX = 10
"""How long a channel may take until it says something."""

ATTENDED = "DIALOUT_ATTENDED"
"""Channel variable of a telephone in a conference whose organizer was seen. Asterisk keeps it
for as long as it matters, so that a new gateway knows what the one before it saw."""

_JOINS, _RUNS_GATE = ";1", ";2"
"""The halves of a Local channel: in the conference, and in the dialplan that dials the trunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """The telephones of a conference were told of this expiry; they are dropped at ``drop_at``."""

    expiry: Expiry
    drop_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """A call that was hung up, as the ledger is to note it."""

    key: DialOutKey
    reason: DropReason
    at: datetime


class Guard:
    """Watches the conferences of one Asterisk. Instants are on the event loop's clock."""

    def __init__(
        self,
        *,
        ami: AmiClient,
        ledger: Ledger,
        dialer: Dialer,
        patience: Patience,
        now: Callable[[], datetime],
    ) -> None:
        self._ami = ami
        self._ledger = ledger
        self._dialer = dialer
        self._patience = patience
        self._now = now
        self._calls_known = False
        self._stock_taken = False
        self._attendances: dict[str, Attendance] = {}
        self._changed: dict[str, bool] = {}
        self._warned: dict[str, Warned] = {}
        self._gates: dict[str, str] = {}
        self._unnoted: deque[Drop] = deque()

    def handle(self, event: Event) -> None:
        """Apply one event; never waits."""
        if self._patience.is_endless:
            return  # nobody would ever look at what is noted, and it would only grow
        match event:
            case ConferenceChanged():
                self._mark_changed(event.conference, joined=event.joined)
            case GateReached() | InterceptReached():
                self._gate_seen(event.channel, event.uniqueid)
            case Hangup():
                self._gates.pop(_partner(event.channel), None)
            case _:
                pass

    def link_lost(self) -> None:
        """Forget everything: from now on it may be otherwise, and nobody would say so."""
        self._calls_known = self._stock_taken = False
        for seen in (self._attendances, self._changed, self._warned, self._gates):
            seen.clear()

    def calls_reconciled(self) -> None:
        """Begin, if that is still to do: the dialer follows every call that is up."""
        self._calls_known = True

    async def run(self) -> None:
        """Watch for ever, or not at all if nothing is ever a reason."""
        while not self._patience.is_endless:
            await asyncio.sleep(PERIOD_SECONDS)
            try:
                await self._sweep()
            except (AmiError, LedgerUnavailable) as error:
                log.warning("guard.delayed", error=str(error))
            except Exception:
                log.exception("guard.failed")

    async def _sweep(self) -> None:
        if self._calls_known and self._ami.ready:
            if not self._stock_taken:
                await self._take_stock()
            for conference in tuple(self._changed):
                await self._contained(self._look(conference))
            for conference in tuple(self._attendances):
                await self._contained(self._judge(conference))
        await self._note_drops()

    # Who is there.

    async def _take_stock(self) -> None:
        """List every conference, or raise ``AmiError`` and leave everything as it was."""
        for channel in await self._ami.channels():
            self._gate_seen(channel.name, channel.uniqueid)
        found = {}
        for conference in await self._ami.conferences():
            members = self._members(await self._ami.participants(conference))
            found[conference] = Attendance.first_seen(
                members, attended=await self._was_attended(members), at=_time()
            )
        if self._calls_known:  # else the link was lost on the way
            self._attendances = found
            self._stock_taken = True
            log.info("guard.began", conferences=len(found))

    async def _look(self, conference: str) -> None:
        """List one conference, or raise ``AmiError`` and leave it to be listed again."""
        joined = self._changed.pop(conference, False)
        try:
            members = self._members(await self._ami.participants(conference))
            await self._remember_organizer(conference, members)
        except AmiError:
            self._mark_changed(conference, joined=joined)
            raise
        if not members:
            self._attendances.pop(conference, None)
            self._warned.pop(conference, None)
            return
        before = self._attendances.get(conference)
        self._attendances[conference] = (
            Attendance.first_seen(members, attended=False, at=_time())
            if before is None
            else before.listed(members, joined=joined, at=_time())
        )

    def _members(self, participants: tuple[Participant, ...]) -> tuple[Member, ...]:
        return tuple(
            Member(
                uniqueid=each.uniqueid,
                channel=each.channel,
                presides=each.is_admin or each.is_marked or self._is_organizers_own(each.channel),
            )
            for each in participants
        )

    def _is_organizers_own(self, channel: str) -> bool:
        """Return whether an organizer attends by this telephone, which he had called himself."""
        gate = self._gates.get(channel)
        request = None if gate is None else self._dialer.calls.request(gate)
        return request is not None and request.is_organizers_own

    async def _was_attended(self, members: tuple[Member, ...]) -> bool:
        marks = [
            await self._ami.variable(ATTENDED, channel=each.uniqueid)
            for each in members
            if each.channel in self._gates
        ]
        return any(marks)

    async def _remember_organizer(self, conference: str, members: tuple[Member, ...]) -> None:
        """Mark the telephones that are new to a conference whose organizer was seen."""
        before = self._attendances.get(conference)
        attended = before is not None and before.attended
        if not attended and not any(each.presides for each in members):
            return
        marked = {each.uniqueid for each in before.members} if before and attended else set()
        for each in members:
            if each.channel in self._gates and each.uniqueid not in marked:
                await self._ami.set_variable(ATTENDED, "1", channel=each.uniqueid)

    def _mark_changed(self, conference: str, *, joined: bool) -> None:
        self._changed[conference] = joined or self._changed.get(conference, False)

    def _gate_seen(self, channel: str, uniqueid: str) -> None:
        if channel.endswith(_RUNS_GATE):
            self._gates[_partner(channel)] = uniqueid

    # What follows.

    async def _judge(self, conference: str) -> None:
        """Warn the telephones of a conference, or drop them, if it is time and still so."""
        expiry = self._due(conference)
        if expiry is None:
            return
        await self._look(conference)
        if self._due(conference) != expiry:
            return
        if self._was_warned(conference, expiry):
            await self._drop(conference, expiry)
        else:
            await self._warn(conference, expiry)

    def _due(self, conference: str) -> Expiry | None:
        """Return the expiry that something is to be done about now."""
        attendance = self._attendances.get(conference)
        expiry = None if attendance is None else attendance.expiry(self._patience)
        if expiry is None or not self._telephones(conference):
            return None
        due_at = (
            self._warned[conference].drop_at
            if self._was_warned(conference, expiry)
            else expiry.drop_at - self._patience.warning_seconds
        )
        return expiry if due_at <= _time() else None

    def _was_warned(self, conference: str, expiry: Expiry) -> bool:
        warned = self._warned.get(conference)
        return warned is not None and warned.expiry == expiry

    def _telephones(self, conference: str) -> tuple[str, ...]:
        """Return the gates of the calls that are in a conference."""
        gates = (self._gates.get(each.channel) for each in self._attendances[conference].members)
        return tuple(each for each in gates if each and self._dialer.calls.request(each))

    async def _warn(self, conference: str, expiry: Expiry) -> None:
        """Tell each callee, and give them all the time that they are told of."""
        seconds = self._patience.warning_seconds
        self._warned[conference] = Warned(expiry=expiry, drop_at=_time() + seconds)
        for gate in self._telephones(conference) if seconds else ():
            await self._tell(gate, expiry.reason, seconds)

    async def _tell(self, gate: str, reason: DropReason, seconds: int) -> None:
        """Tell a callee, and nobody else, why and how soon the call will be dropped."""
        call = self._dialer.calls.call(gate)
        if call is None or call.trunk_uniqueid is None:
            return
        try:
            await self._ami.whisper(
                leg=call.trunk_uniqueid,
                channel=f"Local/{reason}@{WARNING_CONTEXT}/n",
                variables={"DIALOUT_WARNINGS": str(seconds)},
                timeout_ms=WHISPER_SECONDS_MAX * 1000,
                # Two gateways that guard the same bridge warn once.
                channel_id=f"{call.key.hex}-told",
                other_channel_id=f"{call.key.hex}-tells",
            )
        except AmiError as error:
            log.warning("call.unwarned", error=str(error), **names(call.key))
        else:
            log.info("call.warned", reason=reason, seconds=seconds, **names(call.key))

    async def _drop(self, conference: str, expiry: Expiry) -> None:
        self._warned[conference] = Warned(expiry=expiry, drop_at=inf)
        for gate in self._telephones(conference):
            request = self._dialer.calls.request(gate)
            if request is None or self._changed.get(conference):
                continue  # it ended meanwhile, or somebody has just joined
            if await self._dialer.drop(gate):
                metrics.dropped(request.bridge, expiry.reason)
                log.info("call.dropped", reason=expiry.reason, **names(request.key))
                self._unnoted.append(Drop(key=request.key, reason=expiry.reason, at=self._now()))

    async def _note_drops(self) -> None:
        """Have the ledger note what was dropped, or raise ``LedgerUnavailable`` and keep it."""
        while self._unnoted:
            drop = self._unnoted.popleft()
            try:
                await self._ledger.dropped(drop.key, drop.reason, drop.at)
            except LedgerUnavailable:
                self._unnoted.appendleft(drop)
                raise

    @staticmethod
    async def _contained(step: Coroutine[Any, Any, None]) -> None:
        """Take one step for one conference; a fault in it is that conference's alone."""
        try:
            await step
        except AmiError as error:
            log.warning("guard.delayed", error=str(error))


def _partner(channel: str) -> str:
    """Return the half of a Local channel that joins, of the half that runs the gate."""
    return channel.removesuffix(_RUNS_GATE) + _JOINS


def _time() -> float:
    return asyncio.get_running_loop().time()
