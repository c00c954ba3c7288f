"""Functions broken on purpose: the same histories must find each of them.

What is broken is a text of the real file, which is looked for first: so a mutation cannot be
left behind when the function changes.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from gateway import db
from gateway.ledger.provisioning import Provisioning
from tests.ledger.stateful import worker
from tests.ledger.stateful.history import put_decks

HISTORIES_MAX = 2000
STEPS = 50
SEED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """One text in the file of one function, and what stands there instead."""

    function: str
    right: str
    wrong: str


BREAKS: dict[str, Sequence[Break]] = {
    "the locks are removed": (
        Break(function="reserve", right="    FOR NO KEY UPDATE OF t;", wrong="    ;"),
        Break(function="sources_lock", right="    FOR NO KEY UPDATE;", wrong="    ;"),
    ),
    "the lock of the call is removed": (
        Break(
            function="extend",
            right="= requested_at_of(p_tenant_id, p_dial_out_id)\n    FOR NO KEY UPDATE;",
            wrong="= requested_at_of(p_tenant_id, p_dial_out_id);",
        ),
    ),
    "money is rounded down": (
        Break(
            function="div_ceil",
            right="(p_dividend + p_divisor - 1) / p_divisor",
            wrong="p_dividend / p_divisor",
        ),
    ),
    "months begin a day late": (
        Break(function="period_start", right="p_anchor_day - 1)", wrong="p_anchor_day)"),
    ),
    "months begin by the clock of UTC": (
        Break(
            function="benefit_open",
            right="period_of(t.time_zone, t.anchor_day",
            wrong="period_of('UTC', t.anchor_day",
        ),
    ),
    "the newest lot is used first": (
        Break(
            function="lots_open",
            right="ORDER BY s.valid_to, s.valid_from, s.source_id",
            wrong="ORDER BY s.valid_to DESC, s.valid_from, s.source_id",
        ),
    ),
    "lots do not lapse": (Break(function="lots_open", right=" AND p_at < s.valid_to", wrong=""),),
    "a slice can be had twice": (
        Break(
            function="extend",
            right="WHEN p_slice < v_call.slices THEN 'exists'",
            wrong="WHEN p_slice < 0 THEN 'exists'",
        ),
    ),
    "funds are added twice": (
        Break(
            function="credits_add",
            right="WHERE g.tenant_id = p_tenant_id AND g.grant_id = p_grant_id;\n    IF found THEN",
            wrong="WHERE g.tenant_id = p_tenant_id AND g.grant_id = p_grant_id;\n    IF false THEN",
        ),
    ),
    "the answer is charged in each stretch": (
        Break(
            function="cost_parts",
            right="v_cost := v_first.connect_fee_micros + div_ceil",
            wrong="v_cost := v_place * v_first.connect_fee_micros + div_ceil",
        ),
    ),
    "the second at the boundary is the last month's": (
        Break(
            function="parts_walk",
            right="least(p_seconds, ceil(extract(EPOCH FROM v_part.to_at - p_answered_at)))",
            wrong="least(p_seconds, 1 + ceil(extract(EPOCH FROM v_part.to_at - p_answered_at)))",
        ),
    ),
    "calls may not finish": (
        Break(
            function="reserve",
            right="WHEN v_funding.seconds < v_slice_seconds AND v_may_finish THEN",
            wrong="WHEN false THEN",
        ),
    ),
    "a bill is a second short": (
        Break(
            function="begun_seconds",
            right="ceil(extract(EPOCH",
            wrong="floor(extract(EPOCH",
        ),
    ),
    "one licence alone brings nothing": (
        Break(
            function="benefit_recount",
            right="IF v_granted_delta > 0",
            wrong="IF v_granted_delta > 3600",
        ),
    ),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("what", BREAKS)
async def test_histories_find_what_is_broken(
    dsn: str, owner: db.Connection, provisioning: Provisioning, what: str
) -> None:
    """A proof that cannot fail proves nothing; each of these has to be found, and soon."""
    await put_decks(provisioning)
    async with owner.transaction():
        await owner.execute("SET LOCAL ROLE dialout_owner")
        await owner.execute("SET LOCAL search_path TO dialout, pg_temp")
        for each in BREAKS[what]:
            await owner.execute(broken(each))

    verdict = await asyncio.to_thread(worker.play, dsn, SEED, HISTORIES_MAX, STEPS, shrink=False)

    assert verdict.failure, f"{what}, and {verdict.played} histories have not found it"
    print(f"{what}: found by history {verdict.played}")  # noqa: T201


def broken(by: Break) -> str:
    """Return the file of a function with one text replaced, which must be there once."""
    text = (db.SQL / "functions" / f"{by.function}.sql").read_text(encoding="utf-8")
    assert text.count(by.right) == 1, f"{by.function}.sql has changed; break it anew"
    return text.replace(by.right, by.wrong)
