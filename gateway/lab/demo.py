"""The whole main job on real parts: calls of every kind into one conference, then the books."""

import asyncio
import secrets
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
from rich.console import Console
from rich.table import Table

from gateway import db
from gateway.ami import AmiClient
from gateway.lab.program import LabError
from gateway.lab.sample import SampleTenant, create_sample_tenant
from gateway.lab.service import Service
from gateway.lab.stack import Stack, stack
from gateway.ledger import Balance, Finding, Ledger, Provisioning

__all__ = ["LabError", "run_demo"]

CONFERENCE = "weekly-meeting"
INITIATOR = "guest@example.com"
APPLICATION = "old-dialer"
"""An AMI application that used to dial by itself, and now goes through the intercept."""

RING_SECONDS = 5
TALK_SECONDS_MAX = 600
SETTLE_SECONDS = 30.0
PLAIN_COLUMNS = 150
"""The width of the tables where there is no terminal to ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One call of the demo, and how it must end: each of ``expected`` is a field of the answer.

    ``cancel_after_answer`` has us hang up; else the far side, or the carrier, ends it.
    """

    title: str
    organizer_id: str
    number: str
    expected: dict[str, object]
    conference: str = CONFERENCE
    intercepted: bool = False
    cancel_after_answer: bool = False


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        title="paid by the pool, far side hangs up",
        organizer_id="alice",
        number="020 7946 0022",
        expected={"paid_by": ["pool"], "disposition": "answered", "cost_micros": 0},
    ),
    Scenario(
        title="paid by credits, we hang up",
        organizer_id="alice",
        number="+254 20 2000010",
        expected={"paid_by": ["credits"], "disposition": "answered", "cost_micros": 250_000},
        cancel_after_answer=True,
    ),
    Scenario(
        title="from another AMI application",
        organizer_id="alice",
        number="+442079460021",
        expected={"kind": "intercept", "paid_by": ["pool"], "disposition": "answered"},
        intercepted=True,
    ),
    Scenario(
        title="organizer without a licence",
        organizer_id="carol",
        number="+44 20 7946 0001",
        expected={"reason": "no_audio_conferencing"},
    ),
    Scenario(
        title="abroad, but only domestic is allowed",
        organizer_id="bob",
        number="+1 202 555 0123",
        expected={"reason": "permission_domestic"},
    ),
    Scenario(
        title="broken number",
        organizer_id="alice",
        number="020 79",
        expected={"reason": "number_invalid"},
    ),
    Scenario(
        title="busy",
        organizer_id="alice",
        number="020 7946 0086",
        expected={"disposition": "busy", "billable_seconds": 0},
    ),
    Scenario(
        title="nobody answers",
        organizer_id="alice",
        number="020 7946 0080",
        # The meeting's end would end the ringing, too.
        conference="a-meeting-that-has-not-begun",
        expected={"disposition": "no_answer", "billable_seconds": 0},
    ),
)


async def run_demo(lab: Path) -> bool:
    """Return whether every call ended as it should and the books are clean.

    Stops everything that it started, also when it is interrupted or told to end.
    """
    this = asyncio.current_task()
    assert this is not None, "runs inside an event loop"
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_, this.cancel)
    console = Console(width=None if sys.stdout.isatty() else PLAIN_COLUMNS)
    secret = secrets.token_hex(24)
    console.rule("starting PostgreSQL, a SIP carrier, Asterisk and the gateway")
    async with (
        stack(lab, applications={APPLICATION: secret}) as parts,
        db.pool(parts.owner) as pool,
    ):
        ledger = Ledger(pool)
        tenant = await create_sample_tenant(Provisioning(pool))
        options = {
            "DIALOUT_CALL__RING_SECONDS": str(RING_SECONDS),
            "DIALOUT_CALL__TALK_SECONDS_MAX": str(TALK_SECONDS_MAX),
        }
        console.rule("calls: the gateway's own log, as it happens")
        async with Service(parts.asterisk, database=parts.gateway, options=options) as service:
            answers = await _place_all(service, parts, tenant, secret)
        balances = await ledger.balances(tenant.tenant_id)
        findings = await ledger.check(tenant.tenant_id)
    console.rule("what became of them")
    as_expected = _show_calls(console, answers)
    _show_balances(console, balances)
    _show_findings(console, findings)
    return as_expected and not findings


async def _place_all(
    service: Service, parts: Stack, tenant: SampleTenant, secret: str
) -> Sequence[dict[str, Any]]:
    async with service.client() as client, asyncio.TaskGroup() as calls:
        placed = [
            calls.create_task(_place(client, parts, tenant, scenario, secret))
            for scenario in SCENARIOS
        ]
    return [call.result() for call in placed]


async def _place(
    client: httpx.AsyncClient,
    parts: Stack,
    tenant: SampleTenant,
    scenario: Scenario,
    secret: str,
) -> dict[str, Any]:
    """Place one call and return the last that is known of it."""
    dial_out_id = uuid4()
    if scenario.intercepted:
        await _originate_past_us(parts, tenant.tenant_id, scenario, dial_out_id, secret)
    else:
        answer = await client.post(
            "/v1/dial-outs",
            json={
                "tenant_id": str(tenant.tenant_id),
                "dial_out_id": str(dial_out_id),
                "kind": "add_participant",
                "organizer_id": scenario.organizer_id,
                "initiator_id": INITIATOR,
                "conference_id": scenario.conference,
                "number": scenario.number,
            },
        )
        if answer.status_code not in (201, 403):
            answer.raise_for_status()
    path = f"/v1/dial-outs/{dial_out_id}?tenant_id={tenant.tenant_id}"
    return await _ended(client, path, cancel=scenario.cancel_after_answer)


async def _originate_past_us(
    parts: Stack, tenant_id: UUID, scenario: Scenario, dial_out_id: UUID, secret: str
) -> None:
    """Do what the old application does: originate by itself, with one line of it changed."""
    application = AmiClient(
        host=parts.asterisk.host,
        port=parts.asterisk.ami_port,
        username=APPLICATION,
        secret=secret,
    )
    running = asyncio.create_task(application.run())
    try:
        async for _ in application.events():
            if application.ready:
                break
        await application.originate(
            action_id=f"old-{dial_out_id.hex}",
            channel=f"Local/{scenario.number}@dialout-intercept/n",
            context="dialout-join",
            extension="s",
            variables={
                "DIALOUT_TENANT": str(tenant_id),
                "DIALOUT_ID": str(dial_out_id),
                "DIALOUT_ORGANIZER": scenario.organizer_id,
                "DIALOUT_INITIATOR": INITIATOR,
                "DIALOUT_CONFERENCE": CONFERENCE,
            },
            timeout_ms=15_000,
            channel_id=f"old-{dial_out_id.hex}-1",
            other_channel_id=f"old-{dial_out_id.hex}-2",
        )
    finally:
        await application.close()
        await running


async def _ended(client: httpx.AsyncClient, path: str, *, cancel: bool) -> dict[str, Any]:
    """Follow a dial-out to its end; hang up two seconds after the answer if we are to."""
    async with asyncio.timeout(SETTLE_SECONDS):
        while True:
            response = await client.get(path)
            answer: dict[str, Any] = response.json() if response.is_success else {}
            if answer.get("state") in ("ended", "refused"):
                return answer
            if cancel and answer.get("state") == "answered":
                cancel = False
                await asyncio.sleep(2)
                await client.delete(path)
            await asyncio.sleep(0.1)


def _show_calls(console: Console, answers: Sequence[dict[str, Any]]) -> bool:
    table = Table(
        "call",
        "organizer",
        "number",
        "country",
        "decision",
        "paid by",
        "ended",
        "billed",
        "cost",
        "as it should",
    )
    good = True
    for scenario, answer in zip(SCENARIOS, answers, strict=True):
        wrong = [name for name, value in scenario.expected.items() if answer.get(name) != value]
        good = good and not wrong
        table.add_row(
            scenario.title,
            scenario.organizer_id,
            answer["number_typed"],
            answer.get("region", ""),
            answer.get("reason", "allowed"),
            ", ".join(answer.get("paid_by", ())),
            answer.get("disposition", ""),
            f"{answer['billable_seconds']} s" if "billable_seconds" in answer else "",
            _money(answer.get("cost_micros"), answer.get("currency")),
            "[green]yes" if not wrong else "[red]no: " + ", ".join(wrong),
        )
    console.print(table)
    return good


def _show_balances(console: Console, balances: Sequence[Balance]) -> None:
    table = Table("source", "granted", "used", "reserved", "free", title="balances")
    for balance in balances:
        amounts = (balance.granted, balance.used, balance.reserved, balance.free)
        table.add_row(balance.kind, *(_amount(amount, balance.currency) for amount in amounts))
    console.print(table)


def _show_findings(console: Console, findings: Sequence[Finding]) -> None:
    for finding in findings:
        console.print(f"[red]ledger check: {finding}")
    if not findings:
        console.print("ledger check: clean")


def _amount(amount: int, currency: str | None) -> str:
    return f"{amount} s" if currency is None else _money(amount, currency)


def _money(micros: int | None, currency: str | None) -> str:
    if micros is None or currency is None:
        return ""
    return f"{micros // 1_000_000}.{micros % 1_000_000 // 10_000:02d} {currency}"
