"""The lab: what it starts is configured as written, apart from the rest, and never left behind."""

import asyncio
import os
import shutil
import signal
import socket
import sys

import psutil
import pytest

from gateway.lab.asterisk import Asterisk, find_asterisk
from gateway.lab.carrier import Carrier, find_sipp
from gateway.lab.program import LabError, until
from tests.gate.ami_socket import AmiSocket
from tests.gate.conftest import LAB, caught_up
from tests.gate.scene import Scene

pytestmark = pytest.mark.asyncio(loop_scope="session")

STARTS_AND_WAITS = """
import asyncio, signal, sys
from pathlib import Path
from gateway.lab.asterisk import Asterisk, find_asterisk
from gateway.lab.carrier import Carrier, find_sipp

async def main(lab):
    async with Carrier(find_sipp(lab)) as carrier:
        async with Asterisk(find_asterisk(lab), trunk_port=carrier.port) as asterisk:
            print(carrier.directory, asterisk.directory, flush=True)
            await asyncio.Event().wait()

# What a shell runs in the background would ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
asyncio.run(main(Path(sys.argv[1])))
"""


async def test_the_configuration_starts_without_a_complaint(fresh_asterisk: Asterisk) -> None:
    """A log that is clean at the start is one in which a fault is seen."""
    # It writes its log in a thread of its own, which it waits for at its end.
    await fresh_asterisk.stop()
    log = (fresh_asterisk.directory / "log" / "messages.log").read_text()

    assert [line for line in log.splitlines() if "ERROR" in line or "WARNING" in line] == []


async def test_modules_that_would_be_another_way_to_the_trunk_are_absent(scene: Scene) -> None:
    """Call files, ARI and DISA dial without a gate; others would answer the gate from outside."""
    modules = await scene.asterisk.cli("module show")

    for absent in (
        "pbx_spool",
        "app_disa",
        "app_followme",
        "app_page",
        "app_originate",
        "app_channelredirect",
        "func_export",
        "func_shell",
        "app_system",
        "res_pjsip_refer",
        "res_ari",
        "res_agi",
    ):
        assert f"{absent}.so" not in modules


async def test_the_gateway_hears_only_what_it_needs(scene: Scene) -> None:
    """Every other event costs it time in a busy hour; lists are answers and arrive in full."""
    visit = await scene.reach_gate()
    channels = await scene.gateway.list_events("CoreShowChannels", "CoreShowChannelsComplete")
    await scene.hangup(visit.channel)
    await scene.ended(visit.uniqueid)
    await caught_up(scene.intruder)

    names = {event["Event"] for event in scene.gateway.events if "ActionID" not in event}
    assert visit.uniqueid in {channel["Uniqueid"] for channel in channels}
    assert names <= {"FullyBooted", "UserEvent", "Hangup", "DialBegin", "DialEnd"}
    assert "Newchannel" in {event["Event"] for event in scene.intruder.events}


async def test_a_shutdown_is_announced(fresh_asterisk: Asterisk) -> None:
    """The gateway tells a clean stop, which ends all calls, from a lost link, which ends none."""
    fresh = fresh_asterisk
    async with AmiSocket(fresh.host, fresh.ami_port, fresh.account, fresh.secret) as gateway:
        await gateway.event("FullyBooted")
        await fresh.stop()

        await gateway.event("Shutdown")


@pytest.mark.parametrize("action", ["Command", "DBPut", "DBDel", "ModuleLoad", "GetConfig"])
async def test_the_gateway_may_not_do_more_than_it_does(scene: Scene, action: str) -> None:
    """Whoever steals its account gets calls, which the trunk bounds, and not the host."""
    reply = await scene.gateway.send(("Action", action), ("Command", "core show uptime"))

    assert reply["Response"] == "Error"


async def test_nobody_else_reads_the_secret(scene: Scene) -> None:
    """The secret of the AMI is as good as the right to place calls."""
    file = scene.asterisk.directory / "etc" / "site" / "manager.conf"

    assert scene.asterisk.secret in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


async def test_a_carrier_whose_port_is_taken_says_why() -> None:
    """SIPp names the reason first, and prints screens full of counters after it."""
    carrier = Carrier(find_sipp(LAB))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", carrier.port))

        with pytest.raises(LabError, match="already in use"):
            await carrier.start()
    carrier.remove()


async def test_instances_run_beside_each_other(scene: Scene, fresh_asterisk: Asterisk) -> None:
    """Each has its own ports, its own name and its own database."""
    await scene.asterisk.cli("database put lab whose first")

    assert "first" in await scene.asterisk.cli("database get lab whose")
    assert "not found" in await fresh_asterisk.cli("database get lab whose")


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
async def test_nothing_outlives_whoever_started_it(end: signal.Signals) -> None:
    """Killed, interrupted or terminated: neither Asterisk nor the carrier is left running."""
    starter = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        STARTS_AND_WAITS,
        str(LAB),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=LAB.parent,
    )
    assert starter.stdout is not None
    async with asyncio.timeout(40):
        directories = (await starter.stdout.readline()).decode().split()
    children = psutil.Process(starter.pid).children(recursive=True)
    assert {child.name() for child in children} == {"asterisk", "sipp"}

    os.kill(starter.pid, end)
    await starter.wait()

    await until(lambda: not any(child.is_running() for child in children), 30)
    for directory in directories:
        # Whoever is killed leaves its directories; the others have removed theirs.
        shutil.rmtree(directory, ignore_errors=end is not signal.SIGKILL)


async def test_a_start_that_fails_says_why(carrier: Carrier) -> None:
    """The message carries the end of the log, so that nobody has to look for it."""
    asterisk = Asterisk(find_asterisk(LAB), trunk_port=carrier.port)
    (asterisk.directory / "etc" / "modules.conf").write_text(
        "[modules]\nautoload = no\nrequire = nonsense.so\n"
    )
    try:
        with pytest.raises(LabError, match="nonsense"):
            await asterisk.start()
        assert asterisk.pid is None
    finally:
        asterisk.remove()
