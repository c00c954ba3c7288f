"""The outbox: events that the ledger wrote and others must hear of, and how far each has come."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from gateway.db import Pool
from gateway.ledger.rows import Row
from gateway.ledger.session import Session

SWEEP_ROWS_MAX: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class DueEvent:
    """An event that its holder is to deliver. ``attempt`` is 1 the first time.

    ``kind`` may be one that only a later version knows, whose migration has run already.
    """

    event_id: UUID
    tenant_id: UUID
    kind: str
    at: datetime
    data: Mapping[str, JsonValue]
    attempt: int


class Outbox:
    """The outbox of all tenants behind one pool of connections; it may do nothing with money.

    No call waits longer than ``call_seconds_max`` for an answer. Raises ``LedgerUnavailable``
    for whatever may pass.
    """

    def __init__(self, pool: Pool, *, call_seconds_max: float = 2.0) -> None:
        self._session = Session(pool, call_seconds_max)

    async def sweep(self, at: datetime) -> None:
        """Write the events that come about by time alone."""
        await self._session.fetch("SELECT dialout.outbox_sweep($1, $2)", SWEEP_ROWS_MAX, at)

    async def claim(self, *, limit: int, until: datetime, at: datetime) -> tuple[DueEvent, ...]:
        """Take events that are due. What is not reported on by ``until`` is due again."""
        found = await self._session.fetch(
            "SELECT * FROM dialout.outbox_claim($1, $2, $3)", limit, until, at
        )
        return tuple(map(_due_event, found))

    async def delivered(self, event: DueEvent, at: datetime) -> None:
        """Record that the receiver has the event."""
        await self._session.fetch("SELECT dialout.outbox_delivered($1, $2)", event.event_id, at)

    async def failed(self, event: DueEvent, *, fault: str, next_at: datetime, at: datetime) -> bool:
        """Record why this attempt failed; return whether the event has been failing for days."""
        row = await self._session.fetch_one(
            "SELECT dialout.outbox_failed($1, $2, $3, $4, $5) AS state",
            *(event.event_id, event.attempt, fault, next_at, at),
        )
        return bool(row["state"] == "failing")


def _due_event(row: Row) -> DueEvent:
    return DueEvent(
        event_id=row["event_id"],
        tenant_id=row["tenant_id"],
        kind=row["kind"],
        at=row["at"],
        data=json.loads(row["data"]),
        attempt=row["attempt"],
    )
