"""How a call ended: Asterisk's DialStatus and the Q.850 cause, read as a disposition."""

from enum import StrEnum


class Disposition(StrEnum):
    """What became of the telephone's leg. The raw cause is kept beside it."""

    ANSWERED = "answered"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    CONGESTION = "congestion"
    FAILED = "failed"
    CANCELLED = "cancelled"


_BY_DIAL_STATUS = {
    # A redirect that was not followed. What is busy says so by its cause.
    "BUSY": Disposition.FAILED,
    "NOANSWER": Disposition.NO_ANSWER,
    "CANCEL": Disposition.CANCELLED,
    "CONGESTION": Disposition.CONGESTION,
    "CHANUNAVAIL": Disposition.FAILED,
}

# What the network said is nearer to the truth than Asterisk's summary, which calls a
# number that does not exist (404, cause 1) unanswered.
_BY_CAUSE = {
    1: Disposition.FAILED,  # unallocated number
    2: Disposition.FAILED,  # no route to transit network
    3: Disposition.FAILED,  # no route to destination
    17: Disposition.BUSY,
    18: Disposition.NO_ANSWER,  # no user responding
    19: Disposition.NO_ANSWER,  # user alerted, no answer
    20: Disposition.FAILED,  # subscriber absent
    22: Disposition.FAILED,  # number changed
    27: Disposition.FAILED,  # destination out of order
    28: Disposition.FAILED,  # invalid number format
    34: Disposition.CONGESTION,  # no circuit available
    38: Disposition.CONGESTION,  # network out of order
    41: Disposition.CONGESTION,  # temporary failure
    42: Disposition.CONGESTION,  # switching equipment congestion
    44: Disposition.CONGESTION,  # requested circuit not available
}

CAUSE_REFUSED = 21
"""Q.850 "call rejected": the gate was told no, or a check of its own failed."""


def is_answer(dial_status: str) -> bool:
    """Return whether the DialStatus says that the telephone answered."""
    return dial_status == "ANSWER"


def unanswered(dial_status: str, cause: int) -> Disposition:
    """Return what became of a leg that nobody answered.

    A status that this version does not know is a failure, never an answer: an answer has
    an instant of its own, and money follows it.
    """
    by_status = _BY_DIAL_STATUS.get(dial_status, Disposition.FAILED)
    if by_status is Disposition.CANCELLED:
        return by_status
    return _BY_CAUSE.get(cause, by_status)
