"""How long a client says that its request may wait."""

import pytest

from gateway.api.dial_outs import PATIENCE_SECONDS_MAX, patience
from gateway.waiting_room import PATIENCE_SECONDS


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, PATIENCE_SECONDS),
        ("", PATIENCE_SECONDS),
        ("wait=1", 1.0),
        ("Wait = 5", 5.0),
        ("respond-async, wait=0", 0.0),
        ("wait=3; x=y", 3.0),
        ("wait=9999", PATIENCE_SECONDS_MAX),
        ("wait=99999", PATIENCE_SECONDS),
        ("wait=-1", PATIENCE_SECONDS),
        ("wait=٣", PATIENCE_SECONDS),
        ("await=1", PATIENCE_SECONDS),
    ],
)
def test_patience_is_what_the_prefer_header_says(prefer: str | None, seconds: float) -> None:
    """As RFC 7240 has it, within bounds; what cannot be understood is ignored, as it must be."""
    assert patience(prefer) == seconds
