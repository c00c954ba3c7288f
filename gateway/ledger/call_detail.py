"""Reads Asterisk's own call detail, CEL and CDR, from tables that Asterisk writes.

They are no part of the ledger and may lie in another database, so whatever is wrong with
them, or slow, is no fault of the gateway's: it is logged, and nothing is known then.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Final

import structlog

from gateway.core import call_detail
from gateway.core.call import Ending
from gateway.core.call_detail import Answer, ChannelEvent, DialRecord, Instant
from gateway.core.dial_out import DialOut, DialOutKind
from gateway.core.key import DialOutKey
from gateway.db import Pool
from gateway.ledger.rows import Row
from gateway.ledger.session import LedgerUnavailable, Session

log = structlog.get_logger()

Told = Ending | Answer

CALLS_A_QUESTION: Final = 200
"""How many calls one statement asks for: all those of an Asterisk that was killed."""

_ROWS_A_CALL: Final = 50
"""How many rows a call may have; a call has seven, and one that has this many is no call."""

_SECONDS_MAX: Final = 1e11
"""No number of seconds since the epoch is as large; one of milliseconds is."""

# The names of tables come from the settings, which let nothing but identifiers pass.
_CEL: Final = """
    SELECT asked.uniqueid AS gate, cel.*
    FROM unnest($1::text[]) AS asked (uniqueid)
    CROSS JOIN LATERAL (
        SELECT e.uniqueid, e.eventtype, e.eventtime, e.channame, e.extra
        FROM {table} AS e
        WHERE
            e.linkedid IN (SELECT o.linkedid FROM {table} AS o WHERE o.uniqueid = asked.uniqueid)
            AND e.eventtype IN ('ANSWER', 'HANGUP', 'BRIDGE_ENTER')
            AND (e.uniqueid = asked.uniqueid OR e.channame LIKE $2)
        LIMIT $3
    ) AS cel
"""
_CDR: Final = """
    SELECT c.uniqueid AS gate, c.disposition, c.answer, c."end"
    FROM {table} AS c
    WHERE c.uniqueid = ANY($1::text[]) AND c.dstchannel LIKE $2
    LIMIT $3
"""


class CallDetail:
    """What the tables of one Asterisk say of calls. Each statement has ``call_seconds_max``.

    ``cel_table`` and ``cdr_table`` are names, with their schema or without; None is a table
    that is not kept. ``trunk_channels`` is how the channels on the trunk are called, ``zone``
    the one in which Asterisk writes times that carry none.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        cel_table: str | None,
        cdr_table: str | None,
        zone: tzinfo,
        trunk_channels: str,
        call_seconds_max: float,
    ) -> None:
        self._session = Session(pool, call_seconds_max)
        self._cel = None if cel_table is None else _CEL.format(table=_quoted(cel_table))
        self._cdr = None if cdr_table is None else _CDR.format(table=_quoted(cdr_table))
        self._zone = zone
        self._trunk_channels = trunk_channels

    async def told(self, dial_outs: Sequence[DialOut]) -> dict[DialOutKey, Told]:
        """Return what the tables say of these calls: an end, or an answer alone.

        A call that is not in it is one of which they say nothing. So are all that are left once
        the tables do not answer in time. Whether it can be true is for the caller to judge.
        """
        told: dict[DialOutKey, Told] = {}
        for first in range(0, len(dial_outs), CALLS_A_QUESTION):
            try:
                await self._tell(dial_outs[first : first + CALLS_A_QUESTION], told)
            except LedgerUnavailable as error:
                log.warning("call_detail.silent", error=str(error), calls=len(dial_outs))
                break
            except Exception:
                # A table that is not what it should be; the call is bounded by other means.
                log.exception("call_detail.unusable")
                break
        return told

    async def _tell(self, dial_outs: Sequence[DialOut], told: dict[DialOutKey, Told]) -> None:
        """Add what CEL says, and what CDR does of a call whose end CEL does not know.

        What CEL has said stays, also where CDR does not answer.
        """
        told |= await self._by_events(dial_outs)
        open_still = [
            each for each in dial_outs if not isinstance(told.get(each.request.key), Ending)
        ]
        told |= await self._by_records(open_still)

    async def _by_events(self, dial_outs: Sequence[DialOut]) -> dict[DialOutKey, Told]:
        if self._cel is None or not dial_outs:
            return {}
        events = defaultdict[str, list[ChannelEvent]](list)
        for row in await self._rows(self._cel, dial_outs, _ROWS_A_CALL):
            event = self._event(row)
            if event is not None:
                events[row["gate"]].append(event)
        return {
            each.request.key: said
            for each in dial_outs
            if (said := _told_by_events(each, events[each.channel_uniqueid])) is not None
        }

    async def _by_records(self, dial_outs: Sequence[DialOut]) -> dict[DialOutKey, Told]:
        asked = [each for each in dial_outs if each.request.kind is not DialOutKind.DIAL_IN]
        if self._cdr is None or not asked:
            return {}
        records = defaultdict[str, list[DialRecord]](list)
        for row in await self._rows(self._cdr, asked, _ROWS_A_CALL * len(asked)):
            record = self._record(row)
            if record is not None:
                records[row["gate"]].append(record)
        return {
            each.request.key: said
            for each in asked
            if (said := call_detail.told_by_records(records[each.channel_uniqueid])) is not None
        }

    async def _rows(self, statement: str, dial_outs: Sequence[DialOut], limit: int) -> list[Row]:
        uniqueids = [each.channel_uniqueid for each in dial_outs]
        pattern = self._trunk_channels.replace("_", r"\_") + "%"
        return await self._session.fetch(statement, uniqueids, pattern, limit)

    def _event(self, row: Row) -> ChannelEvent | None:
        at = self._instant(row["eventtime"])
        if at is None:
            return None
        extra = _extra(row["extra"])
        return ChannelEvent(
            uniqueid=row["uniqueid"],
            kind=row["eventtype"],
            at=at,
            is_trunk=(row["channame"] or "").startswith(self._trunk_channels),
            bridge_id=_text(extra.get("bridge_id")),
            cause=_whole(extra.get("hangupcause")),
            dial_status=_text(extra.get("dialstatus")),
        )

    def _record(self, row: Row) -> DialRecord | None:
        end = self._instant(row["end"])
        if end is None:
            return None
        answer = self._instant(row["answer"])
        answered = row["disposition"] == "ANSWERED"
        if answered is (answer is None):
            return None
        return DialRecord(disposition=row["disposition"], answer=answer, end=end)

    def _instant(self, value: object) -> Instant | None:
        """Return what a column says, in whichever form it is; None where that is no instant."""
        match value:
            case datetime():
                at = _in_zone(value, self._zone)
                return None if at is None else _of_micros(round(at.timestamp() * 1_000_000))
            case bool():
                return None
            case int() | float() if 0 < value < _SECONDS_MAX:
                return _of_micros(round(value * 1_000_000))
            case _:
                return None


def _told_by_events(dial_out: DialOut, events: Sequence[ChannelEvent]) -> Told | None:
    if dial_out.request.kind is not DialOutKind.DIAL_IN:
        return call_detail.told_by_events(dial_out.channel_uniqueid, events)
    if dial_out.answered_at is None:
        return None
    admitted_at_ms = int(dial_out.answered_at.timestamp() * 1000)
    return call_detail.told_of_dial_in(dial_out.channel_uniqueid, admitted_at_ms, events)


def _of_micros(micros: int) -> Instant:
    return Instant(at_ms=micros // 1000, is_cut=micros % 1_000_000 == 0)


def _in_zone(at: datetime, zone: tzinfo) -> datetime | None:
    """Return the instant that a table's time stands for; None if it stands for two, or none."""
    if not 1971 <= at.year < 9000:
        return None
    if at.tzinfo is not None:
        return at
    first, second = (at.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    return first if first.utcoffset() == second.utcoffset() else None


def _extra(text: object) -> dict[str, object]:
    """Return what an event adds about itself, which is JSON; nothing if it is not."""
    if not isinstance(text, str):
        return {}
    try:
        extra = json.loads(text or "{}")
    except ValueError:
        return {}
    return extra if isinstance(extra, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and 0 <= value <= 999 else None


def _quoted(name: str) -> str:
    """Return a table's name as SQL knows it."""
    return ".".join(f'"{part}"' for part in name.split("."))
