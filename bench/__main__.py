"""Run every benchmark and print its table; ``--json`` prints one object instead."""

import argparse
import asyncio
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import decision, explain, ledger, post_dial_delay
from bench.figures import Figures
from gateway import logs

LAB = Path(".lab")


async def _run(calls: int) -> dict[str, list[Figures]]:
    return {
        "post-dial delay": await post_dial_delay.measure(LAB, calls),
        "ledger": await ledger.measure(calls * 5),
        "explain": await explain.measure(calls * 5),
        "decision, pure": decision.measure(calls * 50),
    }


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--calls", type=int, default=200, help="calls of each kind")
    parser.add_argument("--json", action="store_true", help="print JSON for machines")
    options = parser.parse_args()
    logs.configure("auto", "error")
    results = asyncio.run(_run(options.calls))
    if options.json:
        print(json.dumps({k: [each.summary() for each in v] for k, v in results.items()}))
        return
    for title, rows in results.items():
        table = Table("what", "n", "p50 ms", "p95 ms", "p99 ms", title=title)
        for row in rows:
            table.add_row(row.name, str(row.count), *(f"{ms:.3f}" for ms in row.quantiles_ms))
        Console().print(table)
    direct, gated = results["post-dial delay"]
    print(f"the gate adds {gated.p50_ms - direct.p50_ms:.2f} ms at the median")


if __name__ == "__main__":
    main()
