"""Why a decision was what it was, as JSON that gives the same bytes for the same facts.

What is stored with a dial-out is this text. Reading it back and explaining its facts once
more gives it again, byte for byte, as long as the rules are the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from gateway.core.e164 import Destination
from gateway.core.facts import Facts
from gateway.core.limits import Limit
from gateway.core.policy import RULES, Allow, Decision, Deny, funding, observed
from gateway.core.reasons import REASON_TEXTS, Reason
from gateway.core.waterfall import Look, in_the_way, waterfall

FORMAT: Final = 4
"""Raised when the shape changes.

Format 1 had the facts and the decision alone, 2 no limits, 3 neither what the bridge's trunk
reaches nor whether the meeting is another organizer's.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything that was looked at for one request, at one instant.

    ``rules`` has what each rule refuses, by name and in order; None where it lets pass. It
    goes on after the first refusal: what else would refuse is worth knowing before that one
    is mended. ``sources`` is empty when none could be asked. ``to_pass`` says what would have
    to change.
    """

    format: int
    at: datetime
    metadata_version: str
    facts: Facts
    decision: Decision
    rules: dict[str, Reason | None]
    sources: tuple[Look, ...]
    to_pass: tuple[str, ...]

    @property
    def text(self) -> str:
        """The explanation as canonical JSON: fields in declared order, no spaces."""
        return _ADAPTER.dump_json(self).decode()

    @classmethod
    def parse(cls, text: str) -> "Explanation | None":
        """Return the explanation that ``text`` is, or None if it is of another format."""
        try:
            explanation = _ADAPTER.validate_json(text)
        except ValidationError:
            return None
        return explanation if explanation.format == FORMAT else None

    @property
    def observed(self) -> tuple[Limit, ...]:
        """The limits that the call is beyond and that only observe; none of a refused one."""
        return observed(self.facts) if isinstance(self.decision, Allow) else ()

    def plain(self) -> dict[str, Any]:
        """Return it as plain JSON values, each rule with the facts that it looked at."""
        plain: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        plain["observed"] = [{"kind": limit.kind, "scope": limit.scope} for limit in self.observed]
        plain["rules"] = [
            {
                "rule": rule.name,
                "refuses": self.rules[rule.name],
                "facts": {path: _fact(plain["facts"], path) for path in rule.facts},
            }
            for rule in RULES
            if rule.name in self.rules
        ]
        return plain

    def again(self) -> "Explanation":
        """Explain the same facts once more, by the rules of this version."""
        return explain(self.facts, at=self.at, metadata_version=self.metadata_version)


def explain(facts: Facts, *, at: datetime, metadata_version: str) -> Explanation:
    """Ask every rule that can be asked, and look at every source if the number is known."""
    rules = dict(_asked(facts))
    looks = waterfall(facts) if isinstance(facts.number, Destination) else ()
    first = next(filter(None, rules.values()), None)
    decision = Deny(reason=first) if first else funding(looks)
    return Explanation(
        format=FORMAT,
        at=at,
        metadata_version=metadata_version,
        facts=facts,
        decision=decision,
        rules=rules,
        sources=looks,
        to_pass=tuple(REASON_TEXTS[reason].remedy for reason in _obstacles(rules, looks)),
    )


def _asked(facts: Facts) -> Iterator[tuple[str, Reason | None]]:
    for rule in RULES:
        reason = rule.refusal(facts)
        yield rule.name, reason
        if reason is not None and rule.is_final:
            return


def _fact(facts: dict[str, Any], path: str) -> Any:
    """Return the value at ``path`` in plain facts; None where the path ends early.

    In a list, a name stands for those of this kind.
    """
    value: Any = facts
    for name in path.split("."):
        match value:
            case dict():
                value = value.get(name)
            case list():
                value = [each for each in value if each["kind"] == name]
            case _:
                return None
    return value


def _obstacles(rules: dict[str, Reason | None], looks: tuple[Look, ...]) -> Iterator[Reason]:
    yield from filter(None, rules.values())
    yield from in_the_way(looks)


_ADAPTER = TypeAdapter(Explanation)
