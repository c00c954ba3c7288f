"""A telephone of the lab that calls in: SIPp plays the carrier's side of an inbound call.

What the caller saw and when is read from SIPp's own log of messages, so that it is a clock
beside Asterisk's and the gateway's.
"""

import re
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from gateway.lab import program
from gateway.lab.program import LabError, Program

__all__ = ["Caller", "Conversation", "LabError"]

_SCENARIO = Path(__file__).with_name("caller.xml")
_HOST = "127.0.0.1"
_STOP_SECONDS = 2.0

WITHHELD = "anonymous"
"""The caller's number where none is shown."""

# How SIPp's message log introduces a message, and how the message begins.
_MESSAGE = re.compile(
    r"^-+ (?P<at>\d{4}-\d\d-\d\d[T ][\d:.]+Z?)\n"
    r"UDP message (?P<way>sent|received) [^\n]*\n\n"
    r"(?P<head>[^\n]+)\n(?P<headers>(?:.+\n)+)",
    re.MULTILINE,
)
_STATUS = re.compile(r"SIP/2\.0 ([0-9]{3}) ")
_CSEQ = re.compile(r"^CSeq: *[0-9]+ +([A-Z]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What a caller saw of one call; instants by the caller's own clock.

    ``status`` is that of the final answer, None if there was none. ``answered_at`` is None for
    a call that was not answered. ``ended_at`` is the BYE's, whichever side sent it.
    """

    status: int | None
    answered_at: datetime | None
    ended_at: datetime | None
    was_hung_up: bool
    """Whether the other side sent the BYE."""

    @property
    def seconds(self) -> float:
        """How long the two were connected; 0 if they never were."""
        if self.answered_at is None or self.ended_at is None:
            return 0.0
        return (self.ended_at - self.answered_at).total_seconds()


class Caller:
    """Calls the SIP port of a bridge as its carrier would. Several calls may go on at once."""

    def __init__(self, sipp: Program, *, sip_port: int) -> None:
        self._program = sipp
        self._sip_port = sip_port

    async def call(
        self,
        number: str,
        seconds: float,
        *,
        caller: str = "+447700900123",
        media_port: int | None = None,
    ) -> Conversation:
        """Dial a number, stay so long unless hung up on before, and return what was seen.

        ``media_port`` takes what the telephone hears; it is for others to bind. Cancelled, the
        call breaks off without a BYE.
        """
        directory = self._program.make_directory("caller")
        try:
            scenario = Template(_SCENARIO.read_text())
            (directory / "caller.xml").write_text(
                scenario.substitute(caller=caller, milliseconds=round(seconds * 1000))
            )
            self._program.give(directory)
            await self._run(directory, number, media_port)
            return _conversation(directory / "messages.log")
        finally:
            shutil.rmtree(directory)

    async def _run(self, directory: Path, number: str, media_port: int | None) -> None:
        inside = self._program.seen_from_inside(directory)
        options = {
            "-sf": inside / "caller.xml",
            "-s": number,
            "-i": _HOST,
            "-p": program.free_port(socket.SOCK_DGRAM),
            "-mi": _HOST,
            "-mp": program.free_port(socket.SOCK_DGRAM),
            "-m": 1,
            "-message_file": inside / "messages.log",
        }
        ear = ("-key", "ear_port", str(media_port or program.free_port(socket.SOCK_DGRAM)))
        flat = (str(part) for option in options.items() for part in option)
        process = await program.spawn(
            self._program.argv(
                *flat, *ear, "-trace_msg", "-nostdin", "-skip_rlimit", f"{_HOST}:{self._sip_port}"
            ),
            directory / "console.log",
        )
        try:
            await process.wait()
        finally:
            await program.stop(process, _STOP_SECONDS)
        if not (directory / "messages.log").exists():
            raise LabError(f"SIPp did not call:\n{program.tail(directory / 'console.log')}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    at: datetime
    is_received: bool
    method: str
    status: int | None


def _messages(log: Path) -> Iterator[_Message]:
    for found in _MESSAGE.finditer(log.read_text(errors="replace")):
        status = _STATUS.match(found["head"])
        method = _CSEQ.search(found["headers"])
        yield _Message(
            # SIPp before 3.8 writes local time, without a zone.
            at=datetime.fromisoformat(found["at"]).astimezone(UTC),
            is_received=found["way"] == "received",
            method=method[1] if method else "",
            status=int(status[1]) if status else None,
        )


def _conversation(log: Path) -> Conversation:
    messages = tuple(_messages(log))
    final = next(
        (each for each in messages if each.method == "INVITE" and (each.status or 0) >= 200), None
    )
    bye = next((each for each in messages if each.method == "BYE" and each.status is None), None)
    is_answered = final is not None and final.status == 200
    return Conversation(
        status=final.status if final else None,
        answered_at=final.at if final and is_answered else None,
        ended_at=bye.at if bye else None,
        was_hung_up=bye is not None and bye.is_received,
    )
