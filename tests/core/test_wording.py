"""Money and time as people read them."""

import pytest

from gateway.core.rating import Micros, Seconds
from gateway.core.wording import clock, money


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "0.00 USD"),
        (21_000, "0.021 USD"),
        (1, "0.000001 USD"),
        (250_000, "0.25 USD"),
        (1_500_000, "1.50 USD"),
        (1_234_567_000_000, "1234567.00 USD"),
    ],
)
def test_money_is_exact(micros: int, text: str) -> None:
    """A price a minute may be a fraction of a cent; rounded, it would be another price."""
    assert money(Micros(micros), "USD") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (7, "0:07"), (760, "12:40"), (3599, "59:59"), (3600, "1:00:00")],
)
def test_time_is_read_as_on_a_telephone(seconds: int, text: str) -> None:
    """Hours only where there are any."""
    assert clock(Seconds(seconds)) == text
