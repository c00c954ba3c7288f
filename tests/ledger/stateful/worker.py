"""Plays histories in a process of its own, so that several use all of a machine."""

import asyncio
import os
from dataclasses import dataclass
from multiprocessing import parent_process
from threading import Thread

import uvloop
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Flaky

from gateway import db
from tests.ledger.conftest import settings as database_settings
from tests.ledger.stateful.history import History, Stage, Unlike, histories, stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How many histories were played, and the shortest one that failed, in words."""

    played: int
    failure: str | None


def end_with_parent() -> None:
    """Have this process end when the one that started it does, also when that is killed."""
    Thread(target=_watch_parent, daemon=True).start()


def _watch_parent() -> None:
    parent = parent_process()
    assert parent is not None, "a worker was started by another process"
    parent.join()
    os._exit(1)


def play(dsn: str, number: int, count: int, length: int, *, shrink: bool) -> Verdict:
    """Play ``count`` histories of ``length`` steps, those of seed ``number``, until one fails."""
    played = 0
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        pool, opened = runner.run(_open(dsn))

        @seed(number)
        @settings(
            max_examples=count,
            phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
            suppress_health_check=list(HealthCheck),
            database=None,
            report_multiple_bugs=False,
            deadline=None,
        )
        @given(histories(length))
        def play_each(history: History) -> None:
            nonlocal played
            played += 1
            runner.run(opened.play(history))

        try:
            play_each()
        except (Unlike, Flaky) as difference:
            # What two at once have done may not come about again; it was wrong all the same.
            return Verdict(played=played, failure=str(difference))
        finally:
            runner.run(pool.close())
    return Verdict(played=played, failure=None)


async def _open(dsn: str) -> tuple[db.Pool, Stage]:
    pool = await db.pool(database_settings(dsn))
    return pool, await stage(pool)
