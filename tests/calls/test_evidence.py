"""The manual of the evidence is true: its texts are loaded, and calls without a record proved."""

import asyncio
import math
import re
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
from pydantic import SecretStr

from gateway import db
from gateway.core.call import Ending
from gateway.core.key import DialOutKey
from gateway.dialer import TRUNK_CHANNELS
from gateway.lab.asterisk import Asterisk
from gateway.lab.carrier import Carrier
from gateway.lab.postgres import Postgres
from gateway.lab.program import find_asterisk, find_sipp, free_port
from gateway.lab.service import Service
from gateway.ledger import CallDetail, Ledger, Provisioning
from gateway.settings import DatabaseSettings
from tests.calls.conftest import APPLICATION, APPLICATION_SECRET, LAB, OPTIONS
from tests.calls.meeting import ORGANIZER, Answer, Meeting, london
from tests.calls.test_intercept import originate
from tests.gate.ami_socket import AmiSocket, Message

pytestmark = pytest.mark.asyncio(loop_scope="session")

MANUAL = (Path(__file__).parents[2] / "docs" / "evidence.md").read_text(encoding="utf-8")

DEADLINE_SECONDS = 5.0
"""What a busy machine needs for an answer, and less than a test waits for a settlement."""
EVENT_MS = 100
"""How far apart two of Asterisk's own accounts of one call may lie."""

ENDED = {
    "cel": "SELECT count(*) FROM cel WHERE uniqueid = $1 AND eventtype = 'HANGUP'",
    "cdr": "SELECT count(*) FROM cdr WHERE uniqueid = $1",
}
ANSWERED = "SELECT count(*) FROM cel WHERE uniqueid = $1 AND eventtype = 'BRIDGE_ENTER'"

_rooms = count(1)

_BLOCK = re.compile(r"`([a-z_]+\.conf)`\n\n```ini\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A bridge whose Asterisk writes its call detail as the manual says, and a gateway."""

    asterisk: Asterisk
    carrier: Carrier
    service: Service
    meeting: Meeting
    witness: AmiSocket
    tables: db.Connection
    reader: DatabaseSettings

    async def place(self, number: str) -> Answer:
        """Have a telephone called into a conference whose end no earlier call can bring about."""
        return await self.meeting.place(number, conference_id=new_room())

    async def answered(self, number: str) -> tuple[Answer, str]:
        """Have a telephone called until it answers; return the call and its leg."""
        placed = await self.place(number)
        await self.meeting.answered(placed["dial_out_id"])
        return placed, await self.leg(placed)

    async def leg(self, placed: Answer) -> str:
        """Return the uniqueid of a call's leg on the trunk, once that has answered."""
        gate = f"{self.key_hex(placed)}-gate"
        answer = await self.witness.event("DialEnd", Uniqueid=gate, DialStatus="ANSWER")
        return answer["DestUniqueid"]

    async def hang_up(self, placed: Answer, leg: str) -> Message:
        """End a call while no gateway is there, and take the record of it away."""
        await self.asterisk.cli(f"channel request hangup {await self._gate(placed)}")
        hangup = await self.witness.event("Hangup", Uniqueid=leg)
        async with asyncio.timeout(30):
            while "removed" not in await self.asterisk.cli(
                f"database del dialout/ended {self.key_hex(placed)}"
            ):
                await asyncio.sleep(0.05)
        return hangup

    async def begun_seconds(self, leg: str) -> set[int]:
        """Return how many seconds a leg began by the events; two numbers at a full second."""
        answer = await self.witness.event("DialEnd", DestUniqueid=leg)
        hangup = await self.witness.event("Hangup", Uniqueid=leg)
        seconds = float(hangup["Timestamp"]) - float(answer["Timestamp"])
        return {math.ceil(seconds - 0.02), math.ceil(seconds + 0.02)}

    async def forget(self, table: str, placed: Answer) -> None:
        """Take what a table says of a call out of it, once it says that the call has ended."""
        uniqueid = await self.told(ENDED[table], placed)
        await self.tables.execute(f"DELETE FROM {table} WHERE uniqueid = $1", uniqueid)

    async def told(self, question: str, placed: Answer) -> str:
        """Return the uniqueid of a call's gate, once the tables say so much of it."""
        uniqueid = f"{self.key_hex(placed)}-gate"
        async with asyncio.timeout(30):
            while not await self.tables.fetchval(question, uniqueid):
                await asyncio.sleep(0.05)
        return uniqueid

    def key_hex(self, placed: Answer) -> str:
        """Return the name of a call's record."""
        return self.meeting.tenant_id.hex + str(placed["dial_out_id"]).replace("-", "")

    async def _gate(self, placed: Answer) -> str:
        for line in (await self.asterisk.cli("core show channels concise")).splitlines():
            name, *rest = line.split("!")
            if rest and rest[-1] == f"{self.key_hex(placed)}-gate":
                return name
        raise AssertionError("the call is gone")


def new_room() -> str:
    """Return a conference that no other call has."""
    return f"room-{next(_rooms)}"


def manual(text: str, port: int) -> str:
    """Return a text of the manual, with the database of this test in it."""
    return text.replace("db.example.net", "127.0.0.1").replace("5432", str(port))


def block(language: str) -> str:
    """Return the only text of the manual in this language."""
    [text] = re.findall(rf"^```{language}\n(.*?)^```$", MANUAL, re.MULTILINE | re.DOTALL)
    return str(text)


def configure(etc: Path, port: int) -> None:
    """Do on an Asterisk host what the manual says."""
    files = dict(_BLOCK.findall(MANUAL))
    assert files.keys() == {
        "cel.conf",
        "cel_pgsql.conf",
        "cdr_pgsql.conf",
        "modules.conf",
        "pjsip.conf",
    }
    for name in ("cel.conf", "cel_pgsql.conf", "cdr_pgsql.conf"):
        (etc / name).write_text(manual(files[name], port))
    with (etc / "modules.conf").open("a") as modules:
        modules.write(files["modules.conf"])
    pjsip = etc / "pjsip.conf"
    pjsip.write_text(pjsip.read_text().replace("[global]\n", f"[global]\n{files['pjsip.conf']}"))


def options(port: int, directory: Path) -> dict[str, str]:
    """Return the manual's settings, by their environment names."""
    settings = dict(re.findall(r'^(\w+) = "(.*)"$', manual(block("toml"), port), re.MULTILINE))
    password = directory / "password"
    password.write_text("another-long-secret\n")
    settings |= {"password_file": str(password), "call_seconds_max": str(DEADLINE_SECONDS)}
    named = "DIALOUT_BRIDGES__MAIN__CALL_DETAIL__"
    return OPTIONS | {f"{named}{name.upper()}": value for name, value in settings.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One bridge for all tests of this file."""
    async with AsyncExitStack() as parts:
        directory = Path(parts.enter_context(TemporaryDirectory(prefix="dialout-")))
        port = free_port(socket.SOCK_STREAM)
        postgres = await parts.enter_async_context(Postgres(directory, tcp_port=port))
        tables = await asyncpg.connect(await postgres.create_database("asterisk"))
        parts.push_async_callback(tables.close)
        await tables.execute(block("sql"))
        owner = _settings(await postgres.create_database("dialout"))
        await db.migrate(owner)
        await postgres.create_login("gateway", member_of="dialout_gateway")
        carrier = await parts.enter_async_context(Carrier(find_sipp(LAB)))
        asterisk = Asterisk(
            find_asterisk(LAB),
            trunk_port=carrier.port,
            applications={APPLICATION: APPLICATION_SECRET},
        )
        configure(asterisk.directory / "etc", port)
        await parts.enter_async_context(asterisk)
        pool = await parts.enter_async_context(db.pool(owner))
        service = Service(
            asterisk,
            database=_settings(postgres.dsn("dialout", "gateway")),
            output=tmp_path_factory.mktemp("service") / "gateway.log",
            options=options(port, directory),
        )
        await parts.enter_async_context(service)
        client = await parts.enter_async_context(service.client())
        yield Site(
            asterisk=asterisk,
            carrier=carrier,
            service=service,
            meeting=await Meeting.create(
                client,
                Ledger(pool, call_seconds_max=20.0),
                Provisioning(pool, call_seconds_max=20.0),
                carrier,
            ),
            witness=await parts.enter_async_context(_witness(asterisk)),
            tables=tables,
            reader=_settings(postgres.dsn("asterisk", "call_detail")),
        )


def _settings(dsn: str) -> DatabaseSettings:
    return DatabaseSettings(dsn=SecretStr(dsn))


def _witness(asterisk: Asterisk) -> AmiSocket:
    return AmiSocket(asterisk.host, asterisk.ami_port, APPLICATION, APPLICATION_SECRET)


@pytest.mark.parametrize("table", ["cel", "cdr"])
async def test_call_detail_says_what_the_events_said(site: Site, table: str) -> None:
    """Answered, busy, and intercepted: who reads either table learns the same as who was there."""
    intercepted = str(uuid4())
    placed = [await site.place(london(ending)) for ending in ("21", "86")]
    await originate(
        site.witness,
        london("20"),
        tenant=str(site.meeting.tenant_id),
        organizer=ORGANIZER,
        conference=new_room(),
        id=intercepted,
    )
    calls = []
    for dial_out_id in (*(each["dial_out_id"] for each in placed), intercepted):
        await site.meeting.ended(dial_out_id)
        key = DialOutKey(tenant_id=site.meeting.tenant_id, dial_out_id=UUID(dial_out_id))
        calls.append(await site.meeting.ledger.dial_out(key))

    async with db.pool(site.reader, read_only=True) as pool:
        detail = CallDetail(
            pool,
            cel_table=table if table == "cel" else None,
            cdr_table=table if table == "cdr" else None,
            zone=UTC,
            trunk_channels=TRUNK_CHANNELS,
            call_seconds_max=5.0,
        )
        async with asyncio.timeout(30):
            while len(told := await detail.told([call for call in calls if call])) < len(calls):
                await asyncio.sleep(0.05)

    for call in calls:
        assert call is not None
        ending = told[call.request.key]
        assert isinstance(ending, Ending)
        assert (ending.disposition, ending.latest_end_ms) == (call.disposition, None)
        assert abs(ending.ended_at_ms - _ms(call.ended_at)) < EVENT_MS
        if call.answered_at is not None:
            assert abs((ending.answered_at_ms or 0) - _ms(call.answered_at)) < EVENT_MS


def _ms(at: datetime | None) -> float:
    assert at is not None
    return at.timestamp() * 1000


async def test_calls_without_a_record_are_proved_by_call_detail(site: Site) -> None:
    """Ended while no gateway was there, and their records lost: CEL proves one, CDR the other.

    The third is in neither, and no row is no proof: it is bounded, and that costs nothing more.
    """
    calls = {kind: await site.answered(london("10")) for kind in ("cel", "cdr", "absent_twice")}
    await site.service.kill()
    for placed, leg in calls.values():
        await site.hang_up(placed, leg)
    await site.forget("cel", calls["cdr"][0])
    await site.forget("cel", calls["absent_twice"][0])
    await site.forget("cdr", calls["absent_twice"][0])

    await site.service.start()

    for evidence, (placed, leg) in calls.items():
        ended = await site.meeting.ended(placed["dial_out_id"])
        seconds = await site.begun_seconds(leg)
        assert ended["evidence"] == evidence
        assert ended["disposition"] == "answered"
        if evidence == "absent_twice":
            assert ended["least_seconds"] <= min(seconds)
            assert max(seconds) <= ended["most_seconds"]
        else:
            assert ended["billable_seconds"] in seconds
            assert "unproved" not in ended
    await site.meeting.assert_books_are_clean()


@asynccontextmanager
async def locked(tables: db.Connection) -> AsyncIterator[None]:
    """Let nobody read the tables: whoever tries waits."""
    async with tables.transaction():
        await tables.execute("LOCK TABLE cel, cdr IN ACCESS EXCLUSIVE MODE")
        yield


async def test_tables_that_do_not_answer_keep_nobody_waiting(site: Site) -> None:
    """The call is settled within its bounds while they are locked, and others go on."""
    placed, leg = await site.answered(london("10"))
    await site.service.kill()
    await site.hang_up(placed, leg)

    async with locked(site.tables):
        await site.service.start()
        other = await site.place(london("21"))
        ended = await site.meeting.ended(placed["dial_out_id"], seconds=30)
        await site.meeting.ended(other["dial_out_id"])

    seconds = await site.begun_seconds(leg)
    assert ended["evidence"] == "absent_twice"
    assert ended["billable_seconds"] == ended["least_seconds"] <= min(seconds)
    assert max(seconds) <= ended["most_seconds"]
    await site.meeting.assert_books_are_clean()


async def test_an_answer_that_only_call_detail_knows_is_billed(site: Site) -> None:
    """Answered with no gateway there, then Asterisk was killed: it lasted a second at the least.

    Without the row the call would be one that nobody answered, and free.
    """
    number = london("83")
    placed = await site.place(number)
    await site.meeting.rings(number)
    await site.service.kill()
    await site.leg(placed)
    await site.told(ANSWERED, placed)
    await site.asterisk.kill()
    await site.asterisk.start()

    await site.service.start()
    ended = await site.meeting.ended(placed["dial_out_id"])

    assert (ended["evidence"], ended["disposition"]) == ("absent_twice", "answered")
    assert ended["billable_seconds"] == ended["least_seconds"] == 1
    assert ended["most_seconds"] >= 1
    await site.meeting.assert_books_are_clean()


async def test_asterisk_takes_the_manuals_texts_as_they_are(site: Site) -> None:
    """Both backends are there, and no line of the files was unknown to it."""
    log = (site.asterisk.directory / "log" / "messages.log").read_text()

    assert "pgsql" in (await site.asterisk.cli("cel show status")).lower()
    assert "pgsql" in await site.asterisk.cli("cdr show status")
    assert "pjsip_only" in await site.asterisk.cli("pjsip show settings")
    assert "ERROR" not in log
