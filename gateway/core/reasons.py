"""The closed list of reasons for which a dial-out is refused or not placed.

One list for policy, ledger, API, log, CLI, call record and spoken prompt; a test compares
them. A code is part of the product's contract: it is never renamed and never given another
meaning.
"""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a telephone was not called. Declared in the order in which the rules are asked."""

    TENANT_UNKNOWN = "tenant_unknown"
    TENANT_SUSPENDED = "tenant_suspended"
    ORGANIZER_UNKNOWN = "organizer_unknown"
    ORGANIZER_BLOCKED = "organizer_blocked"
    MEETING_OF_ANOTHER_ORGANIZER = "meeting_of_another_organizer"
    NUMBER_INVALID = "number_invalid"
    EMERGENCY_OR_SHORT_CODE = "emergency_or_short_code"
    NUMBER_NOT_ALLOCATED = "number_not_allocated"
    TOLL_FREE_REFUSED = "toll_free_refused"
    TOLL_FREE_NOT_SERVED = "toll_free_not_served"
    DESTINATION_NOT_SERVED = "destination_not_served"
    NUMBER_KIND_REFUSED = "number_kind_refused"
    NO_EXACT_RATE = "no_exact_rate"
    DESTINATION_AMBIGUOUS = "destination_ambiguous"
    BLOCKED_BY_OPERATOR = "blocked_by_operator"
    BLOCKED_HIGH_RISK = "blocked_high_risk"
    BLOCKED_BY_TENANT = "blocked_by_tenant"
    NO_AUDIO_CONFERENCING = "no_audio_conferencing"
    LOCATION_DISABLED = "location_disabled"
    PERMISSION_NONE = "permission_none"
    PERMISSION_DOMESTIC = "permission_domestic"
    PERMISSION_ZONE_A = "permission_zone_a"
    MEETING_ORGANIZER_ONLY = "meeting_organizer_only"
    MEETING_AUTHENTICATED_ONLY = "meeting_authenticated_only"
    LIMIT_CONCURRENT_CALLS = "limit_concurrent_calls"
    LIMIT_CALLS_A_MINUTE = "limit_calls_a_minute"
    LIMIT_CALLEES_A_DAY = "limit_callees_a_day"
    LIMIT_PRICE = "limit_price"
    LIMIT_SPEND_A_DAY = "limit_spend_a_day"
    LIMIT_MEETING_TIME = "limit_meeting_time"
    LIMIT_MEETING_SPEND = "limit_meeting_spend"
    LIMIT_FAIR_USE = "limit_fair_use"
    NOT_COVERED = "not_covered"
    CREDITS_NOT_SET_UP = "credits_not_set_up"
    NO_CREDITS_LICENCE = "no_credits_licence"
    NO_RATE = "no_rate"
    PROMOTION_EXHAUSTED = "promotion_exhausted"
    ADDON_EXHAUSTED = "addon_exhausted"
    POOL_EXHAUSTED = "pool_exhausted"
    CREDITS_EXHAUSTED = "credits_exhausted"
    CALLEE_COOLING_DOWN = "callee_cooling_down"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class ReasonText:
    """What people are told: what is wrong, and what would make the call pass."""

    message: str
    remedy: str


REASON_TEXTS: dict[Reason, ReasonText] = {
    Reason.TENANT_UNKNOWN: ReasonText(
        "There is no tenant with this id.",
        "Check the tenant's id, or make the tenant known.",
    ),
    Reason.TENANT_SUSPENDED: ReasonText(
        "The tenant is suspended.",
        "Lift the tenant's suspension.",
    ),
    Reason.ORGANIZER_UNKNOWN: ReasonText(
        "The tenant has no organizer with this id.",
        "Check the organizer's id, or make the organizer known.",
    ),
    Reason.ORGANIZER_BLOCKED: ReasonText(
        "The organizer is blocked.",
        "See why: dialout organizer blocked; then lift it: dialout organizer unblock.",
    ),
    Reason.MEETING_OF_ANOTHER_ORGANIZER: ReasonText(
        "This meeting is another organizer's.",
        "Name the organizer that the meeting is registered with, or change that: meeting set.",
    ),
    Reason.NUMBER_INVALID: ReasonText(
        "This is not a possible telephone number.",
        "Dial a whole number; with + and the calling code it means the same everywhere.",
    ),
    Reason.EMERGENCY_OR_SHORT_CODE: ReasonText(
        "Emergency numbers and short codes are never called.",
        "Nothing makes it pass. Dial it on a telephone of your own.",
    ),
    Reason.NUMBER_NOT_ALLOCATED: ReasonText(
        "The number lies in no range that its country has given out.",
        "Check the number; or let credits pay for such numbers: policy unallocated = credits.",
    ),
    Reason.TOLL_FREE_REFUSED: ReasonText(
        "Toll-free numbers are not called.",
        "Allow them: policy toll_free = allow; the trunk must reach those of the country, too.",
    ),
    Reason.TOLL_FREE_NOT_SERVED: ReasonText(
        "The trunk does not reach toll-free numbers of this country.",
        "If it does, add the country to toll_free_regions of the bridge.",
    ),
    Reason.DESTINATION_NOT_SERVED: ReasonText(
        "The trunk of the meeting's bridge does not reach this country.",
        "If it does, add the country to regions of the bridge; or meet on a bridge that does.",
    ),
    Reason.NUMBER_KIND_REFUSED: ReasonText(
        "Numbers of this kind are not called.",
        "Let credits pay for them: policy premium = credits, and a rate for exactly their prefix.",
    ),
    Reason.NO_EXACT_RATE: ReasonText(
        "The rate deck has no price for exactly this kind of number.",
        "Give the deck a rate whose prefix no ordinary number begins with.",
    ),
    Reason.DESTINATION_AMBIGUOUS: ReasonText(
        "The rate deck prices this number as one of another country.",
        "Give the deck a rate for the number's own country, or name that country in the rate.",
    ),
    Reason.BLOCKED_BY_OPERATOR: ReasonText(
        "The operator has blocked this destination.",
        "Take the prefix off the operator's list.",
    ),
    Reason.BLOCKED_HIGH_RISK: ReasonText(
        "This destination is known for fraud.",
        "Exempt the prefix for the tenant, or leave the list: policy high_risk_prefixes = allow.",
    ),
    Reason.BLOCKED_BY_TENANT: ReasonText(
        "The tenant has blocked this destination.",
        "Take the prefix off the tenant's list.",
    ),
    Reason.NO_AUDIO_CONFERENCING: ReasonText(
        "The organizer has no licence for Audio Conferencing.",
        "Assign audio_conferencing or audio_conferencing_ppm to the organizer.",
    ),
    Reason.LOCATION_DISABLED: ReasonText(
        "Customers in the organizer's country may not have telephones called.",
        "Nothing makes it pass, unless the organizer's usage location is wrong.",
    ),
    Reason.PERMISSION_NONE: ReasonText(
        "The organizer may not have telephones called.",
        "Change the organizer's permission.",
    ),
    Reason.PERMISSION_DOMESTIC: ReasonText(
        "The organizer may have only telephones of the own country called.",
        "Change the organizer's permission from domestic to any.",
    ),
    Reason.PERMISSION_ZONE_A: ReasonText(
        "The organizer may have only telephones in Zone A called.",
        "Change the organizer's permission to any.",
    ),
    Reason.MEETING_ORGANIZER_ONLY: ReasonText(
        "In this meeting only the organizer may have telephones called.",
        "Let the organizer ask, or change the meeting's permission.",
    ),
    Reason.MEETING_AUTHENTICATED_ONLY: ReasonText(
        "In this meeting only people who have signed in may have telephones called.",
        "Sign in, or change the meeting's permission to everyone.",
    ),
    Reason.LIMIT_CONCURRENT_CALLS: ReasonText(
        "As many calls are going on as may be at once.",
        "Wait for one to end, or raise the limit concurrent_calls.",
    ),
    Reason.LIMIT_CALLS_A_MINUTE: ReasonText(
        "As many calls have been placed in this minute as may be.",
        "Wait for the next minute, or raise the limit calls_a_minute.",
    ),
    Reason.LIMIT_CALLEES_A_DAY: ReasonText(
        "As many different numbers have been called today as may be.",
        "Call one of them, wait for the next day, or raise the limit callees_a_day.",
    ),
    Reason.LIMIT_PRICE: ReasonText(
        "A minute of this call costs more than it may.",
        "Raise the limit price, or give the deck a lower rate for the destination.",
    ),
    Reason.LIMIT_SPEND_A_DAY: ReasonText(
        "As much is spent or set aside today as may be.",
        "Wait for the next day, or raise the limit spend_a_day.",
    ),
    Reason.LIMIT_MEETING_TIME: ReasonText(
        "The meeting's minutes of today are used up or set aside.",
        "Wait for the next day, or raise the limit meeting_time.",
    ),
    Reason.LIMIT_MEETING_SPEND: ReasonText(
        "The meeting's money of today is used up or set aside.",
        "Wait for the next day, or raise the limit meeting_spend.",
    ),
    Reason.LIMIT_FAIR_USE: ReasonText(
        "The organizer is beyond the fair use of the add-on, whoever would pay.",
        "Wait for the next month, or raise the limit fair_use.",
    ),
    Reason.NOT_COVERED: ReasonText(
        "No licence of the organizer covers this destination, and there are no credits.",
        "Set credits up for the tenant and assign communications_credits to the organizer.",
    ),
    Reason.CREDITS_NOT_SET_UP: ReasonText(
        "The tenant has not set up credits.",
        "Add credits to the tenant.",
    ),
    Reason.NO_CREDITS_LICENCE: ReasonText(
        "The organizer may not draw on the tenant's credits.",
        "Assign communications_credits to the organizer.",
    ),
    Reason.NO_RATE: ReasonText(
        "The tenant's rate deck has no price for this destination.",
        "Give the tenant a deck that has one.",
    ),
    Reason.PROMOTION_EXHAUSTED: ReasonText(
        "The complimentary minutes of this month are used up or set aside.",
        "Wait for the next month, or let credits pay.",
    ),
    Reason.ADDON_EXHAUSTED: ReasonText(
        "The organizer has reached the fair use of the add-on for this month.",
        "Raise it: policy addon_fair_use_minutes; or let credits pay.",
    ),
    Reason.POOL_EXHAUSTED: ReasonText(
        "The tenant's minutes of this month are used up or set aside.",
        "Wait for the next month, assign more licences, or let credits pay.",
    ),
    Reason.CREDITS_EXHAUSTED: ReasonText(
        "The tenant's credits are used up or set aside.",
        "Add credits to the tenant.",
    ),
    Reason.CALLEE_COOLING_DOWN: ReasonText(
        "This telephone has been called often of late, and nobody there took a call.",
        "Call it later; or let it be called again at once: dialout callee clear.",
    ),
    Reason.DUPLICATE: ReasonText(
        "A dial-out with this id has been asked for before.",
        "Ask again with an id of its own.",
    ),
}
