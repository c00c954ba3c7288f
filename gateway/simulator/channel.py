"""A channel: what Asterisk tells of it, and how the dialplan on it waits and is interrupted."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any

from gateway.simulator.clock import Clock

CAUSE_NORMAL_CLEARING = 16

_UNKNOWN = "<unknown>"


class State(StrEnum):
    """The state of a channel, in Asterisk's word."""

    DOWN = "Down"
    RING = "Ring"
    RINGING = "Ringing"
    UP = "Up"


_NUMBERS = {State.DOWN: 0, State.RING: 4, State.RINGING: 5, State.UP: 6}


class Interrupted(Exception):
    """What a channel did is over; its dialplan goes on elsewhere, or not at all."""


class HungUp(Interrupted):
    """The channel is being hung up."""


class Redirected(Interrupted):
    """The channel was sent on, to its new context and extension."""


class TimedOut(Interrupted):
    """The absolute timeout of the channel has passed."""


class Channel:
    """One channel. Its dialplan is a task that `rest`s; what happens meanwhile wakes it.

    ``visit`` lives in the dialplan's frame, where nobody from outside can write.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        name: str,
        uniqueid: str,
        linkedid: str,
        context: str,
        extension: str,
        state: State,
        variables: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self.uniqueid = uniqueid
        self.linkedid = linkedid
        self.context = context
        self.extension = extension
        self.priority = 1
        self.application = ""
        self.data = ""
        self.state = state
        self.variables = dict(variables or {})
        self.caller = _UNKNOWN
        self.connected = _UNKNOWN
        self.cause = 0
        self.visit = ""
        self.dials = False
        """Whether it is one that asks whether it may dial the trunk."""
        self.is_admin = False
        """Whether it is the organizer of the conference that it is in."""
        self.other: Channel | None = None
        """The other half, if this is one half of a Local channel."""
        self.task: asyncio.Task[None] | None = None
        self._clock = clock
        self._born_at_ms = clock.now_ms()
        self._ends_at_ms: int | None = None
        self._limiter: asyncio.TimerHandle | None = None
        self._news: deque[object] = deque()
        self._interruption: Interrupted | None = None
        self._waiter: asyncio.Future[None] | None = None

    def headers(self, prefix: str = "") -> str:
        """Return the lines by which events describe a channel."""
        return (
            f"{prefix}Channel: {self.name}\r\n"
            f"{prefix}ChannelState: {_NUMBERS[self.state]}\r\n"
            f"{prefix}ChannelStateDesc: {self.state}\r\n"
            f"{prefix}CallerIDNum: {self.caller}\r\n"
            f"{prefix}CallerIDName: {_UNKNOWN}\r\n"
            f"{prefix}ConnectedLineNum: {self.connected}\r\n"
            f"{prefix}ConnectedLineName: {_UNKNOWN}\r\n"
            f"{prefix}Language: en\r\n"
            f"{prefix}AccountCode: \r\n"
            f"{prefix}Context: {self.context}\r\n"
            f"{prefix}Exten: {self.extension}\r\n"
            f"{prefix}Priority: {self.priority}\r\n"
            f"{prefix}Uniqueid: {self.uniqueid}\r\n"
            f"{prefix}Linkedid: {self.linkedid}\r\n"
        )

    @property
    def age_seconds(self) -> int:
        """How long it has existed."""
        return (self._clock.now_ms() - self._born_at_ms) // 1000

    def at(self, context: str, extension: str, priority: int = 1) -> None:
        """Note where in the dialplan it is."""
        self.context, self.extension, self.priority = context, extension, priority

    def runs(self, application: str, data: str = "") -> None:
        """Note which application it runs."""
        self.application, self.data = application, data

    # What its dialplan does.

    def begin(self, dialplan: Coroutine[Any, Any, None]) -> None:
        """Run its dialplan as a task."""
        self.task = asyncio.create_task(dialplan)
        self.task.add_done_callback(_complain)

    async def rest(self, milliseconds: float | None = None) -> object | None:
        """Wait for the next news and return it, or None once so much time has passed.

        None for the time is as long as it takes. Raises ``Interrupted``.
        """
        if self._interruption is None and not self._news:
            await self._wait(milliseconds)
        if self._interruption is not None:
            interruption, self._interruption = self._interruption, None
            self._news.clear()
            raise interruption
        return self._news.popleft() if self._news else None

    async def _wait(self, milliseconds: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None
        if milliseconds is not None:
            seconds = self._clock.seconds(max(0, milliseconds))
            timer = loop.call_later(seconds, self._end_waiting)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    # What others do to it.

    def wake(self, news: object) -> None:
        """Let its dialplan know something."""
        self._news.append(news)
        self._end_waiting()

    def hang_up(self, cause: int) -> None:
        """Have it hang up with a Q.850 cause. The first cause stays."""
        if not isinstance(self._interruption, HungUp):
            self.cause = cause
            self._interrupt(HungUp())

    def redirect(self, context: str, extension: str) -> None:
        """Have its dialplan go on elsewhere."""
        self.at(context, extension)
        self._interrupt(Redirected())

    def _interrupt(self, interruption: Interrupted) -> None:
        if not isinstance(self._interruption, HungUp):
            self._interruption = interruption
        self._end_waiting()

    def _end_waiting(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # Its absolute timeout.

    def limit(self, milliseconds: int) -> None:
        """Have it end so long from now, and not when it was to end before. Zero: never."""
        self.lift_limit()
        if milliseconds > 0:
            self._ends_at_ms = self._clock.now_ms() + milliseconds
            seconds = self._clock.seconds(milliseconds)
            loop = asyncio.get_running_loop()
            self._limiter = loop.call_later(seconds, self._reach_limit)

    def lift_limit(self) -> None:
        """Let it go on for as long as it likes."""
        if self._limiter is not None:
            self._limiter.cancel()
        self._limiter = self._ends_at_ms = None

    @property
    def limit_left_ms(self) -> int:
        """How long until its absolute timeout; zero if it has none."""
        if self._ends_at_ms is None:
            return 0
        return max(1, self._ends_at_ms - self._clock.now_ms())

    def _reach_limit(self) -> None:
        self.lift_limit()
        self._at_limit()

    def _at_limit(self) -> None:
        self._interrupt(TimedOut())

    def forsake(self) -> None:
        """End with Asterisk itself: nothing that it was about to do is done."""
        self.lift_limit()
        if self.task is not None:
            self.task.cancel()


class Leg(Channel):
    """A channel on the trunk, which runs no dialplan: its end is news to whoever dialled it."""

    on_end: Callable[[], None]

    def hang_up(self, cause: int) -> None:
        """Have it end. The first cause stays."""
        if self.cause == 0:
            self.cause = cause
            self.on_end()

    def redirect(self, context: str, extension: str) -> None:
        """Have it leave whoever dialled it: wherever it is sent, nothing is there for it."""
        self.hang_up(CAUSE_NORMAL_CLEARING)

    def _at_limit(self) -> None:
        self.hang_up(CAUSE_NORMAL_CLEARING)


def _complain(task: asyncio.Task[None]) -> None:
    """Tell of a fault in the dialplan at once: the next thing to go wrong must not be blamed."""
    if not task.cancelled() and (error := task.exception()) is not None:
        context = {"message": "A channel's dialplan failed.", "exception": error, "task": task}
        task.get_loop().call_exception_handler(context)
