"""Where a page of licences ends, as text that asks for the next one."""

from datetime import UTC

from gateway.core.facts import OrganizerId, Sku
from gateway.ledger import Licence, LicenceKey
from gateway.provisioning.forms import PERSON_ID, instant


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
