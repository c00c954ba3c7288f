"""Outages of real parts, as the ledger lists them afterwards, with the calls that they touched."""

import asyncio
import os
import signal
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from gateway import db
from gateway.core.outage import Outage, OutageKind
from gateway.lab.service import Service
from gateway.ledger import GapCall, Reports
from tests.calls.meeting import london
from tests.calls.test_recovery import Site, parts, site, until_ready

__all__ = ["parts", "site"]

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def noted(reports: Reports, kind: OutageKind) -> Outage:
    """Return the last outage of a kind, as soon as there is one."""
    later = datetime.now(UTC) + timedelta(minutes=1)
    async with asyncio.timeout(30):
        while True:
            found = await reports.outages(None, later, bridge=None, before=None, limit=100)
            for outage in found:
                if outage.kind is kind:
                    return outage
            await asyncio.sleep(0.1)  # a row has no event


async def stop(service: Service) -> None:
    """Shut a gateway down, and give it all the time that it needs for it."""
    assert service.pid is not None
    os.kill(service.pid, signal.SIGTERM)
    async with asyncio.timeout(30):
        while psutil.pid_exists(service.pid):
            await asyncio.sleep(0.05)


async def touched(reports: Reports, outage: Outage) -> dict[str, GapCall]:
    """Return the calls that span an outage, by their ids."""
    return {str(call.dial_out_id): call async for call in reports.gap_calls(outage.outage_id, None)}


async def test_each_outage_is_listed_with_the_calls_that_span_it(site: Site) -> None:
    """Postgres stopped, the gateway replaced, Asterisk killed: one call goes through all of it.

    Another one ends just before Asterisk is killed, and is proved: it may count as touched,
    because Asterisk's last sign of life may be older, and is billed as if nothing had been.
    """
    time = asyncio.get_running_loop().time
    placed = await site.meeting.place(london("10"))
    await site.meeting.answered(placed["dial_out_id"])
    begun = time()
    short = await site.meeting.place(london("10"))
    await site.meeting.answered(short["dial_out_id"])

    async with db.pool(site.parts.owner) as pool:
        reports = Reports(pool, call_seconds_max=20.0)
        await site.parts.postgres.stop()
        await until_ready(site.meeting.client, ready=False)
        await site.parts.postgres.start()
        await until_ready(site.meeting.client, ready=True)
        ledger_away = await noted(reports, OutageKind.LEDGER)
        await stop(site.service)
        await site.service.start()
        no_gateway = await noted(reports, OutageKind.GATEWAY)
        await site.meeting.cancel(short["dial_out_id"])
        await site.meeting.ended(short["dial_out_id"])
        await site.parts.asterisk.kill()
        lasted = time() - begun
        await site.parts.asterisk.start()
        ended = await site.meeting.ended(placed["dial_out_id"], seconds=30)
        asterisk_away = await noted(reports, OutageKind.ASTERISK)
        link_away = await noted(reports, OutageKind.LINK)
        spanned = [
            await touched(reports, outage)
            for outage in (ledger_away, no_gateway, asterisk_away, link_away)
        ]

    both = {placed["dial_out_id"], short["dial_out_id"]}
    assert [set(calls) for calls in spanned[:2]] == [both, both]
    assert all(placed["dial_out_id"] in calls for calls in spanned)
    assert no_gateway.detail == "stopped"
    assert link_away.began_at <= asterisk_away.began_at < asterisk_away.ended_at
    call = spanned[2][placed["dial_out_id"]]
    assert (call.evidence, call.unproved) == ("absent_twice", "least")
    assert call.least_seconds is not None
    assert call.most_seconds is not None
    assert call.least_seconds - 1 <= lasted <= call.most_seconds + 1
    assert call.billed_seconds == call.least_seconds == ended["billable_seconds"]
    assert call.otherwise_seconds == call.most_seconds
    proved = spanned[0][short["dial_out_id"]]
    assert proved.evidence in {"events", "record"}
    assert (proved.unproved, proved.otherwise_micros) == (None, None)
    await site.meeting.assert_books_are_clean()
