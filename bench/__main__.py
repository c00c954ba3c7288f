"""Run the benchmarks and print their tables; ``--json`` prints one object instead.

Without a name: those that take a minute or two. ``hostile`` times calls before and after an
attack; ``contention`` and ``growth`` are long.
"""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import contention, decision, explain, growth, hostile, ledger, post_dial_delay
from bench.figures import Figures
from gateway import logs

LAB = Path(".lab")
SIZES = (10_000, 10_000_000)
"""Rows of the two ledgers that are compared. The larger one takes 6 GB of disk."""


async def _short(calls: int) -> dict[str, list[Figures]]:
    return {
        "post-dial delay": await post_dial_delay.measure(LAB, calls),
        "ledger": await ledger.measure(calls * 5),
        "explain": await explain.measure(calls * 5),
        "decision, pure": decision.measure(calls * 50),
    }


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", nargs="?", choices=["contention", "growth", "hostile"])
    parser.add_argument("--calls", type=int, default=200, help="calls of each kind")
    parser.add_argument("--connections", type=int, default=200, help="of contention")
    parser.add_argument("--seconds", type=float, default=60, help="of contention")
    parser.add_argument("--json", action="store_true", help="print JSON for machines")
    options = parser.parse_args()
    logs.configure("auto", "error")
    match options.name:
        case "contention":
            figures = asyncio.run(contention.measure(options.connections, options.seconds))
            _print(figures, as_json=options.json)
        case "hostile":
            rows = asyncio.run(hostile.measure(LAB, options.calls))
            _print_tables({"calls before and after an attack": rows}, as_json=options.json)
        case "growth":
            rows = asyncio.run(growth.measure(SIZES, options.calls * 15))
            _print_tables({"growth": rows}, as_json=options.json)
        case _:
            results = asyncio.run(_short(options.calls))
            _print_tables(results, as_json=options.json)
            if not options.json:
                direct, gated = results["post-dial delay"]
                print(f"the gate adds {gated.p50_ms - direct.p50_ms:.2f} ms at the median")


def _print(figures: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(figures))
        return
    table = Table("what", "figure")
    for what, figure in figures.items():
        table.add_row(what.replace("_", " "), str(figure))
    Console().print(table)


def _print_tables(results: dict[str, list[Figures]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({k: [each.summary() for each in v] for k, v in results.items()}))
        return
    for title, rows in results.items():
        table = Table("what", "n", "p50 ms", "p95 ms", "p99 ms", title=title)
        for row in rows:
            table.add_row(row.name, str(row.count), *(f"{ms:.3f}" for ms in row.quantiles_ms))
        Console().print(table)


if __name__ == "__main__":
    main()
