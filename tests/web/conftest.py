"""The page on real parts, in a real browser: each test is a visitor of a tenant of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser as Playing
from playwright.async_api import async_playwright, expect

from gateway import db
from gateway.console import Meeting
from gateway.lab.browser import Browser, find_chromium
from gateway.lab.sample import create_sample_tenant
from gateway.lab.service import Service
from gateway.lab.stack import Stack, stack
from gateway.lab.telephone import telephones_on
from gateway.lab.web import page, sample_meeting
from gateway.ledger import Provisioning
from tests.web.relay import Wire, relay
from tests.web.visitor import Visitor

LAB = Path(__file__).resolve().parents[2] / ".lab"
RING_SECONDS = 90
"""The longest there is: nothing stops ringing by itself while a slow browser is waited for."""

OPTIONS = {
    "DIALOUT_CALL__RING_SECONDS": str(RING_SECONDS),
    "DIALOUT_CALL__TALK_SECONDS_MAX": "60",
    "DIALOUT_COOL_DOWN__ATTEMPTS": "0",
}

Visit = Callable[[Meeting], Awaitable[Visitor]]

expect.set_options(timeout=30_000)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def parts() -> AsyncIterator[Stack]:
    """PostgreSQL, Asterisk, and a carrier whose telephones press 1."""
    async with (
        stack(LAB) as running,
        telephones_on(running.carrier.ear_port, presses="1", after_seconds=0.1),
    ):
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(parts: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """The gateway, as operators run it."""
    output = tmp_path_factory.mktemp("service") / "gateway.log"
    async with Service(
        parts.asterisk, database=parts.gateway, output=output, options=OPTIONS
    ) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Playing]:
    """A headless Chromium that Playwright drives."""
    async with Browser(find_chromium(LAB)) as browser, async_playwright() as playwright:
        yield await playwright.chromium.connect_over_cdp(browser.url)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def provisioning(parts: Stack) -> AsyncIterator[Provisioning]:
    """Provisioning with all rights."""
    async with db.pool(parts.owner) as pool:
        yield Provisioning(pool, call_seconds_max=20.0)


@pytest_asyncio.fixture(loop_scope="session")
async def meeting(provisioning: Provisioning) -> Meeting:
    """The meeting of a new tenant, whose organizer has minutes and credits."""
    tenant = await create_sample_tenant(provisioning)
    return sample_meeting(tenant.tenant_id)


@pytest_asyncio.fixture(loop_scope="session")
async def visit(chromium: Playing, service: Service) -> AsyncIterator[Visit]:
    """Serve the page of a meeting, and open it.

    Whatever a test does there, the browser asks nobody but the page, runs into no error, opens
    no dialog, and is never sent the token of the gateway.
    """
    opened: list[tuple[Visitor, Wire]] = []
    async with AsyncExitStack() as ends:

        async def open_page(meeting: Meeting) -> Visitor:
            wire = await ends.enter_async_context(
                relay(await ends.enter_async_context(page(service, meeting)))
            )
            context = await chromium.new_context(viewport={"width": 1200, "height": 900})
            ends.push_async_callback(context.close)
            visitor = Visitor(await context.new_page(), wire.url)
            opened.append((visitor, wire))
            await visitor.open()
            return visitor

        yield open_page
    for visitor, wire in opened:
        assert visitor.surprises == []
        assert len(wire.received) > 1000
        assert service.token.encode() not in wire.received


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(visit: Visit, meeting: Meeting) -> Visitor:
    """Alice, the organizer, in front of the page of her meeting."""
    return await visit(meeting)
