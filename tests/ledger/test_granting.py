"""Grants beside a real ledger that goes away: what is granted then, what is not, what is booked."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from structlog.testing import capture_logs

from gateway import db
from gateway.admission import Admission
from gateway.core.causes import Disposition
from gateway.core.choices import Choices
from gateway.core.dial_out import MAIN_BRIDGE, DialOutRequest, DialOutState
from gateway.core.e164 import Region
from gateway.core.facts import Sku, SourceKind
from gateway.core.grant import GrantBounds, Granted, Released
from gateway.core.rating import Seconds
from gateway.core.trunk import Trunk
from gateway.grants import GrantingLedger, Grants, Journal
from gateway.grants.grants import KEYS_MAX, UNBOOKED_SECONDS
from gateway.inquiry import Inquiry
from gateway.lab.postgres import Postgres
from gateway.ledger import Ledger, LedgerUnavailable, RequestOutcome, VoidOutcome
from gateway.ledger.provisioning_answers import PrefixEffect
from tests.core.test_grant import grant
from tests.ledger.conftest import settings
from tests.ledger.world import NOON, TERMS, World
from tests.shell.test_journal import crash, full_disk

BOUNDS = GrantBounds(
    sources=frozenset({SourceKind.ADDON}),
    call_seconds_max=Seconds(600),
    calls_max=2,
    seconds_max=Seconds(1800),
    calls_in_all_max=10,
    seconds_in_all_max=Seconds(6000),
    facts_seconds_max=Seconds(900),
    outage_seconds_max=Seconds(300),
)


@dataclass(slots=True)
class Clock:
    """Seconds that pass when a test says so."""

    seconds: float = 0.0

    def __call__(self) -> float:
        """Return how many have passed."""
        return self.seconds


@dataclass(slots=True, kw_only=True)
class Desk:
    """What decides requests in a gateway that grants, as it is built at its start."""

    bounds: GrantBounds = BOUNDS
    world: World
    server: Postgres
    pool: db.Pool
    dsn: str
    directory: Path
    clock: Clock = field(default_factory=Clock)
    grants: Grants = field(init=False)
    journal: Journal = field(init=False)
    ledger: GrantingLedger = field(init=False)
    admission: Admission = field(init=False)

    def __post_init__(self) -> None:
        trunks = {MAIN_BRIDGE: Trunk()}
        self.journal = Journal(self.directory)
        self.grants = Grants(
            bounds=self.bounds,
            journal=self.journal,
            books=Ledger(self.pool, call_seconds_max=20.0),
            trunks=trunks,
            clock=self.clock,
            now=lambda: NOON + timedelta(seconds=self.clock.seconds),
        )
        self.ledger = GrantingLedger(self.pool, grants=self.grants, call_seconds_max=20.0)
        self.admission = Admission(
            ledger=self.ledger,
            inquiry=Inquiry(ledger=self.ledger, trunks=trunks),
            terms={MAIN_BRIDGE: TERMS},
            grants=self.grants,
        )

    def again(self) -> "Desk":
        """Return the same after a crash and a new start: nothing is left but what is on disk."""
        crash(self.journal)
        return replace(self)

    async def know(self) -> None:
        """Have the ledger be asked about the caller and the number that tests ask for."""
        await self.grants.book()
        await self.ledger.ping()
        outcome, dial_out = await self.ask()
        assert outcome is RequestOutcome.RESERVED
        assert dial_out is DialOutState.RESERVED

    async def ask(
        self, request: DialOutRequest | None = None
    ) -> tuple[RequestOutcome, DialOutState | None]:
        """Ask for a call."""
        outcome, dial_out = await self.admission.admit(request or self.world.request(), at=NOON)
        return outcome, None if dial_out is None else dial_out.state

    async def cancel(self, request: DialOutRequest) -> VoidOutcome:
        """Give a call back that nobody has let dial, as who cancels it does."""
        outcome, _ = await self.ledger.void(
            request.key,
            at=NOON,
            hangup_cause=0,
            disposition=Disposition.CANCELLED,
            only_if_unclaimed=True,
            evidence="cancelled",
        )
        return outcome

    def is_first(self, request: DialOutRequest, *, uptime_seconds: float) -> bool:
        """Return whether a call that the ledger gave a claim of may dial."""
        return self.grants.is_first(request.key, granted=False, uptime_seconds=uptime_seconds)

    @contextmanager
    def busy_disk(self) -> Iterator[None]:
        """Have whatever is to be written wait until the end."""
        done = threading.Event()
        self.grants._disk.submit(done.wait)
        try:
            yield
        finally:
            done.set()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Have the database be nowhere, and the gateway know."""
        name = urlsplit(self.dsn).path.removeprefix("/")
        admin = await asyncpg.connect(self.server.dsn("postgres"))
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )
        await admin.execute(f"ALTER DATABASE {name} RENAME TO {name}_away")
        try:
            with pytest.raises(LedgerUnavailable):
                await self.ledger.ping()
            yield
        finally:
            await admin.execute(f"ALTER DATABASE {name}_away RENAME TO {name}")
            await admin.close()
            await self.ledger.ping()


@pytest.fixture
async def desk(server: Postgres, dsn: str, world: World, tmp_path: Path) -> AsyncIterator[Desk]:
    """A gateway that knows one caller, whose add-on covers Great Britain."""
    await world.add_licence()
    await world.add_licence(sku=Sku.EXTENDED_DIALOUT_US_CA)
    async with world.provisioning.change(actor="test") as change:
        choices = Choices(addon_regions=frozenset({Region("GB")}))
        await change.policy_put(world.tenant_id, choices, NOON)
    async with db.pool(settings(dsn)) as pool:
        desk = Desk(world=world, server=server, pool=pool, dsn=dsn, directory=tmp_path)
        await desk.know()
        yield desk


async def test_who_is_known_is_granted_until_the_bounds_are_reached(desk: Desk) -> None:
    """So many calls, and the same request again is the same grant."""
    request = desk.world.request()
    async with desk.away():
        granted = await desk.ask(request)
        again = await desk.ask(request)
        other = await desk.ask(replace(request, conference_id="room-1", number_typed="1"))
        await desk.ask()

        with pytest.raises(LedgerUnavailable, match="calls_of_organizer"):
            await desk.ask()

    assert granted == (RequestOutcome.RESERVED, DialOutState.RESERVED)
    assert again == (RequestOutcome.EXISTS, DialOutState.RESERVED)
    assert other[0] is RequestOutcome.EXISTS_WITH_DIFFERENT_TERMS


async def test_what_is_not_known_well_enough_is_not_granted(desk: Desk) -> None:
    """Another number, another meeting, facts that are old: nobody guesses."""
    asked = desk.world.request()
    async with desk.away():
        for strange in (
            replace(asked, number_typed="020 7946 0124"),
            replace(asked, conference_id="room-2"),
            replace(asked, initiator_id=None),
        ):
            with pytest.raises(LedgerUnavailable, match="not_known"):
                await desk.ask(strange)
        desk.clock.seconds = 901
        desk.grants.note_ledger(answers=True)
        with pytest.raises(LedgerUnavailable, match="not_known"):
            await desk.ask(asked)


async def test_what_the_facts_forbid_is_not_granted(desk: Desk) -> None:
    """A prefix that the tenant has blocked stays blocked, whoever is away."""
    async with desk.world.provisioning.change(actor="test") as change:
        await change.prefix_put(desk.world.tenant_id, "4420", PrefixEffect.BLOCK, note="")
    assert (await desk.ask())[0] is RequestOutcome.REFUSED

    async with desk.away():
        with pytest.raises(LedgerUnavailable, match="not_covered"):
            await desk.ask()


async def test_after_too_long_nothing_is_granted(desk: Desk) -> None:
    """Who is blocked meanwhile, and what has been used, nobody knows any more."""
    async with desk.away():
        desk.clock.seconds = 301
        assert not desk.grants.stand_in

        with pytest.raises(LedgerUnavailable, match="outage_too_long"):
            await desk.ask()


async def test_a_request_that_the_ledger_may_have_is_not_granted(desk: Desk) -> None:
    """It was asked of the ledger before: only that could say whether it was dialled."""
    request = desk.world.request()
    await desk.ask(request)
    async with desk.away():
        with pytest.raises(LedgerUnavailable, match="asked_before"):
            await desk.ask(request)


async def test_a_tenant_that_is_stuck_is_granted_nothing(desk: Desk, owner: db.Connection) -> None:
    """The ledger is there for everybody else, and would not know of what is granted."""
    hasty = GrantingLedger(desk.pool, grants=desk.grants, call_seconds_max=0.2)
    desk.admission = Admission(
        ledger=hasty,
        inquiry=Inquiry(ledger=hasty, trunks={MAIN_BRIDGE: Trunk()}),
        terms={MAIN_BRIDGE: TERMS},
        grants=desk.grants,
    )
    async with owner.transaction():
        await owner.execute("LOCK TABLE dialout.organizer")
        with pytest.raises(LedgerUnavailable, match="ledger_answers"):
            await desk.ask()


async def test_what_cannot_be_written_down_is_not_granted(desk: Desk) -> None:
    """A full disk: refused, and nothing of it remains; with room again it is granted."""
    request = desk.world.request()
    # pytest keeps the log in a file, too, which the disk would be full for.
    async with desk.away():
        with capture_logs(), full_disk(0), pytest.raises(LedgerUnavailable, match="not_written"):
            await desk.ask(request)
        assert desk.grants.held(request.key) is None

        assert (await desk.ask(request))[0] is RequestOutcome.RESERVED
        with capture_logs(), full_disk(0):
            assert not await desk.grants.release(request.key)


async def test_what_was_let_dial_is_booked_after_a_crash_with_all_that_was_seen(
    desk: Desk,
) -> None:
    """Answered, joined and ended before the crash: the journal alone settles it."""
    over, unused = desk.world.request(), desk.world.request()
    async with desk.away():
        for request in (over, unused):
            await desk.ask(request)
        assert await desk.grants.release(over.key)
        await desk.ledger.answered(over.key, NOON)
        await desk.ledger.joined(over.key, NOON + timedelta(seconds=1))
        with pytest.raises(LedgerUnavailable):
            await desk.ledger.settle(
                over.key,
                answered_at=NOON,
                ended_at=NOON + timedelta(milliseconds=41_500),
                hangup_cause=16,
                disposition=Disposition.ANSWERED,
                evidence="events",
            )
        desk = desk.again()
        await desk.grants.open()
    await desk.grants.book()

    booked = await desk.world.ledger.dial_out(over.key)
    assert booked is not None
    assert booked.granted
    assert (booked.billable_seconds, booked.evidence) == (42, "events")
    assert booked.joined_at == NOON + timedelta(seconds=1)
    assert await desk.world.ledger.dial_out(unused.key) is None
    assert await desk.world.ledger.check() == ()
    assert [path.stat().st_size for path in desk.directory.iterdir()] == [0]


async def test_what_was_never_let_dial_is_forgotten(desk: Desk) -> None:
    """Asterisk did not take it: there is nothing to book, and its place is free again."""
    request = desk.world.request()
    async with desk.away():
        await desk.ask(request)
        outcome, _ = await desk.ledger.void(
            request.key,
            at=NOON,
            hangup_cause=0,
            disposition=Disposition.FAILED,
            only_if_unclaimed=False,
            evidence="not_originated",
        )
    await desk.grants.book()

    assert outcome is VoidOutcome.RELEASED
    assert desk.grants.unbooked == 0
    assert await desk.world.ledger.dial_out(request.key) is None


async def test_a_crash_between_booking_and_journal_books_once(desk: Desk) -> None:
    """The ledger has it, the journal does not know: it is asked again, and nothing is doubled."""
    request = desk.world.request()
    async with desk.away():
        await desk.ask(request)
        await desk.grants.release(request.key)
    [path] = desk.directory.iterdir()
    lines = path.read_bytes()
    await desk.grants.book()
    crash(desk.journal)
    path.write_bytes(lines)
    desk = replace(desk)
    await desk.grants.open()
    await desk.grants.book()

    assert desk.grants.unbooked == 0
    assert (await desk.world.balance(SourceKind.ADDON)).reserved == 600 + TERMS.talk_seconds_max
    assert await desk.world.ledger.check() == ()


async def test_a_grant_that_is_cancelled_while_its_release_is_written_is_not_forgotten(
    desk: Desk,
) -> None:
    """It may dial by then, and whoever cancels it hears so: it is booked, not nobody's."""
    request = desk.world.request()
    async with desk.away():
        await desk.ask(request)
        with desk.busy_disk():
            releasing = asyncio.create_task(desk.grants.release(request.key))
            cancelling = asyncio.create_task(desk.cancel(request))
            await asyncio.wait({releasing, cancelling}, timeout=0.1)
        may_dial, cancelled = await releasing, await cancelling
    await desk.grants.book()

    assert may_dial
    assert cancelled is VoidOutcome.RELEASED
    booked = await desk.world.ledger.dial_out(request.key)
    assert booked is not None
    assert booked.state is DialOutState.RELEASED


async def test_a_grant_that_was_cancelled_is_not_let_dial(desk: Desk) -> None:
    """Before its channel is there, or while that is asked about: nothing of it is in any book."""
    before, meanwhile = desk.world.request(), desk.world.request()
    async with desk.away():
        for request in (before, meanwhile):
            await desk.ask(request)
        await desk.cancel(before)
        with desk.busy_disk():
            writing = asyncio.create_task(desk.ledger.joined(meanwhile.key, NOON))
            cancelling = asyncio.create_task(desk.cancel(meanwhile))
            releasing = asyncio.create_task(desk.grants.release(meanwhile.key))
            await asyncio.wait({writing, cancelling, releasing}, timeout=0.1)

        assert not await desk.grants.release(before.key)
        assert not await releasing
        await asyncio.gather(writing, cancelling)
    assert desk.grants.unbooked == 0


async def test_a_grant_lets_one_channel_dial(desk: Desk) -> None:
    """Whoever comes to the gate once more is not let on."""
    request = desk.world.request()
    async with desk.away():
        await desk.ask(request)
        claim = desk.grants.claim(request.key)
        assert claim is not None

        assert claim.granted
        assert await desk.grants.release(request.key)
        assert not await desk.grants.release(request.key)


async def test_who_cancels_late_does_not_end_a_call_that_was_let_dial(desk: Desk) -> None:
    """After a crash it would be given back, however long it lasts."""
    request = desk.world.request()
    async with desk.away():
        await desk.ask(request)
        await desk.grants.release(request.key)

        assert await desk.cancel(request) is VoidOutcome.RELEASED
        desk = desk.again()
        await desk.grants.open()
    await desk.grants.book()

    booked = await desk.world.ledger.dial_out(request.key)
    assert booked is not None
    assert booked.state is DialOutState.RELEASED


async def test_a_grant_that_nobody_let_dial_in_time_expires(desk: Desk) -> None:
    """Its channel never came: its place is free again, while the ledger is still away."""
    requests = [desk.world.request() for _ in range(2)]
    async with desk.away():
        for request in requests:
            await desk.ask(request)
        await desk.grants.book()
        assert desk.grants.unbooked == 2
        desk.clock.seconds = 9
        await desk.grants.book()

        assert desk.grants.unbooked == 0
        assert (await desk.ask())[0] is RequestOutcome.RESERVED


async def test_an_id_is_granted_once_for_good(desk: Desk) -> None:
    """Cancelled, the same request is not granted again: its channel may still be there."""
    request = desk.world.request()
    async with desk.away():
        await desk.ask(request)
        await desk.cancel(request)

        with pytest.raises(LedgerUnavailable, match="asked_before"):
            await desk.ask(request)


async def test_what_the_ledger_has_is_known_to_a_gateway_that_started_since(desk: Desk) -> None:
    """It was dialled and settled before: its record is gone, and only its id tells."""
    request = desk.world.request()
    await desk.ask(request)
    await desk.ledger.claim(request.key, request.key.gate_uniqueid, NOON)
    await desk.ledger.settle(
        request.key,
        answered_at=NOON,
        ended_at=NOON + timedelta(seconds=5),
        hangup_cause=16,
        disposition=Disposition.ANSWERED,
        evidence="events",
    )
    desk = desk.again()
    await desk.know()
    async with desk.away():
        with pytest.raises(LedgerUnavailable, match="asked_before"):
            await desk.ask(request)


async def test_nothing_is_granted_until_the_ids_of_late_are_known(desk: Desk) -> None:
    """While no link was up, others may have dialled: only the ledger can say what."""
    async with desk.away():
        assert desk.grants.stand_in
        desk.grants.note_link()

        assert not desk.grants.stand_in
        with pytest.raises(LedgerUnavailable, match="ids_unknown"):
            await desk.ask()
        await desk.grants.book()
        assert not desk.grants.stand_in
    await desk.grants.book()
    async with desk.away():
        assert (await desk.ask())[0] is RequestOutcome.RESERVED


async def test_more_ids_than_are_remembered_are_granted_nothing(desk: Desk) -> None:
    """Nobody could say which were asked for before, until they are too old to be asked again."""
    request = desk.world.request()
    await desk.ask(request)
    for _ in range(KEYS_MAX):
        desk.grants.note_key(desk.world.request().key)
    async with desk.away():
        with pytest.raises(LedgerUnavailable, match="ids_unknown"):
            await desk.ask(request)
    desk.clock.seconds = BOUNDS.ids_seconds + 1
    await desk.know()
    async with desk.away():
        assert (await desk.ask())[0] is RequestOutcome.RESERVED


async def test_a_call_that_asterisk_may_have_forgotten_is_not_let_dial(desk: Desk) -> None:
    """It was at the gate before Asterisk began: with that one died what would tell of it."""
    seen, unseen = desk.world.request(), desk.world.request()
    desk.clock.seconds = 100
    desk.grants.note_gate(seen.key)
    desk.clock.seconds = 200

    assert desk.is_first(seen, uptime_seconds=101)
    assert not desk.is_first(seen, uptime_seconds=99)
    assert desk.is_first(unseen, uptime_seconds=99)
    assert not desk.grants.is_first(seen.key, granted=True, uptime_seconds=None)


async def test_after_an_outage_with_a_restart_of_asterisk_others_book_first(desk: Desk) -> None:
    """What they granted before the restart nothing else tells of; an older Asterisk would."""
    request = desk.world.request()
    desk.clock.seconds = 100
    async with desk.away():
        desk.clock.seconds = 200
        desk.grants.note_key(request.key)

    assert desk.is_first(request, uptime_seconds=101)
    assert not desk.is_first(request, uptime_seconds=99)
    assert desk.grants.is_first(request.key, granted=True, uptime_seconds=99)
    desk.clock.seconds += UNBOOKED_SECONDS + 1
    assert desk.is_first(request, uptime_seconds=99)
    assert not desk.is_first(request, uptime_seconds=10)
    desk.clock.seconds += BOUNDS.ids_seconds
    assert desk.is_first(request, uptime_seconds=10)


async def test_a_gateway_that_began_without_a_ledger_knows_of_no_older_asterisk(
    desk: Desk,
) -> None:
    """For how long others granted calls it cannot say, so it waits until they have booked."""
    request = desk.world.request()
    desk = desk.again()
    async with desk.away():
        pass

    assert not desk.is_first(request, uptime_seconds=100)
    desk.clock.seconds += UNBOOKED_SECONDS + 1
    assert desk.is_first(request, uptime_seconds=100)


async def test_what_another_process_let_dial_is_not_let_dial_on_a_claim(desk: Desk) -> None:
    """Its journal was found: whatever the ledger or we have granted, the call had its INVITE."""
    dialled, both = desk.world.request(), desk.world.request()
    other = replace(desk)
    await other.know()
    async with desk.away():
        with pytest.raises(LedgerUnavailable):
            await other.ledger.ping()
        for request in (dialled, both):
            await other.ask(request)
            await other.grants.release(request.key)
        await desk.ask(both)
        crash(other.journal)
        await desk.grants.open()

        assert not desk.is_first(dialled, uptime_seconds=1000)
        assert not await desk.grants.release(both.key)
    await desk.grants.book()
    for request in (dialled, both):
        booked = await desk.world.ledger.dial_out(request.key)
        assert booked is not None
        assert booked.granted


async def test_one_journal_that_cannot_be_read_keeps_no_other_from_being_booked(
    desk: Desk,
) -> None:
    """What was taken in before it is booked, and nothing of it is lost from the disk."""
    request = desk.world.request()
    async with desk.away():
        await desk.ask(request)
        await desk.grants.release(request.key)
        desk = desk.again()
        (desk.directory / f"{'z' * 32}.journal").mkdir()
        with capture_logs() as logs:
            await desk.grants.open()
            await desk.grants._take_in()
    await desk.grants.book()

    assert [line["event"] for line in logs].count("grant.journal_failed") == 1
    assert await desk.world.ledger.dial_out(request.key) is not None


async def test_what_cannot_be_booked_stays_on_the_disk_and_is_counted(desk: Desk) -> None:
    """A ledger that was put back to an earlier day does not know the tenant of a call."""
    left, call = Journal(desk.directory), grant()
    left.append([Granted(grant=call), Released(key=call.key, at=NOON)])
    crash(left)
    request = desk.world.request()
    async with desk.away():
        await desk.ask(request)
        await desk.grants.release(request.key)
        await desk.grants.open()

    await desk.grants.book()
    await desk.grants.book()

    assert desk.grants.unbooked == 1
    assert await desk.world.ledger.dial_out(request.key) is not None
    crash(desk.journal)
    assert call.key in Journal(desk.directory).take_in()


async def test_with_grants_turned_off_what_is_left_is_booked_and_nothing_granted(
    desk: Desk,
) -> None:
    """The directory is still there: what lies in it is not nobody's."""
    request = desk.world.request()
    async with desk.away():
        await desk.ask(request)
        await desk.grants.release(request.key)
    crash(desk.journal)
    desk = replace(desk, bounds=replace(BOUNDS, sources=frozenset()))
    await desk.grants.open()
    await desk.know()
    async with desk.away():
        assert not desk.grants.stand_in
        with pytest.raises(LedgerUnavailable, match="no_sources"):
            await desk.ask()

    booked = await desk.world.ledger.dial_out(request.key)
    assert booked is not None
    assert booked.granted
