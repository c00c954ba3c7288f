"""Ends what is past its time: calls that outlived their limits, reservations nobody claimed."""

import asyncio

import structlog

from gateway.dial_in import DialIns
from gateway.dialer import Dialer
from gateway.ledger import LedgerUnavailable
from gateway.settlement import Settlement

log = structlog.get_logger()

PERIOD_SECONDS = 2.0


class Reaper:
    """The last of three limits on a call, behind the two that Asterisk keeps by itself."""

    def __init__(self, *, dialer: Dialer, dial_ins: DialIns, settlement: Settlement) -> None:
        self._dialer = dialer
        self._dial_ins = dial_ins
        self._settlement = settlement

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            await self._dialer.hang_up_overdue()
            await self._dial_ins.hang_up_overdue()
            self._dial_ins.look_for_unadmitted()
            try:
                await self._settlement.give_back_expired()
            except LedgerUnavailable as error:
                log.warning("ledger.unavailable", error=str(error))
