"""What becomes of a telephone that calls into a meeting: let in free, metered, or refused.

The rules are those of docs/dial-in.md. As in ``policy``, nothing here sees a balance: the
ledger says what credits have when it sets them aside. The number of a leg is the service number
that was dialled, and its rate that of the tenant's deck for service numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError

from gateway.core.e164 import Destination, NumberKind
from gateway.core.facts import Facts, Sku, known
from gateway.core.limits import Limit
from gateway.core.policy import RULES, Deny, Rule
from gateway.core.reasons import REASON_TEXTS, Reason
from gateway.core.waterfall import Look, Source, in_the_way, look_at_credits, payers, refusal

FORMAT: Final = 1
"""Raised when the shape changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Free:
    """The leg costs nobody anything, and leaves no record."""

    free: Literal[True] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Metered:
    """The leg is charged to ``sources``.

    One that ``needs_funds`` is let in only if they can pay, and cut where they end. Any other
    goes on, and what they do not cover is unpaid.
    """

    sources: tuple[Source, ...]
    needs_funds: bool


Judgement = Free | Metered | Deny


_BY_NAME = {rule.name: rule for rule in RULES}
_EVERY_LEG = (
    "tenant_known",
    "tenant_active",
    "organizer_known",
    "meeting_organizer",
    "number_readable",
)
_FUNDED_LEG = ("organizer_unblocked", "audio_conferencing")


def judge(facts: Facts) -> Judgement:
    """Return the first refusal that applies, else whether the leg is metered.

    A toll-free leg is always charged, because each minute of it costs the operator; it is
    refused where nobody may pay. A leg to a toll number is charged only to an organizer who pays
    by the minute, and refused to nobody for want of money.
    """
    for rule in _rules(facts):
        reason = rule.refusal(facts)
        if reason is not None:
            return Deny(reason=reason)
    if not _is_charged(facts):
        return Free()
    look = look_at_credits(facts)
    needs_funds = is_toll_free(facts)
    if look.lacks and needs_funds:
        return Deny(reason=refusal((look,)))
    return Metered(sources=payers((look,)), needs_funds=needs_funds)


def is_toll_free(facts: Facts) -> bool:
    """Return whether the number that was dialled is known to be free for its callers."""
    number = facts.number
    return isinstance(number, Destination) and number.kind is NumberKind.TOLL_FREE


def _is_charged(facts: Facts) -> bool:
    licences = known(facts.organizer).licences
    pays_by_minute = (
        Sku.AUDIO_CONFERENCING_PPM in licences and Sku.AUDIO_CONFERENCING not in licences
    )
    return pays_by_minute or is_toll_free(facts)


def _rules(facts: Facts) -> Iterator[Rule]:
    yield from (_BY_NAME[name] for name in _EVERY_LEG)
    if is_toll_free(facts):
        yield from (_BY_NAME[name] for name in _FUNDED_LEG)


@dataclass(frozen=True, slots=True, kw_only=True)
class DialInExplanation:
    """Everything that was looked at for one leg, at one instant.

    ``rules`` has what each rule refuses, by name and in order; None where it lets pass.
    ``sources`` is empty for a leg that nobody is charged for.
    """

    dial_in_format: int
    at: datetime
    metadata_version: str
    facts: Facts
    decision: Judgement
    rules: dict[str, Reason | None]
    sources: tuple[Look, ...]
    to_pass: tuple[str, ...]

    @property
    def text(self) -> str:
        """The explanation as canonical JSON: fields in declared order, no spaces."""
        return _ADAPTER.dump_json(self).decode()

    @property
    def observed(self) -> tuple[Limit, ...]:
        """The limits that the leg is beyond and that only observe: none are asked."""
        return ()

    @classmethod
    def parse(cls, text: str) -> "DialInExplanation | None":
        """Return the explanation that ``text`` is, or None if it is of another format."""
        try:
            explanation = _ADAPTER.validate_json(text)
        except ValidationError:
            return None
        return explanation if explanation.dial_in_format == FORMAT else None

    def plain(self) -> dict[str, Any]:
        """Return it as plain JSON values, each rule by itself."""
        plain: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        plain["observed"] = []
        plain["rules"] = [
            {"rule": name, "refuses": refuses, "facts": {}} for name, refuses in self.rules.items()
        ]
        return plain

    def again(self) -> "DialInExplanation":
        """Explain the same facts once more, by the rules of this version."""
        return explain(self.facts, at=self.at, metadata_version=self.metadata_version)


def explain(facts: Facts, *, at: datetime, metadata_version: str) -> DialInExplanation:
    """Ask every rule that can be asked, and look at credits if the leg is charged to anybody."""
    rules = dict(_asked(facts))
    is_charged = facts.organizer is not None and facts.number is not None and _is_charged(facts)
    looks = (look_at_credits(facts),) if is_charged and facts.destination is not None else ()
    refused = tuple(reason for reason in rules.values() if reason is not None)
    return DialInExplanation(
        dial_in_format=FORMAT,
        at=at,
        metadata_version=metadata_version,
        facts=facts,
        decision=judge(facts),
        rules=rules,
        sources=looks,
        to_pass=tuple(REASON_TEXTS[reason].remedy for reason in (*refused, *in_the_way(looks))),
    )


def _asked(facts: Facts) -> Iterator[tuple[str, Reason | None]]:
    for rule in _rules(facts):
        reason = rule.refusal(facts)
        yield rule.name, reason
        if reason is not None and rule.is_final:
            return


_ADAPTER = TypeAdapter(DialInExplanation)
