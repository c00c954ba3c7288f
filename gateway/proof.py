"""The check of the whole ledger that runs by itself, and the housekeeping that goes with it.

Months are opened ahead, and numbers are forgotten that nobody has a use for any more. It shares
the database with the calls and nothing else: connections of its own, statements that no call
waits for, and no error that goes further than a log line.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

import structlog

from gateway import metrics
from gateway.ledger import Finding, FindingCode, LastProof, Ledger, LedgerUnavailable

log = structlog.get_logger()

PERIOD_SECONDS: Final = 600.0
"""How often a gateway looks whether a check is due."""

NUMBERS_A_TURN: Final = 50_000
"""How many numbers are forgotten at a time: more than are newly called meanwhile."""

RELEASE_SECONDS: Final = 2.0
"""How long a gateway that stops waits for its claim to be given back."""

FINDINGS_LOGGED: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What is checked at a time: one month of a tenant's, or, without one, all its totals."""

    tenant_id: UUID
    month: datetime | None


async def stretches(books: Ledger, tenants: Sequence[UUID]) -> AsyncIterator[Stretch]:
    """Yield all that there is to check of these tenants, each one's months in order."""
    for tenant_id in tenants:
        for month in await books.months(tenant_id):
            yield Stretch(tenant_id=tenant_id, month=month)
        yield Stretch(tenant_id=tenant_id, month=None)


async def prove(books: Ledger, stretch: Stretch) -> tuple[Finding, ...]:
    """Return what is wrong in a stretch, as of one instant. Raises ``LedgerUnavailable``."""
    if stretch.month is None:
        return await books.check_sources(stretch.tenant_id)
    return await books.check_month(stretch.tenant_id, stretch.month)


class Proof:
    """Has one gateway at a time prove the books, and all of them show what was found.

    ``ledger`` is on connections of its own, which wait for long statements. ``every`` zero
    checks nothing, but the housekeeping is still done. ``lease_seconds`` is how long a gateway
    that checks may be silent: longer than a statement may take.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        every: timedelta,
        lease_seconds: int,
        now: Callable[[], datetime],
    ) -> None:
        self._ledger = ledger
        self._every = every
        self._lease_seconds = lease_seconds
        self._now = now
        self._holder = uuid4()

    async def run(self) -> None:
        """Look for ever whether there is something to do."""
        while True:
            await self.turn()
            await asyncio.sleep(PERIOD_SECONDS)

    async def turn(self) -> None:
        """Do what is due now; whatever goes wrong waits for the next turn."""
        try:
            await self._open_months()
            await self._ledger.forget_old_numbers(self._now(), limit=NUMBERS_A_TURN)
            if self._every and await self._claim():
                await self._check()
        except LedgerUnavailable as error:
            log.warning("ledger.unchecked", error=str(error))
        except asyncio.CancelledError:
            await self._release()
            raise
        except Exception:
            log.exception("ledger.unchecked")

    async def _release(self) -> None:
        """Let another gateway check at once; if that fails, it waits for the lease to end."""
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._ledger.proof_release(self._holder)
        except (LedgerUnavailable, TimeoutError) as error:
            log.warning("ledger.claim_kept", error=str(error))

    async def _open_months(self) -> None:
        unfiled = await self._ledger.months_open(self._now())
        metrics.unfiled(len(unfiled))
        if unfiled:
            log.warning("ledger.unfiled", tables=list(unfiled))

    async def _claim(self) -> bool:
        """Take the check on, or keep it; show what the last one found."""
        claimed, last = await self._ledger.proof_claim(
            self._holder, self._now(), every=self._every, lease_seconds=self._lease_seconds
        )
        if last is not None:
            _show(last)
        return claimed

    async def _check(self) -> None:
        began = time.monotonic()
        counts: Counter[str] = Counter({code: 0 for code in FindingCode})
        tenants = [tenant.tenant_id for tenant in await self._ledger.tenants()]
        async for stretch in stretches(self._ledger, tenants):
            _tell(counts, await prove(self._ledger, stretch))
            if not await self._claim():
                return  # another gateway has taken it on meanwhile
        last = LastProof(
            checked_at=self._now(), seconds=int(time.monotonic() - began), findings=dict(counts)
        )
        await self._ledger.proof_end(self._holder, last)
        _show(last)
        total = counts.total()
        tell = log.error if total else log.info
        tell(
            "ledger.unsound" if total else "ledger.checked",
            tenants=len(tenants),
            seconds=last.seconds,
            findings={code: count for code, count in counts.items() if count},
        )


def _tell(counts: Counter[str], findings: Sequence[Finding]) -> None:
    """Count findings; log the first of them, for one fault may break thousands of calls."""
    for finding in findings:
        if counts.total() < FINDINGS_LOGGED:
            log.error("ledger.finding", **finding.summary())
        counts[finding.check] += 1


def _show(last: LastProof) -> None:
    metrics.checked(last.findings, last.checked_at, last.seconds)
