"""A member of a conference as Asterisk lists it."""

from dataclasses import dataclass

from gateway.ami.answers import Headers, required


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """One channel that was in a conference when Asterisk was asked, and as whom it came in."""

    uniqueid: str
    channel: str
    is_admin: bool
    is_marked: bool


def participant_from(item: Headers) -> Participant:
    """Return the member that an item of the list describes. Raises AmiRefused if it lacks part."""
    return Participant(
        uniqueid=required(item, "Uniqueid"),
        channel=required(item, "Channel"),
        is_admin=required(item, "Admin") == "Yes",
        is_marked=required(item, "MarkedUser") == "Yes",
    )
