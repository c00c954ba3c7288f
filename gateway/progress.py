"""Tells whoever waits for a dial-out how far it has come, as soon as Asterisk says so.

What has happened is never queued for anybody: a dial-out has at most seven steps, and each
watcher knows the last one that it was given. So a slow one costs no memory, one that comes
late or comes back misses nothing, and a call that another gateway follows is told of, too,
from its row in the ledger.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator
from datetime import datetime

from gateway.core.dial_out import DialOut
from gateway.core.key import DialOutKey
from gateway.core.progress import Stage, Step, reached, steps
from gateway.ledger import Ledger, LedgerUnavailable

WATCHERS_MAX = 500
"""How many may wait at once. Each asks the ledger now and then, and calls need it more."""

LOOK_SECONDS = 1.5
"""How often the ledger is asked for a call that another gateway may follow."""

LOOK_OWN_SECONDS = 15.0
"""The same for a call of our own, whose steps are told: for one that was told of before."""

QUIET_SECONDS = 15.0
"""After how much silence a watcher hears that somebody is still there."""


class Progress:
    """What is known of the calls in hand, and who waits for more of it."""

    def __init__(self, *, ledger: Ledger) -> None:
        self._ledger = ledger
        self._told: dict[DialOutKey, dict[Stage, Step]] = {}
        self._news: defaultdict[DialOutKey, set[asyncio.Event]] = defaultdict(set)
        self._places = WATCHERS_MAX
        self._is_closed = False

    # What those tell who follow the calls. None of it waits.

    def tell(self, key: DialOutKey, stage: Stage, at: datetime) -> None:
        """Note that a call in hand has reached a stage before the last; the first time stands."""
        self._told.setdefault(key, {}).setdefault(stage, reached(stage, at))
        self._wake(key)

    def forget(self, key: DialOutKey) -> None:
        """Note that a call is in hand no more: whatever follows, its row in the ledger says."""
        self._told.pop(key, None)
        self._wake(key)

    def close(self) -> None:
        """Send every watcher away; whoever comes back to another gateway misses nothing."""
        self._is_closed = True
        for key in list(self._news):
            self._wake(key)

    # What watchers ask for.

    @contextlib.contextmanager
    def place(self) -> Iterator[bool]:
        """Lend a watcher's place; yields False if there is none."""
        if self._places == 0:
            yield False
            return
        self._places -= 1
        try:
            yield True
        finally:
            self._places += 1

    async def follow(
        self, dial_out: DialOut, *, after: int = 0
    ) -> AsyncGenerator[Step | None, None]:
        """Yield each step of a dial-out after the stage of this number, until the last.

        None stands for nothing new in a while. Also ends when the gateway is being let down.
        While the ledger is away, what this gateway sees itself is still told.
        """
        key = dial_out.request.key
        with self._watch(key) as news:
            quiet_at = _time() + QUIET_SECONDS
            while True:
                for step in self._after(after, dial_out):
                    yield step
                    after, quiet_at = step.stage.number, _time() + QUIET_SECONDS
                    if step.stage.is_last:
                        return
                if self._is_closed:
                    return
                if _time() >= quiet_at:
                    yield None
                    quiet_at = _time() + QUIET_SECONDS
                look_seconds = LOOK_OWN_SECONDS if key in self._told else LOOK_SECONDS
                is_told = await self._hear(news, look_seconds)
                if not (is_told and key in self._told and self._after(after, dial_out)):
                    dial_out = await self._look(dial_out)

    async def until_ended(self, dial_out: DialOut, seconds: float) -> bool:
        """Return whether a dial-out ends within so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), contextlib.aclosing(self.follow(dial_out)) as way:
                async for step in way:
                    if step is not None and step.stage.is_last:
                        return True
        return False

    def _after(self, number: int, dial_out: DialOut) -> list[Step]:
        """Return what is known to have come after the stage of this number, in order."""
        known = {step.stage: step for step in steps(dial_out)}
        known |= self._told.get(dial_out.request.key, {})
        fresh = (step for step in known.values() if step.stage.number > number)
        return sorted(fresh, key=lambda step: step.stage.number)

    async def _hear(self, news: asyncio.Event, seconds: float) -> bool:
        """Return True as soon as there is news, or False after so many seconds without."""
        try:
            async with asyncio.timeout(seconds):
                await news.wait()
        except TimeoutError:
            return False
        news.clear()
        return True

    async def _look(self, dial_out: DialOut) -> DialOut:
        """Return the row as it is now; as it was, if the ledger does not say."""
        try:
            return await self._ledger.dial_out(dial_out.request.key) or dial_out
        except LedgerUnavailable:
            return dial_out

    @contextlib.contextmanager
    def _watch(self, key: DialOutKey) -> Iterator[asyncio.Event]:
        news = asyncio.Event()
        self._news[key].add(news)
        try:
            yield news
        finally:
            self._news[key].discard(news)
            if not self._news[key]:
                del self._news[key]

    def _wake(self, key: DialOutKey) -> None:
        for news in self._news.get(key, ()):
            news.set()


def _time() -> float:
    return asyncio.get_running_loop().time()
