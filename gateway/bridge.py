"""One conference bridge as the gateway sees it: its link, its heartbeat, whether it is ready.

The heartbeat tells the gate that somebody can decide. It is renewed only while the link
is up, the calls are reconciled and the ledger answers; so a gateway that cannot decide
lets the gate refuse at once instead of keeping callers waiting.
"""

import asyncio
from itertools import groupby

import structlog

from gateway.ami import AmiClient, AmiError, Event, LinkDown, LinkUp
from gateway.dialer import Dialer
from gateway.guard import Guard
from gateway.ledger import Ledger, LedgerUnavailable
from gateway.reconcile import Reconciliation
from gateway.settlement import from_ms

log = structlog.get_logger()

HEARTBEAT = "DIALOUT_HEARTBEAT"
HEARTBEAT_SECONDS = 2.0
SEEN_SECONDS = 10.0

RECONCILE_SECONDS = 60.0


class Bridge:
    """Consumes the events of one Asterisk, in order, and keeps it and the ledger in step."""

    def __init__(
        self,
        *,
        ami: AmiClient,
        ledger: Ledger,
        dialer: Dialer,
        reconciliation: Reconciliation,
        guard: Guard,
    ) -> None:
        self._ami = ami
        self._ledger = ledger
        self._dialer = dialer
        self._reconciliation = reconciliation
        self._guard = guard
        self._reconciled = False
        self._ledger_answers = False
        self._beats = False

    @property
    def ready(self) -> bool:
        """Whether a call could be placed right now."""
        return self._can_decide and self._beats

    @property
    def ledger_answers(self) -> bool:
        """Whether the ledger answered the last heartbeat."""
        return self._ledger_answers

    @property
    def _can_decide(self) -> bool:
        return self._ami.ready and self._reconciled and self._ledger_answers

    async def run(self) -> None:
        """Serve until cancelled. Raises ``AmiLoginRefused`` if Asterisk does not let us in."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._ami.run())
            tasks.create_task(self._consume())
            tasks.create_task(self._reconcile())
            tasks.create_task(self._beat())
            tasks.create_task(self._watch())
            tasks.create_task(self._guard.run())

    async def _consume(self) -> None:
        async for event in self._ami.events():
            match event:
                case LinkUp():
                    self._dialer.in_doubt.set()
                case LinkDown():
                    self._reconciled = False
                    self._beats = False
                    self._dialer.link_lost()
                    self._guard.link_lost()
                case _:
                    self._handle(event)

    def _handle(self, event: Event) -> None:
        """Have the dialer apply an event; a fault in one call takes no other call along."""
        try:
            self._dialer.handle(event)
            self._guard.handle(event)
        except Exception:
            log.exception("event.failed", event_type=type(event).__name__)
            self._dialer.in_doubt.set()

    async def _reconcile(self) -> None:
        while True:
            try:
                async with asyncio.timeout(RECONCILE_SECONDS):
                    await self._dialer.in_doubt.wait()
            except TimeoutError:
                pass
            self._dialer.in_doubt.clear()
            if not self._ami.ready:
                continue
            try:
                absent = await self._reconciliation.run()
                self._reconciled = True
                self._guard.calls_reconciled()
                await self._reconciliation.look_again(absent)
            except (AmiError, LedgerUnavailable) as error:
                log.warning("calls.unreconciled", error=str(error))
                await self._reconcile_later()
            except Exception:
                log.exception("calls.unreconciled")
                await self._reconcile_later()

    async def _reconcile_later(self) -> None:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        self._dialer.in_doubt.set()

    async def _beat(self) -> None:
        while True:
            await self._ask_ledger()
            if self._can_decide:
                await self._renew()
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _ask_ledger(self) -> None:
        """Note whether the ledger answers, also while Asterisk does not."""
        try:
            await self._ledger.ping()
            self._ledger_answers = True
        except LedgerUnavailable as error:
            self._ledger_answers = False
            log.warning("heartbeat.skipped", error=str(error))

    async def _renew(self) -> None:
        try:
            clock_ms = await self._ami.ping()
            await self._ami.set_variable(HEARTBEAT, str(clock_ms // 1000))
            self._beats = True
        except AmiError as error:
            log.warning("heartbeat.skipped", error=str(error))

    async def _watch(self) -> None:
        """Note now and then which calls were alive, apart from the beat, which must not wait."""
        while True:
            await asyncio.sleep(SEEN_SECONDS)
            if not self.ready:
                continue
            try:
                await self._note_seen(await self._ami.ping())
            except (AmiError, LedgerUnavailable) as error:
                log.warning("calls.unwatched", error=str(error))

    async def _note_seen(self, clock_ms: int) -> None:
        """Note in the ledger that the calls in hand were alive: no hangup has come for them."""
        keys = sorted(self._dialer.live_keys(), key=lambda key: key.hex)
        for tenant_id, group in groupby(keys, key=lambda key: key.tenant_id):
            ids = [key.dial_out_id for key in group]
            await self._ledger.seen(tenant_id, ids, from_ms(clock_ms))
