"""What others must hear of, as a closed list; and how patient the telling is.

An event is written in the transaction of what it tells, by the functions of the ledger.
"""

from enum import StrEnum
from typing import Final

RETRY_SECONDS_MIN: Final = 5.0
RETRY_SECONDS_MAX: Final = 6 * 3600.0

_DOUBLINGS_MAX: Final = 13  # 5 s doubled so often is more than the most


class EventKind(StrEnum):
    """What has happened. What it is about, a source or a recharge, has each kind once.

    Pools and fair use are told of when calls have been settled, and when a call is refused for
    want of them; credits likewise. docs/notices.md says what each one carries.
    """

    POOL_USED_80 = "pool.used_80"
    POOL_USED_100 = "pool.used_100"
    ADDON_FAIR_USE_80 = "addon.fair_use_80"
    ADDON_FAIR_USE_100 = "addon.fair_use_100"
    CREDITS_ZERO = "credits.zero"
    CREDITS_EXPIRING = "credits.expiring"
    CREDITS_RECHARGE_DUE = "credits.recharge_due"
    CREDITS_RECHARGED = "credits.recharged"
    CREDITS_RECHARGE_FAILED = "credits.recharge_failed"


def retry_seconds(attempt: int, spread: float) -> float:
    """Return how long to wait after a failed attempt, the first of which is number 1.

    Each wait is twice the one before it, up to six hours. ``spread``, from 0 to 1, takes away up
    to half of it: events that failed together do not come back together.
    """
    assert attempt >= 1, "attempts are counted from one"
    assert 0 <= spread <= 1, "a part of the wait"
    doublings = min(attempt - 1, _DOUBLINGS_MAX)
    longest = min(RETRY_SECONDS_MAX, RETRY_SECONDS_MIN * float(2**doublings))
    return longest * (1 - spread / 2)
