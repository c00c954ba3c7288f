"""Who tells a callee of the end: asked for until Asterisk has it, whatever is paid for by then."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from pydantic import SecretStr

from gateway import db, slices
from gateway.core.key import DialOutKey
from gateway.core.rating import Seconds
from gateway.ledger import Ledger
from gateway.settings import DatabaseSettings
from gateway.slices import PaidCall, Slices
from tests.ami.conftest import Linked
from tests.ami.scripted_server import DEADLINE_SECONDS, Session

CLOCK_MS = 1_000_000


@pytest.fixture(autouse=True)
def _asks_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "ASK_AGAIN_SECONDS", 0.0)


def paid_call(*, more: bool) -> PaidCall:
    """Return a call that was answered just now and that nobody warns."""
    return PaidCall(
        key=DialOutKey(tenant_id=uuid4(), dial_out_id=uuid4()),
        leg="pbx-1.1",
        answered_at_ms=CLOCK_MS,
        slices=1,
        limit_seconds=Seconds(3600),
        kept_seconds=Seconds(3600),
        more=more,
        warns=False,
        moved=lambda _: None,
    )


@asynccontextmanager
async def followed(linked: Linked, call: PaidCall) -> AsyncIterator[Session]:
    """Follow a call, and lend Asterisk's end of the link. The ledger is never asked."""
    pool = db.pool(DatabaseSettings(dsn=SecretStr("postgresql://nowhere/")))
    keeping = Slices(
        ami=linked.client,
        ledger=Ledger(pool, call_seconds_max=1.0),
        now=lambda: datetime.now(UTC),
        warnings=(60, 10),
        ahead_seconds=30,
    )
    keeping.follow(call)
    yield linked.session
    await keeping.close()


async def asked(session: Session, action: str) -> dict[str, str]:
    """Return the next action, which must be this one; pings before it are answered."""
    while True:
        headers = await session.asked()
        if headers["Action"] != "Ping" or action == "Ping":
            assert headers["Action"] == action
            return headers
        session.answer(headers, f"Timestamp: {CLOCK_MS / 1000:.6f}")


def answer_channels(session: Session, headers: dict[str, str], *lines: tuple[str, ...]) -> None:
    """Answer a list of channels."""
    session.answer(headers, "EventList: start", "Message: Channels will follow")
    for line in lines:
        session.send(*line, f"ActionID: {headers['ActionID']}")
    session.send(
        "Event: CoreShowChannelsComplete",
        f"ActionID: {headers['ActionID']}",
        "EventList: Complete",
        f"ListItems: {len(lines)}",
    )


async def until_warned(call: PaidCall) -> None:
    """Return once the call knows that its callee is warned."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not call.warns:
            await asyncio.sleep(0)


@pytest.mark.parametrize("more", [False, True])
async def test_a_warning_that_failed_is_asked_for_again(linked: Linked, more: bool) -> None:
    """A fault of a moment costs no warning, not even where no slice comes that would retry."""
    call = paid_call(more=more)
    async with followed(linked, call) as session:
        for _ in range(2):
            session.answer(await asked(session, "Originate"), "Message: No", response="Error")
            answer_channels(session, await asked(session, "CoreShowChannels"))
        session.answer(await asked(session, "Originate"))
        await until_warned(call)


async def test_a_warning_that_is_there_is_not_asked_for_again(linked: Linked) -> None:
    """Another gateway was first, or the answer was lost: what matters is that it is there."""
    call = paid_call(more=False)
    async with followed(linked, call) as session:
        session.answer(await asked(session, "Originate"), "Message: No", response="Error")
        there = (
            *("Event: CoreShowChannel", "Channel: Local/s@dialout-warning-1;2"),
            *("ChannelStateDesc: Up", f"Uniqueid: {call.key.warning_uniqueid}"),
            *("Linkedid: pbx-1.1", "Application: Wait", "Context: dialout-warning"),
            *("Exten: s", "Duration: 00:00:01"),
        )
        answer_channels(session, await asked(session, "CoreShowChannels"), there)
        await until_warned(call)
