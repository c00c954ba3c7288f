"""Gives small grants while the ledger is away, and has it book them when it is back.

A grant stands in for a reservation and its claim. What the claim is for, one INVITE a dial-out,
is kept by Asterisk instead: both channels have ids that follow from the dial-out's, so a second
Originate is refused while the call lasts; and when it has ended, its record lies on the Asterisk
host until the call is booked and settled. So whoever has its channel at the gate, and finds no
record there, is the first one: unless Asterisk died with the call, and has been started again.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import structlog

from gateway import metrics
from gateway.core.call import Ending
from gateway.core.dial_out import BridgeName, DialOut, DialOutRequest, DialOutState, Terms
from gateway.core.e164 import METADATA_VERSION
from gateway.core.explanation import explain
from gateway.core.facts import Facts, known
from gateway.core.grant import (
    Answered,
    Ended,
    Gone,
    Grant,
    GrantBounds,
    Granted,
    GrantedCall,
    GrantRefusal,
    Joined,
    Line,
    Released,
    after,
    beyond,
    confirms,
    payers,
)
from gateway.core.key import DialOutKey
from gateway.core.rating import Seconds
from gateway.core.trunk import Trunk
from gateway.grants.journal import Journal
from gateway.grants.memory import Memory
from gateway.inquiry import Inquiry
from gateway.ledger import Claim, Ledger, LedgerUnavailable, RequestOutcome

log = structlog.get_logger()

BOOK_SECONDS = 1.0
"""How often it is tried to book what is not, and looked what dead processes have left behind."""

WRITE_SECONDS_MAX = 1.0
"""How long the disk may take. The gate waits for three seconds, in which the call must fit, too."""

KEYS_MAX = 50_000
"""How many dial-outs are known to have been asked for: half an hour's at 25 a second. With more
of them nothing is granted, for nobody could say which ones were asked for before."""

UNBOOKED_SECONDS = 30.0
"""How long a gateway may take, once the ledger is back or Asterisk is, to book what it has
granted; one that was killed is started again within that."""

_OVER = frozenset({DialOutState.REFUSED, DialOutState.ENDED})
_EPOCH = datetime.fromtimestamp(0, UTC)

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Held:
    """A grant that is not booked yet. ``own``: this process follows its call, and settles it."""

    call: GrantedCall
    own: bool
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """What is done to it is done one after the other, and so is what is written of it."""

    @property
    def is_released(self) -> bool:
        """Whether its channel was let go on, so that it may have cost something."""
        return self.call.released_at is not None


class Grants:
    """The grants of this process, within ``bounds``, each in the ``journal`` before it counts.

    ``books`` is the ledger itself, ``trunks`` say what each bridge reaches, ``clock`` counts
    seconds, and ``now`` is the time of day.
    """

    def __init__(
        self,
        *,
        bounds: GrantBounds,
        journal: Journal,
        books: Ledger,
        trunks: Mapping[BridgeName, Trunk],
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self.memory = Memory(seconds_max=bounds.facts_seconds_max, clock=clock)
        self._bounds = bounds
        self._journal = journal
        self._books = books
        self._inquiry = Inquiry(ledger=self.memory, trunks=trunks)
        self._clock = clock
        self._now = now
        self._held: dict[DialOutKey, _Held] = {}
        self._known: OrderedDict[DialOutKey, float] = OrderedDict()
        self._gates: OrderedDict[DialOutKey, float] = OrderedDict()
        self._forgets_until = float("-inf")
        self._linked = asyncio.Event()
        self._links = 0
        self._recalled_links: int | None = None
        self._away_since: float | None = None
        self._away_from = float("inf")
        self._answers_from: float | None = None
        self._giving = asyncio.Lock()
        self._booking = asyncio.Lock()
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._keeps_lines = False
        self._unbookable: set[DialOutKey] = set()

    @property
    def ledger_is_away(self) -> bool:
        """Whether the ledger did not answer when it was asked last."""
        return self._away_since is not None

    @property
    def stand_in(self) -> bool:
        """Whether calls are granted now, to those who are known."""
        return self._refusal_of_outage() is None

    @property
    def unbooked(self) -> int:
        """How many grants the ledger has not booked yet, those that it cannot book among them."""
        return len(self._held.keys() | self._unbookable)

    # What is noted while the ledger is there.

    def note_ledger(self, *, answers: bool) -> None:
        """Note whether the ledger answers: grants are given only while it does not."""
        at = self._clock()
        if answers:
            if self._away_since is not None or self._answers_from is None:
                self._answers_from = at
            self._away_since = None
        elif self._away_since is None:
            self._away_since = at
            if self._answers_from is None:
                self._away_from = float("-inf")  # it was away before this process began
            elif self._is_old(self._answers_from) or self._away_from > at:
                self._away_from = at

    def note_key(self, key: DialOutKey) -> None:
        """Note that a dial-out may be in the ledger, or have been dialled, by whichever gateway.

        It is not granted then: the ledger alone could say what became of it.
        """
        at = self._clock()
        self._known[key] = at
        self._known.move_to_end(key)
        while len(self._known) > KEYS_MAX or self._is_old(next(iter(self._known.values()))):
            _, noted_at = self._known.popitem(last=False)
            self._forgets_until = max(self._forgets_until, noted_at + self._bounds.ids_seconds)

    def note_gate(self, key: DialOutKey) -> None:
        """Note that the channel of a dial-out has come to the gate, where it may be let dial."""
        self.note_key(key)
        self._gates.setdefault(key, self._clock())
        while len(self._gates) > KEYS_MAX or self._is_old(next(iter(self._gates.values()))):
            self._gates.popitem(last=False)

    def note_link(self) -> None:
        """Note that a link to an Asterisk is up: what came to its gate before was not seen."""
        self._links += 1
        self._linked.set()

    # What those ask for who place calls.

    def held(self, key: DialOutKey) -> DialOut | None:
        """Return a dial-out that was granted and is not booked yet; None for any other."""
        held = self._held.get(key)
        return None if held is None else held.call.dial_out

    def repeated(self, request: DialOutRequest) -> tuple[RequestOutcome, DialOut] | None:
        """Return what was granted to a request before, as the ledger would; None if nothing was."""
        held = self._held.get(request.key)
        if held is None:
            return None
        is_same = _asked(held.call.grant.request) == _asked(request)
        outcome = RequestOutcome.EXISTS if is_same else RequestOutcome.EXISTS_WITH_DIFFERENT_TERMS
        return outcome, held.call.dial_out

    async def give(
        self, request: DialOutRequest, terms: Terms, *, at: datetime, expires_at: datetime
    ) -> tuple[RequestOutcome, DialOut]:
        """Grant a call, on what is remembered of those who ask; asking again is the same grant.

        Raises ``LedgerUnavailable`` if it is not granted: the ledger alone could say.
        """
        async with self._giving:
            repeated = self.repeated(request)
            if repeated is not None:
                return repeated
            given = await self._given(request, terms, at, expires_at)
        if isinstance(given, GrantRefusal):
            metrics.grant_refused(given)
            log.warning("grant.refused", because=given, **_names(request.key))
            raise LedgerUnavailable(f"The ledger does not answer, and grants nothing: {given}.")
        metrics.grant_given()
        log.warning("grant.given", **given.dial_out.summary())
        return RequestOutcome.RESERVED, given.dial_out

    def claim(self, key: DialOutKey) -> Claim | None:
        """Return what the channel of a granted call may dial; None for a call of the ledger's."""
        held = self._held.get(key)
        return None if held is None else replace(Claim.of(held.call.dial_out), granted=True)

    def is_first(self, key: DialOutKey, *, granted: bool, uptime_seconds: float | None) -> bool:
        """Return whether a call was not let dial before, if no record of it is found.

        ``granted`` says that we have granted it ourselves, ``uptime_seconds`` how long Asterisk
        has been up, None if it does not say. With it dies every trace of a call that it had. So
        one that was at the gate before is not let dial, and of the ledger's none is while others
        may not have booked yet what they granted before Asterisk began.
        """
        if uptime_seconds is None or (key in self._held and not granted):
            return False
        booted_at = self._clock() - uptime_seconds
        if self._gates.get(key, booted_at) < booted_at:
            return False
        if granted or booted_at <= self._away_from:
            return True
        if self._answers_from is None or self.ledger_is_away:
            return False
        booked_at = max(self._answers_from, booted_at) + UNBOOKED_SECONDS
        return self._clock() > booked_at or self._is_old(self._answers_from)

    async def release(self, key: DialOutKey) -> bool:
        """Write that a granted call is let dial, once; False if it must not, or not any more.

        It must not if that cannot be written, or the grant has been dropped.
        """
        held = self._held.get(key)
        if held is None:
            return False
        async with held.lock:
            if held.is_released or self._held.get(key) is not held:
                return False
            line = Released(key=key, at=self._now())
            if not await self._is_written(line):
                return False
            held.call = after(held.call, line)
            return True

    async def drop(self, key: DialOutKey) -> bool:
        """Forget a grant whose call was never let dial; return whether it was one.

        There is nothing to book of it then, and nobody lets it dial any more.
        """
        held = self._held.get(key)
        if held is None:
            return False
        async with held.lock:
            if held.is_released or self._held.get(key) is not held:
                return False
            log.info("grant.unused", **_names(key))
            await self._let_go(key)
            return True

    async def note(self, line: Answered | Joined | Ended) -> bool:
        """Write what became of a call that is not booked yet; return whether it is such a call.

        What was written before is not written again. It is known from here on, on the disk or
        not.
        """
        held = self._held.get(line.key)
        if held is None:
            return False
        async with held.lock:
            if self._held.get(line.key) is not held:
                return False
            if after(held.call, line) != held.call:
                await self._is_written(line)
                held.call = after(held.call, line)
            return True

    # What runs.

    async def open(self) -> None:
        """Take in what earlier processes have left behind."""
        metrics.watch_grants(lambda: self.unbooked)
        await self._take_in()

    async def run(self) -> None:
        """Book what was granted, as soon as the ledger takes it. Until cancelled."""
        while True:
            try:
                await self._take_in()
                await self.book()
            except LedgerUnavailable:
                pass
            except Exception:
                log.exception("grant.not_booked")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._linked.wait(), BOOK_SECONDS)
            self._linked.clear()

    async def book(self) -> None:
        """Have the ledger take everything that was let dial. Raises ``LedgerUnavailable``.

        What was not, and cannot be any more, is forgotten; and what the ledger was asked for
        where nobody looked is learnt.
        """
        await self._expire()
        await self._recall()
        async with self._booking:
            for key, held in list(self._held.items()):
                if held.is_released:
                    await self._book_one(key, held)

    def close(self) -> None:
        """Leave what is not booked to the next start."""
        self._disk.shutdown()
        self._journal.close()

    # How a grant is given.

    async def _given(
        self, request: DialOutRequest, terms: Terms, at: datetime, expires_at: datetime
    ) -> GrantedCall | GrantRefusal:
        if request.key in self._known:
            return GrantRefusal.ASKED_BEFORE
        if self._bounds.sources:
            await self._make_sure()
        refusal = self._refusal_of_outage() or beyond(
            self._bounds,
            (held.call.grant for held in self._held.values()),
            (request.key.tenant_id, request.organizer_id),
        )
        if refusal is not None:
            return refusal
        try:
            facts = await self._inquiry.facts(request, at)
        except LedgerUnavailable:
            return GrantRefusal.NOT_KNOWN
        grant = _granted(request, facts, terms, self._bounds, at, expires_at)
        if grant is None:
            return GrantRefusal.NOT_COVERED
        held = self._held[grant.key] = _Held(GrantedCall(grant=grant), own=True)
        async with held.lock:
            if not await self._is_written(Granted(grant=grant)):
                self._held.pop(grant.key)
                return GrantRefusal.NOT_WRITTEN
        self.note_key(grant.key)
        return held.call

    async def _make_sure(self) -> None:
        """Ask the ledger, if nobody has since it failed: it may be one tenant's row alone."""
        if self.ledger_is_away:
            return
        try:
            await self._books.ping()
        except LedgerUnavailable:
            self.note_ledger(answers=False)

    def _refusal_of_outage(self) -> GrantRefusal | None:
        """Return why nothing is granted to anybody; None while the ledger is away, and not long."""
        if not self._bounds.sources:
            return GrantRefusal.NO_SOURCES
        if self._away_since is None:
            return GrantRefusal.LEDGER_ANSWERS
        if self._clock() - self._away_since > self._bounds.outage_seconds_max:
            return GrantRefusal.OUTAGE_TOO_LONG
        if self._recalled_links != self._links or self._clock() < self._forgets_until:
            return GrantRefusal.IDS_UNKNOWN
        return None

    def _is_old(self, noted_at: float) -> bool:
        return self._clock() - noted_at > self._bounds.ids_seconds

    async def _recall(self) -> None:
        """Learn the ids of late from the ledger, at the start and when a link was lost."""
        links = self._links
        if self._recalled_links == links or not self._bounds.sources:
            return
        since = self._now() - timedelta(seconds=self._bounds.ids_seconds)
        try:
            keys = await self._books.recent_keys(since, limit=KEYS_MAX + 1)
        except LedgerUnavailable:
            return
        for key in keys:
            self.note_key(key)
        self._recalled_links = links

    # How it is booked.

    async def _expire(self) -> None:
        """Forget the grants whose channels came to no gate in time."""
        at = self._now()
        for key, held in list(self._held.items()):
            if held.call.grant.expires_at <= at:
                await self.drop(key)

    async def _book_one(self, key: DialOutKey, held: _Held) -> None:
        """Book a call; a fault in it keeps no other call from being booked.

        Its lines stay then, and the next start tries again. Raises ``LedgerUnavailable``.
        """
        try:
            await self._book(held)
        except LedgerUnavailable:
            raise
        except Exception:
            log.exception("grant.not_booked", **_names(key))
            self._unbookable.add(key)
            self._held.pop(key, None)

    async def _book(self, held: _Held) -> None:
        """Make the dial-out of a granted call; from then on it is as any other. Twice is once.

        The journal forgets it only afterwards. Raises ``LedgerUnavailable``.
        """
        async with held.lock:
            await self._book_held(held)

    async def _book_held(self, held: _Held) -> None:
        grant = held.call.grant
        outcome, dial_out = await self._books.grant_book(grant)
        await self._catch_up(held)
        metrics.grant_booked(outcome)
        if dial_out.granted or dial_out.state not in _OVER:
            log.info("grant.booked", outcome=outcome, **dial_out.summary())
        else:
            # Another gateway reached the ledger, and has ended what it reserved there.
            log.error("grant.not_booked", outcome=outcome, **dial_out.summary())
        await self._let_go(grant.key)

    async def _catch_up(self, held: _Held) -> None:
        """Tell the ledger what was seen meanwhile; who follows the call tells it of the end."""
        call, key = held.call, held.call.grant.key
        if call.answered_at is not None:
            await self._books.answered(key, call.answered_at)
        if call.joined_at is not None:
            await self._books.joined(key, call.joined_at)
        if call.ending is not None and not held.own:
            await self._end(key, call.ending)

    async def _end(self, key: DialOutKey, ending: Ending) -> None:
        """Settle what a process saw end that is no more."""
        ended_at = _instant(ending.ended_at_ms)
        if ending.answered_at_ms is None:
            await self._books.void(
                key,
                at=ended_at,
                hangup_cause=ending.hangup_cause,
                disposition=ending.disposition,
                only_if_unclaimed=False,
                evidence=ending.evidence,
            )
            return
        await self._books.settle(
            key,
            answered_at=_instant(ending.answered_at_ms),
            ended_at=ended_at,
            hangup_cause=ending.hangup_cause,
            disposition=ending.disposition,
            evidence=ending.evidence,
        )

    async def _take_in(self) -> None:
        """Take over what processes have left behind that are no more."""
        keeps_lines, self._keeps_lines = self._keeps_lines, True
        try:
            # However long it takes: what was taken in must not be lost on the way.
            found = await self._on_disk(self._journal.take_in)
        except OSError as error:
            log.error("grant.journal_failed", error=str(error))
            return
        for key, call in found.items():
            self.note_key(key)
            held = self._held.get(key)
            if held is None or not held.is_released:
                # One of ours that has the same id must not be let dial any more.
                self._held[key] = _Held(call, own=False)
            log.warning("grant.found", **call.dial_out.summary())
        self._keeps_lines = keeps_lines

    # The journal.

    async def _let_go(self, key: DialOutKey) -> None:
        """Forget a call. If the disk does not, it is booked again after the next start: once."""
        self._held.pop(key, None)
        self._unbookable.discard(key)
        if self._held or self._keeps_lines or self._unbookable:
            await self._is_written(Gone(key=key))
            return
        try:
            await self._on_disk(self._journal.clear)
        except OSError as error:
            log.error("grant.journal_failed", error=str(error))

    async def _is_written(self, line: Line) -> bool:
        """Write a line; return whether it is on the disk, and was in time."""
        try:
            await asyncio.wait_for(
                self._on_disk(lambda: self._journal.append((line,))), WRITE_SECONDS_MAX
            )
        except (OSError, TimeoutError) as error:
            log.error("grant.journal_failed", error=str(error) or "the disk is slow")
            return False
        return True

    async def _on_disk(self, step: Callable[[], T]) -> T:
        """Do one thing after the other in a thread: nobody waits for the disk but who must."""
        return await asyncio.get_running_loop().run_in_executor(self._disk, step)


def _granted(
    request: DialOutRequest,
    facts: Facts,
    terms: Terms,
    bounds: GrantBounds,
    at: datetime,
    expires_at: datetime,
) -> Grant | None:
    """Return what may be granted on these facts; None if nothing may."""
    because = explain(facts, at=at, metadata_version=METADATA_VERSION)
    sources = payers(because.decision, bounds)
    if not sources:
        return None
    return Grant(
        request=request,
        destination=facts.dialled,
        sources=sources,
        terms=terms,
        limit_seconds=Seconds(min(bounds.call_seconds_max, terms.talk_seconds_max)),
        confirms=confirms(known(facts.tenant).choices, request.kind),
        explanation=because.text,
        at=at,
        expires_at=expires_at,
    )


def _asked(request: DialOutRequest) -> tuple[object, ...]:
    """Return what two requests of one key agree in, if they are one."""
    return (
        request.kind,
        request.organizer_id,
        request.initiator_id,
        request.conference_id,
        request.number_typed,
    )


def _instant(at_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=at_ms)


def _names(key: DialOutKey) -> dict[str, str]:
    return {"tenant_id": str(key.tenant_id), "dial_out_id": str(key.dial_out_id)}
