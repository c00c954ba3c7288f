"""``dialout ledger``, as an operator and a cron job use it."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from typer.testing import CliRunner, Result

from gateway import db
from gateway.cli.main import cli
from gateway.ledger import Ledger, Provisioning
from tests.ledger.conftest import settings
from tests.ledger.world import CREDITS, World


@pytest.fixture
def tenant_id(dsn: str, monkeypatch: pytest.MonkeyPatch) -> UUID:
    """A tenant with a call of March 2026 that has ended; the settings name its database."""
    for name in list(os.environ):
        if name.startswith("DIALOUT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DIALOUT_DATABASE__DSN", dsn)
    monkeypatch.setenv("COLUMNS", "200")
    return asyncio.run(_one_call(dsn))


async def _one_call(dsn: str) -> UUID:
    async with db.pool(settings(dsn)) as pool:
        ledger = Ledger(pool, call_seconds_max=20.0)
        world = await World.create(ledger, Provisioning(pool, call_seconds_max=20.0))
        await world.add_credits(10**9)
        await world.settle(await world.released(CREDITS, seconds=600), 90_000)
    await db.migrate(settings(dsn))
    return world.tenant_id


async def _call_that_goes_on(dsn: str) -> None:
    async with db.pool(settings(dsn)) as pool:
        ledger = Ledger(pool, call_seconds_max=20.0)
        world = await World.create(ledger, Provisioning(pool, call_seconds_max=20.0))
        await world.add_credits(10**9)
        await world.released(CREDITS, seconds=600)


async def _execute(dsn: str, *statements: str) -> None:
    async with db.pool(settings(dsn)) as pool, pool.acquire() as connection:
        for statement in statements:
            await connection.execute(statement)


def run(*arguments: str) -> Result:
    """Run a command of the ledger."""
    return CliRunner().invoke(cli, ["ledger", *arguments])


def lines(result: Result) -> list[dict[str, Any]]:
    """Return what a command printed for machines."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_clean_books_say_so_and_print_their_head(tenant_id: UUID) -> None:
    """People read one word and may copy one digest."""
    result = run("check")

    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("ledger check: clean\n")
    assert str(tenant_id) in result.stdout
    assert "2026-03" in result.stdout


def test_machines_get_a_line_for_each_thing(tenant_id: UUID) -> None:
    """A line can be read before the next one is there, however long the history is."""
    [head, result] = lines(run("check", "--tenant", str(tenant_id), "--json"))

    assert head["head"]["number"] == 3
    assert len(str(head["head"]["digest"])) == 64
    assert result == {"result": {"stretches": 2, "findings": 0}}


def test_a_finding_ends_it_with_1(tenant_id: UUID, dsn: str) -> None:
    """A cron job looks at nothing else."""
    asyncio.run(
        _execute(
            dsn,
            "SET session_replication_role = replica",
            "UPDATE dialout.charge SET micros = micros + 1",
        )
    )

    result = run("check")
    assert result.exit_code == 1
    assert f"{tenant_id}: charge_differs" in result.stdout
    [finding, *_] = lines(run("check", "--json"))
    assert finding["finding"]["check"] in ("charge_differs", "entries_differ")


def test_heads_that_were_kept_are_compared(tenant_id: UUID, dsn: str, tmp_path: Path) -> None:
    """What an earlier check printed is all that is needed to see a history that was cut off."""
    kept = tmp_path / "heads.jsonl"
    kept.write_text(run("check", "--json").stdout)
    assert run("check", "--heads", str(kept)).exit_code == 0

    asyncio.run(
        _execute(
            dsn,
            "SET session_replication_role = replica",
            "UPDATE dialout.chain SET digest = sha256('')",
        )
    )

    result = run("check", "--heads", str(kept))
    assert result.exit_code == 1
    assert "head_differs" in result.stdout


def test_a_tenant_that_is_gone_is_seen(tenant_id: UUID, tmp_path: Path) -> None:
    """Whoever deletes a whole tenant leaves nothing behind that could be wrong."""
    head = {"tenant_id": str(UUID(int=7)), "month": "2026-03", "number": 1, "digest": "00" * 32}
    kept = tmp_path / "heads.jsonl"
    kept.write_text(json.dumps({"head": head}))

    result = run("check", "--heads", str(kept))

    assert result.exit_code == 1
    assert f"{UUID(int=7)}: head_differs" in result.stdout


@pytest.mark.parametrize("text", ["nonsense", '{"head": {"tenant_id": "x"}}', "[]"])
def test_a_file_of_something_else_is_named(tenant_id: UUID, tmp_path: Path, text: str) -> None:
    """To compare with nothing would be to find nothing wrong."""
    kept = tmp_path / "heads.jsonl"
    kept.write_text(text)

    result = run("check", "--heads", str(kept))

    assert result.exit_code == 2
    assert "line 1" in result.stderr


def test_old_months_go_out_and_come_back(tenant_id: UUID) -> None:
    """Said before it is done, done once, and undone."""
    said = lines(run("detach", "--before", "2026-04", "--dry-run", "--json"))
    assert said == [{"month": "2026-03", "outcome": "would_be_detached"}]

    assert lines(run("detach", "--before", "2026-04", "--json")) == [
        {"month": "2026-03", "outcome": "detached"}
    ]
    assert run("detach", "--before", "2026-04", "--json").stdout == ""
    assert run("check").exit_code == 0
    [march, *_] = json.loads(run("months", "--json").stdout)
    assert (march["month"], march["is_detached"]) == ("2026-03", True)

    assert run("attach", "--month", "2026-03").stdout == "2026-03: attached\n"
    assert run("attach", "--month", "2026-03").exit_code == 1
    assert run("check").exit_code == 0


@pytest.mark.parametrize(
    ("before", "outcome"), [("2026-04", "open_calls"), ("9999-12", "not_over")]
)
def test_what_is_said_before_is_what_is_done(
    tenant_id: UUID, dsn: str, before: str, outcome: str
) -> None:
    """A rehearsal that promises what is then refused is worth nothing to a script."""
    if outcome == "open_calls":
        asyncio.run(_call_that_goes_on(dsn))

    rehearsed = run("detach", "--before", before, "--dry-run", "--json")
    done = run("detach", "--before", before, "--json")

    assert (rehearsed.exit_code, done.exit_code) == (1, 1), rehearsed.output + done.output
    assert lines(rehearsed)[-1] == lines(done)[-1]
    assert lines(done)[-1]["outcome"] == outcome


def test_a_tenant_is_checked_by_name(tenant_id: UUID, tmp_path: Path) -> None:
    """As everywhere; and one that nobody knows is not called clean."""
    kept = tmp_path / "heads.jsonl"
    kept.write_text(run("check", "--json").stdout)

    [head, _] = lines(run("check", "--tenant", "Acme", "--heads", str(kept), "--json"))

    assert head["head"]["tenant_id"] == str(tenant_id)
    for stranger in ("Nobody", str(UUID(int=7))):
        refused = run("check", "--tenant", stranger, "--json")
        assert refused.exit_code == 1
        assert lines(refused)[0]["outcome"] == "unknown_tenant"


def test_an_unsound_month_stays(tenant_id: UUID, dsn: str) -> None:
    """What is wrong with it could not be seen any more once it is out."""
    asyncio.run(
        _execute(
            dsn,
            "SET session_replication_role = replica",
            "UPDATE dialout.charge SET micros = micros + 1",
        )
    )

    result = run("detach", "--before", "2026-04")

    assert result.exit_code == 1
    assert result.stdout.endswith("2026-03: unsound\n")


@pytest.mark.parametrize("month", ["2026", "2026-13", "march", ""])
def test_a_month_that_is_none_is_named(tenant_id: UUID, month: str) -> None:
    """One line says how a month is written."""
    result = run("detach", "--before", month)

    assert result.exit_code == 2
    assert "2025-01" in result.stderr
