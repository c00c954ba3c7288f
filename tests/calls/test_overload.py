"""Beyond capacity new calls are refused at once, and those that are up notice nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
import pytest_asyncio

from gateway.core.key import DialOutKey
from gateway.lab.service import Service
from gateway.lab.stack import Stack
from gateway.ledger import Ledger, Provisioning
from tests.calls.conftest import OPTIONS
from tests.calls.meeting import ORGANIZER, Meeting, london
from tests.calls.test_intercept import old_dialer, originate

pytestmark = pytest.mark.asyncio(loop_scope="session")

CALLS_MAX = 2
CONNECTIONS = 3

WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'dialout-gateway'
    AND wait_event_type = 'Lock'
"""
"""How many statements of a gateway wait for what is locked."""

DECISION_SECONDS = 8
"""How long a decision takes that is slow: the ledger does not answer it at all."""

REFUSED_SECONDS_MAX = 3.0
"""How long a refusal may take on a busy machine. Less than a slow decision takes."""

BOOKED_SECONDS_MAX = 3.0
"""How long after its hangup a call is billed at the latest. Less than is left of a slow one."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def narrow(
    parts: Stack, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway that decides one request of a tenant at a time; nobody waits."""
    options = {
        **OPTIONS,
        "DIALOUT_DATABASE__CONNECTIONS_MAX": str(CONNECTIONS),
        "DIALOUT_DATABASE__CALL_SECONDS_MAX": str(DECISION_SECONDS),
        "DIALOUT_CAPACITY__WAITING_MAX": "0",
        "DIALOUT_CAPACITY__CALLS_MAX": str(CALLS_MAX),
    }
    output = tmp_path_factory.mktemp("narrow") / "gateway.log"
    async with (
        Service(parts.asterisk, database=parts.gateway, output=output, options=options) as service,
        service.client() as client,
    ):
        client.timeout = httpx.Timeout(2 * DECISION_SECONDS)
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def room(
    narrow: httpx.AsyncClient, ledger: Ledger, provisioning: Provisioning, parts: Stack
) -> Meeting:
    """A meeting that asks this gateway."""
    return await Meeting.create(narrow, ledger, provisioning, parts.carrier)


@asynccontextmanager
async def slow(parts: Stack, tenant_id: UUID) -> AsyncIterator[asyncpg.Connection]:
    """Have every reservation of a tenant wait for as long as the ledger lets it."""
    owner = await asyncpg.connect(parts.owner.dsn.get_secret_value())
    try:
        async with owner.transaction():
            await owner.execute(
                "SELECT FROM dialout.tenant WHERE tenant_id = $1 FOR NO KEY UPDATE", tenant_id
            )
            yield owner
    finally:
        await owner.close()


async def one_waits(owner: asyncpg.Connection) -> None:
    """Return once somebody waits for what is locked."""
    async with asyncio.timeout(30):
        while not await owner.fetchval(WAITING):
            await asyncio.sleep(0.01)  # PostgreSQL has no event for it
            await owner.execute("SELECT pg_stat_clear_snapshot()")  # or all looks are one


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request was answered, and how long that took."""

    response: httpx.Response
    seconds: float

    @property
    def reason(self) -> str | None:
        """Why it was not done."""
        reason: str | None = self.response.json().get("reason")
        return reason


async def ask(meeting: Meeting, **fields: str) -> Asked:
    """Ask for a call to a number that answers and hangs up."""
    begun = asyncio.get_running_loop().time()
    response = await meeting.post(london("22"), **fields)
    return Asked(response=response, seconds=asyncio.get_running_loop().time() - begun)


async def test_a_slow_database_refuses_at_once_and_bills_in_time(
    room: Meeting, parts: Stack
) -> None:
    """Who is refused knows when to come back; the call that ends meanwhile pays to the second.

    Only the tenant is refused whose rows are locked, however few connections there are. And
    afterwards the very requests that were not answered, or refused and not recorded, are
    placed under their own ids.
    """
    stuck, refused_id = await room.another(), str(uuid4())
    up = await room.place(london("24"))
    await room.answered(up["dial_out_id"])
    dial_out_id = str(uuid4())
    async with slow(parts, stuck.tenant_id) as owner:
        begun = asyncio.create_task(ask(stuck, dial_out_id=dial_out_id))
        await one_waits(owner)
        slow_since = datetime.now(UTC)
        refused = [await ask(stuck) for _ in range(3)]
        refused.append(await ask(stuck, dial_out_id=refused_id))
        assert await stuck.read(refused_id) == {}
        let_in = await ask(room)
        ended = await room.ended(up["dial_out_id"], seconds=30)
        booked_at = datetime.now(UTC)
        unanswered = await begun

    assert [each.reason for each in refused] == ["overloaded"] * 4
    assert {each.response.status_code for each in refused} == {503}
    assert all(1 <= int(each.response.headers["Retry-After"]) <= 30 for each in refused)
    assert max(each.seconds for each in refused) < REFUSED_SECONDS_MAX
    ended_at = datetime.fromisoformat(ended["ended_at"])
    assert ended_at > slow_since
    assert (booked_at - ended_at).total_seconds() < BOOKED_SECONDS_MAX
    assert ended["billable_seconds"] in (4, 5)
    assert unanswered.reason == "ledger_unavailable"
    assert let_in.response.status_code == 201, let_in.response.text
    await room.ended(let_in.response.json()["dial_out_id"])
    await room.assert_books_are_clean()
    for its_id in (dial_out_id, refused_id):
        again = await ask(stuck, dial_out_id=its_id)
        assert again.response.status_code == 201, again.response.text
        await stuck.ended(its_id)
    await stuck.assert_books_are_clean()


async def test_readers_that_wait_keep_no_call_from_being_billed(
    room: Meeting, ledger: Ledger, parts: Stack
) -> None:
    """Whoever only looks something up has other connections than the calls in progress."""
    key = DialOutKey(tenant_id=room.tenant_id, dial_out_id=uuid4())
    await room.place(london("24"), dial_out_id=str(key.dial_out_id))
    await room.answered(str(key.dial_out_id))
    path = f"/v1/participants/{ORGANIZER}/numbers?tenant_id={room.tenant_id}"
    owner = await asyncpg.connect(parts.owner.dsn.get_secret_value())
    async with asyncio.TaskGroup() as readers, owner.transaction():
        await owner.execute("LOCK TABLE dialout.recent_number")
        for _ in range(2 * CONNECTIONS):
            readers.create_task(room.client.get(path))
        await one_waits(owner)
        slow_since = datetime.now(UTC)
        async with asyncio.timeout(30):
            while (row := await ledger.dial_out(key)) is None or row.ended_at is None:
                await asyncio.sleep(0.02)
        booked_at = datetime.now(UTC)
    await owner.close()

    assert row.ended_at > slow_since
    assert (booked_at - row.ended_at).total_seconds() < BOOKED_SECONDS_MAX


async def test_an_intercepted_call_hears_that_there_is_no_room(room: Meeting, parts: Stack) -> None:
    """Refused by the gateway, and not by a gate that nobody answered: cause 21, and at once.

    It does not wait for the slow decision that is in its way.
    """
    stuck, number = await room.another(), london("22")
    async with slow(parts, stuck.tenant_id) as owner, old_dialer(parts) as application:
        begun = asyncio.create_task(ask(stuck))
        await one_waits(owner)
        hangup = await originate(
            application, number, tenant=str(stuck.tenant_id), organizer=ORGANIZER
        )
        is_slow = not begun.done()
        await begun

    assert hangup["Cause"] == "21"
    assert is_slow
    assert stuck.invites(number) == 0


async def test_a_bridge_takes_on_no_more_calls_than_it_may(room: Meeting) -> None:
    """What is refused is placed once one of the others has ended."""
    first, _ = [await room.place(london("29")) for _ in range(CALLS_MAX)]
    refused = await ask(room)
    await room.cancel(first["dial_out_id"])
    await room.ended(first["dial_out_id"])

    assert (refused.response.status_code, refused.reason) == (503, "overloaded")
    assert refused.response.headers["Retry-After"] == "5"
    # Its row says that it has ended before its gateway has forgotten it.
    async with asyncio.timeout(30):
        while (again := await ask(room)).reason == "overloaded":
            await asyncio.sleep(0.05)
    assert again.response.status_code == 201


async def test_overload_is_counted_and_so_is_how_long_settlements_take(
    narrow: httpx.AsyncClient,
) -> None:
    """What an operator is woken by."""
    async with asyncio.timeout(30):
        while (figures := await metrics(narrow))["dialout_lag_seconds"] >= 1.0:
            await asyncio.sleep(0.5)  # the machine is late, and not for ever

    assert figures["dialout_overloaded_total"] > 0
    assert figures["dialout_settlement_seconds_count"] > 0


async def metrics(client: httpx.AsyncClient) -> dict[str, float]:
    """Return what the gateway counts, by name and labels."""
    text = (await client.get("/metrics")).text
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}
