"""The months that the ledger is kept by: which there are, and how one is taken out or put back.

Needs the login of the schema's owner, as the migration does: neither calls nor provisioning
ever take history away.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, LiteralString

import asyncpg
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_random

from gateway.db import Pool
from gateway.ledger.rows import Row
from gateway.ledger.session import LedgerUnavailable, Session


class DetachOutcome(StrEnum):
    """Whether a month was taken out."""

    UNKNOWN_MONTH = "unknown_month"
    NOT_OVER = "not_over"
    OPEN_CALLS = "open_calls"
    DETACHED = "detached"


class AttachOutcome(StrEnum):
    """Whether a month was put back."""

    UNKNOWN_MONTH = "unknown_month"
    ATTACHED = "attached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A month of UTC that has tables of its own. ``dial_outs`` is the server's estimate."""

    month: datetime
    dial_outs: int
    bytes: int
    is_detached: bool

    def summary(self) -> dict[str, str | int | bool]:
        """Return it as plain JSON values."""
        return {
            "month": self.month.strftime("%Y-%m"),
            "dial_outs": self.dial_outs,
            "bytes": self.bytes,
            "is_detached": self.is_detached,
        }


def _is_in_the_way(error: BaseException) -> bool:
    """Return whether calls held what was needed, or something was filed meanwhile."""
    return isinstance(error, LedgerUnavailable) and isinstance(
        error.__cause__,
        asyncpg.LockNotAvailableError | asyncpg.DeadlockDetectedError | asyncpg.SerializationError,
    )


# As a migration does: it waits for calls for less time than it takes the server to look for a
# deadlock, and then lets everything go and begins again, so that no call is given up for it.
_GIVING_WAY: Final = AsyncRetrying(
    retry=retry_if_exception(_is_in_the_way),
    stop=stop_after_delay(120),
    wait=wait_random(0.05, 0.5),
    reraise=True,
)


class Months:
    """The months of the ledger, for its owner. Raises ``LedgerUnavailable`` as ``Ledger`` does."""

    def __init__(self, pool: Pool, *, call_seconds_max: float) -> None:
        self._session = Session(pool, call_seconds_max)

    async def months(self) -> tuple[Month, ...]:
        """Return the months, oldest first, those that were taken out included."""
        found = await self._session.fetch("SELECT * FROM dialout.month_list()")
        return tuple(
            Month(
                month=row["month"],
                dial_outs=row["dial_outs"],
                bytes=row["bytes"],
                is_detached=row["is_detached"],
            )
            for row in found
        )

    async def refusal(self, month: datetime, at: datetime) -> DetachOutcome | None:
        """Return why a month cannot be taken out, once all before it are out; None if it can."""
        row: Row = await _GIVING_WAY(
            self._as_owner, "SELECT dialout.month_refusal($1, $2, true) AS outcome", month, at
        )
        return None if row["outcome"] is None else DetachOutcome(row["outcome"])

    async def detach(self, month: datetime, at: datetime) -> DetachOutcome:
        """Take a month out whose books were proved, while calls go on. Takes no other along."""
        row: Row = await _GIVING_WAY(
            self._as_owner, "SELECT dialout.month_detach($1, $2) AS outcome", month, at
        )
        return DetachOutcome(row["outcome"])

    async def attach(self, month: datetime) -> AttachOutcome:
        """Put a month back that was taken out. Calls wait while it is read once."""
        row: Row = await _GIVING_WAY(
            self._as_owner, "SELECT dialout.month_attach($1) AS outcome", month
        )
        return AttachOutcome(row["outcome"])

    async def _as_owner(self, statement: LiteralString, *arguments: object) -> Row:
        async with self._session.transaction() as transaction:
            await transaction.fetch("SET LOCAL ROLE dialout_owner")
            await transaction.fetch("SET LOCAL lock_timeout TO '300ms'")
            return await transaction.fetch_one(statement, *arguments)
