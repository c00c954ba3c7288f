"""Everything that a decision rests on: what is known at the instant of the call, and nothing else.

The shell gathers it; ``policy`` looks at it. None is a fact too: no such tenant, no such
organizer, or no destination to know anything of.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType, TypeVar

from gateway.core.canonical import SortedSet
from gateway.core.choices import Choices, MeetingPermission
from gateway.core.e164 import Destination, NumberRefusal, Region
from gateway.core.limits import Limit, LimitScope
from gateway.core.rating import Rate

OrganizerId = NewType("OrganizerId", str)

ZONE_A = "zone_a"

T = TypeVar("T")


class Sku(StrEnum):
    """A licence that an organizer can hold."""

    AUDIO_CONFERENCING = "audio_conferencing"
    AUDIO_CONFERENCING_PPM = "audio_conferencing_ppm"
    EXTENDED_DIALOUT_US_CA = "extended_dialout_us_ca"
    COMMUNICATIONS_CREDITS = "communications_credits"


class DialOutPermission(StrEnum):
    """Which destinations an organizer's meetings may reach, whoever pays."""

    ANY = "any"
    DOMESTIC = "domestic"
    ZONE_A = "zone_a"
    NONE = "none"


class SourceKind(StrEnum):
    """What pays for a call. Declared in the order in which they are asked."""

    PROMOTION = "promotion"
    ADDON = "addon"
    POOL = "pool"
    CREDITS = "credits"


class AskerRole(StrEnum):
    """What somebody is in the meeting: its organizer, somebody who signed in, or neither."""

    ORGANIZER = "organizer"
    AUTHENTICATED = "authenticated"
    ANONYMOUS = "anonymous"


class Callee(StrEnum):
    """Whose telephone is called: that of the asker (Call Me), or somebody else's."""

    SELF = "self"
    THIRD_PARTY = "third_party"


@dataclass(frozen=True, slots=True, kw_only=True)
class Benefit:
    """Minutes that a licence brings at the instant of the call: promotion, add-on or pool.

    ``zone`` names the destinations that it is good for; None leaves them to the tenant's
    choice ``addon_regions``.
    """

    benefit_id: str
    kind: SourceKind
    sku: Sku
    zone: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantFacts:
    """What counts of a tenant, and the benefits that are in force for everybody, in order."""

    suspended: bool
    credits_set_up: bool
    choices: Choices
    benefits: tuple[Benefit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizerFacts:
    """What counts of a meeting's organizer.

    ``region`` is the usage location of the licence, not where anybody travels.
    ``dial_out_disabled`` says that customers of that country may not dial out at all,
    ``blocked`` that the organizer may not, until somebody lifts it.
    """

    region: Region
    permission: DialOutPermission
    licences: SortedSet[Sku]
    dial_out_disabled: bool
    blocked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingFacts:
    """Who asks, for whom, and what the meeting allows.

    ``reading_region`` is the country in which digits without a plus sign are read: that of
    the asker's own licence if the tenant knows one, else the organizer's. ``organizer_matches``
    is false for a meeting that the tenant has registered with another organizer.
    """

    asker: AskerRole
    callee: Callee
    permission: MeetingPermission
    reading_region: Region
    organizer_matches: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """The longest listed prefix, in digits, that the destination begins with; None for no such.

    ``operator`` is the list for all tenants, ``high_risk`` the shipped one, ``tenant`` the
    tenant's own. ``exempt`` is a prefix that the tenant has taken out of the shipped one.
    """

    operator: str | None = None
    high_risk: str | None = None
    tenant: str | None = None
    exempt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationFacts:
    """What the reference data, the lists and the tenant's rate deck say of a destination.

    ``rate_regions`` are the countries that the rate is meant for. ``rate_is_exact`` says that
    no ordinary number begins with the rate's prefix. ``trunk_serves`` says that the bridge's
    trunk reaches toll-free numbers of the destination's country, ``trunk_reaches`` that it
    reaches all others of that country. ``called_today`` names those who have called this very
    number today already: the organizer, the tenant.
    """

    zones: SortedSet[str]
    blocks: Blocks
    rate: Rate | None
    rate_regions: SortedSet[Region]
    rate_is_exact: bool
    trunk_serves: bool
    trunk_reaches: bool = True
    called_today: SortedSet[LimitScope] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All of them. A later one is None only if an earlier one forbids to know it.

    ``limits`` are those that are in force for the call, in the order in which they are asked.
    """

    tenant: TenantFacts | None
    organizer: OrganizerFacts | None
    meeting: MeetingFacts | None
    number: Destination | NumberRefusal | None
    destination: DestinationFacts | None
    limits: tuple[Limit, ...] = ()

    @property
    def dialled(self) -> Destination:
        """The number, once an earlier rule has refused what is none."""
        assert isinstance(self.number, Destination), "an earlier rule refuses what is no number"
        return self.number


def known(fact: T | None) -> T:
    """Return a fact that a rule asked earlier has made sure of."""
    assert fact is not None, "an earlier rule refuses its absence"
    return fact
