"""The record that outlives the gateway: written for every end of a call, and exact."""

import asyncio
import time
from dataclasses import dataclass

import pytest

from gateway.lab.asterisk import Asterisk
from gateway.lab.carrier import Carrier
from tests.gate.ami_socket import AmiSocket, Message
from tests.gate.scene import Scene, Visit, beating, milliseconds_between, new_number

pytestmark = pytest.mark.asyncio(loop_scope="session")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record, read as the gateway reads it."""

    uniqueid: str
    ended_ms: int
    answered_ms: int | None
    cause: int
    dial_status: str


async def record_of(scene: Scene, visit: Visit) -> Record:
    """Return the record of a call whose gate channel hung up."""
    text = await scene.record(visit.key)
    assert text is not None
    uniqueid, ended_ms, answered_ms, cause, dial_status = text.split(":")
    return Record(
        uniqueid=uniqueid,
        ended_ms=int(ended_ms),
        answered_ms=int(answered_ms) if answered_ms else None,
        cause=int(cause),
        dial_status=dial_status,
    )


async def check_answered(scene: Scene, visit: Visit, answer: Message) -> Record:
    """Wait for the end of an answered call and hold its record against the events."""
    hangup = await scene.ended(answer["DestUniqueid"])
    await scene.ended(visit.uniqueid)
    record = await record_of(scene, visit)
    assert record.uniqueid == visit.uniqueid
    assert record.dial_status == "ANSWER"
    assert record.answered_ms == pytest.approx(milliseconds_between(answer, hangup), abs=100)
    assert record.ended_ms == pytest.approx(float(hangup["Timestamp"]) * 1000, abs=100)
    return record


async def test_each_way_to_end_an_answered_call_is_recorded(scene: Scene) -> None:
    """Far side, gate, conference, trunk, limit, cap: record and events agree to 100 ms.

    The bill is made of the events while the gateway watches and of the record when it did not; the
    two must not differ by what anybody would notice.
    """

    async def far_side() -> Record:
        # As long as real calls may be, so that the warning before the end is set up.
        visit, answer = await scene.connect(new_number("21"), talk_ms="3600000", cap="3700")
        return await check_answered(scene, visit, answer)

    async def hung_up(channel_of: str) -> Record:
        visit, answer = await scene.connect(new_number())
        await scene.intruder.event("ConfbridgeJoin", Uniqueid=f"{visit.key}-join")
        ours = visit.channel if channel_of == "gate" else f"{visit.channel[:-1]}1"
        await scene.hangup(answer["DestChannel"] if channel_of == "trunk" else ours)
        return await check_answered(scene, visit, answer)

    async def at_its_end(**terms: str) -> Record:
        visit, answer = await scene.connect(new_number(), **terms)
        return await check_answered(scene, visit, answer)

    far, *others, limited, capped = await asyncio.gather(
        far_side(),
        hung_up("gate"),
        hung_up("join"),
        hung_up("trunk"),
        at_its_end(talk_ms="1500"),
        at_its_end(cap="6"),
    )

    assert [record.cause for record in (far, *others, limited)] == [16] * 5
    assert 900 <= (far.answered_ms or 0) < 3000
    assert 1400 <= (limited.answered_ms or 0) < 3000
    assert 4000 <= (capped.answered_ms or 0) < 15_000


@pytest.mark.parametrize(
    ("ending", "dial_status", "cause"),
    [("86", "BUSY", 17), ("99", "CHANUNAVAIL", 1), ("03", "CONGESTION", 34)],
)
async def test_a_call_that_the_carrier_refuses_is_recorded(
    scene: Scene, ending: str, dial_status: str, cause: int
) -> None:
    """Nothing was talked, and why is told twice: as Asterisk's word and as the carrier's cause."""
    visit = await scene.reach_gate()
    await scene.release(visit, scene.allow(visit, new_number(ending)))
    await scene.ended(visit.uniqueid)

    record = await record_of(scene, visit)

    assert record.answered_ms is None
    assert (record.dial_status, record.cause) == (dial_status, cause)


async def test_a_call_that_nobody_answers_is_recorded(scene: Scene) -> None:
    """Ring time over, or given up by our side, or by the cap while it rang: nothing was talked."""

    async def unanswered(**terms: str) -> Record:
        visit = await scene.reach_gate()
        await scene.release(visit, scene.allow(visit, new_number("80"), **terms))
        if not terms:
            await scene.gateway.event("DialBegin", Uniqueid=visit.uniqueid)
            await scene.hangup(visit.channel)
        await scene.ended(visit.uniqueid)
        return await record_of(scene, visit)

    rang_out, given_up, capped = await asyncio.gather(
        unanswered(ring="5"), unanswered(), unanswered(cap="6")
    )

    assert [record.answered_ms for record in (rang_out, given_up, capped)] == [None] * 3
    assert rang_out.dial_status == "NOANSWER"
    assert given_up.dial_status == "CANCEL"
    assert capped.dial_status == "CANCEL"


async def test_a_refused_call_leaves_no_record(scene: Scene) -> None:
    """A record says that the trunk was tried; the gateway would settle it."""
    visit = await scene.reach_gate()
    await scene.refused(visit, scene.allow(visit, "12"))

    assert await scene.record(visit.key) is None


async def test_the_gateway_lists_records_and_deletes_them(scene: Scene) -> None:
    """With the rights of its account alone, and an empty tree is an answer too."""
    visit, _ = await scene.connect(new_number("20"))
    await scene.ended(visit.uniqueid)
    path = f"dialout/ended/{visit.key}"

    listed = await scene.gateway.list_events(
        "DBGetTree", "DBGetTreeComplete", ("Family", "dialout/ended")
    )
    assert f"/{path}" in {entry["Key"] for entry in listed}

    for _ in range(2):
        await scene.set_global(f"DB_DELETE({path})", "")
        assert await scene.record(visit.key) is None


async def test_records_survive_a_restart_and_a_crash(
    carrier: Carrier, fresh_asterisk: Asterisk, silent_gateway: Scene
) -> None:
    """A gateway that was away finds them, whatever happened to Asterisk in the meantime."""
    asterisk = fresh_asterisk

    async def scene_of(gateway: AmiSocket) -> Scene:
        return Scene(asterisk=asterisk, carrier=carrier, gateway=gateway, intruder=gateway)

    address = (asterisk.host, asterisk.ami_port, asterisk.account, asterisk.secret)
    async with AmiSocket(*address) as gateway, beating(await scene_of(gateway)):
        scene = await scene_of(gateway)
        visit, _ = await scene.connect(new_number("20"))
        await scene.ended(visit.uniqueid)
        written = await scene.record(visit.key)
    for end in (asterisk.stop, asterisk.kill):
        await end()
        await asterisk.start()
        async with AmiSocket(*address) as gateway:
            assert await (await scene_of(gateway)).record(visit.key) == written
    assert written is not None
    assert int(written.split(":")[1]) == pytest.approx(time.time() * 1000, abs=30_000)
