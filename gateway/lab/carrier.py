"""The telephone network of the lab: a real SIP peer, whose behaviour the dialled number chooses.

The last two digits of a number decide, see ``carrier.xml``:

======  =====================================================================
02      302, to a number that nobody dialled
03      503 service unavailable
20..29  answers, and hangs up after as many seconds as the last digit says
70      answers at once, and sends nothing: what it hears goes to ``ear_port``
80      rings and is never answered
83      183 with early media, answers after a second
86      486 busy
99      404 not found
others  answers at once and stays until the other side hangs up
======  =====================================================================
"""

import asyncio
import re
import shutil
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.lab import program
from gateway.lab.program import LabError, Program, find_sipp

__all__ = ["Carrier", "Invite", "LabError", "find_sipp"]

_SCENARIO = Path(__file__).with_name("carrier.xml")
_HOST = "127.0.0.1"
_START_SECONDS = 10.0
_STOP_SECONDS = 2.0
_CALLS_MAX = 10_000

# How SIPp's message log introduces a message, and what an INVITE looks like in it.
_RECEIVED = re.compile(
    r"^-+ (?P<at>\d{4}-\d\d-\d\d[T ][\d:.]+Z?)\n"
    r"UDP message received \[\d+\] bytes *:\n\n"
    r"INVITE sip:(?P<number>[^@\s]*)@\S+ SIP/2\.0\n"
    r"(?P<headers>(?:.+\n)+)",
    re.MULTILINE,
)
_CALL_ID = re.compile(r"^Call-ID: *(.+)$", re.MULTILINE)
_CALLER = re.compile(r"^From: .*?<sip:([^@>]*)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invite:
    """A call that reached the carrier; ``number`` and ``caller`` as they stood in its INVITE."""

    at: datetime
    number: str
    caller: str


class Carrier:
    """One SIPp, listening on ``port`` of the loopback interface.

    RTP for the telephones that only listen goes to ``ear_port``, which is for others to bind.
    As a context manager it is started, stopped and removed.
    """

    def __init__(self, sipp: Program) -> None:
        self.port = program.free_port(socket.SOCK_DGRAM)
        self.ear_port = program.free_port(socket.SOCK_DGRAM)
        self._program = sipp
        self._process: asyncio.subprocess.Process | None = None
        self.directory = sipp.make_directory("carrier")
        shutil.copy(_SCENARIO, self.directory)
        sipp.give(self.directory)

    async def start(self) -> None:
        """Return when the carrier listens. Raises LabError, with what SIPp said, if it does not."""
        inside = self._program.seen_from_inside(self.directory)
        console = self.directory / "console.log"
        options = {
            "-sf": inside / "carrier.xml",
            "-i": _HOST,
            "-p": self.port,
            "-mi": _HOST,
            "-mp": program.free_port(socket.SOCK_DGRAM),
            "-l": _CALLS_MAX,
            "-message_file": inside / "messages.log",
        }
        ears = ("-key", "ear_port", str(self.ear_port))
        flat = (str(part) for option in options.items() for part in option)
        argv = self._program.argv(
            *flat, *ears, "-trace_msg", "-rtp_echo", "-nostdin", "-skip_rlimit"
        )
        self._process = await program.spawn(argv, console)
        try:
            await program.until(self._listens_or_ended, _START_SECONDS)
        except BaseException:
            await self.stop()
            raise
        if self._process.returncode is not None:
            raise LabError(f"The carrier did not start. SIPp said:\n{program.tail(console)}")

    async def stop(self) -> None:
        """End the carrier; the calls that it has break off without a BYE."""
        if self._process is not None:
            await program.stop(self._process, _STOP_SECONDS)

    def remove(self) -> None:
        """Delete the carrier's directory. It must have been stopped."""
        shutil.rmtree(self.directory)

    def invites(self) -> tuple[Invite, ...]:
        """Return the calls that reached the carrier so far, in order, each once."""
        log = self.directory / "messages.log"
        if not log.exists():
            return ()
        found: dict[str, Invite] = {}
        for message in _RECEIVED.finditer(log.read_text(errors="replace")):
            call_id, invite = _read_invite(message)
            # The same call again is a retransmission.
            found.setdefault(call_id, invite)
        return tuple(found.values())

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

    def _listens_or_ended(self) -> bool:
        assert self._process is not None
        return self._process.returncode is not None or _is_bound(self.port)


def _read_invite(message: re.Match[str]) -> tuple[str, Invite]:
    headers = message["headers"]
    call_id = _CALL_ID.search(headers)
    caller = _CALLER.search(headers)
    # SIPp before 3.8 writes local time, without a zone.
    at = datetime.fromisoformat(message["at"]).astimezone(UTC)
    invite = Invite(at=at, number=message["number"], caller=caller[1] if caller else "")
    return call_id[1] if call_id else "", invite


def _is_bound(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((_HOST, port))
        except OSError:
            return True
    return False
