"""A gateway killed at random instants under load; ``python -m bench crash`` does it 200 times."""

import random
import sys

import pytest

from bench import crash
from tests.calls.conftest import LAB

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

KILLS = 5
CALLS_A_SECOND = 6


async def test_a_gateway_that_is_killed_again_and_again_loses_and_invents_no_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every call is billed by the carrier's own record, dialled once, and closed in the end.

    The instants follow from the seed that is printed, as far as a real machine repeats itself.
    """
    # Ten seconds are promised of a quiet machine. Here nothing may stay open for good.
    monkeypatch.setattr(crash, "OPEN_SECONDS_MAX", crash.SETTLE_SECONDS_MAX)
    seed = random.randrange(2**32)

    outcome = await crash.measure(LAB, kills=KILLS, rate=CALLS_A_SECOND, gateways=1, seed=seed)

    sys.stdout.write(f"{outcome.figures()}\n")
    assert outcome.faults == ()
