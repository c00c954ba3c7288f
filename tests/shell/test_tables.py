"""Tables for people: narrow enough for a terminal, and nothing in them that one must decipher."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest

from gateway.cli.provisioning import show
from gateway.cli.terminal import cell
from gateway.core.e164 import Region
from gateway.core.event import EventKind
from gateway.ledger import DeliveryState, Event

AT = datetime(2026, 11, 21, 10, 30, 15, 123456, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (AT, "2026-11-21 09:30:15Z"),
        ((Region("US"), Region("CA")), "US;CA"),
        (None, ""),
        ("a\x1b[2J", "a\\x1b[2J"),
    ],
)
def test_a_value_is_printed_as_people_write_it(value: object, printed: str) -> None:
    """Times to the second, lists as in a sheet, and nothing that a terminal acts on."""
    assert cell(value) == printed


def test_no_heading_is_folded_in_eighty_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A heading in pieces cannot be read; machines have every field."""
    monkeypatch.setenv("COLUMNS", "80")
    event = Event(
        number=123_456,
        event_id=uuid4(),
        tenant_id=uuid4(),
        kind=EventKind.CREDITS_RECHARGE_FAILED,
        at=AT.astimezone(UTC),
        data={},
        state=DeliveryState.DELIVERED,
        attempts=3,
        next_at=None,
        fault="RemoteProtocolError",
        delivered_at=None,
    )
    columns = ("number", "at", "kind", "state", "fault", "event_id")

    show([event], columns, as_json=False)

    heading = capsys.readouterr().out.splitlines()[1]
    assert all(name.replace("_", " ") in heading for name in columns)
