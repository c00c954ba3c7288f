"""A channel as Asterisk lists it."""

import re
from dataclasses import dataclass

from gateway.ami.answers import Headers, required
from gateway.ami.errors import AmiRefused

_DURATION = re.compile(r"([0-9]{1,6}):([0-5][0-9]):([0-5][0-9])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One channel that existed when Asterisk was asked. `duration_seconds` is its age."""

    uniqueid: str
    linkedid: str
    name: str
    context: str
    extension: str
    application: str
    state_description: str
    duration_seconds: int


def channel_from(item: Headers) -> Channel:
    """Return the channel that an item of the list describes. Raises AmiRefused if it lacks part."""
    return Channel(
        uniqueid=required(item, "Uniqueid"),
        linkedid=required(item, "Linkedid"),
        name=required(item, "Channel"),
        context=required(item, "Context"),
        extension=required(item, "Exten"),
        application=required(item, "Application"),
        state_description=required(item, "ChannelStateDesc"),
        duration_seconds=_seconds(required(item, "Duration")),
    )


def _seconds(duration: str) -> int:
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise AmiRefused("a channel's Duration is no hours:minutes:seconds")
    hours, minutes, seconds = (int(part) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds
