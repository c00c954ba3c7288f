"""What reports tell of real calls: that it is what the ledger has, to the second and the micro."""

import asyncio
import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from gateway import db
from gateway.api import Administration
from gateway.api.faults import Refused
from gateway.api.reports import Media, preferred
from gateway.core.causes import Disposition
from gateway.core.dial_out import DialOutRequest
from gateway.core.e164 import E164, Destination, NumberKind, Region
from gateway.core.facts import OrganizerId, Sku, SourceKind
from gateway.core.rating import Seconds
from gateway.core.reasons import Reason
from gateway.core.waterfall import Source
from gateway.ledger import Provisioning, Reports, UsageCall
from gateway.ledger.reports import CALLS_A_PAGE
from gateway.reports.usage import COLUMNS, Payer, usage_rows
from gateway.settings import AdminSettings
from tests.admin.conftest import ADMIN_TOKEN, Commands, api_of, client
from tests.ledger.world import CREDITS, LONDON, NOON, ORGANIZER, POOL, TERMS, World
from tests.reports.test_cells import parse_rfc4180

MARCH = ("--from", "2026-03-01", "--to", "2026-04-01")
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
PARIS = Destination(e164=E164("+33142685300"), region=Region("FR"), kind=NumberKind.FIXED_LINE)


async def talked(
    world: World,
    seconds: int,
    *,
    at: datetime = NOON,
    sources: tuple[Source, ...] = (*POOL, *CREDITS),
    destination: Destination = LONDON,
    request: DialOutRequest | None = None,
    slice_seconds: int = 300,
    explanation: str = "{}",
) -> UUID:
    """Have somebody called who answers at once and talks so long; return the call's id."""
    asked = request or world.request()
    terms = replace(TERMS, slice_seconds=Seconds(slice_seconds))
    await world.ledger.reserve(
        *(asked, destination, sources, world.rate, terms, explanation, at),
        *(at + timedelta(seconds=60), "ast-1.1"),
    )
    await world.ledger.answered(asked.key, at)
    for slices in range(1, 1 + (seconds - 1) // slice_seconds):
        due = at + timedelta(seconds=slices * slice_seconds - 30)
        await world.ledger.extend(asked.key, slices=slices, at=due)
    await world.ledger.settle(
        asked.key,
        answered_at=at,
        ended_at=at + timedelta(seconds=seconds),
        hangup_cause=16,
        disposition=Disposition.ANSWERED,
        evidence="test",
    )
    return asked.key.dial_out_id


async def usage(
    reports: Reports, world: World, since: datetime, until: datetime, *, unanswered: bool = False
) -> list[UsageCall]:
    """Return a whole export."""
    found = reports.usage(world.tenant_id, since, until, unanswered=unanswered)
    return [call async for call in found]


async def rows_of(owner: db.Connection, statement: str, *arguments: object) -> list[Any]:
    """Return what a statement finds, past all the rights."""
    return [tuple(row) for row in await owner.fetch(statement, *arguments)]


@pytest.fixture
def reports(admin_pool: db.Pool) -> Reports:
    """Reports, with the login of whoever provisions."""
    return Reports(admin_pool, call_seconds_max=20.0)


@pytest.fixture
async def acme(world: World) -> World:
    """A tenant with an hour of pool and 9 EUR."""
    await world.add_licence()
    await world.add_credits(9_000_000)
    return world


def read_csv(text: str) -> list[dict[str, str]]:
    """Read an export as another program does."""
    header, *lines = parse_rfc4180(text)
    assert [header, *lines] == list(csv.reader(StringIO(text, newline=""), strict=True))
    return [dict(zip(header, line, strict=True)) for line in lines]


def names_in(directory: Path) -> set[str]:
    """Return the names of everything in a directory."""
    return {path.name for path in directory.iterdir()}


async def test_slices_and_sources_are_told_as_rows(acme: World, reports: Reports) -> None:
    """A call of many slices is one row for the pool, and one for the credits that took over."""
    await talked(acme, 1700)
    await talked(acme, 1700)
    call_id = await talked(acme, 800)

    calls = await usage(reports, acme, NOON, NOON + timedelta(days=1))
    [split] = [list(usage_rows(each)) for each in calls if each.dial_out_id == call_id]

    assert [(row.payer, row.seconds) for row in split] == [("pool", 200), ("credits", 600)]
    assert split[1].start == NOON + timedelta(seconds=200)
    assert (split[1].connection_fee_micros, split[1].charge_micros) == (5_000, 125_000)
    assert split[0].call.organizer_name == "Ann"


async def test_the_export_sums_to_the_ledger(
    acme: World, reports: Reports, owner: db.Connection
) -> None:
    """Seconds and micros, by source: what is exported is what the sources have paid."""
    for seconds in (1, 59, 60, 61, 299, 300, 301, 1500, 1800, 1799, 700):
        await talked(acme, seconds, at=NOON + timedelta(minutes=seconds))
    await talked(acme, 90, sources=CREDITS)

    rows = [
        row
        for call in await usage(reports, acme, NOON, NOON + timedelta(days=9))
        for row in usage_rows(call)
    ]
    used = dict(
        await rows_of(
            owner,
            "SELECT kind, sum(used) FROM dialout.source WHERE tenant_id = $1 GROUP BY kind",
            acme.tenant_id,
        )
    )
    billable = await owner.fetchval(
        "SELECT sum(billable_seconds) FROM dialout.dial_out WHERE tenant_id = $1", acme.tenant_id
    )

    assert sum(row.seconds for row in rows if row.payer is Payer.POOL) == used["pool"] == 3600
    assert sum(row.charge_micros for row in rows) == used["credits"]
    assert sum(row.seconds for row in rows if row.payer is not Payer.NOBODY) == billable


async def test_pages_leave_nothing_out(acme: World, reports: Reports, owner: db.Connection) -> None:
    """Calls of one instant are told apart by their ids, also where a page ends among them."""
    first = await talked(acme, 60)
    copies = CALLS_A_PAGE * 2 + 7
    await copied(owner, acme, first, copies)

    calls = await usage(reports, acme, NOON, NOON + timedelta(seconds=1))
    count = await reports.usage_count(acme.tenant_id, NOON, NOON + timedelta(seconds=1))

    assert len({call.dial_out_id for call in calls}) == len(calls) == copies + 1 == count.ended


async def copied(owner: db.Connection, world: World, call_id: UUID, copies: int) -> None:
    """Put copies of a call that has ended into the tables, with ids of their own."""
    for table in ("dial_out", "part", "charge"):
        await owner.execute(
            f"""
            INSERT INTO dialout.{table}
            SELECT (
                jsonb_populate_record(
                    t, jsonb_build_object('dial_out_id', md5('copy' || n)::uuid)
                )
            ).*
            FROM dialout.{table} AS t, generate_series(1, $3) AS n
            WHERE t.tenant_id = $1 AND t.dial_out_id = $2
            """,
            *(world.tenant_id, call_id, copies),
        )


async def test_only_what_has_ended_is_told(acme: World, reports: Reports) -> None:
    """What a call that goes on costs is not known; that there are some is said."""
    await acme.released()
    _, unanswered = await acme.reserve()
    await acme.void(unanswered.request.key)
    day = (NOON, NOON + timedelta(days=1))

    count = await reports.usage_count(acme.tenant_id, *day, unanswered=True)

    assert (count.ended, count.open) == (1, 1)
    assert await usage(reports, acme, *day) == []
    [call] = await usage(reports, acme, *day, unanswered=True)
    assert (call.dial_out_id, call.disposition) == (unanswered.request.key.dial_out_id, "busy")


async def test_the_period_has_its_first_instant_and_not_its_last(
    acme: World, reports: Reports
) -> None:
    """So that the exports of two months have each call once."""
    await talked(acme, 60)

    assert len(await usage(reports, acme, NOON, NOON + timedelta(microseconds=1))) == 1
    assert await usage(reports, acme, NOON - timedelta(days=1), NOON) == []


async def test_tenants_see_their_own(acme: World, reports: Reports) -> None:
    """A report of one tenant has nothing of another."""
    await talked(acme, 60)
    other = await acme.elsewhere()

    assert await usage(reports, other, NOON, NOON + timedelta(days=1)) == []


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        (["audio_conferencing_ppm"], "MCOMEETACPEA"),
        (["audio_conferencing", "communications_credits"], "MCOPSTNPP"),
        (["audio_conferencing", "audio_conferencing_ppm"], "MCOPSTNPP"),
    ],
)
async def test_an_organizer_is_as_the_call_was_decided_by(
    acme: World, reports: Reports, licences: list[str], expected: str
) -> None:
    """Whoever moves, or changes licences, changes no report of the past."""
    facts = {"facts": {"organizer": {"region": "FR", "licences": licences}}}
    await talked(acme, 60, sources=CREDITS, explanation=json.dumps(facts))

    [call] = await usage(reports, acme, NOON, NOON + timedelta(days=1))
    [row] = usage_rows(call)

    assert row.capability == expected
    assert row.cells()["organizer_usage_location"] == "FR"
    assert row.cells()["scope"] == "international"


async def test_commands_export_what_there_is(
    acme: World, commands: Commands, tmp_path: Path
) -> None:
    """CSV, JSON and chart of the same calls, whatever people have written in their names."""
    async with acme.provisioning.change(actor="ann") as change:
        await change.organizer_put(
            *(acme.tenant_id, ORGANIZER),
            display_name='=HYPERLINK("http://x";"Ann, \'A\'")',
            region=Region("GB"),
            permission=(await acme.provisioning.organizers(acme.tenant_id))[0].dial_out_permission,
        )
    await talked(acme, 700, request=replace(acme.request(), number_typed="+44 20 7946 0123"))
    await talked(acme, 60, sources=CREDITS)
    tenant, file, chart = str(acme.tenant_id), tmp_path / "usage.csv", tmp_path / "usage.svg"
    ask = ("report", "usage", tenant, *MARCH)

    exported = await asyncio.to_thread(
        commands.run, *ask, "--csv", str(file), "--chart", str(chart)
    )
    plain = await asyncio.to_thread(commands.done, *ask)
    shown = await asyncio.to_thread(commands.run, *ask)

    assert exported.exit_code == shown.exit_code == 0, exported.output + shown.output
    lines = read_csv(file.read_bytes().decode())
    assert tuple(lines[0]) == COLUMNS
    assert lines[0]["organizer_name"] == '\'=HYPERLINK("http://x";"Ann, \'A\'")'
    assert plain[0]["organizer_name"] == '=HYPERLINK("http://x";"Ann, \'A\'")'
    assert [line["usage_id"] for line in lines] == [each["usage_id"] for each in plain]
    assert sorted(line["charge"] for line in lines) == ["0.000000", "0.017000"]
    assert sorted(each["charge_micros"] for each in plain) == [0, 17_000]
    typed = {line["destination_dialled"] for line in lines}
    assert typed == {"'+44 20 7946 0123", "020 7946 0123"}
    assert chart.read_bytes().startswith(b"<?xml")
    assert "11:40" in shown.stdout
    assert "0.017000" in shown.stdout
    assert names_in(tmp_path) == {file.name, chart.name}


async def test_csv_goes_to_standard_output(acme: World, commands: Commands) -> None:
    """Nothing but CSV is on it, also where something is to be said."""
    await talked(acme, 60)
    await acme.released()

    done = await asyncio.to_thread(
        commands.run, "report", "usage", str(acme.tenant_id), *MARCH, "--csv", "-"
    )

    assert len(read_csv(done.stdout_bytes.decode())) == 1
    assert "1 calls of the period still go on" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("usage", "--from", "soon"), "must be a time"),
        (("usage", "--from", "2026-03-02", "--to", "2026-03-01"), "ends before it starts"),
        (("usage", *MARCH, "--csv", "a.csv", "--json"), "not both"),
        (("usage", *MARCH, "--csv", "absent/a.csv"), "cannot be written: No such file"),
        (("usage", *MARCH, "--csv", "/dev/null"), "cannot be written: it is there, and is no file"),
        (("usage", *MARCH, "--chart", "a.gif"), "must end in .png or .svg"),
        (("pool", "--to", "2026-03-01"), "--to needs --from"),
        (("organizers", "--from", "9999-12-31"), "must be a time"),
    ],
)
async def test_commands_say_what_is_wrong(
    acme: World,
    commands: Commands,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: Sequence[str],
    said: str,
) -> None:
    """In a sentence and with exit code 2, and no file is left behind."""
    monkeypatch.chdir(tmp_path)
    name, *options = arguments

    fault = await asyncio.to_thread(commands.fault, "report", name, str(acme.tenant_id), *options)

    assert said in fault
    assert names_in(tmp_path) == set()


async def test_the_pool_report_adds_up(acme: World, commands: Commands) -> None:
    """What was granted is what is used, reserved, available and lapsed, for each source."""
    await acme.add_licence(sku=Sku.EXTENDED_DIALOUT_US_CA)
    await talked(acme, 700)
    await acme.released(POOL, seconds=600)
    addon = (Source(kind=SourceKind.ADDON, benefit_id="extended_dialout_us_ca"),)
    await talked(acme, 30, sources=addon)

    rows = await asyncio.to_thread(
        commands.done,
        "report",
        "pool",
        str(acme.tenant_id),
        "--from",
        "2026-03-01",
        "--to",
        "2026-04-01",
    )
    shown = await asyncio.to_thread(
        commands.run, "report", "pool", str(acme.tenant_id), "--from", "2026-03-01"
    )

    by_source = {row["paid_by"]: row for row in rows}
    pool, credit, extended = by_source["pool"], by_source["credits"], by_source["addon"]
    for row in rows:
        assert row["total"] == row["used"] + row["reserved"] + row["available"] + row["lapsed"]
    # What is left of March has lapsed; the call that goes on has its part still.
    assert (pool["capability"], pool["used"], pool["reserved"]) == ("MCOMEETADD", 700, 600)
    assert (pool["available"], pool["lapsed"], pool["unit"]) == (0, 2300, "seconds")
    assert pool["usage_location"] is None
    assert (credit["capability"], credit["total"]) == ("MCOPSTNPP", 9_000_000)
    assert (credit["currency"], credit["unit"]) == ("EUR", "micros")
    assert credit["valid_to"] is not None
    assert (extended["organizer_id"], extended["usage_location"]) == (ORGANIZER, "GB")
    assert (extended["capability"], extended["used"]) == ("MCOMEETADD_DIALOUT_US", 30)
    assert "9.000000" in shown.stdout
    assert "11:40" in shown.stdout


async def test_the_organizers_report_tells_domestic_from_international(
    acme: World, reports: Reports, commands: Commands
) -> None:
    """Calls, time and money by organizer, over several months; and why others were refused."""
    bob = OrganizerId("bob@example.com")
    for days in (0, 40):
        await talked(acme, 60, at=NOON + timedelta(days=days), sources=CREDITS)
    await talked(acme, 90, sources=CREDITS, destination=PARIS)
    _, unanswered = await acme.reserve()
    await acme.void(unanswered.request.key)
    for reason in (Reason.NOT_COVERED, Reason.NOT_COVERED, Reason.ORGANIZER_UNKNOWN):
        request = replace(acme.request(), organizer_id=bob)
        await acme.ledger.refuse(request, None, reason, "{}", NOON)

    found = await asyncio.to_thread(
        commands.done, *("report", "organizers", str(acme.tenant_id)), "--from", "2026-03-01"
    )
    ann, other = found

    assert (ann["organizer_id"], ann["usage_location"], ann["calls"]) == (ORGANIZER, "GB", 3)
    assert (ann["domestic_calls"], ann["domestic_seconds"]) == (2, 120)
    assert (ann["international_calls"], ann["international_seconds"]) == (1, 90)
    assert ann["domestic_charge_micros"] == 2 * 17_000
    assert ann["charge_micros"] == 2 * 17_000 + 29_000
    assert (ann["unanswered_calls"], ann["refused_calls"], ann["currency"]) == (1, 0, "EUR")
    assert (other["organizer_id"], other["calls"], other["refused_calls"]) == (bob, 0, 3)
    assert other["refused"] == {"not_covered": 2, "organizer_unknown": 1}


async def test_people_see_what_organizers_talked_beyond_the_funds(
    acme: World, commands: Commands
) -> None:
    """What nobody paid is somebody's loss: the table has it as the CSV does."""
    await acme.settle(await acme.released(CREDITS, seconds=60), 67_000)

    ask = ("report", "organizers", str(acme.tenant_id), "--from", "2026-03-01")
    [row] = await asyncio.to_thread(commands.done, *ask)
    shown = await asyncio.to_thread(commands.run, *ask)

    assert row["unpaid_seconds"] == 7
    assert "unpaid" in shown.stdout
    assert "0:07" in shown.stdout


async def test_it_is_all_there_over_http(admin: httpx.AsyncClient, acme: World) -> None:
    """The same rows as by command: JSON, or CSV where that is preferred."""
    await talked(acme, 700)
    path = f"/v1/admin/tenants/{acme.tenant_id}/reports"
    march = {"from": "2026-03-01", "to": "2026-04-01"}

    for report in ("usage", "pool", "organizers"):
        plain = await admin.get(f"{path}/{report}", params=march)
        sheet = await admin.get(f"{path}/{report}", params=march, headers={"Accept": "text/csv"})
        assert (plain.status_code, sheet.status_code) == (200, 200), plain.text + sheet.text
        assert plain.headers["content-type"] == "application/json"
        assert sheet.headers["content-type"] == "text/csv; charset=utf-8"
        assert len(plain.json()) == len(read_csv(sheet.text)) > 0
    await acme.add_credits(1, datetime.now(UTC))
    now = await admin.get(f"{path}/pool")
    assert {each["paid_by"] for each in now.json()} == {"credits"}


async def test_months_that_were_taken_out_are_no_quiet_months(
    acme: World, owner: db.Connection, reports: Reports, commands: Commands
) -> None:
    """A period that begins in one of them is refused, and told from when on all is there."""
    await talked(acme, 60)
    await owner.execute("SELECT dialout.months_sort()")
    for month in await owner.fetch(
        "SELECT month FROM dialout.month_list() WHERE month < $1", APRIL
    ):
        await owner.execute("SELECT dialout.month_detach($1, $2)", month[0], APRIL)
    tenant = str(acme.tenant_id)

    for name in ("usage", "organizers"):
        fault = await asyncio.to_thread(commands.fault, "report", name, tenant, *MARCH)
        assert "Calls before 2026-04-01T00:00:00.000Z were taken out" in fault
    april = ("--from", "2026-04-01", "--to", "2026-05-01")
    assert await asyncio.to_thread(commands.done, "report", "usage", tenant, *april) == []
    assert await reports.kept_from(uuid4()) is None


async def test_http_refuses_in_words(admin: httpx.AsyncClient, acme: World) -> None:
    """An unknown tenant's report would look like that of a quiet one."""
    path = f"/v1/admin/tenants/{acme.tenant_id}/reports/usage"
    unknown = f"/v1/admin/tenants/{uuid4()}/reports/usage"
    march = {"from": "2026-03-01"}

    answers = [
        await admin.get(unknown, params=march),
        await admin.get(path, params={"from": "soon"}),
        await admin.get(path.replace("usage", "pool"), params={"to": "2026-03-01"}),
        await admin.get(path, params=march, headers={"Accept": "image/png"}),
        await admin.get(path, params=march, headers={"Authorization": "Bearer wrong"}),
    ]

    assert [each.status_code for each in answers] == [404, 422, 422, 406, 401]
    assert [each.json()["reason"] for each in answers] == [
        *("unknown_tenant", "invalid_period", "invalid_period", "not_acceptable", "unauthorized")
    ]


async def test_a_ledger_that_is_away_is_503(gateway_pool: db.Pool) -> None:
    """Before anything was sent: half a report with a good status would be taken for a whole."""
    nowhere = AdminSettings.model_validate({"dsn": "postgresql:///absent?host=/nowhere"})
    async with db.pool(nowhere.database()) as pool:
        administration = Administration(
            provisioning=Provisioning(pool, call_seconds_max=1.0),
            reports=Reports(pool, call_seconds_max=1.0),
            token=ADMIN_TOKEN,
        )
        with api_of(gateway_pool, administration) as app:
            async with client(app, ADMIN_TOKEN) as admin:
                path = f"/v1/admin/tenants/{uuid4()}/reports/pool"
                answer = await admin.get(path)

    assert (answer.status_code, answer.json()["reason"]) == (503, "ledger_unavailable")


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", Media.JSON),
        ("*/*", Media.JSON),
        ("text/csv", Media.CSV),
        ("text/*;q=0.5, application/json;q=0.4", Media.CSV),
        ("text/html, */*;q=0.1", Media.JSON),
        ("application/json;q=0, */*", Media.CSV),
        ("TEXT/CSV; header=present", Media.CSV),
        ("text/csv;q=nonsense, application/json;q=0.1", Media.JSON),
    ],
)
def test_the_client_chooses(accept: str, media: Media) -> None:
    """By the weights of RFC 9110; who does not mind gets JSON."""
    assert preferred(accept) is media


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0, text/csv;q=0", ";;;,q=1"])
def test_a_client_that_takes_neither_is_told(accept: str) -> None:
    """406 is better than what it cannot read."""
    with pytest.raises(Refused):
        preferred(accept)


async def test_only_provisioners_may_read_them(owner: db.Connection) -> None:
    """Neither the gateway nor a stranger, and nobody may write through them."""
    for view in ("usage_call", "usage_refusal", "usage_kept", "standing_list"):
        rights = await rows_of(
            owner,
            """
            SELECT grantee, privilege_type FROM information_schema.role_table_grants
            WHERE table_schema = 'dialout' AND table_name = $1 AND grantee <> 'dialout_owner'
            """,
            view,
        )
        assert rights == [("dialout_provisioner", "SELECT")]
