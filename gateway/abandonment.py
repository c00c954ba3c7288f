"""Ends what rings for nobody: its asker is gone or has cancelled it, or the meeting is over.

A telephone that is answered for an asker who has left is a nuisance to whoever answers and
costs money. Only what nobody has answered yet is ended; an answered call stays.

Events tell it at once. What happened while there was no link Asterisk's lists tell afterwards,
once the dialer knows again which calls were answered meanwhile; a list that is not complete
changes nothing.
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
    KeypadCancelReached,
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
        self._calls_known = False
        self._missed = asyncio.Event()
        self._met: set[str] = set()

    def handle(self, event: Event) -> None:
        """Apply one event; never waits."""
        if not self._calls_known:
            return  # it may have been answered, and what is missed now is listed later
        match event:
            case ConferenceChanged(joined=False) | Hangup():
                self._asker_gone(event.uniqueid, Cause.ASKER_LEFT)
            case KeypadCancelReached():
                self._asker_gone(event.uniqueid, Cause.ASKER_CANCELLED)
            case ConferenceEnded():
                self._ended(event.conference)
            case _:
                pass

    def link_lost(self) -> None:
        """From now on anybody may leave unseen. Remember which meetings were there to be left."""
        self._calls_known = False
        self._met |= {
            request.conference_id
            for _, request in self._dialer.calls.unanswered()
            if request.conference_id in self._conferences
        }

    def calls_reconciled(self) -> None:
        """Begin, if that is still to do: of every call it is known whether it was answered.

        The conferences have been listed by then.
        """
        if self._calls_known:
            return
        self._calls_known = True
        for conference in self._met:
            if conference not in self._conferences:
                self._ended(conference)
        self._met.clear()
        self._missed.set()

    async def run(self) -> None:
        """Look for askers who left while there was no link, for ever."""
        while True:
            await self._missed.wait()
            self._missed.clear()
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
        if self._calls_known:
            self._missed.set()

    async def _look(self) -> None:
        """Abandon what was asked for by members that the lists do not have; else ``AmiError``."""
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
