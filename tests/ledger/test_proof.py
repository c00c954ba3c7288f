"""The check that runs by itself: one gateway at a time, all of them show what was found."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from gateway import db
from gateway.db import Connection
from gateway.ledger import FindingCode, LastProof, Ledger
from gateway.metrics import REGISTRY, exposition
from gateway.proof import Proof
from gateway.settings import ProofSettings
from tests.ledger.conftest import settings
from tests.ledger.test_check import disarm
from tests.ledger.world import CREDITS, World, until_somebody_waits

NOW = datetime(2026, 5, 5, tzinfo=UTC)
DAY = timedelta(days=1)
LEASE_SECONDS = ProofSettings().lease_seconds()


@pytest.fixture
async def world(world: World, dsn: str) -> World:
    """A tenant with a call that has ended, filed in its month."""
    await world.add_credits(10**9)
    await world.settle(await world.released(CREDITS, seconds=600), 90_000)
    await db.migrate(settings(dsn))
    return world


def proof(
    ledger: Ledger, now: Callable[[], datetime] = lambda: NOW, every: timedelta = DAY
) -> Proof:
    """Return a gateway's own."""
    return Proof(ledger=ledger, every=every, lease_seconds=LEASE_SECONDS, now=now)


def shown(name: str, **labels: str) -> float | None:
    """Return what a metric is now."""
    return REGISTRY.get_sample_value(name, labels)


async def test_sound_books_are_shown_as_such(ledger: Ledger, world: World) -> None:
    """Each code is there with 0, so that an alert can tell soundness from silence."""
    with capture_logs() as logs:
        await proof(ledger).turn()

    assert [line["event"] for line in logs] == ["ledger.checked"]
    assert {shown("dialout_ledger_findings", finding=code) for code in FindingCode} == {0.0}
    assert shown("dialout_ledger_checked_timestamp_seconds") == NOW.timestamp()
    assert shown("dialout_ledger_unfiled_tables") == 0


async def test_a_finding_is_told_loudly(ledger: Ledger, world: World, owner: Connection) -> None:
    """The books are wrong: somebody must look, whom an error and a metric reach."""
    await disarm(owner)
    await owner.execute("UPDATE dialout.charge SET micros = micros + 1")

    with capture_logs() as logs:
        await proof(ledger).turn()

    assert [line["event"] for line in logs if line["log_level"] == "error"][-1] == "ledger.unsound"
    assert shown("dialout_ledger_findings", finding="charge_differs") == 1
    assert shown("dialout_ledger_findings", finding="overdrawn") == 0


async def test_one_check_a_day_is_enough_for_all_gateways(ledger: Ledger, world: World) -> None:
    """A second gateway, or one that starts anew, shows what the first one found."""
    await proof(ledger).turn()

    with capture_logs() as logs:
        await proof(ledger, lambda: NOW + DAY - timedelta(seconds=1)).turn()
        await proof(ledger, lambda: NOW + DAY).turn()

    assert [line["event"] for line in logs] == ["ledger.checked"]


async def test_none_is_made_where_nobody_wants_one(ledger: Ledger, world: World) -> None:
    """``every_hours = 0``: by command only."""
    with capture_logs() as logs:
        await proof(ledger, every=timedelta(0)).turn()

    assert logs == []
    claimed, last = await ledger.proof_claim(uuid4(), NOW, every=DAY, lease_seconds=60)
    assert claimed
    assert last is None


async def test_a_claim_keeps_others_away_until_its_holder_is_silent(ledger: Ledger) -> None:
    """A gateway that was killed in the midst of a check must not have been the last to check."""
    first, second = uuid4(), uuid4()

    async def claims(holder: object, seconds: int) -> bool:
        assert holder in (first, second)
        claimed, _ = await ledger.proof_claim(
            first if holder == first else second,
            NOW + timedelta(seconds=seconds),
            every=DAY,
            lease_seconds=LEASE_SECONDS,
        )
        return claimed

    assert await claims(first, 0)
    assert await claims(first, 1)
    assert not await claims(second, LEASE_SECONDS)
    assert await claims(second, LEASE_SECONDS + 1)
    assert not await claims(first, LEASE_SECONDS + 2)

    late = LastProof(checked_at=NOW, seconds=7, findings={"astray": 1})
    await ledger.proof_end(first, late)
    assert not await claims(first, LEASE_SECONDS + 3)
    await ledger.proof_end(second, late)
    assert (await ledger.proof_claim(first, NOW, every=DAY, lease_seconds=1)) == (False, late)


async def test_a_gateway_that_stops_leaves_the_check_to_others(
    ledger: Ledger, world: World, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new version is rolled out in the midst of a check: the next gateway begins at once."""
    monkeypatch.setattr("gateway.proof.RELEASE_SECONDS", 20.0)
    async with owner.transaction():
        await owner.execute("LOCK TABLE dialout.source IN ACCESS EXCLUSIVE MODE")
        checking = asyncio.create_task(proof(ledger).turn())
        await until_somebody_waits(owner)
        assert await owner.fetchval("SELECT claimed_by IS NOT NULL FROM dialout.proof")
        checking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await checking

    claimed, last = await ledger.proof_claim(uuid4(), NOW, every=DAY, lease_seconds=LEASE_SECONDS)
    assert (claimed, last) == (True, None)


async def test_a_ledger_that_is_away_is_waited_for(ledger: Ledger, owner: Connection) -> None:
    """The check shares the process with the calls: nothing that befalls it may end the task."""
    await owner.execute("ALTER TABLE dialout.proof RENAME TO elsewhere")

    with capture_logs() as logs:
        await proof(ledger).turn()

    assert [line["event"] for line in logs] == ["ledger.unchecked"]


async def test_months_without_tables_are_told(ledger: Ledger, world: World) -> None:
    """A warning and a metric say that somebody must migrate."""
    await world.reserve(None, CREDITS, at=NOW)

    with capture_logs() as logs:
        await proof(ledger, every=timedelta(0)).turn()

    assert [line["event"] for line in logs] == ["ledger.unfiled"]
    assert shown("dialout_ledger_unfiled_tables") == 3


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics"),
    ],
)
def test_metrics_are_read_in_the_form_that_is_asked_for(accept: str, kind: str) -> None:
    """Prometheus asks for OpenMetrics and a person for text; both get all of it."""
    content, content_type = exposition(accept)

    assert content_type.startswith(kind)
    assert b"dialout_ledger_checked_timestamp_seconds" in content
    assert b"dialout_requests" in content
