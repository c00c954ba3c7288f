"""A real Asterisk that runs the configuration of ``asterisk-conf``, apart from any other.

Each instance has its own directories and ports on the loopback interface, so several
run at once beside an Asterisk that serves people.
"""

import asyncio
import secrets
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from string import Template

from gateway.lab import program
from gateway.lab.program import Instance, LabError, Program, find_asterisk

__all__ = ["Asterisk", "LabError", "find_asterisk"]

_CONFIGURATION = Path(__file__).parents[1] / "asterisk_conf"
_HOST = "127.0.0.1"
_START_SECONDS = 30.0
_STOP_SECONDS = 5.0
_CLI_SECONDS = 10.0
_POLL_SECONDS = 0.02

_APPLICATION = """
[{name}]
secret = {secret}
deny = 0.0.0.0/0.0.0.0
permit = 127.0.0.1/32
read = system,call,user
write = originate
writetimeout = 5000
"""

# Asterisk tries the next port of the range when one is taken, so instances may share it. It lies
# below the ports that the kernel hands out.
_RTP_PORT_FIRST = 10_000
_RTP_PORT_LAST = 32_000


class Asterisk(Instance):
    """One instance. It may be stopped or killed and started again; ``remove`` forgets its AstDB.

    ``trunk_port`` is the UDP port of the loopback interface on which the carrier listens.
    ``applications`` are further AMI accounts that may originate and no more, by name, with
    their secrets: software that dials, and that a real bridge would have beside the gateway.
    ``rtp_timeout_seconds`` is how long a call lives whose media stopped.
    As a context manager it is started, stopped and removed.
    """

    host = _HOST
    account = "gateway"

    def __init__(
        self,
        asterisk: Program,
        *,
        trunk_port: int,
        applications: Mapping[str, str] | None = None,
        rtp_timeout_seconds: int = 120,
    ) -> None:
        self.trunk_port = trunk_port
        self.ami_port = program.free_port(socket.SOCK_STREAM)
        self.sip_port = program.free_port(socket.SOCK_DGRAM)
        self.secret = secrets.token_hex(24)
        self._rtp_timeout_seconds = rtp_timeout_seconds
        self._program = asterisk
        self._process: asyncio.subprocess.Process | None = None
        self.directory = asterisk.make_directory("asterisk")
        self._configure(applications or {})

    @property
    def pid(self) -> int | None:
        """The process id, while the instance runs."""
        if self._process is None or self._process.returncode is not None:
            return None
        return self._process.pid

    async def start(self) -> None:
        """Return when Asterisk is fully booted and its AMI answers.

        Raises LabError, with the end of its log, if that takes longer than 30 s.
        """
        self._process = await program.spawn(
            self._program.argv("-f", "-C", self._main_file), self.directory / "console.log"
        )
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._booted()
        except (LabError, TimeoutError, OSError) as error:
            await self.kill()
            log = program.tail(
                self.directory / "console.log", self.directory / "log" / "messages.log"
            )
            raise LabError(f"Asterisk did not start. The end of its log:\n{log}") from error
        except BaseException:
            await self.kill()
            raise

    async def stop(self) -> None:
        """Shut Asterisk down, which ends its calls. By force if it takes longer than 5 s."""
        if self._process is not None:
            await program.stop(self._process, _STOP_SECONDS)

    async def kill(self) -> None:
        """End Asterisk as a crash would."""
        if self._process is not None:
            await program.kill(self._process)

    def remove(self) -> None:
        """Delete the instance's directories. It must have been stopped."""
        assert self.pid is None, "stop the instance first"
        shutil.rmtree(self.directory)

    async def cli(self, command: str) -> str:
        """Return what Asterisk's console prints for a command."""
        process = await asyncio.create_subprocess_exec(
            *self._program.argv("-C", self._main_file, "-rx", command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(_CLI_SECONDS):
                output, _ = await process.communicate()
        except BaseException:
            await program.kill(process)
            raise
        if process.returncode:
            raise LabError(f"Asterisk refused `{command}`: {output.decode(errors='replace')}")
        return output.decode(errors="replace")

    @property
    def _main_file(self) -> str:
        return str(self._program.seen_from_inside(self.directory / "etc/site/asterisk.conf"))

    def _configure(self, applications: Mapping[str, str]) -> None:
        shutil.copytree(_CONFIGURATION, self.directory / "etc")
        for name in ("lib", "spool", "run", "log", "log/cdr-csv"):
            (self.directory / name).mkdir()
        values = self._site()
        site = self.directory / "etc" / "site"
        for file in site.iterdir():
            file.write_text(Template(file.read_text()).substitute(values))
            file.chmod(0o600)
        with (site / "manager.conf").open("a") as accounts:
            accounts.writelines(
                _APPLICATION.format(name=name, secret=secret)
                for name, secret in applications.items()
            )
        self._program.give(self.directory)

    def _site(self) -> dict[str, str]:
        inside = self._program.seen_from_inside(self.directory)
        return {
            "SYSTEM_NAME": self.directory.name.replace("_", "-"),
            "CONFIG_DIRECTORY": str(inside / "etc"),
            "STATE_DIRECTORY": str(inside / "lib"),
            "SPOOL_DIRECTORY": str(inside / "spool"),
            "RUN_DIRECTORY": str(inside / "run"),
            "LOG_DIRECTORY": str(inside / "log"),
            "AMI_BIND_ADDRESS": _HOST,
            "AMI_PORT": str(self.ami_port),
            "AMI_ACCOUNT": self.account,
            "AMI_SECRET": self.secret,
            "AMI_PERMIT": f"{_HOST}/32",
            "SIP_BIND_ADDRESS": _HOST,
            "SIP_PORT": str(self.sip_port),
            "RTP_PORT_FIRST": str(_RTP_PORT_FIRST),
            "RTP_PORT_LAST": str(_RTP_PORT_LAST),
            "RTP_TIMEOUT_SECONDS": str(self._rtp_timeout_seconds),
            "TRUNK_HOST": _HOST,
            "TRUNK_PORT": str(self.trunk_port),
        }

    async def _booted(self) -> None:
        while not await self._answers_on_the_console():
            if self.pid is None:
                raise LabError("Asterisk ended at once")
            await asyncio.sleep(_POLL_SECONDS)
        # Asterisk also boots without its AMI, when another program took the port in the meantime.
        reader, writer = await asyncio.open_connection(_HOST, self.ami_port)
        greeting = await reader.readline()
        writer.close()
        await writer.wait_closed()
        if not greeting.startswith(b"Asterisk Call Manager/"):
            raise LabError(f"another program listens on port {self.ami_port}")

    async def _answers_on_the_console(self) -> bool:
        try:
            await self.cli("core waitfullybooted")
        except (LabError, TimeoutError):
            return False
        return True
