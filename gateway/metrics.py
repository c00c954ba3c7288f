"""What the gateway counts, for Prometheus to read.

No label names a tenant, a person or a number: labels are closed lists, and the bridges of the
settings, so that the series stay few, and whoever may read the metrics learns nothing about
anybody. What is counted lasts as long as the process; what must outlast it is in the ledger.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from gateway.core.dial_out import BridgeName, DialOut
from gateway.core.outage import Outage

REGISTRY: Final = CollectorRegistry(auto_describe=True)
"""All metrics of this process."""

ProcessCollector(registry=REGISTRY)

_ADMITTED: Final = Counter(
    "dialout_requests",
    "Dial-outs that were asked for and recorded, by what was decided. A repeated request is one.",
    ["bridge", "outcome", "reason"],
    registry=REGISTRY,
)
_ENDED: Final = Counter(
    "dialout_ended",
    "Dial-outs that have ended in the books, by how, and by how that is known.",
    ["bridge", "disposition", "evidence"],
    registry=REGISTRY,
)
_BILLED: Final = Counter(
    "dialout_billed_seconds",
    "Seconds that were billed, rounded up a call.",
    ["bridge"],
    registry=REGISTRY,
)
_OVERRUN: Final = Counter(
    "dialout_overrun_seconds",
    "Seconds that calls lasted beyond what was set aside for them. Nobody pays for these.",
    ["bridge"],
    registry=REGISTRY,
)
_UNPROVED: Final = Counter(
    "dialout_unproved",
    "Calls whose end nothing proves, by which bound they were billed.",
    ["bridge", "unproved"],
    registry=REGISTRY,
)
_OUTAGE: Final = Counter(
    "dialout_outage_seconds",
    "Seconds in which evidence of calls may be missing, as this gateway has noticed.",
    ["bridge", "kind"],
    registry=REGISTRY,
)
_DROPPED: Final = Counter(
    "dialout_dropped",
    "Calls that were ended because their meeting had left them behind.",
    ["bridge", "reason"],
    registry=REGISTRY,
)
_TRIPPED: Final = Counter(
    "dialout_tripwire",
    "Legs on the trunk that no gate let through, and that were hung up. Anything but 0 wants a"
    " person. Each gateway of a bridge counts them.",
    ["bridge", "breach"],
    registry=REGISTRY,
)
_TURNED_AWAY: Final = Counter(
    "dialout_overloaded",
    "Requests that were refused because more was asked for than can be answered in time.",
    registry=REGISTRY,
)
_SETTLED: Final = Histogram(
    "dialout_settlement_seconds",
    "From when the end of a call is known to when the ledger has taken it.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 30.0),
    registry=REGISTRY,
)
_LAG: Final = Gauge(
    "dialout_lag_seconds",
    "By how much the gateway was last late for something that it had set a time for.",
    registry=REGISTRY,
)
_CALLS: Final = Gauge(
    "dialout_calls",
    "Calls that this gateway follows at this moment.",
    ["bridge"],
    registry=REGISTRY,
)
_ASTERISK_UP: Final = Gauge(
    "dialout_asterisk_up", "1 while Asterisk is connected.", ["bridge"], registry=REGISTRY
)
_MALFORMED: Final = Gauge(
    "dialout_ami_malformed_messages",
    "Messages of Asterisk that could not be read and were dropped, since the start.",
    ["bridge"],
    registry=REGISTRY,
)
_LATE: Final = Gauge(
    "dialout_ami_late_answers",
    "Answers of Asterisk that came when nobody awaited them any more, since the start.",
    ["bridge"],
    registry=REGISTRY,
)
_TASKS: Final = Gauge(
    "dialout_tasks",
    "Tasks of the event loop: some thirty, and a few for each call and each request in hand.",
    registry=REGISTRY,
)
_BLOCKS: Final = Gauge(
    "dialout_memory_blocks",
    "Blocks of memory that the objects of this process take. It comes back after a busy hour.",
    registry=REGISTRY,
)
_LEDGER_UP: Final = Gauge(
    "dialout_ledger_up", "1 while the ledger answers the heartbeat.", registry=REGISTRY
)
_READY: Final = Gauge(
    "dialout_ready",
    "1 while a call could be placed, as /readyz says.",
    ["bridge"],
    registry=REGISTRY,
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
_GRANTED: Final = Counter(
    "dialout_grants_given",
    "Calls that were granted while the ledger was away.",
    registry=REGISTRY,
)
_UNGRANTED: Final = Counter(
    "dialout_grants_refused",
    "Calls that were not granted while the ledger was away, by what stood against it.",
    ["because"],
    registry=REGISTRY,
)
_GRANTS_BOOKED: Final = Counter(
    "dialout_grants_booked",
    "Granted calls that the ledger has taken, by what it made of them.",
    ["outcome"],
    registry=REGISTRY,
)
_UNBOOKED: Final = Gauge(
    "dialout_grants_unbooked",
    "Granted calls that the ledger has not taken yet.",
    registry=REGISTRY,
)


def admitted(bridge: BridgeName, outcome: str, dial_out: DialOut | None) -> None:
    """Count a request that was decided now."""
    reason = dial_out.reason if dial_out else None
    _ADMITTED.labels(bridge=bridge, outcome=outcome, reason=reason or "").inc()


def ended(dial_out: DialOut) -> None:
    """Count a dial-out that the ledger has taken the ending of, and what it billed."""
    bridge = dial_out.request.bridge
    _ENDED.labels(
        bridge=bridge,
        disposition=dial_out.disposition or "",
        evidence=dial_out.evidence or "",
    ).inc()
    _BILLED.labels(bridge=bridge).inc(dial_out.billable_seconds or 0)
    _OVERRUN.labels(bridge=bridge).inc(dial_out.overrun_seconds or 0)
    if dial_out.unproved is not None:
        _UNPROVED.labels(bridge=bridge, unproved=dial_out.unproved).inc()


def outage(outage: Outage) -> None:
    """Count an outage that has ended."""
    seconds = (outage.ended_at - outage.began_at).total_seconds()
    _OUTAGE.labels(bridge=outage.bridge, kind=outage.kind).inc(seconds)


def turned_away() -> None:
    """Count a request for which there was no room."""
    _TURNED_AWAY.inc()


def settled(seconds: float) -> None:
    """Count a call whose end was known so long before it was in the books."""
    _SETTLED.observe(seconds)


def lagged(seconds: float) -> None:
    """Show by how much the event loop is late."""
    _LAG.set(seconds)


def dropped(bridge: BridgeName, reason: str) -> None:
    """Count a call that was ended because its meeting had left it behind."""
    _DROPPED.labels(bridge=bridge, reason=reason).inc()


def tripped(bridge: BridgeName, breach: str, *, legs: int = 1) -> None:
    """Count legs on the trunk that no gate let through."""
    _TRIPPED.labels(bridge=bridge, breach=breach).inc(legs)


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
    bridge: BridgeName,
    *,
    calls: Callable[[], int],
    asterisk_up: Callable[[], bool],
    ready: Callable[[], bool],
) -> None:
    """Have each reading of the metrics ask for what holds of a bridge at that moment."""
    _CALLS.labels(bridge=bridge).set_function(calls)
    _ASTERISK_UP.labels(bridge=bridge).set_function(asterisk_up)
    _READY.labels(bridge=bridge).set_function(ready)


def watch_link(
    bridge: BridgeName, *, malformed: Callable[[], int], late: Callable[[], int]
) -> None:
    """Have each reading of the metrics ask what a link to Asterisk has brought that was no use."""
    _MALFORMED.labels(bridge=bridge).set_function(malformed)
    _LATE.labels(bridge=bridge).set_function(late)


def grant_given() -> None:
    """Count a call that is placed without the ledger."""
    _GRANTED.inc()


def grant_refused(because: str) -> None:
    """Count a call that is not placed, because the ledger is away."""
    _UNGRANTED.labels(because=because).inc()


def grant_booked(outcome: str) -> None:
    """Count a granted call that the ledger has taken."""
    _GRANTS_BOOKED.labels(outcome=outcome).inc()


def watch_grants(unbooked: Callable[[], int]) -> None:
    """Have each reading of the metrics ask how many grants are not booked at that moment."""
    _UNBOOKED.set_function(unbooked)


def watch_ledger(ledger_up: Callable[[], bool]) -> None:
    """Have each reading of the metrics ask whether the ledger answers at that moment."""
    _LEDGER_UP.set_function(ledger_up)


def exposition(accept: str) -> tuple[bytes, str]:
    """Return all metrics and their content type, in the format that ``accept`` asks for."""
    encode, content_type = choose_encoder(accept)
    return encode(REGISTRY), content_type


def _tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0  # whoever reads them has no event loop


_TASKS.set_function(_tasks)
_BLOCKS.set_function(sys.getallocatedblocks)
