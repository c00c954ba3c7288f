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
    "ANSWER": Disposition.ANSWERED,
    "BUSY": Disposition.BUSY,
    "NOANSWER": Disposition.NO_ANSWER,
    "CANCEL": Disposition.CANCELLED,
    "CONGESTION": Disposition.CONGESTION,
    "CHANUNAVAIL": Disposition.FAILED,
}

CAUSE_REFUSED = 21
"""Q.850 "call rejected": the gate was told no, or a check of its own failed."""

CAUSE_NO_GATEWAY = 38
"""Q.850 "network out of order": no gateway has renewed the heartbeat."""

CAUSE_GATEWAY_MUTE = 102
"""Q.850 "recovery on timer expiry": the gateway did not answer the gate in time."""


def disposition(dial_status: str | None) -> Disposition:
    """Return what a DialStatus means; None says that the trunk was never dialled.

    A status that this version does not know is a failure, never an answer: an answer has
    an instant of its own, and money follows it.
    """
    if dial_status is None:
        return Disposition.CANCELLED
    return _BY_DIAL_STATUS.get(dial_status, Disposition.FAILED)
