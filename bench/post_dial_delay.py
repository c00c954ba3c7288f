"""How long a caller waits until the trunk is dialled, with the gate and without it.

Both kinds of call run in turn through the same Asterisk, at a steady rate. The clock is
Asterisk's own: from the creation of the first channel to the ``DialBegin`` of the leg on
the trunk, as an observer's AMI session sees them. So the gated figure holds everything the
gate adds: the event, the claim in PostgreSQL, the verdict and the redirect. What is dialled
without it the gateway's tripwire hangs up, after the instant that counts here.
"""

import asyncio
import secrets
import socket
from pathlib import Path
from uuid import uuid4

import httpx

from bench.figures import Figures
from gateway import db
from gateway.lab.asterisk import Asterisk
from gateway.lab.sample import create_sample_tenant
from gateway.lab.service import Service
from gateway.lab.stack import Stack, stack
from gateway.ledger import Provisioning

CALLS_PER_SECOND = 20
OBSERVER = "observer"
DIRECT_CONTEXT = "bench-direct"
NUMBER = "442079460020"
"""The carrier answers, and hangs up at once."""

WARM_UP_CALLS = 20


async def measure(lab: Path, calls: int) -> list[Figures]:
    """Place ``calls`` calls of each kind; return the figures without the gate, then with it."""
    secret = secrets.token_hex(24)
    async with stack(lab, applications={OBSERVER: secret}) as parts, db.pool(parts.owner) as pool:
        tenant = await create_sample_tenant(Provisioning(pool))
        await parts.asterisk.cli(
            f"dialplan add extension {NUMBER},1,Dial,PJSIP/+{NUMBER}@dialout-trunk "
            f"into {DIRECT_CONTEXT}"
        )
        log = parts.asterisk.directory / "gateway.log"
        options = {"DIALOUT_CALL__TALK_SECONDS_MAX": "60", "DIALOUT_COOL_DOWN__ATTEMPTS": "0"}
        async with (
            Service(parts.asterisk, database=parts.gateway, output=log, options=options) as service,
            service.client() as client,
        ):
            observer = await Observer.connect(parts.asterisk, secret)
            try:
                await _place(parts, client, observer, tenant.tenant_id.hex, WARM_UP_CALLS)
                observer.forget()
                await _place(parts, client, observer, tenant.tenant_id.hex, calls)
            finally:
                await observer.close()
    return [
        Figures.of("without the gate", observer.delays("direct-")),
        Figures.of("through the gate", observer.delays(tenant.tenant_id.hex)),
    ]


async def _place(
    parts: Stack, client: httpx.AsyncClient, observer: "Observer", tenant_hex: str, calls: int
) -> None:
    expected = len(observer.dialled) + 2 * calls
    for _ in range(calls):
        await observer.originate_directly()
        await asyncio.sleep(1 / CALLS_PER_SECOND / 2)
        response = await client.post(
            "/v1/dial-outs",
            json={
                "tenant_id": tenant_hex,
                "kind": "call_me",
                "organizer_id": "alice",
                "initiator_id": "alice",
                "conference_id": "bench",
                "number": f"+{NUMBER}",
            },
        )
        response.raise_for_status()
        await asyncio.sleep(1 / CALLS_PER_SECOND / 2)
    async with asyncio.timeout(10):
        while len(observer.dialled) < expected:
            await asyncio.sleep(0.01)


class Observer:
    """An AMI session that notes when channels begin and when the trunk is dialled."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.begun: dict[str, float] = {}
        self.dialled: dict[str, float] = {}
        self._reading = asyncio.create_task(self._read(reader))

    @classmethod
    async def connect(cls, asterisk: Asterisk, secret: str) -> "Observer":
        """Log in and listen."""
        reader, writer = await asyncio.open_connection(asterisk.host, asterisk.ami_port)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await reader.readline()
        observer = cls(reader, writer)
        observer._send(Action="Login", Username=OBSERVER, Secret=secret)
        return observer

    async def originate_directly(self) -> None:
        """Begin a call that dials the trunk at once, in the same shape as a gated one."""
        name = f"direct-{uuid4().hex}"
        self._send(
            Action="Originate",
            Channel=f"Local/{NUMBER}@{DIRECT_CONTEXT}/n",
            Context="dialout-join",
            Exten="s",
            Priority="1",
            Async="true",
            Timeout="20000",
            ChannelId=f"{name}-join",
            OtherChannelId=f"{name}-gate",
            Variable="DIALOUT_CONFERENCE=bench",
        )
        await self._writer.drain()

    def forget(self) -> None:
        """Drop what was noted so far."""
        self.begun.clear()
        self.dialled.clear()

    def delays(self, prefix: str) -> list[float]:
        """Return the seconds from begin to dial of the calls whose name begins like this."""
        return [
            at - self.begun[call]
            for call, at in self.dialled.items()
            if call.startswith(prefix) and call in self.begun
        ]

    async def close(self) -> None:
        """Stop listening."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._writer.close()
        await self._writer.wait_closed()

    def _send(self, **headers: str) -> None:
        lines = (f"{name}: {value}\r\n" for name, value in headers.items())
        self._writer.write(("".join(lines) + "\r\n").encode())

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while True:
            block = (await reader.readuntil(b"\r\n\r\n")).decode(errors="replace")
            event = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
            match event.get("Event"):
                case "Newchannel" if event["Uniqueid"].endswith("-join"):
                    self.begun[event["Uniqueid"]] = float(event["Timestamp"])
                case "DialBegin" if event["DestChannel"].startswith("PJSIP/"):
                    self.dialled[event["DestLinkedid"]] = float(event["Timestamp"])
                case _:
                    pass
