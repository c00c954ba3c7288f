"""Hangs up every leg on the trunk that no gate let through.

Asterisk has no right to originate here and not there: whoever may do it at all can dial the
trunk past the gate. What such a leg cannot have is a released dial-out. So each leg that begins
is held against the channel that dials it: a gate that this gateway released, or one that, so
the ledger says, another gateway did. A release is good for one leg.

It fails closed. A leg that begins while the ledger does not answer is hung up, unless this
gateway released it: no other one could have either.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Coroutine, Iterable
from enum import StrEnum
from typing import Any

import structlog

from gateway import metrics
from gateway.ami import AmiClient, AmiError, AmiRefused, Channel, DialBegin, Event
from gateway.core.causes import CAUSE_REFUSED
from gateway.core.dial_out import BridgeName, DialOutKind, DialOutState
from gateway.dialer import TRUNK_CHANNELS, Dialer
from gateway.ledger import Ledger, LedgerUnavailable

log = structlog.get_logger()

LEDGER_SECONDS = 1.0
"""How long a leg that nobody here knows may ring while the ledger is asked."""

RELEASES_MAX = 10_000
"""How many releases are remembered, so that none is good for a second leg."""

_UNDER_WAY = frozenset({DialOutState.RELEASED, DialOutState.ANSWERED})
_DIALLED = "AppDial"
_ANSWERED = "Up"
_CALLS_IN = "Ring"


class Breach(StrEnum):
    """Why a leg was hung up."""

    NOT_RELEASED = "not_released"
    SECOND_LEG = "second_leg"
    LEDGER_AWAY = "ledger_away"
    FOUND = "found"


class Tripwire:
    """Watches the trunk of one Asterisk. ``bridges`` are all that the settings name."""

    def __init__(
        self,
        *,
        bridge: BridgeName,
        bridges: Collection[BridgeName],
        ami: AmiClient,
        ledger: Ledger,
        dialer: Dialer,
    ) -> None:
        self._bridge = bridge
        self._bridges = bridges
        self._ami = ami
        self._ledger = ledger
        self._dialer = dialer
        self._legs: OrderedDict[str, str] = OrderedDict()
        """Which leg a gate dialled first, of those that another gateway released."""
        self._steps: set[asyncio.Task[None]] = set()
        self._in_hand: set[str] = set()
        for breach in Breach:
            metrics.tripped(bridge, breach, legs=0)  # or an alert would not see the first one rise

    def handle(self, event: Event) -> None:
        """Judge a leg that begins; never waits. The dialer must have applied the event before."""
        match event:
            case DialBegin() if event.dest_channel.startswith(TRUNK_CHANNELS):
                if not self._dialer.calls.has_released(event.uniqueid, event.dest_uniqueid):
                    self._spawn(event.dest_uniqueid, self._judge(event))
            case _:
                pass

    async def sweep(self) -> None:
        """Hang up the legs that began while nobody watched, and that are of no open dial-out.

        The calls must have been reconciled before. A leg that an Originate dialled, and that was
        answered before this look, cannot be told from a call that came in; it stays. So does the
        leg of a call whose bridge the settings do not name: this Asterisk may have had its name.

        Raises ``AmiError`` or ``LedgerUnavailable``; nothing is hung up then.
        """
        suspects = self._unaccounted(await self._ami.channels())
        if not suspects:
            return
        forgotten = await self._gates_of_forgotten_bridges()
        # The first list may be older than the end of a call that was settled meanwhile.
        channels = await self._ami.channels()
        paid = {each.linkedid for each in channels if each.uniqueid in forgotten}
        again = self._unaccounted(each for each in channels if each.linkedid not in paid)
        for uniqueid in suspects.keys() & again.keys():
            await self._trip(suspects[uniqueid].name, dialled_by="", breach=Breach.FOUND)

    async def drain(self, seconds: float) -> None:
        """Let the legs in hand be judged; after ``seconds`` the rest is left to other gateways."""
        if self._steps:
            await asyncio.wait(self._steps, timeout=seconds)
        for step in list(self._steps):
            step.cancel()
        await asyncio.gather(*self._steps, return_exceptions=True)

    async def _judge(self, event: DialBegin) -> None:
        error = None
        try:
            breach = await self._breach(event)
        except (TimeoutError, LedgerUnavailable) as away:
            breach, error = Breach.LEDGER_AWAY, repr(away)
        if breach is not None:
            await self._trip(
                event.dest_channel, dialled_by=event.uniqueid, breach=breach, error=error
            )

    async def _breach(self, event: DialBegin) -> Breach | None:
        """Return why a leg must not be; None for one that another gateway let begin.

        Raises ``LedgerUnavailable``, or ``TimeoutError`` when the ledger takes too long.
        """
        gate_uniqueid = event.uniqueid
        if not gate_uniqueid:
            return Breach.NOT_RELEASED  # an Originate, which is never the gate's
        async with asyncio.timeout(LEDGER_SECONDS):
            released = await self._ledger.is_released(gate_uniqueid, self._bridge)
        if not released:
            return Breach.NOT_RELEASED
        return None if self._is_first(gate_uniqueid, event.dest_uniqueid) else Breach.SECOND_LEG

    def _is_first(self, gate_uniqueid: str, leg: str) -> bool:
        """Return whether a release had no other leg yet."""
        if self._dialer.calls.leg_of(gate_uniqueid) not in (None, leg):
            return False
        first = self._legs.setdefault(gate_uniqueid, leg)
        if len(self._legs) > RELEASES_MAX:
            self._legs.popitem(last=False)
        return first == leg

    async def _gates_of_forgotten_bridges(self) -> frozenset[str]:
        """Return the gates of the calls under way that no bridge of the settings follows."""
        return frozenset(
            each.channel_uniqueid
            for each in await self._ledger.open_dial_outs()
            if each.request.bridge not in self._bridges
            and each.request.kind is not DialOutKind.DIAL_IN
            and each.state in _UNDER_WAY
        )

    def _unaccounted(self, channels: Iterable[Channel]) -> dict[str, Channel]:
        """Return the legs that were dialled and that nothing is known of, by uniqueid."""
        known = self._in_hand.union(self._legs.values())
        return {
            each.uniqueid: each
            for each in channels
            if _was_dialled(each)
            and each.uniqueid not in known
            and not self._dialer.calls.has_leg(each.uniqueid)
        }

    async def _trip(
        self, channel: str, *, dialled_by: str, breach: Breach, error: str | None = None
    ) -> None:
        """Hang a leg up. By its name, which Asterisk gave it: its uniqueid its maker may choose."""
        try:
            await self._ami.hangup(channel, cause=CAUSE_REFUSED)
        except AmiRefused:
            pass  # it has ended, or another gateway was quicker
        except AmiError as error:
            # If it is still there it is found after the next reconciliation.
            log.warning("trunk.hangup_failed", error=str(error), channel=channel)
        metrics.tripped(self._bridge, breach)
        log.error(
            "trunk.tripped", channel=channel, dialled_by=dialled_by, breach=breach, error=error
        )

    def _spawn(self, leg: str, step: Coroutine[Any, Any, None]) -> None:
        self._in_hand.add(leg)
        task = asyncio.create_task(self._contained(step))
        self._steps.add(task)
        task.add_done_callback(self._steps.discard)
        task.add_done_callback(lambda _: self._in_hand.discard(leg))

    @staticmethod
    async def _contained(step: Coroutine[Any, Any, None]) -> None:
        """Judge one leg; a fault in it is that leg's alone."""
        try:
            await step
        except Exception:
            log.exception("trunk.judgement_failed")


def _was_dialled(channel: Channel) -> bool:
    """Return whether a channel is a leg that was dialled on the trunk, as far as a list tells.

    One that the carrier brought rings in another sense, and runs what the dialplan runs.
    """
    if not channel.name.startswith(TRUNK_CHANNELS):
        return False
    return channel.application.startswith(_DIALLED) or channel.state_description not in (
        _ANSWERED,
        _CALLS_IN,
    )
