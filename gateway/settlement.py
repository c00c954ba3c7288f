"""The end of a dial-out in the books: what was set aside is billed or given back, once.

Goes on trying until the ledger has answered: a settlement that is given up is money lost.
Doing it twice changes nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential, wait_random

from gateway import metrics
from gateway.ami import AmiClient, AmiError
from gateway.core.call import Ending, Unproved
from gateway.core.causes import Disposition
from gateway.core.dial_out import DialOut
from gateway.core.key import DialOutKey
from gateway.core.record import FAMILY, CallRecord
from gateway.ledger import Ledger, LedgerUnavailable, SettleOutcome, VoidOutcome

log = structlog.get_logger()

EXPIRED = "expired"

TENANT_BOOKINGS_MAX = 2
"""How much is booked at once of one tenant's calls on a bridge. The ledger takes their ends one
after the other in any case."""

BOOK_SECONDS_MAX = 2.0
"""How long after its end is known a call is in the books at the latest."""

P = ParamSpec("P")
T = TypeVar("T")


class Settlement:
    """Books answers and endings, and takes the record off the Asterisk host afterwards.

    ``unproved`` says what is billed of a call whose end nothing proves.
    """

    def __init__(
        self,
        *,
        ami: AmiClient,
        ledger: Ledger,
        now: Callable[[], datetime],
        unproved: Unproved = Unproved.LEAST,
    ) -> None:
        self._ami = ami
        self._ledger = ledger
        self._now = now
        self._unproved = unproved
        self._calls: WeakValueDictionary[DialOutKey, asyncio.Lock] = WeakValueDictionary()
        self._tenants: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()

    async def note_answer(self, key: DialOutKey, at_ms: int) -> None:
        """Note when the telephone answered, for the case that its hangup is never seen."""
        async with self._turn(key):
            await _until_booked(self._ledger.answered, key, from_ms(at_ms))

    async def note_joined(self, key: DialOutKey, at_ms: int) -> None:
        """Note when the callee came into the conference."""
        async with self._turn(key):
            await _until_booked(self._ledger.joined, key, from_ms(at_ms))

    async def end(self, key: DialOutKey, ending: Ending) -> None:
        """Bill a call that is proved to be over, or give everything back if nobody answered.

        The record on the Asterisk host goes only after the ledger has taken the ending.
        """
        with _deadline(key):
            async with self._turn(key):
                is_taken = await self._booked(key, ending)
        if not is_taken:
            return
        try:
            await self._ami.record_delete(FAMILY, key.hex)
        except AmiError as error:
            log.warning("record.kept", error=str(error), **names(key))

    async def recorded_ending(
        self,
        key: DialOutKey,
        uniqueid: str,
        noted_ms: int | None = None,
        unrecorded: Ending | None = None,
    ) -> Ending | None:
        """Return how a call ended by its channel's record; None if that cannot be had.

        ``noted_ms`` is when the telephone was seen to answer, None if it was not. ``unrecorded``
        is how it ended if the Asterisk host says that it has no record, None if nobody knows.
        """
        try:
            text = await self._ami.record(FAMILY, key.hex)
        except AmiError:
            return None
        if text is None:
            return unrecorded
        record = CallRecord.parse(text)
        if record is None or record.gate_uniqueid != uniqueid:
            return None
        return record.ending(noted_ms)

    async def give_back(
        self,
        key: DialOutKey,
        disposition: Disposition,
        evidence: str,
        *,
        claimed_as: datetime | None = None,
    ) -> bool:
        """Void a dial-out that nobody claimed; from then on nobody can. Return whether it is over.

        ``claimed_as`` is for the one who claimed it then and knows that it was never dialled; it
        is not over if another gateway has taken it over since.
        Raises ``LedgerUnavailable``; what is not given back now expires.
        """
        outcome, dial_out = await self._ledger.void(
            key,
            at=self._now(),
            hangup_cause=0,
            disposition=disposition,
            only_if_unclaimed=claimed_as is None,
            evidence=evidence,
            released_at=claimed_as,
        )
        if outcome is VoidOutcome.VOIDED and dial_out is not None:
            _tell_ended(dial_out)
        return outcome not in (VoidOutcome.RELEASED, VoidOutcome.ANSWERED)

    async def give_back_expired(self) -> None:
        """Void the dial-outs that never reached their gate. Raises ``LedgerUnavailable``."""
        for key in await self._ledger.expired(self._now()):
            await self.give_back(key, Disposition.FAILED, EXPIRED)

    @asynccontextmanager
    async def _turn(self, key: DialOutKey) -> AsyncIterator[None]:
        """Wait for the turn to book something of a call, in the order in which it came.

        An answer is noted before its call is settled, and of a tenant's calls the oldest goes
        first. A tenant whose rows are locked has few connections wait for them, and not all.
        """
        call = self._calls.setdefault(key, asyncio.Lock())
        tenant = self._tenants.setdefault(key.tenant_id, asyncio.Semaphore(TENANT_BOOKINGS_MAX))
        async with call, tenant:
            yield

    async def _booked(self, key: DialOutKey, ending: Ending) -> bool:
        """Have the ledger take the ending; return False if it has reason to disagree."""
        ended_at = from_ms(ending.ended_at_ms)
        latest_end = None if ending.latest_end_ms is None else from_ms(ending.latest_end_ms)
        if ending.answered_at_ms is None:
            voided, row = await _until_booked(
                self._ledger.void,
                key,
                at=ended_at,
                hangup_cause=ending.hangup_cause,
                disposition=ending.disposition,
                only_if_unclaimed=False,
                evidence=ending.evidence,
                latest_end=latest_end,
                released_at=ending.released_at,
            )
            return _is_taken(key, voided, VoidOutcome.VOIDED, row)
        settled, row = await _until_booked(
            self._ledger.settle,
            key,
            answered_at=from_ms(ending.answered_at_ms),
            ended_at=ended_at,
            hangup_cause=ending.hangup_cause,
            disposition=ending.disposition,
            evidence=ending.evidence,
            latest_end=latest_end,
            unproved=self._unproved,
        )
        return _is_taken(key, settled, SettleOutcome.SETTLED, row)


def from_ms(at_ms: int) -> datetime:
    """Return the instant that milliseconds since the epoch stand for."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).replace(microsecond=at_ms % 1000 * 1000)


def to_ms(at: datetime) -> int:
    """Return an instant as whole milliseconds since the epoch."""
    return int(at.timestamp() * 1000)


def names(key: DialOutKey) -> dict[str, str]:
    """Return what each log line about a dial-out carries."""
    return {"tenant_id": str(key.tenant_id), "dial_out_id": str(key.dial_out_id)}


def _is_taken(
    key: DialOutKey,
    outcome: VoidOutcome | SettleOutcome,
    done: VoidOutcome | SettleOutcome,
    row: DialOut | None,
) -> bool:
    if outcome is done and row is not None:
        _tell_ended(row)
        return True
    if outcome in (VoidOutcome.EXISTS, VoidOutcome.UNKNOWN_DIAL_OUT, SettleOutcome.EXISTS):
        return True
    log.error("dial_out.ending_disputed", outcome=outcome, **names(key))
    return False


def _tell_ended(dial_out: DialOut) -> None:
    metrics.ended(dial_out)
    log.info("dial_out.ended", **dial_out.summary())


@contextmanager
def _deadline(key: DialOutKey) -> Iterator[None]:
    """Measure how long it takes to book an ending, and say so as soon as it is late."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    telling = loop.call_later(BOOK_SECONDS_MAX, _tell_late, key)
    try:
        yield
    finally:
        telling.cancel()
    metrics.settled(loop.time() - begun)


def _tell_late(key: DialOutKey) -> None:
    log.warning("settlement.late", seconds=BOOK_SECONDS_MAX, **names(key))


async def _until_booked(
    book: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Ask the ledger until it has answered."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(LedgerUnavailable),
        wait=wait_exponential(multiplier=0.1, max=1.0) + wait_random(max=0.1),
    )
    return await retrying(book, *args, **kwargs)
