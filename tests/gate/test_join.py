"""Whoever is called into a conference is asked first: pressing 1 joins, and nothing else does."""

import asyncio
import time

import pytest

from gateway.lab.asterisk import find_asterisk
from gateway.lab.telephone import Ear, Telephone, ear_on
from tests.gate.conftest import LAB
from tests.gate.scene import Scene, Visit, milliseconds_between, new_key, new_number

pytestmark = pytest.mark.asyncio(loop_scope="session")

CONFIRM = "DIALOUT_CONFIRM=1"
LISTENS = "70"
TALKS_OVER_IT = "00"
"""The carrier of the lab sends back whatever it hears, as a machine that records would talk."""

QUESTION_MS = 5000
"""The shortest question, with the four seconds after it, is longer than this."""

GIVES_UP_SECONDS = 50.0
"""Three times the question with a name of one letter, and four seconds after each."""

TONE = bytes([0x2A, 0xAA, 0x20, 0xA0, 0x25, 0xA5, 0x22, 0xA2])


async def test_pressing_1_joins(scene: Scene) -> None:
    """Not before, and from then on the callee is heard and hears like everybody."""
    async with ear_on(scene.carrier.ear_port) as ear:
        visit, room, telephone = await called(scene, ear, "DIALOUT_MEETING=weekly")
        await telephone.hears()
        before = await scene.participants(room)
        await telephone.press("1")
        await joined(scene, visit)
        await telephone.hears_silence()
        speaker = await scene.say_in(room)
        await telephone.hears(since=telephone.loud_at[-1])
        await scene.hangup(speaker)
        await over(scene, visit)

    assert before == set()


async def test_1_is_taken_while_the_name_is_being_spelled(scene: Scene) -> None:
    """Twenty letters take ten seconds: who knows the meeting does not wait for them."""
    async with ear_on(scene.carrier.ear_port) as ear:
        visit, _, telephone = await called(scene, ear, f"DIALOUT_MEETING={'w' * 60}")
        await telephone.hears()
        began = time.time()
        await asyncio.sleep(3)
        await telephone.press("1")
        await joined(scene, visit)
        took = time.time() - began
        await over(scene, visit)

    assert took < 9


@pytest.mark.timeout(90)
async def test_a_machine_never_joins(scene: Scene) -> None:
    """Voicemail that keeps silent, or talks over the question, is left in bounded time."""
    async with ear_on(scene.carrier.ear_port):
        calls = [
            await scene.connect(new_number(ending), CONFIRM, "DIALOUT_MEETING=a")
            for ending in (LISTENS, TALKS_OVER_IT)
        ]
        ends = [
            await scene.ended(visit.uniqueid, deadline_seconds=GIVES_UP_SECONDS)
            for visit, _ in calls
        ]

    assert not any(has_joined(scene, visit) for visit, _ in calls)
    for (_, answer), hangup in zip(calls, ends, strict=True):
        seconds = milliseconds_between(answer, hangup) / 1000
        assert 25 < seconds < GIVES_UP_SECONDS


async def test_a_wrong_key_is_asked_again(scene: Scene) -> None:
    """A thumb that slipped is not a refusal; the second question is the whole question."""
    async with ear_on(scene.carrier.ear_port) as ear:
        visit, room, telephone = await called(scene, ear, "DIALOUT_MEETING=a")
        for key in "5#":
            await telephone.hears(since=time.time())
            await telephone.press(key)
        await telephone.hears(since=time.time())
        before = await scene.participants(room)
        await telephone.press("1")
        await joined(scene, visit)
        await over(scene, visit)

    assert before == set()


async def test_the_third_wrong_key_is_the_last(scene: Scene) -> None:
    """A line that sends keys by itself comes to an end too, and keys after it join nothing."""
    async with ear_on(scene.carrier.ear_port) as ear:
        visit, _, telephone = await called(scene, ear, "DIALOUT_MEETING=a")
        for key in "*01":
            await telephone.hears(since=time.time())
            if key != "1":
                await telephone.press(key)
        await telephone.press("91")
        await scene.ended(visit.uniqueid)

    assert not has_joined(scene, visit)


async def test_pressing_2_says_no(scene: Scene) -> None:
    """The question offers it, so it ends the call at once."""
    async with ear_on(scene.carrier.ear_port) as ear:
        visit, _, telephone = await called(scene, ear, "DIALOUT_MEETING=a")
        await telephone.hears()
        await telephone.press("2")
        await scene.ended(visit.uniqueid)

    assert not has_joined(scene, visit)


async def test_who_is_not_to_confirm_joins_at_once(scene: Scene) -> None:
    """A setting of the tenant: without it nothing is asked, and nothing is heard."""
    room = f"join-{new_key()[:8]}"
    async with ear_on(scene.carrier.ear_port) as ear:
        visit, answer = await scene.connect(new_number(LISTENS), room=room)
        telephone = await ear.next_telephone()
        join = await joined(scene, visit)
        # The question begins with a second of silence.
        await asyncio.sleep(2)
        await over(scene, visit)

    assert milliseconds_between(answer, join) < QUESTION_MS
    assert telephone.heard_at() == []


@pytest.mark.parametrize(
    ("meeting", "spoken"),
    [
        ("DIALOUT_MEETING=B2-b", "letters/b&digits/2&silence/1&letters/b"),
        (f"DIALOUT_MEETING={'x' * 60}", "&".join(["letters/x"] * 20)),
        ("DIALOUT_MEETING=", "letters/j&letters/o&letters/i&letters/n"),
    ],
)
async def test_the_name_of_the_meeting_is_spelled(scene: Scene, meeting: str, spoken: str) -> None:
    """Of a long one so much as anybody listens to; without a name it is the conference's."""
    async with ear_on(scene.carrier.ear_port) as ear:
        visit, _, telephone = await called(scene, ear, meeting)
        await telephone.hears()
        said = await scene.variable(visit.key, "DIALOUT_SPOKEN")
        await over(scene, visit)

    assert said.startswith(spoken)
    assert len(said.split("&")) <= 20


async def test_a_longer_name_is_longer_to_hear(scene: Scene) -> None:
    """What is to be spelled is really heard, letter by letter."""
    async with ear_on(scene.carrier.ear_port) as ear:
        calls = [await called(scene, ear, f"DIALOUT_MEETING={name}") for name in ("w", "wwwwww")]
        for visit, _, telephone in calls:
            await telephone.hears()
            await telephone.hears_silence()
            await over(scene, visit)

    short, long = (telephone.heard_seconds() for _, _, telephone in calls)
    assert long > short + 1.5


async def test_a_recorded_name_is_heard_instead(scene: Scene) -> None:
    """What somebody has recorded says more than letters do."""
    room = f"join-{new_key()[:8]}"
    recording = scene.asterisk.directory / "spool" / f"{room}.alaw"
    recording.write_bytes(TONE * 1000)
    recording.chmod(0o644)
    sound = find_asterisk(LAB).seen_from_inside(recording.with_suffix(""))
    await scene.asterisk.cli(f"database put dialout/meetings {room} {sound}")
    async with ear_on(scene.carrier.ear_port) as ear:
        visit, _, telephone = await called(scene, ear, "DIALOUT_MEETING=weekly", room=room)
        await telephone.hears()
        await telephone.hears_silence()
        await over(scene, visit)

    assert any(TONE * 10 in heard for heard in telephone.sounds)


@pytest.mark.parametrize(
    ("room", "meeting"),
    [
        (None, "../../etc/passwd"),
        (None, "${GLOBAL(DIALOUT_HEARTBEAT)}"),
        (None, "weekly)"),
        (None, 'a" = "a'),
        (None, "a&demo-congrats"),
        (None, "mötley"),
        (None, "x" * 61),
        ("../weekly", "weekly"),
        ("a&b", "weekly"),
        ("${EXTEN}", "weekly"),
        ("weekly^a", "weekly"),
        ("x" * 129, "weekly"),
        ("", "weekly"),
    ],
)
async def test_an_odd_name_never_gets_into_a_room(
    scene: Scene, room: str | None, meeting: str
) -> None:
    """Nor into the name of a file, nor is anything of it said: the call ends."""
    async with ear_on(scene.carrier.ear_port) as ear:
        visit, answer = await scene.connect(
            new_number(LISTENS), CONFIRM, f"DIALOUT_MEETING={meeting}", room=room
        )
        hangup = await scene.ended(visit.uniqueid)

    assert milliseconds_between(answer, hangup) < QUESTION_MS
    assert not any(telephone.loud_at for telephone in ear.telephones.values())
    assert not has_joined(scene, visit)


async def test_a_key_that_means_nothing_changes_nothing(scene: Scene) -> None:
    """A participant who leans on his telephone stays in the conference."""
    room = f"join-{new_key()[:8]}"
    async with ear_on(scene.carrier.ear_port) as ear:
        visit, _ = await scene.connect(new_number(LISTENS), room=room)
        telephone = await ear.next_telephone()
        await joined(scene, visit)
        await telephone.press("0123456789#ABCD##*9")
        speaker = await scene.say_in(room)
        await telephone.hears()
        there = await scene.participants(room)
        await scene.hangup(speaker)
        await over(scene, visit)

    assert f"{visit.key}-join" in there


async def called(
    scene: Scene, ear: Ear, *variables: str, room: str | None = None
) -> tuple[Visit, str, Telephone]:
    """Call a telephone that listens and has to confirm; return its visit, room and ear."""
    room = room or f"join-{new_key()[:8]}"
    visit, _ = await scene.connect(new_number(LISTENS), CONFIRM, *variables, room=room)
    return visit, room, await ear.next_telephone()


async def joined(scene: Scene, visit: Visit) -> dict[str, str]:
    """Return the event of a callee coming into the conference."""
    return await scene.gateway.event("ConfbridgeJoin", Uniqueid=f"{visit.key}-join")


def has_joined(scene: Scene, visit: Visit) -> bool:
    """Return whether a callee has ever come into a conference."""
    return any(
        event["Event"] == "ConfbridgeJoin" and event["Uniqueid"] == f"{visit.key}-join"
        for event in scene.gateway.events
    )


async def over(scene: Scene, visit: Visit) -> None:
    """End a call, and return when it has."""
    await scene.hangup(visit.channel)
    await scene.ended(visit.uniqueid)
