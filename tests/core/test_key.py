"""The one id of a dial-out and the names made from it."""

from uuid import UUID, uuid4

import pytest

from gateway.core.key import DialOutKey

KEY = DialOutKey(tenant_id=UUID(int=0xA), dial_out_id=UUID(int=0xB))


def test_a_key_survives_its_text() -> None:
    """Channels, records and ActionIDs carry the text; the key must come back from it."""
    key = DialOutKey(tenant_id=uuid4(), dial_out_id=uuid4())

    assert DialOutKey.parse(key.hex) == key


def test_two_tenants_with_the_same_dial_out_id_share_no_name() -> None:
    """A client chooses the id: another tenant's choice must not collide with it."""
    other = DialOutKey(tenant_id=UUID(int=0xC), dial_out_id=KEY.dial_out_id)

    assert KEY.gate_uniqueid != other.gate_uniqueid
    assert KEY.extension != other.extension


@pytest.mark.parametrize(
    "text", ["", "d" * 63, "d" * 65, "D" * 64, "g" * 64, "0" * 63 + "\n", "\u0660" * 64]
)
def test_anything_else_is_no_key(text: str) -> None:
    """What Asterisk reports back may have been sent by somebody else."""
    assert DialOutKey.parse(text) is None
