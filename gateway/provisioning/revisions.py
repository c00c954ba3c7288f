"""Changes of a part: whatever is not named stays as it is.

What is there is read under the tenant's lock and replaced whole, so that of two revisions in
the same instant none undoes what the other one changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from gateway.core.choices import read_choices
from gateway.ledger import PolicyOutcome, Provisioning, RemovalOutcome, TenantUpdateOutcome
from gateway.provisioning.forms import Author, DeckName, Form
from gateway.provisioning.outcomes import OUTCOME_TEXTS, Standing


class TenantRevision(BaseModel):
    """What may change of a tenant. None leaves it as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    suspended: bool | None = None
    rate_deck: DeckName | None = None
    inbound_deck: DeckName | None = None


async def revise_tenant(
    provisioning: Provisioning, author: Author, tenant_id: UUID, revision: TenantRevision
) -> TenantUpdateOutcome:
    """Suspend a tenant or lift that, or give it other decks, for calls not reserved yet."""
    async with provisioning.change(actor=author.actor, because=author.because) as change:
        tenant = await change.tenant_locked(tenant_id)
        if tenant is None:
            return TenantUpdateOutcome.UNKNOWN_TENANT
        suspended = tenant.suspended if revision.suspended is None else revision.suspended
        return await change.tenant_update(
            tenant_id,
            suspended=suspended,
            rate_deck=revision.rate_deck or tenant.rate_deck,
            inbound_deck=revision.inbound_deck or tenant.inbound_deck,
        )


async def revise_policy(
    provisioning: Provisioning,
    author: Author,
    tenant_id: UUID,
    values: Mapping[str, object],
    at: datetime,
) -> PolicyOutcome:
    """Change some of a tenant's choices. Raises ``ChoiceFaults`` for values that none can have."""
    named = read_choices(values)
    async with provisioning.change(actor=author.actor, because=author.because) as change:
        choices = await change.policy_locked(tenant_id)
        if choices is None:
            return PolicyOutcome.UNKNOWN_TENANT
        return await change.policy_put(tenant_id, replace(choices, **named), at)


async def revise_limits(
    provisioning: Provisioning,
    author: Author,
    tenant_id: UUID,
    limits: Sequence[Form],
    at: datetime,
) -> str:
    """Set and take away limits, all of them or, if one is refused, none; return the outcome.

    To take away what is not there changes nothing.
    """
    is_changed = False
    async with provisioning.change(actor=author.actor, because=author.because) as change:
        for limit in limits:
            outcome = await limit.put(change, tenant_id, at)
            standing = OUTCOME_TEXTS[outcome].standing
            if not standing.is_done and outcome != RemovalOutcome.ABSENT:
                change.abandon()
                return outcome
            is_changed |= standing in (Standing.CREATED, Standing.CHANGED)
    return PolicyOutcome.CHANGED if is_changed else PolicyOutcome.UNCHANGED
