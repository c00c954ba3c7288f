"""What fails, fails closed; what was up is billed to the second, once it can be."""

import asyncio
import math
import os
import re
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import asyncpg
import httpx
import pytest
import pytest_asyncio

from gateway import db
from gateway.core.key import DialOutKey
from gateway.lab.service import Service
from gateway.lab.stack import Stack, stack
from gateway.ledger import Ledger, Provisioning
from tests.calls.conftest import APPLICATION, APPLICATION_SECRET, LAB, OPTIONS
from tests.calls.meeting import ORGANIZER, Meeting, london
from tests.calls.test_intercept import originate, set_variable
from tests.gate.ami_socket import AmiSocket

pytestmark = pytest.mark.asyncio(loop_scope="session")

GATE_SECONDS = 3
HEARTBEAT_SECONDS_MAX = 6
AWAY_SECONDS = 6.5
"""How long Asterisk is away. With its start and the second look at the channels it is more than
the ten seconds after which calls are noted as alive."""

_HEARTBEAT = re.compile(r"DIALOUT_HEARTBEAT=(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A stack and a gateway that a test may break. ``witness`` sees every event on Asterisk."""

    parts: Stack
    service: Service
    meeting: Meeting
    witness: AmiSocket

    async def attempt(self) -> tuple[str, float]:
        """Try to get through the gate; return the cause of the hangup and the seconds it took."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        hangup = await originate(
            self.witness,
            london("22"),
            tenant=str(self.meeting.tenant_id),
            organizer=ORGANIZER,
        )
        return hangup["Cause"], loop.time() - begun

    async def attempt_with_stale_heartbeat(self) -> tuple[str, float]:
        """Try until the gate knows that nobody is there; return that attempt."""
        async with asyncio.timeout(HEARTBEAT_SECONDS_MAX + 30):
            while True:
                cause, seconds = await self.attempt()
                if cause != "102":
                    return cause, seconds

    async def heartbeat(self, after: datetime) -> datetime:
        """Return the first heartbeat after an instant, by Asterisk's clock, to the second."""
        async with asyncio.timeout(30):
            while True:
                found = _HEARTBEAT.search(await self.parts.asterisk.cli("dialplan show globals"))
                if found and (beat := datetime.fromtimestamp(int(found[1]), UTC)) > after:
                    return beat
                await asyncio.sleep(0.1)

    async def trunk_leg(self) -> str:
        """Return the uniqueid of the leg on the trunk that answered last."""
        return (await self.witness.event("DialEnd", DialStatus="ANSWER"))["DestUniqueid"]

    async def begun_seconds(self, trunk_leg: str) -> set[int]:
        """Return how many seconds a leg began, by the events that the witness saw.

        Two numbers where the leg ended within 20 ms of a full second: the record on the
        Asterisk host agrees with the events no closer than that.
        """
        answer = await self.witness.event("DialEnd", DestUniqueid=trunk_leg)
        hangup = await self.witness.event("Hangup", Uniqueid=trunk_leg)
        seconds = float(hangup["Timestamp"]) - float(answer["Timestamp"])
        return {math.ceil(seconds - 0.02), math.ceil(seconds + 0.02)}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def parts() -> AsyncIterator[Stack]:
    """PostgreSQL, a carrier and an Asterisk; whoever stops one of them starts it again."""
    async with stack(LAB, applications={APPLICATION: APPLICATION_SECRET}) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def site(parts: Stack, tmp_path: Path) -> AsyncIterator[Site]:
    """A gateway and a meeting of this test alone."""
    async with (
        db.pool(parts.owner) as pool,
        Service(
            parts.asterisk,
            database=parts.gateway,
            output=tmp_path / "gateway.log",
            options=OPTIONS,
        ) as service,
        service.client() as client,
        AmiSocket(
            parts.asterisk.host, parts.asterisk.ami_port, APPLICATION, APPLICATION_SECRET
        ) as witness,
    ):
        meeting = await Meeting.create(
            client,
            Ledger(pool, call_seconds_max=20.0),
            Provisioning(pool, call_seconds_max=20.0),
            parts.carrier,
        )
        yield Site(parts=parts, service=service, meeting=meeting, witness=witness)


async def until_ready(client: httpx.AsyncClient, *, ready: bool, seconds: float = 30) -> None:
    """Return once the gateway says that it is, or is not, ready."""
    async with asyncio.timeout(seconds):
        while (await client.get("/readyz")).is_success is not ready:
            await asyncio.sleep(0.05)


async def test_a_call_outlives_its_gateway_and_is_settled_after_the_restart(site: Site) -> None:
    """Killed with a call up: the call goes on, nobody else gets through, no second is lost.

    The call ends while no gateway runs, so nothing but the record on the Asterisk host can
    say when.
    """
    placed = await site.meeting.place(london("10"))
    await site.meeting.answered(placed["dial_out_id"])
    trunk_leg = await site.trunk_leg()

    await site.service.kill()
    at_once = await site.attempt()
    later = await site.attempt_with_stale_heartbeat()
    assert "PJSIP/dialout-trunk" in await site.parts.asterisk.cli("core show channels concise")
    key_hex = site.meeting.tenant_id.hex + placed["dial_out_id"].replace("-", "")
    await site.parts.asterisk.cli(f"channel request hangup {await gate_channel(site, key_hex)}")
    seconds = await site.begun_seconds(trunk_leg)
    await site.service.start()
    ended = await site.meeting.ended(placed["dial_out_id"])

    assert at_once[0] == "102"
    assert at_once[1] < GATE_SECONDS + 5
    assert later[0] == "38"
    assert later[1] < GATE_SECONDS  # it did not wait there
    assert ended["billable_seconds"] in seconds
    await site.meeting.assert_books_are_clean()


async def gate_channel(site: Site, key_hex: str) -> str:
    """Return the name of the channel that runs a dial-out's gate."""
    for line in (await site.parts.asterisk.cli("core show channels concise")).splitlines():
        name, *rest = line.split("!")
        if rest and rest[-1] == f"{key_hex}-gate":
            return name
    raise AssertionError("the call is gone")


async def test_a_call_that_ends_after_the_restart_is_settled_to_the_second(site: Site) -> None:
    """The new gateway finds the call alive, follows it, and bills all of it."""
    placed = await site.meeting.place(london("10"))
    await site.meeting.answered(placed["dial_out_id"])
    trunk_leg = await site.trunk_leg()

    await site.service.kill()
    await site.service.start()
    await site.meeting.cancel(placed["dial_out_id"])
    ended = await site.meeting.ended(placed["dial_out_id"])

    assert ended["billable_seconds"] in await site.begun_seconds(trunk_leg)
    await site.meeting.assert_books_are_clean()


async def test_a_gateway_that_stops_leaves_calls_up(site: Site) -> None:
    """An upgrade drops nobody: stop, start, and the call is still there and still followed."""
    placed = await site.meeting.place(london("10"))
    await site.meeting.answered(placed["dial_out_id"])

    await site.service.stop()
    await site.service.start()

    assert (await site.meeting.read(placed["dial_out_id"]))["state"] == "answered"
    await site.meeting.cancel(placed["dial_out_id"])
    await site.meeting.ended(placed["dial_out_id"])
    await site.meeting.assert_books_are_clean()


async def test_without_asterisk_nothing_is_reserved(site: Site) -> None:
    """503 and not ready while Asterisk is away; a call works as soon as it is back."""
    client = site.meeting.client
    await site.parts.asterisk.stop()
    await until_ready(client, ready=False)

    away = await site.meeting.post(london("22"))
    await site.parts.asterisk.start()
    await until_ready(client, ready=True)
    placed = await site.meeting.place(london("22"))

    assert (away.status_code, away.json()["reason"]) == (503, "bridge_unavailable")
    assert away.headers["Retry-After"]
    await site.meeting.ended(placed["dial_out_id"])
    await site.meeting.assert_books_are_clean()


async def test_a_call_that_vanished_with_asterisk_is_billed_as_long_as_it_was_seen(
    site: Site,
) -> None:
    """Asterisk killed: no hangup, no record. Nobody is billed for a second that nobody saw.

    Nor is a call taken for alive, once the link is back, that no list has shown since.
    """
    placed = await site.meeting.place(london("10"))
    await site.meeting.answered(placed["dial_out_id"])
    begun = asyncio.get_running_loop().time()

    await site.parts.asterisk.kill()
    lasted = asyncio.get_running_loop().time() - begun
    await asyncio.sleep(AWAY_SECONDS)
    await site.parts.asterisk.start()
    ended = await site.meeting.ended(placed["dial_out_id"], seconds=30)

    assert ended["disposition"] == "answered"
    assert ended["billable_seconds"] <= math.ceil(lasted) + 1
    await site.meeting.assert_books_are_clean()


async def test_when_calls_were_seen_last_is_noted_though_one_tenant_is_stuck(site: Site) -> None:
    """Of Asterisk's death the ledger hears what is known, of each tenant as soon as it can."""
    other = await site.meeting.another()
    placed = [(each, await each.place(london("10"))) for each in (site.meeting, other)]
    for each, call in placed:
        await each.answered(call["dial_out_id"])
    alive_at = await site.heartbeat(after=datetime.now(UTC))  # no list is noted so soon
    owner = await asyncpg.connect(site.parts.owner.dsn.get_secret_value())
    try:
        async with owner.transaction():
            await owner.execute(
                "SELECT FROM dialout.dial_out WHERE tenant_id = $1 FOR UPDATE",
                site.meeting.tenant_id,
            )
            await site.parts.asterisk.kill()
            await seen(other, placed[1][1]["dial_out_id"], alive_at)
    finally:
        await owner.close()
    await seen(site.meeting, placed[0][1]["dial_out_id"], alive_at)
    await site.parts.asterisk.start()

    for each, call in placed:
        ended = await each.ended(call["dial_out_id"], seconds=30)
        assert ended["billable_seconds"] > 0
        await each.assert_books_are_clean()


async def seen(meeting: Meeting, dial_out_id: str, since: datetime) -> None:
    """Return once the ledger knows that a call was alive at an instant, or later."""
    key = DialOutKey(tenant_id=meeting.tenant_id, dial_out_id=UUID(dial_out_id))
    async with asyncio.timeout(30):
        while (row := await meeting.ledger.dial_out(key)) is None or (
            row.seen_at is None or row.seen_at < since
        ):
            await asyncio.sleep(0.05)


async def test_without_its_database_the_gateway_refuses_and_comes_back(site: Site) -> None:
    """503, never 500; a call that is up goes on, and is billed once the database is there."""
    client = site.meeting.client
    placed = await site.meeting.place(london("24"))
    await site.meeting.answered(placed["dial_out_id"])
    trunk_leg = await site.trunk_leg()

    await site.parts.postgres.stop()
    await until_ready(client, ready=False)
    away = await site.meeting.post(london("22"))
    read = await client.get(site.meeting.path(placed["dial_out_id"]))
    seconds = await site.begun_seconds(trunk_leg)
    await site.parts.postgres.start()
    await until_ready(client, ready=True)
    ended = await site.meeting.ended(placed["dial_out_id"])

    assert (away.status_code, away.json()["reason"]) == (503, "ledger_unavailable")
    assert read.status_code == 503
    assert ended["billable_seconds"] in seconds
    await site.meeting.assert_books_are_clean()


async def test_a_poisoned_record_stops_nothing(site: Site) -> None:
    """Whoever may originate can write records: absurd ones are passed over, the others count."""
    placed = await site.meeting.place(london("10"))
    await site.meeting.answered(placed["dial_out_id"])
    key_hex = site.meeting.tenant_id.hex + placed["dial_out_id"].replace("-", "")
    poison = {
        "nonsense": "x",
        "0" * 64: "x:1700000010500:1:16:ANSWER",
        "1" * 64: "x:1700000010500:99999999999999999999:16:ANSWER",
        # Of a call that is up: its channel is there to contradict it.
        key_hex: f"{key_hex}-gate:1700000010500:1:16:ANSWER",
    }

    await site.service.kill()  # or it might clear the table while it is laid
    for key, record in poison.items():
        await set_variable(site.witness, f"DB(dialout/ended/{key})", record)
    written = await site.parts.asterisk.cli("database show dialout/ended")
    await site.service.start()
    still = await site.meeting.read(placed["dial_out_id"])
    await site.meeting.cancel(placed["dial_out_id"])
    ended = await site.meeting.ended(placed["dial_out_id"])

    assert all(record in written for record in poison.values())
    assert still["state"] == "answered"
    assert ended["billable_seconds"] in await site.begun_seconds(await site.trunk_leg())
    await site.meeting.assert_books_are_clean()


async def test_a_cancel_that_asterisk_did_not_hear_is_asked_for_again(site: Site) -> None:
    """Asterisk hangs for some seconds just then: the call is hung up when it is back."""
    placed = await site.meeting.place(london("10"))
    await site.meeting.answered(placed["dial_out_id"])
    pid = site.parts.asterisk.pid
    assert pid is not None

    os.kill(pid, signal.SIGSTOP)
    response = await site.meeting.cancel(placed["dial_out_id"])
    os.kill(pid, signal.SIGCONT)
    ended = await site.meeting.ended(placed["dial_out_id"])

    assert response.status_code == 200
    assert ended["disposition"] == "answered"
    await site.meeting.assert_books_are_clean()


async def test_a_call_that_asterisk_did_not_take_is_not_placed(site: Site) -> None:
    """503 that asks for a new id, everything given back, and nobody is called later either."""
    number = london("22")
    pid = site.parts.asterisk.pid
    assert pid is not None

    os.kill(pid, signal.SIGSTOP)
    response = await site.meeting.post(number)
    os.kill(pid, signal.SIGCONT)
    # It may still say that it is ready when it is about to lose the link that was silent.
    async with asyncio.timeout(30):
        while (following := await site.meeting.post(london("22"))).status_code != 201:
            await asyncio.sleep(0.1)
    await site.meeting.ended(following.json()["dial_out_id"])

    assert (response.status_code, response.json()["reason"]) == (503, "call_not_placed")
    assert site.meeting.invites(number) == 0
    await site.meeting.assert_books_are_clean()


async def test_a_call_that_rang_at_the_restart_is_seen_to_be_answered(site: Site) -> None:
    """The new gateway missed the dial; it notes the answer all the same."""
    number = london("83")
    placed = await site.meeting.place(number)
    await site.meeting.rings(number)

    await site.service.kill()
    await site.service.start()
    answered = await site.meeting.answered(placed["dial_out_id"])
    await site.meeting.cancel(placed["dial_out_id"])
    ended = await site.meeting.ended(placed["dial_out_id"])

    assert answered["answered_at"]
    assert ended["billable_seconds"] in await site.begun_seconds(await site.trunk_leg())
    await site.meeting.assert_books_are_clean()


async def test_a_tenant_that_is_stuck_keeps_nobody_else_waiting(site: Site) -> None:
    """A forgotten transaction on one tenant's row costs that tenant 503s, the others nothing."""
    other = await site.meeting.another()
    owner = await asyncpg.connect(site.parts.owner.dsn.get_secret_value())
    try:
        async with owner.transaction():
            await owner.execute(
                "SELECT FROM dialout.tenant WHERE tenant_id = $1 FOR UPDATE", site.meeting.tenant_id
            )
            stuck = [asyncio.create_task(site.meeting.post(london("22"))) for _ in range(20)]
            placed = [await other.place(london("21")) for _ in range(5)]
            ready = await site.meeting.client.get("/readyz")
    finally:
        await owner.close()

    assert ready.status_code == 200
    for each in placed:
        await other.ended(each["dial_out_id"])
    assert {response.status_code for response in await asyncio.gather(*stuck)} <= {201, 503}
