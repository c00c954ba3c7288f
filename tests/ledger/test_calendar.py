"""Where a tenant's months begin: for every anchor day, in every time zone, for ten years."""

import asyncio
from datetime import UTC, datetime

import asyncpg
import pytest

from gateway.db import Connection

ZONES_AT_ONCE = 2

# Each month of ten years as period_start has it, and what period_of says at its first and at
# its last instant. A month is right if both find it, and no other.
WRONG = """
    WITH month AS (
        SELECT
            a.anchor_day,
            dialout.period_start($1, a.anchor_day, m.month) AS starts_at,
            dialout.period_start($1, a.anchor_day, m.month + interval '1 month') AS ends_at
        FROM generate_series(1, 31) AS a (anchor_day)
        CROSS JOIN generate_series(
            timestamp '2020-01-01', timestamp '2029-12-01', interval '1 month'
        ) AS m (month)
    )

    SELECT m.anchor_day, m.starts_at, m.ends_at, instant.at, found.starts_at, found.ends_at
    FROM month AS m
    CROSS JOIN LATERAL (
        VALUES
        (m.starts_at),
        (m.ends_at - interval '1 microsecond')
    ) AS instant (at)
    CROSS JOIN LATERAL dialout.period_of($1, m.anchor_day, instant.at) AS found
    WHERE
        m.starts_at >= m.ends_at
        OR (m.starts_at, m.ends_at) IS DISTINCT FROM (found.starts_at, found.ends_at)
    LIMIT 5
"""


@pytest.mark.timeout(300)
async def test_every_instant_is_in_one_month(owner: Connection, dsn: str) -> None:
    """All zones, all anchor days, ten years: no second is in two months, or in none.

    Each month ends where the next begins, by one and the same function; so it is enough that
    every month is not empty and that whoever asks within it is told of it.
    """
    zones = [row["name"] for row in await owner.fetch("SELECT name FROM pg_timezone_names")]
    assert len(zones) > 500
    waiting = list(zones)

    async def look() -> list[tuple[str, object]]:
        connection = await asyncpg.connect(dsn, server_settings={"jit": "off"})
        wrong: list[tuple[str, object]] = []
        while waiting:
            zone = waiting.pop()
            wrong += [(zone, tuple(row)) for row in await connection.fetch(WRONG, zone)]
        await connection.close()
        return wrong

    found = await asyncio.gather(*(look() for _ in range(ZONES_AT_ONCE)))

    assert found == [[]] * ZONES_AT_ONCE


@pytest.mark.parametrize(
    ("time_zone", "anchor_day", "at", "starts_at", "ends_at"),
    [
        # Clocks go forward at midnight: the first of the month begins at one o'clock.
        ("Asia/Beirut", 27, "2022-03-27T12:00Z", "2022-03-26T22:00Z", "2022-04-26T21:00Z"),
        # Clocks go back at midnight: the day before has 25 hours.
        ("America/Havana", 1, "2026-11-01T12:00Z", "2026-11-01T04:00Z", "2026-12-01T05:00Z"),
        # A whole day was left out, the anchor day of this tenant.
        ("Pacific/Apia", 30, "2011-12-31T12:00Z", "2011-12-30T10:00Z", "2012-01-29T10:00Z"),
        ("Europe/London", 31, "2026-02-15T00:00Z", "2026-01-31T00:00Z", "2026-02-28T00:00Z"),
        ("Europe/London", 31, "2028-02-29T00:00Z", "2028-02-29T00:00Z", "2028-03-30T23:00Z"),
        ("Asia/Kathmandu", 1, "2025-12-31T18:15Z", "2025-12-31T18:15Z", "2026-01-31T18:15Z"),
    ],
)
async def test_odd_months(
    owner: Connection,
    time_zone: str,
    anchor_day: int,
    at: str,
    starts_at: str,
    ends_at: str,
) -> None:
    """Months whose first midnight is skipped, repeated or left out, and those that are short."""
    found = await owner.fetchrow(
        "SELECT * FROM dialout.period_of($1, $2, $3)",
        *(time_zone, anchor_day, datetime.fromisoformat(at)),
    )

    assert found is not None
    assert (found["starts_at"].astimezone(UTC), found["ends_at"].astimezone(UTC)) == (
        datetime.fromisoformat(starts_at),
        datetime.fromisoformat(ends_at),
    )
