"""Somebody who is told by server-sent events how far a dial-out has come."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.calls.meeting import Meeting


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One event: its id, and what came with it."""

    stage: str
    number: str
    data: dict[str, Any]


@dataclass(slots=True)
class Watcher:
    """An open stream; ``lines`` are what is still to come of it, comments too."""

    response: httpx.Response
    lines: AsyncIterator[str] = field(init=False)

    def __post_init__(self) -> None:
        self.lines = self.response.aiter_lines()

    async def events(self) -> AsyncIterator[Told]:
        """Yield each event as it comes, until the gateway ends the stream."""
        fields: dict[str, str] = {}
        async for line in self.lines:
            name, _, value = line.partition(": ")
            if line:
                fields[name] = value
                continue
            if "event" in fields:
                yield Told(
                    stage=fields["event"], number=fields["id"], data=json.loads(fields["data"])
                )
            fields = {}

    async def until(self, stage: str) -> list[Told]:
        """Return what comes up to a stage."""
        told = []
        async for event in self.events():
            told.append(event)
            if event.stage == stage:
                return told
        raise AssertionError(f"the stream ended before {stage}")

    async def rest(self) -> list[Told]:
        """Return everything that comes until the stream ends."""
        return [event async for event in self.events()]


@asynccontextmanager
async def watching(
    meeting: Meeting, dial_out_id: str, *, after: str | None = None
) -> AsyncIterator[Watcher]:
    """Open a stream, behind the event of this id."""
    headers = {} if after is None else {b"Last-Event-ID": after.encode()}
    path = f"/v1/dial-outs/{dial_out_id}/events?tenant_id={meeting.tenant_id}"
    async with meeting.client.stream("GET", path, headers=headers, timeout=30.0) as response:
        yield Watcher(response)


async def watched(meeting: Meeting, dial_out_id: str, *, after: str | None = None) -> list[Told]:
    """Return everything that a dial-out's stream tells until it ends."""
    async with watching(meeting, dial_out_id, after=after) as watcher:
        assert watcher.response.status_code == 200, await watcher.response.aread()
        return await watcher.rest()
