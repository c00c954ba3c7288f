"""After each (re)connection, and now and then: ledger, channels and records made to agree.

Three answers are possible for a call that the ledger holds open. Alive: its channel is in
a complete list. Ended: the Asterisk host keeps a record of its end, or two complete lists,
some seconds apart, have no such channel and there is no record. Unknown: anything else,
and unknown changes nothing.
"""

import asyncio
from datetime import datetime

import structlog

from gateway.ami import AmiClient, AmiError, AmiRefused, Channel
from gateway.core.call import Ending
from gateway.core.causes import Disposition
from gateway.core.dial_out import BridgeName, DialOut, DialOutKind, DialOutState
from gateway.core.key import DialOutKey
from gateway.core.record import FAMILY, CallRecord
from gateway.dial_in import DialIns
from gateway.dialer import TRUNK_CHANNELS, Dialer
from gateway.ledger import Ledger, LedgerUnavailable
from gateway.settlement import from_ms, to_ms

log = structlog.get_logger()

SECOND_LOOK_SECONDS = 3.0
"""Between the two lists that together prove an absence. The record is written at the
hangup, so a call that ended between them has one by the time of the second."""

CAUSE_UNKNOWN = 0


class Reconciliation:
    """Finds out what became of the calls of one bridge that the ledger holds open."""

    def __init__(
        self,
        *,
        bridge: BridgeName,
        ami: AmiClient,
        ledger: Ledger,
        dialer: Dialer,
        dial_ins: DialIns,
    ) -> None:
        self._bridge = bridge
        self._ami = ami
        self._ledger = ledger
        self._dialer = dialer
        self._dial_ins = dial_ins

    async def run(self) -> tuple[DialOut, ...]:
        """Settle what is recorded, follow what is alive, return what was found nowhere.

        Raises ``AmiError`` or ``LedgerUnavailable``; nothing is concluded then.
        """
        open_dial_outs = await self._ledger.open_dial_outs(self._bridge)
        channels = {channel.uniqueid: channel for channel in await self._ami.channels()}
        alive = set(channels)
        records = await self._ami.records(FAMILY)
        await self._end_recorded(records, alive, open_dial_outs)
        absent = []
        for dial_out in open_dial_outs:
            if dial_out.channel_uniqueid in alive:
                await self._attach(dial_out, channels)
            elif dial_out.state is not DialOutState.RESERVED and self._is_loose(dial_out, records):
                absent.append(dial_out)
        log.info(
            "calls.reconciled", open=len(open_dial_outs), recorded=len(records), absent=len(absent)
        )
        return tuple(absent)

    async def look_again(self, absent: tuple[DialOut, ...]) -> None:
        """End those that a second complete list does not have either, at the least they lasted."""
        if not absent:
            return
        await asyncio.sleep(SECOND_LOOK_SECONDS)
        alive = {channel.uniqueid for channel in await self._ami.channels()}
        records = await self._ami.records(FAMILY)
        await self._end_recorded(records, alive, absent)
        for dial_out in absent:
            if dial_out.channel_uniqueid not in alive and self._is_loose(dial_out, records):
                log.warning("call.vanished", dial_out_id=str(dial_out.request.key.dial_out_id))
                await self._follower(dial_out).end(
                    dial_out.request.key, dial_out.channel_uniqueid, _least(dial_out)
                )

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
        """Return whether neither a record nor whoever follows it accounts for the call."""
        recorded = dial_out.request.key.hex in records
        calls = self._dial_ins if _calls_in(dial_out) else self._dialer.calls
        return not recorded and not calls.follows(dial_out.channel_uniqueid)

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
                await self._end_one(key, record, dial_out)

    async def _end_one(self, key: DialOutKey, record: CallRecord, dial_out: DialOut | None) -> None:
        """End one call by its record; a fault in it keeps no other call from being settled."""
        if dial_out is None:
            log.error("record.unknown", key=key.hex)
        elif self._is_elsewhere(dial_out) or dial_out.gate_uniqueid != record.gate_uniqueid:
            log.error("record.forged", key=key.hex, uniqueid=record.gate_uniqueid)
        else:
            try:
                await self._follower(dial_out).end(key, record.gate_uniqueid, record.ending())
            except (AmiError, LedgerUnavailable):
                raise
            except Exception:
                log.exception("record.unusable", key=key.hex)

    def _is_elsewhere(self, dial_out: DialOut) -> bool:
        """Return whether a call is another bridge's: nothing here proves its end."""
        return dial_out.request.bridge != self._bridge


def _calls_in(dial_out: DialOut) -> bool:
    return dial_out.request.kind is DialOutKind.DIAL_IN


def _least(dial_out: DialOut) -> Ending:
    """Return the shortest call that the evidence allows: until it was last seen alive."""
    answered_at = dial_out.answered_at
    if answered_at is None:
        ended_at = dial_out.requested_at
    else:
        ended_at = max(answered_at, dial_out.seen_at or answered_at)
    return Ending(
        disposition=Disposition.FAILED if answered_at is None else Disposition.ANSWERED,
        hangup_cause=CAUSE_UNKNOWN,
        answered_at_ms=None if answered_at is None else to_ms(answered_at),
        ended_at_ms=to_ms(ended_at),
        evidence="absent_twice",
    )
