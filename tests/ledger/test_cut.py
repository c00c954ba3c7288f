"""Every function called twice, or cut off anywhere, leaves the same state as called once.

A connection is cut by the server at each row that a call writes, and at its commit; and by the
network at each answer, so that the client never learns whether its call was done. Whatever
happens, the books are as before or as after, and asking again makes them as after.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Final, Self
from urllib.parse import parse_qs, quote, urlsplit
from uuid import UUID

import pytest

from gateway import db
from gateway.core.attendance import DropReason
from gateway.core.choices import Choices, Confirmation, MeetingPermission, Stance
from gateway.core.dial_out import MAIN_BRIDGE, CoolDown, DialOutRequest
from gateway.core.e164 import Region
from gateway.core.facts import DialOutPermission, OrganizerId, Sku
from gateway.core.key import DialOutKey
from gateway.core.limits import LimitKind, LimitMode, LimitScope, LimitTerms
from gateway.core.outage import Outage, OutageKind
from gateway.core.rating import Micros, Seconds
from gateway.core.reasons import Reason
from gateway.ledger import (
    DueEvent,
    LastProof,
    Ledger,
    LedgerUnavailable,
    LimitKey,
    Months,
    Outbox,
    Provisioning,
    Reports,
)
from gateway.ledger.provisioning import Change
from gateway.ledger.provisioning_answers import Channel, PrefixEffect, Segment
from tests.ledger.conftest import settings
from tests.ledger.test_rights import GATEWAY, PROVISIONER
from tests.ledger.world import (
    ACTOR,
    CREDITS,
    LONDON,
    LONDON_ROW,
    NOON,
    ORGANIZER,
    POOL_THEN_CREDITS,
    TERMS,
    YEAR_BEFORE,
    World,
)

MINUTE: Final = timedelta(minutes=1)
BOB: Final = OrganizerId("bob@example.com")
HOLDER: Final = UUID(int=1)
OTHER: Final = UUID(int=2)
LIMIT: Final = LimitKey(scope=LimitScope.ORGANIZER, subject=BOB, kind=LimitKind.CALLS_A_MINUTE)

COOLING: Final = replace(
    TERMS,
    cool_down=CoolDown(attempts=5, window_seconds=Seconds(600), quiet_seconds=Seconds(600)),
)

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OWN: Final = re.compile(r'"(written_at|digest|origin|version_id|deck_id)": [^,}]+')
"""What is another each time that a thing is done: clocks, digests over them, and serials."""
_AUDITED_AT: Final = re.compile(r'"at": [^,}]+')

_CUTTER: Final = """
    CREATE FUNCTION public.cut() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    AS $$
    DECLARE
        v_left integer := nullif(current_setting('cut.after', true), '')::integer - 1;
    BEGIN
        IF v_left = 0 THEN
            PERFORM pg_terminate_backend(pg_backend_pid());
            PERFORM pg_sleep(60);
        END IF;
        PERFORM set_config('cut.after', v_left::text, false);
        RETURN null;
    END
    $$;
    CREATE FUNCTION public.cut_at_commit() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    AS $$
    BEGIN
        IF current_setting('cut.at_commit', true) = 'yes' THEN
            PERFORM pg_terminate_backend(pg_backend_pid());
            PERFORM pg_sleep(60);
        END IF;
        RETURN null;
    END
    $$;
    DO $$
    DECLARE
        v_table regclass;
    BEGIN
        FOR v_table IN
            SELECT c.oid FROM pg_class AS c
            WHERE c.relnamespace = 'dialout'::regnamespace AND c.relkind = 'r'
        LOOP
            EXECUTE format(
                'CREATE TRIGGER zz_cut AFTER INSERT OR UPDATE OR DELETE ON %s '
                'FOR EACH ROW EXECUTE FUNCTION public.cut()',
                v_table
            );
            EXECUTE format(
                'CREATE CONSTRAINT TRIGGER zz_cut_at_commit AFTER INSERT OR UPDATE OR DELETE '
                'ON %s DEFERRABLE INITIALLY DEFERRED '
                'FOR EACH ROW EXECUTE FUNCTION public.cut_at_commit()',
                v_table
            );
        END LOOP;
    END
    $$
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A tenant in the midst of its business, and one way to the database."""

    world: World
    outbox: Outbox
    months: Months
    reports: Reports
    reserved: DialOutKey
    released: DialOutKey
    answered: DialOutKey
    fresh: DialOutRequest
    recharge_id: UUID
    event: DueEvent

    @property
    def ledger(self) -> Ledger:
        """Return the ledger."""
        return self.world.ledger

    @property
    def tenant_id(self) -> UUID:
        """Return the tenant."""
        return self.world.tenant_id

    async def change(self, what: Callable[[Change], Awaitable[object]]) -> None:
        """Change one thing of the tenant."""
        async with self.world.provisioning.change(actor=ACTOR) as change:
            await what(change)

    def by(self, pool: db.Pool) -> Self:
        """Return the same scene, seen by another way."""
        world = replace(
            self.world,
            ledger=Ledger(pool, call_seconds_max=20.0),
            provisioning=Provisioning(pool, call_seconds_max=20.0),
        )
        return replace(
            self,
            world=world,
            outbox=Outbox(pool, call_seconds_max=20.0),
            months=Months(pool, call_seconds_max=20.0),
            reports=Reports(pool, call_seconds_max=20.0),
        )


Act = Callable[[Scene], Awaitable[object]]


def _change(what: Callable[[Change, Scene], Awaitable[object]]) -> Act:
    """Return the act of changing one thing."""
    return lambda scene: scene.change(lambda change: what(change, scene))


async def _reserve(scene: Scene) -> None:
    await scene.ledger.reserve(
        scene.fresh,
        LONDON,
        POOL_THEN_CREDITS,
        scene.world.rate,
        COOLING,
        '"test"',
        NOON,
        NOON + MINUTE,
    )


async def _rehearse(scene: Scene) -> None:
    await scene.ledger.rehearse(
        scene.tenant_id, ORGANIZER, "room-1", LONDON, CREDITS, scene.world.rate, COOLING, NOON
    )


async def _refuse(scene: Scene) -> None:
    await scene.ledger.refuse(
        scene.fresh, LONDON, Reason.TENANT_SUSPENDED, '"test"', NOON, blocks_organizer=True
    )


async def _settle(scene: Scene) -> None:
    await scene.world.settle(scene.answered, 200_500)


async def _check(scene: Scene) -> None:
    await scene.ledger.check_month(scene.tenant_id, NOON.replace(day=1, hour=0))


async def _proof_claim(scene: Scene) -> None:
    await scene.ledger.proof_claim(OTHER, NOON + 60 * MINUTE, every=MINUTE, lease_seconds=60)


async def _deck(change: Change, _scene: Scene) -> None:
    deck_rows = [LONDON_ROW, replace(LONDON_ROW, prefix="33")]
    await change.rate_deck_put("another", "EUR", deck_rows, NOON)


async def _gap_calls(scene: Scene) -> None:
    _ = [call async for call in scene.reports.gap_calls(OUTAGE.outage_id, scene.tenant_id)]


OUTAGE: Final = Outage(
    outage_id=OTHER,
    bridge=MAIN_BRIDGE,
    kind=OutageKind.LINK,
    began_at=NOON,
    ended_at=NOON + MINUTE,
    detail="lost",
)
PROOF: Final = LastProof(checked_at=NOON, seconds=1, findings={})

GATEWAYS: Final[dict[str, Act]] = {
    "answered": lambda s: s.ledger.answered(s.released, NOON + MINUTE),
    "charge_micros": lambda s: s.ledger.charge(Seconds(61), s.world.rate),
    "claim": lambda s: s.ledger.claim(s.reserved, "gate", NOON),
    "destination_facts": lambda s: s.ledger.destination_facts(s.tenant_id, LONDON, NOON),
    "dropped": lambda s: s.ledger.dropped(s.answered, DropReason.ALONE, NOON + MINUTE),
    "extend": lambda s: s.ledger.extend(s.answered, slices=1, at=NOON + MINUTE),
    "gateway_serves": lambda s: s.ledger.gateway_serves(
        MAIN_BRIDGE, HOLDER, NOON, stops=False, beat_seconds=10
    ),
    "grant_book": lambda s: s.ledger.grant_book(s.world.grant(s.fresh, terms=COOLING)),
    "inbound_rate": lambda s: s.ledger.inbound_rate(s.tenant_id, LONDON, NOON),
    "is_released": lambda s: s.ledger.is_released(s.answered.gate_uniqueid, MAIN_BRIDGE),
    "joined": lambda s: s.ledger.joined(s.answered, NOON + MINUTE),
    "ledger_check_heads": lambda s: s.ledger.check_heads(s.tenant_id, []),
    "ledger_check_month": _check,
    "ledger_check_sources": lambda s: s.ledger.check_sources(s.tenant_id),
    "ledger_heads": lambda s: s.ledger.heads(s.tenant_id),
    "month_list": lambda s: s.months.months(),
    "months_filed": lambda s: s.ledger.months(s.tenant_id),
    "months_open": lambda s: s.ledger.months_open(NOON + timedelta(days=3650)),
    "numbers_forget": lambda s: s.ledger.forget_old_numbers(NOON + timedelta(days=100), limit=100),
    "organizer_facts": lambda s: s.ledger.organizer_facts(s.fresh, NOON),
    "organizer_tenants": lambda s: s.ledger.organizer_tenants(ORGANIZER),
    "outage_note": lambda s: s.ledger.outage_note(OUTAGE),
    "outbox_claim": lambda s: s.outbox.claim(
        limit=9, until=NOON + 9 * MINUTE, at=NOON + 5 * MINUTE
    ),
    "outbox_delivered": lambda s: s.outbox.delivered(s.event, NOON + MINUTE),
    "outbox_failed": lambda s: s.outbox.failed(
        s.event, fault="refused", next_at=NOON + 5 * MINUTE, at=NOON + MINUTE
    ),
    "outbox_sweep": lambda s: s.outbox.sweep(NOON + timedelta(days=350)),
    "proof_claim": _proof_claim,
    "proof_end": lambda s: s.ledger.proof_end(HOLDER, PROOF),
    "proof_release": lambda s: s.ledger.proof_release(HOLDER),
    "rate_deck_find": lambda s: s.ledger.rate_deck_find("none"),
    "recent_number_forget": lambda s: s.ledger.forget_number(s.tenant_id, "carol"),
    "recent_numbers": lambda s: s.ledger.recent_numbers(s.tenant_id, "carol"),
    "refuse": _refuse,
    "rehearse": _rehearse,
    "reserve": _reserve,
    "seen": lambda s: s.ledger.seen(
        s.tenant_id, [s.answered.dial_out_id, s.released.dial_out_id], NOON + MINUTE
    ),
    "settle": _settle,
    "take_over": lambda s: s.ledger.take_over(s.released, s.released.gate_uniqueid, NOON),
    "void": lambda s: s.world.void(s.released),
}
PROVISIONERS: Final[dict[str, Act]] = {
    "callee_clear": _change(lambda c, _: c.callee_clear(LONDON.e164)),
    "credits_add": _change(
        lambda c, s: c.credits_add(s.tenant_id, s.recharge_id, Micros(70_000), NOON + MINUTE)
    ),
    "gap_calls": _gap_calls,
    "licence_assign": _change(
        lambda c, s: c.licence_assign(
            s.tenant_id,
            BOB,
            Sku.AUDIO_CONFERENCING,
            valid_from=YEAR_BEFORE,
            valid_to=None,
            channel=Channel.CSP,
            segment=Segment.COMMERCIAL,
            at=NOON,
        )
    ),
    "licence_end": _change(
        lambda c, s: c.licence_end(
            s.tenant_id,
            ORGANIZER,
            Sku.AUDIO_CONFERENCING,
            valid_from=YEAR_BEFORE,
            valid_to=NOON,
            at=NOON,
        )
    ),
    "limit_put": _change(
        lambda c, s: c.limit_put(
            s.tenant_id,
            LimitScope.TENANT,
            "",
            LimitTerms(kind=LimitKind.CONCURRENT_CALLS, most=3, mode=LimitMode.REFUSE),
        )
    ),
    "limit_remove": _change(lambda c, s: c.limit_remove(s.tenant_id, LIMIT)),
    "meeting_put": _change(
        lambda c, s: c.meeting_put(
            s.tenant_id,
            "room-2",
            to_self=MeetingPermission.EVERYONE,
            to_third_party=MeetingPermission.ORGANIZER,
            organizer_id=ORGANIZER,
        )
    ),
    "meeting_remove": _change(lambda c, s: c.meeting_remove(s.tenant_id, "room-1")),
    "organizer_block_add": _change(
        lambda c, s: c.organizer_block(s.tenant_id, ORGANIZER, because="fraud", at=NOON)
    ),
    "organizer_block_lift": _change(
        lambda c, s: c.organizer_unblock(s.tenant_id, BOB, because="a mistake", at=NOON + MINUTE)
    ),
    "organizer_put": _change(
        lambda c, s: c.organizer_put(
            s.tenant_id,
            BOB,
            display_name="Robert",
            region=Region("GB"),
            permission=DialOutPermission.ANY,
        )
    ),
    "outbox_list": lambda s: s.world.provisioning.events(),
    "outbox_retry": _change(lambda c, s: c.outbox_retry(s.event.event_id, NOON)),
    "policy_put": _change(
        lambda c, s: c.policy_put(s.tenant_id, Choices(toll_free=Stance.ALLOW), NOON)
    ),
    "prefix_put": _change(
        lambda c, s: c.prefix_put(s.tenant_id, "4477", PrefixEffect.BLOCK, note="")
    ),
    "prefix_remove": _change(lambda c, s: c.prefix_remove(s.tenant_id, "4478", PrefixEffect.BLOCK)),
    "purchase_add": _change(
        lambda c, s: c.purchase_add(
            s.tenant_id,
            OTHER,
            Sku.AUDIO_CONFERENCING,
            quantity=2,
            channel=Channel.CSP,
            segment=Segment.COMMERCIAL,
            valid_from=YEAR_BEFORE,
            valid_to=None,
            at=NOON,
        )
    ),
    "rate_deck_put": _change(_deck),
    "rate_deck_rates": lambda s: s.world.provisioning.rates(s.world.rate.deck_id, NOON),
    "rate_draft": _change(_deck),
    "recharge_failed": _change(
        lambda c, s: c.recharge_failed(s.tenant_id, s.recharge_id, reason="no card", at=NOON)
    ),
    "recharge_put": _change(
        lambda c, s: c.recharge_put(
            s.tenant_id,
            amount_micros=Micros(90_000),
            trigger_micros=Micros(300_000),
            backoff_seconds=Seconds(60),
            at=NOON,
        )
    ),
    "recharge_remove": _change(lambda c, s: c.recharge_remove(s.tenant_id)),
    "tenant_create": _change(
        lambda c, _: c.tenant_create(
            OTHER, name="New", time_zone="Asia/Tokyo", currency="EUR", rate_deck=None
        )
    ),
    "tenant_lock": _change(lambda c, s: c.tenant_locked(s.tenant_id)),
    "tenant_update": _change(
        lambda c, s: c.tenant_update(s.tenant_id, suspended=True, rate_deck=None)
    ),
}
ACTS: Final = GATEWAYS | PROVISIONERS


@pytest.fixture
async def scene(pool: db.Pool, owner: db.Connection, world: World) -> Scene:
    """A tenant with calls in every state, low credits, an event to tell of, and a cutter."""
    await world.add_licence()
    await world.add_licence(sku=Sku.EXTENDED_DIALOUT_US_CA)
    await world.add_credits(200_000)
    await world.add_organizer(BOB)
    async with world.provisioning.change(actor=ACTOR) as change:
        await change.meeting_put(
            world.tenant_id,
            "room-1",
            to_self=MeetingPermission.EVERYONE,
            to_third_party=MeetingPermission.EVERYONE,
        )
        await change.organizer_block(world.tenant_id, BOB, because="fraud", at=NOON)
        await change.prefix_put(world.tenant_id, "4478", PrefixEffect.BLOCK, note="")
        # So that it is by staying that somebody accepts a call.
        never = Choices(confirmation=Confirmation.NEVER)
        await change.policy_put(world.tenant_id, never, NOON)
        terms = LimitTerms(kind=LIMIT.kind, most=50, mode=LimitMode.OBSERVE)
        await change.limit_put(world.tenant_id, LIMIT.scope, LIMIT.subject, terms)
        await change.recharge_put(
            world.tenant_id,
            amount_micros=Micros(70_000),
            trigger_micros=Micros(300_000),
            backoff_seconds=Seconds(600),
            at=NOON,
        )
    [recharge] = await world.provisioning.recharges(world.tenant_id)
    outbox = Outbox(pool, call_seconds_max=20.0)
    [event] = await outbox.claim(limit=1, until=NOON + MINUTE, at=NOON)
    await world.ledger.proof_claim(HOLDER, NOON, every=MINUTE, lease_seconds=60)
    _, reserved = await world.reserve(None, CREDITS, seconds=120)
    await _called(world)
    answered = await _answered(world)
    released = await world.released(POOL_THEN_CREDITS, seconds=600)
    await owner.execute(_CUTTER)
    return Scene(
        world=world,
        outbox=outbox,
        months=Months(pool, call_seconds_max=20.0),
        reports=Reports(pool, call_seconds_max=20.0),
        reserved=reserved.request.key,
        released=released,
        answered=answered,
        fresh=world.request(),
        recharge_id=recharge.recharge_id,
        event=event,
    )


async def _called(world: World) -> None:
    """Have a participant called who may want that forgotten."""
    request = replace(world.request(), initiator_id="carol")
    await world.reserve(request, CREDITS, seconds=60, gate_uniqueid="gate")
    await world.ledger.answered(request.key, NOON)
    await world.ledger.joined(request.key, NOON)
    await world.settle(request.key, 1000)


async def _answered(world: World) -> DialOutKey:
    """Return a call whose first slice is from two sources, and which can go on."""
    request = world.request()
    _, dial_out = await world.ledger.reserve(
        request,
        LONDON,
        POOL_THEN_CREDITS,
        world.rate,
        replace(COOLING, slice_seconds=Seconds(300), talk_seconds_max=Seconds(4000)),
        '"test"',
        NOON,
        NOON + MINUTE,
        "gate",
    )
    await world.ledger.answered(dial_out.request.key, NOON)
    return dial_out.request.key


async def rows(owner: db.Connection) -> list[tuple[str, str]]:
    """Return everything that is written, table by table, and which tables there are."""
    tables = await owner.fetch(
        """
        SELECT c.relname, c.relispartition FROM pg_class AS c
        WHERE c.relnamespace = 'dialout'::regnamespace AND c.relkind IN ('r', 'p')
        """
    )
    found = await owner.fetch(
        " UNION ALL ".join(
            f"SELECT '{name}' AS name, to_jsonb(t)::text AS row FROM dialout.{name} AS t"
            for name, is_partition in tables
            if not is_partition
        )
    )
    return [*((name, "") for name, _ in tables), *((each["name"], each["row"]) for each in found)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """The database as it is, but for what is another each time that the same is done.

    ``known`` are the ids from before; those that the database has chosen since are all one.
    """

    owner: db.Connection
    known: frozenset[str]

    @classmethod
    async def of(cls, owner: db.Connection, scene: Scene) -> Self:
        """Return the books, with the ids that there are now or will be asked for."""
        there = {found for _, row in await rows(owner) for found in _UUID.findall(row)}
        return cls(
            owner=owner, known=frozenset({*there, str(scene.fresh.key.dial_out_id), str(OTHER)})
        )

    async def state(self) -> list[str]:
        """Return all rows of all tables."""
        return sorted(f"{name} {self._plain(name, row)}" for name, row in await rows(self.owner))

    def _plain(self, name: str, row: str) -> str:
        text = _OWN.sub("", row)
        if name.endswith("_audit"):
            text = _AUDITED_AT.sub("", text)
        return _UUID.sub(lambda found: found[0] if found[0] in self.known else "new", text)


async def act(dsn: str, scene: Scene, name: str) -> bool:
    """Do one thing on a connection of its own, and return whether it was answered."""
    async with db.pool(settings(dsn)) as pool:
        try:
            await ACTS[name](scene.by(pool))
        except LedgerUnavailable:
            return False
        return True


@asynccontextmanager
async def armed(owner: db.Connection, name: str, value: str) -> AsyncIterator[None]:
    """Have the cutter wait in every connection that is opened meanwhile."""
    database = await owner.fetchval("SELECT current_database()")
    await owner.execute(f"ALTER DATABASE {database} SET {name} TO '{value}'")
    yield
    await owner.execute(f"ALTER DATABASE {database} RESET {name}")


@dataclass(slots=True, kw_only=True)
class Wire:
    """Carries a connection to the server, and loses the answer of one number, and the wire."""

    socket: Path
    lost: int
    answers: int = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either end leaves, or the wire is cut."""
        from_server, to_server = await asyncio.open_unix_connection(self.socket)
        outward = asyncio.create_task(self._questions(reader, to_server))
        while answer := await from_server.read(2**16):
            self.answers += 1
            if self.answers == self.lost:
                break
            writer.write(answer)
        outward.cancel()
        await asyncio.gather(outward, return_exceptions=True)
        for end in (to_server, writer):
            end.transport.abort()

    async def _questions(
        self, reader: asyncio.StreamReader, to_server: asyncio.StreamWriter
    ) -> None:
        while question := await reader.read(2**16):
            to_server.write(question)


@asynccontextmanager
async def wire(dsn: str, directory: Path, lost: int) -> AsyncIterator[str]:
    """Lend a way to the database on which the answer of one number is lost."""
    [host] = parse_qs(urlsplit(dsn).query)["host"]
    end = Wire(socket=Path(host) / ".s.PGSQL.5432", lost=lost)
    server = await asyncio.start_unix_server(end.carry, directory / ".s.PGSQL.5432")
    async with server:
        yield dsn.replace(quote(host, safe=""), quote(str(directory), safe=""))


async def nobody_else(owner: db.Connection) -> None:
    """Return once no other connection is at work: what was cut off has ended."""
    async with asyncio.timeout(20):
        while await owner.fetchval(
            """
            SELECT count(*) FROM pg_stat_activity
            WHERE
                datname = current_database() AND pid <> pg_backend_pid()
                AND (state <> 'idle' OR backend_xid IS NOT NULL)
            """
        ):
            pass


@pytest.mark.parametrize("name", ACTS)
async def test_called_twice_it_is_done_once(
    dsn: str, owner: db.Connection, scene: Scene, name: str
) -> None:
    """Whoever got no answer asks again, and must not be billed or granted twice."""
    books = await Books.of(owner, scene)
    assert await act(dsn, scene, name)
    once = await books.state()

    assert await act(dsn, scene, name)

    assert await books.state() == once


@pytest.mark.parametrize("name", ACTS)
async def test_a_server_that_dies_leaves_nothing_half_done(
    dsn: str, owner: db.Connection, scene: Scene, name: str
) -> None:
    """It dies at the commit, then after one row, after two, until no row is left to die at."""
    books = await Books.of(owner, scene)
    before = await books.state()
    async with armed(owner, "cut.at_commit", "yes"):
        is_done = await act(dsn, scene, name)
    await nobody_else(owner)
    assert await books.state() == before
    writes = 0
    while not is_done:
        writes += 1
        async with armed(owner, "cut.after", str(writes)):
            is_done = await act(dsn, scene, name)
        await nobody_else(owner)
        assert is_done or await books.state() == before, f"cut at row {writes}"

    after = await books.state()
    assert (after == before) == (writes == 0)
    assert await act(dsn, scene, name)
    assert await books.state() == after


@pytest.mark.parametrize("name", ACTS)
async def test_an_answer_that_is_lost_can_be_asked_for_again(
    dsn: str, owner: db.Connection, scene: Scene, name: str, server_directory: Path
) -> None:
    """The first answer is lost, then the second, until none is; nobody knows what was done."""
    books = await Books.of(owner, scene)
    before = await books.state()
    directory = Path(mkdtemp(dir=server_directory))
    states = []
    answers = 0
    is_answered = False
    while not is_answered:
        answers += 1
        async with wire(dsn, directory, answers) as way:
            is_answered = await act(way, scene, name)
        await nobody_else(owner)
        states.append(await books.state())

    after = states[-1]
    assert states == [*[before] * states.count(before), *[after] * states.count(after)] or (
        before == after
    )
    assert await act(dsn, scene, name)
    assert await books.state() == after


async def test_no_function_is_left_out(owner: db.Connection) -> None:
    """Whoever writes a new function for a login says here what is done with it."""
    granted = {
        row["proname"]
        for row in await owner.fetch(
            """
            SELECT p.proname FROM pg_proc AS p
            WHERE
                p.pronamespace = 'dialout'::regnamespace
                AND p.prosecdef
                AND (
                    has_function_privilege($1, p.oid, 'EXECUTE')
                    OR has_function_privilege($2, p.oid, 'EXECUTE')
                )
            """,
            *(GATEWAY, PROVISIONER),
        )
    }

    assert granted == set(ACTS)
