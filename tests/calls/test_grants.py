"""While the ledger is away, what costs nothing by the second goes on, and is booked once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from gateway import db
from gateway.core.facts import Sku
from gateway.lab.service import Service
from gateway.lab.stack import Stack, stack
from gateway.ledger import Ledger, Provisioning
from tests.calls.conftest import APPLICATION, APPLICATION_SECRET, LAB, OPTIONS
from tests.calls.json_lines import whole_lines
from tests.calls.meeting import ORGANIZER, Meeting, london
from tests.calls.test_recovery import Site
from tests.gate.ami_socket import AmiSocket

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

POOR = "pauline"
"""An organizer whose calls the pool pays for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outpost(Site):
    """A site whose add-on goes on without the ledger; what is granted lies in ``directory``."""

    directory: Path
    output: Path

    async def know(self, number: str, organizer: str = ORGANIZER) -> str:
        """Have the gateway ask the ledger about a call; return its number."""
        body = {
            "tenant_id": str(self.meeting.tenant_id),
            "kind": "add_participant",
            "organizer_id": organizer,
            "initiator_id": "guest@example.com",
            "conference_id": "room",
            "number": number,
        }
        response = await self.meeting.client.post("/v1/quotes", json=body)
        assert response.json()["allowed"], response.text
        return number

    async def lose_the_ledger(self) -> None:
        """Stop the database, and return once the gateway knows."""
        await self.parts.postgres.stop()
        await until_state(self.meeting.client, "degraded")

    async def find_the_ledger(self) -> None:
        """Start the database, and return once the gateway knows."""
        await self.parts.postgres.start()
        await until_state(self.meeting.client, "ready")

    @asynccontextmanager
    async def beside(self, directory: Path, output: Path) -> AsyncIterator["Outpost"]:
        """Lend the same meeting by way of another gateway on the same Asterisk and ledger."""
        async with (
            Service(
                self.parts.asterisk,
                database=self.parts.gateway,
                output=output,
                options=options(directory),
            ) as service,
            service.client() as client,
        ):
            meeting = replace(self.meeting, client=client)
            yield replace(
                self, service=service, meeting=meeting, directory=directory, output=output
            )

    def written(self) -> list[dict[str, Any]]:
        """Return what the journals say."""
        return [line for path in self.directory.glob("*.journal") for line in whole_lines(path)]

    async def until_nothing_is_written(self) -> None:
        """Return once the journals say nothing more: all is booked."""
        async with asyncio.timeout(30):
            while self.written():
                await asyncio.sleep(0.05)

    def refusals(self) -> list[str]:
        """Return why calls were not granted, as the log says."""
        lines = whole_lines(self.output)
        return [line["because"] for line in lines if line["event"] == "grant.refused"]


async def until_state(client: httpx.AsyncClient, state: str, seconds: float = 30) -> None:
    """Return once the gateway says that it is in this state."""
    async with asyncio.timeout(seconds):
        while (await client.get("/readyz")).json().get("state") != state:
            await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def parts() -> AsyncIterator[Stack]:
    """PostgreSQL, a carrier and an Asterisk; whoever stops one of them starts it again."""
    async with stack(LAB, applications={APPLICATION: APPLICATION_SECRET}) as running:
        yield running


def options(directory: Path, **more: str) -> dict[str, str]:
    """Return the settings of a gateway that grants what the add-on pays for."""
    grants = {
        "SOURCES": '["addon"]',
        "DIRECTORY": str(directory),
        "CALL_SECONDS_MAX": "60",
        "CALLS_MAX": "2",
        **more,
    }
    return OPTIONS | {f"DIALOUT_GRANTS__{name}": value for name, value in grants.items()}


@pytest_asyncio.fixture(loop_scope="session")
async def outpost(parts: Stack, tmp_path: Path) -> AsyncIterator[Outpost]:
    """A gateway that grants, and a meeting whose organizer has an add-on for Great Britain."""
    directory, output = tmp_path / "grants", tmp_path / "gateway.log"
    directory.mkdir(mode=0o700)
    async with AsyncExitStack() as exits:
        service = await exits.enter_async_context(
            Service(
                parts.asterisk,
                database=parts.gateway,
                output=output,
                options=options(directory),
            )
        )
        pool = await exits.enter_async_context(db.pool(parts.owner))
        client = await exits.enter_async_context(service.client())
        witness = await exits.enter_async_context(
            AmiSocket(parts.asterisk.host, parts.asterisk.ami_port, APPLICATION, APPLICATION_SECRET)
        )
        meeting = await Meeting.create(
            client,
            Ledger(pool, call_seconds_max=20.0),
            Provisioning(pool, call_seconds_max=20.0),
            parts.carrier,
        )
        await meeting.choose(addon_regions=frozenset({"GB"}))
        await meeting.license(ORGANIZER, Sku.EXTENDED_DIALOUT_US_CA)
        await meeting.add_organizer(POOR)
        await meeting.license(POOR, Sku.AUDIO_CONFERENCING)
        yield Outpost(
            parts=parts,
            service=service,
            meeting=meeting,
            witness=witness,
            directory=directory,
            output=output,
        )


async def test_a_call_of_the_add_on_goes_on_and_is_booked_once(outpost: Outpost) -> None:
    """It rings, is answered and ends while nobody has a database; afterwards it is on the bill.

    So is one that is cancelled meanwhile. What the pool would pay, what nobody has asked about,
    and what is more than an organizer may have, is refused as without grants.
    """
    meeting = outpost.meeting
    number, cut_short = await outpost.know(london("22")), await outpost.know(london("10"))
    of_pool = await outpost.know(london("22"), POOR)
    unknown = london("22")
    dial_out_id = str(uuid4())

    await outpost.lose_the_ledger()
    placed = await meeting.place(number, dial_out_id=dial_out_id)
    again = await meeting.post(number, dial_out_id=dial_out_id)
    other = await meeting.post(london("10"), dial_out_id=dial_out_id)
    not_granted = await meeting.post(of_pool, organizer_id=POOR)
    not_known = await meeting.post(unknown)
    trunk_leg = await outpost.trunk_leg()
    cancelled = await meeting.place(cut_short)
    one_too_many = await meeting.post(unknown)
    await meeting.answered(cancelled["dial_out_id"])
    assert (await meeting.cancel(cancelled["dial_out_id"])).is_success
    seconds = await outpost.begun_seconds(trunk_leg)
    read = await meeting.read(dial_out_id)
    key = {"tenant_id": str(meeting.tenant_id), "dial_out_id": dial_out_id}
    lines = [line["what"] for line in outpost.written() if line.get("key") == key]
    await outpost.find_the_ledger()
    ended = await meeting.ended(dial_out_id)
    hung_up = await meeting.ended(cancelled["dial_out_id"])
    await outpost.until_nothing_is_written()

    assert placed["granted"]
    assert (placed["state"], placed["limit_seconds"]) == ("released", 60)
    assert again.status_code == 200
    assert other.status_code == 409
    assert (not_granted.status_code, not_granted.json()["reason"]) == (503, "ledger_unavailable")
    assert not_known.status_code == one_too_many.status_code == 503
    assert outpost.refusals() == ["not_covered", "not_known", "calls_of_organizer"]
    assert read["state"] == "answered"
    assert lines[:2] == ["released", "answered"]
    assert ended["billable_seconds"] in seconds
    assert ended["paid_by"] == ["addon"]
    assert hung_up["billable_seconds"] > 0
    asked = (number, cut_short, of_pool, unknown)
    assert [meeting.invites(each) for each in asked] == [1, 1, 0, 0]
    await meeting.assert_books_are_clean()


async def test_a_granted_call_outlives_its_gateway_and_its_database(outpost: Outpost) -> None:
    """Killed with a call up that no ledger knows of: the next start books it, and bills all."""
    meeting = outpost.meeting
    number = await outpost.know(london("10"))
    await outpost.lose_the_ledger()
    placed = await meeting.place(number)
    trunk_leg = await outpost.trunk_leg()

    await outpost.service.kill()
    await outpost.parts.postgres.start()
    await outpost.service.start()
    answered = await meeting.answered(placed["dial_out_id"])
    await meeting.cancel(placed["dial_out_id"])
    ended = await meeting.ended(placed["dial_out_id"])

    assert answered["granted"]
    assert ended["billable_seconds"] in await outpost.begun_seconds(trunk_leg)
    assert meeting.invites(number) == 1
    await meeting.assert_books_are_clean()


async def test_what_a_dead_gateway_has_granted_nobody_dials_again(
    outpost: Outpost, tmp_path: Path
) -> None:
    """Asked for again at a gateway that never heard of it, with the database back: not dialled.

    The ledger lets it reserve and claim. But a call that is over has its record on the Asterisk
    host, and one that is up has its channels there; they settle it, too, and the first gateway,
    back again, finds it booked.
    """
    meeting = outpost.meeting
    over, up = await outpost.know(london("22")), await outpost.know(london("10"))
    await outpost.lose_the_ledger()
    first = await meeting.place(over)
    leg = await outpost.trunk_leg()
    second = await meeting.place(up)
    await outpost.service.kill()
    seconds = await outpost.begun_seconds(leg)
    await outpost.parts.postgres.start()

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    async with outpost.beside(elsewhere, tmp_path / "second.log") as there:
        repeated = [
            await there.meeting.post(each["number_typed"], dial_out_id=each["dial_out_id"])
            for each in (first, second)
        ]
        ended = await there.meeting.ended(first["dial_out_id"])
        await there.meeting.answered(second["dial_out_id"])
        await there.meeting.cancel(second["dial_out_id"])
        cancelled = await there.meeting.ended(second["dial_out_id"])
    await outpost.service.start()
    await outpost.until_nothing_is_written()

    assert [response.status_code for response in repeated] == [201, 201]
    assert [meeting.invites(number) for number in (over, up)] == [1, 1]
    assert (ended["evidence"], ended["billable_seconds"] in seconds) == ("record", True)
    assert cancelled["billable_seconds"] > 0
    assert await meeting.read(first["dial_out_id"]) == ended
    assert await meeting.read(second["dial_out_id"]) == cancelled
    await meeting.assert_books_are_clean()


async def test_two_gateways_that_may_grant_a_call_dial_it_once(
    outpost: Outpost, tmp_path: Path
) -> None:
    """The second has seen it at the gate, and lets it be: while it is up, and when it is over."""
    meeting = outpost.meeting
    over, up = await outpost.know(london("22")), await outpost.know(london("10"))
    async with outpost.beside(outpost.directory, tmp_path / "second.log") as there:
        for number in (over, up):
            await there.know(number)
        await outpost.lose_the_ledger()
        await until_state(there.meeting.client, "degraded")
        first = await meeting.place(over, dial_out_id=str(uuid4()))
        seconds = await outpost.begun_seconds(await outpost.trunk_leg())
        second = await meeting.place(up, dial_out_id=str(uuid4()))
        repeated = [
            await there.meeting.post(each["number_typed"], dial_out_id=each["dial_out_id"])
            for each in (first, second)
        ]
        await outpost.find_the_ledger()
        await meeting.answered(second["dial_out_id"])
        await meeting.cancel(second["dial_out_id"])
        ended = await meeting.ended(first["dial_out_id"])
        await meeting.ended(second["dial_out_id"])

        assert [response.status_code for response in repeated] == [503, 503]
        assert there.refusals() == ["asked_before", "asked_before"]
        assert "trunk.tripped" not in there.output.read_text()
    assert [meeting.invites(number) for number in (over, up)] == [1, 1]
    assert ended["billable_seconds"] in seconds
    await meeting.assert_books_are_clean()


async def test_a_call_that_died_with_its_asterisk_is_not_dialled_again(
    outpost: Outpost, tmp_path: Path
) -> None:
    """Neither channel nor record tells of it, and its gateway is dead, too, with its journal.

    Another gateway that saw it at the gate refuses it, though the ledger gives it a claim.
    """
    meeting = outpost.meeting
    number = await outpost.know(london("22"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    async with outpost.beside(elsewhere, tmp_path / "second.log") as there:
        await outpost.lose_the_ledger()
        placed = await meeting.place(number)
        await meeting.answered(placed["dial_out_id"])
        await outpost.service.kill()
        await outpost.parts.asterisk.kill()
        await outpost.parts.asterisk.start()
        await there.find_the_ledger()
        await there.meeting.post(number, dial_out_id=placed["dial_out_id"])
        ended = await there.meeting.ended(placed["dial_out_id"])
        log = there.output.read_text()

    assert "gate.dialled_before" in log
    assert ended["billable_seconds"] == 0
    assert meeting.invites(number) == 1
