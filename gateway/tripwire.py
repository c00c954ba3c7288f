"""Hangs up every leg on the trunk that no gate let through.

Asterisk has no right to originate here and not there: whoever may do it at all can dial the
trunk past the gate. What such a leg cannot have is a released dial-out. So each leg that begins
is held against the channel that dials it: a gate that this gateway released, or one that, so
the ledger says, another gateway did. A release is good for one leg.

While the ledger does not answer, a leg is hung up unless a channel dials it that is where only a
verdict lets channels come. Of that one nothing is known, so it stays, and the ledger is asked
until it has answered: no fault of a database ends a call.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Iterable
from enum import StrEnum

import structlog

from gateway import metrics
from gateway.ami import AmiClient, AmiError, AmiRefused, Channel, DialBegin, Event, Hangup
from gateway.core.causes import CAUSE_REFUSED
from gateway.core.dial_out import BridgeName, DialOutKind, DialOutState
from gateway.dialer import TRUNK_CHANNELS, Dialer
from gateway.gate import RELEASE_CONTEXT
from gateway.ledger import Ledger, LedgerUnavailable
from gateway.steps import Steps

log = structlog.get_logger()

LEDGER_SECONDS = 1.0
"""How long a leg that nobody here knows may ring while the ledger is asked, and how often it is
asked of one that a gate may have let through."""

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
    """Watches the trunk of one Asterisk.

    ``grants`` says that calls go on while the ledger is away.
    """

    def __init__(
        self,
        *,
        bridge: BridgeName,
        ami: AmiClient,
        ledger: Ledger,
        dialer: Dialer,
        grants: bool = False,
    ) -> None:
        self._bridge = bridge
        self._ami = ami
        self._ledger = ledger
        self._dialer = dialer
        self._grants = grants
        self._legs: OrderedDict[str, str] = OrderedDict()
        """Which leg a gate dialled first, of those that another gateway released."""
        self._steps = Steps(fault="trunk.judgement_failed")
        self._in_hand: set[str] = set()
        """The legs that are being judged."""
        self._unjudged: dict[str, asyncio.Event] = {}
        """Legs of which the ledger has not said yet what they are; set once one is gone."""
        for breach in Breach:
            metrics.tripped(bridge, breach, legs=0)  # or an alert would not see the first one rise

    def handle(self, event: Event) -> None:
        """Judge a leg that begins; never waits. The dialer must have applied the event before."""
        match event:
            case Hangup():
                gone = self._unjudged.get(event.uniqueid)
                if gone is not None:
                    gone.set()
            case DialBegin() if event.dest_channel.startswith(TRUNK_CHANNELS):
                if not self._dialer.calls.has_released(event.uniqueid, event.dest_uniqueid):
                    self._in_hand.add(event.dest_uniqueid)
                    self._steps.spawn(self._judge(event))
            case _:
                pass

    async def sweep(self) -> None:
        """Hang up the legs that began while nobody watched, and that are of no open dial-out.

        The calls must have been reconciled before. A leg that an Originate dialled, and that was
        answered before this look, cannot be told from a call that came in; it stays. So does the
        leg of one that another gateway may have granted, and not booked yet.

        Raises ``AmiError`` or ``LedgerUnavailable``; nothing is hung up then.
        """
        suspects = self._unaccounted(await self._ami.channels())
        if not suspects:
            return
        under_way = await self._gates_under_way()
        # The first list may be older than the end of a call that was settled meanwhile.
        channels = await self._ami.channels()
        paid = {
            each.linkedid
            for each in channels
            if each.uniqueid in under_way or (self._grants and each.context == RELEASE_CONTEXT)
        }
        again = self._unaccounted(each for each in channels if each.linkedid not in paid)
        for uniqueid in suspects.keys() & again.keys():
            await self._trip(suspects[uniqueid].name, dialled_by="", breach=Breach.FOUND)

    async def drain(self, seconds: float) -> None:
        """Let the legs in hand be judged; after ``seconds`` the rest is left to other gateways."""
        await self._steps.drain(seconds)

    async def _judge(self, event: DialBegin) -> None:
        try:
            await self._pass_sentence(event)
        finally:
            self._in_hand.discard(event.dest_uniqueid)

    async def _pass_sentence(self, event: DialBegin) -> None:
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
        if not await self._is_released(event):
            return Breach.NOT_RELEASED
        return None if self._is_first(gate_uniqueid, event.dest_uniqueid) else Breach.SECOND_LEG

    async def _is_released(self, event: DialBegin) -> bool:
        """Return whether some gateway has let a channel dial; wait for the ledger if it may have.

        What another one has granted while the ledger was away, the ledger need not know. Then
        it counts that the channel dials where only a verdict lets it come.
        """
        is_at_gate = event.context == RELEASE_CONTEXT
        if self._grants and is_at_gate:
            return True
        try:
            return await self._ledger_says_released(event.uniqueid)
        except (TimeoutError, LedgerUnavailable) as away:
            if not is_at_gate:
                raise
            log.error("trunk.unjudged", channel=event.dest_channel, error=repr(away))
        return await self._until_judged(event)

    async def _until_judged(self, event: DialBegin) -> bool:
        """Ask the ledger until it has answered, or the leg is gone, which makes no difference."""
        gone = self._unjudged[event.dest_uniqueid] = asyncio.Event()
        try:
            while not gone.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(gone.wait(), LEDGER_SECONDS)
                with contextlib.suppress(TimeoutError, LedgerUnavailable):
                    return await self._ledger_says_released(event.uniqueid)
        finally:
            del self._unjudged[event.dest_uniqueid]
        return True

    async def _ledger_says_released(self, gate_uniqueid: str) -> bool:
        async with asyncio.timeout(LEDGER_SECONDS):
            return await self._ledger.is_released(gate_uniqueid, self._bridge)

    def _is_first(self, gate_uniqueid: str, leg: str) -> bool:
        """Return whether a release had no other leg yet."""
        if self._dialer.calls.leg_of(gate_uniqueid) not in (None, leg):
            return False
        first = self._legs.setdefault(gate_uniqueid, leg)
        if len(self._legs) > RELEASES_MAX:
            self._legs.popitem(last=False)
        return first == leg

    async def _gates_under_way(self) -> frozenset[str]:
        """Return the gates of all calls that somebody has let dial, on whatever bridge.

        Of one that is ours the beginning may have been missed; one whose bridge the settings do
        not name may be this Asterisk's.
        """
        return frozenset(
            each.channel_uniqueid
            for each in await self._ledger.open_dial_outs()
            if each.request.kind is not DialOutKind.DIAL_IN and each.state in _UNDER_WAY
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
        except AmiError as failure:
            # If it is still there it is found after the next reconciliation.
            log.warning("trunk.hangup_failed", error=str(failure), channel=channel)
        metrics.tripped(self._bridge, breach)
        log.error(
            "trunk.tripped", channel=channel, dialled_by=dialled_by, breach=breach, error=error
        )


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
