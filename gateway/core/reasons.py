"""The closed list of reasons for which a dial-out is refused or not placed.

One list for policy, ledger, API, log, CLI, call record and spoken prompt. A code is
part of the product's contract: it is never renamed and never given another meaning.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why a telephone was not called. Declared in the order in which the rules are asked."""

    TENANT_UNKNOWN = "tenant_unknown"
    TENANT_SUSPENDED = "tenant_suspended"
    ORGANIZER_UNKNOWN = "organizer_unknown"
    NUMBER_INVALID = "number_invalid"
    EMERGENCY_OR_SHORT_CODE = "emergency_or_short_code"
    NUMBER_KIND_REFUSED = "number_kind_refused"
    NUMBER_NOT_ALLOCATED = "number_not_allocated"
    NO_AUDIO_CONFERENCING = "no_audio_conferencing"
    PERMISSION_NONE = "permission_none"
    PERMISSION_DOMESTIC = "permission_domestic"
    PERMISSION_ZONE_A = "permission_zone_a"
    NO_CREDITS_LICENCE = "no_credits_licence"
    CREDITS_NOT_SET_UP = "credits_not_set_up"
    NO_RATE = "no_rate"
    POOL_EXHAUSTED = "pool_exhausted"
    CREDITS_EXHAUSTED = "credits_exhausted"
    DUPLICATE = "duplicate"


REASON_TEXTS: dict[Reason, str] = {
    Reason.TENANT_UNKNOWN: "There is no tenant with this id.",
    Reason.TENANT_SUSPENDED: "The tenant is suspended.",
    Reason.ORGANIZER_UNKNOWN: "The tenant has no organizer with this id.",
    Reason.NUMBER_INVALID: "This is not a possible telephone number.",
    Reason.EMERGENCY_OR_SHORT_CODE: "Emergency numbers and short codes are never called.",
    Reason.NUMBER_KIND_REFUSED: "Numbers of this kind are not called.",
    Reason.NUMBER_NOT_ALLOCATED: "The number lies in no range that its country has given out.",
    Reason.NO_AUDIO_CONFERENCING: "The organizer has no licence for Audio Conferencing.",
    Reason.PERMISSION_NONE: "The organizer may not have telephones called.",
    Reason.PERMISSION_DOMESTIC: "The organizer may have only telephones of the own country called.",
    Reason.PERMISSION_ZONE_A: "The organizer may have only telephones in Zone A called.",
    Reason.NO_CREDITS_LICENCE: "The organizer may not draw on the tenant's credits.",
    Reason.CREDITS_NOT_SET_UP: "The tenant has not set up credits.",
    Reason.NO_RATE: "The tenant's rate deck has no price for this destination.",
    Reason.POOL_EXHAUSTED: "The tenant's minutes of this month are used up or set aside.",
    Reason.CREDITS_EXHAUSTED: "The tenant's credits are used up or set aside.",
    Reason.DUPLICATE: "A dial-out with this id has been asked for before.",
}
