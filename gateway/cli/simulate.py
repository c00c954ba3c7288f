"""``dialout simulate``: the gateway against a hostile Asterisk, ledger and operator, by seeds."""

import asyncio
import json
import os
import shlex
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.terminal import (
    EXIT_FINDINGS,
    JsonOption,
    console,
    fail,
    new_table,
    printable,
    progress,
    read,
)
from gateway.settings import CONFIG_VARIABLE, read_rules_settings

if TYPE_CHECKING:
    from gateway.simulator.audit import Wrong
    from gateway.simulator.campaign import Campaign, Told

WORKERS_MAX = 64
SEEDS_MAX = 1_000_000
IDLE_REQUESTS_MIN = 40
"""With fewer, chance may leave most of them without funds."""
DIALLED_SHARE_MIN = 1 / 3


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a campaign has found so far. ``shown`` are the seeds whose story is to be told.

    ``broken_off`` says why it could not go on, if it could not.
    """

    seeds: int = 0
    requests: int = 0
    calls: int = 0
    answered: int = 0
    counts: "Counter[Wrong]" = field(default_factory=Counter)
    shown: "list[Told]" = field(default_factory=list)
    not_run: dict[int, str] = field(default_factory=dict)
    broken_off: str | None = None
    interrupted: bool = False

    @property
    def is_clean(self) -> bool:
        """Whether all that was to be run was, and nothing is wrong."""
        return not self.interrupted and not self.counts and not self.is_idle

    @property
    def is_idle(self) -> bool:
        """Whether so little was dialled that it proves nothing that nothing is wrong."""
        return self.requests >= IDLE_REQUESTS_MIN and self.calls < self.requests * DIALLED_SHARE_MIN

    def add(self, told: "Told") -> None:
        """Count one seed."""
        if told.not_run is not None:
            self.not_run[told.seed] = told.not_run
            return
        self.seeds += 1
        self.requests += told.requests
        self.calls += told.calls
        self.answered += told.answered
        self.counts += told.counts


def simulate(
    seeds: Annotated[int, typer.Option(min=1, max=SEEDS_MAX, help="How many.")] = 50,
    first: Annotated[int, typer.Option("--from", min=0, help="The first of them.")] = 1,
    seed: Annotated[
        int | None, typer.Option(min=0, help="This one alone, with its story told.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=WORKERS_MAX, help="Processes. Default: one a core.")
    ] = None,
    worlds: Annotated[
        int | None,
        typer.Option(min=1, max=WORKERS_MAX, help="Seeds at once in each process. Default: 14."),
    ] = None,
    stop: Annotated[bool, typer.Option(help="Stop at the first seed that fails.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Take the rules of calls (\\[call], \\[cool_down], \\[guard]) from this file. "
            "Default: DIALOUT_CONFIG and the environment, else short calls.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    logs: Annotated[
        Path | None, typer.Option(help="Keep the gateways' logs of failing seeds here.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run gateways against a hostile Asterisk and a failing ledger, and audit every second.

    Touches no bridge and no database of yours: it brings its own. See docs/simulate.md.
    """
    try:
        from gateway.simulator.campaign import WORLDS_A_WORKER, Campaign
        from gateway.simulator.rules import Rules
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed: pip install 'dialout-gateway[lab]'")
    if config is not None:
        os.environ[CONFIG_VARIABLE] = str(config)
    rules = Rules.of(read(read_rules_settings))
    chosen = range(first, first + seeds) if seed is None else range(seed, seed + 1)
    processes = min(workers or os.cpu_count() or 1, len(chosen))
    folder = _folder(logs)
    campaign = Campaign(
        workers=processes,
        worlds=min(worlds or WORLDS_A_WORKER, -(-len(chosen) // processes)),
        rules=rules,
        logs=folder,
    )
    tally = asyncio.run(_run(campaign, chosen, folder, stop=stop, is_quiet=as_json))
    if logs is None and not (tally.shown or tally.not_run or _has_logs(folder, tally)):
        shutil.rmtree(folder, ignore_errors=True)
    command = "dialout simulate" + (f" --config {shlex.quote(str(config))}" if config else "")
    if as_json:
        typer.echo(json.dumps(_summary(tally, chosen, folder, command), indent=2))
    else:
        _show(tally, folder, command)
    if tally.broken_off is not None:
        said = f"\nWhat its gateways said until then: {folder}" if folder.exists() else ""
        fail(f"The simulation could not be run to its end: {tally.broken_off}{said}")
    if tally.not_run:
        fail(
            "\n".join(f"Seed {seed} could not be run: {why}" for seed, why in tally.not_run.items())
        )
    if tally.is_idle:
        typer.echo(
            f"Of {tally.requests} requests {tally.calls} were dialled: too few to prove anything. "
            "Either the gateways dial nothing, or the rules of --config refuse nearly everything.",
            err=True,
        )
    if not tally.is_clean:
        raise typer.Exit(EXIT_FINDINGS)


async def _run(
    campaign: "Campaign", seeds: Sequence[int], logs: Path, *, stop: bool, is_quiet: bool
) -> Tally:
    """Return what the seeds came to; what had ended by then, if it could not go on."""
    from gateway.lab.program import LabError

    this = asyncio.current_task()
    assert this is not None, "runs inside an event loop"
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_, this.cancel)
    tally = Tally()
    try:
        with progress(is_quiet=is_quiet) as bars:
            bar = bars.add_task("seeds", total=len(seeds))
            async with aclosing(campaign.run(seeds)) as telling:
                async for told in telling:
                    tally.add(told)
                    if told.faults or len(seeds) == 1:
                        tally.shown.append(told)
                    elif told.not_run is None:
                        _forget_logs(logs, told.seed)
                    bars.advance(bar)
                    if stop and told.faults:
                        break
    except asyncio.CancelledError:
        tally.interrupted = True
    except LabError as error:
        tally.broken_off = str(error)
    return tally


def _folder(logs: Path | None) -> Path:
    """Return where logs go, which is there then."""
    if logs is None:
        return Path(tempfile.mkdtemp(prefix="dialout-simulation-"))
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"--logs {logs}: {error.strerror}. Name a folder that can be written.")
    return logs.absolute()


def _has_logs(folder: Path, tally: Tally) -> bool:
    """Return whether there is something to look at of a campaign that was broken off."""
    return tally.broken_off is not None and any(folder.iterdir())


def _logs_of(logs: Path, seed: int) -> list[Path]:
    return sorted(logs.glob(f"seed-{seed}-gateway-*.log"))


def _forget_logs(logs: Path, seed: int) -> None:
    for log in _logs_of(logs, seed):
        log.unlink(missing_ok=True)


def _summary(tally: Tally, seeds: Sequence[int], logs: Path, command: str) -> dict[str, Any]:
    from gateway.simulator.audit import Wrong

    return {
        "seeds": tally.seeds,
        "of": len(seeds),
        "not_run": tally.not_run,
        "broken_off": tally.broken_off,
        "interrupted": tally.interrupted,
        "requests": tally.requests,
        "calls": tally.calls,
        "answered": tally.answered,
        **{wrong.value: tally.counts[wrong] for wrong in Wrong},
        "shown": [
            {
                "seed": told.seed,
                "requests": told.requests,
                "calls": told.calls,
                "answered": told.answered,
                "again": f"{command} --seed {told.seed}",
                "logs": list(map(str, _logs_of(logs, told.seed))),
                "faults": list(told.faults),
                "story": list(told.story),
            }
            for told in tally.shown
        ],
    }


def _show(tally: Tally, logs: Path, command: str) -> None:
    from gateway.simulator.audit import Wrong

    out = console()
    table = new_table("of all seeds", "count")
    for name in ("seeds", "requests", "calls", "answered"):
        table.add_row(name, str(getattr(tally, name)), end_section=name == "answered")
    for wrong in Wrong:
        table.add_row(wrong.replace("_", " "), str(tally.counts[wrong]))
    out.print(table)
    for told in sorted(tally.shown, key=lambda each: each.seed):
        out.print(
            f"\nSeed {told.seed}, {told.answered} of {told.requests} requests answered; "
            f"again alone with: {command} --seed {told.seed}"
        )
        for line in told.story:
            out.print(f"  {printable(line)}")
        for fault in told.faults:
            out.print(
                f"  {fault['wrong']}: {printable(fault['subject'])}: {printable(fault['detail'])}"
            )
        for log in _logs_of(logs, told.seed):
            out.print(f"  log: {log}")
    if tally.interrupted:
        out.print("Interrupted. Everything that was started is stopped.")
