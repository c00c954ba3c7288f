"""Live progress: what a meeting's web page hears of a call while it is made."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest

from gateway.core.dial_out import DialOutKind, DialOutRequest
from gateway.core.key import DialOutKey
from gateway.core.reasons import REASON_TEXTS, Reason
from gateway.lab.service import Service
from gateway.progress import QUIET_SECONDS, WATCHERS_MAX
from tests.calls.meeting import ORGANIZER, Meeting, london
from tests.calls.watcher import Told, watched, watching

pytestmark = pytest.mark.asyncio(loop_scope="session")

STAGES = ["reserved", "dialing", "ringing", "answered", "joined", "ended"]


def stages(told: list[Told]) -> list[str]:
    """Return the stages that somebody was told of, in order."""
    return [each.stage for each in told]


async def test_every_stage_is_told_in_order(meeting: Meeting) -> None:
    """From the reservation to the bill, each once, with a text for people; one call is made."""
    number = london("22")

    placed = await meeting.place(number)
    told = await watched(meeting, placed["dial_out_id"])

    assert stages(told) == STAGES
    assert [each.number for each in told] == ["1", "2", "3", "4", "5", "6"]
    assert all(each.data["text"] and each.data["at"] for each in told)
    assert {each.data["dial_out_id"] for each in told} == {placed["dial_out_id"]}
    ended = await meeting.read(placed["dial_out_id"])
    last = told[-1].data
    assert last["disposition"] == "answered"
    assert last["billable_seconds"] == ended["billable_seconds"]
    assert last["text"] == f"The call lasted 0:0{ended['billable_seconds']}."
    assert meeting.invites(number) == 1


async def test_each_stage_is_told_when_it_is_reached(meeting: Meeting) -> None:
    """Not at the end: whoever waits sees the ringing while it rings, and the joining at once."""
    placed = await meeting.place(london("10"))

    async with watching(meeting, placed["dial_out_id"]) as watcher:
        told = await watcher.until("joined")
        row = await meeting.read(placed["dial_out_id"])
        assert row.get("ended_at") is None
        await meeting.cancel(placed["dial_out_id"])
        told += await watcher.rest()

    assert stages(told) == STAGES


@pytest.mark.parametrize(
    ("ending", "disposition", "text"),
    [
        ("86", "busy", "The telephone is busy."),
        ("80", "no_answer", "Nobody answered."),
        ("03", "congestion", "The telephone network had no line free."),
        ("99", "failed", "The number could not be reached."),
    ],
)
async def test_a_call_that_nobody_answers_says_why(
    meeting: Meeting, ending: str, disposition: str, text: str
) -> None:
    """The stream ends with what became of it, and costs nothing."""
    placed = await meeting.place(london(ending))

    last = (await watched(meeting, placed["dial_out_id"]))[-1]

    assert last.stage == "ended"
    assert (last.data["disposition"], last.data["text"]) == (disposition, text)
    assert (last.data["billable_seconds"], last.data["cost_micros"]) == (0, 0)


async def test_a_refusal_is_told_with_its_reason(meeting: Meeting) -> None:
    """Whoever missed the answer of the request learns it here; nobody is called."""
    dial_out_id = str(uuid4())
    before = len(meeting.carrier.invites())
    await meeting.refused("+19005550123", dial_out_id=dial_out_id)

    [told] = await watched(meeting, dial_out_id)

    assert (told.stage, told.data["reason"]) == ("refused", "number_kind_refused")
    assert told.data["text"] == REASON_TEXTS[Reason.NUMBER_KIND_REFUSED].message
    assert len(meeting.carrier.invites()) == before


async def test_a_client_that_comes_back_is_told_the_rest(meeting: Meeting) -> None:
    """A connection that breaks loses nothing and repeats nothing, at whichever event it broke."""
    placed = await meeting.place(london("10"))
    async with watching(meeting, placed["dial_out_id"]) as watcher:
        first = await watcher.until("ringing")

    async with watching(meeting, placed["dial_out_id"], after=first[-1].number) as watcher:
        second = await watcher.until("joined")
    await meeting.cancel(placed["dial_out_id"])
    third = await watched(meeting, placed["dial_out_id"], after=second[-1].number)

    assert stages(first + second + third) == STAGES


async def test_a_client_that_heard_the_end_is_told_to_stop(meeting: Meeting) -> None:
    """204 is what a browser takes for an end; anything else it would ask for again, for ever."""
    dial_out_id = str(uuid4())
    await meeting.refused("+19005550123", dial_out_id=dial_out_id)

    async with watching(meeting, dial_out_id, after="7") as watcher:
        assert watcher.response.status_code == 204


@pytest.mark.parametrize("after", ["0", "8", "-1", "1.5", "x", "٣", "1 or 1=1"])
async def test_an_id_that_is_none_of_ours_is_the_beginning(meeting: Meeting, after: str) -> None:
    """It comes from outside; at worst somebody is told a thing again."""
    dial_out_id = str(uuid4())
    await meeting.refused("+19005550123", dial_out_id=dial_out_id)

    assert stages(await watched(meeting, dial_out_id, after=after)) == ["refused"]


async def test_a_telephone_that_calls_in_has_no_stages(meeting: Meeting) -> None:
    """Nobody places it, so that "about to be placed" would be said of what nobody asked for."""
    key = DialOutKey(tenant_id=meeting.tenant_id, dial_out_id=uuid4())
    request = DialOutRequest(
        key=key,
        kind=DialOutKind.DIAL_IN,
        organizer_id=ORGANIZER,
        initiator_id=None,
        conference_id="room",
        number_typed="+448081570000",
    )
    reason = Reason.TENANT_SUSPENDED
    await meeting.ledger.refuse(request, None, reason, "{}", datetime.now(UTC))

    response = await meeting.client.get(
        f"/v1/dial-outs/{key.dial_out_id}/events?tenant_id={meeting.tenant_id}"
    )

    assert (response.status_code, response.json()["reason"]) == (404, "dial_out_unknown")
    assert (await meeting.read(str(key.dial_out_id)))["kind"] == "dial_in"


async def test_nobody_is_told_of_what_is_not_there(meeting: Meeting) -> None:
    """404 for an unknown id and for another tenant's; 401 without the token."""
    other = await meeting.another()
    placed = await meeting.place(london("80"))
    path = f"/v1/dial-outs/{placed['dial_out_id']}/events?tenant_id="

    unknown = await meeting.client.get(
        f"/v1/dial-outs/{uuid4()}/events?tenant_id={meeting.tenant_id}"
    )
    foreign = await meeting.client.get(path + str(other.tenant_id))
    async with httpx.AsyncClient(base_url=meeting.client.base_url) as stranger:
        nobody = await stranger.get(path + str(meeting.tenant_id))

    assert [each.status_code for each in (unknown, foreign, nobody)] == [404, 404, 401]
    assert unknown.json()["reason"] == "dial_out_unknown"
    await meeting.cancel(placed["dial_out_id"])
    await meeting.ended(placed["dial_out_id"])


async def test_another_gateway_tells_of_it_too(meeting: Meeting, second: Service) -> None:
    """By the ledger's row, within seconds: a load balancer may send the reader anywhere."""
    placed = await meeting.place(london("23"))

    async with second.client() as client:
        elsewhere = replace(meeting, client=client)
        told = await watched(elsewhere, placed["dial_out_id"])

    # Both follow the events of the same Asterisk, but only one has the call in hand.
    assert stages(told) == [stage for stage in STAGES if stage != "ringing"]


async def test_a_gateway_that_stops_sends_its_watchers_away(
    meeting: Meeting, second: Service
) -> None:
    """At once, also those who do not read; elsewhere they are told the rest."""
    placed = await meeting.place(london("10"))
    loop = asyncio.get_running_loop()
    async with second.client() as client, AsyncExitStack() as idle:
        elsewhere = replace(meeting, client=client)
        for _ in range(5):
            await idle.enter_async_context(watching(elsewhere, placed["dial_out_id"]))
        async with watching(elsewhere, placed["dial_out_id"]) as watcher:
            told = await watcher.until("joined")
            begun = loop.time()
            stopping = asyncio.create_task(second.stop())
            assert await watcher.rest() == []
            sent_away = loop.time() - begun
            await stopping
        stopped = loop.time() - begun

    await meeting.cancel(placed["dial_out_id"])
    told += await watched(meeting, placed["dial_out_id"], after=told[-1].number)
    assert sent_away < 4.0
    assert stopped < 8.0  # or it was killed
    assert stages(told)[-2:] == ["joined", "ended"]


async def test_too_many_watchers_are_turned_away(meeting: Meeting) -> None:
    """429 beyond the limit; calls go on, and whoever leaves makes room."""
    placed = await meeting.place(london("10"))
    await meeting.answered(placed["dial_out_id"])
    async with AsyncExitStack() as crowd:
        watchers = [
            await crowd.enter_async_context(watching(meeting, placed["dial_out_id"]))
            for _ in range(WATCHERS_MAX)
        ]
        assert {each.response.status_code for each in watchers} == {200}
        async with watching(meeting, placed["dial_out_id"]) as late:
            fault = (await late.response.aread(), late.response.headers["Retry-After"])
            assert late.response.status_code == 429
        assert b"too_many_watchers" in fault[0]
        number = london("80")
        another = await meeting.place(number)
        await meeting.rings(number)
        assert meeting.invites(number) == 1
        await meeting.cancel(another["dial_out_id"])

    async with asyncio.timeout(30):
        while True:
            async with watching(meeting, placed["dial_out_id"]) as watcher:
                if watcher.response.status_code == 200:
                    break
            await asyncio.sleep(0.05)
    await meeting.cancel(placed["dial_out_id"])
    await meeting.ended(placed["dial_out_id"])


async def test_a_silent_stream_is_kept_alive(meeting: Meeting) -> None:
    """A comment now and then, or a proxy takes a long call's stream for dead."""
    placed = await meeting.place(london("10"))
    loop = asyncio.get_running_loop()

    async with watching(meeting, placed["dial_out_id"]) as watcher:
        await watcher.until("joined")
        begun = loop.time()
        async for line in watcher.lines:
            if line.startswith(":"):
                break
    assert loop.time() - begun < 2 * QUIET_SECONDS
    await meeting.cancel(placed["dial_out_id"])
    await meeting.ended(placed["dial_out_id"])
