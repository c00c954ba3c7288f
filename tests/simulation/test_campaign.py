"""The promise itself: fresh seeds find nothing, and each protection that is removed is found."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from random import SystemRandom
from select import select
from socket import create_server

import pytest

from gateway.simulator.scenario import draw
from tests.simulation.removals import ROOT, is_clean, is_found, removals

FRESH = 50
_AT_ONCE = 4


def test_a_seed_always_means_the_same() -> None:
    """A seed that failed must be the same world when it is run again; another one is another."""
    assert [draw(seed) for seed in range(50)] == [draw(seed) for seed in range(50)]
    assert len({draw(seed).tenant_id for seed in range(50)}) == 50


def test_every_removal_still_fits_the_product() -> None:
    """An edit that no longer applies would prove nothing, and nobody would notice."""
    for removal in removals():
        assert all(edit.fits(ROOT) for edit in removal.edits), removal.name


class Operator:
    """Somebody's own settings, as a file and in the environment, which name two ports.

    Nobody accepts there, so that whoever connects is still waiting afterwards.
    """

    def __init__(self, directory: Path) -> None:
        self._servers = [create_server(("127.0.0.1", 0)) for _ in range(2)]
        port, other_port = (server.getsockname()[1] for server in self._servers)
        self._journal = directory / f"{'a' * 32}.journal"
        self._journal.touch()
        file = directory / "gateway.toml"
        file.write_text(
            f"""
            [database]
            dsn = "postgresql://gateway@127.0.0.1:{port}/dialout"
            [bridges.london]
            port = {port}
            secret = "secret"
            caller_id = "+442079460999"
            [call]
            default_bridge = "london"
            talk_seconds_max = 12
            talk_seconds_min = 1
            slice_seconds = 5
            extend_ahead_seconds = 1
            warning_seconds = [2]
            ring_seconds = 5
            [grants]
            directory = "{directory}"
            sources = ["addon"]
            [webhooks]
            url = "http://127.0.0.1:{port}/"
            secret = "whsec_{"A" * 32}"
            [capacity]
            calls_max = 1
            """
        )
        self.environment = os.environ | {
            "DIALOUT_CONFIG": str(file),
            "DIALOUT_BRIDGES__MADRID__PORT": str(other_port),
            "DIALOUT_BRIDGES__MADRID__SECRET": "secret",
            "DIALOUT_BRIDGES__MADRID__CALLER_ID": "+34910000000",
        }

    def was_left_alone(self) -> bool:
        """Return whether nobody has connected, or taken the journal in."""
        connected, _, _ = select(self._servers, [], [], 0)
        return not connected and self._journal.exists()

    def close(self) -> None:
        """Listen no longer."""
        for server in self._servers:
            server.close()


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    """An operator whose settings lie in a directory of their own."""
    with closing(Operator(tmp_path)) as found:
        yield found


@pytest.mark.timeout(400)
def test_fresh_seeds_find_nothing(operator: Operator) -> None:
    """Other worlds each time, so that what is promised is not promised of fifty worlds only.

    What fails is printed with the command that runs it again. Whose bridges and grants are
    configured where it runs has them left alone: a gateway hangs up what its ledger does not know.
    """
    first = SystemRandom().randrange(1_000_000_000)
    options = ("--from", str(first), "--seeds", str(FRESH), "--json")
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "simulate", *options],
        capture_output=True,
        text=True,
        check=False,
        env=operator.environment,
    )
    assert operator.was_left_alone()
    assert done.returncode == 0, f"seeds from {first}\n{done.stdout}\n{done.stderr}"
    summary = json.loads(done.stdout)
    assert summary["seeds"] == FRESH
    assert summary["calls"] > summary["requests"] / 3
    assert summary["answered"] > summary["calls"] / 3


@pytest.mark.timeout(400)
def test_each_removal_is_found_by_its_seed() -> None:
    """A campaign that finds nothing proves little, unless it finds what is known to be broken.

    What a seed finds in the product as it is would prove nothing of what was taken away.
    """
    recorded = removals()
    assert recorded, "the list is empty"
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as threads:
        noticed = list(threads.map(is_found, recorded))
        clean = list(threads.map(is_clean, [removal.seed for removal in recorded]))
    assert [each.name for each, was in zip(recorded, noticed, strict=True) if not was] == []
    assert [each.seed for each, is_ in zip(recorded, clean, strict=True) if not is_] == []
