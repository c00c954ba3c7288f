"""What was learned over a link is worth nothing once that link is lost."""

import asyncio

from gateway.ami import AmiClient
from gateway.bridge import HEARTBEAT
from gateway.db import Connection
from gateway.ledger import Ledger
from tests.ami.scripted_server import ScriptedServer, Session
from tests.ledger.followers import bridge_of
from tests.ledger.world import World, until_somebody_waits, up

LISTS = {"CoreShowChannels": "CoreShowChannelsComplete", "DBGetTree": "DBGetTreeComplete"}


async def test_a_bridge_is_not_reconciled_by_the_lists_of_a_link_that_is_lost(
    world: World, ledger: Ledger, owner: Connection
) -> None:
    """What Asterisk did meanwhile is not known: nobody may be let through the gate by it."""
    await world.add_licence()
    await up(world)
    async with ScriptedServer() as server:
        ami = AmiClient(
            host="127.0.0.1",
            port=server.port,
            username="a",
            secret="b",
            reconnect_seconds_min=0.01,
            reconnect_seconds_max=0.05,
        )
        bridge = bridge_of(ami, ledger)
        running = asyncio.create_task(bridge.run())
        first = await server.session()
        await first.boot()
        async with owner.transaction():
            last = await _answered(first, before="DBGetTree")
            await owner.execute("LOCK TABLE dialout.dial_out")
            _answer(first, last)
            await until_somebody_waits(owner)
            first.abort()
            second = await server.session()
            await second.boot()
            async with asyncio.timeout(20):
                while not bridge.asterisk_answers:
                    await asyncio.sleep(0.01)  # a state has no event
        await _answered(second, before="DBGetTree", never=HEARTBEAT)
        running.cancel()
        await asyncio.wait({running})


async def _answered(session: Session, *, before: str, never: str | None = None) -> dict[str, str]:
    """Answer what is asked until an action comes, and return that; one variable is never set."""
    while (asked := await session.asked())["Action"] != before:
        assert never is None or asked.get("Variable") != never
        _answer(session, asked)
    return asked


def _answer(session: Session, asked: dict[str, str]) -> None:
    """Say that there is nothing, and what time it is."""
    if (complete := LISTS.get(asked["Action"])) is None:
        session.answer(asked, "Timestamp: 1763704321.0")
        return
    session.answer(asked, "EventList: start")
    mark = f"ActionID: {asked['ActionID']}"
    session.send(f"Event: {complete}", mark, "EventList: Complete", "ListItems: 0")
