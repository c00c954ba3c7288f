"""Run the benchmarks and print their tables; ``--json`` prints one object instead.

Without a name: those that take a minute or two. ``hostile`` times calls before and after an
attack; ``crash`` kills gateways while calls are made, ``outage`` takes the ledger and Asterisk
away from calls that are up; ``overload`` asks for more than can be placed; ``soak`` calls for
half an hour and looks for what is left of it; ``contention`` and ``growth`` are long.
"""

import argparse
import asyncio
import json
import random
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import (
    contention,
    crash,
    decision,
    explain,
    growth,
    hostile,
    ledger,
    outage,
    overload,
    post_dial_delay,
    soak,
)
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
    names = ["contention", "crash", "growth", "hostile", "outage", "overload", "soak"]
    parser.add_argument("name", nargs="?", choices=names)
    parser.add_argument("--calls", type=int, default=200, help="calls of each kind")
    parser.add_argument("--connections", type=int, default=200, help="of contention")
    parser.add_argument(
        "--seconds",
        type=float,
        default=60,
        help="of contention and outage, of all loads of overload",
    )
    parser.add_argument("--up", type=int, default=50, help="calls that are up, of outage")
    parser.add_argument("--kills", type=int, default=200, help="of crash")
    parser.add_argument("--rate", type=float, default=20, help="calls a second, of crash and soak")
    parser.add_argument("--gateways", type=int, default=1, help="of crash, killed one at a time")
    parser.add_argument("--seed", type=int, help="of crash and soak; default: another each time")
    parser.add_argument("--minutes", type=float, default=30, help="of soak")
    parser.add_argument("--chart", type=Path, help="of soak: an SVG or PNG file to write")
    parser.add_argument("--json", action="store_true", help="print JSON for machines")
    options = parser.parse_args()
    logs.configure("auto", "error")
    match options.name:
        case "contention":
            figures = asyncio.run(contention.measure(options.connections, options.seconds))
            _print(figures, as_json=options.json)
        case "crash":
            _crash(options)
        case "outage":
            _outage(options)
        case "hostile":
            rows = asyncio.run(hostile.measure(LAB, options.calls))
            _print_tables({"calls before and after an attack": rows}, as_json=options.json)
        case "growth":
            rows = asyncio.run(growth.measure(SIZES, options.calls * 15))
            _print_tables({"growth": rows}, as_json=options.json)
        case "soak":
            _soak(options)
        case "overload":
            _overload(options)
        case _:
            results = asyncio.run(_short(options.calls))
            _print_tables(results, as_json=options.json)
            if not options.json:
                direct, gated = results["post-dial delay"]
                print(f"the gate adds {gated.p50_ms - direct.p50_ms:.2f} ms at the median")


def _crash(options: argparse.Namespace) -> None:
    outcome = asyncio.run(
        crash.measure(
            LAB,
            kills=options.kills,
            rate=options.rate,
            gateways=options.gateways,
            seed=random.randrange(2**32) if options.seed is None else options.seed,
        )
    )
    _print(outcome.figures(), as_json=options.json)
    crash.tell(outcome.faults)
    if outcome.faults:
        sys.exit(1)


def _overload(options: argparse.Namespace) -> None:
    rows = asyncio.run(overload.measure(options.seconds / (len(overload.LOADS) + 1)))
    if options.json:
        print(json.dumps(rows))
    else:
        table = Table("load", *(row.pop("load") for row in rows), title="overload")
        for what in rows[0]:
            table.add_row(what, *(str(row[what]) for row in rows))
        Console().print(table)
    if any(row["wrong"] for row in rows):
        sys.exit(1)


def _soak(options: argparse.Namespace) -> None:
    seed = random.randrange(2**32) if options.seed is None else options.seed
    soaked = asyncio.run(soak.measure(options.minutes * 60, options.rate, seed))
    _print(soaked.figures(), as_json=options.json)
    if options.chart is not None:
        soak.draw(soaked, options.chart)
    if soaked.faults():
        sys.exit(1)


def _outage(options: argparse.Namespace) -> None:
    figures, faults = asyncio.run(
        outage.measure(LAB, seconds=int(options.seconds), calls=options.up, leaving=options.up // 5)
    )
    if options.json:
        print(json.dumps(figures))
    else:
        for title, rows in figures.items():
            _print(rows, as_json=False, title=title)
    if faults:
        sys.stderr.writelines(f"{fault}\n" for fault in faults)
        sys.exit(1)


def _print(figures: dict[str, Any], *, as_json: bool, title: str | None = None) -> None:
    if as_json:
        print(json.dumps(figures))
        return
    table = Table("what", "figure", title=title)
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
