"""``dialout gaps`` and its route: what people and machines are told of outages and their calls."""

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest

from gateway.core.call import Unproved
from gateway.core.dial_out import MAIN_BRIDGE
from gateway.core.outage import Outage, OutageKind
from gateway.reports.gaps import COLUMNS
from tests.admin.conftest import Commands
from tests.ledger.test_outages import vanished
from tests.ledger.world import CREDITS, NOON, World
from tests.reports.test_reports import read_csv

SECOND = timedelta(seconds=1)
MASKED = "+442*******23"


@pytest.fixture
async def acme(world: World) -> World:
    """A tenant with credits in plenty."""
    await world.add_credits(9_000_000)
    return world


async def noted(world: World, kind: OutageKind, began: int, ended: int, detail: str) -> Outage:
    """Note an outage between so many seconds after noon."""
    outage = Outage(
        outage_id=uuid4(),
        bridge=MAIN_BRIDGE,
        kind=kind,
        began_at=NOON + began * SECOND,
        ended_at=NOON + ended * SECOND,
        detail=detail,
    )
    await world.ledger.outage_note(outage)
    return outage


@pytest.fixture
async def calls(acme: World) -> tuple[UUID, UUID, UUID]:
    """Asterisk was killed after a minute: a call that vanished, one that is proved, one open."""
    unproved = await acme.released(CREDITS)
    await vanished(acme, unproved, 61, 130, Unproved.LEAST)
    proved = await acme.released(CREDITS)
    await acme.settle(proved, 90_000)
    still = await acme.released(CREDITS)
    await noted(acme, OutageKind.LINK, 61, 131, "lost")
    await noted(acme, OutageKind.ASTERISK, 60, 129, "booted since")
    await noted(acme, OutageKind.CLOCK, -60, -58, "=the clock\x1b[2J")
    return unproved.dial_out_id, proved.dial_out_id, still.dial_out_id


async def run(commands: Commands, *words: str) -> str:
    """Run the command, and return what it prints."""
    result = await asyncio.to_thread(commands.run, "gaps", *words)
    assert result.exit_code == 0, result.output
    return result.stdout


async def test_people_read_each_outage_with_its_calls_and_what_they_come_to(
    commands: Commands, calls: tuple[UUID, UUID, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newest first; bounds, what was billed and what else; a call in two outages counts once."""
    monkeypatch.setenv("COLUMNS", "250")
    unproved, proved, still = map(str, calls)

    text = await run(commands)
    [*blocks] = text.split("of main: ")[1:]

    assert [block.split(", ")[1] for block in blocks] == ["70 s", "69 s", "2 s"]
    assert "link of main: 2026-03-10 12:01:01Z to 2026-03-10 12:02:11Z, 70 s, lost" in text
    for line in (each for each in blocks[0].splitlines() if "│" in each):
        assert MASKED in line
        if unproved in line:
            assert "61 to 130 s" in line
            assert "61 s" in line
            assert "+69 s, +0.012000 EUR" in line
        elif proved in line:
            assert "90 s" in line
            assert "to" not in line
        else:
            assert still in line
            assert "open" in line
    assert "\x1b" not in text
    totals = {
        cells[0].strip(): cells[1].strip()
        for cells in (line.strip("│").split("│") for line in text.splitlines()[-11:])
        if len(cells) == 2
    }
    assert totals["outages, link"] == "1, 70 s"
    assert (totals["calls"], totals["calls that go on"]) == ("3", "1")
    assert totals["calls without proof"] == "1"
    assert totals["billed otherwise"] == "+69 s, +0.012000 EUR"


async def test_machines_read_a_row_an_outage_and_call(
    commands: Commands, calls: tuple[UUID, UUID, UUID], acme: World
) -> None:
    """An outage without calls is a row, too; what the row says is what the ledger billed."""
    rows = await asyncio.to_thread(commands.done, "gaps")

    assert len(rows) == 3 + 3 + 1
    [row] = [each for each in rows if each["call_id"] == str(calls[0]) and each["kind"] == "link"]
    told = ("least_seconds", "most_seconds", "unproved", "evidence", "destination")
    assert [row[name] for name in told] == [61, 130, "least", "absent_twice", MASKED]
    assert (row["billed_seconds"], row["charge_micros"]) == (61, 29_000)
    assert (row["otherwise_seconds"], row["otherwise_charge_micros"]) == (130, 41_000)
    assert row["tenant_id"] == str(acme.tenant_id)
    [alone] = [each for each in rows if each["kind"] == "clock"]
    assert (alone["call_id"], alone["seconds"]) == (None, 2)


@pytest.mark.usefixtures("calls")
async def test_a_spreadsheet_computes_nothing_of_it(commands: Commands, tmp_path: Path) -> None:
    """What an operating system said of a cause is a text, whatever it begins with."""
    file = tmp_path / "gaps.csv"
    await run(commands, "--csv", str(file))
    rows = read_csv(file.read_bytes().decode())

    assert tuple(rows[0]) == COLUMNS
    assert rows[-1]["detail"].startswith("'=the clock")
    charges = [row["otherwise_charge"] for row in rows if row["kind"] == "link"]
    assert sorted(charges) == ["", "", "0.041000"]


@pytest.mark.usefixtures("calls")
async def test_what_is_listed_can_be_narrowed(commands: Commands, acme: World) -> None:
    """By time, by bridge, by tenant, and by pages."""
    other = await acme.elsewhere()

    async def kinds(*words: str) -> list[str]:
        found = await asyncio.to_thread(commands.done, "gaps", *words)
        return list(dict.fromkeys(row["kind"] for row in found))

    assert await kinds("--until", NOON.isoformat()) == ["clock"]
    assert await kinds("--since", NOON.isoformat(), "--bridge", "main", "--limit", "9") != []
    assert await kinds("--bridge", "north") == []
    first = await asyncio.to_thread(commands.done, "gaps", "--limit", "1")
    assert len(await kinds("--after", first[0]["outage_id"])) == 2
    others = await asyncio.to_thread(commands.done, "gaps", "--tenant", str(other.tenant_id))
    assert [row["call_id"] for row in others] == [None, None, None]
    fault = await asyncio.to_thread(commands.fault, "gaps", "--bridge", "No;Such")
    assert "bridge" in fault


@pytest.mark.usefixtures("calls")
async def test_the_route_tells_the_same(admin: httpx.AsyncClient, commands: Commands) -> None:
    """JSON or CSV, behind the token of provisioning."""
    rows = await asyncio.to_thread(commands.done, "gaps")

    as_json = await admin.get("/v1/admin/gaps")
    as_csv = await admin.get("/v1/admin/gaps", headers={"Accept": "text/csv"})
    narrowed = await admin.get("/v1/admin/gaps", params={"to": NOON.isoformat(), "bridge": "main"})
    wrong = await admin.get("/v1/admin/gaps", params={"bridge": "No;Such"})
    closed = await admin.get("/v1/admin/gaps", headers={"Authorization": "Bearer no"})

    assert as_json.json() == rows
    assert len(read_csv(as_csv.text)) == len(rows)
    assert [row["kind"] for row in narrowed.json()] == ["clock"]
    assert (wrong.status_code, closed.status_code) == (422, 401)
