"""Durations of one kind, and the quantiles that are quoted of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured, how often, and its median, 95th and 99th percentile in milliseconds."""

    name: str
    count: int
    quantiles_ms: tuple[float, float, float]

    @classmethod
    def of(cls, name: str, seconds: Sequence[float]) -> Self:
        """Return the figures of at least two durations."""
        cuts = quantiles(seconds, n=100, method="inclusive")
        return cls(
            name=name,
            count=len(seconds),
            quantiles_ms=(cuts[49] * 1000, cuts[94] * 1000, cuts[98] * 1000),
        )

    @property
    def p50_ms(self) -> float:
        """The median."""
        return self.quantiles_ms[0]

    def summary(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        p50, p95, p99 = self.quantiles_ms
        return {
            "name": self.name,
            "count": self.count,
            "p50_ms": p50,
            "p95_ms": p95,
            "p99_ms": p99,
        }
