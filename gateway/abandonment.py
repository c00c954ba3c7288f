"""Ends what rings for nobody: its asker is gone or has cancelled it, or the meeting is over.

A telephone that is answered for an asker who has left is a nuisance to whoever answers and
costs money. Only what nobody has answered yet is ended; an answered call stays.

Events tell it at once. What happened while there was no link Asterisk's lists tell afterwards,
once the dialer knows again which calls were answered meanwhile, and so they do of an asker who was
gone before the call was placed; a list that is not complete changes nothing.
"""

import asyncio
from enum import StrEnum

import structlog

from gateway.ami import (
    AmiClient,
    AmiError,
    ConferenceChanged,
    ConferenceEnded,
    Event,
    Hangup,
)
from gateway.conferences import Conferences
from gateway.core.dial_out import DialOutRequest
from gateway.dialer import Dialer
from gateway.settlement import names

log = structlog.get_logger()

RETRY_SECONDS = 2.0


class Cause(StrEnum):
    """Why nobody waits for a call any more."""

    ASKER_LEFT = "asker_left"
    ASKER_CANCELLED = "asker_cancelled"
    MEETING_ENDED = "meeting_ended"


class Abandonment:
    """Watches for whom the telephones ring that one Asterisk has called."""

    def __init__(self, *, ami: AmiClient, dialer: Dialer, conferences: Conferences) -> None:
        self._ami = ami
        self._dialer = dialer
        self._conferences = conferences
        self._calls_known = asyncio.Event()
        self._to_look = asyncio.Event()
        self._was_blind = False
        self._unseen: set[str] = set()
        self._met: set[str] = set()

    def handle(self, event: Event) -> None:
        """Apply one event; never waits."""
        if not self._calls_known.is_set():
            return  # it may have been answered, and what is missed now is listed later
        match event:
            case ConferenceChanged(joined=False) | Hangup():
                self._asker_gone(event.uniqueid, Cause.ASKER_LEFT)
            case ConferenceEnded():
                self._ended(event.conference)
            case _:
                pass

    def link_lost(self) -> None:
        """From now on anybody may leave unseen. Remember which meetings were there to be left."""
        self._calls_known.clear()
        self._met |= {
            request.conference_id
            for _, request in self._dialer.calls.unanswered()
            if request.conference_id in self._conferences
        }

    def calls_reconciled(self) -> None:
        """Begin, if that is still to do: of every call it is known whether it was answered.

        The conferences have been listed by then.
        """
        if self._calls_known.is_set():
            return
        self._calls_known.set()
        for conference in self._met:
            if conference not in self._conferences:
                self._ended(conference)
        self._met.clear()
        self._was_blind = True
        self._to_look.set()

    def look_for(self, asker_uniqueid: str) -> None:
        """Have it looked for who asked for a call that is placed; never waits.

        One who was gone before that is told of no more.
        """
        self._unseen.add(asker_uniqueid)
        self._to_look.set()

    async def cancel(self, uniqueid: str) -> bool:
        """End what rings for a member, once it is known which calls were answered.

        Return whether there was anything.
        """
        while not self._calls_known.is_set():
            await self._calls_known.wait()
        rings = any(each.asker_uniqueid == uniqueid for _, each in self._dialer.calls.unanswered())
        self._asker_gone(uniqueid, Cause.ASKER_CANCELLED)
        return rings

    async def run(self) -> None:
        """Look for askers whom no event tells of, for ever."""
        while True:
            await self._to_look.wait()
            self._to_look.clear()
            if not self._calls_known.is_set():
                continue  # it is looked once they are
            try:
                await self._look()
            except AmiError as error:
                log.warning("abandonment.delayed", error=str(error))
                await self._look_later()
            except Exception:
                log.exception("abandonment.failed")
                await self._look_later()

    async def _look_later(self) -> None:
        await asyncio.sleep(RETRY_SECONDS)
        self._to_look.set()

    async def _look(self) -> None:
        """Abandon what was asked for by those whom the lists do not have; else ``AmiError``."""
        if self._unseen:
            await self._look_for_channels()
        if self._was_blind:
            await self._look_for_members()
            self._was_blind = False

    async def _look_for_channels(self) -> None:
        """Of one who has just asked, the channel counts: it may be about to join."""
        unseen = frozenset(self._unseen)
        there = {each.uniqueid for each in await self._ami.channels()}
        self._unseen -= unseen
        for uniqueid in unseen - there:
            self._asker_gone(uniqueid, Cause.ASKER_LEFT)

    async def _look_for_members(self) -> None:
        for gate_uniqueid, request in self._dialer.calls.unanswered():
            if request.asker_uniqueid is None:
                continue
            members = await self._ami.participants(request.conference_id)
            if not any(each.uniqueid == request.asker_uniqueid for each in members):
                self._abandon(gate_uniqueid, request, Cause.ASKER_LEFT)

    def _asker_gone(self, uniqueid: str, cause: Cause) -> None:
        for gate_uniqueid, request in self._dialer.calls.unanswered():
            if request.asker_uniqueid == uniqueid:
                self._abandon(gate_uniqueid, request, cause)

    def _ended(self, conference: str) -> None:
        for gate_uniqueid, request in self._dialer.calls.unanswered():
            if request.conference_id == conference:
                self._abandon(gate_uniqueid, request, Cause.MEETING_ENDED)

    def _abandon(self, gate_uniqueid: str, request: DialOutRequest, cause: Cause) -> None:
        if self._dialer.abandon(gate_uniqueid):
            log.info("dial_out.abandoned", cause=cause, **names(request.key))
