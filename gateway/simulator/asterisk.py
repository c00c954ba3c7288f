"""An Asterisk that is not there: our dialplan, its manager interface, and a carrier that remembers.

It speaks AMI over a real socket as the real one does, so that the gateway is the product's own. Its
dialplan is that of ``asterisk-conf`` in Python: the gate, the intercept, the release with its
limits, the record, the join and the refusal. The keypad and calls into the bridge are left out.
"""

import asyncio
import contextlib
import socket
from collections.abc import Coroutine, Mapping
from random import Random
from types import TracebackType
from typing import Any, Self

from gateway.core.key import DialOutKey
from gateway.simulator.carrier import Carrier
from gateway.simulator.channel import CAUSE_NORMAL_CLEARING
from gateway.simulator.clock import Clock
from gateway.simulator.dialplan import Dialplan, Errand
from gateway.simulator.faults import Fault, Faults, PlannedFault
from gateway.simulator.life import Life
from gateway.simulator.manager import Manager
from gateway.simulator.records import Memory, Records
from gateway.simulator.wire import Wire

_CAUSE_SHUT_DOWN = 0
_EMPTY_SECONDS = 2.0
_OTHERS_MS = 60_000

_MEMORIES: Mapping[Fault, Memory] = {
    Fault.KILLED: Memory.KEPT,
    Fault.KILLED_UNSYNCED: Memory.UNSYNCED,
    Fault.KILLED_FORGETTING: Memory.LOST,
}


class VirtualAsterisk:
    """One Asterisk host with its trunk. To be used within one event loop.

    ``random`` gives visits and the places at which bytes are split, ``faults`` what goes wrong by
    itself; anybody may make more go wrong. ``port`` stays the same from the first start to
    ``stop``, also while nobody listens there. As a context manager it is started and stopped.
    """

    def __init__(
        self,
        *,
        random: Random,
        faults: Faults,
        clock: Clock | None = None,
        host: str = "127.0.0.1",
        account: str = "gateway",
        secret: str = "a-secret-of-the-simulation",  # noqa: S107 - of an Asterisk that is not there
    ) -> None:
        self.host = host
        self.account = account
        self.secret = secret
        self.faults = faults
        self.clock = clock or Clock()
        self.carrier = Carrier(self.clock)
        self.records = Records(self.clock)
        self._random = random
        self._wire = Wire(
            account=account,
            secret=secret,
            faults=faults,
            clock=self.clock,
            random=random,
            uptime_seconds=self._uptime_seconds,
            disaster=self._befall,
        )
        self._life: Life | None = None
        self._dialplan: Dialplan | None = None
        self._server: asyncio.Server | None = None
        self._reserved: socket.socket | None = None
        self._half_open: asyncio.TimerHandle | None = None
        self._restarts: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def port(self) -> int:
        """The port of the AMI. It must have been started."""
        assert self._reserved is not None, "it is started first"
        port: int = self._reserved.getsockname()[1]
        return port

    @property
    def is_running(self) -> bool:
        """Whether it is neither down nor going down."""
        return self._life is not None and not self._life.is_shutting_down

    @property
    def channels_count(self) -> int:
        """How many channels there are now."""
        return 0 if self._life is None else len(self._life)

    # Its life and death.

    async def start(self) -> None:
        """Listen, with what is on disk and nothing else. Nothing happens if it does already."""
        if self._life is not None:
            return
        if self._reserved is None:
            self._reserved = _bound(self.host, 0)
        life = self._life = Life(
            clock=self.clock,
            random=self._random,
            carrier=self.carrier,
            records=self.records,
            listen=self._wire.tell,
        )
        self._dialplan = Dialplan(life)
        self._wire.manager = Manager(life=life, dialplan=self._dialplan, records=self.records)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._wire.session, sock=_bound(self.host, self.port), backlog=100
        )

    async def stop(self) -> None:
        """End everything and give the port back. May be called again."""
        self.faults.end()
        for restart in tuple(self._restarts):
            restart.cancel()
        await asyncio.gather(*self._restarts, return_exceptions=True)
        self._die(Memory.KEPT)
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
        # A connection that is aborted is lost only when the loop comes round to it.
        await asyncio.sleep(0)

    async def restart(self, *, memory: Memory, down_seconds: float) -> None:
        """Be killed and start again: all channels are gone, and nobody is told."""
        self._die(memory)
        await asyncio.sleep(down_seconds)
        await self.start()

    async def shut_down(self, *, down_seconds: float) -> None:
        """Be restarted by an operator: every channel is hung up, told and recorded first."""
        life = self._life
        if life is None or life.is_shutting_down:
            return
        life.is_shutting_down = True
        for channel in life:
            channel.hang_up(_CAUSE_SHUT_DOWN)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(life.emptied(), _EMPTY_SECONDS)
        if self._life is life:
            self._wire.say_farewell()
            self._die(Memory.KEPT)
        await asyncio.sleep(down_seconds)
        await self.start()

    async def heal(self) -> None:
        """Have nothing more go wrong by itself, and wait until what did is over."""
        self.faults.end()
        self._go_on()
        await asyncio.gather(*self._restarts)

    def _die(self, memory: Memory) -> None:
        if self._half_open is not None:
            self._half_open.cancel()
            self._half_open = None
        self._wire.manager = None
        if self._server is not None:
            self._server.close()
            self._server = None
        self._wire.cut()
        self._wire.go_on()
        if self._life is not None:
            self._life.finish()
            self._life = None
            self.carrier.lose_bridge()
            self.records.crash(memory)

    # What goes wrong with its connections.

    def cut(self) -> None:
        """Reset every connection of the AMI."""
        self._wire.cut()

    def half_open(self, seconds: float, *, resets: bool, everywhere: bool = True) -> None:
        """Neither read nor say anything for so long, then reset the connections or go on.

        ``everywhere`` is on all connections and on those that are opened meanwhile; else it is
        on the eldest, and what is sent on that one arrives late.
        """
        if self._half_open is not None:
            self._half_open.cancel()
        self._wire.hold(everywhere=everywhere)
        loop = asyncio.get_running_loop()
        self._half_open = loop.call_later(seconds, self._end_half_open, resets)

    def _end_half_open(self, resets: bool) -> None:
        if resets:
            self._wire.cut_held()
        self._go_on()

    def _go_on(self) -> None:
        if self._half_open is not None:
            self._half_open.cancel()
            self._half_open = None
        self._wire.go_on()

    def _befall(self, planned: PlannedFault) -> None:
        """Have something go wrong that a fault of the plan says."""
        seconds = planned.milliseconds / 1000
        match planned.fault:
            case Fault.HALF_OPEN | Fault.HALF_OPEN_RESET:
                resets = planned.fault is Fault.HALF_OPEN_RESET
                self.half_open(seconds, resets=resets, everywhere=planned.everywhere)
            case Fault.SHUT_DOWN:
                self._spawn(self.shut_down(down_seconds=seconds))
            case fault:
                # Now and not when a task comes to it: it dies between this event and the next.
                self._die(_MEMORIES[fault])
                self._spawn(self._start_in(seconds))

    async def _start_in(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.start()

    def _spawn(self, restart: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(restart)
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)

    # What others than the gateway do.

    def intercept(self, number: str, variables: Mapping[str, str]) -> str | None:
        """Have somebody else's channel dial a number by the intercept; return its uniqueid.

        ``variables`` are DIALOUT_TENANT and the others that say on whose behalf. None while
        Asterisk is down. An answered call lasts until the telephone or the limit ends it.
        """
        return self._come("dialout-intercept", number, variables)

    def replay(self, key: DialOutKey) -> str | None:
        """Have somebody else's channel come to the gate as a dial-out's; return its uniqueid.

        It has the names that the dial-out's own had. None while Asterisk is down, or has
        channels of these names.
        """
        return self._come("dialout-gate", key.extension, {}, key)

    def _come(
        self,
        context: str,
        extension: str,
        variables: Mapping[str, str],
        key: DialOutKey | None = None,
    ) -> str | None:
        """Have somebody else's channel dial an extension of ours, by the names of a dial-out."""
        if self._dialplan is None or self._life is None:
            return None
        errand = Errand(
            action_id="somebody-else",
            dialled=f"{extension}@{context}/n",
            lines="Application: Wait\r\nData: 60\r\n",
            timeout_ms=_OTHERS_MS,
            application="Wait",
            data="60",
        )
        channel = self._dialplan.originate(
            errand,
            context=context,
            extension=extension,
            uniqueid=None if key is None else key.join_uniqueid,
            other_uniqueid=None if key is None else key.gate_uniqueid,
            variables=variables,
        )
        return None if channel is None else channel.uniqueid

    def attend(self, conference: str, *, is_admin: bool = False) -> str | None:
        """Have somebody come into a conference by a way of their own; return the uniqueid.

        None while Asterisk is down.
        """
        if self._dialplan is None or self._life is None:
            return None
        return self._dialplan.attend(conference, is_admin=is_admin).uniqueid

    def hang_up(self, uniqueid: str) -> bool:
        """Hang a channel up from outside; return whether there is one."""
        channel = None if self._life is None else self._life.channel(uniqueid)
        if channel is None:
            return False
        channel.hang_up(CAUSE_NORMAL_CLEARING)
        return True

    def _uptime_seconds(self) -> int:
        return 0 if self._life is None else self._life.uptime_seconds


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket on a port that several may be bound to, of which only one listens."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((host, port))
    return bound
