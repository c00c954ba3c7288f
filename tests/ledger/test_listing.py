"""What happens while a gateway reads the lists that it reconciles its calls by."""

import asyncio

import pytest

from gateway.ami import Hangup
from gateway.core.causes import Disposition
from gateway.core.dial_out import DialOutState
from gateway.core.key import DialOutKey
from gateway.core.record import FAMILY
from gateway.db import Connection
from gateway.ledger import Ledger
from tests.ami.conftest import Running, link
from tests.ami.scripted_server import ScriptedServer, Session
from tests.ledger.followers import followers
from tests.ledger.world import World, locked, up


@pytest.mark.parametrize("hangs_up", [False, True])
async def test_what_hangs_up_after_it_was_listed_is_absent_and_not_followed_again(
    world: World, ledger: Ledger, *, hangs_up: bool
) -> None:
    """Its hangup has come and comes no more: it would count as a call until it is overdue.

    And it may be nobody's, so that the hangup ended nothing.
    """
    await world.add_licence()
    key = await up(world)
    async with ScriptedServer() as server:
        linked = await link(server, Running(server.port))
        parts = followers(linked.client, ledger)
        running = asyncio.create_task(parts.reconciliation.run())
        await _list_gate(linked.session, key.gate_uniqueid)
        if hangs_up:
            parts.dialer.handle(_hangup(key.gate_uniqueid))
        await _say_the_rest(linked.session)
        if hangs_up:
            linked.session.answer(await linked.session.asked(), "Timestamp: 1763704322.0")
        absent = await running
        await linked.running.stop()

    assert (key.gate_uniqueid in parts.dialer.calls) is not hangs_up
    by_ms = {each.dial_out.request.key: each.latest_end_ms for each in absent}
    assert by_ms == ({key: 1763704322000} if hangs_up else {})


async def test_what_was_settled_while_the_lists_were_read_is_looked_for_no_more(
    world: World, ledger: Ledger
) -> None:
    """Who followed it has ended it: there is nothing to look for."""
    await world.add_licence()
    _, dial_out = await world.reserve()
    key = dial_out.request.key
    async with ScriptedServer() as server:
        linked = await link(server, Running(server.port))
        parts = followers(linked.client, ledger)
        running = asyncio.create_task(parts.reconciliation.run())
        await _list_gate(linked.session, "another")
        await parts.settlement.give_back(key, Disposition.FAILED, "expired")
        await _say_the_rest(linked.session)
        assert await running == ()
        await linked.running.stop()


async def test_what_had_hung_up_before_it_was_listed_is_absent_though_its_hangup_comes_late(
    world: World, ledger: Ledger
) -> None:
    """Nobody follows it, as when its release was refused: the next lists may be long in coming."""
    await world.add_licence()
    key = await up(world)
    async with ScriptedServer() as server:
        linked = await link(server, Running(server.port))
        parts = followers(linked.client, ledger)
        running = asyncio.create_task(parts.reconciliation.run())
        await _list_gate(linked.session, "another")
        parts.dialer.handle(_hangup(key.gate_uniqueid))
        await _say_the_rest(linked.session)
        absent = await running
        await linked.running.stop()

    assert [each.dial_out.request.key for each in absent] == [key]


async def test_a_tenant_whose_rows_are_locked_keeps_no_other_from_being_settled(
    world: World, ledger: Ledger, owner: Connection
) -> None:
    """Nor from being looked for: without the lists agreed with, no call is let in at all."""
    other = await World.create(ledger, world.provisioning)
    calls = []
    for each in (world, other):
        await each.add_licence()
        calls.append(await up(each))
    stuck, free = calls
    async with ScriptedServer() as server:
        linked = await link(server, Running(server.port))
        parts = followers(linked.client, ledger)
        async with locked(owner, world):
            running = asyncio.create_task(parts.reconciliation.run())
            await _list_gate(linked.session, "another")
            await _say_the_rest(linked.session, *calls)
            async with asyncio.timeout(20):
                assert await running == ()
            await _have_deleted(linked.session, free)
            in_vain = await ledger.dial_out(stuck)
        await _have_deleted(linked.session, stuck)
        await parts.reconciliation.drain(5)
        await linked.running.stop()

    assert in_vain is not None
    assert in_vain.state is DialOutState.RELEASED
    for key in calls:
        row = await ledger.dial_out(key)
        assert row is not None
        assert (row.state, row.evidence) == (DialOutState.ENDED, "record")


async def _have_deleted(session: Session, key: DialOutKey) -> None:
    """Have a call's record deleted, and nothing else."""
    asked = await session.asked()
    assert key.hex in asked["Variable"]
    session.answer(asked)


async def _list_gate(session: Session, uniqueid: str) -> None:
    """Tell the clock, and a list of channels that has a call's gate, and no leg of it."""
    session.answer(await session.asked(), "Timestamp: 1763704321.0")
    asked = await session.asked()
    assert asked["Action"] == "CoreShowChannels"
    mark = f"ActionID: {asked['ActionID']}"
    session.answer(asked, "EventList: start")
    session.send(
        "Event: CoreShowChannel",
        mark,
        "Channel: Local/d@dialout-gate-00000000;2",
        "ChannelStateDesc: Ring",
        "Context: dialout-gate",
        "Exten: d",
        f"Uniqueid: {uniqueid}",
        f"Linkedid: {uniqueid}",
        "Application: Wait",
        "Duration: 00:00:01",
    )
    session.send("Event: CoreShowChannelsComplete", mark, "EventList: Complete", "ListItems: 1")


async def _say_the_rest(session: Session, *recorded: DialOutKey) -> None:
    """Tell the clock, and the records of calls that nobody answered; of none, unless told."""
    session.answer(await session.asked(), "Timestamp: 1763704321.5")
    asked = await session.asked()
    assert asked["Action"] == "DBGetTree"
    mark = f"ActionID: {asked['ActionID']}"
    session.answer(asked, "EventList: start")
    for key in recorded:
        path, text = f"/{FAMILY}/{key.hex}", f"{key.gate_uniqueid}:1763704321400::17:BUSY"
        session.send("Event: DBGetTreeResponse", mark, f"Key: {path}", f"Val: {text}")
    items = f"ListItems: {len(recorded)}"
    session.send("Event: DBGetTreeComplete", mark, "EventList: Complete", items)


def _hangup(uniqueid: str) -> Hangup:
    return Hangup(uniqueid=uniqueid, linkedid=uniqueid, channel="", cause=16, at=None)
