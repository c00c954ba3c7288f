"""What a part of the gateway has in hand: tasks of its own, each of which may fail alone."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from gateway.ledger import LedgerUnavailable

log = structlog.get_logger()


class Steps:
    """Tasks that are counted while they run, and let finish when the gateway stops.

    A fault in one is that one's alone; it is logged as the event ``fault``. What such a step has
    left undone is found by the reconciliation, from the ledger's open rows.
    """

    def __init__(self, *, fault: str) -> None:
        self._fault = fault
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, step: Coroutine[Any, Any, None]) -> None:
        """Begin a step."""
        task = asyncio.create_task(self._contained(step))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self, seconds: float) -> None:
        """Let the steps in hand finish; after ``seconds`` they are given up."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        await self.give_up()

    async def give_up(self) -> None:
        """End the steps in hand now."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _contained(self, step: Coroutine[Any, Any, None]) -> None:
        try:
            await step
        except LedgerUnavailable as error:
            log.error("ledger.unavailable", error=str(error))
        except Exception:
            log.exception(self._fault)
