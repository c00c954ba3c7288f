"""The telephone network of the lab: a real SIP peer, whose behaviour the dialled number chooses.

The last two digits of a number decide, see ``carrier.xml``:

======  =====================================================================
01      603 declined
02      302, to a number that nobody dialled
03      503 service unavailable
20..29  answers, and hangs up after as many seconds as the last digit says
48      480 temporarily unavailable
60      answers, and hangs up after as many hundredths of a second as the four
        digits before the ending say
61      rings for as many hundredths of a second, then answers and stays
70      answers at once; what it hears goes to ``ear_port``, and its keys may come from there
80      rings and is never answered
81      183 with early media, never answered
82      rings, and is picked up just as it is cancelled: the 200 and the CANCEL
        cross
83      183 with early media, answers after a second
84      the same, but rings before
86      486 busy
87      answers; puts the call on hold, takes it back with another codec and
        refreshes the session, half a second each; then hangs up
99      404 not found
others  answers at once and stays until the other side hangs up
======  =====================================================================
"""

import asyncio
import re
import shutil
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from gateway.lab import program
from gateway.lab.program import Instance, LabError, Program, find_sipp

__all__ = ["Carrier", "Cdr", "Invite", "LabError", "find_sipp"]

_SCENARIO = Path(__file__).with_name("carrier.xml")
_HOST = "127.0.0.1"
_START_SECONDS = 10.0
_LINES_SHOWN = 5
_STOP_SECONDS = 2.0
_CALLS_MAX = 10_000

# How SIPp's message log introduces a message.
_MESSAGE = re.compile(
    r"^-+ (?P<at>\d{4}-\d\d-\d\d[T ][\d:.]+Z?)\n"
    r"UDP message (?P<way>received|sent)\b.*\n\n"
    r"(?P<start>.+)\n"
    r"(?P<headers>(?:.+\n)+)",
    re.MULTILINE,
)
_INVITED = re.compile(r"INVITE sip:([^@\s]*)@\S+ SIP/2\.0")
_CALL_ID = re.compile(r"^Call-ID: *(.+)$", re.MULTILINE)
_CSEQ = re.compile(r"^CSeq: *(.+)$", re.MULTILINE)
_CALLER = re.compile(r"^From: .*?<sip:([^@>]*)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invite:
    """A call that reached the carrier; ``number`` and ``caller`` as they stood in its INVITE."""

    at: datetime
    number: str
    caller: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cdr:
    """What the carrier would bill: from its first 200 to the first BYE, of whichever side."""

    number: str
    answered_at: datetime
    ended_at: datetime

    @property
    def seconds(self) -> float:
        """How long the call lasted."""
        return (self.ended_at - self.answered_at).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    """A SIP message as the carrier logged it. ``cseq`` is its number and its method."""

    at: datetime
    is_received: bool
    start: str
    headers: str
    call_id: str
    cseq: str

    @property
    def method(self) -> str:
        """What is asked for, or answered."""
        return self.cseq.partition(" ")[2]

    @property
    def is_request(self) -> bool:
        return not self.start.startswith("SIP/2.0 ")

    @property
    def is_answer(self) -> bool:
        return self.start.startswith("SIP/2.0 200 ") and self.method == "INVITE"


class Carrier(Instance):
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
            # The reason comes first, and screens full of counters after it.
            said = "\n".join(console.read_text(errors="replace").splitlines()[:_LINES_SHOWN])
            raise LabError(f"The carrier did not start. SIPp said:\n{said}")

    async def stop(self) -> None:
        """End the carrier; the calls that it has break off without a BYE."""
        if self._process is not None:
            await program.stop(self._process, _STOP_SECONDS)

    def remove(self) -> None:
        """Delete the carrier's directory. It must have been stopped."""
        shutil.rmtree(self.directory)

    def invites(self) -> tuple[Invite, ...]:
        """Return the calls that reached the carrier so far, in order, each once."""
        return tuple(_invites(self._messages()).values())

    def requests(self, number: str) -> tuple[str, ...]:
        """Return what was asked of the carrier in calls to a number: methods, in order, each once.

        An ACK is counted, because it is one, although it asks for nothing.
        """
        messages = self._messages()
        invites = _invites(messages)
        asked = {
            (each.call_id, each.cseq): each.method
            for each in messages
            if each.is_received
            and each.is_request
            and each.call_id in invites
            and invites[each.call_id].number == number
        }
        return tuple(asked.values())

    def answers(self) -> dict[str, datetime]:
        """Return when each number was answered that was, also where nobody has hung up."""
        messages = self._messages()
        invites = _invites(messages)
        answered: dict[str, datetime] = {}
        for each in messages:
            if each.is_answer and not each.is_received and each.call_id in invites:
                answered.setdefault(invites[each.call_id].number, each.at)
        return answered

    def cdrs(self) -> tuple[Cdr, ...]:
        """Return the calls that were answered and are over, in the order of their ends."""
        messages = self._messages()
        invites = _invites(messages)
        answered: dict[str, datetime] = {}
        ended: dict[str, datetime] = {}
        for each in messages:
            if each.is_answer and not each.is_received:
                answered.setdefault(each.call_id, each.at)
            elif each.is_request and each.method == "BYE":
                ended.setdefault(each.call_id, each.at)
        return tuple(
            Cdr(number=invites[call_id].number, answered_at=answered[call_id], ended_at=at)
            for call_id, at in ended.items()
            if call_id in answered and call_id in invites
        )

    def _messages(self) -> tuple[_Message, ...]:
        log = self.directory / "messages.log"
        text = log.read_text(errors="replace") if log.exists() else ""
        return tuple(map(_read_message, _MESSAGE.finditer(text)))

    def _listens_or_ended(self) -> bool:
        assert self._process is not None
        return self._process.returncode is not None or _listens(self._process.pid, self.port)


def _read_message(match: re.Match[str]) -> _Message:
    headers = match["headers"]
    call_id = _CALL_ID.search(headers)
    cseq = _CSEQ.search(headers)
    return _Message(
        # SIPp before 3.8 writes local time, without a zone.
        at=datetime.fromisoformat(match["at"]).astimezone(UTC),
        is_received=match["way"] == "received",
        start=match["start"],
        headers=headers,
        call_id=call_id[1] if call_id else "",
        cseq=cseq[1] if cseq else "",
    )


def _invites(messages: Iterable[_Message]) -> dict[str, Invite]:
    """Return the first INVITE of each call; the same call again is a retransmission."""
    found: dict[str, Invite] = {}
    for each in messages:
        invited = _INVITED.fullmatch(each.start)
        if invited is not None and each.is_received:
            caller = _CALLER.search(each.headers)
            invite = Invite(at=each.at, number=invited[1], caller=caller[1] if caller else "")
            found.setdefault(each.call_id, invite)
    return found


def _listens(pid: int, port: int) -> bool:
    """Return whether a process has a UDP port. It is not tried: that would take it for a moment."""
    try:
        sockets = psutil.Process(pid).net_connections(kind="udp4")
    except psutil.Error:
        return False
    return any(each.laddr.port == port for each in sockets)
