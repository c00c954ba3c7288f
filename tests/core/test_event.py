"""How patient the telling is: soon at first, then rarely, and never all at once."""

import pytest

from gateway.core.event import RETRY_SECONDS_MAX, RETRY_SECONDS_MIN, retry_seconds


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(1, 5), (2, 10), (3, 20), (10, 2560), (13, 20_480), (14, 21_600)]
)
def test_each_wait_is_twice_the_one_before(attempt: int, seconds: int) -> None:
    """A receiver that restarts is found soon; one that is gone is not hammered."""
    assert retry_seconds(attempt, 0.0) == seconds


@pytest.mark.parametrize("attempt", [15, 1000, 2**31 - 1])
def test_no_number_of_attempts_is_too_large(attempt: int) -> None:
    """Years of failures still mean one attempt in six hours, and no overflow."""
    assert retry_seconds(attempt, 0.0) == RETRY_SECONDS_MAX


def test_the_spread_takes_away_half_at_most() -> None:
    """A thousand events that failed together come back over half the wait."""
    assert retry_seconds(1, 1.0) == RETRY_SECONDS_MIN / 2
    assert retry_seconds(1, 0.5) == RETRY_SECONDS_MIN * 3 / 4
