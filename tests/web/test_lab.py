"""The browser of the lab itself: it starts empty, and nothing of it stays behind."""

import asyncio
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from gateway.lab.browser import Browser, Chromium, LabError, find_chromium

# The first of them may wait for a Chromium to be built.
pytestmark = pytest.mark.timeout(150)

LAB = Path(__file__).resolve().parents[2] / ".lab"


async def test_nothing_stays_behind() -> None:
    """Neither a process, whatever Chromium has started beside itself, nor a profile."""
    chromium = find_chromium(LAB)
    # Others start browsers, too.
    chromium = replace(chromium, workspace=chromium.workspace / f"own-{uuid4().hex}")
    async with Browser(chromium) as browser:
        assert browser.url.startswith("http://127.0.0.1:")
        [profile] = _files(chromium.workspace)
        assert _processes(profile)

    async with asyncio.timeout(30):
        while _processes(profile):
            await asyncio.sleep(0.02)
    assert _files(chromium.workspace) == set()
    chromium.workspace.rmdir()


async def test_a_chromium_that_does_not_run_says_why(tmp_path: Path) -> None:
    """Whoever has a broken one on PATH is told what it said, and what to do."""
    with pytest.raises(LabError, match=r"(?s)ended at once. Put one.*No such file"):
        async with Browser(Chromium(name="no-such-chromium", workspace=tmp_path)):
            pass

    assert _files(tmp_path) == set()


def _files(directory: Path) -> set[Path]:
    return set(directory.iterdir())


def _processes(profile: Path) -> list[int]:
    """Return the processes that were started with this profile, whose name is in each of them."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        if any(profile.name in part for part in process.info["cmdline"] or ()):
            found.append(process.info["pid"])
    return found
