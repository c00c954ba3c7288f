"""Thousands of random histories: whatever happens, the ledger says what a clerk would say.

``LEDGER_HISTORIES`` is how many are played (2000), ``LEDGER_STEPS`` how long each is (50), and
``LEDGER_SEED`` which ones (1). A failure prints the shortest history that shows it; the same
numbers find it again. ``LEDGER_SHRINK=no`` prints the one that was found, at once.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from gateway import db
from gateway.ledger.provisioning import Provisioning
from tests.ledger.stateful import worker
from tests.ledger.stateful.history import put_decks

HISTORIES = int(os.environ.get("LEDGER_HISTORIES", "2000"))
STEPS = int(os.environ.get("LEDGER_STEPS", "50"))
SEED = int(os.environ.get("LEDGER_SEED", "1"))
SHRINK = os.environ.get("LEDGER_SHRINK", "yes") == "yes"
PROCESSES = 4
"""More than there are cores: each waits for its server half of the time."""


@pytest.mark.timeout(1200)
async def test_the_ledger_says_what_the_books_say(
    dsn: str, owner: db.Connection, provisioning: Provisioning
) -> None:
    """Every answer and every total agree after each step, and every history proves sound.

    Concurrent calls, retries, stale slices, late bills, months, clocks and prices that change
    within a call: each has its own tests, but nobody has thought of all that can follow on
    what. The books do not know how the ledger works, only what it owes.
    """
    await put_decks(provisioning)
    # Whether a commit is on the disk before it is answered is PostgreSQL's to prove.
    database = await owner.fetchval("SELECT current_database()")
    await owner.execute(f"ALTER DATABASE {database} SET synchronous_commit TO off")
    count = -(-HISTORIES // PROCESSES)
    with ProcessPoolExecutor(
        PROCESSES, mp_context=get_context("spawn"), initializer=worker.end_with_parent
    ) as processes:
        playing = [
            processes.submit(worker.play, dsn, SEED * 1000 + each, count, STEPS, shrink=SHRINK)
            for each in range(PROCESSES)
        ]
        verdicts = [each.result() for each in playing]

    assert [verdict.failure for verdict in verdicts if verdict.failure] == []
    assert sum(verdict.played for verdict in verdicts) >= HISTORIES
