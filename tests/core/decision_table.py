"""``decisions.txt``, the specification of every answer, read as values."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gateway.core.choices import Choices, MeetingPermission, read_choices
from gateway.core.e164 import Region
from gateway.core.facts import AskerRole, Callee, DialOutPermission, Sku, SourceKind
from gateway.core.limits import Limit, LimitKind, LimitMode, LimitScope
from gateway.core.policy import Allow, Decision, Deny
from gateway.core.reasons import Reason
from gateway.core.waterfall import CREDITS, Source
from tests.core.cases import BEGINNING, END, Case, DeckRow, Licence, Listed, instant, reference

TABLE = Path(__file__).with_name("decisions.txt")

_LIMIT = re.compile(r"(?:(tenant|organizer|meeting)\.)?([a-z_]+)=([0-9]+)/([0-9]+)(?::([a-z]+))?")
_WORDS_OF_LIMITS = {"blocked", "called"}
_TENANTS = {"-", "credits", "suspended", "unknown"}
_LISTS = {"operator", "tenant", "exempt"}
_CALLEES = {"self": Callee.SELF, "other": Callee.THIRD_PARTY}
_SKUS = {
    "conferencing": Sku.AUDIO_CONFERENCING,
    "per_minute": Sku.AUDIO_CONFERENCING_PPM,
    "addon": Sku.EXTENDED_DIALOUT_US_CA,
    "credits": Sku.COMMUNICATIONS_CREDITS,
}
_LICENCE = re.compile(r"([a-z_]+)(?:\(([0-9-]+),([0-9-]+)\))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table: a case, and the answer that the specification gives to it."""

    line: int
    section: str
    because: str
    case: Case
    decision: Decision

    def __str__(self) -> str:
        """Name the row by its line, for the reader of a failed test."""
        return f"line {self.line}, {self.section}"


@cache
def rows() -> tuple[Row, ...]:
    """Return the lines of the table, in their order."""
    return tuple(_rows(TABLE.read_text(encoding="utf-8").splitlines()))


def _rows(lines: list[str]) -> Iterator[Row]:
    section, columns = "", [""]
    for number, line in enumerate(lines, start=1):
        cells = [cell.strip() for cell in line.split("|")]
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("when "):
            columns = cells
        elif line and not line.startswith("#"):
            cell = dict(zip(columns, cells, strict=True))
            yield Row(
                line=number,
                section=section,
                because=cell["because"],
                case=_case(cell),
                decision=_decision(cell["answer"]),
            )


def _case(cell: dict[str, str]) -> Case:
    words = cell["tenant"].split()
    tenant = {word for word in words if "=" not in word}
    assert tenant <= _TENANTS, tenant
    organizer, permission = _pair(cell["organizer"])
    asker, asker_region = _pair(cell["asks"])
    callee, meeting = _pair(cell["for"])
    return Case(
        at=instant(cell["when"], END),
        typed=cell["dials"],
        tenant_known="unknown" not in tenant,
        suspended="suspended" in tenant,
        credits_set_up="credits" in tenant,
        choices=_choices([word for word in words if "=" in word]),
        organizer=None if organizer == "unknown" else Region(organizer),
        permission=DialOutPermission(permission or "any"),
        licences=tuple(map(_licence, _words(cell["licences"]))),
        asker=AskerRole(asker),
        asker_region=Region(asker_region) if asker_region else None,
        callee=_CALLEES[callee],
        meeting=MeetingPermission(meeting) if meeting else None,
        deck=tuple(map(_deck_row, _words(cell["deck"]))),
        listed=_listed(_words(cell["lists"])),
        trunk=frozenset(map(Region, _words(cell["trunk"]))) if "trunk" in cell else None,
        registered=cell.get("registered"),
        **_limits(_words(cell.get("limits", "-"))),
    )


def _limits(words: list[str]) -> dict[str, Any]:
    """Return what the column of limits says, by the fields of a case."""
    plain = {word for word in words if "=" not in word}
    assert plain <= _WORDS_OF_LIMITS, plain
    limits = tuple(_limit(word) for word in words if "=" in word)
    called = frozenset({LimitScope.TENANT, LimitScope.ORGANIZER}) if "called" in plain else ()
    return {
        "blocked": "blocked" in plain,
        "limits": limits,
        "called_today": frozenset(called),
    }


def _limit(word: str) -> Limit:
    match = _LIMIT.fullmatch(word)
    assert match, word
    scope, kind, used, most, mode = match.groups()
    return Limit(
        kind=LimitKind(kind),
        scope=LimitScope(scope) if scope else LimitKind(kind).scopes[0],
        mode=LimitMode(mode or "refuse"),
        most=int(most),
        used=int(used),
    )


def _pair(text: str) -> tuple[str, str]:
    first, _, second = text.partition(" ")
    return first, second


def _words(text: str) -> list[str]:
    return [] if text == "-" else text.split()


def _choices(words: list[str]) -> Choices:
    """Return the default choices, but for those that are named."""
    named: dict[str, object] = {}
    for word in words:
        name, _, value = word.partition("=")
        named[name] = value.split(",") if name == "addon_regions" else value
    return Choices(**read_choices(named))


def _licence(word: str) -> Licence:
    match = _LICENCE.fullmatch(word)
    assert match, word
    name, first, after = match.groups("")
    return Licence(
        sku=_SKUS[name], valid_from=instant(first, BEGINNING), valid_to=instant(after, END)
    )


def _deck_row(word: str) -> DeckRow:
    prefix, _, regions = word.partition("=")
    return DeckRow(
        prefix=prefix,
        regions=frozenset(map(Region, regions.split(","))) if regions else None,
    )


def _listed(words: list[str]) -> Listed:
    pairs = [word.split("=") for word in words]
    assert {name for name, _ in pairs} <= _LISTS, words
    return Listed(
        operator=tuple(prefix for name, prefix in pairs if name == "operator"),
        tenant=tuple(prefix for name, prefix in pairs if name == "tenant"),
        exempt=tuple(prefix for name, prefix in pairs if name == "exempt"),
    )


def _decision(text: str) -> Decision:
    if text.startswith("no "):
        return Deny(reason=Reason(text.removeprefix("no ")))
    return Allow(sources=tuple(map(_source, text.split(" > "))))


def _source(name: str) -> Source:
    if name == SourceKind.CREDITS:
        return CREDITS
    (kind,) = (row["kind"] for row in reference("benefits") if row["benefit_id"] == name)
    return Source(kind=SourceKind(kind), benefit_id=name)
