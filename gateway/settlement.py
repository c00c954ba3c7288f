"""The end of a dial-out in the books: what was set aside is billed or given back, once.

Goes on trying until the ledger has answered: a settlement that is given up is money lost.
Doing it twice changes nothing.
"""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential, wait_random

from gateway import metrics
from gateway.ami import AmiClient, AmiError
from gateway.core.call import Ending
from gateway.core.causes import Disposition
from gateway.core.dial_out import DialOut
from gateway.core.key import DialOutKey
from gateway.core.record import FAMILY, CallRecord
from gateway.ledger import Ledger, LedgerUnavailable, SettleOutcome, VoidOutcome

log = structlog.get_logger()

EXPIRED = "expired"

P = ParamSpec("P")
T = TypeVar("T")


class Settlement:
    """Books answers and endings, and takes the record off the Asterisk host afterwards."""

    def __init__(self, *, ami: AmiClient, ledger: Ledger, now: Callable[[], datetime]) -> None:
        self._ami = ami
        self._ledger = ledger
        self._now = now

    async def note_answer(self, key: DialOutKey, at_ms: int) -> None:
        """Note when the telephone answered, for the case that its hangup is never seen."""
        await _until_booked(self._ledger.answered, key, from_ms(at_ms))

    async def note_joined(self, key: DialOutKey, at_ms: int) -> None:
        """Note when the callee came into the conference."""
        await _until_booked(self._ledger.joined, key, from_ms(at_ms))

    async def end(self, key: DialOutKey, ending: Ending) -> None:
        """Bill a call that is proved to be over, or give everything back if nobody answered.

        The record on the Asterisk host goes only after the ledger has taken the ending.
        """
        if not await self._booked(key, ending):
            return
        try:
            await self._ami.record_delete(FAMILY, key.hex)
        except AmiError as error:
            log.warning("record.kept", error=str(error), **names(key))

    async def recorded_ending(self, key: DialOutKey, uniqueid: str) -> Ending | None:
        """Return how a call ended by its channel's record; None if that cannot be had."""
        try:
            text = await self._ami.record(FAMILY, key.hex)
        except AmiError:
            return None
        record = CallRecord.parse(text) if text else None
        if record is None or record.gate_uniqueid != uniqueid:
            return None
        return record.ending()

    async def give_back(
        self,
        key: DialOutKey,
        disposition: Disposition,
        evidence: str,
        *,
        claimed_too: bool = False,
    ) -> None:
        """Void a dial-out that nobody claimed; from then on nobody can.

        ``claimed_too`` is for the one who claimed it and knows that it was never dialled.
        Raises ``LedgerUnavailable``; what is not given back now expires.
        """
        outcome, dial_out = await self._ledger.void(
            key,
            at=self._now(),
            hangup_cause=0,
            disposition=disposition,
            only_if_unclaimed=not claimed_too,
            evidence=evidence,
        )
        if outcome is VoidOutcome.VOIDED and dial_out is not None:
            _tell_ended(dial_out)

    async def give_back_expired(self) -> None:
        """Void the dial-outs that never reached their gate. Raises ``LedgerUnavailable``."""
        for key in await self._ledger.expired(self._now()):
            await self.give_back(key, Disposition.FAILED, EXPIRED)

    async def _booked(self, key: DialOutKey, ending: Ending) -> bool:
        """Have the ledger take the ending; return False if it has reason to disagree."""
        ended_at = from_ms(ending.ended_at_ms)
        if ending.answered_at_ms is None:
            voided, row = await _until_booked(
                self._ledger.void,
                key,
                at=ended_at,
                hangup_cause=ending.hangup_cause,
                disposition=ending.disposition,
                only_if_unclaimed=False,
                evidence=ending.evidence,
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


async def _until_booked(
    book: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Ask the ledger until it has answered."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(LedgerUnavailable),
        wait=wait_exponential(multiplier=0.1, max=5.0) + wait_random(max=0.1),
    )
    return await retrying(book, *args, **kwargs)
