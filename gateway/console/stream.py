"""What becomes of all calls of a browser, in one stream: it has six connections for a host."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import UUID

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from gateway.console.sessions import CALLS_MAX, PlacedCall, Session
from gateway.console.upstream import GONE, Event, Upstream
from gateway.core.progress import LAST_NUMBERS

POSITION_CHARS_MAX = 35 * (CALLS_MAX + 1)
"""The length of the longest event id that a browser may come back with."""

_RETRY_MS = 1000
_AGAIN_SECONDS = 1.0
_QUIET_SECONDS = 15.0
"""After how much silence a browser hears that somebody is still there."""

_LEFT = Event(
    name="gone", number=0, data={"text": "The call goes on. It is too old to be followed here."}
)
_POSITION = re.compile(r"([0-9a-f]{32})\.([1-9])")


class Stream:
    """What one page is told of a session's calls, those that are placed meanwhile included.

    ``last_event_id`` is that of the last event that the page has seen, of whichever stream, or
    empty: an id says of each call how far it has been told.
    """

    def __init__(self, session: Session, upstream: Upstream, last_event_id: str) -> None:
        self._session = session
        self._upstream = upstream
        self._told = {UUID(each): int(number) for each, number in _POSITION.findall(last_event_id)}
        self._followers: dict[PlacedCall, asyncio.Task[None]] = {}
        # It needs no bound: calls have few steps, and none is told twice.
        self._news: asyncio.Queue[bytes] = asyncio.Queue()

    async def events(self) -> AsyncGenerator[bytes]:
        """Yield server-sent events until nothing can follow of any call.

        A gateway that is away is asked again until it answers.
        """
        yield format_sse_event(retry=_RETRY_MS)
        self._session.watchers.add(self._look)
        try:
            self._look()
            while self._is_open():
                yield await self._next()
        finally:
            self._session.watchers.discard(self._look)
            for follower in self._followers.values():
                follower.cancel()

    def _is_open(self) -> bool:
        following = any(not follower.done() for follower in self._followers.values())
        return following or not self._news.empty()

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(_QUIET_SECONDS):
                return await self._news.get()
        except TimeoutError:
            return KEEPALIVE_COMMENT

    def _look(self) -> None:
        """Follow the calls that are new, and those no more that the session has forgotten."""
        calls = self._session.calls
        for call in calls.values():
            if call not in self._followers:
                self._followers[call] = asyncio.create_task(self._follow(call))
                # Whoever waits for news looks whether there is more to wait for.
                self._followers[call].add_done_callback(
                    lambda _: self._news.put_nowait(KEEPALIVE_COMMENT)
                )
        for call in [call for call in self._followers if call.call_id not in calls]:
            self._followers.pop(call).cancel()
            self._tell(call, _LEFT)

    async def _follow(self, call: PlacedCall) -> None:
        while not self._is_over(call):
            after = self._told.get(call.call_id, 0)
            async with aclosing(self._upstream.events(call.call_id, after)) as events:
                async for event in events:
                    self._tell(call, event)
                    if event is GONE:
                        # Followed anew if it is asked for once more.
                        self._followers.pop(call, None)
                        return
            if not self._is_over(call):
                await asyncio.sleep(_AGAIN_SECONDS)

    def _is_over(self, call: PlacedCall) -> bool:
        return self._told.get(call.call_id) in LAST_NUMBERS

    def _tell(self, call: PlacedCall, event: Event) -> None:
        if event.number:
            self._told[call.call_id] = event.number
        data = {**event.data, "call": call_state(call)}
        self._news.put_nowait(
            format_sse_event(event=event.name, id=self._position(), data_str=json.dumps(data))
        )

    def _position(self) -> str:
        told = ((call_id, self._told.get(call_id)) for call_id in self._session.calls)
        return ",".join(f"{call_id.hex}.{number}" for call_id, number in told if number)


def call_state(call: PlacedCall) -> dict[str, str | None]:
    """Return a call as the page knows it."""
    return {
        "call_id": str(call.call_id),
        "kind": call.kind,
        "number": call.number,
        "back_of": str(call.back_of) if call.back_of else None,
    }
