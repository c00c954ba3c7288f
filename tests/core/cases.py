"""A request and all that was known when it was made, and the facts that the gateway makes of it.

The digits are read by the gateway's own ``read_number``, the reference data are the files that
it is shipped with, and the rate deck and the lists are searched for the longest prefix, as the
database does. Whoever has a database can make it say the same and compare.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from gateway.core.choices import Choices, MeetingPermission
from gateway.core.e164 import Destination, NumberRefusal, Region, prefix_reach, read_number
from gateway.core.facts import (
    AskerRole,
    Benefit,
    Blocks,
    Callee,
    DestinationFacts,
    DialOutPermission,
    Facts,
    MeetingFacts,
    OrganizerFacts,
    Sku,
    SourceKind,
    TenantFacts,
)
from gateway.core.limits import DEFAULT_LIMITS, Limit, LimitKind, LimitScope
from gateway.core.rating import Micros, Rate, Seconds

REFERENCE = Path(__file__).parents[2] / "sql" / "reference"

TRUNK_TOLL_FREE = frozenset({Region("US"), Region("GB")})
"""The countries whose toll-free numbers the trunk of every case reaches."""

BEGINNING = datetime.min.replace(tzinfo=UTC)
END = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """A licence of the organizer, from ``valid_from`` on and before ``valid_to``."""

    sku: Sku
    valid_from: datetime = BEGINNING
    valid_to: datetime = END


@dataclass(frozen=True, slots=True, kw_only=True)
class DeckRow:
    """A prefix of the tenant's rate deck, and the countries that the deck names for it."""

    prefix: str
    regions: frozenset[Region] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The prefixes on each list that somebody keeps: the operator, or the tenant."""

    operator: tuple[str, ...] = ()
    tenant: tuple[str, ...] = ()
    exempt: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A request, and all that was known when it was made.

    ``organizer`` is the usage location, None for an organizer that the tenant does not have.
    ``asker_region`` is None for an asker whose country is not known; ``meeting`` for a meeting
    without a permission of its own. ``limits`` are in force beside those of a new tenant;
    ``called_today`` says who has called this very number today. ``trunk`` has the countries that
    the bridge's trunk reaches, None for all. ``registered`` is the organizer that the meeting is
    registered with, None if nobody has said: "organizer" is the one who is asked for.
    """

    at: datetime
    typed: str
    tenant_known: bool = True
    suspended: bool = False
    credits_set_up: bool = False
    choices: Choices = field(default_factory=Choices)
    organizer: Region | None
    permission: DialOutPermission = DialOutPermission.ANY
    licences: tuple[Licence, ...]
    asker: AskerRole = AskerRole.ORGANIZER
    asker_region: Region | None = None
    callee: Callee = Callee.THIRD_PARTY
    meeting: MeetingPermission | None = None
    deck: tuple[DeckRow, ...] = ()
    listed: Listed = Listed()
    blocked: bool = False
    limits: tuple[Limit, ...] = ()
    called_today: frozenset[LimitScope] = frozenset()
    trunk: frozenset[Region] | None = None
    registered: str | None = None


def facts(case: Case) -> Facts:
    """Return what the gateway knows of a case when it decides."""
    if not case.tenant_known or case.organizer is None:
        return Facts(
            tenant=_tenant(case) if case.tenant_known else None,
            organizer=None,
            meeting=None,
            number=None,
            destination=None,
        )
    reading_region = case.asker_region or case.organizer
    number = read_number(case.typed, reading_region, case.organizer)
    return Facts(
        tenant=_tenant(case),
        organizer=OrganizerFacts(
            region=case.organizer,
            permission=case.permission,
            licences=frozenset(
                each.sku for each in case.licences if each.valid_from <= case.at < each.valid_to
            ),
            dial_out_disabled=any(
                row["region"] == case.organizer and row["kind"] == "dial_out_disabled"
                for row in in_force("restrictions", case.at)
            ),
            blocked=case.blocked,
        ),
        meeting=_meeting(case, reading_region),
        number=number,
        destination=None if isinstance(number, NumberRefusal) else _destination(case, number),
        limits=_limits(case),
    )


def _limits(case: Case) -> tuple[Limit, ...]:
    """Return the limits in the order in which they are asked: those of a new tenant, too."""
    default = tuple(
        Limit(kind=each.kind, scope=LimitScope.ORGANIZER, mode=each.mode, most=each.most, used=0)
        for each in DEFAULT_LIMITS
        if each.most is not None
    )
    limits = {(each.kind, each.scope): each for each in default + case.limits}
    return tuple(
        limits[kind, scope]
        for kind in LimitKind
        for scope in kind.scopes
        if (kind, scope) in limits
    )


def _tenant(case: Case) -> TenantFacts:
    return TenantFacts(
        suspended=case.suspended,
        credits_set_up=case.credits_set_up,
        choices=case.choices,
        benefits=tuple(
            Benefit(
                benefit_id=row["benefit_id"],
                kind=SourceKind(row["kind"]),
                sku=Sku(row["sku"]),
                zone=row["zone"] or None,
            )
            for row in in_force("benefits", case.at)
        ),
    )


def _meeting(case: Case, reading_region: Region) -> MeetingFacts:
    to_self, to_other = case.choices.meeting_to_self, case.choices.meeting_to_third_party
    return MeetingFacts(
        asker=case.asker,
        callee=case.callee,
        permission=case.meeting or (to_self if case.callee is Callee.SELF else to_other),
        reading_region=reading_region,
        organizer_matches=case.registered in (None, "organizer"),
    )


def _destination(case: Case, number: Destination) -> DestinationFacts:
    digits = number.e164.removeprefix("+")
    prefix = longest((row.prefix for row in case.deck), digits)
    named = next((row.regions for row in case.deck if row.prefix == prefix), None)
    reach = prefix_reach(prefix) if prefix else None
    return DestinationFacts(
        zones=frozenset(
            row["zone"] for row in in_force("zones", case.at) if row["region"] == number.region
        ),
        blocks=Blocks(
            operator=longest(case.listed.operator, digits),
            high_risk=longest((row["prefix"] for row in reference("high_risk_prefixes")), digits),
            tenant=longest(case.listed.tenant, digits),
            exempt=longest(case.listed.exempt, digits),
        ),
        rate=_rate(prefix, named) if prefix else None,
        rate_regions=named or (reach.regions if reach else frozenset()),
        rate_is_exact=reach.is_exact if reach else False,
        trunk_serves=number.region in TRUNK_TOLL_FREE,
        trunk_reaches=case.trunk is None or number.region in case.trunk,
        called_today=case.called_today,
    )


def _rate(prefix: str, regions: frozenset[Region] | None) -> Rate:
    """Return a row of the deck. What it costs decides nothing."""
    return Rate(
        deck_id=1,
        deck="deck",
        prefix=prefix,
        regions=regions,
        currency="USD",
        price_micros=Micros(250_000),
        connect_fee_micros=Micros(0),
        initial_increment_seconds=Seconds(60),
        increment_seconds=Seconds(60),
    )


def longest(prefixes: Iterable[str], digits: str) -> str | None:
    """Return the longest of the prefixes that the digits begin with."""
    return max((each for each in prefixes if digits.startswith(each)), key=len, default=None)


# The shipped reference data.


@cache
def reference(name: str) -> tuple[dict[str, str], ...]:
    """Return the lines of a shipped file."""
    with (REFERENCE / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file, strict=True))


def in_force(name: str, at: datetime) -> Iterator[dict[str, str]]:
    """Yield the lines of a shipped file that hold at an instant."""
    for row in reference(name):
        if instant(row["valid_from"], BEGINNING) <= at < instant(row["valid_to"], END):
            yield row


@cache
def instant(text: str, otherwise: datetime) -> datetime:
    """Return an instant, in UTC unless it says otherwise; a date is its midnight."""
    if not text:
        return otherwise
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
