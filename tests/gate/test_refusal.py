"""What does not dial: every way of not being released, seen at the carrier."""

import asyncio
import time
from dataclasses import replace

import pytest

from gateway.lab.asterisk import Asterisk
from tests.gate.ami_socket import AmiSocket
from tests.gate.conftest import told
from tests.gate.scene import (
    Scene,
    Verdict,
    milliseconds_between,
    new_key,
    new_number,
    redirect,
    set_verdict,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

WAIT_MS = 3000
"""How long a channel waits for the gateway."""


@pytest.mark.parametrize("seconds_ago", [8, 3600, -5, -3600])
async def test_a_heartbeat_that_is_not_now_refuses_at_once(
    silent_gateway: Scene, seconds_ago: int
) -> None:
    """Nobody waits 3 s for a gateway that is gone; one from the future would live for ever."""
    scene = silent_gateway
    await scene.beat(seconds_ago)
    key = new_key()

    with scene.nothing_dialled():
        await scene.originate(key)
        hangup = await scene.ended(f"{key}-gate")

    begun = await scene.intruder.event("Newchannel", Uniqueid=f"{key}-gate")
    assert hangup["Cause"] == "38"
    assert milliseconds_between(begun, hangup) < WAIT_MS - 500


@pytest.mark.parametrize("value", ["", "abc", "9" * 40, '" = "" | "1', "0) | (1", "-5"])
async def test_a_heartbeat_that_is_no_time_refuses(silent_gateway: Scene, value: str) -> None:
    """The heartbeat is text that somebody may have written: no text of it opens the gate."""
    scene = silent_gateway
    await scene.set_global("DIALOUT_HEARTBEAT", value)
    key = new_key()

    with scene.nothing_dialled():
        await scene.originate(key)
        assert (await scene.ended(f"{key}-gate"))["Cause"] == "38"


async def test_an_asterisk_that_never_saw_a_gateway_refuses(
    silent_gateway: Scene, fresh_asterisk: Asterisk
) -> None:
    """After a start of Asterisk the global does not exist, which is more than being empty."""
    fresh = fresh_asterisk
    async with AmiSocket(fresh.host, fresh.ami_port, fresh.account, fresh.secret) as gateway:
        scene = replace(silent_gateway, asterisk=fresh, gateway=gateway)
        key = new_key()
        with scene.nothing_dialled():
            await scene.originate(key)
            assert (await scene.ended(f"{key}-gate"))["Cause"] == "38"


async def test_a_forged_heartbeat_on_the_channel_is_not_read(silent_gateway: Scene) -> None:
    """A channel variable shadows a global of the same name, and an originator may set one."""
    scene = silent_gateway
    key = new_key()
    now = int(time.time())
    variables = [f"{prefix}DIALOUT_HEARTBEAT={now}" for prefix in ("", "_", "__")]

    with scene.nothing_dialled():
        await scene.originate(key, *variables)
        assert (await scene.ended(f"{key}-gate"))["Cause"] == "38"


async def test_a_gateway_that_goes_mute_or_dies_halfway(scene: Scene) -> None:
    """Each half of an answer alone releases nothing, and nobody waits longer than 3 s."""

    async def says_nothing() -> str:
        visit = await scene.reach_gate()
        return visit.uniqueid

    async def dies_after_the_verdict() -> str:
        visit = await scene.reach_gate()
        verdict = scene.allow(visit, new_number())
        await scene.gateway.send(*set_verdict(visit.channel, verdict.text))
        return visit.uniqueid

    with scene.nothing_dialled():
        waiting = await asyncio.gather(says_nothing(), dies_after_the_verdict())
        for uniqueid in waiting:
            begun = await scene.intruder.event("Newchannel", Uniqueid=uniqueid)
            hangup = await scene.ended(uniqueid)
            assert hangup["Cause"] == "102"
            # Its second limit, eight seconds, is another.
            assert WAIT_MS - 300 <= milliseconds_between(begun, hangup) < WAIT_MS + 4000


async def test_a_redirect_without_a_verdict_is_refused(scene: Scene) -> None:
    """The other half alone: a Redirect is not a decision."""
    visit = await scene.reach_gate()

    with scene.nothing_dialled():
        await scene.gateway.send(*redirect(visit.channel, f"d{visit.key}"))
        assert (await scene.ended(visit.uniqueid))["Cause"] == "21"


async def test_a_verdict_that_comes_too_late_finds_nobody(scene: Scene) -> None:
    """The gateway may be slow; by then the caller was told that the call failed."""
    visit = await scene.reach_gate()
    await scene.ended(visit.uniqueid)

    with scene.nothing_dialled():
        answers = await scene.release(visit, scene.allow(visit, new_number()))

    assert [answer["Response"] for answer in answers] == ["Error", "Error"]


async def test_a_verdict_is_good_for_one_visit(scene: Scene) -> None:
    """Replayed on another channel, or on the one that used it, it is worth nothing."""
    number = new_number()
    visit, _ = await scene.connect(number)
    verdict = scene.allow(visit, number)
    second = await scene.reach_gate()

    await scene.refused(second, verdict.text)
    await scene.release(visit, verdict)
    await scene.ended(visit.uniqueid)

    assert len(scene.invites_to(number)) == 1
    third = await scene.reach_gate()
    await scene.refused(third, verdict.text)
    assert len(scene.invites_to(number)) == 1


@pytest.mark.parametrize(
    "forged",
    [
        {"key": "f" * 64},
        {"visit": "1" * 18},
        {"visit": ""},
        {"uniqueid": f"{'f' * 64}-gate"},
        {"uniqueid": ""},
        {"number": ""},
        {"number": "493010"},
        {"number": "4930100000000000"},
        {"number": "493O1000000"},
        {"number": "4930 100000"},
        {"number": "+4930100000"},
        {"number": "4930100000&PJSIP/+4930100001@dialout-trunk"},
        {"number": "4930100000@elsewhere"},
        {"talk_ms": ""},
        {"talk_ms": "0"},
        {"talk_ms": "999"},
        {"talk_ms": "-5000"},
        {"talk_ms": "14400001"},
        {"talk_ms": "abc"},
        {"talk_ms": "1e6"},
        {"talk_ms": "60000)"},
        {"cap": ""},
        {"cap": "0"},
        {"cap": "5"},
        {"cap": "15001"},
        {"ring": ""},
        {"ring": "4"},
        {"ring": "91"},
        {"ring": "30,g"},
        {"caller": ""},
        {"caller": "1" * 16},
        {"caller": "442079460000:1"},
        {"caller": '"x" <44>'},
    ],
    ids=str,
)
async def test_a_verdict_with_one_part_wrong_is_refused(
    scene: Scene, forged: dict[str, str]
) -> None:
    """Each part is checked alone: an empty limit is no limit, a foreign uniqueid a forgery."""
    visit = await scene.reach_gate()

    with scene.nothing_dialled():
        await scene.refused(visit, replace(scene.allow(visit, "4930100000"), **forged))


@pytest.mark.parametrize("text", ["", "allow", "allow:", "deny", "1", '" = "" | "1', ":" * 8])
async def test_a_verdict_of_another_form_is_refused(scene: Scene, text: str) -> None:
    """Text that is no verdict at all, and text that tries to be an expression."""
    visit = await scene.reach_gate()

    with scene.nothing_dialled():
        await scene.refused(visit, text)


async def test_a_refusal_in_the_form_of_a_release_is_refused(scene: Scene) -> None:
    """The word in front counts: a verdict that says anything but `allow` is no release."""
    visit = await scene.reach_gate()
    text = scene.allow(visit, new_number()).text

    with scene.nothing_dialled():
        await scene.refused(visit, text.replace("allow", "Allow"))


@pytest.mark.parametrize("prefix", ["", "_", "__"])
async def test_variables_that_an_originator_forged_are_cleared(scene: Scene, prefix: str) -> None:
    """A verdict, a visit and a key that came with the channel are gone when the gate asks."""
    number = new_number()
    key = new_key()
    forged = Verdict(key=key, visit="1" * 18, uniqueid=f"{key}-gate", number=number)
    variables = {
        "DIALOUT_VERDICT": forged.text,
        "DIALOUT_VISIT": forged.visit,
        "DIALOUT_KEY": key,
        "DIALOUT_NUMBER": number,
        "DIALOUT_ASKED": forged.visit,
        "DIALOUT_ANSWER": forged.text,
    }

    with scene.nothing_dialled():
        await scene.originate(
            key,
            *(f"{prefix}{name}={value}" for name, value in variables.items()),
            by=scene.intruder,
        )
        event = await scene.gateway.event("UserEvent", UserEvent="DialoutGate", Key=key)
        assert event["Visit"] != forged.visit
        await scene.gateway.send(*redirect(event["Channel"], f"d{key}"))
        assert (await scene.ended(f"{key}-gate"))["Cause"] == "21"


async def test_globals_that_somebody_forged_are_not_read(scene: Scene) -> None:
    """A plain variable falls back to a global, so a verdict in a global must not be found."""
    visit = await scene.reach_gate()
    await scene.set_global("DIALOUT_VERDICT", scene.allow(visit, new_number()).text)

    with scene.nothing_dialled():
        await scene.gateway.send(*redirect(visit.channel, f"d{visit.key}"))
        assert (await scene.ended(visit.uniqueid))["Cause"] == "21"
    await scene.set_global("DIALOUT_VERDICT", "")


SOMEWHERE = {"Channel": "Local/s@somebody-else/n"}


@pytest.mark.parametrize(
    ("half", "road"),
    [
        ("gate", {"Channel": "Local/d{key}@dialout-release/n", "Application": "Wait", "Data": "9"}),
        ("join", SOMEWHERE | {"Context": "dialout-release", "Exten": "d{key}", "Priority": "1"}),
        ("join", SOMEWHERE | {"Application": "Goto", "Data": "dialout-release,d{key},1"}),
        ("join", SOMEWHERE | {"Application": "Gosub", "Data": "dialout-release,d{key},1"}),
        ("join", SOMEWHERE | {"Application": "Gosub", "Data": "dialout-release,d{key},1(1)"}),
        ("join", SOMEWHERE | {"Context": "somebody-else", "Exten": "releases", "Priority": "1"}),
        ("join", SOMEWHERE | {"Context": "somebody-else", "Exten": "calls", "Priority": "1"}),
    ],
    ids=["local", "context", "goto", "gosub", "gosub with arguments", "dialplan", "subroutine"],
)
async def test_the_release_context_has_no_other_entrance(
    scene: Scene, half: str, road: dict[str, str]
) -> None:
    """Whoever comes by another road than the gate has no visit, and cannot make himself one.

    An account that may originate chooses the uniqueid of its channel and so can word a perfect
    verdict; only the visit, which lives in the gate's own Gosub frame, is beyond it.
    """
    key = new_key()
    visit = "1" * 18
    verdict = Verdict(key=key, visit=visit, uniqueid=f"{key}-{half}", number=new_number())
    variables = {
        "DIALOUT_VERDICT": verdict.text,
        "DIALOUT_VISIT": visit,
        "LOCAL(DIALOUT_VISIT)": visit,
        "DIALOUT_ASKED": visit,
        "SOMEBODY_RELEASES": f"d{key}",
    }

    with scene.nothing_dialled():
        await scene.intruder.send(
            ("Action", "Originate"),
            *((name, value.format(key=key)) for name, value in road.items()),
            ("Async", "true"),
            ("ChannelId", f"{key}-join"),
            ("OtherChannelId", f"{key}-gate"),
            *(("Variable", f"{name}={value}") for name, value in variables.items()),
        )
        await scene.intruder.event("Hangup", Uniqueid=f"{key}-{half}")


@pytest.mark.parametrize(
    "extension",
    [
        "",
        "0",
        "4930100000",
        "+4930100000",
        "s",
        "h",
        "i",
        "T",
        "t",
        "e",
        "refuse",
        "failed",
        "d",
        "d" + "0" * 63,
        "d" + "0" * 65,
        "d" + "0" * 63 + "g",
        "d" + "0" * 63 + "-",
        "d" + "0" * 63 + '"',
        "d" + "0" * 64 + '"',
        "d" + "0" * 64 + ")",
        "d" + "0" * 64 + ",2,3",
        "d" + "0" * 64 + "&PJSIP/+4930100000@dialout-trunk",
        'd" = "" | "1',
        "d${SHELL(id)}",
        "d${DB(dialout/ended/x)}",
        "d$[1=1]",
    ],
)
@pytest.mark.parametrize("context", ["dialout-gate", "dialout-release"])
async def test_an_extension_that_is_no_key_is_refused(
    scene: Scene, context: str, extension: str
) -> None:
    """An extension is text that somebody wrote: the gateway never even hears of it."""
    key = new_key()

    with scene.nothing_dialled():
        await scene.fails(key, f"Local/{extension}@{context}/n")

    assert await told(scene) == []
