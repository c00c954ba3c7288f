"""Why a decision was what it was, as JSON that gives the same bytes for the same facts."""

import json
from dataclasses import asdict
from typing import Any

from gateway.core.policy import Allow, Decision, Facts


def explanation(facts: Facts, decision: Decision) -> str:
    """Return the facts and the decision as canonical JSON: sorted keys, no spaces."""
    answer = "allow" if isinstance(decision, Allow) else "deny"
    return json.dumps(
        {"facts": asdict(facts), "decision": {"answer": answer, **asdict(decision)}},
        default=_plain,
        sort_keys=True,
        separators=(",", ":"),
    )


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no place in an explanation")
