"""All conference bridges together: which of them a call is for."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import partial
from typing import Literal

import structlog

from gateway import metrics
from gateway.ami import AmiLoginRefused
from gateway.bridge import Bridge
from gateway.core.dial_out import BridgeName, DialOut, DialOutRequest, DialOutState
from gateway.core.key import DialOutKey
from gateway.dialer import BridgeUnavailable, CancelOutcome
from gateway.ledger import Ledger, LedgerUnavailable, RequestOutcome
from gateway.waiting_room import PATIENCE_SECONDS

log = structlog.get_logger()

ASK_AGAIN_SECONDS = 2.0

_OVER = frozenset({DialOutState.REFUSED, DialOutState.ENDED})


class Unplaced(StrEnum):
    """Why nobody can say which bridge a conference is on."""

    BRIDGE_UNKNOWN = "bridge_unknown"
    ON_SEVERAL_BRIDGES = "conference_on_several_bridges"
    NOT_IN_PROGRESS = "conference_not_in_progress"


class Bridges:
    """The bridges by name. ``default`` is where conferences are that are in progress nowhere."""

    def __init__(
        self, bridges: Iterable[Bridge], *, ledger: Ledger, default: BridgeName | None
    ) -> None:
        self._bridges: Mapping[BridgeName, Bridge] = {each.name: each for each in bridges}
        self._ledger = ledger
        self._default = default
        self._refused: set[BridgeName] = set()

    @property
    def ready(self) -> bool:
        """Whether a call could be placed right now, on any of them."""
        return any(each.ready for each in self._bridges.values())

    @property
    def stand_in(self) -> bool:
        """Whether the ledger is away, and calls are granted meanwhile."""
        return any(each.stands_in for each in self._bridges.values())

    @property
    def states(self) -> dict[str, Literal["ready", "away"]]:
        """Of each bridge, by name, whether a call could be placed on it."""
        return {name: "ready" if each.ready else "away" for name, each in self._bridges.items()}

    async def run(self) -> None:
        """Serve until cancelled. Raises ``AmiLoginRefused`` once no Asterisk lets us in."""
        self._show()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell_of_forgotten())
            for bridge in self._bridges.values():
                tasks.create_task(self._serve(bridge))

    # Where a call belongs.

    def locate(self, conference_id: str, named: BridgeName | None) -> BridgeName | Unplaced:
        """Return the bridge of a conference: the one that is named, else the one that hosts it.

        Else the default. One that is away and had the conference when it was last seen is
        returned even so: the call is refused there, and not made from another bridge.

        Raises ``BridgeUnavailable`` if a bridge that has just gone, or has not come yet, may
        host it, and no other one does.
        """
        if named is not None:
            return named if named in self._bridges else Unplaced.BRIDGE_UNKNOWN
        if len(self._bridges) == 1:
            return next(iter(self._bridges))
        bridges = self._bridges.values()
        hosts = [each.name for each in bridges if each.hosts(conference_id)] or [
            each.name for each in bridges if conference_id in each.conferences
        ]
        if len(hosts) > 1:
            return Unplaced.ON_SEVERAL_BRIDGES
        if hosts:
            return hosts[0]
        if any(each.conferences.in_doubt for each in bridges):
            raise BridgeUnavailable
        return self._default or Unplaced.NOT_IN_PROGRESS

    async def home(
        self, key: DialOutKey, conference_id: str, named: BridgeName | None
    ) -> BridgeName | Unplaced:
        """Return the bridge of a dial-out: its own if it is on record, else see ``locate``.

        Raises ``LedgerUnavailable``, too.
        """
        if len(self._bridges) > 1:
            dial_out = await self._on_record(key)
            if dial_out is not None and dial_out.request.bridge in self._bridges:
                return dial_out.request.bridge
        return self.locate(conference_id, named)

    async def _on_record(self, key: DialOutKey) -> DialOut | None:
        """Return a dial-out. Where calls are granted meanwhile, an absent ledger has none."""
        try:
            return await self._ledger.dial_out(key)
        except LedgerUnavailable:
            if not self.stand_in:
                raise
            return None

    # What clients ask for.

    async def place(
        self, request: DialOutRequest, *, patience_seconds: float = PATIENCE_SECONDS
    ) -> tuple[RequestOutcome, DialOut | None]:
        """Place a call on the bridge that it names; see ``Dialer.place``.

        One that was asked for before is its own bridge's, wherever the conference is by now.
        """
        with structlog.contextvars.bound_contextvars(bridge=request.bridge):
            outcome, dial_out = await self._bridge(request.bridge).place(
                request, patience_seconds=patience_seconds
            )
        if (
            outcome is RequestOutcome.EXISTS
            and dial_out is not None
            and dial_out.state is DialOutState.RESERVED
            and dial_out.request.bridge != request.bridge
        ):
            bridge = self._bridge(dial_out.request.bridge)
            with structlog.contextvars.bound_contextvars(bridge=bridge.name):
                dial_out = await bridge.dialer.dial(dial_out)
        return outcome, dial_out

    async def cancel(self, key: DialOutKey) -> DialOut | None:
        """End a dial-out on its own bridge; see ``Dialer.cancel``."""
        dial_out = await self._ledger.dial_out(key)
        if dial_out is None or dial_out.state in _OVER:
            return dial_out
        bridge = self._bridge(dial_out.request.bridge)
        with structlog.contextvars.bound_contextvars(bridge=bridge.name):
            return await bridge.dialer.cancel(key)

    async def cancel_unanswered(self, key: DialOutKey) -> CancelOutcome:
        """End a dial-out on its own bridge, unless answered; see ``Dialer.cancel_unanswered``.

        One that is answered on record needs no bridge to say so.
        """
        dial_out = await self._ledger.dial_out(key)
        if dial_out is None or dial_out.state in _OVER:
            return CancelOutcome.OVER
        name = dial_out.request.bridge
        if dial_out.state is DialOutState.ANSWERED and name not in self._bridges:
            return CancelOutcome.ANSWERED
        bridge = self._bridge(name)
        with structlog.contextvars.bound_contextvars(bridge=bridge.name):
            return await bridge.dialer.cancel_unanswered(key)

    def _bridge(self, name: BridgeName) -> Bridge:
        """Return a bridge; ``BridgeUnavailable`` for one that the settings know no longer."""
        bridge = self._bridges.get(name)
        if bridge is None:
            raise BridgeUnavailable
        return bridge

    # What runs.

    async def _serve(self, bridge: Bridge) -> None:
        """Run one bridge; one that refuses the login takes the others along only if all do."""
        structlog.contextvars.bind_contextvars(bridge=bridge.name)
        try:
            await bridge.run()
        except* AmiLoginRefused:
            self._refused.add(bridge.name)
            if self._refused == self._bridges.keys():
                raise
            log.error("bridge.login_refused")

    def _show(self) -> None:
        """Have the metrics show the bridges as they are when somebody reads them."""
        for bridge in self._bridges.values():
            metrics.watch(
                bridge.name,
                calls=partial(_calls, bridge),
                asterisk_up=partial(getattr, bridge, "asterisk_answers"),
                ready=partial(getattr, bridge, "ready"),
            )
        metrics.watch_ledger(lambda: any(each.ledger_answers for each in self._bridges.values()))

    async def _tell_of_forgotten(self) -> None:
        """Say which bridges have open calls and are not in the settings: nobody follows them."""
        while True:
            try:
                open_dial_outs = await self._ledger.open_dial_outs()
            except LedgerUnavailable:
                await asyncio.sleep(ASK_AGAIN_SECONDS)
                continue
            calls = Counter(each.request.bridge for each in open_dial_outs)
            for name in sorted(calls.keys() - self._bridges.keys()):
                log.error("bridge.forgotten", bridge=name, calls=calls[name])
            return


def _calls(bridge: Bridge) -> int:
    return len(bridge.live_keys())
