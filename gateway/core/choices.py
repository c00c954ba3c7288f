"""What a tenant may choose where the rules leave it open. Each choice has a default."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from gateway.core.canonical import SortedSet
from gateway.core.e164 import REGIONS, Region

ADDON_REGIONS = frozenset({Region("US"), Region("CA")})


def _no_boolean(value: object) -> object:
    """Return the value; ``true`` would be read as 1."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


Count = Annotated[int, BeforeValidator(_no_boolean)]
"""A number of things, which ``true`` is not."""


class PoolBasis(StrEnum):
    """Which licences bring minutes: those that organizers hold, or those that were bought."""

    ASSIGNED = "assigned"
    PURCHASED = "purchased"


class Opening(StrEnum):
    """Whether numbers of an unusual kind may be called; ``credits``: if credits pay."""

    DENY = "deny"
    CREDITS = "credits"


class Stance(StrEnum):
    """Whether something that costs more than it seems may be called."""

    DENY = "deny"
    ALLOW = "allow"


class MeetingPermission(StrEnum):
    """Which of those who are in a meeting may have a telephone called."""

    ORGANIZER = "organizer"
    AUTHENTICATED = "authenticated"
    EVERYONE = "everyone"


class Confirmation(StrEnum):
    """Whose telephones are asked to press a key before they join; those of Call Me, or all."""

    NEVER = "never"
    CALL_ME = "call_me"
    ALWAYS = "always"


class Exhaustion(StrEnum):
    """What becomes of a call whose funds end: cut, or let go on to the longest a call may last."""

    DISCONNECT = "disconnect"
    FINISH = "finish"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """One tenant's choices; docs/entitlement.md says what each does.

    ``addon_fair_use_minutes`` is for one organizer and one calendar month, 1 to 44640.
    ``meeting_to_self`` (Call Me) and ``meeting_to_third_party`` hold for meetings that have
    no permission of their own. ``confirmation`` says who hears the meeting's name and presses
    a key before joining, so that no voicemail does. ``availability_version`` names the edition
    of the reference data that says what is sold where; only provisioning looks at it.
    """

    addon_regions: SortedSet[Annotated[Region, Field(pattern=r"^[A-Z]{2}$")]] = ADDON_REGIONS
    addon_fair_use_minutes: Annotated[Count, Field(ge=1, le=44_640)] = 10_000
    pool_basis: PoolBasis = PoolBasis.ASSIGNED
    ppm_needs_credits_licence: bool = True
    premium: Opening = Opening.DENY
    toll_free: Stance = Stance.DENY
    unallocated: Opening = Opening.DENY
    high_risk_prefixes: Stance = Stance.DENY
    meeting_to_self: MeetingPermission = MeetingPermission.AUTHENTICATED
    meeting_to_third_party: MeetingPermission = MeetingPermission.AUTHENTICATED
    confirmation: Confirmation = Confirmation.CALL_ME
    on_exhaustion: Exhaustion = Exhaustion.DISCONNECT
    availability_version: date = date(2018, 4, 3)


class ChoiceFaults(ValueError):
    """Values that no choice can have. The text has a line for each."""


def read_choices(values: Mapping[str, object]) -> dict[str, Any]:
    """Return ``values``, as text or JSON has them, as the choices that they stand for.

    Names that are left out are left out of the answer, too. Raises ``ChoiceFaults``.
    """
    unknown = [f"{name}: no such choice" for name in values if name not in Choices.__slots__]
    try:
        choices = _ADAPTER.validate_python(dict(values))
    except ValidationError as error:
        raise ChoiceFaults("\n".join(unknown + _explained(error))) from error
    faults = unknown + _strange_regions(choices)
    if faults:
        raise ChoiceFaults("\n".join(faults))
    return {name: getattr(choices, name) for name in values}


def _explained(error: ValidationError) -> list[str]:
    return [
        f"{fault['loc'][0]}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors()
    ]


def _strange_regions(choices: Choices) -> list[str]:
    # Not a matter of the type: what was once chosen must stay readable under any numbering plan.
    return [
        f"addon_regions: {region} is no ISO 3166-1 code of a country with a numbering plan"
        for region in sorted(choices.addon_regions - REGIONS)
    ]


_ADAPTER = TypeAdapter(Choices)
