"""What provisioning answers, in words: the same at the command line and over HTTP.

An outcome is a word that an SQL function returns; a word means the same whichever returns it.
"""

from dataclasses import dataclass
from enum import StrEnum


class Standing(StrEnum):
    """What an outcome means to whoever asked."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    ABSENT = "absent"
    CONFLICT = "conflict"
    REFUSED = "refused"

    @property
    def is_done(self) -> bool:
        """Whether things are now as they were asked to be."""
        return self in (Standing.CREATED, Standing.CHANGED, Standing.UNCHANGED)


@dataclass(frozen=True, slots=True)
class OutcomeText:
    """What an outcome means, and what people are told: what is so, and the next step."""

    standing: Standing
    message: str


OUTCOME_TEXTS: dict[str, OutcomeText] = {
    "created": OutcomeText(Standing.CREATED, "It is known now."),
    "assigned": OutcomeText(Standing.CREATED, "The organizer has the licence now."),
    "added": OutcomeText(Standing.CREATED, "It is added."),
    "put": OutcomeText(Standing.CREATED, "It is in force now."),
    "scheduled": OutcomeText(
        Standing.CREATED, "It takes effect when it starts; what holds until then stays."
    ),
    "updated": OutcomeText(Standing.CHANGED, "It is changed."),
    "changed": OutcomeText(Standing.CHANGED, "It is changed."),
    "removed": OutcomeText(Standing.CHANGED, "It is removed."),
    "exists": OutcomeText(Standing.UNCHANGED, "It was so already; nothing is changed."),
    "unchanged": OutcomeText(Standing.UNCHANGED, "It was so already; nothing is changed."),
    "blocked": OutcomeText(Standing.CREATED, "The organizer is blocked now."),
    "lifted": OutcomeText(Standing.CHANGED, "The organizer is not blocked any more."),
    "not_blocked": OutcomeText(
        Standing.ABSENT, "The organizer is not blocked. See who is with dialout organizer blocked."
    ),
    "absent": OutcomeText(Standing.ABSENT, "There is no such entry. List what there is."),
    "unknown_tenant": OutcomeText(
        Standing.ABSENT, "There is no such tenant. List the tenants, or make it known first."
    ),
    "failed": OutcomeText(Standing.CHANGED, "The failure is on record."),
    "due": OutcomeText(Standing.CHANGED, "It is delivered next."),
    "already_delivered": OutcomeText(Standing.UNCHANGED, "The receiver has it already."),
    "already_recharged": OutcomeText(
        Standing.CONFLICT, "The funds were added under this id, so it has not failed."
    ),
    "unknown_recharge": OutcomeText(
        Standing.ABSENT, "No recharge was asked for under this id. List the tenant's recharges."
    ),
    "unknown_event": OutcomeText(Standing.ABSENT, "There is no such event. List the events."),
    "unknown_organizer": OutcomeText(
        Standing.ABSENT, "The tenant has no such organizer. Make the organizer known first."
    ),
    "unknown_licence": OutcomeText(
        Standing.ABSENT,
        "The organizer has no such licence from this instant. List the organizer's licences.",
    ),
    "unknown_time_zone": OutcomeText(
        Standing.REFUSED, "The time zone is not in the IANA database. Write it like Europe/London."
    ),
    "unknown_rate_deck": OutcomeText(
        Standing.REFUSED, "There is no rate deck of this name. Import the deck first."
    ),
    "unknown_region": OutcomeText(
        Standing.REFUSED,
        "There is no such country. Write ISO 3166-1 codes of two letters, like GB.",
    ),
    "unknown_version": OutcomeText(
        Standing.REFUSED,
        "There is no such edition of the availability data. docs/reference-data.md lists them.",
    ),
    "exists_with_different_terms": OutcomeText(
        Standing.CONFLICT,
        "Something else is known under this id. Choose another id, or change what is there.",
    ),
    "exists_with_different_currency": OutcomeText(
        Standing.CONFLICT,
        "The deck is in another currency, and that cannot change. Choose another name.",
    ),
    "overlaps": OutcomeText(
        Standing.CONFLICT,
        "The organizer has this licence for part of the period. Move its end, or the period.",
    ),
    "starts_too_early": OutcomeText(
        Standing.CONFLICT,
        "The deck has had prices in force since then or later, and calls were priced by them. "
        "Start now, or later.",
    ),
    "needed_by_addon": OutcomeText(
        Standing.CONFLICT,
        "The organizer's add-on rests on this licence. End the add-on first, or force it.",
    ),
    "rate_deck_currency_differs": OutcomeText(
        Standing.REFUSED,
        "The deck is not in the tenant's currency. Choose a deck that is.",
    ),
    "ends_before_it_starts": OutcomeText(
        Standing.REFUSED, "The period ends before it starts. Its end is exclusive."
    ),
    "channel_segment_mismatch": OutcomeText(
        Standing.REFUSED, "The channel ees is for the segment education alone."
    ),
    "not_sold": OutcomeText(
        Standing.REFUSED,
        "The licence is not sold in the organizer's country, by the edition that the tenant's "
        "policy names. Correct the usage location, or force it.",
    ),
    "licence_not_sold": OutcomeText(
        Standing.CONFLICT,
        "The organizer holds a licence that is not sold in that country. End the licence first, "
        "or assign it again with --force after the move.",
    ),
    "prerequisite_missing": OutcomeText(
        Standing.REFUSED,
        "The add-on needs audio_conferencing or audio_conferencing_ppm for its whole period. "
        "Assign that first, or force it.",
    ),
    "exempt_needs_tenant": OutcomeText(
        Standing.REFUSED, "Only a tenant can be exempted. Name the tenant."
    ),
}
