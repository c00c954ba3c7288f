"""One conference bridge as the gateway sees it: its link, its heartbeat, whether it is ready.

The heartbeat tells the gate that somebody can decide. It is renewed only while the link
is up, the calls are reconciled and the ledger answers; so a gateway that cannot decide
lets the gate refuse at once instead of keeping callers waiting.
"""

import asyncio
import contextlib
import time
from itertools import chain, groupby

import structlog

from gateway.abandonment import Abandonment
from gateway.ami import AmiClient, AmiError, Event, LinkDown, LinkUp
from gateway.conferences import Conferences
from gateway.core.dial_out import BridgeName, DialOut, DialOutRequest
from gateway.core.key import DialOutKey
from gateway.dial_in import DialIns
from gateway.dialer import BridgeUnavailable, Dialer
from gateway.grants import Grants
from gateway.guard import Guard
from gateway.keypad import Keypad
from gateway.ledger import Ledger, LedgerUnavailable, RequestOutcome
from gateway.outages import Outages
from gateway.reaper import Reaper
from gateway.reconcile import Present, Reconciliation
from gateway.settlement import from_ms
from gateway.tripwire import Tripwire
from gateway.waiting_room import PATIENCE_SECONDS

log = structlog.get_logger()

HEARTBEAT = "DIALOUT_HEARTBEAT"
HEARTBEAT_SECONDS = 2.0
HEARTBEAT_LASTS_SECONDS = 5.0
"""How long the gate stays open after a heartbeat, less a second for a call to get there."""

SEEN_SECONDS = 10.0

RECONCILE_SECONDS_MIN = 5.0
RECONCILE_SECONDS_MAX = 20.0
RECONCILE_SHARE = 0.02
"""How often everything is compared without a reason: so often that it takes this share of the
time, within these bounds. The more calls are up, the longer it takes."""

LEFT_SECONDS = 1.0
"""How often the records of ended calls are looked at. What lies there at two looks in a row is
settled by whoever sees it; so no call waits longer for its end when its gateway has died."""


class Bridge:
    """Consumes the events of one Asterisk, in order, and keeps it and the ledger in step."""

    def __init__(
        self,
        *,
        name: BridgeName,
        ami: AmiClient,
        ledger: Ledger,
        dialer: Dialer,
        dial_ins: DialIns,
        reconciliation: Reconciliation,
        guard: Guard,
        reaper: Reaper,
        outages: Outages,
        grants: Grants | None = None,
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
            bridge=name,
            ami=ami,
            ledger=ledger,
            dialer=dialer,
            grants=grants is not None,
        )
        self._abandonment = Abandonment(ami=ami, dialer=dialer, conferences=self.conferences)
        self._keypad = Keypad(
            bridge=name, ami=ami, ledger=ledger, dialer=dialer, cancel=self._abandonment.cancel
        )
        self._reaper = reaper
        self._outages = outages
        self._grants = grants
        self._reconciled = False
        self._ledger_answers = False
        self._beats_until = 0.0
        self._clock_ms = 0
        self._seen_at_ms = 0
        self._links_lost = 0
        self._link_lost = asyncio.Event()
        self._unnoted: dict[DialOutKey, int] = {}
        """Calls that were alive when the link was lost, and when by Asterisk's clock, until the
        ledger has it."""

    @property
    def ready(self) -> bool:
        """Whether a call could be placed right now."""
        return self._can_decide and self._beats

    @property
    def _beats(self) -> bool:
        """Whether the gate takes what gets there in the next second for somebody's to decide."""
        return time.monotonic() < self._beats_until

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

    async def place(
        self, request: DialOutRequest, *, patience_seconds: float = PATIENCE_SECONDS
    ) -> tuple[RequestOutcome, DialOut | None]:
        """Place a call here, see ``Dialer.place``; its asker may be gone by then.

        Without a heartbeat the gate would turn it away, and it would be lost: nothing is begun.
        """
        if not self._beats:
            if self._ami.ready and not self._ledger_answers:
                raise LedgerUnavailable("There is no heartbeat without it.")
            raise BridgeUnavailable
        outcome, dial_out = await self.dialer.place(request, patience_seconds=patience_seconds)
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
        decides = self._ledger_answers or self.stands_in
        return self._ami.ready and self._reconciled and decides

    @property
    def stands_in(self) -> bool:
        """Whether calls are granted while the ledger is away."""
        return self._grants is not None and self._grants.stand_in

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
            tasks.create_task(self._settle_left())
            tasks.create_task(self._beat())
            tasks.create_task(self._watch())
            tasks.create_task(self._guard.run())
            tasks.create_task(self._abandonment.run())
            tasks.create_task(self._reaper.run())
            tasks.create_task(self._outages.run())

    async def drain(self, seconds: float) -> None:
        """Let what is in hand be finished: first whoever waits for an answer, then the calls."""
        await self._keypad.drain(seconds)
        await self.dialer.drain(seconds)
        await self._dial_ins.drain(seconds)
        await self._tripwire.drain(seconds)
        await self._reconciliation.drain(seconds)
        await self._outages.stop()

    async def _consume(self) -> None:
        async for event in self._ami.events():
            match event:
                case LinkUp():
                    if self._grants is not None:
                        self._grants.note_link()
                    self._outages.link_up(event.uptime_seconds)
                    self.dialer.in_doubt.set()
                case LinkDown():
                    self._outages.link_down(event.reason)
                    self._reconciled = False
                    self._beats_until = 0.0
                    self._links_lost += 1
                    alive = self._alive()
                    self._unnoted.update(dict.fromkeys(alive.keys, alive.at_ms))
                    self._reconciliation.forget_list()
                    self._link_lost.set()
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
        every_seconds = RECONCILE_SECONDS_MIN
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.dialer.in_doubt.wait(), every_seconds)
            self.dialer.in_doubt.clear()
            if not self._ami.ready:
                continue
            begun_at = time.monotonic()
            links_lost = self._links_lost
            try:
                await self._list_conferences()
                if self._grants is not None:
                    await self._grants.book()  # or a call that was granted would be nobody's
                absent = await self._reconciliation.run()
                if self._links_lost != links_lost:
                    self._reconciliation.forget_list()
                    continue  # what it was made to agree with is past; the next link says so
                took_seconds = time.monotonic() - begun_at
                every_seconds = min(
                    RECONCILE_SECONDS_MAX,
                    max(RECONCILE_SECONDS_MIN, took_seconds / RECONCILE_SHARE),
                )
                self._reconciled = True
                if self._ledger_answers and not self._beats:
                    await self._renew()
                await self._note_present()
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

    async def _settle_left(self) -> None:
        """Settle what other gateways have left behind, while they are not there to do it."""
        seen: frozenset[str] = frozenset()
        while True:
            await asyncio.sleep(LEFT_SECONDS)
            if not self._can_decide:
                seen = frozenset()
                continue
            try:
                seen = await self._reconciliation.settle_left(seen)
            except (AmiError, LedgerUnavailable) as error:
                log.warning("records.unread", error=str(error))
            except Exception:
                log.exception("records.unread")

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
            if self._ami.ready:
                await self._renew()
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _ask_ledger(self) -> None:
        """Note whether the ledger answers, also while Asterisk does not."""
        try:
            await self._ledger.ping()
            self._ledger_answers = True
            self._outages.ledger_answered()
        except LedgerUnavailable as error:
            self._ledger_answers = False
            self._outages.ledger_silent(str(error))
            log.warning("heartbeat.skipped", error=str(error))

    async def _renew(self) -> None:
        """Read Asterisk's clock, and tell the gate that somebody can decide, if that is so."""
        try:
            asked = time.monotonic()
            clock_ms = self._clock_ms = await self._ami.ping()
            self._outages.clock_read(clock_ms, asked=asked)
            if self._can_decide:
                await self._ami.set_variable(HEARTBEAT, str(clock_ms // 1000))
                self._beats_until = asked + HEARTBEAT_LASTS_SECONDS
        except AmiError as error:
            log.warning("heartbeat.skipped", error=str(error))

    async def _watch(self) -> None:
        """Note which calls were alive when the link was lost, by the clock that was told last.

        Those that are witnessed on that link, or were in a list that came over it, and for
        which no hangup had come. What the ledger does not take now it is told again.
        """
        while True:
            await self._link_lost.wait()
            self._link_lost.clear()
            for at_ms in sorted(set(self._unnoted.values())):
                keys = frozenset(key for key, then in self._unnoted.items() if then == at_ms)
                for key in keys - await self._note_seen(Present(keys=keys, at_ms=at_ms)):
                    if self._unnoted[key] == at_ms:
                        del self._unnoted[key]
            if self._unnoted:
                await asyncio.sleep(HEARTBEAT_SECONDS)
                self._link_lost.set()

    async def _note_present(self) -> None:
        """Note now and then which calls the last list had."""
        present = self._reconciliation.present
        is_due = present.at_ms >= self._seen_at_ms + SEEN_SECONDS * 1000
        if is_due and not await self._note_seen(present):
            self._seen_at_ms = present.at_ms

    async def _note_seen(self, present: Present) -> frozenset[DialOutKey]:
        """Note in the ledger that calls were alive; the latest instant stands there.

        Return those of which it could not be noted: one tenant's keep no other's from it.
        """
        keys = sorted(present.keys, key=lambda key: key.hex)
        left: list[DialOutKey] = []
        for tenant_id, group in groupby(keys, key=lambda key: key.tenant_id):
            of_tenant = list(group)
            ids = [key.dial_out_id for key in of_tenant]
            try:
                await self._ledger.seen(tenant_id, ids, from_ms(present.at_ms))
            except LedgerUnavailable as error:
                log.warning("calls.unwatched", error=str(error), tenant_id=str(tenant_id))
                left += of_tenant
        return frozenset(left)

    def _alive(self) -> Present:
        """Return the calls that this link has shown alive, and has told no end of."""
        if not self._clock_ms:
            return Present()
        listed = self._reconciliation.present.keys & self.live_keys()
        witnessed = self.dialer.calls.witnessed_keys() | self._dial_ins.witnessed_keys()
        return Present(keys=listed | witnessed, at_ms=self._clock_ms)
