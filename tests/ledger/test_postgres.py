"""The embedded server does not outlive whoever started it, and says why it does not start."""

import asyncio
import os
import select
import socket
import sys
import tempfile
from pathlib import Path

import asyncpg
import pytest

from gateway.lab.postgres import Postgres, PostgresError
from gateway.lab.program import free_port
from tests.ledger.conftest import processes

STARTS_AND_WAITS = """
import asyncio, sys
from pathlib import Path
from gateway.lab.postgres import Postgres

async def main():
    async with Postgres(Path(sys.argv[1])) as postgres:
        print(postgres.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def directory(server_directory: Path) -> Path:
    """A directory that the server's account may enter."""
    path = Path(tempfile.mkdtemp(dir=server_directory))
    path.chmod(0o755)
    return path


async def test_it_dies_with_its_parent(directory: Path) -> None:
    """Even one that is killed: a demo that crashes leaves no server behind."""
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", STARTS_AND_WAITS, str(directory)),
        # Killed, it cannot remove the directory of its socket; the fixture can.
        env={**os.environ, "PYTHONPATH": ".", "TMPDIR": str(directory)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    watches = [os.pidfd_open(each) for each in processes(int(await parent.stdout.readline()))]

    parent.kill()
    await parent.wait()

    for watch in watches:
        ended, _, _ = await asyncio.to_thread(select.select, [watch], [], [], 10)
        os.close(watch)
        assert ended


async def test_it_says_why_it_does_not_start(directory: Path) -> None:
    """The end of its log is in the error: the reader need not look for the file."""
    async with Postgres(directory):
        pass
    (directory / "data" / "postgresql.conf").write_text("no_such_setting = 1\n")

    with pytest.raises(PostgresError, match="no_such_setting"):
        await Postgres(directory).start()


async def test_a_name_is_only_a_name(server: Postgres) -> None:
    """It goes into a command line."""
    with pytest.raises(PostgresError):
        await server.create_database("--template=postgres")


async def test_a_password_is_needed_on_its_port(directory: Path) -> None:
    """The socket is its own account's; anybody on the machine can reach a port."""
    port = free_port(socket.SOCK_STREAM)
    async with Postgres(directory, tcp_port=port) as postgres:
        owner = await asyncpg.connect(postgres.dsn("postgres"))
        await owner.execute("CREATE ROLE asterisk LOGIN PASSWORD 'right'")
        await owner.close()

        where = f"127.0.0.1:{port}/postgres"
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(f"postgresql://asterisk:wrong@{where}")
        await (await asyncpg.connect(f"postgresql://asterisk:right@{where}")).close()
