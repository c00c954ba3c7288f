"""The gateway's client of Asterisk's manager interface."""

import asyncio
import ssl as tls
from collections.abc import AsyncIterator, Mapping
from itertools import count
from uuid import uuid4

import structlog
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_exponential,
    wait_random,
)

from gateway.ami import actions
from gateway.ami.actions import Action
from gateway.ami.answers import Answer, Answers, Headers, required
from gateway.ami.channel import Channel, channel_from
from gateway.ami.conference import Participant, participant_from
from gateway.ami.errors import AmiError, AmiLoginRefused, AmiRefused, AmiTimeout, AmiUnavailable
from gateway.ami.events import Event
from gateway.ami.inbox import Inbox
from gateway.ami.link import Link
from gateway.ami.malformed import Malformed
from gateway.ami.translate import milliseconds

_PASSING_REFUSALS = frozenset({"login already in use", "asterisk is shutting down"})
"""Refusals of a login that end by themselves. The first is Asterisk's answer for as long as it has
not noticed that our last connection is dead."""

_NO_RECORD = "Database entry not found"

_NO_CONFERENCE = frozenset({"No active conferences.", "No Conference by that name found."})
"""How Asterisk words an empty list: a conference without members is none."""

_log = structlog.get_logger()


class AmiClient:
    """Keeps one link to Asterisk, reports what happens there and carries out what is asked.

    An action is written at once and once, or not at all: without a link that is up it raises
    AmiUnavailable, and nothing is queued, repeated or sent late. Every action has a deadline.
    After AmiTimeout, or AmiUnavailable with `unknown` true, its fate is unknown.

    `run` must be running for anything to happen. All durations are seconds. `list_bytes_max`
    bounds one list on the wire, and what it takes in memory to some ten times that: 32 MB are
    forty thousand channels, more than any Asterisk carries.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        username: str,
        secret: str,
        ssl: tls.SSLContext | None = None,
        action_deadline_seconds: float = 3.0,
        list_deadline_seconds: float = 15.0,
        ping_interval_seconds: float = 5.0,
        ping_deadline_seconds: float = 3.0,
        connect_deadline_seconds: float = 5.0,
        boot_deadline_seconds: float = 30.0,
        reconnect_seconds_min: float = 0.2,
        reconnect_seconds_max: float = 5.0,
        events_max: int = 20_000,
        message_bytes_max: int = 65_536,
        list_bytes_max: int = 32 * 1024 * 1024,
    ) -> None:
        self._host = host
        self._port = port
        self._ssl = ssl
        self._action_deadline_seconds = action_deadline_seconds
        self._list_deadline_seconds = list_deadline_seconds
        self._ping_interval_seconds = ping_interval_seconds
        self._ping_deadline_seconds = ping_deadline_seconds
        self._connect_deadline_seconds = connect_deadline_seconds
        self._boot_deadline_seconds = boot_deadline_seconds
        self._reconnect_seconds_min = reconnect_seconds_min
        self._reconnect_seconds_max = reconnect_seconds_max
        self._message_bytes_max = message_bytes_max
        # Events name the ActionIDs of every session, so that ours must not be anybody else's.
        self._id_prefix = uuid4().hex
        self._ids = count(1)
        self._username = username
        self._login = actions.login(self._next_id(), username=username, secret=secret)
        self._inbox = Inbox(events_max=events_max)
        self._answers = Answers(list_bytes_max=list_bytes_max)
        self._malformed = Malformed()
        self._link: Link | None = None
        self._uptime: tuple[int, float] | None = None
        self._booted_at_ms: int | None = None
        self._scope: asyncio.Timeout | None = None
        self._closed = False
        self._ended = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether Asterisk takes actions from us now."""
        return self._link is not None and self._link.up

    @property
    def uptime_seconds(self) -> float | None:
        """How long Asterisk has been up, a second more at the most; None if it does not say."""
        if self._uptime is None:
            return None
        seconds, told_at = self._uptime
        return seconds + asyncio.get_running_loop().time() - told_at

    @property
    def booted_at_ms(self) -> int | None:
        """When Asterisk began, by its own clock, a second less at the most; None if unknown."""
        return self._booted_at_ms

    @property
    def late_answers(self) -> int:
        """Answers that came after their action's deadline and were dropped."""
        return self._answers.late

    @property
    def malformed_messages(self) -> int:
        """Messages that could not be read and were dropped."""
        return self._malformed.count

    def events(self) -> AsyncIterator[Event]:
        """Return the one stream of events, in the order of the wire, for one consumer.

        It ends when `run` does. A consumer that falls `events_max` events behind loses the link:
        `LinkDown` follows the last event that there was room for, and no other link is made
        before half of them are read.
        """
        return self._inbox

    async def run(self) -> None:
        """Keep a link until `close` or cancellation, reconnecting as often as it takes.

        Raises AmiLoginRefused. To be called once.
        """
        assert self._scope is None, "an AmiClient runs once"
        if self._closed:
            return
        try:
            async with asyncio.timeout(None) as self._scope:
                await self._keep_link()
        except TimeoutError:
            if not self._closed:
                raise
        finally:
            self._inbox.close()
            self._ended.set()

    async def close(self) -> None:
        """End `run` and wait until nothing of it is left. May be called again."""
        first, self._closed = not self._closed, True
        if self._scope is None:
            self._inbox.close()
            return
        if first and not self._ended.is_set():
            # A deadline is asyncio's only way to cancel a piece of a task that is not ours.
            self._scope.reschedule(asyncio.get_running_loop().time())
        await self._ended.wait()

    async def ping(self) -> int:
        """Return the clock of the Asterisk host, in milliseconds since the epoch."""
        answer = await self._ask(actions.ping(self._next_id()))
        at = milliseconds(required(answer.headers, "Timestamp"))
        if at is None:
            raise AmiRefused("the Timestamp of the answer is no time")
        if self.uptime_seconds is not None:
            self._booted_at_ms = at - int(self.uptime_seconds * 1000)
        return at

    async def originate(
        self,
        *,
        action_id: str,
        channel: str,
        context: str,
        extension: str,
        variables: Mapping[str, str],
        timeout_ms: int,
        channel_id: str,
        other_channel_id: str,
        caller_id: str | None = None,
    ) -> None:
        """Have Asterisk begin a call; return once it has accepted that, long before any answer.

        What becomes of it is told by events; `OriginateResponse` carries this `action_id`.
        """
        action = actions.originate(
            action_id,
            channel=channel,
            context=context,
            extension=extension,
            variables=variables,
            timeout_ms=timeout_ms,
            channel_id=channel_id,
            other_channel_id=other_channel_id,
            caller_id=caller_id,
        )
        await self._ask(action)

    async def limit(self, channel: str, *, milliseconds: int) -> None:
        """Let a channel end so long from now, and not when it was to end before.

        Raises AmiRefused if there is none of this name.
        """
        await self._ask(actions.limit(self._next_id(), channel=channel, milliseconds=milliseconds))

    async def limit_left_ms(self, channel: str) -> int | None:
        """Return how long a channel may still go on; None if it has no limit.

        Raises AmiRefused if there is none of this name.
        """
        answer = await self._ask(actions.get_limit(self._next_id(), channel=channel))
        value = required(answer.headers, "Value")
        left_ms = milliseconds(value or "0")
        if left_ms is None:
            raise AmiRefused("the Value of the answer is no duration")
        return left_ms or None

    async def whisper(
        self,
        *,
        leg: str,
        channel: str,
        variables: Mapping[str, str],
        timeout_ms: int,
        channel_id: str,
        other_channel_id: str,
    ) -> None:
        """Have one channel hear what `channel` says once it answers; nobody else hears it.

        Raises AmiRefused if `channel_id` is that of a channel that exists.
        """
        action = actions.whisper(
            self._next_id(),
            leg=leg,
            channel=channel,
            variables=variables,
            timeout_ms=timeout_ms,
            channel_id=channel_id,
            other_channel_id=other_channel_id,
        )
        await self._ask(action)

    async def set_variable(
        self, name: str, value: str, *, channel: str | None = None, action_id: str | None = None
    ) -> None:
        """Set a variable of a channel, or a global one."""
        action_id = action_id or self._next_id()
        await self._ask(actions.set_variable(action_id, name, value, channel=channel))

    async def set_and_redirect(
        self,
        *,
        channel: str,
        variable: str,
        value: str,
        context: str,
        extension: str,
        action_id: str,
        deadline_seconds: float | None = None,
    ) -> None:
        """Set a variable of a channel and send it on, in one write.

        One write, because the channel's caller waits: a second round trip would double the wait.
        Raises AmiRefused if either was refused, AmiTimeout after `deadline_seconds`, the usual
        deadline if None. The other may have been carried out even so, so
        that the dialplan must let neither have an effect alone.
        """
        await self._ask(
            actions.set_variable(f"{action_id}-set", variable, value, channel=channel),
            actions.redirect(
                f"{action_id}-redirect", channel=channel, context=context, extension=extension
            ),
            deadline_seconds=deadline_seconds,
        )

    async def hangup(self, channel: str, *, cause: int) -> None:
        """Hang a channel up. Raises AmiRefused if there is none of this name."""
        await self._ask(actions.hangup(self._next_id(), channel=channel, cause=cause))

    async def channels(self) -> tuple[Channel, ...]:
        """Return every channel that exists. Raises AmiRefused unless the list is complete."""
        answer = await self._ask(actions.list_channels(self._next_id()))
        return tuple(channel_from(item) for item in answer.items)

    async def conferences(self) -> tuple[str, ...]:
        """Return the conferences that have members. Raises AmiRefused unless all are listed."""
        items = await self._ask_unless_empty(actions.list_conferences(self._next_id()))
        return tuple(required(item, "Conference") for item in items)

    async def participants(self, conference: str) -> tuple[Participant, ...]:
        """Return the members of a conference. Raises AmiRefused unless all are listed."""
        items = await self._ask_unless_empty(actions.list_participants(self._next_id(), conference))
        return tuple(map(participant_from, items))

    async def variable(self, name: str, *, channel: str) -> str:
        """Return a variable of a channel; empty if it is not set.

        Raises AmiRefused if there is no such channel.
        """
        answer = await self._ask(actions.get_variable(self._next_id(), name, channel=channel))
        return required(answer.headers, "Value")

    async def visit(self, channel: str) -> str:
        """Return the visit on which a channel waits at the gate; empty if it does not wait there.

        Raises AmiRefused if there is no such channel.
        """
        answer = await self._ask(actions.get_visit(self._next_id(), channel=channel))
        return required(answer.headers, "Value")

    async def records(self, family: str) -> dict[str, str]:
        """Return the records of a family of the database on the Asterisk host, by key.

        Raises AmiRefused unless the list is complete.
        """
        answer = await self._ask(actions.list_records(self._next_id(), family))
        prefix = f"/{family}/"
        return {
            required(item, "Key").removeprefix(prefix): required(item, "Val")
            for item in answer.items
        }

    async def record(self, family: str, key: str) -> str | None:
        """Return one record; None if there is none."""
        try:
            answer = await self._ask(actions.get_record(self._next_id(), family, key))
        except AmiRefused as refusal:
            if refusal.message == _NO_RECORD:
                return None
            raise
        if len(answer.items) != 1:
            raise AmiRefused("the answer is not one record")
        return required(answer.items[0], "Val")

    async def record_delete(self, family: str, key: str) -> None:
        """Delete a record, whether it is there or not."""
        await self._ask(actions.delete_record(self._next_id(), family, key))

    async def _ask_unless_empty(self, asked: Action) -> tuple[Headers, ...]:
        try:
            return (await self._ask(asked)).items
        except AmiRefused as refusal:
            if refusal.message in _NO_CONFERENCE:
                return ()
            raise

    def reset(self, reason: str) -> None:
        """End the link now; what was written and has not left this host is never sent.

        For an action whose deadline has passed and that must not be carried out any more. What
        Asterisk has received by then it may still carry out.
        """
        if self._link is not None:
            self._link.reset(reason)

    async def _ask(self, *asked: Action, deadline_seconds: float | None = None) -> Answer:
        if self._link is None or not self._link.up:
            raise AmiUnavailable("there is no link to Asterisk", unknown=False)
        seconds = self._deadline(asked[0]) if deadline_seconds is None else deadline_seconds
        answers = await self._link.request(*asked, deadline_seconds=seconds)
        return answers[0]

    def _deadline(self, asked: Action) -> float:
        return self._list_deadline_seconds if asked.listed else self._action_deadline_seconds

    def _next_id(self) -> str:
        return f"{self._id_prefix}-{next(self._ids)}"

    async def _keep_link(self) -> None:
        open_link = AsyncRetrying(
            retry=retry_if_exception_type((AmiUnavailable, AmiTimeout)),
            wait=wait_exponential(
                multiplier=self._reconnect_seconds_min, max=self._reconnect_seconds_max
            )
            + wait_random(max=self._reconnect_seconds_min),
            before_sleep=self._log_failure,
        )
        while True:
            link: Link = await open_link(self._open)
            await self._hold(link)
            # A link that is lost as soon as it is up must not make this loop spin.
            await asyncio.sleep(self._reconnect_seconds_min)

    async def _open(self) -> Link:
        await self._inbox.room()
        link = self._link = Link(
            inbox=self._inbox,
            answers=self._answers,
            malformed=self._malformed,
            message_bytes_max=self._message_bytes_max,
        )
        try:
            await link.connect(
                host=self._host,
                port=self._port,
                tls=self._ssl,
                deadline_seconds=self._connect_deadline_seconds,
            )
            await self._log_in(link)
            booted = await link.booted(deadline_seconds=self._boot_deadline_seconds)
        except BaseException:
            await link.close()
            raise
        self._note_uptime(booted.uptime_seconds)
        _log.info("ami.connected", host=self._host, port=self._port, uptime=booted.uptime_seconds)
        return link

    def _note_uptime(self, seconds: int | None) -> None:
        now = asyncio.get_running_loop().time()
        self._uptime = None if seconds is None else (seconds, now)
        self._booted_at_ms = None

    async def _log_in(self, link: Link) -> None:
        try:
            await link.request(self._login, deadline_seconds=self._connect_deadline_seconds)
        except AmiRefused as refusal:
            if refusal.message.lower() in _PASSING_REFUSALS:
                raise AmiUnavailable(f"login: {refusal.message}", unknown=False) from None
            _log.error("ami.login_refused", username=self._username, reason=refusal.message)
            raise AmiLoginRefused(self._login_advice(refusal.message)) from None

    def _login_advice(self, reason: str) -> str:
        return (
            f"Asterisk at {self._host}:{self._port} refused the login of {self._username!r}: "
            f"{reason}. Check in its manager.conf that the account exists, that its secret is the "
            "gateway's and that its permit lines admit this host; then run 'manager reload' there."
        )

    async def _hold(self, link: Link) -> None:
        try:
            while not await link.lost_within(self._ping_interval_seconds):
                await self._check(link)
            _log.warning("ami.lost", reason=link.end_reason)
        finally:
            await link.close()

    async def _check(self, link: Link) -> None:
        try:
            await link.request(
                actions.ping(self._next_id()), deadline_seconds=self._ping_deadline_seconds
            )
        except AmiRefused:
            return  # No, but an answer.
        except AmiError:
            link.drop("a ping was not answered")

    def _log_failure(self, attempt: RetryCallState) -> None:
        assert attempt.outcome is not None
        assert attempt.next_action is not None
        _log.warning(
            "ami.connect_failed",
            host=self._host,
            port=self._port,
            reason=str(attempt.outcome.exception()),
            wait_seconds=round(attempt.next_action.sleep, 3),
        )
