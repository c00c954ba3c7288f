"""An AMI client as thin as can be: it plays the gateway, and those who would like to be it."""

import asyncio
from itertools import count, islice
from types import TracebackType
from typing import Self

Message = dict[str, str]
Action = list[tuple[str, str]]

_LINE_END = "\r\n"


class AmiSocket:
    """One logged-in session. Every event that Asterisk sent is kept, in order, in ``events``."""

    def __init__(self, host: str, port: int, username: str, secret: str) -> None:
        self.events: list[Message] = []
        self._address = (host, port)
        self._login: Action = [("Action", "Login"), ("Username", username), ("Secret", secret)]
        self._action_ids = count(1)
        self._answers: dict[str, asyncio.Future[Message]] = {}
        self._arrived = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(*self._address)
        await self._reader.readline()
        self._reading = asyncio.create_task(self._read())
        answer = await self.send(*self._login)
        assert answer["Response"] == "Success", answer
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._writer.close()
        await self._writer.wait_closed()

    async def send(self, *headers: tuple[str, str]) -> Message:
        """Send one action and return its first answer. Its ActionID may be chosen."""
        return (await self.send_together(list(headers)))[0]

    async def send_together(self, *actions: Action) -> list[Message]:
        """Send several actions in one write, as the gateway does, and return their answers."""
        text = ""
        futures = []
        for action in actions:
            given = dict(action).get("ActionID")
            action_id = given or f"test-{next(self._action_ids)}"
            self._answers[action_id] = asyncio.get_running_loop().create_future()
            futures.append(self._answers[action_id])
            lines = [f"{name}: {value}{_LINE_END}" for name, value in action if name != "ActionID"]
            text += f"{lines[0]}ActionID: {action_id}{_LINE_END}{''.join(lines[1:])}{_LINE_END}"
        self._writer.write(text.encode())
        async with asyncio.timeout(10):
            return await asyncio.gather(*futures)

    async def event(self, name: str, deadline_seconds: float = 30.0, **headers: str) -> Message:
        """Return the first event of this name with these headers, past or to come."""

        wanted, looked_at = {"Event": name, **headers}.items(), 0
        async with asyncio.timeout(deadline_seconds), self._arrived:
            while True:
                for event in islice(self.events, looked_at, None):
                    if wanted <= event.items():
                        return event
                looked_at = len(self.events)
                await self._arrived.wait()

    async def list_events(
        self, name: str, complete: str, *headers: tuple[str, str]
    ) -> list[Message]:
        """Send a list action and return the events that made up its answer."""
        answer = await self.send(("Action", name), *headers)
        if answer["Response"] != "Success":
            return []
        action_id = answer["ActionID"]
        await self.event(complete, ActionID=action_id)
        return [
            event
            for event in self.events
            if event.get("ActionID") == action_id and event["Event"] != complete
        ]

    async def _read(self) -> None:
        while True:
            block = (await self._reader.readuntil(b"\r\n\r\n")).decode(errors="replace")
            message: Message = {}
            for line in block.split(_LINE_END):
                name, _, value = line.partition(":")
                message[name] = value.strip()
            future = self._answers.get(message.get("ActionID", ""))
            if "Response" in message and future is not None and not future.done():
                future.set_result(message)
            elif "Event" in message:
                self.events.append(message)
                async with self._arrived:
                    self._arrived.notify_all()
