"""What a login may do: the gateway's spends, the provisioner's provides, and nobody does more."""

from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import asyncpg
import pytest

from gateway import db
from gateway.core.choices import Choices, Stance
from gateway.core.facts import SourceKind
from gateway.lab.postgres import Postgres
from gateway.ledger import Ledger, LedgerUnavailable
from gateway.ledger.provisioning import Provisioning
from tests.ledger.conftest import settings
from tests.ledger.world import NOON, World

GATEWAY = "dialout_gateway"
PROVISIONER = "dialout_provisioner"

FUNCTIONS = {
    GATEWAY: {
        "answered",
        "charge_micros",
        "claim",
        "destination_facts",
        "dropped",
        "extend",
        "gateway_serves",
        "grant_book",
        "inbound_rate",
        "is_released",
        "joined",
        "ledger_check_heads",
        "ledger_check_month",
        "ledger_check_sources",
        "ledger_heads",
        "month_list",
        "months_filed",
        "months_open",
        "numbers_forget",
        "organizer_facts",
        "organizer_tenants",
        "outage_note",
        "outbox_claim",
        "outbox_delivered",
        "outbox_failed",
        "outbox_sweep",
        "proof_claim",
        "proof_end",
        "proof_release",
        "rate_deck_find",
        "recent_number_forget",
        "recent_numbers",
        "refuse",
        "rehearse",
        "reserve",
        "seen",
        "settle",
        "take_over",
        "void",
    },
    PROVISIONER: {
        "callee_clear",
        "credits_add",
        "gap_calls",
        "licence_assign",
        "licence_end",
        "limit_put",
        "limit_remove",
        "meeting_put",
        "meeting_remove",
        "organizer_block_add",
        "organizer_block_lift",
        "organizer_put",
        "outbox_list",
        "outbox_retry",
        "policy_put",
        "prefix_put",
        "prefix_remove",
        "purchase_add",
        "rate_deck_put",
        "rate_deck_rates",
        "rate_draft",
        "recharge_failed",
        "recharge_put",
        "recharge_remove",
        "tenant_create",
        "tenant_lock",
        "tenant_update",
    },
}
STEPS = {
    "addon_month_from",
    "allowance_used",
    "audit_change",
    "begun_seconds",
    "benefit_open",
    "benefit_recount",
    "benefit_units",
    "benefits_recount",
    "benefits_recount_due",
    "callee_accept",
    "callee_enter",
    "callee_stayed",
    "chain_lock",
    "cost_bound",
    "cost_micros",
    "cost_parts",
    "div_ceil",
    "draws_of",
    "entry_digest",
    "lots_free",
    "lots_open",
    "parts_of",
    "parts_reach",
    "parts_walk",
    "period_of",
    "period_start",
    "requested_at_of",
    "sources_recount",
    "stretches",
    "credits_standing",
    "credits_zero",
    "entry_append",
    "entry_digest_kept",
    "entry_exists",
    "event_append",
    "fund",
    "instant_or",
    "ledger_check_calls",
    "ledger_check_chain",
    "ledger_check_charges",
    "ledger_check_sets",
    "licence_needed",
    "licence_refusal",
    "limits_count",
    "limits_enter",
    "limits_forget",
    "limits_leave",
    "limits_left",
    "limits_standing",
    "local_day",
    "lot_bought",
    "month_attach",
    "month_carry",
    "month_detach",
    "month_is_open",
    "month_open",
    "month_refusal",
    "month_strays",
    "month_table",
    "month_tables",
    "months_lock",
    "months_sort",
    "parts_lock",
    "parts_settle",
    "parts_void",
    "prefixes_of",
    "rate_at",
    "rate_changes",
    "rate_decks_fault",
    "rate_draft_assert",
    "rate_in_force",
    "rate_draft_is",
    "recent_number_put",
    "recharge_mark",
    "recharge_request",
    "recharges_due",
    "reference_load",
    "refuse_change",
    "regions_of",
    "request_stored",
    "seconds_free",
    "seconds_payable",
    "sku_sold",
    "slice_append",
    "source_due",
    "source_short",
    "source_used",
    "sources_lock",
    "sources_open",
    "sources_recount_due",
    "sources_standing",
    "week_minute",
}
"""What only other functions call, the triggers, and the migration."""

VIEWS = {
    GATEWAY: {
        "balance",
        "dial_out_record",
        "dropped_call_list",
        "funding_part",
        "open_dial_out",
        "outage_call",
        "tenant_name",
    },
    PROVISIONER: {
        "audit_list",
        "block_list",
        "callee_list",
        "country_list",
        "auto_recharge_list",
        "credit_list",
        "licence_list",
        "limit_list",
        "meeting_list",
        "organizer_list",
        "outage_list",
        "policy_list",
        "prefix_list",
        "purchase_list",
        "rate_deck_list",
        "recharge_list",
        "standing_list",
        "tenant_list",
        "usage_call",
        "usage_kept",
        "usage_refusal",
    },
}


async def login(server: Postgres, dsn: str, group: str) -> AsyncIterator[str]:
    """Make a login that is a member of one group, and of nothing else."""
    owner = await asyncpg.connect(dsn)
    name = f"login_{uuid4().hex}"
    await owner.execute(f"CREATE ROLE {name} LOGIN IN ROLE {group}")
    yield server.dsn(dsn.split("/")[3].split("?")[0], user=name)
    await owner.execute(f"DROP ROLE {name}")
    await owner.close()


@pytest.fixture
async def gateway_login(server: Postgres, dsn: str) -> AsyncIterator[str]:
    """The way in of a gateway."""
    async for way_in in login(server, dsn, GATEWAY):
        yield way_in


@pytest.fixture
async def provisioner_login(server: Postgres, dsn: str) -> AsyncIterator[str]:
    """The way in of a provisioner."""
    async for way_in in login(server, dsn, PROVISIONER):
        yield way_in


@pytest.fixture(params=[GATEWAY, PROVISIONER])
async def limited(
    request: pytest.FixtureRequest, server: Postgres, dsn: str
) -> AsyncIterator[db.Connection]:
    """A connection with the rights of the one group, then of the other."""
    async for way_in in login(server, dsn, request.param):
        connection = await asyncpg.connect(way_in)
        yield connection
        await connection.close()


async def test_the_gateways_rights_are_enough(gateway_login: str, world: World) -> None:
    """A whole call and the check work with no right on any table."""
    await world.add_licence()
    async with db.pool(settings(gateway_login)) as pool:
        ledger = Ledger(pool, call_seconds_max=20.0)
        limited_world = replace(world, ledger=ledger)
        _, dial_out = await limited_world.reserve()
        await ledger.claim(dial_out.request.key, "a-gate", dial_out.requested_at)
        await ledger.answered(dial_out.request.key, dial_out.requested_at)
        await limited_world.settle(dial_out.request.key, 5000)

        assert (await limited_world.balance(SourceKind.POOL)).used == 5
        assert await ledger.open_dial_outs() == ()
        assert await ledger.check() == ()


async def test_the_provisioners_rights_are_enough(
    provisioner_login: str, ledger: Ledger, world: World
) -> None:
    """Everything can be provided and listed, and what was granted before is counted again."""
    await world.add_licence()
    await world.reserve()
    async with db.pool(settings(provisioner_login)) as pool:
        provisioning = Provisioning(pool, call_seconds_max=20.0)
        provided = await World.create(ledger, provisioning)
        await provided.add_licence()
        await provided.add_credits(500)
        async with provisioning.change(actor="ann") as change:
            await change.policy_put(world.tenant_id, Choices(toll_free=Stance.ALLOW), NOON)

        tenant_id = provided.tenant_id
        assert len(await provisioning.tenants()) == 2
        assert len(await provisioning.organizers(tenant_id)) == 1
        assert len(await provisioning.licences(tenant_id)) == 1
        assert len(await provisioning.credits(tenant_id)) == 1
        assert await provisioning.purchases(tenant_id) == ()
        assert await provisioning.meetings(tenant_id) == ()
        assert await provisioning.prefixes(tenant_id) == ()
        assert await provisioning.policy(tenant_id) == Choices()
        assert len(await provisioning.rate_decks()) == 2
        assert len(await provisioning.audit(tenant_id)) == 7


async def test_the_gateway_cannot_make_money(gateway_login: str, world: World) -> None:
    """Whoever breaks into it can spend what there is, and grant nothing."""
    async with db.pool(settings(gateway_login)) as pool:
        limited_world = replace(world, provisioning=Provisioning(pool, call_seconds_max=20.0))

        with pytest.raises(LedgerUnavailable, match="credits_add"):
            await limited_world.add_credits(1_000_000)
        with pytest.raises(LedgerUnavailable, match="licence_assign"):
            await limited_world.add_licence()


async def test_the_provisioner_cannot_call(provisioner_login: str, world: World) -> None:
    """Whoever breaks into it can place no call, and sees of calls what the reports tell."""
    await world.add_licence()
    async with db.pool(settings(provisioner_login)) as pool:
        limited_world = replace(world, ledger=Ledger(pool, call_seconds_max=20.0))

        with pytest.raises(LedgerUnavailable, match="reserve"):
            await limited_world.reserve()
        with pytest.raises(LedgerUnavailable, match="dial_out"):
            await limited_world.ledger.dial_outs(world.tenant_id, NOON)


@pytest.mark.parametrize("group", [GATEWAY, PROVISIONER])
async def test_a_group_may_what_is_listed_and_nothing_else(
    owner: db.Connection, group: str
) -> None:
    """Whoever writes a new function or view says here whose it is, or this fails."""
    functions = {
        row["proname"]: row["allowed"]
        for row in await owner.fetch(
            """
            SELECT p.proname, has_function_privilege($1, p.oid, 'EXECUTE') AS allowed
            FROM pg_proc AS p WHERE p.pronamespace = 'dialout'::regnamespace
            """,
            group,
        )
    }
    views = {
        row["relname"]
        for row in await owner.fetch(
            """
            SELECT c.relname FROM pg_class AS c
            WHERE c.relnamespace = 'dialout'::regnamespace
            AND c.relkind = 'v' AND has_table_privilege($1, c.oid, 'SELECT')
            """,
            group,
        )
    }

    assert {name for name, allowed in functions.items() if allowed} == FUNCTIONS[group]
    assert set(functions) == FUNCTIONS[GATEWAY] | FUNCTIONS[PROVISIONER] | STEPS
    assert views == VIEWS[group]


async def test_no_two_functions_share_a_name(owner: db.Connection) -> None:
    """Arguments that change would leave the old function beside the new one, with its rights."""
    doubled = await owner.fetch(
        """
        SELECT p.proname FROM pg_proc AS p WHERE p.pronamespace = 'dialout'::regnamespace
        GROUP BY p.proname HAVING count(*) > 1
        """
    )

    assert doubled == []


async def test_no_table_can_be_read_or_written(
    owner: db.Connection, limited: db.Connection
) -> None:
    """A login that is taken over can use the functions, but cannot forge the books."""
    tables = await owner.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'dialout'")

    assert len(tables) > 20
    for [table] in tables:
        for statement in (
            f"SELECT FROM dialout.{table}",
            f"INSERT INTO dialout.{table} DEFAULT VALUES",
            f"DELETE FROM dialout.{table}",
            f"TRUNCATE dialout.{table}",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await limited.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE dialout.mine ()",
        "CREATE FUNCTION dialout.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "UPDATE dialout.balance SET granted = 1",
        "DELETE FROM dialout.open_dial_out",
        "UPDATE dialout.policy_list SET premium = 'credits'",
        "DELETE FROM dialout.organizer_list",
        "SET ROLE dialout_owner",
        "SELECT dialout.reference_load('{}')",
        "SELECT dialout.entry_append(gen_random_uuid(), gen_random_uuid(), 'grant', now(), now())",
        "SELECT dialout.benefits_recount(gen_random_uuid(), 'audio_conferencing', now())",
        "SELECT dialout.parts_void(gen_random_uuid(), gen_random_uuid(), now(), now(), 'void')",
        "SELECT dialout.parts_lock(gen_random_uuid(), gen_random_uuid(), now())",
        "SELECT dialout.sources_lock(gen_random_uuid(), '{}')",
        "SELECT dialout.event_append(gen_random_uuid(), 'x', gen_random_uuid(), '{}', now())",
        "SELECT dialout.recharge_request(gen_random_uuid(), now())",
    ],
)
async def test_there_is_no_way_around_the_functions(limited: db.Connection, statement: str) -> None:
    """The steps of a function are closed on their own: granting minutes to oneself, say."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await limited.execute(statement)


async def test_strangers_have_no_rights_at_all(server: Postgres, dsn: str) -> None:
    """Everybody may execute a new function in PostgreSQL, unless somebody takes it away."""
    owner = await asyncpg.connect(dsn)
    name = f"stranger_{uuid4().hex}"
    await owner.execute(f"CREATE ROLE {name}")
    functions = await owner.fetch(
        """
        SELECT p.oid::regprocedure AS name
        FROM pg_proc AS p
        WHERE
            p.pronamespace = 'dialout'::regnamespace
            AND has_function_privilege($1, p.oid, 'EXECUTE')
        """,
        name,
    )
    usage = await owner.fetchval("SELECT has_schema_privilege($1, 'dialout', 'USAGE')", name)
    await owner.execute(f"DROP ROLE {name}")
    await owner.close()

    assert functions == []
    assert usage is False


async def test_what_runs_with_its_owners_rights_names_its_path(owner: db.Connection) -> None:
    """Else a caller's own schema could put its tables in the place of the ledger's."""
    loose = await owner.fetch(
        """
        SELECT p.oid::regprocedure
        FROM pg_proc AS p
        WHERE
            p.pronamespace = 'dialout'::regnamespace
            AND p.prosecdef
            AND p.proconfig IS DISTINCT FROM ARRAY['search_path=dialout, pg_temp']
        """
    )
    superusers = await owner.fetch(
        """
        SELECT p.oid::regprocedure
        FROM pg_proc AS p
        INNER JOIN pg_roles AS r ON p.proowner = r.oid
        WHERE p.pronamespace = 'dialout'::regnamespace AND (r.rolsuper OR r.rolcanlogin)
        """
    )

    assert loose == []
    assert superusers == []
