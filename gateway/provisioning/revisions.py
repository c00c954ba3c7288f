"""Changes of a part: whatever is not named stays as it is.

What is there is read under the tenant's lock and replaced whole, so that of two revisions in
the same instant none undoes what the other one changed.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from gateway.core.choices import read_choices
from gateway.ledger import PolicyOutcome, Provisioning, TenantUpdateOutcome
from gateway.provisioning.forms import Author, DeckName


class TenantRevision(BaseModel):
    """What may change of a tenant. None leaves it as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    suspended: bool | None = None
    rate_deck: DeckName | None = None


async def revise_tenant(
    provisioning: Provisioning, author: Author, tenant_id: UUID, revision: TenantRevision
) -> TenantUpdateOutcome:
    """Suspend a tenant or lift that, or give it another deck, for calls not reserved yet."""
    async with provisioning.change(actor=author.actor, because=author.because) as change:
        tenant = await change.tenant_locked(tenant_id)
        if tenant is None:
            return TenantUpdateOutcome.UNKNOWN_TENANT
        suspended = tenant.suspended if revision.suspended is None else revision.suspended
        return await change.tenant_update(
            tenant_id, suspended=suspended, rate_deck=revision.rate_deck or tenant.rate_deck
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
