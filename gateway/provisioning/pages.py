"""Where a page of a list ends, as text that asks for the next one."""

from datetime import UTC
from typing import Annotated, Final

from pydantic import Field, TypeAdapter

from gateway.core.facts import OrganizerId, Sku
from gateway.core.limits import LimitKind, LimitScope
from gateway.ledger import DeckRate, DeckRateKey, Licence, LicenceKey, LimitKey, LimitSet
from gateway.provisioning.forms import PERSON_ID, PREFIX, instant

_SLOT: Final[TypeAdapter[int]] = TypeAdapter(Annotated[int, Field(ge=0, lt=2**15)])


def licence_mark(licence: Licence) -> str:
    """Return the place of a licence in the list, as text that can stand in a query."""
    # Z, because a plus sign in a query is a blank.
    valid_from = licence.valid_from.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return f"{licence.organizer_id}/{licence.sku}/{valid_from}"


def licence_key(mark: str) -> LicenceKey:
    """Return the place that a mark stands for. Raises ``ValueError`` for what is none."""
    organizer_id, sku, valid_from = mark.split("/")
    return LicenceKey(
        organizer_id=OrganizerId(PERSON_ID.validate_python(organizer_id)),
        sku=Sku(sku),
        valid_from=instant(valid_from),
    )


def limit_mark(limit: LimitSet) -> str:
    """Return the place of a limit in the list, as text that can stand in a query."""
    return f"{limit.scope}/{limit.subject}/{limit.kind}"


def limit_key(mark: str) -> LimitKey:
    """Return the place that a mark stands for. Raises ``ValueError`` for what is none."""
    scope, subject, kind = mark.split("/")
    return LimitKey(scope=LimitScope(scope), subject=subject, kind=LimitKind(kind))


def deck_rate_mark(rate: DeckRate) -> str:
    """Return the place of a price in its deck, likewise."""
    return f"{rate.prefix}/{rate.slot}"


def deck_rate_key(mark: str) -> DeckRateKey:
    """Return the place that a mark stands for. Raises ``ValueError`` for what is none."""
    prefix, slot = mark.split("/")
    return DeckRateKey(prefix=PREFIX.validate_python(prefix), slot=_SLOT.validate_python(slot))
