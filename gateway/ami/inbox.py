"""The events between the link and their one consumer, in order and bounded."""

import asyncio
from collections import deque
from typing import Self

from gateway.ami.events import Event, LinkDown


class Inbox:
    """A queue of events whose writer never waits.

    A full inbox refuses, and the link is given up: a consumer that knows it missed something
    reconciles, one that silently lost a single event would bill by what it did not see.
    """

    def __init__(self, *, events_max: int) -> None:
        self._events_max = events_max
        self._events: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False

    def put(self, event: Event) -> bool:
        """Append an event; False if there is no room for it."""
        if len(self._events) >= self._events_max:
            return False
        self._append(event)
        return True

    def put_link_down(self, event: LinkDown) -> None:
        """Append the end of a link, for which there always is room.

        The inbox stays bounded, because the next link waits for `room` first.
        """
        self._append(event)

    async def room(self) -> None:
        """Wait until at least half of the inbox is free."""
        await self._room.wait()

    def close(self) -> None:
        """Let the consumer end once it has read what is there."""
        self._closed = True
        self._arrived.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        event = self._events.popleft()
        if len(self._events) <= self._events_max // 2:
            self._room.set()
        return event

    def _append(self, event: Event) -> None:
        self._events.append(event)
        self._arrived.set()
        if len(self._events) > self._events_max // 2:
            self._room.clear()
