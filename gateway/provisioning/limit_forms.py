"""Limits and blocks, as people write them: checked once for commands, HTTP and sheets.

How much is written by what is limited: calls and callees as a whole number, time in whole
minutes, money as a decimal number in units of the tenant's currency; or ``none``.
"""

import re
from collections.abc import Hashable
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

from pydantic import Field, ValidationInfo, field_validator

from gateway.core.facts import OrganizerId
from gateway.core.limits import LimitKind, LimitMode, LimitScope, LimitTerms, LimitUnit
from gateway.ledger import Change, LimitKey
from gateway.provisioning.forms import (
    CONFERENCE_ID,
    MICROS_A_UNIT,
    PERSON_ID,
    SPEND,
    Form,
    PersonId,
    Reason,
)

NONE: Final = "none"
DEFAULT: Final = "default"

_SECONDS_A_MINUTE = 60
_NUMBER = re.compile(r"[0-9]{1,7}", re.ASCII)


class LimitOf(Form):
    """Which limit of whom. An empty subject: the tenant, or the default of all of the scope."""

    kind: LimitKind
    scope: LimitScope
    subject: str = Field(default="", validate_default=True)

    @property
    def key(self) -> Hashable:
        """Whose limit, and of what."""
        return self.scope, self.subject, self.kind

    @property
    def limit_key(self) -> LimitKey:
        """The same, in the ledger's words."""
        return LimitKey(scope=self.scope, subject=self.subject, kind=self.kind)

    @field_validator("scope")
    @classmethod
    def _of_the_kind(cls, scope: LimitScope, info: ValidationInfo) -> LimitScope:
        kind: LimitKind | None = info.data.get("kind")
        if kind is not None and scope not in kind.scopes:
            raise ValueError(f"{kind} can be limited for {_words(kind.scopes)}")
        return scope

    @field_validator("subject")
    @classmethod
    def _of_the_scope(cls, subject: str, info: ValidationInfo) -> str:
        match info.data.get("scope"):
            case LimitScope.TENANT if subject:
                raise ValueError("must be empty: the tenant is meant")
            case LimitScope.ORGANIZER if subject:
                return PERSON_ID.validate_python(subject)
            case LimitScope.MEETING if subject:
                return CONFERENCE_ID.validate_python(subject)
        return subject


class LimitForm(LimitOf):
    """A limit that is to be set. ``most`` of None: none, where the default is one."""

    most: int | None
    mode: LimitMode = Field(default=LimitMode.REFUSE, validate_default=True)

    @field_validator("most", mode="before")
    @classmethod
    def _in_the_unit(cls, most: object, info: ValidationInfo) -> int | None:
        kind: LimitKind | None = info.data.get("kind")
        if most == NONE or kind is None:
            return None
        match kind.unit:
            case LimitUnit.CALLS | LimitUnit.CALLEES:
                return _number(most, f"a whole number of {kind.unit}")
            case LimitUnit.SECONDS:
                return _number(most, "a whole number of minutes") * _SECONDS_A_MINUTE
            case LimitUnit.MICROS:
                return SPEND.validate_python(most)

    @field_validator("mode")
    @classmethod
    def _of_this_kind(cls, mode: LimitMode, info: ValidationInfo) -> LimitMode:
        kind: LimitKind | None = info.data.get("kind")
        if kind is not None and mode not in kind.modes:
            raise ValueError(f"{kind} can only {_words(kind.modes)}")
        return mode

    async def put(self, change: Change, tenant_id: UUID, at: datetime) -> StrEnum:
        """Set the limit."""
        terms = LimitTerms(kind=self.kind, most=self.most, mode=self.mode)
        return await change.limit_put(tenant_id, self.scope, self.subject, terms)


class LimitRemovalForm(LimitOf):
    """A limit that is to be no more: what was somebody's own is the default again."""

    async def put(self, change: Change, tenant_id: UUID, at: datetime) -> StrEnum:
        """Take the limit away."""
        return await change.limit_remove(tenant_id, self.limit_key)


class BlockForm(Form):
    """An organizer who is to be blocked, and why."""

    organizer_id: PersonId
    because: Reason

    @property
    def key(self) -> Hashable:
        """The organizer."""
        return self.organizer_id

    async def put(self, change: Change, tenant_id: UUID, at: datetime) -> StrEnum:
        """Block the organizer until somebody lifts it."""
        return await change.organizer_block(
            tenant_id, OrganizerId(self.organizer_id), because=self.because, at=at
        )


class UnblockForm(BlockForm):
    """An organizer who is to be blocked no more, and why."""

    async def put(self, change: Change, tenant_id: UUID, at: datetime) -> StrEnum:
        """Lift the block."""
        return await change.organizer_unblock(
            tenant_id, OrganizerId(self.organizer_id), because=self.because, at=at
        )


def written(
    kind: LimitKind, scope: LimitScope, subject: str, text: str
) -> LimitForm | LimitRemovalForm:
    """Return the limit that ``AMOUNT[:MODE]`` or ``default`` stands for. Raises as a form does."""
    whose = {"kind": kind, "scope": scope, "subject": subject}
    if text == DEFAULT:
        return LimitRemovalForm.model_validate(whose)
    most, colon, mode = text.partition(":")
    only = kind.modes[0] if len(kind.modes) == 1 else LimitMode.REFUSE
    return LimitForm.model_validate(whose | {"most": most, "mode": mode if colon else only})


def amount(kind: LimitKind, most: int | None) -> str:
    """Return how much a limit allows, as it is written."""
    if most is None:
        return NONE
    match kind.unit:
        case LimitUnit.CALLS | LimitUnit.CALLEES:
            return str(most)
        case LimitUnit.SECONDS:
            return f"{most // _SECONDS_A_MINUTE}"
        case LimitUnit.MICROS:
            return f"{Decimal(most) / MICROS_A_UNIT:f}"


def _number(value: object, allowed: str) -> int:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _NUMBER.fullmatch(text):
        raise ValueError(f"must be {allowed}, at most seven digits, or {NONE}")
    return int(text)


def _words(values: tuple[StrEnum, ...]) -> str:
    return " or ".join(values)
