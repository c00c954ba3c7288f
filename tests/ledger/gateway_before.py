"""What a gateway of the version before says to the ledger, word for word, and how its calls go.

During an upgrade it speaks to a database that is ahead of it, on connections that it opened and
with statements that it prepared before. ``version_before`` holds the SQL files of that version
that have changed since; ``ADDED`` are those that it did not have. Both, and the statements here,
are replaced when a version is released.
"""

import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from asyncpg.pool import PoolConnectionProxy

from gateway import db
from gateway.core.key import DialOutKey
from gateway.ledger.rows import Row
from tests.ledger.world import LONDON, NOON, ORGANIZER, TERMS, World

VERSION_BEFORE: Final = Path(__file__).with_name("version_before")
LAST_MIGRATION: Final = "0009_entrances"
ADDED: Final = (
    "functions/begun_seconds.sql",
    "functions/gap_calls.sql",
    "functions/gateway_serves.sql",
    "functions/grant_book.sql",
    "functions/outage_note.sql",
    "functions/take_over.sql",
    "views/79_outage_list.sql",
    "views/80_outage_call.sql",
)

RESERVE = """
    SELECT outcome, (record).* FROM dialout.reserve(
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
        ROW($13, $14, $15, $16, $17, $18, $19)::dialout.rate_terms,
        $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31,
        ROW($32, $33, $34)::dialout.cool_down
    )
"""
CLAIM = "SELECT * FROM dialout.claim($1, $2, $3, $4)"
ANSWERED = "SELECT dialout.answered($1, $2, $3) AS outcome"
IS_RELEASED = "SELECT dialout.is_released($1, $2) AS released"
JOINED = "SELECT dialout.joined($1, $2, $3) AS outcome"
EXTEND = "SELECT * FROM dialout.extend($1, $2, $3, $4)"
SEEN = "SELECT dialout.seen($1, $2, $3)"
SETTLE = "SELECT outcome, (record).* FROM dialout.settle($1, $2, $3, $4, $5, $6, $7)"
VOID = "SELECT outcome, (record).* FROM dialout.void($1, $2, $3, $4, $5, $6, $7)"
DIAL_OUT = "SELECT * FROM dialout.dial_out_record WHERE tenant_id = $1 AND dial_out_id = $2"
OPEN_DIAL_OUTS = """
    SELECT * FROM dialout.open_dial_out
    WHERE (bridge = $1) IS NOT false
    ORDER BY requested_at, tenant_id, dial_out_id
"""
PING = "SELECT tenant_id FROM dialout.tenant_name LIMIT 1"

TALK_SECONDS = 90
RELEASED, ANSWER = (NOON + timedelta(seconds=seconds) for seconds in (1, 5))
END = ANSWER + timedelta(seconds=TALK_SECONDS)


def sql_before(directory: Path) -> Path:
    """Return a copy of the SQL files, in a directory, as the version before had them."""
    sql = shutil.copytree(db.SQL, directory / "sql")
    for file in ADDED:
        (sql / file).unlink()
    for migration in (sql / "migrations").iterdir():
        if migration.stem > LAST_MIGRATION:
            migration.unlink()
    return shutil.copytree(VERSION_BEFORE, sql, dirs_exist_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayBefore:
    """A connection of a gateway of the version before, and the tenant whose calls it makes.

    Nothing is asked twice here: what the database refuses surfaces.
    """

    connection: "PoolConnectionProxy[Row]"
    world: World

    async def call(self) -> None:
        """Make a call that is answered and settled, and one that nobody answers."""
        await self.settle(await self.place())
        await self.void(await self.reserve())

    async def place(self) -> DialOutKey:
        """Have a call up that has been extended once."""
        key = await self.reserve()
        gate = f"ast-{key.dial_out_id}"
        claim = await self._ask(CLAIM, *_names(key), gate, RELEASED)
        answered = await self._ask(ANSWERED, *_names(key), ANSWER)
        joined = await self._ask(JOINED, *_names(key), ANSWER)
        extended = await self._ask(EXTEND, *_names(key), 1, ANSWER)
        await self._ask(SEEN, key.tenant_id, [key.dial_out_id], ANSWER)
        is_released = await self._ask(IS_RELEASED, gate, "main")
        assert (claim["outcome"], claim["destination"]) == ("claimed", LONDON.e164)
        assert (answered["outcome"], joined["outcome"]) == ("answered", "joined")
        assert (extended["outcome"], extended["limit_seconds"]) == ("extended", 120)
        assert is_released["released"]
        return key

    async def reserve(self) -> DialOutKey:
        """Reserve a minute of a call to London, out of credits."""
        await self.connection.fetch(PING)
        rate, key = self.world.rate, self.world.request().key
        row = await self._ask(
            RESERVE,
            *(*_names(key), "call_me", ORGANIZER, "bob", str(key.dial_out_id), "020 7946 0123"),
            *(LONDON.e164, LONDON.region, LONDON.kind, ["credits"], [None]),
            *(rate.deck_id, rate.prefix, rate.currency, rate.price_micros),
            *(rate.connect_fee_micros, rate.initial_increment_seconds, rate.increment_seconds),
            *(1800, 60, 60, 30, TERMS.caller_id, "{}", NOON, NOON + timedelta(seconds=30), None),
            *(True, "main", None, None, None, None),
        )
        assert (row["outcome"], row["talk_seconds"]) == ("reserved", 60)
        return key

    async def settle(self, key: DialOutKey) -> None:
        """Find a call among those that are open, and have it paid for."""
        found = await self.connection.fetch(OPEN_DIAL_OUTS, "main")
        assert key.dial_out_id in {row["dial_out_id"] for row in found}
        settled = await self._ask(SETTLE, *_names(key), ANSWER, END, 16, "answered", "events")
        stored = await self._ask(DIAL_OUT, *_names(key))
        assert settled["outcome"] == "settled"
        assert (stored["state"], stored["billable_seconds"]) == ("ended", TALK_SECONDS)

    async def void(self, key: DialOutKey) -> None:
        """Give a reservation back that nobody has claimed."""
        row = await self._ask(VOID, *_names(key), END, None, "failed", True, "unclaimed")
        assert (row["outcome"], row["billable_seconds"]) == ("voided", 0)

    async def _ask(self, statement: str, *arguments: object) -> Row:
        [row] = await self.connection.fetch(statement, *arguments)
        return row


def _names(key: DialOutKey) -> tuple[UUID, UUID]:
    return key.tenant_id, key.dial_out_id
