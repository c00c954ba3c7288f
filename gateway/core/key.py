"""The one id of a dial-out, and every name that channels and records carry because of it."""

import re
from dataclasses import dataclass
from typing import Self
from uuid import UUID

_GATE = "-gate"
_JOIN = "-join"
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class DialOutKey:
    """A tenant's id and the id of one of its dial-outs.

    Both together, because a client may choose the dial-out's id: two tenants that
    choose the same one must neither share a row nor collide on a channel's name.
    """

    tenant_id: UUID
    dial_out_id: UUID

    @property
    def hex(self) -> str:
        """64 lower-case hex digits: the tenant's 32, then the dial-out's 32."""
        return self.tenant_id.hex + self.dial_out_id.hex

    @property
    def extension(self) -> str:
        """The extension that the gate and the release context know this dial-out by."""
        return f"d{self.hex}"

    @property
    def gate_uniqueid(self) -> str:
        """Uniqueid of the half of the Local channel that runs the gate and dials the trunk."""
        return f"{self.hex}{_GATE}"

    @property
    def join_uniqueid(self) -> str:
        """Uniqueid of the half of the Local channel that joins the conference."""
        return f"{self.hex}{_JOIN}"

    @classmethod
    def of_gate(cls, uniqueid: str) -> Self | None:
        """Return the key of the call whose gate's half has this uniqueid; None if no call's."""
        return cls.parse(uniqueid.removesuffix(_GATE)) if uniqueid.endswith(_GATE) else None

    @classmethod
    def of_join(cls, uniqueid: str) -> Self | None:
        """Return the key of the call whose half that joins has this uniqueid; None if no call's."""
        return cls.parse(uniqueid.removesuffix(_JOIN)) if uniqueid.endswith(_JOIN) else None

    @property
    def warning_uniqueid(self) -> str:
        """Uniqueid of the half of the Local channel that knows when the callee is warned."""
        return f"{self.hex}-warning"

    @property
    def warned_uniqueid(self) -> str:
        """Uniqueid of the half that takes what the other one says to the telephone's leg."""
        return f"{self.hex}-warned"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the key that 64 lower-case hex digits stand for; None for anything else."""
        if not _HEX.fullmatch(text):
            return None
        return cls(tenant_id=UUID(hex=text[:32]), dial_out_id=UUID(hex=text[32:]))
