"""Asterisk's manager interface, made safe: typed actions out, ordered events in."""

from gateway.ami.channel import Channel
from gateway.ami.client import AmiClient
from gateway.ami.conference import Participant
from gateway.ami.errors import (
    AmiEncodingError,
    AmiError,
    AmiLoginRefused,
    AmiRefused,
    AmiTimeout,
    AmiUnavailable,
)
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
    LinkDown,
    LinkUp,
    OriginateResponse,
    Shutdown,
)

__all__ = [
    "AmiClient",
    "AmiEncodingError",
    "AmiError",
    "AmiLoginRefused",
    "AmiRefused",
    "AmiTimeout",
    "AmiUnavailable",
    "Channel",
    "ConferenceChanged",
    "ConferenceEnded",
    "DialBegin",
    "DialEnd",
    "DialInAdmitted",
    "DialInReached",
    "DialState",
    "Event",
    "GateReached",
    "Hangup",
    "InterceptReached",
    "KeypadCancelReached",
    "KeypadReached",
    "LinkDown",
    "LinkUp",
    "OriginateResponse",
    "Participant",
    "Shutdown",
]
