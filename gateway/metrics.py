"""What the gateway counts, for Prometheus to read.

No label names a tenant, a person or a number: labels are closed lists, so that the series stay
few, and whoever may read the metrics learns nothing about anybody. What is counted lasts as
long as the process; what must outlast it is in the ledger.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector
from prometheus_client.exposition import choose_encoder

from gateway.core.dial_out import DialOut

REGISTRY: Final = CollectorRegistry(auto_describe=True)
"""All metrics of this process."""

ProcessCollector(registry=REGISTRY)

_ADMITTED: Final = Counter(
    "dialout_requests",
    "Dial-outs that were asked for and recorded, by what was decided. A repeated request is one.",
    ["outcome", "reason"],
    registry=REGISTRY,
)
_ENDED: Final = Counter(
    "dialout_ended",
    "Dial-outs that have ended in the books, by how, and by how that is known.",
    ["disposition", "evidence"],
    registry=REGISTRY,
)
_BILLED: Final = Counter(
    "dialout_billed_seconds", "Seconds that were billed, rounded up a call.", registry=REGISTRY
)
_OVERRUN: Final = Counter(
    "dialout_overrun_seconds",
    "Seconds that calls lasted beyond what was set aside for them. Nobody pays for these.",
    registry=REGISTRY,
)
_DROPPED: Final = Counter(
    "dialout_dropped",
    "Calls that were ended because their meeting had left them behind.",
    ["reason"],
    registry=REGISTRY,
)
_CALLS: Final = Gauge(
    "dialout_calls", "Calls that this gateway follows at this moment.", registry=REGISTRY
)
_ASTERISK_UP: Final = Gauge(
    "dialout_asterisk_up", "1 while Asterisk is connected.", registry=REGISTRY
)
_LEDGER_UP: Final = Gauge(
    "dialout_ledger_up", "1 while the ledger answers the heartbeat.", registry=REGISTRY
)
_READY: Final = Gauge(
    "dialout_ready", "1 while a call could be placed, as /readyz says.", registry=REGISTRY
)
_FINDINGS: Final = Gauge(
    "dialout_ledger_findings",
    "What the last whole check of the ledger found wrong. Anything but 0 wants a person.",
    ["finding"],
    registry=REGISTRY,
)
_CHECKED: Final = Gauge(
    "dialout_ledger_checked_timestamp_seconds",
    "When the last whole check of the ledger ended, by whichever gateway; 0 for never.",
    registry=REGISTRY,
)
_CHECK_SECONDS: Final = Gauge(
    "dialout_ledger_check_seconds",
    "How long the last whole check of the ledger took.",
    registry=REGISTRY,
)
_UNFILED: Final = Gauge(
    "dialout_ledger_unfiled_tables",
    "Tables of the ledger with rows that no month has a partition for.",
    registry=REGISTRY,
)


def admitted(outcome: str, dial_out: DialOut | None) -> None:
    """Count a request that was decided now."""
    reason = dial_out.reason if dial_out else None
    _ADMITTED.labels(outcome=outcome, reason=reason or "").inc()


def ended(dial_out: DialOut) -> None:
    """Count a dial-out that the ledger has taken the ending of, and what it billed."""
    _ENDED.labels(disposition=dial_out.disposition or "", evidence=dial_out.evidence or "").inc()
    _BILLED.inc(dial_out.billable_seconds or 0)
    _OVERRUN.inc(dial_out.overrun_seconds or 0)


def dropped(reason: str) -> None:
    """Count a call that was ended because its meeting had left it behind."""
    _DROPPED.labels(reason=reason).inc()


def checked(findings: Mapping[str, int], at: datetime, seconds: float) -> None:
    """Show a whole check of the ledger: how often each finding, zeros included."""
    for finding, count in findings.items():
        _FINDINGS.labels(finding=finding).set(count)
    _CHECKED.set(at.timestamp())
    _CHECK_SECONDS.set(seconds)


def unfiled(tables: int) -> None:
    """Show how many tables have rows in their default partition."""
    _UNFILED.set(tables)


def watch(
    *,
    calls: Callable[[], int],
    asterisk_up: Callable[[], bool],
    ledger_up: Callable[[], bool],
    ready: Callable[[], bool],
) -> None:
    """Have each reading of the metrics ask for what holds at that moment."""
    _CALLS.set_function(calls)
    _ASTERISK_UP.set_function(asterisk_up)
    _LEDGER_UP.set_function(ledger_up)
    _READY.set_function(ready)


def exposition(accept: str) -> tuple[bytes, str]:
    """Return all metrics and their content type, in the format that ``accept`` asks for."""
    encode, content_type = choose_encoder(accept)
    return encode(REGISTRY), content_type
