"""Numbers that are left alone, as operators see and clear them: by command and over HTTP."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from gateway import db
from tests.admin.conftest import Commands

NUMBER = "+442079460123"
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
CALLED = {
    "destination": NUMBER,
    "attempts": 5,
    "window_from": "2026-03-10T12:00:00+00:00",
    "quiet_until": "2026-03-10T12:10:00+00:00",
}
NOT_CALLED = {"destination": NUMBER, "attempts": 0, "window_from": None, "quiet_until": None}


@pytest.fixture
async def called(owner: db.Connection) -> None:
    """A number that was called too often."""
    await owner.execute(
        "INSERT INTO dialout.callee VALUES ($1, 5, $2, $3)",
        *(NUMBER, NOON, NOON + timedelta(minutes=10)),
    )


@pytest.mark.usefixtures("called")
async def test_a_number_is_shown_and_cleared_by_command(commands: Commands) -> None:
    """For people and machines; who cleared it, and why, is in the operator's audit."""
    who = ("--by", "olga", "--because", "a help line")

    before = await asyncio.to_thread(commands.done, "callee", "show", NUMBER)
    read = await asyncio.to_thread(commands.run, "callee", "show", NUMBER)
    cleared = await asyncio.to_thread(commands.done, "callee", "clear", NUMBER, *who)
    again = await asyncio.to_thread(commands.refused, "callee", "clear", NUMBER)
    after = await asyncio.to_thread(commands.done, "callee", "show", NUMBER)
    [entry] = await asyncio.to_thread(commands.done, "audit", "list", "--limit", "1")

    assert before == CALLED
    assert NUMBER in read.stdout
    assert "2026-03-10 12:10" in read.stdout
    assert (cleared["outcome"], again) == ("removed", "absent")
    assert after == NOT_CALLED
    assert (entry["actor"], entry["because"]) == ("olga", "a help line")
    assert entry["before"]["destination"] == NUMBER


@pytest.mark.usefixtures("called")
async def test_a_number_is_shown_and_cleared_over_http(admin: httpx.AsyncClient) -> None:
    """The same words, and 404 for what is not there to be cleared."""
    path = f"/v1/admin/callees/{NUMBER}"

    before = await admin.get(path)
    answers = [await admin.delete(path, headers={"Dialout-Actor": "olga"}) for _ in range(2)]
    after = await admin.get(path)
    audited = await admin.get("/v1/admin/audit?limit=1")

    assert [datetime.fromisoformat(before.json()[name]) for name in ("window_from",)] == [NOON]
    assert before.json()["attempts"] == 5
    assert [answer.status_code for answer in answers] == [200, 404]
    assert after.json() == NOT_CALLED
    assert [each["actor"] for each in audited.json()["items"]] == ["olga"]


async def test_the_gateways_own_login_clears_nothing(
    owner: db.Connection,
) -> None:
    """It counts who is called; whoever breaks into it must not be able to take that away."""
    allowed = await owner.fetchval(
        "SELECT has_function_privilege($1, 'dialout.callee_clear(text)', 'EXECUTE')",
        "dialout_gateway",
    )

    assert allowed is False
