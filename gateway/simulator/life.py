"""One run of Asterisk, from its start to its end: what it forgets when it is killed."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from random import Random

from gateway.simulator.carrier import Carrier
from gateway.simulator.channel import Channel, Leg
from gateway.simulator.clock import Clock
from gateway.simulator.records import Records

_SYSTEM = "asterisk-virtual"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event. ``point`` is the name that faults know it by, ``uniqueid`` its channel's."""

    frame: bytes
    uniqueid: str
    point: str | None


class Life:
    """Channels, conferences and global variables, and the events by which others learn of them.

    ``listen`` is given every event, in order. Once it is ``over`` nothing more happens in it.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        random: Random,
        carrier: Carrier,
        records: Records,
        listen: Callable[[Told], None],
    ) -> None:
        self.clock = clock
        self.random = random
        self.carrier = carrier
        self.variables: dict[str, str] = {}
        self.is_shutting_down = False
        self.over = False
        self._records = records
        self._listen = listen
        self._began_at_ms = clock.now_ms()
        self._by_uniqueid: dict[str, Channel] = {}
        self._by_name: dict[str, Channel] = {}
        self._rooms: dict[str, dict[str, Channel]] = {}
        self._uniqueids = count()
        self._locals = count()
        self._legs = count()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def uptime_seconds(self) -> int:
        """How long ago it began."""
        return (self.clock.now_ms() - self._began_at_ms) // 1000

    # Channels.

    def __iter__(self) -> Iterator[Channel]:
        return iter(tuple(self._by_uniqueid.values()))

    def __len__(self) -> int:
        return len(self._by_uniqueid)

    def channel(self, name: str) -> Channel | None:
        """Return the channel of a name or a uniqueid."""
        return self._by_name.get(name) or self._by_uniqueid.get(name)

    def new_uniqueid(self) -> str:
        """Return a uniqueid as Asterisk makes them."""
        return f"{_SYSTEM}-{self.clock.now_ms() // 1000}.{next(self._uniqueids)}"

    def local_name(self, extension: str, context: str) -> str:
        """Return the name of a new Local channel, without the number of its half."""
        return f"Local/{extension}@{context}-{next(self._locals):08x}"

    def leg_name(self) -> str:
        """Return the name of a new channel on the trunk."""
        return f"PJSIP/dialout-trunk-{next(self._legs):08x}"

    def add(self, channel: Channel) -> None:
        """Have a channel exist from now on."""
        self._by_uniqueid[channel.uniqueid] = channel
        self._by_name[channel.name] = channel
        self._empty.clear()

    def end(self, channel: Channel, *, at_ms: int | None = None) -> None:
        """Have a channel be no more, and tell. ``at_ms`` is when that was, else it is now."""
        if self._by_uniqueid.get(channel.uniqueid) is not channel:
            return
        channel.lift_limit()
        self.tell(
            "Hangup",
            f"{channel.headers()}Cause: {channel.cause}\r\n"
            f"Cause-txt: {_CAUSES.get(channel.cause, 'Unknown')}\r\n",
            of=channel.uniqueid,
            at_ms=at_ms,
            point=_hangup_point(channel),
        )
        # It may have died of being told.
        self._by_uniqueid.pop(channel.uniqueid, None)
        self._by_name.pop(channel.name, None)
        if not self._by_uniqueid:
            self._empty.set()

    async def emptied(self) -> None:
        """Wait until there is no channel."""
        await self._empty.wait()

    # Conferences.

    def conferences(self) -> tuple[tuple[str, int], ...]:
        """Return the conferences that have members, and how many."""
        return tuple((name, len(room)) for name, room in self._rooms.items())

    def members(self, conference: str) -> tuple[Channel, ...] | None:
        """Return the members of a conference; None if there is no such conference."""
        room = self._rooms.get(conference)
        return None if room is None else tuple(room.values())

    def join(self, channel: Channel, conference: str) -> None:
        """Have a channel come into a conference."""
        self._rooms.setdefault(conference, {})[channel.uniqueid] = channel
        self._tell_conference("ConfbridgeJoin", channel, conference)

    def leave(self, channel: Channel, conference: str) -> None:
        """Have a channel leave a conference, which ends with its last member."""
        room = self._rooms.get(conference, {})
        if room.pop(channel.uniqueid, None) is None:
            return
        self._tell_conference("ConfbridgeLeave", channel, conference)
        if not room:
            self._rooms.pop(conference, None)
            self.tell("ConfbridgeEnd", _conference_headers(conference), of=channel.uniqueid)

    def _tell_conference(self, name: str, channel: Channel, conference: str) -> None:
        admin = "Yes" if channel.is_admin else "No"
        body = f"{_conference_headers(conference)}{channel.headers()}Admin: {admin}\r\n"
        self.tell(name, body, of=channel.uniqueid, point=f"event {name}")

    # Records.

    def record(self, path: str, value: str) -> bool:
        """Keep a value on disk, unless Asterisk is dead; return whether it is kept."""
        if not self.over:
            self._records.put(path, value)
        return not self.over

    # Events.

    def tell(
        self,
        name: str,
        body: str,
        *,
        of: str,
        at_ms: int | None = None,
        privilege: str = "call",
        point: str | None = None,
    ) -> None:
        """Tell everybody who listens of an event of a channel, named by its uniqueid.

        ``body`` is its lines, each with its end.
        """
        if self.over:
            return
        at = self.clock.now_ms() if at_ms is None else at_ms
        frame = (
            f"Event: {name}\r\nPrivilege: {privilege},all\r\n"
            f"Timestamp: {at // 1000}.{at % 1000:03}000\r\nSystemName: {_SYSTEM}\r\n{body}\r\n"
        )
        self._listen(Told(frame=frame.encode(), uniqueid=of, point=point))

    def tell_dial(
        self,
        name: str,
        *,
        by: Channel | None,
        to: Channel,
        last: str,
        at_ms: int | None = None,
        point: str | None = None,
    ) -> None:
        """Tell of a step of dialling. ``by`` is None for what an Originate dials."""
        body = f"{'' if by is None else by.headers()}{to.headers('Dest')}{last}\r\n"
        self.tell(name, body, of=(by or to).uniqueid, at_ms=at_ms, point=point)

    def finish(self) -> None:
        """Die: nothing that was about to happen does, and nobody is told."""
        self.over = True
        for channel in self:
            channel.forsake()
        self._by_uniqueid.clear()
        self._by_name.clear()
        self._rooms.clear()
        self._empty.set()


_CAUSES = {
    1: "Unallocated (unassigned) number",
    16: "Normal Clearing",
    17: "User busy",
    19: "User alerting, no answer",
    21: "Call Rejected",
    34: "Circuit/channel congestion",
    38: "Network out of order",
    102: "Recover on timer expiry",
}


def _conference_headers(conference: str) -> str:
    return (
        f"Conference: {conference}\r\nBridgeType: base\r\nBridgeTechnology: softmix\r\n"
        f"BridgeCreator: ConfBridge\r\nBridgeName: {conference}\r\n"
    )


def _hangup_point(channel: Channel) -> str | None:
    if isinstance(channel, Leg):
        return "event Hangup leg"
    return "event Hangup gate" if channel.dials else None
