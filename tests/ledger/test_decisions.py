"""The table of decisions once more, with everything said to the database and asked of it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid4

import pytest

from gateway.core.dial_out import MAIN_BRIDGE, DialOutKind, DialOutRequest
from gateway.core.e164 import Region
from gateway.core.facts import AskerRole, Callee, Facts, OrganizerId
from gateway.core.key import DialOutKey
from gateway.core.limits import LimitKind, LimitScope, LimitTerms
from gateway.core.policy import decide
from gateway.core.rating import Micros, Seconds
from gateway.core.trunk import Trunk
from gateway.db import Connection
from gateway.inquiry import Inquiry
from gateway.ledger import (
    Change,
    Channel,
    DeckRow,
    Ledger,
    LicenceOutcome,
    MeetingOutcome,
    PolicyOutcome,
    PrefixEffect,
    Provisioning,
    RateDeckOutcome,
    Segment,
    TenantOutcome,
)
from tests.core.cases import END, TRUNK_TOLL_FREE, Case, facts
from tests.core.decision_table import Row, rows
from tests.ledger.world import ACTOR

FIRST_DAY = datetime(2010, 1, 1, tzinfo=UTC)
ORGANIZER = OrganizerId("organizer")
ASKERS = {
    AskerRole.ORGANIZER: "organizer",
    AskerRole.AUTHENTICATED: "somebody",
    AskerRole.ANONYMOUS: None,
}

_NOW: Final = """
    INSERT INTO dialout.limit_now (tenant_id, organizer_id, open_calls, minute_at, minute_calls)
    VALUES ($1, $2, $3::integer * $5, date_trunc('minute', $4::timestamptz, 'UTC'), $3 * $6)
    ON CONFLICT (tenant_id, organizer_id) DO UPDATE
    SET
        open_calls = limit_now.open_calls + excluded.open_calls,
        minute_calls = limit_now.minute_calls + excluded.minute_calls
"""
_DAY: Final = """
    INSERT INTO dialout.limit_day (tenant_id, day, organizer_id, callees, micros)
    VALUES ($1, ($4::timestamptz AT TIME ZONE 'UTC')::date, $2, $3::integer * $5, $3 * $6)
    ON CONFLICT (tenant_id, day, organizer_id) DO UPDATE
    SET
        callees = limit_day.callees + excluded.callees,
        micros = limit_day.micros + excluded.micros
"""
_MEETING: Final = """
    INSERT INTO dialout.meeting_day (tenant_id, day, conference_id, seconds, micros)
    VALUES ($1, ($4::timestamptz AT TIME ZONE 'UTC')::date, $2, $3::integer * $5, $3 * $6)
    ON CONFLICT (tenant_id, day, conference_id) DO UPDATE
    SET
        seconds = meeting_day.seconds + excluded.seconds,
        micros = meeting_day.micros + excluded.micros
"""
_MONTH: Final = """
    INSERT INTO dialout.addon_month (tenant_id, organizer_id, from_at, seconds)
    VALUES ($1, $2, date_trunc('month', $4::timestamptz, 'UTC'), $3::integer * $5 * $6)
"""
_CALLED: Final = """
    INSERT INTO dialout.callee_day (tenant_id, day, organizer_id, callee)
    VALUES ($1, ($4::timestamptz AT TIME ZONE 'UTC')::date, $2, $3)
"""
COUNTED: Final[dict[LimitKind, tuple[str, int, int]]] = {
    LimitKind.CONCURRENT_CALLS: (_NOW, 1, 0),
    LimitKind.CALLS_A_MINUTE: (_NOW, 0, 1),
    LimitKind.CALLEES_A_DAY: (_DAY, 1, 0),
    LimitKind.SPEND_A_DAY: (_DAY, 0, 1),
    LimitKind.MEETING_TIME: (_MEETING, 1, 0),
    LimitKind.MEETING_SPEND: (_MEETING, 0, 1),
    LimitKind.FAIR_USE: (_MONTH, 1, 1),
    LimitKind.FAIR_USE_NOTICE: (_MONTH, 1, 1),
}
"""Where what is used of a limit is counted: by nobody but calls, of which a line has none.

The statement, and by how much what is used goes to its first column and to its second."""

SUBJECTS = {LimitScope.TENANT: "", LimitScope.ORGANIZER: ORGANIZER, LimitScope.MEETING: "room"}


def sections() -> Iterator[tuple[str, list[Row]]]:
    """Yield the headings of the table with their lines."""
    for section in dict.fromkeys(row.section for row in rows()):
        yield section, [row for row in rows() if row.section == section]


@pytest.mark.parametrize(("section", "lines"), list(sections()))
async def test_the_database_knows_the_same(
    ledger: Ledger,
    provisioning: Provisioning,
    owner: Connection,
    section: str,
    lines: list[Row],
) -> None:
    """What SQL gathers leads to the specified answer, line by line.

    The pure test of the table takes facts that it made itself. Here tenants, licences, decks
    and lists are provisioned, and the gateway's own inquiry gathers what it finds.
    """
    for row in lines:
        trunk = Trunk(regions=row.case.trunk, toll_free_regions=TRUNK_TOLL_FREE)
        inquiry = Inquiry(ledger=ledger, trunks={MAIN_BRIDGE: trunk})
        request = await provisioned(provisioning, row.case)
        await counted(owner, row.case, request)
        found = await inquiry.facts(request, row.case.at)
        await cleared(provisioning, row.case)

        assert decide(found) == row.decision, str(row)
        assert comparable(found) == comparable(facts(row.case)), str(row)


async def provisioned(provisioning: Provisioning, case: Case) -> DialOutRequest:
    """Say everything of a case, and return its request."""
    tenant_id = uuid4()
    if case.tenant_known:
        async with provisioning.change(actor=ACTOR, because="a line of the table") as change:
            await _tenant(change, case, tenant_id)
    return DialOutRequest(
        key=DialOutKey(tenant_id=tenant_id, dial_out_id=uuid4()),
        kind=DialOutKind.CALL_ME if case.callee is Callee.SELF else DialOutKind.ADD_PARTICIPANT,
        organizer_id=ORGANIZER,
        initiator_id=ASKERS[case.asker],
        conference_id="room",
        number_typed=case.typed,
    )


async def counted(owner: Connection, case: Case, request: DialOutRequest) -> None:
    """Count what is used of the limits of a case, and the number where it was called today."""
    tenant_id = request.key.tenant_id
    for limit in case.limits:
        if limit.kind in COUNTED:
            statement, *columns = COUNTED[limit.kind]
            await owner.execute(
                statement, tenant_id, SUBJECTS[limit.scope], limit.used, case.at, *columns
            )
    for scope in case.called_today:
        await owner.execute(_CALLED, tenant_id, SUBJECTS[scope], facts(case).dialled.e164, case.at)


async def cleared(provisioning: Provisioning, case: Case) -> None:
    """Take off the operator's list what a case put there: it is for all tenants."""
    async with provisioning.change(actor=ACTOR) as change:
        for prefix in case.listed.operator:
            await change.prefix_remove(None, prefix, PrefixEffect.BLOCK)


def comparable(found: Facts) -> Facts:
    """Return the facts without the number of the deck, which the database chooses."""
    if found.destination is None or found.destination.rate is None:
        return found
    rate = replace(found.destination.rate, deck_id=1, deck="deck")
    return replace(found, destination=replace(found.destination, rate=rate))


async def _tenant(change: Change, case: Case, tenant_id: UUID) -> None:
    deck = f"deck of {tenant_id}" if case.deck else None
    if deck:
        put = await change.rate_deck_put(deck, "USD", _deck(case), FIRST_DAY)
        assert put is RateDeckOutcome.PUT
    created = await change.tenant_create(
        tenant_id, name="Table", time_zone="UTC", currency="USD", rate_deck=deck
    )
    assert created is TenantOutcome.CREATED
    await change.tenant_update(tenant_id, suspended=case.suspended, rate_deck=deck)
    chosen = await change.policy_put(tenant_id, case.choices, case.at)
    assert chosen in (PolicyOutcome.CHANGED, PolicyOutcome.UNCHANGED)
    if case.credits_set_up:
        await change.credits_add(tenant_id, uuid4(), Micros(1_000_000), FIRST_DAY)
    await _people(change, case, tenant_id)
    if case.meeting or case.registered:
        await _meeting(change, case, tenant_id)
    for limit in case.limits:
        terms = LimitTerms(kind=limit.kind, most=limit.most, mode=limit.mode)
        await change.limit_put(tenant_id, limit.scope, "", terms)
    if case.blocked:
        await change.organizer_block(tenant_id, ORGANIZER, because="the table", at=case.at)
    for prefix in case.listed.operator:
        await change.prefix_put(None, prefix, PrefixEffect.BLOCK, note="table")
    for prefix in case.listed.tenant:
        await change.prefix_put(tenant_id, prefix, PrefixEffect.BLOCK, note="table")
    for prefix in case.listed.exempt:
        await change.prefix_put(tenant_id, prefix, PrefixEffect.EXEMPT, note="table")


async def _meeting(change: Change, case: Case, tenant_id: UUID) -> None:
    organizer_id = None if case.registered is None else OrganizerId(case.registered)
    if organizer_id is not None and organizer_id != ORGANIZER:
        await _organizer(change, case, tenant_id, organizer_id, Region("US"))
    outcome = await change.meeting_put(
        tenant_id,
        "room",
        to_self=case.meeting or case.choices.meeting_to_self,
        to_third_party=case.meeting or case.choices.meeting_to_third_party,
        organizer_id=organizer_id,
    )
    assert outcome is MeetingOutcome.CREATED


async def _people(change: Change, case: Case, tenant_id: UUID) -> None:
    if case.organizer is not None:
        await _organizer(change, case, tenant_id, ORGANIZER, case.organizer)
        for licence in case.licences:
            assigned = await change.licence_assign(
                tenant_id,
                ORGANIZER,
                licence.sku,
                valid_from=max(licence.valid_from, FIRST_DAY),
                valid_to=None if licence.valid_to == END else licence.valid_to,
                channel=Channel.EA,
                segment=Segment.COMMERCIAL,
                at=case.at,
                forced_because="the table asks what follows, not what is sold",
            )
            assert assigned is LicenceOutcome.ASSIGNED
    if case.asker_region is not None and case.asker is AskerRole.AUTHENTICATED:
        await _organizer(change, case, tenant_id, OrganizerId("somebody"), case.asker_region)


async def _organizer(
    change: Change, case: Case, tenant_id: UUID, organizer_id: OrganizerId, region: Region
) -> None:
    await change.organizer_put(
        tenant_id,
        organizer_id,
        display_name="somebody",
        region=region,
        permission=case.permission,
    )


def _deck(case: Case) -> list[DeckRow]:
    return [
        DeckRow(
            prefix=row.prefix,
            regions=row.regions,
            price_micros=Micros(250_000),
            connect_fee_micros=Micros(0),
            initial_increment_seconds=Seconds(60),
            increment_seconds=Seconds(60),
        )
        for row in case.deck
    ]
