"""A real Asterisk with the repository's configuration, and a real carrier, once for all tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from gateway.lab.asterisk import Asterisk, find_asterisk
from gateway.lab.carrier import Carrier, find_sipp
from tests.gate.ami_socket import AmiSocket, Message
from tests.gate.scene import Scene, beating

LAB = Path(__file__).resolve().parents[2] / ".lab"

# A dialplan that is not ours.
_SOMEBODY_ELSE = """
[somebody-else]
exten => s,1,Answer()
 same => n,Wait(60)
exten => dials,1,Goto(dialout-intercept,${FILTER(0-9+,${SOMEBODY_DIALS})},1)
exten => anything,1,Goto(dialout-intercept,${SOMEBODY_DIALS},1)
exten => releases,1,Goto(dialout-release,${SOMEBODY_RELEASES},1)
exten => calls,1,Gosub(dialout-release,${SOMEBODY_RELEASES},1)
exten => waits,1,Answer()
 same => n,Set(CHANNEL(hangup_handler_push)=somebody-else,heard,1)
 same => n,Goto(dialout-intercept,${FILTER(0-9+,${SOMEBODY_DIALS})},1)
exten => _hears-.,1,Answer()
 same => n,Set(DIALOUT_REASON=${FILTER(a-z_,${EXTEN:6})})
 same => n,Gosub(dialout-prompt,${DIALOUT_REASON},1)
 same => n,Gosub(heard,1)
 same => n,Wait(60)
exten => heard,1,UserEvent(DialoutHeard,Prompt: ${DIALOUT_REASON},PlaybackStatus: ${PLAYBACKSTATUS})
 same => n,Return()
"""


async def caught_up(session: AmiSocket) -> None:
    """Return once a session has what any other was told before: they are not told in step."""
    await session.send(("Action", "Ping"))


async def told(scene: Scene) -> list[Message]:
    """Return what the gateway has been told by calls so far.

    That a call came to nothing Asterisk may say before what the call had said, but a call that is
    placed now speaks after it.
    """
    last = await scene.reach_gate()
    await scene.hangup(last.channel)
    await scene.ended(last.uniqueid)
    return [
        event
        for event in scene.gateway.events
        if event["Event"] == "UserEvent" and event["Uniqueid"] != last.uniqueid
    ]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def carrier() -> AsyncIterator[Carrier]:
    """Return the carrier at the far end of the trunk."""
    async with Carrier(find_sipp(LAB)) as carrier:
        yield carrier


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def asterisk(carrier: Carrier) -> AsyncIterator[Asterisk]:
    """Return an Asterisk with our configuration, and somebody else's beside it."""
    asterisk = Asterisk(
        find_asterisk(LAB), trunk_port=carrier.port, applications={"intruder": "intruder"}
    )
    with (asterisk.directory / "etc" / "extensions.conf").open("a") as file:
        file.write(_SOMEBODY_ELSE)
    async with asterisk:
        yield asterisk


@pytest_asyncio.fixture(loop_scope="session")
async def silent_gateway(asterisk: Asterisk, carrier: Carrier) -> AsyncIterator[Scene]:
    """Return a scene in which no gateway gives a heartbeat."""
    address = (asterisk.host, asterisk.ami_port)
    async with (
        AmiSocket(*address, asterisk.account, asterisk.secret) as gateway,
        AmiSocket(*address, "intruder", "intruder") as intruder,
    ):
        scene = Scene(asterisk=asterisk, carrier=carrier, gateway=gateway, intruder=intruder)
        await scene.set_global("DIALOUT_HEARTBEAT", "")
        yield scene


@pytest_asyncio.fixture(loop_scope="session")
async def scene(silent_gateway: Scene) -> AsyncIterator[Scene]:
    """Return a scene with a gateway that is alive."""
    async with beating(silent_gateway):
        yield silent_gateway


@pytest_asyncio.fixture(loop_scope="session")
async def fresh_asterisk(carrier: Carrier) -> AsyncIterator[Asterisk]:
    """Return an Asterisk of its own for one test, just started."""
    async with Asterisk(find_asterisk(LAB), trunk_port=carrier.port) as asterisk:
        yield asterisk
