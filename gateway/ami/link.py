"""One connection to Asterisk's manager interface, from its first byte to its loss.

The only module that imports panoramisk. Its way to a socket (`Manager.connect`) and its parser of
messages (`Message`) are kept. What it does in between is not: it sends unanswered actions again
after a reconnection, an Originate among them, queues actions while there is no connection, and
awaits an answer without an end.
"""
# panoramisk ships no types, so its Manager is Any to the checker.
# mypy: allow-subclassing-any

import asyncio
import socket
import ssl
import struct
from asyncio import FIRST_COMPLETED
from collections.abc import Sequence
from typing import cast

import structlog
from panoramisk.manager import Manager
from panoramisk.message import Message

from gateway.ami.actions import Action
from gateway.ami.answers import Answer, Answers, Headers, Outcome
from gateway.ami.errors import AmiRefused, AmiTimeout, AmiUnavailable
from gateway.ami.events import LinkDown, LinkUp
from gateway.ami.framer import Framer, MessageTooLong
from gateway.ami.inbox import Inbox
from gateway.ami.malformed import Malformed
from gateway.ami.translate import MalformedEvent, event_name, is_translated, translate

_BANNER = b"Asterisk Call Manager/"
_RESPONSE = b"Response: "
_NO_LINGER = struct.pack("ii", 1, 0)
_ACTION_ID = b"\r\nActionID: "

_HEADERS_MAX = 256
"""Of an answer. Asterisk's have thirty; each takes ten times its bytes while it is read."""

_SUCCESS = {"Success": True, "Error": False}

_log = structlog.get_logger()


class _Connector(Manager):
    """panoramisk's Manager, left with nothing to do once there is a connection."""

    def connection_made(self, f: asyncio.Future[object]) -> None:
        """Leave success and failure to whoever awaits `connect`; no login, no timer of its own."""


class _MalformedAnswer(Exception):
    """A message is not what any answer is."""


class Link(asyncio.Protocol):
    """A connection that is used once: opened, lost, thrown away.

    Every answer and event is handled in the order of the wire, in the call that received it.
    Events go to the inbox and never wait there; a full inbox ends the link.
    """

    def __init__(
        self, *, inbox: Inbox, answers: Answers, malformed: Malformed, message_bytes_max: int
    ) -> None:
        loop = asyncio.get_running_loop()
        self._inbox = inbox
        self._answers = answers
        self._malformed = malformed
        self._framer = Framer(message_bytes_max=message_bytes_max)
        self._transport: asyncio.WriteTransport | None = None
        self._congested = False
        self._greeted: asyncio.Future[None] = loop.create_future()
        self._booted: asyncio.Future[LinkUp] = loop.create_future()
        self._lost: asyncio.Future[None] = loop.create_future()
        self._end_reason: str | None = None

    @property
    def up(self) -> bool:
        """Whether Asterisk let us in and is fully booted, and nothing has ended the link since."""
        return self._booted.done() and self._end_reason is None

    @property
    def end_reason(self) -> str | None:
        """Why the link ended; None while it has not."""
        return self._end_reason

    async def connect(
        self, *, host: str, port: int, tls: ssl.SSLContext | None, deadline_seconds: float
    ) -> None:
        """Connect and wait for Asterisk's banner. Raises AmiUnavailable."""
        connector = _Connector(host=host, port=port, ssl=tls, protocol_factory=lambda: self)
        try:
            async with asyncio.timeout(deadline_seconds):
                await connector.connect()
        except TimeoutError:
            raise AmiUnavailable("no connection in time", unknown=False) from None
        except OSError as error:
            raise AmiUnavailable(f"cannot connect: {error}", unknown=False) from None
        await self._reach(self._greeted, deadline_seconds, "no banner in time")

    async def booted(self, *, deadline_seconds: float) -> LinkUp:
        """Wait until Asterisk is fully booted. Raises AmiUnavailable."""
        missing = "no FullyBooted event in time: Asterisk is still starting, or the account lacks"
        await self._reach(self._booted, deadline_seconds, f"{missing} read=system")
        return self._booted.result()

    async def request(self, *actions: Action, deadline_seconds: float) -> tuple[Answer, ...]:
        """Write the actions at once and return their answers, in the same order.

        Raises AmiRefused if any was refused, else AmiTimeout or AmiUnavailable if the fate of any
        is unknown. Refused comes first, because half of a pair has no effect.
        """
        transport = self._writable()
        outcomes = self._answers.expect(actions)
        try:
            transport.write(b"".join(action.encode() for action in actions))
            await asyncio.wait(outcomes, timeout=deadline_seconds)
            return _settle(actions, outcomes)
        finally:
            self._answers.forget(actions)

    async def lost_within(self, seconds: float) -> bool:
        """Wait for the loss of the link, but not longer; tell whether it is lost."""
        await asyncio.wait({self._lost}, timeout=seconds)
        return self._lost.done()

    def drop(self, reason: str) -> None:
        """End the link now. The first reason stays."""
        if self._end_reason is None:
            self._end_reason = reason
        if self._transport is not None:
            self._transport.abort()

    def reset(self, reason: str) -> None:
        """End the link now, and with it what the kernel has not sent yet."""
        if self._transport is not None:
            sock: socket.socket = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.drop(reason)

    async def close(self) -> None:
        """End the link and wait until its socket is gone."""
        self.drop("closed")
        if self._transport is not None:
            await asyncio.wait({self._lost})

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin. Whatever waits in the transport's buffer pauses writing, see `_writable`."""
        self._transport = cast(asyncio.WriteTransport, transport)
        # Not 0, at which a TLS transport pauses when nothing waits.
        self._transport.set_write_buffer_limits(high=1)

    def data_received(self, data: bytes) -> None:
        """Handle every message that is complete, until one ends the link."""
        try:
            for frame in self._framer.feed(data):
                if self._end_reason is not None:
                    return
                self._handle(frame)
        except MessageTooLong:
            self.drop("a message was too long")

    def pause_writing(self) -> None:
        """Asterisk does not read as fast as it is written to."""
        self._congested = True

    def resume_writing(self) -> None:
        """Everything written was handed to the network."""
        self._congested = False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits for something that it will not come."""
        was_up = self._booted.done()
        if self._end_reason is None:
            self._end_reason = f"lost: {exc}" if exc else "closed by Asterisk"
        self._answers.lose()
        if was_up:
            self._inbox.put_link_down(LinkDown(reason=self._end_reason))
        self._lost.set_result(None)

    async def _reach(
        self, stage: asyncio.Future[None] | asyncio.Future[LinkUp], seconds: float, missing: str
    ) -> None:
        await asyncio.wait({stage, self._lost}, timeout=seconds, return_when=FIRST_COMPLETED)
        if not stage.done():
            raise AmiUnavailable(self._end_reason or missing, unknown=False)

    def _writable(self) -> asyncio.WriteTransport:
        # What waits in the transport's buffer is written whenever Asterisk reads again, which may
        # be long after whoever asked has given up.
        if self._transport is None or self._end_reason is not None or self._congested:
            raise AmiUnavailable("Asterisk takes no actions now", unknown=False)
        return self._transport

    def _handle(self, frame: bytes) -> None:
        frame = frame.lstrip(b"\r\n")
        name = event_name(frame)
        if not self._greeted.done():
            self._greet(frame)
        elif frame.startswith(_RESPONSE):
            self._handle_response(frame)
        elif name is None:
            self._handle_noise(frame)
        elif is_translated(name):
            self._handle_event(name, frame)
        elif _ACTION_ID in frame:
            self._handle_item(frame)

    def _greet(self, frame: bytes) -> None:
        if frame.startswith(_BANNER):
            self._greeted.set_result(None)
        else:
            self.drop("what answers there is no Asterisk manager")

    def _handle_response(self, frame: bytes) -> None:
        try:
            headers = _headers(frame)
            # Whatever is not a plain yes or no leaves the action's fate unknown.
            success = _SUCCESS[headers["Response"]]
        except (_MalformedAnswer, KeyError):
            self._malformed.note("answer", "Response")
            return
        self._answers.take_response(headers, success=success)

    def _handle_item(self, frame: bytes) -> None:
        try:
            headers = _headers(frame)
        except _MalformedAnswer:
            self._malformed.note("answer", "ActionID")
            return
        self._answers.take_item(headers, item_bytes=len(frame))

    def _handle_noise(self, frame: bytes) -> None:
        # Bare line ends come between messages and are no message.
        if frame:
            self._malformed.note("message", "Event")

    def _handle_event(self, name: bytes, frame: bytes) -> None:
        try:
            event = translate(name, frame)
        except MalformedEvent as malformed:
            self._malformed.note(name.decode(), str(malformed))
            return
        if event is None or (isinstance(event, LinkUp) and self._booted.done()):
            return
        if not self._inbox.put(event):
            self.drop("overflow: events came faster than they were handled")
        elif isinstance(event, LinkUp):
            self._booted.set_result(event)


def _settle(actions: Sequence[Action], outcomes: Sequence[Outcome]) -> tuple[Answer, ...]:
    answers = [outcome.result() for outcome in outcomes if outcome.done()]
    for answer in answers:
        if answer is not None and answer.refusal is not None:
            raise AmiRefused(answer.refusal)
    if None in answers:
        raise AmiUnavailable("the link was lost before the answer came", unknown=True)
    if len(answers) < len(actions):
        name, action_id = actions[0].name, actions[0].action_id
        _log.warning("ami.action_timed_out", action=name, action_id=action_id)
        raise AmiTimeout(f"{name} was not answered in time")
    return tuple(answer for answer in answers if answer is not None)


def _headers(frame: bytes) -> Headers:
    """Return the headers of an answer, without those that are repeated: none that is read is."""
    if frame.count(b"\r\n") >= _HEADERS_MAX:
        raise _MalformedAnswer
    message: Message | None = Message.from_line(frame.decode("utf-8", "replace"))
    if message is None:
        raise _MalformedAnswer  # it takes the only line of a "Response: Fail" for a text
    # What is repeated is a list in panoramisk.
    return {key: value for key, value in message.items() if isinstance(value, str)}
