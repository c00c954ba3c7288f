"""Who pays: each source in its order, and what it lacks to pay for this call.

The first that can pay does, and the next one goes on where it ends. Whether a source has
anything left is the ledger's to say.
"""

from dataclasses import dataclass
from enum import StrEnum

from gateway.core.e164 import ORDINARY_KINDS
from gateway.core.facts import Benefit, Facts, Sku, SourceKind, known
from gateway.core.reasons import Reason


class Lack(StrEnum):
    """What keeps a source from paying for a call."""

    LICENCE = "licence"
    DESTINATION = "destination"
    NUMBER_KIND = "number_kind"
    CREDITS = "credits"
    RATE = "rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Something that pays: minutes of a benefit, or the tenant's credits, which have no name."""

    kind: SourceKind
    benefit_id: str | None = None


CREDITS = Source(kind=SourceKind.CREDITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen of one source. One that lacks nothing may pay."""

    source: Source
    lacks: tuple[Lack, ...]


def waterfall(facts: Facts) -> tuple[Look, ...]:
    """Return every source that there is for this call, in the order in which they are asked."""
    benefits = known(facts.tenant).benefits
    return (
        *(
            _look_at_benefit(benefit, facts)
            for kind in (SourceKind.PROMOTION, SourceKind.ADDON, SourceKind.POOL)
            for benefit in benefits
            if benefit.kind is kind
        ),
        look_at_credits(facts),
    )


def payers(looks: tuple[Look, ...]) -> tuple[Source, ...]:
    """Return the sources that may pay, in the order in which they are asked."""
    return tuple(look.source for look in looks if not look.lacks)


# In the order in which a refusal names them.
_IN_THE_WAY = {
    Lack.CREDITS: Reason.CREDITS_NOT_SET_UP,
    Lack.LICENCE: Reason.NO_CREDITS_LICENCE,
    Lack.RATE: Reason.NO_RATE,
}


def in_the_way(looks: tuple[Look, ...]) -> tuple[Reason, ...]:
    """Return everything that keeps credits from paying; nothing if some source may pay."""
    if any(not look.lacks for look in looks):
        return ()
    return tuple(_IN_THE_WAY[lack] for look in looks[-1:] for lack in look.lacks)


def refusal(looks: tuple[Look, ...]) -> Reason:
    """Return why nobody pays: what credits lack, which could have paid for any destination."""
    lacks = looks[-1].lacks
    assert lacks, "no source may pay, so credits lack something"
    if Lack.LICENCE in lacks and Lack.CREDITS in lacks:
        return Reason.NOT_COVERED
    return next(reason for lack, reason in _IN_THE_WAY.items() if lack in lacks)


def _look_at_benefit(benefit: Benefit, facts: Facts) -> Look:
    lacks = []
    if benefit.sku not in known(facts.organizer).licences:
        lacks.append(Lack.LICENCE)
    if not _covers(benefit, facts):
        lacks.append(Lack.DESTINATION)
    if facts.dialled.kind not in ORDINARY_KINDS:
        lacks.append(Lack.NUMBER_KIND)
    return Look(source=Source(kind=benefit.kind, benefit_id=benefit.benefit_id), lacks=tuple(lacks))


def _covers(benefit: Benefit, facts: Facts) -> bool:
    if benefit.zone is None:
        return facts.dialled.region in known(facts.tenant).choices.addon_regions
    return benefit.zone in known(facts.destination).zones


def look_at_credits(facts: Facts) -> Look:
    """Return what the tenant's credits lack to pay for this call."""
    tenant = known(facts.tenant)
    lacks = []
    if not _may_use_credits(facts):
        lacks.append(Lack.LICENCE)
    if not tenant.credits_set_up:
        lacks.append(Lack.CREDITS)
    if known(facts.destination).rate is None:
        lacks.append(Lack.RATE)
    return Look(source=CREDITS, lacks=tuple(lacks))


def _may_use_credits(facts: Facts) -> bool:
    licences = known(facts.organizer).licences
    return Sku.COMMUNICATIONS_CREDITS in licences or (
        Sku.AUDIO_CONFERENCING_PPM in licences
        and not known(facts.tenant).choices.ppm_needs_credits_licence
    )
