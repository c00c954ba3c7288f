"""Asterisk's own call detail, read from tables as operators have them, and from broken ones."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest

from gateway import db
from gateway.core.call import Ending
from gateway.core.call_detail import Answer
from gateway.core.dial_out import DialOut
from gateway.ledger import CallDetail
from tests.ledger.conftest import settings
from tests.ledger.world import NOON, World

CEL_ROW = "INSERT INTO calls.cel VALUES ($1, $2, $3, 'linked', $4, $5)"
CEL_TABLE = """
    CREATE TABLE calls.cel (
        eventtype text, eventtime {time}, uniqueid text, linkedid text, channame text, extra text
    )
"""
CDR_ROW = "INSERT INTO calls.cdr VALUES ($1, 'PJSIP/dialout-trunk-00000001', $2, $3, $4)"
CDR_TABLE = """
    CREATE TABLE calls.cdr (
        uniqueid text, dstchannel text, disposition text, answer {time}, "end" {time}
    )
"""
ANSWERED_AT, ENDED_AT = NOON + timedelta(seconds=2.25), NOON + timedelta(seconds=6.5)


@pytest.fixture(autouse=True)
async def _schema(owner: db.Connection) -> None:
    await owner.execute("CREATE SCHEMA calls")


@pytest.fixture
async def read_only(dsn: str) -> AsyncIterator[db.Pool]:
    """The pool that reads the tables."""
    async with db.pool(settings(dsn), read_only=True) as opened:
        yield opened


def detail(
    pool: db.Pool,
    *,
    cel: str | None = "calls.cel",
    cdr: str | None = None,
    zone: tzinfo = UTC,
    seconds: float = 20.0,
) -> CallDetail:
    """Return the reader of these tables."""
    return CallDetail(
        pool,
        cel_table=cel,
        cdr_table=cdr,
        zone=zone,
        trunk_channels="PJSIP/dialout-trunk-",
        call_seconds_max=seconds,
    )


async def write_events(
    owner: db.Connection, dial_out: DialOut, answered: object, ended: object
) -> None:
    """Write what CEL has of a call that was answered; ``ended`` None leaves its end out."""
    gate, leg = dial_out.channel_uniqueid, "asterisk-1.2"
    trunk, local = "PJSIP/dialout-trunk-00000001", "Local/d@dialout-gate-00000001;2"
    bridge = '{"bridge_id":"b1","bridge_technology":"simple_bridge"}'
    hangup = '{"hangupcause":16,"hangupsource":"","dialstatus":""}'
    await owner.execute(CEL_ROW, "ANSWER", answered, leg, trunk, "")
    await owner.execute(CEL_ROW, "BRIDGE_ENTER", answered, leg, trunk, bridge)
    await owner.execute(CEL_ROW, "BRIDGE_ENTER", answered, gate, local, bridge)
    if ended is not None:
        await owner.execute(CEL_ROW, "HANGUP", ended, leg, trunk, hangup)


@pytest.fixture
async def call(world: World) -> DialOut:
    """A call that was asked for at noon."""
    await world.add_licence()
    _, dial_out = await world.reserve()
    return dial_out


def naive(at: datetime) -> datetime:
    """Return an instant as a table without zones has it."""
    return at.replace(tzinfo=None)


@pytest.mark.parametrize(
    ("column", "form"),
    [
        ("timestamp", naive),
        ("timestamptz", lambda at: at),
        ("float8", datetime.timestamp),
    ],
)
async def test_an_end_is_read_from_every_form_of_time(
    owner: db.Connection, read_only: db.Pool, call: DialOut, column: str, form: object
) -> None:
    """Asterisk writes an instant as the column wants it; here it is the same one."""
    assert callable(form)
    await owner.execute(CEL_TABLE.format(time=column))
    await write_events(owner, call, form(ANSWERED_AT), form(ENDED_AT))

    told = await detail(read_only).told([call])

    ending = told[call.request.key]
    assert isinstance(ending, Ending)
    assert (ending.evidence, ending.hangup_cause, ending.latest_end_ms) == ("cel", 16, None)
    assert ending.answered_at_ms == ANSWERED_AT.timestamp() * 1000
    assert ending.ended_at_ms == ENDED_AT.timestamp() * 1000


async def test_local_times_need_their_zone(
    owner: db.Connection, read_only: db.Pool, call: DialOut
) -> None:
    """With it they are the same instants that UTC would be."""
    berlin = ZoneInfo("Europe/Berlin")
    await owner.execute(CEL_TABLE.format(time="timestamp"))
    await write_events(
        owner, call, naive(ANSWERED_AT.astimezone(berlin)), naive(ENDED_AT.astimezone(berlin))
    )

    told = await detail(read_only, zone=berlin).told([call])

    ending = told[call.request.key]
    assert isinstance(ending, Ending)
    assert ending.answered_at_ms == ANSWERED_AT.timestamp() * 1000


async def test_the_hour_that_comes_twice_proves_nothing(
    owner: db.Connection, read_only: db.Pool, call: DialOut
) -> None:
    """Half past two on the last night of October is two instants; half past three is one."""
    await owner.execute(CEL_TABLE.format(time="timestamp"))
    night = datetime(2025, 10, 26, 0, 30, tzinfo=UTC)
    berlin = detail(read_only, zone=ZoneInfo("Europe/Berlin"))
    twice, once = (naive(night) + timedelta(hours=hours, seconds=1) for hours in (2, 3))

    await write_events(owner, call, twice, twice)
    of_two = await berlin.told([call])
    await owner.execute("UPDATE calls.cel SET eventtime = $1", once)
    of_one = await berlin.told([call])

    assert of_two == {}
    assert of_one.keys() == {call.request.key}


async def test_cdr_ends_what_cel_leaves_open(
    owner: db.Connection, read_only: db.Pool, call: DialOut
) -> None:
    """An answer in CEL, and the record of the end in CDR: the end counts."""
    await owner.execute(CEL_TABLE.format(time="timestamp"))
    await owner.execute(CDR_TABLE.format(time="float8"))
    await write_events(owner, call, naive(ANSWERED_AT), None)
    both = detail(read_only, cdr="calls.cdr")

    before = await both.told([call])
    await owner.execute(
        CDR_ROW, call.channel_uniqueid, "ANSWERED", ANSWERED_AT.timestamp(), ENDED_AT.timestamp()
    )
    after = await both.told([call])

    assert before == {call.request.key: Answer(at_ms=int(ANSWERED_AT.timestamp() * 1000))}
    ending = after[call.request.key]
    assert isinstance(ending, Ending)
    assert (ending.evidence, ending.ended_at_ms) == ("cdr", ENDED_AT.timestamp() * 1000)


async def test_what_cel_says_stands_where_cdr_is_away(
    owner: db.Connection, read_only: db.Pool, call: DialOut
) -> None:
    """One table that cannot be read takes nothing away from the other."""
    await owner.execute(CEL_TABLE.format(time="timestamp"))
    await write_events(owner, call, naive(ANSWERED_AT), None)

    told = await detail(read_only, cdr="calls.cdr").told([call])

    assert told == {call.request.key: Answer(at_ms=int(ANSWERED_AT.timestamp() * 1000))}


async def test_whole_seconds_are_told_from_exact_ones(
    owner: db.Connection, read_only: db.Pool, call: DialOut
) -> None:
    """The usual table of CDR keeps no fractions: its calls have bounds."""
    await owner.execute(CDR_TABLE.format(time="timestamp"))
    await owner.execute(
        CDR_ROW,
        call.channel_uniqueid,
        "ANSWERED",
        naive(NOON + timedelta(seconds=2)),
        naive(NOON + timedelta(seconds=6)),
    )

    told = await detail(read_only, cel=None, cdr="calls.cdr").told([call])

    ending = told[call.request.key]
    assert isinstance(ending, Ending)
    assert ending.latest_end_ms == NOON.timestamp() * 1000 + 6999


@pytest.mark.parametrize(
    "spoiled",
    [
        "UPDATE calls.cel SET extra = 'no json'",
        "UPDATE calls.cel SET extra = NULL, channame = NULL",
        "UPDATE calls.cel SET extra = '[1]'",
        "UPDATE calls.cel SET eventtime = 'infinity'",
        "UPDATE calls.cel SET eventtime = NULL",
        "UPDATE calls.cel SET eventtime = '-infinity'",
        "ALTER TABLE calls.cel DROP COLUMN extra",
        "ALTER TABLE calls.cel ALTER COLUMN eventtype TYPE integer USING 1",
        "DROP TABLE calls.cel",
    ],
)
async def test_a_table_that_is_not_as_it_should_be_tells_nothing(
    owner: db.Connection, read_only: db.Pool, call: DialOut, spoiled: str
) -> None:
    """Rows that anybody may have written, or none: nothing is concluded, and nothing is raised."""
    await owner.execute(CEL_TABLE.format(time="timestamp"))
    await write_events(owner, call, naive(ANSWERED_AT), naive(ENDED_AT))
    await owner.execute(spoiled)

    assert await detail(read_only).told([call]) == {}


async def test_a_table_that_does_not_answer_is_given_up_once(
    owner: db.Connection, read_only: db.Pool, call: DialOut
) -> None:
    """However many calls are asked for, all together wait for one deadline; others go on."""
    await owner.execute(CEL_TABLE.format(time="timestamp"))
    loop = asyncio.get_running_loop()
    async with owner.transaction():
        await owner.execute("LOCK TABLE calls.cel IN ACCESS EXCLUSIVE MODE")
        begun = loop.time()

        told = await detail(read_only, seconds=0.3).told([call] * 2000)

    assert told == {}
    assert loop.time() - begun < 20


async def test_many_calls_are_asked_for_at_once(
    owner: db.Connection, read_only: db.Pool, call: DialOut
) -> None:
    """An Asterisk that was killed leaves all of its calls behind."""
    await owner.execute(CEL_TABLE.format(time="timestamp"))
    await owner.execute("CREATE INDEX ON calls.cel (linkedid)")
    await write_events(owner, call, naive(ANSWERED_AT), naive(ENDED_AT))

    assert len(await detail(read_only).told([call] * 1000)) == 1
