"""Programs that the lab starts: found on the machine or in a private root, and never left behind.

Every process dies with the Python process that started it, even if that one is
killed: the kernel sends the signal. It has a session of its own, so that Ctrl-C
in a terminal reaches Python alone, which then stops its children in order.
"""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_BUILDER = Path(__file__).with_name("build-private-root")
_USER = "asterisk"
_ASTERISK_VERSION_MIN = 20
_POLL_SECONDS = 0.01


class LabError(Exception):
    """A part of the lab is missing or does not start. The message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """An executable, and the root filesystem in which it lives.

    ``root`` is None for a program of the machine itself. ``workspace`` is where its
    instances keep their directories; the program can reach it from inside its root.
    """

    name: str
    workspace: Path
    root: Path | None = None

    def argv(self, *arguments: str) -> list[str]:
        """Return the command line that runs the program only while we live.

        In a private root it runs as the root's own unprivileged user, on the machine as ourselves.
        ``setpriv`` comes last, because a change of user takes the death signal away again.
        """
        enter: list[str] = []
        if self.root is not None:
            enter = ["chroot", f"--userspec={_USER}:{_USER}", str(self.root)]
        return [*enter, "setpriv", "--pdeathsig=KILL", self.name, *arguments]

    def seen_from_inside(self, path: Path) -> Path:
        """Return the name under which the program knows a file of its workspace."""
        return path if self.root is None else Path("/") / path.relative_to(self.root)

    def make_directory(self, prefix: str) -> Path:
        """Create a new directory in the workspace. The caller removes it."""
        self.workspace.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=self.workspace))

    def give(self, directory: Path) -> None:
        """Make the program's user the owner of a directory and everything in it."""
        if self.root is None:
            return
        owner = (self.root / "var/lib/asterisk").stat()
        for path in (directory, *directory.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)


class Instance(ABC):
    """A running program with files of its own. As a context manager: started, stopped, removed."""

    @abstractmethod
    async def start(self) -> None:
        """Return when the program does its work."""

    @abstractmethod
    async def stop(self) -> None:
        """End the program, if it runs."""

    @abstractmethod
    def remove(self) -> None:
        """Delete its files. It must have been stopped."""

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            self.remove()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()
        self.remove()


def find_asterisk(lab: Path) -> Program:
    """Return Asterisk 20 or newer: the machine's own, else the one in ``lab/asterisk-root``.

    The private root is built when it is missing, which takes about half a minute.
    Raises LabError where that cannot be done.
    """
    if shutil.which("asterisk") and _asterisk_version() >= _ASTERISK_VERSION_MIN:
        return Program(name="asterisk", workspace=lab.resolve() / "instances")
    return _in_private_root("asterisk", lab)


def find_sipp(lab: Path) -> Program:
    """Return SIPp: the machine's own, else the one in ``lab/asterisk-root``, which see above."""
    if shutil.which("sipp"):
        return Program(name="sipp", workspace=lab.resolve() / "instances")
    return _in_private_root("sipp", lab)


def _asterisk_version() -> int:
    answer = subprocess.run(["asterisk", "-V"], capture_output=True, text=True, check=False)
    found = re.search(r"Asterisk (\d+)\.", answer.stdout)
    return int(found[1]) if found else 0


def private_root(root: Path, program: str, *packages: str) -> Path:
    """Return a private root filesystem with a program in it, built from Debian where it is missing.

    Raises LabError where it cannot be built, or not be entered.
    """
    if not root.is_dir():
        _build(root, program, *packages)
    if os.geteuid() != 0:
        raise LabError(f"{program} is in {root}, which only root can enter. Run as root.")
    return root


def _in_private_root(name: str, lab: Path) -> Program:
    root = private_root(lab.resolve() / "asterisk-root", "asterisk", "asterisk", "sip-tester")
    _name_this_host(root)
    return Program(name=name, workspace=root / "srv", root=root)


def _build(root: Path, program: str, *packages: str) -> None:
    try:
        subprocess.run([str(_BUILDER), str(root), program, *packages], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise LabError(
            f"{', '.join(packages)}: not on PATH, or too old, and a private copy could not be"
            f" built: {error}. Install what is missing, or see to what was said above."
        ) from error


def _name_this_host(root: Path) -> None:
    """Without its own name in the hosts file, Asterisk waits seconds in DNS for every call."""
    hosts = root / "etc" / "hosts"
    text = f"127.0.0.1 localhost {socket.gethostname()}\n::1 localhost\n"
    if not hosts.exists() or hosts.read_text() != text:
        hosts.write_text(text)


async def spawn(
    argv: list[str], output: Path | None, environment: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """Start a program in a session of its own.

    What it prints is appended to ``output``; None lets it print where we do. ``environment``
    is the whole environment; None passes ours on.
    """
    with ExitStack() as files:
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=files.enter_context(output.open("ab")) if output else None,
            stderr=asyncio.subprocess.STDOUT if output else None,
            env=environment,
            start_new_session=True,
        )


async def stop(process: asyncio.subprocess.Process, deadline_seconds: float) -> None:
    """End a program: politely, and after the deadline by force."""
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(deadline_seconds):
            await process.wait()
    except TimeoutError:
        await kill(process)


async def kill(process: asyncio.subprocess.Process) -> None:
    """End a program as a crash would."""
    if process.returncode is None:
        process.kill()
    await process.wait()


async def until(condition: Callable[[], bool], deadline_seconds: float) -> None:
    """Return as soon as the condition holds; TimeoutError if it does not by the deadline."""
    async with asyncio.timeout(deadline_seconds):
        while not condition():
            await asyncio.sleep(_POLL_SECONDS)


def free_port(kind: socket.SocketKind) -> int:
    """Return a port of the loopback interface that nobody listens on at this moment."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def tail(*files: Path, lines: int = 30) -> str:
    """Return the end of what programs wrote, for the message of an error."""
    text = "".join(file.read_text(errors="replace") for file in files if file.exists())
    return "\n".join(text.splitlines()[-lines:])
