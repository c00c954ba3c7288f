"""After each (re)connection, and now and then: ledger, channels and records made to agree.

Three answers are possible for a call that the ledger holds open. Alive: its channel is in
a complete list. Ended: the Asterisk host keeps a record of its end, or two complete lists,
some seconds apart, have no such channel and there is no record. Unknown: anything else,
and unknown changes nothing.

In between, the records alone are looked at: one that lies there for a while is of a call
whose gateway has died, or could not settle it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from gateway.ami import AmiClient, AmiRefused, Channel
from gateway.core.call import Ending
from gateway.core.call_detail import Answer, is_plausible
from gateway.core.causes import Disposition
from gateway.core.dial_out import BridgeName, DialOut, DialOutKind, DialOutState
from gateway.core.key import DialOutKey
from gateway.core.record import FAMILY, CallRecord
from gateway.dial_in import DialIns
from gateway.dialer import TRUNK_CHANNELS, Dialer
from gateway.ledger import CallDetail, Ledger
from gateway.settlement import EXPIRED, Settlement, from_ms, names, to_ms
from gateway.steps import Steps

log = structlog.get_logger()

SECOND_LOOK_SECONDS = 3.0
"""Between the two lists that together prove an absence. The record is written at the
hangup, so a call that ended between them has one by the time of the second."""

CAUSE_UNKNOWN = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A dial-out whose call is in a complete list no more, or hung up since, and by when.

    Milliseconds of the Asterisk host's clock.
    """

    dial_out: DialOut
    latest_end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """The calls whose channels a complete list had, which was begun at this instant.

    Milliseconds of the Asterisk host's clock.
    """

    keys: frozenset[DialOutKey] = frozenset()
    at_ms: int = 0


class Reconciliation:
    """Finds out what became of the calls of one bridge that the ledger holds open.

    ``call_detail`` is what its Asterisk says of calls elsewhere; None where it says nothing.
    """

    def __init__(
        self,
        *,
        bridge: BridgeName,
        ami: AmiClient,
        ledger: Ledger,
        dialer: Dialer,
        dial_ins: DialIns,
        settlement: Settlement,
        call_detail: CallDetail | None = None,
    ) -> None:
        self._bridge = bridge
        self._ami = ami
        self._ledger = ledger
        self._dialer = dialer
        self._dial_ins = dial_ins
        self._settlement = settlement
        self._call_detail = call_detail
        self._steps = Steps(fault="call.unsettled")
        self._ending: set[DialOutKey] = set()
        """Calls that are being settled, by the steps."""
        self._unusable: set[str] = set()
        """Records that settle nothing, by name."""
        self._missed: frozenset[str] = frozenset()
        """Channels of calls that are followed, and that were in no list the last time."""
        self.present = Present()
        """What the last list had, for those who ask what is alive."""

    def forget_list(self) -> None:
        """What the last list had is past: the link is lost over which it came."""
        self.present = Present()

    async def run(self) -> tuple[Absent, ...]:
        """Settle what is recorded, follow what is alive, return what was found nowhere.

        What is recorded may be settled only later: nobody waits for a tenant whose rows are
        locked.

        What has hung up since it was listed is found nowhere, too: nothing would end it once
        more if it was followed now.

        Raises ``AmiError`` or ``LedgerUnavailable``; nothing is concluded then.
        """
        with self._dialer.noting_hangups() as gone:
            return await self._run(gone)

    async def _run(self, gone: set[str]) -> tuple[Absent, ...]:
        open_dial_outs = await self._ledger.open_dial_outs(self._bridge)
        seen_at_ms = await self._ami.ping()
        channels = {channel.uniqueid: channel for channel in await self._ami.channels()}
        listed_at_ms = await self._ami.ping()
        booted_at_ms = self._ami.booted_at_ms
        alive = set(channels)
        records = await self._ami.records(FAMILY)
        self._unusable &= records.keys()
        await self._end_recorded(records, alive, open_dial_outs)
        absent = []
        missed = []
        present = []
        for dial_out in open_dial_outs:
            uniqueid = dial_out.channel_uniqueid
            if uniqueid in alive and uniqueid not in gone:
                present.append(dial_out.request.key)
                await self._attach(dial_out, channels)
                continue
            missed.append(uniqueid)
            if self._is_loose(dial_out, records) and not await self._has_ended(dial_out):
                gone_by_ms = await self._ami.ping() if uniqueid in alive else listed_at_ms
                latest_end_ms = _latest_end_ms(dial_out, gone_by_ms, booted_at_ms)
                absent.append(Absent(dial_out=dial_out, latest_end_ms=latest_end_ms))
        self._missed = frozenset(missed)
        self.present = Present(keys=frozenset(present), at_ms=seen_at_ms)
        log.info(
            "calls.reconciled", open=len(open_dial_outs), recorded=len(records), absent=len(absent)
        )
        return tuple(absent)

    async def look_again(self, absent: tuple[Absent, ...]) -> None:
        """End those that a second complete list does not have either, within their bounds."""
        if not absent:
            return
        await asyncio.sleep(SECOND_LOOK_SECONDS)
        alive = {channel.uniqueid for channel in await self._ami.channels()}
        records = await self._ami.records(FAMILY)
        await self._end_recorded(records, alive, tuple(each.dial_out for each in absent))
        vanished = [
            each
            for each in absent
            if each.dial_out.channel_uniqueid not in alive
            and self._is_loose(each.dial_out, records)
        ]
        told = await self._told([each.dial_out for each in vanished])
        for each in vanished:
            key = each.dial_out.request.key
            self._begin_end(key, partial(self._end_vanished, each, told.get(key)))

    async def settle_left(self, seen_before: frozenset[str]) -> frozenset[str]:
        """Settle the records that lay there before and still do; return those that lie there now.

        Those that are being settled already are not looked at again.

        A channel writes its record when it hangs up, and whoever follows it takes the record
        away in milliseconds. Raises ``AmiError`` or ``LedgerUnavailable``.
        """
        records = await self._ami.records(FAMILY)
        names_left = seen_before - self._unusable - {key.hex for key in self._ending}
        left = {name: text for name, text in records.items() if name in names_left}
        if left:
            alive = {channel.uniqueid for channel in await self._ami.channels()}
            await self._end_recorded(left, alive, ())
        return frozenset(records)

    async def drain(self, seconds: float) -> None:
        """Let what is being settled be finished; after ``seconds`` it is left to the next start."""
        await self._steps.drain(seconds)

    async def _told(self, dial_outs: list[DialOut]) -> dict[DialOutKey, Ending | Answer]:
        """Return what Asterisk's own call detail says of calls of which nothing else is left."""
        if self._call_detail is None or not dial_outs:
            return {}
        return await self._call_detail.told(dial_outs)

    async def _end_vanished(self, absent: Absent, told: Ending | Answer | None) -> None:
        """End a call of which nothing is left as it is told, else as short and as long as may be.

        What the ledger knows of it by now counts: its answer may have been noted since.
        """
        key = absent.dial_out.request.key
        dial_out = await self._ledger.dial_out(key)
        if dial_out is None or dial_out.released_at != absent.dial_out.released_at:
            return
        if dial_out.state is DialOutState.RESERVED:
            # Whoever reserved it has died: a claim would be too old by now to be used.
            await self._settlement.give_back(key, Disposition.FAILED, EXPIRED)
        if dial_out.state not in (DialOutState.RELEASED, DialOutState.ANSWERED):
            return
        log.warning("call.vanished", **names(key))
        if told is not None and not _is_plausible(told, dial_out, absent.latest_end_ms):
            log.error("call_detail.implausible", **names(key))
            told = None
        if isinstance(told, Ending):
            ending = replace(told, released_at=dial_out.released_at)
        else:
            ending = _bounded(dial_out, told, absent.latest_end_ms)
        await self._follower(dial_out).end(key, dial_out.channel_uniqueid, ending)

    async def _attach(self, dial_out: DialOut, channels: dict[str, Channel]) -> None:
        """Follow a call that is alive, note its answer if that was missed, and pay on."""
        warns = dial_out.request.key.warning_uniqueid in channels
        if dial_out.request.kind is DialOutKind.DIAL_IN:
            await self._dial_ins.attach(dial_out, warns=warns)
            return
        linkedid = channels[dial_out.channel_uniqueid].linkedid
        legs = (each for each in channels.values() if each.linkedid == linkedid)
        trunk_leg = next((each for each in legs if each.name.startswith(TRUNK_CHANNELS)), None)
        self._dialer.attach(dial_out, trunk_leg.uniqueid if trunk_leg else None)
        if trunk_leg is None or trunk_leg.state_description != "Up":
            return
        answered_at = dial_out.answered_at or await self._answer_noted(dial_out, trunk_leg)
        if answered_at is not None:
            self._dialer.pay_on(dial_out, trunk_leg.uniqueid, answered_at, warns=warns)

    async def _answer_noted(self, dial_out: DialOut, trunk_leg: Channel) -> datetime | None:
        """Note when a call was answered that nobody saw answered; None if it is over by now.

        Its limit has counted from the answer and was never moved: that needs an answer on
        record. Where that does not tell, now is the least that can be billed from.
        """
        try:
            left_ms = await self._ami.limit_left_ms(trunk_leg.uniqueid)
        except AmiRefused:
            return None
        clock_ms = await self._ami.ping()
        passed_ms = 0
        if left_ms is not None and dial_out.limit_seconds is not None:
            passed_ms = max(0, dial_out.limit_seconds * 1000 - left_ms)
        answered_at = from_ms(clock_ms - passed_ms)
        await self._ledger.answered(dial_out.request.key, answered_at)
        return answered_at

    def _is_loose(self, dial_out: DialOut, records: dict[str, str]) -> bool:
        """Return whether neither a record nor whoever follows it accounts for the call.

        Who follows a call hears of its end. If it was missed the last time, too, that was lost.
        """
        if dial_out.request.key.hex in records:
            return False
        calls = self._dial_ins if _calls_in(dial_out) else self._dialer.calls
        uniqueid = dial_out.channel_uniqueid
        return not calls.follows(uniqueid) or uniqueid in self._missed

    async def _has_ended(self, dial_out: DialOut) -> bool:
        """Return whether a call has been settled since it was read."""
        now = await self._ledger.dial_out(dial_out.request.key)
        return now is None or now.state is DialOutState.ENDED

    def _follower(self, dial_out: DialOut) -> Dialer | DialIns:
        """Return who follows calls of this kind."""
        return self._dial_ins if _calls_in(dial_out) else self._dialer

    async def _end_recorded(
        self, records: dict[str, str], alive: set[str], open_dial_outs: tuple[DialOut, ...]
    ) -> None:
        """End what a record says has ended, unless its channel is there to contradict it.

        Whoever may originate may write records; the list of channels nobody can forge.
        """
        by_key = {each.request.key: each for each in open_dial_outs}
        for name, text in records.items():
            key = DialOutKey.parse(name)
            record = CallRecord.parse(text)
            if key is None or record is None:
                # It proves nothing now and never will; the log keeps it.
                log.error("record.unreadable", key=name, text=text)
                await self._ami.record_delete(FAMILY, name)
            elif record.gate_uniqueid not in alive:
                dial_out = by_key.get(key) or await self._ledger.dial_out(key)
                self._end_one(key, record, dial_out)

    def _end_one(self, key: DialOutKey, record: CallRecord, dial_out: DialOut | None) -> None:
        """Begin to end one call by its record, if that is of this call."""
        if dial_out is None:
            self._put_by(key, "record.unknown")
        elif self._is_elsewhere(dial_out) or dial_out.gate_uniqueid != record.gate_uniqueid:
            self._put_by(key, "record.forged", uniqueid=record.gate_uniqueid)
        else:
            self._begin_end(key, partial(self._end_by, record, key, dial_out))

    async def _end_by(self, record: CallRecord, key: DialOutKey, dial_out: DialOut) -> None:
        """End one call by its record, which is left to the next reconciliation if it cannot be."""
        noted_ms = None if dial_out.answered_at is None else to_ms(dial_out.answered_at)
        try:
            ending = record.ending(noted_ms)
            await self._follower(dial_out).end(key, record.gate_uniqueid, ending)
        except Exception:
            self._unusable.add(key.hex)
            log.exception("record.unusable", key=key.hex)

    def _begin_end(self, key: DialOutKey, end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin to settle a call, unless that is under way; no other call has to wait for it."""
        if key not in self._ending:
            self._ending.add(key)
            self._steps.spawn(self._ended(key, end))

    async def _ended(self, key: DialOutKey, end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await end()
        finally:
            self._ending.discard(key)

    def _put_by(self, key: DialOutKey, event: str, **details: str) -> None:
        """Leave a record to the next reconciliation; say so once."""
        if key.hex not in self._unusable:
            log.error(event, key=key.hex, **details)
        self._unusable.add(key.hex)

    def _is_elsewhere(self, dial_out: DialOut) -> bool:
        """Return whether a call is another bridge's: nothing here proves its end."""
        return dial_out.request.bridge != self._bridge


def _calls_in(dial_out: DialOut) -> bool:
    return dial_out.request.kind is DialOutKind.DIAL_IN


def _is_plausible(told: Ending | Answer, dial_out: DialOut, latest_end_ms: int) -> bool:
    return is_plausible(
        told,
        requested_at_ms=to_ms(dial_out.requested_at),
        latest_end_ms=latest_end_ms,
        was_answered=dial_out.answered_at is not None,
    )


def _bounded(dial_out: DialOut, told: Answer | None, latest_end_ms: int) -> Ending:
    """Return what the evidence allows: from when it was last seen alive until it was not.

    The ledger need not know of the answer, if it is told.
    """
    answered_at = dial_out.answered_at or (from_ms(told.at_ms) if told else None)
    if answered_at is None:
        earliest = dial_out.released_at or dial_out.requested_at
    else:
        earliest = max(answered_at, dial_out.seen_at or answered_at)
    return Ending(
        disposition=Disposition.FAILED if answered_at is None else Disposition.ANSWERED,
        hangup_cause=CAUSE_UNKNOWN,
        answered_at_ms=None if answered_at is None else to_ms(answered_at),
        ended_at_ms=to_ms(earliest),
        evidence="absent_twice",
        latest_end_ms=max(to_ms(earliest), latest_end_ms),
        released_at=dial_out.released_at,
    )


def _latest_end_ms(dial_out: DialOut, gone_by_ms: int, booted_at_ms: int | None) -> int:
    """Return when a call that was gone by then must have ended: no later than Asterisk began."""
    began_at = dial_out.answered_at or dial_out.released_at or dial_out.requested_at
    if booted_at_ms is None or booted_at_ms <= to_ms(began_at):
        return gone_by_ms
    return min(booted_at_ms, gone_by_ms)
