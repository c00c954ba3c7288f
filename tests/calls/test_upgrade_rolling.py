"""Two gateways are replaced one after the other: nobody is refused, dropped or called twice.

What the migration before that means to the gateways of before is tried in tests/ledger, with
what they say to the database (test_version_before.py).
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from gateway.lab.stack import Stack, stack
from tests.calls.conftest import APPLICATION, APPLICATION_SECRET, LAB
from tests.calls.crowd import Asked, Crowd, Site, crowd_numbers, gateways_beside, reckoned
from tests.calls.meeting import ORGANIZER, PATIENT, london
from tests.calls.test_intercept import old_dialer, originate
from tests.gate.ami_socket import AmiSocket

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

CALLS_A_SECOND = 5
INTERCEPTS_A_SECOND = 2
WAYS = 2

NOT_THERE = frozenset({"ConnectError", "ReadError", "WriteError", "RemoteProtocolError"})
NOT_READY = frozenset({"bridge_unavailable", "ledger_unavailable"})
AWAY = NOT_THERE | NOT_READY
"""What sends a client to the other gateway: one that is gone, or has only just come."""


@dataclass(slots=True)
class OldDialer:
    """Software that dials through the intercept, and how each of its calls was hung up."""

    application: AmiSocket
    site: Site
    causes: dict[str, str] = field(default_factory=dict)

    async def dial(self) -> None:
        """Call a telephone that hangs up after a second."""
        number = london("21")
        hangup = await originate(
            self.application,
            number,
            tenant=str(self.site.meeting.tenant_id),
            organizer=ORGANIZER,
            conference=f"room-{number.removeprefix('+')}",
        )
        self.causes[number] = hangup["Cause"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def parts() -> AsyncIterator[Stack]:
    """PostgreSQL, a carrier and an Asterisk."""
    async with stack(LAB, applications={APPLICATION: APPLICATION_SECRET}) as running:
        yield running


async def test_two_gateways_are_replaced_and_nobody_is_refused(
    parts: Stack, tmp_path: Path
) -> None:
    """Each is stopped and started again, under a steady load.

    A client that finds one of them away asks the other one, and is served there, unless that
    one has gone in between: then the first is back. What comes by the intercept is not even told
    that anything has happened.
    """
    async with (
        gateways_beside(parts, tmp_path, count=WAYS) as site,
        old_dialer(parts) as application,
    ):
        for way in site.ways:  # a busy machine is late, and nobody is to be refused for that
            way.client.headers.update(PATIENT)
            way.client.timeout = httpx.Timeout(30)
        crowd = Crowd(site.ways, random.Random())
        dialer = OldDialer(application, site)
        async with asyncio.TaskGroup() as calls:
            loads = [
                calls.create_task(_ask_steadily(crowd, calls)),
                calls.create_task(_dial_steadily(dialer, calls)),
            ]
            for service in site.services:
                await service.stop()
                await service.start()
            for load in loads:
                load.cancel()
        await _until_nothing_is_open(site)
        asked = await reckoned(site.meeting, crowd.asked)
        dialled = Counter(invite.number for invite in parts.carrier.invites())

        assert [str(call) for call in asked if not call.asked.taken] == []
        assert [str(call) for call in asked if not _is_served_by_the_next(call.asked)] == []
        assert [str(call) for call in asked if (call.invites, call.is_exact) != (1, True)] == []
        assert [await _story(site, each) for each in dialer.causes if dialled[each] != 1] == []
        await site.meeting.assert_books_are_clean()


async def _ask_steadily(crowd: Crowd, calls: asyncio.TaskGroup) -> None:
    planned = crowd_numbers(random.Random())
    while True:
        calls.create_task(crowd.call(next(planned)))
        await asyncio.sleep(1 / CALLS_A_SECOND)


async def _dial_steadily(dialer: OldDialer, calls: asyncio.TaskGroup) -> None:
    while True:
        calls.create_task(dialer.dial())
        await asyncio.sleep(1 / INTERCEPTS_A_SECOND)


def _is_served_by_the_next(asked: Asked) -> bool:
    """Return whether no gateway was met away twice, nor any other failure."""
    return all(
        len(failures) <= WAYS and AWAY.issuperset(failures)
        for failures in (asked.failures, asked.hang_up_failures)
    )


async def _story(site: Site, number: str) -> tuple[str, object]:
    """Return what the ledger knows of the calls to a number."""
    rows = await site.meeting.ledger.dial_outs(
        site.meeting.tenant_id, datetime.now(UTC) - timedelta(hours=1)
    )
    return number, [row.summary() for row in rows if row.request.number_typed == number]


async def _until_nothing_is_open(site: Site) -> None:
    async with asyncio.timeout(30):
        while await site.meeting.ledger.open_dial_outs():
            await asyncio.sleep(0.1)
