"""What a call costs, and its inverse: how long a sum lasts."""

from gateway.db import Connection

CHARGE = """
    SELECT dialout.charge_micros($1, ROW(1, '44', 'EUR', $2, $3, $4, $5)::dialout.rate_terms)
"""


EXAMPLES = (
    # seconds, price of a minute, connect fee, initial increment, increment: micros
    ((1, 12_000, 0, 60, 60), 12_000),
    ((60, 12_000, 0, 60, 60), 12_000),
    ((61, 12_000, 0, 60, 60), 24_000),
    ((1, 12_000, 5_000, 60, 60), 17_000),
    ((60, 12_000, 0, 60, 1), 12_000),
    ((61, 12_000, 0, 60, 1), 12_200),
    ((119, 12_000, 0, 60, 1), 23_800),
    ((1, 12_000, 0, 1, 1), 200),
    ((59, 12_000, 0, 1, 1), 11_800),
    ((1, 12_000, 0, 30, 6), 6_000),
    ((30, 12_000, 0, 30, 6), 6_000),
    ((31, 12_000, 0, 30, 6), 7_200),
    ((37, 12_000, 0, 30, 6), 8_400),
    ((1, 100, 0, 1, 1), 2),
    ((2, 100, 0, 1, 1), 4),
    ((3, 100, 0, 1, 1), 5),
    ((0, 12_000, 5_000, 60, 60), 0),
    ((7, 0, 5_000, 60, 60), 5_000),
)


async def test_started_increments_are_charged_and_rounded_up_once(owner: Connection) -> None:
    """Worked examples, as a carrier reckons them: rounding at any other place would differ."""
    charged = [(terms, await owner.fetchval(CHARGE, *terms)) for terms, _ in EXAMPLES]

    assert charged == list(EXAMPLES)


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
            LATERAL (SELECT dialout.seconds_paid(m, 900, terms)) AS p (paid)
        WHERE
            (
                paid BETWEEN 0 AND 900
                AND dialout.charge_micros(paid, terms) <= m
                AND (paid = 900 OR dialout.charge_micros(paid + 1, terms) > m)
            ) IS NOT TRUE
        """
    )

    assert wrong == []
