"""Decks: versions that follow each other without a gap, hours of the week, what a call meets."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from gateway.core.e164 import Region
from gateway.core.rating import Micros, Seconds
from gateway.core.week import Hours, days_named, end_time_named, time_named
from gateway.db import Connection, Pool
from gateway.ledger import DeckRateKey, DeckRow, RateDeck, RateDeckOutcome
from gateway.ledger.ledger import Ledger
from gateway.ledger.provisioning import ROWS_A_DRAFT, Provisioning
from tests.ledger.world import ACTOR, CREDITS, LONDON, LONDON_ROW, NOON, YEAR_BEFORE, World

BERLIN_ROW = replace(LONDON_ROW, prefix="49", regions=frozenset({Region("DE")}))
TOMORROW = NOON + timedelta(days=1)
MINUTE = timedelta(minutes=1)
LONDON_TIME = "Europe/London"


def row(price: int, prefix: str = "44", *, days: str = "", hours: str = "") -> DeckRow:
    """Return a price by the second, within some hours of the week if any are given."""
    start, end = hours.split("-") if hours else ("00:00", "24:00")
    within = Hours.of(days_named(days or "mon-sun"), time_named(start), end_time_named(end))
    return replace(
        LONDON_ROW,
        prefix=prefix,
        price_micros=Micros(price),
        connect_fee_micros=Micros(0),
        initial_increment_seconds=Seconds(1),
        increment_seconds=Seconds(1),
        hours=within,
    )


async def put(
    provisioning: Provisioning,
    rows: Sequence[DeckRow],
    starts_at: datetime = NOON,
    *,
    at: datetime | None = None,
    name: str = "deck",
    currency: str = "EUR",
    time_zone: str | None = None,
) -> RateDeckOutcome:
    """Put a deck, in a change of its own; now is ``at``, or else when the deck starts."""
    async with provisioning.change(actor=ACTOR) as change:
        return await change.rate_deck_put(
            name, currency, rows, at or starts_at, starts_at=starts_at, time_zone=time_zone
        )


async def prices(pool: Pool, world: World, *instants: datetime) -> list[int | None]:
    """Return what a minute to London costs, as a call would be decided at each instant."""
    ledger = Ledger(pool, call_seconds_max=20.0)
    facts = [await ledger.destination_facts(world.tenant_id, LONDON, at) for at in instants]
    return [each.rate.price_micros if each.rate else None for each in facts]


CHANGES = """
    SELECT at, (rate).prefix, (rate).price_micros
    FROM dialout.rate_changes(
        ROW($1, '44', 'EUR', $2, 0, 1, 1)::dialout.rate_terms, '+442079460123', $5, $3, $4
    )
"""


async def changes(
    owner: Connection,
    price: int,
    since: datetime,
    until: datetime,
    *,
    name: str = "deck",
    region: str = "GB",
) -> list[tuple[datetime, int | None]]:
    """Return how the price of a call to London changes that was decided at ``price``."""
    deck_id = await owner.fetchval("SELECT deck_id FROM dialout.rate_deck WHERE name = $1", name)
    found = await owner.fetch(CHANGES, deck_id, price, since, until, region)
    return [(each["at"], each["price_micros"]) for each in found]


@pytest.fixture
async def priced(world: World, provisioning: Provisioning) -> World:
    """A tenant whose calls are priced by a deck of the name ``deck``."""
    await put(provisioning, [row(1)], YEAR_BEFORE)
    await world.update(rate_deck="deck")
    return world


# A deck as a whole.


async def test_a_deck_is_put_whole_or_not_at_all(provisioning: Provisioning) -> None:
    """One row that cannot be undoes the rest, and what was valid stays valid."""
    rows = [LONDON_ROW, BERLIN_ROW]
    await put(provisioning, rows, YEAR_BEFORE)
    dearer = [replace(each, price_micros=Micros(99)) for each in rows]

    with pytest.raises(asyncpg.CheckViolationError):
        await put(provisioning, [*dearer, replace(LONDON_ROW, prefix="+1")])
    with pytest.raises(asyncpg.UniqueViolationError):
        await put(provisioning, [*dearer, dearer[0]])
    nowhere = replace(LONDON_ROW, prefix="1", regions=frozenset({Region("US"), Region("u s")}))
    unknown = await put(provisioning, [*dearer, nowhere])

    assert unknown is RateDeckOutcome.UNKNOWN_REGION
    assert await put(provisioning, rows) is RateDeckOutcome.EXISTS


async def test_a_deck_is_put_once(provisioning: Provisioning) -> None:
    """A retry finds it as it is, in any order of rows; its currency never changes."""
    rows = [LONDON_ROW, BERLIN_ROW]

    outcomes = [
        await put(provisioning, rows, YEAR_BEFORE),
        await put(provisioning, rows[::-1], NOON),
        await put(provisioning, rows[:1], NOON),
        await put(provisioning, rows, NOON, currency="USD"),
    ]

    assert outcomes == [
        RateDeckOutcome.PUT,
        RateDeckOutcome.EXISTS,
        RateDeckOutcome.PUT,
        RateDeckOutcome.EXISTS_WITH_DIFFERENT_CURRENCY,
    ]
    assert await provisioning.rate_deck("deck") == RateDeck(
        deck_id=1, name="deck", currency="EUR", time_zone="UTC", rates=1, rates_from=NOON, ahead=[]
    )
    assert await provisioning.rate_deck("another") is None


@pytest.mark.parametrize(
    "other",
    [
        replace(BERLIN_ROW, price_micros=Micros(1)),
        replace(BERLIN_ROW, connect_fee_micros=Micros(1)),
        replace(BERLIN_ROW, initial_increment_seconds=Seconds(1)),
        replace(BERLIN_ROW, increment_seconds=Seconds(1)),
        replace(BERLIN_ROW, regions=None),
        replace(BERLIN_ROW, regions=frozenset({Region("DE"), Region("AT")})),
        replace(BERLIN_ROW, regions=frozenset({Region("001")})),
        replace(BERLIN_ROW, name="Germany"),
    ],
)
async def test_a_deck_differs_in_any_column(
    provisioning: Provisioning, owner: Connection, other: DeckRow
) -> None:
    """The countries that it names, too: they decide whether a call is refused as ambiguous."""
    await put(provisioning, [BERLIN_ROW], YEAR_BEFORE)

    outcomes = [await put(provisioning, [other], NOON) for _ in range(2)]

    assert outcomes == [RateDeckOutcome.PUT, RateDeckOutcome.EXISTS]
    stored = await owner.fetchval(
        "SELECT r.regions FROM dialout.rate_at(1, '+4930', $1) AS r", NOON
    )
    assert stored == (sorted(other.regions) if other.regions else None)


async def test_the_time_zone_is_part_of_the_deck(provisioning: Provisioning) -> None:
    """The same hours are others elsewhere. Whoever says no zone means the one that it has."""
    outcomes = [
        await put(provisioning, [LONDON_ROW], YEAR_BEFORE, time_zone=LONDON_TIME),
        await put(provisioning, [LONDON_ROW], NOON),
        await put(provisioning, [LONDON_ROW], NOON, time_zone="Europe/Atlantis"),
        await put(provisioning, [BERLIN_ROW], NOON),
        await put(provisioning, [BERLIN_ROW], TOMORROW, time_zone="UTC"),
    ]

    assert outcomes == [
        RateDeckOutcome.PUT,
        RateDeckOutcome.EXISTS,
        RateDeckOutcome.UNKNOWN_TIME_ZONE,
        RateDeckOutcome.PUT,
        RateDeckOutcome.PUT,
    ]
    [found] = await provisioning.rates(1, NOON)
    assert (found.prefix, found.time_zone) == ("49", LONDON_TIME)


async def test_an_empty_deck_is_an_error(provisioning: Provisioning) -> None:
    """A file that was cut short must not take every price away."""
    with pytest.raises(asyncpg.InvalidParameterValueError, match="without rows"):
        await put(provisioning, [])


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([row(1, hours="08:00-18:00")], "without a price at other times"),
        ([row(1), row(2, "45", hours="08:00-18:00")], "without a price at other times"),
        ([row(1), row(2, hours="08:00-18:00"), row(3, days="mon")], "overlap"),
        ([row(1), row(2, days="sun", hours="22:00-06:00"), row(3, days="mon")], "overlap"),
    ],
)
async def test_hours_that_contradict_each_other_are_an_error(
    provisioning: Provisioning, rows: Sequence[DeckRow], fault: str
) -> None:
    """People are told by line, but no other way in may leave two prices for one minute."""
    with pytest.raises(asyncpg.InvalidParameterValueError, match=fault):
        await put(provisioning, rows)


async def test_nothing_is_left_of_a_draft(provisioning: Provisioning, owner: Connection) -> None:
    """Whether it was put or refused: the next deck of the transaction begins with its own rows."""
    async with provisioning.change(actor=ACTOR) as change:
        outcomes = [
            await change.rate_deck_put(name, currency, [each], NOON)
            for name, currency, each in (
                ("a", "EUR", LONDON_ROW),
                ("a", "EUR", LONDON_ROW),
                ("a", "USD", LONDON_ROW),
                ("b", "EUR", BERLIN_ROW),
            )
        ]

    assert outcomes == [
        RateDeckOutcome.PUT,
        RateDeckOutcome.EXISTS,
        RateDeckOutcome.EXISTS_WITH_DIFFERENT_CURRENCY,
        RateDeckOutcome.PUT,
    ]
    assert await owner.fetchval("SELECT count(*) FROM dialout.rate_draft") == 0
    assert [deck.rates for deck in await provisioning.rate_decks()] == [1, 1]


async def test_two_drafts_at_once_do_not_mix(provisioning: Provisioning) -> None:
    """Two people import two decks at the same time."""
    rows = [replace(LONDON_ROW, prefix=str(number)) for number in range(1000, 1000 + ROWS_A_DRAFT)]

    outcomes = await asyncio.gather(
        *(put(provisioning, [*rows, row(1, str(n))], name=f"deck {n}") for n in range(1, 6))
    )

    assert set(outcomes) == {RateDeckOutcome.PUT}
    assert {deck.rates for deck in await provisioning.rate_decks()} == {ROWS_A_DRAFT + 1}


# Versions.


async def test_a_version_ahead_changes_nothing_before_it(
    provisioning: Provisioning, priced: World, pool: Pool
) -> None:
    """It takes effect at its instant, to the microsecond, and nobody has to do anything then."""
    later = TOMORROW + timedelta(days=30)

    outcomes = [
        await put(provisioning, [row(3)], later, at=NOON),
        await put(provisioning, [row(2)], TOMORROW, at=NOON),
    ]

    assert outcomes == [RateDeckOutcome.SCHEDULED] * 2
    moment = timedelta(microseconds=1)
    found = await prices(pool, priced, NOON, TOMORROW - moment, TOMORROW, later - moment, later)
    assert found == [1, 1, 2, 2, 3]
    assert await prices(pool, priced, YEAR_BEFORE - moment) == [None]


async def test_decks_are_listed_with_what_lies_ahead(provisioning: Provisioning) -> None:
    """By the clock of whoever looks: what is in force, and what starts later, in order."""
    now = datetime.now(UTC)
    soon, later = now + timedelta(days=1), now + timedelta(days=2)
    await put(provisioning, [row(1), row(1, "45")], YEAR_BEFORE)
    await put(provisioning, [row(3)], later, at=now)
    await put(provisioning, [row(2)], soon, at=now)

    [deck] = await provisioning.rate_decks()

    assert (deck.rates, deck.rates_from) == (2, YEAR_BEFORE)
    ahead = [(datetime.fromisoformat(str(each["starts_at"])), each["rates"]) for each in deck.ahead]
    assert ahead == [(soon, 1), (later, 1)]


async def test_a_version_that_lies_ahead_may_be_corrected(
    provisioning: Provisioning, priced: World, pool: Pool
) -> None:
    """Nobody was charged by it yet; the same rows are a retry, also of an earlier start."""
    outcomes = [
        await put(provisioning, [each], starts_at, at=NOON)
        for each, starts_at in (
            (row(2), TOMORROW),
            (row(3), TOMORROW),
            (row(3), TOMORROW),
            (row(3), TOMORROW + MINUTE),
        )
    ]

    assert outcomes == [
        RateDeckOutcome.SCHEDULED,
        RateDeckOutcome.SCHEDULED,
        RateDeckOutcome.EXISTS,
        RateDeckOutcome.EXISTS,
    ]
    assert await prices(pool, priced, NOON, TOMORROW, TOMORROW + MINUTE) == [1, 3, 3]


async def test_what_was_in_force_never_changes(
    provisioning: Provisioning, priced: World, pool: Pool
) -> None:
    """Calls were priced by it. A deck that was never in force may begin in the past."""
    outcomes = [
        await put(provisioning, [row(2)], starts_at, at=NOON, name=name)
        for name, starts_at in (
            ("deck", YEAR_BEFORE - MINUTE),
            ("deck", YEAR_BEFORE),
            ("deck", YEAR_BEFORE + MINUTE),
            ("deck", NOON - MINUTE),
            ("deck", NOON),
            ("deck", NOON),
            ("new", YEAR_BEFORE),
        )
    ]
    again = await put(provisioning, [row(3)], NOON, at=NOON)

    assert outcomes == [
        *[RateDeckOutcome.STARTS_TOO_EARLY] * 4,
        RateDeckOutcome.PUT,
        RateDeckOutcome.EXISTS,
        RateDeckOutcome.PUT,
    ]
    assert again is RateDeckOutcome.STARTS_TOO_EARLY
    assert await prices(pool, priced, YEAR_BEFORE, NOON - MINUTE, NOON) == [1, 1, 2]


async def test_a_deck_takes_effect_without_a_gap(
    provisioning: Provisioning, priced: World, pool: Pool
) -> None:
    """Until it is whole, calls meet the one before; each of them meets one of the two."""
    async with provisioning.change(actor=ACTOR) as change:
        await change.rate_deck_put("deck", "EUR", [row(2)], NOON)
        meanwhile = await prices(pool, priced, NOON)
    after = await prices(pool, priced, NOON)

    assert (meanwhile, after) == ([1], [2])


async def test_prices_are_listed_page_by_page(provisioning: Provisioning) -> None:
    """A deck of any size can be looked into: of an instant, or of some prefixes, in order."""
    rows = [row(1, prefix) for prefix in ("44", "4420", "447", "45", "1")]
    await put(provisioning, [*rows, row(9, "44", days="sat,sun")], YEAR_BEFORE)
    await put(provisioning, [row(2)], TOMORROW, at=NOON)

    pages = []
    after = None
    while page := await provisioning.rates(1, NOON, after=after, limit=2):
        pages.append([(each.prefix, each.slot) for each in page])
        after = DeckRateKey(prefix=page[-1].prefix, slot=page[-1].slot)

    assert pages == [[("1", 0), ("44", 0)], [("44", 1), ("4420", 0)], [("447", 0), ("45", 0)]]
    british = await provisioning.rates(1, NOON, prefix="44")
    assert [each.prefix for each in british] == ["44", "44", "4420", "447"]
    assert str(british[1].hours) == "sat-sun 00:00-24:00"
    assert {(each.starts_at, each.ends_at) for each in british} == {(YEAR_BEFORE, TOMORROW)}
    [later] = await provisioning.rates(1, TOMORROW)
    assert (later.price_micros, later.ends_at) == (2, None)
    assert await provisioning.rates(1, YEAR_BEFORE - MINUTE) == ()


# Hours of the week. 2026-03-29 is the day on which clocks in London are put forward, from 01:00
# to 02:00, and 2026-10-25 the one on which they are put back, from 02:00 to 01:00.

NIGHT = [
    row(1),
    row(2, days="sat,sun", hours="22:00-06:00"),
    row(3, days="mon-fri", hours="08:00-18:00"),
]


@pytest.mark.parametrize(
    ("at", "price"),
    [
        ("2026-03-10T07:59:59.999999", 1),
        ("2026-03-10T08:00:00", 3),
        ("2026-03-10T17:59:59", 3),
        ("2026-03-10T18:00:00", 1),
        ("2026-03-14T21:59:59", 1),
        ("2026-03-14T22:00:00", 2),
        ("2026-03-15T05:59:59", 2),
        ("2026-03-15T06:00:00", 1),
        # What begins on Sunday goes on on Monday, the first day of the week.
        ("2026-03-16T05:59:59", 2),
        ("2026-03-16T06:00:00", 1),
        # By summer time.
        ("2026-06-09T06:59:59", 1),
        ("2026-06-09T07:00:00", 3),
        ("2026-03-29T04:59:59", 2),
        ("2026-03-29T05:00:00", 1),
        ("2026-10-25T05:59:59", 2),
        ("2026-10-25T06:00:00", 1),
    ],
)
async def test_hours_are_those_of_the_clock_of_the_deck(
    provisioning: Provisioning, priced: World, pool: Pool, at: str, price: int
) -> None:
    """Within them their price holds, and that of any time without; instants are of UTC."""
    await put(provisioning, NIGHT, YEAR_BEFORE, name="night", time_zone=LONDON_TIME)
    await priced.update(rate_deck="night")

    assert await prices(pool, priced, datetime.fromisoformat(at).replace(tzinfo=UTC)) == [price]


async def test_a_longer_prefix_is_before_hours(
    provisioning: Provisioning, priced: World, pool: Pool
) -> None:
    """Hours override the price of their own prefix, and not that of a part of it."""
    rows = [row(1), row(2, days="mon-sun", hours="00:00-23:59"), row(3, "4420")]
    await put(provisioning, rows, NOON)

    assert await prices(pool, priced, NOON) == [3]


# What a call meets that goes on.


async def test_a_call_meets_each_change_at_its_instant(
    provisioning: Provisioning, priced: World, owner: Connection
) -> None:
    """Hours, a version with other hours, and the end of prices; what lies outside is left out."""
    hours = [row(1), row(5, hours="12:02-12:04")]
    await put(provisioning, hours, NOON - MINUTE)
    await put(provisioning, [row(1), row(6, hours="12:00-12:08")], NOON + 6 * MINUTE, at=NOON)
    await put(provisioning, [row(7, "49")], NOON + 10 * MINUTE, at=NOON)

    found = await changes(owner, 1, NOON, NOON + timedelta(hours=1))

    assert found == [
        (NOON + minutes * MINUTE, price)
        for minutes, price in ((2, 5), (4, 1), (6, 6), (8, 1), (10, None))
    ]
    assert await changes(owner, 1, NOON, NOON + 2 * MINUTE) == []
    assert await changes(owner, 5, NOON + 2 * MINUTE, NOON + 4 * MINUTE) == []
    assert await changes(owner, 5, NOON + 3 * MINUTE, NOON + 5 * MINUTE) == found[1:2]


async def test_a_deck_that_does_not_change_changes_nothing(
    provisioning: Provisioning, priced: World, owner: Connection
) -> None:
    """The same price in a new version is no change, and a deck without rows is no error."""
    await put(provisioning, [row(1), row(2, "49")], NOON + MINUTE, at=NOON)
    await owner.execute("INSERT INTO dialout.rate_deck (name, currency) VALUES ('none', 'EUR')")

    assert await changes(owner, 1, NOON, TOMORROW) == []
    assert await changes(owner, 1, NOON, TOMORROW, name="none") == []
    assert await changes(owner, 1, NOON, TOMORROW, name="no such deck") == []


async def test_hours_that_end_with_the_week_end(
    provisioning: Provisioning, priced: World, owner: Connection
) -> None:
    """After the last minute of Sunday comes the first of Monday, which is in no such hours."""
    sunday = datetime(2026, 3, 15, 21, tzinfo=UTC)
    await put(provisioning, [row(1), row(2, days="sun", hours="22:00-24:00")], NOON)

    found = await changes(owner, 1, sunday, sunday + timedelta(hours=12))

    assert found == [(sunday + timedelta(hours=1), 2), (sunday + timedelta(hours=3), 1)]


@pytest.mark.parametrize(
    ("later", "region", "price"),
    [
        (row(2, "4420"), "GB", 2),
        (row(2, "4"), "GB", None),
        (replace(row(2, "4"), regions=frozenset({Region("GB")})), "GB", 2),
        (replace(row(2), regions=frozenset({Region("GB"), Region("JE")})), "JE", 2),
        (replace(row(2, "4420"), regions=frozenset({Region("JE")})), "GB", None),
    ],
)
async def test_a_call_never_meets_the_price_of_another_country(
    provisioning: Provisioning,
    priced: World,
    owner: Connection,
    later: DeckRow,
    region: str,
    price: int | None,
) -> None:
    """A new version may price the number by a row that a call would not be decided on."""
    await put(provisioning, [later], NOON + MINUTE, at=NOON)

    found = await changes(owner, 1, NOON, TOMORROW, region=region)

    assert found == [(NOON + MINUTE, price)]


@pytest.mark.parametrize(
    ("time_zone", "since"),
    [
        (LONDON_TIME, datetime(2026, 3, 28, 22, tzinfo=UTC)),
        (LONDON_TIME, datetime(2026, 10, 24, 21, 7, 13, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 3, 8, 4, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 9, tzinfo=UTC)),
        ("Asia/Kathmandu", datetime(2026, 3, 14, 12, tzinfo=UTC)),
        ("Pacific/Apia", datetime(2011, 12, 29, 20, tzinfo=UTC)),
        ("UTC", datetime(2026, 3, 15, 12, tzinfo=UTC)),
    ],
)
async def test_the_changes_are_those_that_each_second_would_show(
    provisioning: Provisioning, owner: Connection, time_zone: str, since: datetime
) -> None:
    """Across clock changes, weeks' ends and a day that never was: decided each minute anew.

    Windows end within the hour that a clock leaves out or shows twice. Beside whole minutes,
    the second before each of them is decided anew, too, so that no change is a second early.
    """
    rows = [
        row(1),
        row(2, days="sat,sun", hours="22:00-01:30"),
        row(3, days="sat,sun", hours="01:30-02:15"),
        row(4, days="mon,sun", hours="02:15-03:00"),
        row(5, days="fri,sat", hours="18:00-19:45"),
    ]
    await put(provisioning, rows, since - timedelta(days=1), name="hours", time_zone=time_zone)
    until = since + timedelta(hours=24)
    decided = await owner.fetch(
        """
        SELECT s.at, r.price_micros AS price
        FROM
            generate_series($1::timestamptz, $2, interval '1 minute') AS m (minute),
            LATERAL (
                VALUES
                    (greatest($1, date_trunc('minute', m.minute, 'UTC'))),
                    (greatest($1, date_trunc('minute', m.minute, 'UTC') - interval '1 second'))
            ) AS s (at),
            dialout.rate_deck AS d,
            LATERAL dialout.rate_at(d.deck_id, '+442079460123', s.at) AS r
        WHERE d.name = 'hours'
        ORDER BY s.at
        """,
        since,
        until - timedelta(microseconds=1),
    )
    first, *rest = decided
    expected, before = [], first["price"]
    for each in rest:
        if each["price"] != before:
            expected.append((each["at"], each["price"]))
        before = each["price"]

    assert await changes(owner, first["price"], since, until, name="hours") == expected
    assert len(expected) > 1


@pytest.mark.parametrize("seconds", [1, 119, 120, 121, 239, 240, 241, 600])
async def test_a_call_is_charged_what_its_decision_would_say(
    provisioning: Provisioning, priced: World, pool: Pool, seconds: int
) -> None:
    """Second by second: each costs what a call would cost that was decided when it begins.

    At the edge of a window and at the start of a version, where facts and charges are found
    by two different ways.
    """
    await put(provisioning, [row(60), row(600, hours="12:02-13:00")], NOON - MINUTE)
    await put(provisioning, [row(6000)], NOON + 4 * MINUTE, at=NOON)
    await priced.add_credits(1_000_000)
    facts = await priced.ledger.destination_facts(priced.tenant_id, LONDON, NOON)
    assert facts.rate is not None
    _, dial_out = await priced.reserve(
        sources=CREDITS, rate=facts.rate, gate_uniqueid="ast-1.1", at=NOON
    )

    _, ended = await priced.settle(dial_out.request.key, seconds * 1000)

    by_minute = await prices(pool, priced, *(NOON + minute * MINUTE for minute in range(10)))
    assert ended is not None
    assert ended.cost_micros == sum((by_minute[s // 60] or 0) // 60 for s in range(seconds))
