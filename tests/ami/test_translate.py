"""Events become values; whatever is not exactly one of ours becomes nothing."""

import pytest

from gateway.ami import (
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
from gateway.ami.translate import MalformedEvent, event_name, milliseconds, translate

KEY = "0123456789abcdef" * 4
AT = 1_763_704_321_123
TIMESTAMP = "Timestamp: 1763704321.123987"
TENANT = "9b1a7f7e-5c7b-4a39-9f39-0d2a60a4b111"
CHANNEL = ("Channel: Local/s@x;1", "Uniqueid: ast-1.1")
DIALLED = ("Uniqueid: gate-1", "DestUniqueid: ast-2.2")
GATE = (
    "Event: UserEvent",
    "Privilege: user,all",
    TIMESTAMP,
    "Channel: Local/d@dialout-gate-00000001;2",
    f"Uniqueid: {KEY}-gate",
    "UserEvent: DialoutGate",
    f"Key: {KEY}",
    "Visit: 42",
)
INTERCEPT = (
    "Event: UserEvent",
    TIMESTAMP,
    "Channel: PJSIP/a-1",
    "Uniqueid: pbx-1.2",
    "UserEvent: DialoutIntercept",
    "Visit: 7",
    "Number: +4420",
    "Tenant: ",
    "Organizer: ann@example.org",
    "Initiator: ",
    "Conference: room1",
    "DialOutId: ",
)


def read(*lines: str) -> Event | None:
    """Translate one event."""
    frame = "\r\n".join(lines).encode()
    name = event_name(frame)
    assert name is not None
    return translate(name, frame)


@pytest.mark.parametrize(
    ("lines", "event"),
    [
        (("Event: FullyBooted", "Uptime: 5"), LinkUp(uptime_seconds=5)),
        (("Event: FullyBooted",), LinkUp(uptime_seconds=None)),
        (("Event: Shutdown", "Shutdown: Cleanly"), Shutdown()),
        (
            GATE,
            GateReached(
                key_hex=KEY,
                visit="42",
                channel="Local/d@dialout-gate-00000001;2",
                uniqueid=f"{KEY}-gate",
                at=AT,
            ),
        ),
        (
            INTERCEPT,
            InterceptReached(
                visit="7",
                number="+4420",
                tenant="",
                organizer="ann@example.org",
                initiator="",
                conference="room1",
                dial_out_id="",
                channel="PJSIP/a-1",
                uniqueid="pbx-1.2",
                at=AT,
            ),
        ),
        (
            ("Event: DialBegin", TIMESTAMP, "DestChannel: PJSIP/t-1", "DestUniqueid: 1.3"),
            DialBegin(uniqueid="", dest_uniqueid="1.3", dest_channel="PJSIP/t-1", at=AT),
        ),
        (
            ("Event: DialEnd", "Uniqueid: 1.2", "DestUniqueid: 1.3", "DialStatus: ANSWER"),
            DialEnd(uniqueid="1.2", dest_uniqueid="1.3", dial_status="ANSWER", at=None),
        ),
        (
            (
                "Event: Hangup",
                TIMESTAMP,
                "Channel: PJSIP/José-1",
                "Uniqueid: 1.3",
                "Linkedid: 1.2",
                "Cause: 16",
            ),
            Hangup(uniqueid="1.3", linkedid="1.2", channel="PJSIP/José-1", cause=16, at=AT),
        ),
        (
            (
                "Event: OriginateResponse",
                "ActionID: o",
                "Response: Failure",
                "Reason: 5",
                "Uniqueid: <null>",
            ),
            OriginateResponse(action_id="o", uniqueid="", success=False, reason=5),
        ),
        (
            ("Event: ConfbridgeJoin", TIMESTAMP, "Conference: room 1", *CHANNEL, "Admin: No"),
            ConferenceChanged(
                conference="room 1", joined=True, channel="Local/s@x;1", uniqueid="ast-1.1", at=AT
            ),
        ),
        (
            ("Event: ConfbridgeLeave", TIMESTAMP, "Conference: room 1", *CHANNEL, "Admin: Yes"),
            ConferenceChanged(
                conference="room 1", joined=False, channel="Local/s@x;1", uniqueid="ast-1.1", at=AT
            ),
        ),
        (("Event: ConfbridgeEnd", "Conference: room 1"), ConferenceEnded(conference="room 1")),
        (
            ("Event: DialState", TIMESTAMP, *DIALLED, "DialStatus: RINGING"),
            DialState(uniqueid="gate-1", dest_uniqueid="ast-2.2", dial_status="RINGING", at=AT),
        ),
        (
            ("Event: UserEvent", TIMESTAMP, "UserEvent: DialoutKeypadCancel", *CHANNEL, "Visit: 7"),
            KeypadCancelReached(visit="7", channel="Local/s@x;1", uniqueid="ast-1.1", at=AT),
        ),
        (
            (
                *("Event: UserEvent", TIMESTAMP, "UserEvent: DialoutKeypad", *CHANNEL),
                *("Visit: 7", "Number: 02079460123", f"Tenant: {TENANT}", "Organizer: alice"),
                *("Initiator: ", "Conference: room-1"),
            ),
            KeypadReached(
                visit="7",
                number="02079460123",
                tenant=TENANT,
                organizer="alice",
                initiator="",
                conference="room-1",
                channel="Local/s@x;1",
                uniqueid="ast-1.1",
                at=AT,
            ),
        ),
        (
            (
                *("Event: UserEvent", TIMESTAMP, "UserEvent: DialoutAdmitted", *CHANNEL),
                *(f"Key: {KEY}", f"Admitted: {AT}"),
            ),
            DialInAdmitted(key_hex=KEY, admitted_at_ms=AT, uniqueid="ast-1.1", at=AT),
        ),
        (
            (
                *("Event: UserEvent", TIMESTAMP, "UserEvent: DialoutDialIn", *CHANNEL),
                *("Visit: 7", "Number: +18005550100", "Caller: ", f"Tenant: {TENANT}"),
                *("Organizer: alice", "Conference: room-1"),
            ),
            DialInReached(
                visit="7",
                number="+18005550100",
                caller="",
                tenant=TENANT,
                organizer="alice",
                conference="room-1",
                channel="Local/s@x;1",
                uniqueid="ast-1.1",
                at=AT,
            ),
        ),
        (("Event: UserEvent", "UserEvent: SomethingElse", "Key: x"), None),
    ],
)
def test_each_event_is_read(lines: tuple[str, ...], event: Event | None) -> None:
    """The headers are those that Asterisk 22 sent; the order of headers means nothing."""
    assert read(*lines) == event
    assert read(lines[0], *reversed(lines[1:])) == event


@pytest.mark.parametrize(
    ("lines", "bad"),
    [
        (GATE, f"Key: {KEY[:-1]}"),
        (GATE, f"Key: {KEY.upper()}"),
        (GATE, "Visit: "),
        (GATE, "Visit: ٤٢"),
        (GATE, "Channel: "),
        (INTERCEPT, "Number: 44;20"),
        (INTERCEPT, "Number: "),
        (INTERCEPT, "Tenant: x y"),
        (INTERCEPT, "Conference: a\nb"),
    ],
)
def test_a_header_of_other_characters_is_malformed(lines: tuple[str, ...], bad: str) -> None:
    """The dialplan filters them, so that others were not written by it."""
    name = bad.split(": ")[0]
    kept = [line for line in lines if not line.startswith(f"{name}: ")]

    with pytest.raises(MalformedEvent, match=name):
        read(*kept, bad)


def test_a_repeated_header_is_malformed() -> None:
    """One of the two is somebody's input, and nothing tells which."""
    with pytest.raises(MalformedEvent, match="Uniqueid"):
        read(*GATE, "Uniqueid: 1.1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1763704321.123987", AT),
        ("1763704321", 1_763_704_321_000),
        ("1763704321.5", 1_763_704_321_500),
        ("1763704321.007", 1_763_704_321_007),
        ("", None),
        ("1e9", None),
        ("-1.0", None),
        ("1763704321.", None),
    ],
)
def test_time_is_read_digit_by_digit(text: str, expected: int | None) -> None:
    """A float would be off by a millisecond now and then, and calls are billed by these."""
    assert milliseconds(text) == expected
