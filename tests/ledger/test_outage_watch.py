"""What a gateway notices of outages, and how that comes into the ledger once it can."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from gateway import db
from gateway.core.dial_out import MAIN_BRIDGE
from gateway.core.outage import Outage, OutageKind
from gateway.ledger import Ledger, Reports
from gateway.metrics import REGISTRY
from gateway.outages import BEAT_SECONDS, KEPT_MAX, READING_SECONDS_MAX, Outages
from tests.ledger.world import NOON

DAY = timedelta(days=1)


@dataclass(slots=True)
class Clocks:
    """Three clocks that go on together, until one of them is set. Asterisk's shows noon."""

    steady: float = 1000.0
    gateway: datetime = NOON + timedelta(seconds=7)
    asterisk: datetime = NOON

    def pass_by(self, seconds: float) -> None:
        """Let time go by."""
        self.steady += seconds
        self.gateway += timedelta(seconds=seconds)
        self.asterisk += timedelta(seconds=seconds)


class Site:
    """A gateway on these clocks, with one bridge, and the ledger that it writes to."""

    def __init__(self, ledger: Ledger, clocks: Clocks) -> None:
        self.clocks = clocks
        self.outages = Outages(
            bridge=MAIN_BRIDGE,
            ledger=ledger,
            now=lambda: clocks.gateway,
            steady=lambda: clocks.steady,
        )

    def read_clock(self) -> None:
        """Have Asterisk tell its clock."""
        at_ms = int(self.clocks.asterisk.timestamp() * 1000)
        self.outages.clock_read(at_ms, asked=self.clocks.steady)

    def beat(self, seconds: float) -> None:
        """Let time go by with all there, the last two seconds of it as a heartbeat has them."""
        self.clocks.pass_by(seconds)
        self.outages.ledger_answered()
        self.read_clock()


@pytest.fixture
def reports(pool: db.Pool) -> Reports:
    """What reads outages."""
    return Reports(pool, call_seconds_max=20.0)


@pytest.fixture
def site(ledger: Ledger) -> Site:
    """A gateway that serves since noon, on a bridge that has been up for an hour."""
    site = Site(ledger, Clocks())
    site.outages.link_up(3600)
    site.beat(0)
    return site


async def noted(reports: Reports) -> Sequence[Outage]:
    """Return what is in the ledger, oldest first."""
    found = await reports.outages(None, NOON + DAY, bridge=None, before=None, limit=1000)
    return tuple(reversed(found))


def between(outage: Outage) -> tuple[OutageKind, float, float]:
    """Return what was away, from how many seconds after noon until how many."""
    began, ended = (each - NOON for each in (outage.began_at, outage.ended_at))
    return outage.kind, began.total_seconds(), ended.total_seconds()


async def test_a_lost_link_is_away_since_the_last_answer(site: Site, reports: Reports) -> None:
    """It may have been dead for as long; and it is back when it is up, not when that is noted."""
    site.beat(2)
    site.clocks.pass_by(1.5)
    site.outages.link_down("closed by Asterisk")
    site.clocks.pass_by(10)
    site.outages.link_up(3613)
    site.beat(4)

    await site.outages.stop()

    [outage] = await noted(reports)
    assert between(outage) == (OutageKind.LINK, 2, 13.5)
    assert outage.detail == "closed by Asterisk"


async def test_an_asterisk_that_has_booted_was_away(site: Site, reports: Reports) -> None:
    """Its uptime tells when it came back, which is sooner than the link was."""
    site.beat(2)
    site.outages.link_down("lost")
    site.clocks.pass_by(10)
    site.outages.link_up(3)
    site.beat(1)

    await site.outages.stop()

    assert sorted(map(between, await noted(reports))) == [
        (OutageKind.ASTERISK, 2, 9),
        (OutageKind.LINK, 2, 12),
    ]


async def test_an_outage_is_counted_in_seconds(site: Site) -> None:
    """For an alert on a link that is away more often than it should be."""
    labels = {"bridge": MAIN_BRIDGE, "kind": "link"}
    before = REGISTRY.get_sample_value("dialout_outage_seconds_total", labels) or 0.0
    site.outages.link_down("lost")
    site.clocks.pass_by(12.5)
    site.outages.link_up(3612)
    site.beat(0)

    after = REGISTRY.get_sample_value("dialout_outage_seconds_total", labels)

    assert after == before + 12.5


async def test_links_that_flap_are_one_outage(site: Site, reports: Reports) -> None:
    """One that is lost again before anything was heard over it was no link."""
    for _ in range(5):
        site.outages.link_down("lost")
        site.clocks.pass_by(1)
        site.outages.link_up(3600)
    site.beat(0)

    await site.outages.stop()

    assert list(map(between, await noted(reports))) == [(OutageKind.LINK, 0, 5)]


async def test_a_silent_ledger_is_away_since_it_last_answered(site: Site, reports: Reports) -> None:
    """By Asterisk's clock, though nothing is asked of Asterisk meanwhile."""
    site.beat(2)
    for _ in range(10):
        site.clocks.pass_by(2)
        site.outages.ledger_silent("ConnectionRefusedError")
    site.clocks.pass_by(1)
    site.outages.ledger_answered()
    site.read_clock()

    await site.outages.stop()

    [outage] = await noted(reports)
    assert between(outage) == (OutageKind.LEDGER, 2, 23)
    assert outage.detail == "ConnectionRefusedError"


async def test_a_clock_of_this_host_that_is_set_is_told_and_moves_nothing(
    site: Site, reports: Reports
) -> None:
    """An hour back in the midst of a lost link: that lasted ten seconds all the same."""
    site.outages.link_down("lost")
    site.clocks.pass_by(4)
    site.clocks.gateway -= timedelta(hours=1)
    site.clocks.pass_by(6)
    site.outages.link_up(3600)
    site.beat(0)

    await site.outages.stop()

    found = await noted(reports)
    assert sorted(map(between, found)) == [(OutageKind.CLOCK, 0, 10), (OutageKind.LINK, 0, 10)]
    assert "the gateway's clock was set 3600.0 s back" in {each.detail for each in found}


async def test_what_the_ledger_did_not_take_is_kept_until_it_does(
    site: Site, ledger: Ledger, reports: Reports, pool: db.Pool, owner: db.Connection
) -> None:
    """An outage of the ledger is noted when there is one again."""
    site.outages.ledger_silent("lost")
    site.beat(10)
    await owner.execute("ALTER FUNCTION dialout.outage_note RENAME TO outage_away")

    await site.outages.stop()
    away = await noted(reports)
    await owner.execute("ALTER FUNCTION dialout.outage_away RENAME TO outage_note")
    await site.outages.stop()

    assert away == ()
    assert list(map(between, await noted(reports))) == [(OutageKind.LEDGER, 0, 10)]


async def test_more_than_can_be_kept_is_told_as_one(site: Site, reports: Reports) -> None:
    """A ledger that is away for hours while a link flaps costs no more than so much memory."""
    for _ in range(KEPT_MAX + 50):
        site.outages.link_down("lost")
        site.clocks.pass_by(1)
        site.outages.link_up(3600)
        site.beat(0)

    await site.outages.stop()

    found = await noted(reports)
    assert len(found) == KEPT_MAX
    assert between(found[-1]) == (OutageKind.LINK, KEPT_MAX - 1, KEPT_MAX + 50)


async def test_the_next_gateway_tells_how_long_there_was_none(
    site: Site, ledger: Ledger, reports: Reports
) -> None:
    """And that Asterisk has booted meanwhile, which nobody saw."""
    await site.outages.stop()
    site.clocks.pass_by(60)
    following = Site(ledger, site.clocks)
    following.outages.link_up(20)
    following.beat(0)

    await following.outages.stop()
    await following.outages.stop()

    found = await noted(reports)
    assert sorted(map(between, found)) == [
        (OutageKind.ASTERISK, 0, 40),
        (OutageKind.GATEWAY, 0, 60),
    ]
    assert {each.detail for each in found} == {"stopped", "booted since"}


async def test_whoever_cannot_serve_says_nothing(
    site: Site, ledger: Ledger, owner: db.Connection
) -> None:
    """A gateway without a link, or whose heartbeat the gate has forgotten, is no gateway."""
    site.outages.link_down("lost")
    await site.outages.stop()
    stale = Site(ledger, Clocks())
    stale.outages.link_up(3600)
    stale.read_clock()
    stale.clocks.pass_by(READING_SECONDS_MAX)
    await stale.outages.stop()
    never = Site(ledger, Clocks())
    await never.outages.stop()

    assert await owner.fetchval("SELECT count(*) FROM dialout.gateway_beat") == 0


async def test_it_is_said_at_once_that_a_bridge_is_served(
    ledger: Ledger, owner: db.Connection
) -> None:
    """Not ten seconds later: so long there would seem to have been nobody after each start."""
    site = Site(ledger, Clocks())
    running = asyncio.create_task(site.outages.run())
    try:
        site.outages.link_up(3600)
        site.beat(0)
        async with asyncio.timeout(0.9 * BEAT_SECONDS):
            while not await owner.fetchval("SELECT count(*) FROM dialout.gateway_beat"):
                await asyncio.sleep(0.01)  # a row has no event
    finally:
        running.cancel()
        await asyncio.wait({running})
