"""One conference bridge as the gateway sees it: its link, its heartbeat, whether it is ready.

The heartbeat tells the gate that somebody can decide. It is renewed only while the link
is up, the calls are reconciled and the ledger answers; so a gateway that cannot decide
lets the gate refuse at once instead of keeping callers waiting.
"""

import asyncio
from collections.abc import Collection
from itertools import chain, groupby

import structlog

from gateway.abandonment import Abandonment
from gateway.ami import AmiClient, AmiError, Event, LinkDown, LinkUp
from gateway.conferences import Conferences
from gateway.core.dial_out import BridgeName, DialOut, DialOutRequest
from gateway.core.key import DialOutKey
from gateway.dial_in import DialIns
from gateway.dialer import Dialer
from gateway.guard import Guard
from gateway.keypad import Keypad
from gateway.ledger import Ledger, LedgerUnavailable, RequestOutcome
from gateway.reaper import Reaper
from gateway.reconcile import Reconciliation
from gateway.settlement import from_ms
from gateway.tripwire import Tripwire

log = structlog.get_logger()

HEARTBEAT = "DIALOUT_HEARTBEAT"
HEARTBEAT_SECONDS = 2.0
SEEN_SECONDS = 10.0

RECONCILE_SECONDS = 60.0


class Bridge:
    """Consumes the events of one Asterisk, in order, and keeps it and the ledger in step.

    ``bridges`` are the names of all that are served, this one among them.
    """

    def __init__(
        self,
        *,
        name: BridgeName,
        bridges: Collection[BridgeName],
        ami: AmiClient,
        ledger: Ledger,
        dialer: Dialer,
        dial_ins: DialIns,
        reconciliation: Reconciliation,
        guard: Guard,
        reaper: Reaper,
    ) -> None:
        self.name = name
        self.dialer = dialer
        self._dial_ins = dial_ins
        self.conferences = Conferences(ami)
        self._ami = ami
        self._ledger = ledger
        self._reconciliation = reconciliation
        self._guard = guard
        self._tripwire = Tripwire(
            bridge=name, bridges=bridges, ami=ami, ledger=ledger, dialer=dialer
        )
        self._abandonment = Abandonment(ami=ami, dialer=dialer, conferences=self.conferences)
        self._keypad = Keypad(
            bridge=name, ami=ami, ledger=ledger, dialer=dialer, cancel=self._abandonment.cancel
        )
        self._reaper = reaper
        self._reconciled = False
        self._ledger_answers = False
        self._beats = False

    @property
    def ready(self) -> bool:
        """Whether a call could be placed right now."""
        return self._can_decide and self._beats

    def live_keys(self) -> frozenset[DialOutKey]:
        """Return the keys of the calls that are up or on their way, out and in."""
        return frozenset(chain(self.dialer.calls.keys(), self._dial_ins.live_keys()))

    @property
    def asterisk_answers(self) -> bool:
        """Whether Asterisk takes actions from us."""
        return self._ami.ready

    @property
    def ledger_answers(self) -> bool:
        """Whether the ledger answered the last heartbeat."""
        return self._ledger_answers

    async def place(self, request: DialOutRequest) -> tuple[RequestOutcome, DialOut | None]:
        """Place a call here, see ``Dialer.place``; its asker may be gone by then."""
        outcome, dial_out = await self.dialer.place(request)
        if request.asker_uniqueid is not None:
            self._abandonment.look_for(request.asker_uniqueid)
        return outcome, dial_out

    def hosts(self, conference_id: str) -> bool:
        """Return whether a conference is in progress here, or somebody is being called into it."""
        if self.conferences.known and conference_id in self.conferences:
            return True
        return self.dialer.calls.has_for(conference_id)

    @property
    def _can_decide(self) -> bool:
        return self._ami.ready and self._reconciled and self._ledger_answers

    async def run(self) -> None:
        """Serve until cancelled. Raises ``AmiLoginRefused`` if Asterisk does not let us in."""
        try:
            await self._serve()
        finally:
            self._ledger_answers = False  # nobody asks it any more

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._ami.run())
            tasks.create_task(self._consume())
            tasks.create_task(self._reconcile())
            tasks.create_task(self._beat())
            tasks.create_task(self._watch())
            tasks.create_task(self._guard.run())
            tasks.create_task(self._abandonment.run())
            tasks.create_task(self._reaper.run())

    async def drain(self, seconds: float) -> None:
        """Let what is in hand be finished: first whoever waits for an answer, then the calls."""
        await self._keypad.drain(seconds)
        await self.dialer.drain(seconds)
        await self._dial_ins.drain(seconds)
        await self._tripwire.drain(seconds)

    async def _consume(self) -> None:
        async for event in self._ami.events():
            match event:
                case LinkUp():
                    self.dialer.in_doubt.set()
                case LinkDown():
                    self._reconciled = False
                    self._beats = False
                    self.conferences.link_lost()
                    self.dialer.calls.link_lost()
                    self._dial_ins.link_lost()
                    self._guard.link_lost()
                    self._keypad.link_lost()
                    self._abandonment.link_lost()
                case _:
                    self._handle(event)

    def _handle(self, event: Event) -> None:
        """Have the dialer apply an event; a fault in one call takes no other call along."""
        self.conferences.handle(event)
        try:
            self.dialer.handle(event)
            self._tripwire.handle(event)
            self._dial_ins.handle(event)
            self._guard.handle(event)
            self._keypad.handle(event)
            self._abandonment.handle(event)
        except Exception:
            log.exception("event.failed", event_type=type(event).__name__)
            self.dialer.in_doubt.set()

    async def _reconcile(self) -> None:
        while True:
            try:
                async with asyncio.timeout(RECONCILE_SECONDS):
                    await self.dialer.in_doubt.wait()
            except TimeoutError:
                pass
            self.dialer.in_doubt.clear()
            if not self._ami.ready:
                continue
            try:
                await self._list_conferences()
                absent = await self._reconciliation.run()
                self._reconciled = True
                self._guard.calls_reconciled()
                self._abandonment.calls_reconciled()
                await self._tripwire.sweep()
                await self._reconciliation.look_again(absent)
            except (AmiError, LedgerUnavailable) as error:
                log.warning("calls.unreconciled", error=str(error))
                await self._reconcile_later()
            except Exception:
                log.exception("calls.unreconciled")
                await self._reconcile_later()

    async def _list_conferences(self) -> None:
        """List what is in progress; no call is left unsettled because that fails."""
        try:
            await self.conferences.take_stock()
        except AmiError as error:
            log.warning("conferences.unlisted", error=str(error))

    async def _reconcile_later(self) -> None:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        self.dialer.in_doubt.set()

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
        keys = sorted(self.live_keys(), key=lambda key: key.hex)
        for tenant_id, group in groupby(keys, key=lambda key: key.tenant_id):
            ids = [key.dial_out_id for key in group]
            await self._ledger.seen(tenant_id, ids, from_ms(clock_ms))
