"""A headless Chromium for tests of pages: the machine's own, else one in a private root.

It speaks the DevTools protocol on a port of the loopback interface, and has no other way in.
"""

import asyncio
import os
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gateway.lab import program
from gateway.lab.program import Instance, LabError

__all__ = ["Browser", "Chromium", "LabError", "find_chromium"]

_NAMES = ("chromium", "chromium-headless-shell", "google-chrome")
_PRIVATE = "chromium-headless-shell"
_PACKAGES = (_PRIVATE, "fonts-dejavu-core")
_NOBODY = 65534
"""Debian's `nobody` and `nogroup`, on every release."""

_START_SECONDS = 20.0
_OPTIONS = (
    "--headless",
    # Its sandbox needs rights that a container seldom gives. It opens our own page alone.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-address=127.0.0.1",
    "--remote-debugging-port=0",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chromium:
    """An executable, and the root filesystem in which it lives; None on the machine itself."""

    name: str
    workspace: Path
    root: Path | None = None

    def argv(self, profile: Path, *arguments: str) -> list[str]:
        """Return the command line that runs it only while we live.

        In a private root it is nobody's, in process and mount namespaces of its own: it looks for
        its own program under /proc, and whatever it starts dies with it.
        """
        if self.root is None:
            return ["setpriv", "--pdeathsig=KILL", self.name, *_profile(profile), *arguments]
        return [
            *("setpriv", "--pdeathsig=KILL"),
            *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
            *(f"--root={self.root}", "--mount-proc"),
            # The death signal once more, because a change of user takes it away.
            *("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"),
            *("--pdeathsig=KILL", self.name),
            *_profile(Path("/") / profile.relative_to(self.root)),
            *arguments,
        ]


def find_chromium(lab: Path) -> Chromium:
    """Return the Chromium on PATH, else the one in ``lab/chromium-root``.

    The private root is built when it is missing, which takes about half a minute.
    Raises LabError where that cannot be done.
    """
    for name in _NAMES:
        if shutil.which(name):
            return Chromium(name=name, workspace=lab.resolve() / "instances")
    root = program.private_root(lab.resolve() / "chromium-root", _PRIVATE, *_PACKAGES)
    return Chromium(name=_PRIVATE, workspace=root / "srv", root=root)


class Browser(Instance):
    """One Chromium with an empty profile, for Playwright to connect to at ``url``.

    As a context manager it is started, stopped and removed.
    """

    def __init__(self, chromium: Chromium) -> None:
        self._chromium = chromium
        self._process: asyncio.subprocess.Process | None = None
        self._directory = _make_directory(chromium)

    @property
    def url(self) -> str:
        """Where its DevTools protocol is spoken."""
        port, _ = self._port_file.read_text().split("\n", 1)
        return f"http://127.0.0.1:{port}"

    async def start(self) -> None:
        """Return when a client may connect. Raises LabError, with what Chromium said, if not."""
        console = self._directory / "console.log"
        argv = self._chromium.argv(self._directory, *_OPTIONS, "about:blank")
        self._process = await program.spawn(argv, console, environment=_environment())
        try:
            await program.until(self._listens_or_ended, _START_SECONDS)
        except TimeoutError as error:
            await self.stop()
            raise LabError(f"Chromium did not start: {program.tail(console)}") from error
        except BaseException:
            await self.stop()
            raise
        if self._process.returncode is not None:
            raise LabError(
                "Chromium ended at once. Put one that runs here on PATH, or see to what it said:\n"
                + program.tail(console)
            )

    async def stop(self) -> None:
        """End Chromium and whatever it started, by force: its profile is thrown away."""
        if self._process is None or self._process.returncode is not None:
            return
        os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    def remove(self) -> None:
        """Delete its profile. It must have been stopped."""
        # What the kernel has not yet taken down may still write.
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def _port_file(self) -> Path:
        return self._directory / "DevToolsActivePort"

    def _listens_or_ended(self) -> bool:
        assert self._process is not None, "start has spawned it"
        if self._process.returncode is not None:
            return True
        return self._port_file.exists() and "\n" in self._port_file.read_text()


def _profile(directory: Path) -> tuple[str, ...]:
    return (f"--user-data-dir={directory}",)


def _make_directory(chromium: Chromium) -> Path:
    chromium.workspace.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="chromium-", dir=chromium.workspace))
    if chromium.root is not None:
        os.chown(directory, _NOBODY, _NOBODY)
    return directory


def _environment() -> dict[str, str]:
    """Return what Chromium is to know of ours: where programs are, and nothing else."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/nonexistent"}
