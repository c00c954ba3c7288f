"""``dialout demo --web``, as people start it and stop it."""

import asyncio
import re
import signal
import socket
import sys
from pathlib import Path

import httpx
import pytest

from gateway.lab.web import SAMPLES

pytestmark = pytest.mark.timeout(150)

LAB = Path(__file__).resolve().parents[2] / ".lab"


async def test_the_demo_serves_until_it_is_told_to_end() -> None:
    """It prints where the page is and what can be called, and Ctrl-C leaves nothing listening."""
    demo = await _start("--port", "0")
    try:
        assert demo.stdout is not None
        said = ""
        while not (found := re.search(r"open (http://127\.0\.0\.1:\d+/)", said)):
            line = await demo.stdout.readline()
            assert line, said
            said += line.decode()
        async with httpx.AsyncClient(base_url=found[1]) as client:
            state = (await client.get("api/state")).json()
            demo.send_signal(signal.SIGINT)
            rest, _ = await demo.communicate()
            with pytest.raises(httpx.ConnectError):
                await client.get("api/state")
    finally:
        if demo.returncode is None:
            demo.kill()
            await demo.wait()

    assert all(sample.number in said for sample in SAMPLES)
    assert [sample["number"] for sample in state["samples"]] == [each.number for each in SAMPLES]
    assert rest.decode().endswith("Everything that was started is stopped.\n")
    assert demo.returncode == 0


async def test_a_port_that_is_taken_is_said_before_anything_starts() -> None:
    """With what to do, and in a second: not after Asterisk and PostgreSQL are up."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        demo = await _start("--port", str(port))
        said, _ = await demo.communicate()

    assert f"Port {port} cannot be used" in said.decode()
    assert "Choose another: --port" in said.decode()
    assert "starting" not in said.decode()
    assert demo.returncode == 2


async def _start(*options: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli", "demo", "--web", "--lab", str(LAB), *options),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
