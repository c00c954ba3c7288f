"""A disk that is full, whoever's it is, drops no call and bills nobody a second too much."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest
import pytest_asyncio

from gateway import db
from gateway.lab.service import Service
from gateway.lab.stack import Stack, stack
from gateway.ledger import Ledger, Provisioning
from tests.calls.conftest import APPLICATION, APPLICATION_SECRET, LAB, OPTIONS
from tests.calls.meeting import Answer, Meeting, london
from tests.calls.test_recovery import Site, gate_channel, until_ready
from tests.gate.ami_socket import AmiSocket

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk"),
]

DATABASE_MEGABYTES, SMALL_MEGABYTES = 256, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk of its own, in memory, that a test can fill."""

    path: Path

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leave no room, and give it back."""
        filler = self.path / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        try:
            yield
        finally:
            filler.unlink()


@contextmanager
def mounted(path: Path, megabytes: int) -> Iterator[Disk]:
    """Put a disk where a directory is; what the directory holds is hidden by it."""
    size = f"size={megabytes}m,mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(path)], check=True)
    try:
        yield Disk(path=path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disks:
    """The disks of the three hosts, and what runs on them."""

    site: Site
    database: Disk
    asterisk: Disk
    gateway: Disk

    async def begun_seconds(self, placed: Answer) -> set[int]:
        """Return how many seconds a call began, once its leg has hung up."""
        gate = f"{self.key_hex(placed)}-gate"
        answer = await self.site.witness.event("DialEnd", Uniqueid=gate, DialStatus="ANSWER")
        return await self.site.begun_seconds(answer["DestUniqueid"])

    def key_hex(self, placed: Answer) -> str:
        """Return the name of a call's record."""
        return self.site.meeting.tenant_id.hex + str(placed["dial_out_id"]).replace("-", "")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def disks() -> AsyncIterator[Disks]:
    """PostgreSQL, Asterisk and a gateway, each with a disk of its own."""
    async with AsyncExitStack() as parts:
        database, gateway = (
            parts.enter_context(
                mounted(Path(parts.enter_context(TemporaryDirectory(prefix="dialout-"))), megabytes)
            )
            for megabytes in (DATABASE_MEGABYTES, SMALL_MEGABYTES)
        )
        running = await parts.enter_async_context(
            stack(LAB, applications={APPLICATION: APPLICATION_SECRET}, directory=database.path)
        )
        asterisk = await _moved(running, parts)
        pool = await parts.enter_async_context(db.pool(running.owner))
        service = Service(
            running.asterisk,
            database=running.gateway,
            output=gateway.path / "gateway.log",
            options=OPTIONS,
        )
        await parts.enter_async_context(service)
        client = await parts.enter_async_context(service.client())
        meeting = await Meeting.create(
            client,
            Ledger(pool, call_seconds_max=20.0),
            Provisioning(pool, call_seconds_max=20.0),
            running.carrier,
        )
        host, port = running.asterisk.host, running.asterisk.ami_port
        witness = await parts.enter_async_context(
            AmiSocket(host, port, APPLICATION, APPLICATION_SECRET)
        )
        yield Disks(
            site=Site(parts=running, service=service, meeting=meeting, witness=witness),
            database=database,
            asterisk=asterisk,
            gateway=gateway,
        )


async def _moved(running: Stack, parts: AsyncExitStack) -> Disk:
    """Have Asterisk keep its AstDB on a disk of its own."""
    await running.asterisk.stop()
    lib = running.asterisk.directory / "lib"
    owner = lib.stat()
    disk = parts.enter_context(mounted(lib, SMALL_MEGABYTES))
    os.chown(lib, owner.st_uid, owner.st_gid)
    await running.asterisk.start()
    return disk


async def test_calls_outlive_the_full_disk_of_the_database(disks: Disks) -> None:
    """New calls are refused with the reason, the one that is up goes on and is billed in full.

    First there is no room for a row, then none for the journal of the server, which ends it.
    """
    site = disks.site
    client, meeting, postgres = site.meeting.client, site.meeting, site.parts.postgres
    placed = await meeting.place(london("24"))
    await meeting.answered(placed["dial_out_id"])

    with disks.database.full():
        refused = await _first_refused(meeting)
        owner = await asyncpg.connect(site.parts.owner.dsn.get_secret_value())
        await _end_by_journal(owner)
        await until_ready(client, ready=False)
        away = await meeting.post(london("22"))
        seconds = await disks.begun_seconds(placed)
        assert "billable_seconds" not in await meeting.read(placed["dial_out_id"])
    await postgres.stop()
    await postgres.start()
    await until_ready(client, ready=True)
    ended = await meeting.ended(placed["dial_out_id"])

    assert (refused, away.status_code) == ("ledger_unavailable", 503)
    assert (ended["billable_seconds"] in seconds, ended["evidence"]) == (True, "events")
    await _all_ended(meeting)


async def _first_refused(meeting: Meeting) -> str:
    """Ask for calls until one finds no room; return the reason that is given."""
    for _ in range(200):
        response = await meeting.post(london("20"))
        if response.status_code != 201:
            assert response.status_code == 503, response.text
            return str(response.json()["reason"])
    raise AssertionError("there is still room")


async def _end_by_journal(owner: db.Connection) -> None:
    """Have the server need a new file for its journal, which it cannot go on without."""
    with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        async with asyncio.timeout(20):
            while True:
                await owner.execute("SELECT pg_switch_wal(), pg_logical_emit_message(true, '', '')")


async def _all_ended(meeting: Meeting) -> None:
    """Return once nothing is set aside any more, and the books are clean."""
    async with asyncio.timeout(20):
        while any(each.reserved for each in await meeting.ledger.balances(meeting.tenant_id)):
            await asyncio.sleep(0.1)
    await meeting.assert_books_are_clean()


async def test_calls_are_billed_while_asterisk_can_write_nothing(disks: Disks) -> None:
    """With a gateway there the events are enough. Without one, what is not recorded is bounded."""
    site = disks.site
    with disks.asterisk.full():
        placed = await site.meeting.place(london("21"))
        seen = await site.meeting.ended(placed["dial_out_id"])
        assert seen["billable_seconds"] in await disks.begun_seconds(placed)

        left = await site.meeting.place(london("10"))
        await site.meeting.answered(left["dial_out_id"])
        await site.service.kill()
        gate = await gate_channel(site, disks.key_hex(left))
        await site.parts.asterisk.cli(f"channel request hangup {gate}")
        seconds = await disks.begun_seconds(left)
        await site.service.start()
        ended = await site.meeting.ended(left["dial_out_id"])

    assert (ended["disposition"], ended["evidence"]) == ("answered", "absent_twice")
    assert ended["least_seconds"] <= min(seconds)
    assert max(seconds) <= ended["most_seconds"]
    await site.meeting.assert_books_are_clean()


async def test_a_full_disk_under_the_log_is_noticed_by_nobody_else(disks: Disks) -> None:
    """Calls are placed, refused and settled as ever; the log says how much of it is missing."""
    site = disks.site
    with disks.gateway.full():
        placed = await site.meeting.place(london("21"))
        # The last page of the file has room for some lines still.
        refused = {(await site.meeting.post("+19005550100")).status_code for _ in range(12)}
        ended = await site.meeting.ended(placed["dial_out_id"])
        assert ended["billable_seconds"] in await disks.begun_seconds(placed)
    after = await site.meeting.place(london("21"))
    await site.meeting.ended(after["dial_out_id"])

    assert refused == {403}
    log = (disks.gateway.path / "gateway.log").read_text()
    assert "log.lines_lost" in log
    await site.meeting.assert_books_are_clean()
