"""The limit of a call can be moved while it is up, either way, and Asterisk alone keeps it."""

import asyncio
import time

import pytest

from tests.gate.ami_socket import Message
from tests.gate.scene import Scene, milliseconds_between, new_number

pytestmark = pytest.mark.asyncio(loop_scope="session")

TALKS, LISTENS = "10", "70"


async def talked_ms(
    scene: Scene, ending: str, *variables: str, first: int, moved_to: tuple[int, ...]
) -> float:
    """Return how long a call lasts whose limit is moved a second after its answer, in ms."""
    visit, answer = await scene.connect(new_number(ending), *variables, talk_ms=str(first))
    leg = answer["DestUniqueid"]
    await scene.intruder.event("ConfbridgeJoin", Uniqueid=f"{visit.key}-join")
    await asyncio.sleep(1)
    for milliseconds in moved_to:
        await _move(scene, answer, milliseconds)
    return milliseconds_between(answer, await scene.ended(leg))


async def test_a_limit_that_is_moved_holds_to_the_tenth_of_a_second(scene: Scene) -> None:
    """Later, sooner, and several times over; with media in both directions and in one only."""

    async def late_ms(ending: str, first: int, *moved_to: int) -> float:
        return await talked_ms(scene, ending, first=first, moved_to=moved_to) - moved_to[-1]

    late = await asyncio.gather(
        late_ms(TALKS, 3000, 5000),
        late_ms(LISTENS, 3000, 5500),
        late_ms(TALKS, 8000, 3500),
        late_ms(LISTENS, 8000, 4000),
        late_ms(TALKS, 3000, 8000, 4000, 6250),
    )

    # A busy machine is later now and then.
    assert min(late, key=abs) == pytest.approx(0, abs=100)
    assert all(-100 <= each < 1500 for each in late), late


async def test_a_limit_cannot_be_moved_beyond_the_cap(scene: Scene) -> None:
    """What the verdict said that a call lasts at most holds, whatever the leg is told later."""
    visit, answer = await scene.connect(new_number(), talk_ms="3000", cap="6")
    await _move(scene, answer, 60_000)

    hangup = await scene.ended(visit.uniqueid)

    assert 3500 < milliseconds_between(answer, hangup) < 15_000


@pytest.mark.parametrize("sound", ["LIMIT_CONNECT_FILE", "LIMIT_TIMEOUT_FILE"])
async def test_nobody_can_give_the_limit_a_sound(scene: Scene, sound: str) -> None:
    """With a sound Dial() keeps the limit by other means, which nobody can move.

    The name may stand among the globals or come with the channel.
    """
    await scene.set_global(sound, "beep")
    talked = await talked_ms(scene, TALKS, f"__{sound}=beep", first=3000, moved_to=(4000,))
    await scene.set_global(sound, "")

    assert 3900 <= talked < 5000


async def _move(scene: Scene, answer: Message, milliseconds: int) -> None:
    """Let the telephone's leg end so long after its answer."""
    elapsed = time.time() - float(answer["Timestamp"])
    reply = await scene.move_limit(answer["DestUniqueid"], milliseconds / 1000 - elapsed)
    assert reply["Response"] == "Success"
