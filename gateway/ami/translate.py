"""From the bytes of an AMI event to a value, reading no more of them than is needed.

An event has up to forty headers and three or four matter, so those are looked up in the bytes
and the others are never decoded.
"""

import re
from collections.abc import Callable

from gateway.ami.events import (
    ConferenceChanged,
    ConferenceEnded,
    DialBegin,
    DialEnd,
    DialInAdmitted,
    DialInReached,
    DialState,
    Event,
    GateReached,
    Hangup,
    InterceptReached,
    KeypadCancelReached,
    KeypadReached,
    LinkUp,
    OriginateResponse,
    Shutdown,
)
from gateway.ami.line import is_line

_PREFIX = b"Event: "
_ANOTHER = b"\r\nEvent: "

_DIGITS = re.compile(r"[0-9]{1,18}")
_KEY = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"[0-9+*#]{1,40}")
_NUMBER_OR_EMPTY = re.compile(r"[0-9+*#]{0,40}")
_UUID_OR_EMPTY = re.compile(r"[0-9a-fA-F-]{0,36}")
_WORD_OR_EMPTY = re.compile(r"[A-Za-z0-9._@+-]{0,128}")
_SECONDS = re.compile(r"[0-9]{1,10}")
_MILLISECONDS = re.compile(r"[0-9]{1,13}")
_STATUS = re.compile(r"[A-Z]{1,16}")
_ORIGINATED = re.compile(r"Success|Failure")
_SMALL = re.compile(r"[0-9]{1,3}")
_TIMESTAMP = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,9}))?")
"""Up to the year 2286: no number may be so large that it breaks whoever reckons with it."""


class MalformedEvent(ValueError):
    """An event lacks a header that it always has, has it twice, or with characters it never has."""


def event_name(frame: bytes) -> bytes | None:
    """Return the name of an event; None if the message is no event."""
    if not frame.startswith(_PREFIX):
        return None
    end = frame.find(b"\r\n")
    return frame[len(_PREFIX) : end if end >= 0 else len(frame)]


def is_translated(name: bytes) -> bool:
    """Tell whether events of this name may mean something to the gateway."""
    return name in _TRANSLATORS


def translate(name: bytes, frame: bytes) -> Event | None:
    """Return what an event of a translated name says, None if it is none of the gateway's.

    Raises MalformedEvent. A gate whose event is malformed gets no verdict and so denies.
    """
    if _ANOTHER in frame:
        raise MalformedEvent("Event")
    return _TRANSLATORS[name](frame)


def milliseconds(timestamp: str) -> int | None:
    """Return epoch seconds, written as a decimal, as whole milliseconds; None if they are not."""
    match = _TIMESTAMP.fullmatch(timestamp)
    if match is None:
        return None
    fraction = match[2] or ""
    return int(match[1]) * 1000 + int(fraction[:3].ljust(3, "0"))


def _fully_booted(frame: bytes) -> LinkUp:
    uptime = _text(frame, b"Uptime")
    return LinkUp(uptime_seconds=int(uptime) if _SECONDS.fullmatch(uptime) else None)


def _shutdown(_frame: bytes) -> Shutdown:
    return Shutdown()


def _user_event(frame: bytes) -> Event | None:
    read = _USER_EVENTS.get(_text(frame, b"UserEvent"))
    return None if read is None else read(frame)


def _gate_reached(frame: bytes) -> GateReached:
    return GateReached(
        key_hex=_matching(frame, b"Key", _KEY),
        visit=_matching(frame, b"Visit", _DIGITS),
        channel=_name(frame, b"Channel"),
        uniqueid=_name(frame, b"Uniqueid"),
        at=_at(frame),
    )


def _intercept_reached(frame: bytes) -> InterceptReached:
    return InterceptReached(
        visit=_matching(frame, b"Visit", _DIGITS),
        number=_matching(frame, b"Number", _NUMBER),
        tenant=_matching(frame, b"Tenant", _UUID_OR_EMPTY),
        organizer=_matching(frame, b"Organizer", _WORD_OR_EMPTY),
        initiator=_matching(frame, b"Initiator", _WORD_OR_EMPTY),
        conference=_matching(frame, b"Conference", _WORD_OR_EMPTY),
        dial_out_id=_matching(frame, b"DialOutId", _UUID_OR_EMPTY),
        channel=_name(frame, b"Channel"),
        uniqueid=_name(frame, b"Uniqueid"),
        at=_at(frame),
    )


def _keypad_reached(frame: bytes) -> KeypadReached:
    return KeypadReached(
        visit=_matching(frame, b"Visit", _DIGITS),
        number=_matching(frame, b"Number", _NUMBER),
        tenant=_matching(frame, b"Tenant", _UUID_OR_EMPTY),
        organizer=_matching(frame, b"Organizer", _WORD_OR_EMPTY),
        initiator=_matching(frame, b"Initiator", _WORD_OR_EMPTY),
        conference=_matching(frame, b"Conference", _WORD_OR_EMPTY),
        channel=_name(frame, b"Channel"),
        uniqueid=_name(frame, b"Uniqueid"),
        at=_at(frame),
    )


def _keypad_cancel_reached(frame: bytes) -> KeypadCancelReached:
    return KeypadCancelReached(
        visit=_matching(frame, b"Visit", _DIGITS),
        channel=_name(frame, b"Channel"),
        uniqueid=_name(frame, b"Uniqueid"),
        at=_at(frame),
    )


def _dial_in_reached(frame: bytes) -> DialInReached:
    return DialInReached(
        visit=_matching(frame, b"Visit", _DIGITS),
        number=_matching(frame, b"Number", _NUMBER),
        caller=_matching(frame, b"Caller", _NUMBER_OR_EMPTY),
        tenant=_matching(frame, b"Tenant", _UUID_OR_EMPTY),
        organizer=_matching(frame, b"Organizer", _WORD_OR_EMPTY),
        conference=_matching(frame, b"Conference", _WORD_OR_EMPTY),
        channel=_name(frame, b"Channel"),
        uniqueid=_name(frame, b"Uniqueid"),
        at=_at(frame),
    )


def _dial_in_admitted(frame: bytes) -> DialInAdmitted:
    return DialInAdmitted(
        key_hex=_matching(frame, b"Key", _KEY),
        admitted_at_ms=int(_matching(frame, b"Admitted", _MILLISECONDS)),
        uniqueid=_name(frame, b"Uniqueid"),
        at=_at(frame),
    )


def _dial_begin(frame: bytes) -> DialBegin:
    return DialBegin(
        uniqueid=_line(frame, b"Uniqueid"),
        dest_uniqueid=_name(frame, b"DestUniqueid"),
        dest_channel=_name(frame, b"DestChannel"),
        at=_at(frame),
        context=_line(frame, b"Context"),
    )


def _dial_state(frame: bytes) -> DialState:
    return DialState(
        uniqueid=_line(frame, b"Uniqueid"),
        dest_uniqueid=_name(frame, b"DestUniqueid"),
        dial_status=_matching(frame, b"DialStatus", _STATUS),
        at=_at(frame),
    )


def _dial_end(frame: bytes) -> DialEnd:
    return DialEnd(
        uniqueid=_line(frame, b"Uniqueid"),
        dest_uniqueid=_name(frame, b"DestUniqueid"),
        dial_status=_matching(frame, b"DialStatus", _STATUS),
        at=_at(frame),
    )


def _hangup(frame: bytes) -> Hangup:
    return Hangup(
        uniqueid=_name(frame, b"Uniqueid"),
        linkedid=_line(frame, b"Linkedid"),
        channel=_line(frame, b"Channel"),
        cause=_number(frame, b"Cause"),
        at=_at(frame),
    )


def _conference_joined(frame: bytes) -> ConferenceChanged:
    return _conference_changed(frame, joined=True)


def _conference_left(frame: bytes) -> ConferenceChanged:
    return _conference_changed(frame, joined=False)


def _conference_changed(frame: bytes, *, joined: bool) -> ConferenceChanged:
    return ConferenceChanged(
        conference=_name(frame, b"Conference"),
        joined=joined,
        channel=_name(frame, b"Channel"),
        uniqueid=_name(frame, b"Uniqueid"),
        at=_at(frame),
    )


def _conference_ended(frame: bytes) -> ConferenceEnded:
    return ConferenceEnded(conference=_name(frame, b"Conference"))


def _originate_response(frame: bytes) -> OriginateResponse:
    uniqueid = _line(frame, b"Uniqueid")
    return OriginateResponse(
        action_id=_line(frame, b"ActionID"),
        uniqueid="" if uniqueid == "<null>" else uniqueid,
        success=_matching(frame, b"Response", _ORIGINATED) == "Success",
        reason=_number(frame, b"Reason"),
    )


_USER_EVENTS: dict[str, Callable[[bytes], Event]] = {
    "DialoutGate": _gate_reached,
    "DialoutIntercept": _intercept_reached,
    "DialoutKeypad": _keypad_reached,
    "DialoutKeypadCancel": _keypad_cancel_reached,
    "DialoutDialIn": _dial_in_reached,
    "DialoutAdmitted": _dial_in_admitted,
}

_TRANSLATORS: dict[bytes, Callable[[bytes], Event | None]] = {
    b"FullyBooted": _fully_booted,
    b"Shutdown": _shutdown,
    b"UserEvent": _user_event,
    b"DialBegin": _dial_begin,
    b"DialState": _dial_state,
    b"DialEnd": _dial_end,
    b"Hangup": _hangup,
    b"ConfbridgeJoin": _conference_joined,
    b"ConfbridgeLeave": _conference_left,
    b"ConfbridgeEnd": _conference_ended,
    b"OriginateResponse": _originate_response,
}


def _text(frame: bytes, name: bytes) -> str:
    """Return the value of a header, empty if it is absent; a repeated one is malformed.

    Repeated, because one of two could be somebody's input that reached the event as a line.
    """
    mark = b"\r\n" + name + b": "
    found = frame.find(mark)
    if found < 0:
        return ""
    start = found + len(mark)
    if frame.find(mark, start) >= 0:
        raise MalformedEvent(name.decode())
    end = frame.find(b"\r\n", start)
    return frame[start : end if end >= 0 else len(frame)].decode("utf-8", "replace")


def _matching(frame: bytes, name: bytes, pattern: re.Pattern[str]) -> str:
    value = _text(frame, name)
    if not pattern.fullmatch(value):
        raise MalformedEvent(name.decode())
    return value


def _line(frame: bytes, name: bytes) -> str:
    value = _text(frame, name)
    if not is_line(value):
        raise MalformedEvent(name.decode())
    return value


def _name(frame: bytes, name: bytes) -> str:
    value = _line(frame, name)
    if not value:
        raise MalformedEvent(name.decode())
    return value


def _number(frame: bytes, name: bytes) -> int:
    value = _text(frame, name)
    return int(value) if _SMALL.fullmatch(value) else 0


def _at(frame: bytes) -> int | None:
    return milliseconds(_text(frame, b"Timestamp"))
