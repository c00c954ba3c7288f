"""People in a conference who came in by the bridge's own ways, and the keys that they press."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway import db
from gateway.lab.service import Service
from gateway.lab.stack import Stack, stack
from gateway.ledger import Ledger, Provisioning
from tests.calls.conftest import APPLICATION, APPLICATION_SECRET, LAB, OPTIONS
from tests.calls.json_lines import whole_lines
from tests.calls.meeting import ORGANIZER, Answer, Meeting, london
from tests.gate.ami_socket import AmiSocket, Message

# The bridge's own dialplan. `DIALOUT_…` say who somebody is whom it lets in.
_DOORS = """
[participants]
exten => _p.,1,Answer()
 same => n,ConfBridge(${EXTEN:1},dialout-bridge,dialout-user,dialout-menu)
exten => waits,1,Wait(600)
"""
_numbers = itertools.count(1)

KEY_SECONDS = 0.15
"""From one key to the next: a tone, and a pause."""


def as_typed(number: str) -> str:
    """Return the keys that somebody in Great Britain presses for a number; others as they are."""
    return number.replace("+44", "0", 1).replace("+", "00", 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """One channel in a conference. ``keys`` is the channel whose far end presses keys."""

    hall: "Hall"
    room: str
    uniqueid: str
    channel: str
    keys: str

    async def press(self, keys: str) -> None:
        """Press keys, one after the other. A * first forgets what was heard before."""
        if keys.startswith("*"):
            await self._word("")
        for key in keys:
            answer = await self.hall.witness.send(
                ("Action", "PlayDTMF"),
                ("Channel", self.keys),
                ("Digit", key),
                ("Duration", "60"),
                ("Receive", "true"),
            )
            assert answer["Response"] == "Success", answer
            await asyncio.sleep(KEY_SECONDS)

    async def types(self, number: str) -> None:
        """Ask for a number, without waiting for what comes of it."""
        await self.press("*1")
        await self.is_asked()
        await self.press(as_typed(number) + "#")

    async def dials(self, number: str) -> str:
        """Ask for a number; return the word that was heard, once back in the room."""
        await self.types(number)
        return await self.heard()

    async def heard(self) -> str:
        """Return the word that was heard, once this participant is back in the room.

        Asterisk lists either the last step of the dialplan from then on, or the conference.
        """
        word = await self._until(self._has_heard)
        assert await self.attends()
        return word

    async def _has_heard(self, channel: Message) -> str:
        is_back = (channel["Exten"], channel["Application"]) == ("said", "Set")
        return await self._word() if is_back or channel["Application"] == "ConfBridge" else ""

    async def _word(self, word: str | None = None) -> str:
        """Return the last word that was said to this participant; or have it be another."""
        variable = (("Channel", self.channel), ("Variable", "DIALOUT_WORD"))
        if word is not None:
            await self.hall.witness.send(("Action", "Setvar"), *variable, ("Value", word))
            return word
        return (await self.hall.witness.send(("Action", "Getvar"), *variable))["Value"]

    async def is_asked(self) -> None:
        """Return once this participant is asked for a number."""
        await self._until(_is_asked)

    async def _until(self, answer: Callable[[Message], Awaitable[str]]) -> str:
        """Return what is said of the channel, once that is the same twice and not nothing."""
        now = ""
        async with asyncio.timeout(20):
            while True:
                before, now = now, await answer(await self.hall.channel(self.uniqueid))
                if now and before == now:
                    return now
                await asyncio.sleep(0.1)

    async def attends(self) -> bool:
        """Return whether the conference has this participant as a member."""
        members = await self.hall.witness.list_events(
            "ConfbridgeList", "ConfbridgeListComplete", ("Conference", self.room)
        )
        return any(each["Uniqueid"] == self.uniqueid for each in members)

    async def leave(self) -> Message:
        """Hang up; return the event of having left."""
        await self.hall.witness.send(("Action", "Hangup"), ("Channel", self.channel))
        return await self.left()

    async def left(self) -> Message:
        """Return the event of having left the conference."""
        return await self.hall.witness.event("ConfbridgeLeave", Uniqueid=self.uniqueid)


async def _is_asked(channel: Message) -> str:
    return "asked" if (channel["Exten"], channel["Application"]) == ("type", "Read") else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hall:
    """A stack whose bridge lets people in, a gateway, and one meeting."""

    parts: Stack
    service: Service
    meeting: Meeting
    witness: AmiSocket
    output: Path

    def new_room(self) -> str:
        """Return a conference that no other test has."""
        return f"hall-{next(_numbers)}"

    def named(self, **claim: str) -> dict[str, str]:
        """Return what the bridge says of somebody in this meeting, but for what is named."""
        return {
            "TENANT": str(self.meeting.tenant_id),
            "ORGANIZER": ORGANIZER,
            "INITIATOR": "guest@example.com",
            **claim,
        }

    async def enter(self, room: str, claim: dict[str, str] | None = None) -> Participant:
        """Let somebody into a conference; ``claim`` is what the bridge says of him."""
        says = {"CONFERENCE": room, **(self.named() if claim is None else claim)}
        name = f"participant-{next(_numbers)}"
        answer = await self.witness.send(
            ("Action", "Originate"),
            ("Channel", f"Local/p{room}@participants/n"),
            ("Context", "participants"),
            ("Exten", "waits"),
            ("Priority", "1"),
            ("Async", "true"),
            ("ChannelId", f"{name}-1"),
            ("OtherChannelId", f"{name}-2"),
            *(("Variable", f"DIALOUT_{key}={value}") for key, value in says.items()),
        )
        assert answer["Response"] == "Success", answer
        join = await self.witness.event("ConfbridgeJoin", Uniqueid=f"{name}-2")
        channel = join["Channel"]
        return Participant(
            hall=self, room=room, uniqueid=f"{name}-2", channel=channel, keys=channel
        )

    async def called_in(self, room: str, **fields: Any) -> Participant:
        """Bring a telephone into a conference by a call of ours; return who is at it."""
        placed = await self.meeting.place(london("10"), conference_id=room, **fields)
        key = self.key(placed)
        answer = await self.witness.event("DialEnd", 10, Uniqueid=f"{key}-gate")
        uniqueid = f"{key}-join"
        channel = (await self.channel(uniqueid))["Channel"]
        callee = Participant(
            hall=self, room=room, uniqueid=uniqueid, channel=channel, keys=answer["DestChannel"]
        )
        async with asyncio.timeout(20):
            while not await callee.attends():
                if placed.get("confirms"):
                    await callee.press("1")
                await asyncio.sleep(0.2)
        return callee

    async def channel(self, uniqueid: str) -> Message:
        """Return a channel as Asterisk lists it."""
        channels = await self.witness.list_events("CoreShowChannels", "CoreShowChannelsComplete")
        [found] = [each for each in channels if each.get("Uniqueid") == uniqueid]
        return found

    def key(self, dial_out: Answer) -> str:
        """Return the key that the channels of a call are named by."""
        return self.meeting.tenant_id.hex + str(dial_out["dial_out_id"]).replace("-", "")

    async def rings(self, number: str) -> Message:
        """Return the dialling of a number, once the carrier has been asked to ring it."""
        await self.meeting.rings(number)
        dial_out = await self.asked(number)
        return await self.witness.event("DialBegin", Uniqueid=f"{self.key(dial_out)}-gate")

    async def asked(self, number: str) -> Answer:
        """Return the dial-out to a number, as the gateway has logged that it was reserved."""
        async with asyncio.timeout(30):
            while True:
                for line in self.log("dial_out.reserved"):
                    if await self._is_to(line, number):
                        return line
                await asyncio.sleep(0.05)

    async def _is_to(self, line: Answer, number: str) -> bool:
        found = await self.meeting.read(line["dial_out_id"])
        return found.get("destination") == number

    def log(self, event: str) -> list[Answer]:
        """Return what the gateway has logged under this name."""
        return [line for line in whole_lines(self.output) if line["event"] == event]


@asynccontextmanager
async def hall_stack() -> AsyncIterator[Stack]:
    """Run PostgreSQL, a carrier, and an Asterisk that lets people into its conferences."""
    async with stack(LAB, applications={APPLICATION: APPLICATION_SECRET}) as parts:
        with (parts.asterisk.directory / "etc" / "extensions.conf").open("a") as file:
            file.write(_DOORS)
        await parts.asterisk.cli("dialplan reload")
        await parts.asterisk.cli("module load app_senddtmf.so")  # for PlayDTMF
        yield parts


@asynccontextmanager
async def hall_of(parts: Stack, output: Path, **options: str) -> AsyncIterator[Hall]:
    """Run a gateway beside the stack, with a meeting of its own."""
    asterisk = parts.asterisk
    service = Service(
        asterisk,
        database=parts.gateway,
        output=output,
        options=OPTIONS | {"DIALOUT_LOG__FORMAT": "json"} | options,
    )
    async with (
        db.pool(parts.owner) as pool,
        service,
        service.client() as client,
        AmiSocket(asterisk.host, asterisk.ami_port, asterisk.account, asterisk.secret) as witness,
    ):
        meeting = await Meeting.create(
            client,
            Ledger(pool, call_seconds_max=20.0),
            Provisioning(pool, call_seconds_max=20.0),
            parts.carrier,
        )
        yield Hall(parts=parts, service=service, meeting=meeting, witness=witness, output=output)
