"""What a call costs, and its inverse: how long a sum lasts."""

import re
from pathlib import Path

import pytest

from gateway.db import Connection

MANUAL = Path(__file__).parents[2] / "docs" / "rating.md"
CHARGE = """
    SELECT dialout.charge_micros($1, ROW(1, '44', 'EUR', $2, $3, $4, $5)::dialout.rate_terms)
"""
PARTS = """
    SELECT dialout.cost_parts(
        $1, ARRAY(
            SELECT ROW(1, '44', 'EUR', t.price, t.fee, t.initial, t.increment)::dialout.rate_terms
            FROM unnest($2::bigint[], $3::bigint[], $4::integer[], $5::integer[])
                WITH ORDINALITY AS t (price, fee, initial, increment, place)
            ORDER BY t.place
        )
    )
"""

# 12,000 micros a minute, which is 200 a second, and 5,000 for the connection. By hand: how many
# seconds the increments make of those that were talked, times 200, and 5,000.
INCREMENTS = ((60, 60), (60, 1), (1, 1), (30, 6))
BY_HAND = (
    # seconds, 60/60, 60/1, 1/1, 30/6
    (0, 0, 0, 0, 0),
    (1, 17_000, 17_000, 5_200, 11_000),
    (29, 17_000, 17_000, 10_800, 11_000),
    (30, 17_000, 17_000, 11_000, 11_000),
    (31, 17_000, 17_000, 11_200, 12_200),
    (36, 17_000, 17_000, 12_200, 12_200),
    (37, 17_000, 17_000, 12_400, 13_400),
    (59, 17_000, 17_000, 16_800, 17_000),
    (60, 17_000, 17_000, 17_000, 17_000),
    (61, 29_000, 17_200, 17_200, 18_200),
    (119, 29_000, 28_800, 28_800, 29_000),
    (120, 29_000, 29_000, 29_000, 29_000),
    (121, 41_000, 29_200, 29_200, 30_200),
)

EXAMPLES = (
    # seconds, price of a minute, connect fee, initial increment, increment: micros
    ((1, 12_000, 0, 60, 60), 12_000),
    ((61, 12_000, 0, 60, 60), 24_000),
    ((1, 12_000, 0, 30, 6), 6_000),
    ((1, 100, 0, 1, 1), 2),
    ((2, 100, 0, 1, 1), 4),
    ((3, 100, 0, 1, 1), 5),
    ((7, 0, 5_000, 60, 60), 5_000),
    ((0, 0, 5_000, 60, 60), 0),
)


async def test_each_pair_of_increments_charges_what_was_reckoned_by_hand(
    owner: Connection,
) -> None:
    """On each boundary and a second beyond it, as a carrier reckons: 60/60, 60/1, 1/1, 30/6."""
    charged = [
        (
            seconds,
            *[
                await owner.fetchval(CHARGE, seconds, 12_000, 5_000, initial, increment)
                for initial, increment in INCREMENTS
            ],
        )
        for seconds, *_ in BY_HAND
    ]

    assert charged == list(BY_HAND)


def test_the_manual_has_the_same_examples() -> None:
    """Whoever reckons along with docs/rating.md comes to what is charged."""
    rows = re.findall(r"^\| *([0-9]+) \|(.+)\|$", MANUAL.read_text(encoding="utf-8"), re.MULTILINE)

    shown = [
        (int(seconds), *(int(cell.replace(",", "")) for cell in cells.split("|")))
        for seconds, cells in rows
    ]

    assert shown == list(BY_HAND)


async def test_started_increments_are_charged_and_rounded_up_once(owner: Connection) -> None:
    """Rounding at any other place would differ: a second at 100 a minute is 1.67 micros."""
    charged = [(terms, await owner.fetchval(CHARGE, *terms)) for terms, _ in EXAMPLES]

    assert charged == list(EXAMPLES)


@pytest.mark.parametrize(
    ("seconds", "price", "fee", "initial", "increment", "micros"),
    [
        # Two minutes at 12,000, then a second of a minute at 24,000, which is charged whole.
        ([120, 1], [12_000, 24_000], [5_000, 9_000], [60, 60], [60, 60], [29_000, 24_000]),
        # The connect fee is that of the first second, and so is the initial increment.
        ([1, 30], [12_000, 6_000], [5_000, 0], [30, 1], [6, 1], [5_200, 3_000]),
        ([1, 10], [12_000, 6_000], [5_000, 0], [30, 1], [6, 1], [5_200, 2_900]),
        # Two thirds of a micro and a third of one are one, not two.
        ([1, 1], [40, 20], [0, 0], [1, 1], [1, 1], [1, 0]),
        # What was not talked costs nothing, not even its connect fee.
        ([0, 60], [12_000, 6_000], [5_000, 0], [60, 1], [60, 1], [0, 6_000]),
        ([60, 0], [12_000, 6_000], [5_000, 9_000], [60, 1], [60, 1], [17_000, 0]),
        ([0, 0], [12_000, 6_000], [5_000, 0], [60, 1], [60, 1], [0, 0]),
    ],
)
async def test_a_price_that_changes_is_charged_for_its_own_seconds(
    owner: Connection,
    seconds: list[int],
    price: list[int],
    fee: list[int],
    initial: list[int],
    increment: list[int],
    micros: list[int],
) -> None:
    """One connection, one rounding, and the seconds of each price: reckoned by hand."""
    assert await owner.fetchval(PARTS, seconds, price, fee, initial, increment) == micros


async def test_a_source_without_a_rate_charges_nothing(owner: Connection) -> None:
    """Minutes of a pool are never money."""
    charge = "SELECT dialout.charge_micros(600, null)"

    assert await owner.fetchval(charge) == 0


async def test_the_inverse_is_exact(owner: Connection) -> None:
    """What a sum pays costs no more than it, and a second more would: nothing is wasted.

    Over a grid of rates and sums, because an error of one micro or one second would let a
    tenant overdraw, or refuse what it has paid for.
    """
    wrong = await owner.fetch(
        """
        SELECT m, terms, paid
        FROM
            unnest(ARRAY[0, 1, 59, 100, 7777, 12000, 333333]) AS price,
            unnest(ARRAY[0, 1, 5000]) AS fee,
            unnest(ARRAY[1, 6, 30, 60]) AS initial,
            unnest(ARRAY[1, 6, 7, 60]) AS increment,
            unnest(ARRAY[0, 1, 2, 99, 4999, 5000, 11999, 12000, 12001, 17000, 250003]) AS m,
            LATERAL (
                SELECT ROW(1, '44', 'EUR', price, fee, initial, increment)::dialout.rate_terms
            ) AS t (terms),
            LATERAL (SELECT dialout.seconds_payable(m, 900, terms, '{}', '{}')) AS p (paid)
        WHERE
            (
                paid BETWEEN 0 AND 900
                AND dialout.charge_micros(paid, terms) <= m
                AND (paid = 900 OR dialout.charge_micros(paid + 1, terms) > m)
            ) IS NOT TRUE
        """
    )

    assert wrong == []
