"""A participant has somebody called by keypad, and is back in the room whatever becomes of it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from gateway.core.reasons import Reason
from gateway.lab.telephone import Ear, Telephone, ear_on
from tests.gate.ami_socket import Message
from tests.gate.scene import Scene, Visit, milliseconds_between, new_key, new_number

pytestmark = pytest.mark.asyncio(loop_scope="session")

TENANT = "0f2d0c0e-6c1f-4a51-9f0e-0a4c8f0f9a11"
LISTENS = "70"
ANSWER_SECONDS = 8.0
"""How long a participant waits for the gateway."""

LOOKS_EVERY_SECONDS = 0.2
LOOKS = 10
"""At how many a participant is listened to who is to hear nothing of them."""

WORD_PACKETS_MIN = 10
"""Of whatever a key interrupts, fewer are still on their way."""

BUSY_TONE_SECONDS = 10.0

KEY_SECONDS = 15.0
"""How long the keypad waits for a key."""

LIMIT_SECONDS = 8.0

TYPED = (
    ("004930100000#", "004930100000"),
    ("12*345#", "345"),
    ("*123#", "123"),
    ("7" * 40, "7" * 40),
    ("#", None),
    ("12*#", None),
    ("123", None),
)
"""Keys that are pressed, and the number that is asked for, if any."""

ASKED = ("Visit", "Number", "Tenant", "Organizer", "Initiator", "Conference")
"""What of its event the channel itself says, too, in this order."""

OUTCOMES = (
    ("calling", "calling"),
    (Reason.NUMBER_INVALID, Reason.NUMBER_INVALID),
    (Reason.CREDITS_EXHAUSTED, Reason.CREDITS_EXHAUSTED),
    ("gateway_away", "gateway_away"),
    ("overloaded", "overloaded"),
    ("no_such_word", "failed"),
    ("", "failed"),
)
"""What the gateway answers, and what of it the participant hears."""

ODD_IDENTITIES = (
    f"DIALOUT_TENANT=../{TENANT}",
    'DIALOUT_ORGANIZER=a"b\\c|d${SHELL(id)};e&f g',
    "DIALOUT_INITIATOR=a b",
    f"DIALOUT_INITIATOR={'x' * 129}",
)

FORGERIES = (
    "calling",
    ":calling",
    "0:calling",
    "{visit}",
    "a{visit}:calling",
    "{visit}:calling:x",
    "{visit}:Calling",
    '{visit}" = "{visit}:calling',
    "${{LOCAL(DIALOUT_VISIT)}}:calling",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """Somebody with a telephone in a conference of his own."""

    scene: Scene
    visit: Visit
    leg: str
    room: str
    telephone: Telephone

    async def starts(self) -> None:
        """Press *1, and return when something is said."""
        began = time.time()
        await self.telephone.press("*1")
        await self.telephone.hears(since=began)

    async def asks_for(self, number: str) -> Message:
        """Type a number and return what the gateway is told."""
        known = len(self.told())
        await self.starts()
        await self.telephone.press(f"{number}#")
        return await self.next_told(known)

    async def next_told(self, known: int = 0) -> Message:
        """Return what the gateway is told next, after so many ``known`` events."""
        async with asyncio.timeout(30):
            while len(self.told()) == known:
                await asyncio.sleep(0.02)
        return self.told()[known]

    def told(self) -> list[Message]:
        """Return what the gateway was told of this participant so far."""
        return [
            event
            for event in self.scene.gateway.events
            if event.get("UserEvent", "").startswith("DialoutKeypad")
            and event["Uniqueid"] == f"{self.visit.key}-join"
        ]

    async def is_answered(self, event: Message, outcome: str) -> None:
        """Answer as the gateway does."""
        await self.scene.set_variable(event["Channel"], "DIALOUT_OUTCOME", outcome)

    async def hears_outcome(self, word: str) -> None:
        """Insist that a word is said, and wait for its end."""
        since = time.time()
        async with asyncio.timeout(30):
            while await self.scene.variable(self.visit.key, "DIALOUT_WORD") != word:
                since = time.time()
                await asyncio.sleep(0.05)
            while sum(at > since for at in self.telephone.loud_at) < WORD_PACKETS_MIN:
                await asyncio.sleep(0.05)
        await self.telephone.hears_silence()

    async def hears_nothing(self) -> bool:
        """Return whether it stays quiet for as long as the next looks at the outcome take."""
        began = time.time()
        await asyncio.sleep(LOOKS_EVERY_SECONDS * LOOKS)
        return not any(at > began for at in self.telephone.loud_at)

    async def is_back(self) -> None:
        """Insist that the participant is in the conference, and hears what is said there."""
        assert f"{self.visit.key}-join" in await self.scene.participants(self.room)
        began = time.time()
        speaker = await self.scene.say_in(self.room)
        await self.telephone.hears(since=began)
        await self.scene.hangup(speaker)
        await self.scene.ended(speaker)
        await self.telephone.hears_silence()


@asynccontextmanager
async def participant(scene: Scene, ear: Ear, *variables: str) -> AsyncIterator[Participant]:
    """Bring somebody into a conference; nothing but the end of it takes him out."""
    room = f"keypad-{new_key()[:8]}"
    visit, answer = await scene.connect(new_number(LISTENS), *variables, room=room)
    telephone = await ear.next_telephone()
    await scene.gateway.event("ConfbridgeJoin", Uniqueid=f"{visit.key}-join")
    leg = answer["DestUniqueid"]
    yield Participant(scene=scene, visit=visit, leg=leg, room=room, telephone=telephone)
    assert not any(
        event["Event"] == "Hangup" and event["Uniqueid"] == leg for event in scene.gateway.events
    )
    await scene.hangup(visit.channel)
    await scene.ended(leg)


async def test_the_gateway_is_told_what_was_typed_and_by_whom(scene: Scene) -> None:
    """The number is a request, and so is everything that the channel says of itself."""
    variables = (
        f"DIALOUT_TENANT={TENANT}",
        "DIALOUT_ORGANIZER=ann@example.org",
        "DIALOUT_INITIATOR=bob+2@example.org",
    )
    async with (
        ear_on(scene.carrier.ear_port) as ear,
        participant(scene, ear, *variables) as somebody,
    ):
        event = await somebody.asks_for("004930100000")
        await somebody.is_answered(event, f"{event['Visit']}:calling")
        await somebody.hears_outcome("calling")
        await somebody.is_back()
        asked = await scene.variable(somebody.visit.key, "DIALOUT_ASKED")

    assert event["Number"] == "004930100000"
    assert event["Tenant"] == TENANT
    assert event["Organizer"] == "ann@example.org"
    assert event["Initiator"] == "bob+2@example.org"
    assert event["Conference"] == somebody.room
    assert asked == ":".join(event[each] for each in ASKED)
    assert len(somebody.told()) == 1


async def test_an_outcome_is_heard_and_the_conference_again(scene: Scene) -> None:
    """Even a word that this dialplan does not know yet ends in the room."""

    async def has_outcome(somebody: Participant, word: str, said: str) -> None:
        event = await somebody.asks_for("100")
        await somebody.is_answered(event, f"{event['Visit']}:{word}")
        await somebody.hears_outcome(said)
        await somebody.is_back()

    async with ear_on(scene.carrier.ear_port) as ear, AsyncExitStack() as telephones:
        each = [
            (await telephones.enter_async_context(participant(scene, ear)), word, said)
            for word, said in OUTCOMES
        ]
        await asyncio.gather(*(has_outcome(*one) for one in each))


async def test_the_conference_does_not_hear_keys_or_prompts(scene: Scene) -> None:
    """What one participant types is nobody else's to hear."""
    async with ear_on(scene.carrier.ear_port) as ear, participant(scene, ear) as somebody:
        visit, _ = await scene.connect(new_number(LISTENS), room=somebody.room)
        other = await ear.next_telephone()
        await somebody.telephone.press("590#")
        event = await somebody.asks_for("100")
        await somebody.is_answered(event, f"{event['Visit']}:calling")
        await somebody.hears_outcome("calling")
        meanwhile = list(other.loud_at)
        await somebody.is_back()
        await other.hears()
        await scene.hangup(visit.channel)
        await scene.ended(visit.uniqueid)

    assert meanwhile == []


async def test_without_a_gateway_nothing_is_typed(silent_gateway: Scene) -> None:
    """It is said at once, instead of after a whole number."""
    scene = silent_gateway
    async with ear_on(scene.carrier.ear_port) as ear:
        await scene.beat()
        async with participant(scene, ear) as somebody:
            await scene.beat(seconds_ago=60)
            await somebody.starts()
            await somebody.hears_outcome("gateway_away")
            await somebody.is_back()

    assert somebody.told() == []


async def test_a_gateway_that_says_nothing_is_waited_for_eight_seconds(scene: Scene) -> None:
    """Dead, or cut off, or too slow: the participant is told, and is back.

    An outcome that comes late says nothing of the next visit, though its word is the same.
    """
    async with ear_on(scene.carrier.ear_port) as ear, participant(scene, ear) as somebody:
        first = await somebody.asks_for("100")
        await somebody.hears_outcome("gateway_away")
        at = float(first["Timestamp"])
        waited = next(heard for heard in somebody.telephone.heard_at() if heard > at) - at
        await somebody.is_back()
        await somebody.is_answered(first, f"{first['Visit']}:calling")
        second = await somebody.asks_for("200")
        await somebody.is_answered(second, f"{first['Visit']}:calling")
        assert await somebody.hears_nothing()
        await somebody.is_answered(second, f"{second['Visit']}:calling")
        await somebody.hears_outcome("calling")
        await somebody.is_back()

    # Forty looks, each of which a busy machine may have a little early or late.
    assert ANSWER_SECONDS - 0.5 <= waited < 2 * ANSWER_SECONDS
    assert first["Visit"] != second["Visit"]


async def test_an_outcome_must_be_exactly_the_answer(scene: Scene) -> None:
    """What is not the gateway's wording is not taken for its answer, nor what was there before."""

    async def waits_for_the_answer(somebody: Participant, forged: str) -> None:
        event = await somebody.asks_for("100")
        await somebody.is_answered(event, forged.format(visit=event["Visit"]))
        assert await somebody.hears_nothing(), forged
        await somebody.is_answered(event, f"{event['Visit']}:calling")
        await somebody.hears_outcome("calling")

    async with ear_on(scene.carrier.ear_port) as ear, AsyncExitStack() as telephones:
        each = [
            await telephones.enter_async_context(
                participant(scene, ear, "DIALOUT_OUTCOME=1:calling")
            )
            for _ in FORGERIES
        ]
        await asyncio.gather(*map(waits_for_the_answer, each, FORGERIES))


async def test_what_is_typed_is_what_is_asked_for(scene: Scene) -> None:
    """A # ends a number and a * begins it anew; what ends otherwise is not asked for.

    *1 within the keypad is typed like anything else: nothing is entered twice. Forty digits are
    longer than any telephone number, and end by themselves: the gateway says what they are worth.
    """

    async def types(somebody: Participant, keys: str, number: str | None) -> None:
        await somebody.starts()
        await somebody.telephone.press(keys)
        if number is None:
            await somebody.hears_outcome("cancelled")
        else:
            event = await somebody.next_told()
            assert event["Number"] == number
            await somebody.is_answered(event, f"{event['Visit']}:calling")
            await somebody.hears_outcome("calling")
        await somebody.is_back()
        assert len(somebody.told()) == (number is not None)

    async with ear_on(scene.carrier.ear_port) as ear, AsyncExitStack() as telephones:
        each = [
            (await telephones.enter_async_context(participant(scene, ear)), keys, number)
            for keys, number in TYPED
        ]
        with scene.nothing_dialled():
            await asyncio.gather(*(types(*one) for one in each))


async def test_the_question_is_asked_anew_with_the_number(scene: Scene) -> None:
    """So that whoever pressed * knows what has become of the digits before it."""
    async with ear_on(scene.carrier.ear_port) as ear, participant(scene, ear) as somebody:
        await somebody.starts()
        await somebody.telephone.press("12")
        await somebody.telephone.hears_silence()
        began = time.time()
        await somebody.telephone.press("*")
        await somebody.telephone.hears(since=began)


async def test_a_participant_who_hangs_up_while_typing_is_gone(scene: Scene) -> None:
    """The keypad holds nobody: the leg ends at once, and the conference with it."""
    async with ear_on(scene.carrier.ear_port) as ear:
        room = f"keypad-{new_key()[:8]}"
        visit, answer = await scene.connect(new_number(LISTENS), room=room)
        telephone = await ear.next_telephone()
        await scene.gateway.event("ConfbridgeJoin", Uniqueid=f"{visit.key}-join")
        await telephone.press("*1")
        await telephone.hears()
        await telephone.press("12")
        await scene.hangup(answer["DestChannel"])
        leg = await scene.ended(answer["DestUniqueid"])
        join = await scene.ended(f"{visit.key}-join")
        there = await scene.participants(room)

    assert abs(milliseconds_between(leg, join)) < KEY_SECONDS * 1000 / 2
    assert there == set()
    assert not any(event.get("UserEvent") == "DialoutKeypad" for event in scene.gateway.events)


async def test_the_limit_of_a_participant_holds_in_the_keypad(scene: Scene) -> None:
    """Neither longer for it nor shorter: TIMEOUT(absolute) is what it was, and ends the channel."""
    async with ear_on(scene.carrier.ear_port) as ear:
        room = f"keypad-{new_key()[:8]}"
        visit, _ = await scene.connect(new_number(LISTENS), room=room)
        telephone = await ear.next_telephone()
        join = await scene.gateway.event("ConfbridgeJoin", Uniqueid=f"{visit.key}-join")
        limited_at = time.time()
        await scene.move_limit(join["Channel"], LIMIT_SECONDS)
        await telephone.press("*1")
        await telephone.hears()
        left = float(await scene.variable(visit.key, "TIMEOUT(absolute)"))
        expected = limited_at + LIMIT_SECONDS - time.time()
        hangup = await scene.ended(f"{visit.key}-join")

    assert left == pytest.approx(expected, abs=2)
    assert LIMIT_SECONDS - 0.5 <= float(hangup["Timestamp"]) - limited_at < KEY_SECONDS


async def test_an_odd_identity_is_not_asked_for(scene: Scene) -> None:
    """Filtered or cut, it would be somebody else's name; the participant is back all the same."""

    async def is_not_asked_for(somebody: Participant) -> None:
        await somebody.starts()
        await somebody.telephone.press("100#")
        await somebody.hears_outcome("failed")
        await somebody.is_back()

    async with ear_on(scene.carrier.ear_port) as ear, AsyncExitStack() as telephones:
        each = [
            await telephones.enter_async_context(participant(scene, ear, variable))
            for variable in ODD_IDENTITIES
        ]
        with scene.nothing_dialled():
            await asyncio.gather(*(is_not_asked_for(somebody) for somebody in each))

    assert not any(somebody.told() for somebody in each)


async def test_star_two_asks_for_nothing_to_ring(scene: Scene) -> None:
    """Who pressed it is all that the gateway needs, and its answer is what is heard of it."""
    async with ear_on(scene.carrier.ear_port) as ear, participant(scene, ear) as somebody:
        await somebody.telephone.press("*2")
        event = await somebody.next_told()
        asked = await scene.variable(somebody.visit.key, "DIALOUT_ASKED")
        assert await somebody.hears_nothing()
        await somebody.is_answered(event, f"{event['Visit']}:cancelled")
        await somebody.hears_outcome("cancelled")
        await somebody.is_back()

    assert event["UserEvent"] == "DialoutKeypadCancel"
    assert asked == f"{event['Visit']}:cancel"


async def test_what_may_ring_on_is_not_called_cancelled(scene: Scene) -> None:
    """A gateway that died a moment ago has cancelled nothing."""
    async with ear_on(scene.carrier.ear_port) as ear, participant(scene, ear) as somebody:
        await somebody.telephone.press("*2")
        await somebody.next_told()
        await somebody.hears_outcome("gateway_away")
        await somebody.is_back()


async def test_a_busy_tone_of_an_earlier_call_is_not_heard(scene: Scene) -> None:
    """A channel that once dialled keeps its DIALSTATUS; Asterisk would play it at the end."""
    async with (
        ear_on(scene.carrier.ear_port) as ear,
        participant(scene, ear, "DIALSTATUS=BUSY") as somebody,
    ):
        await somebody.starts()
        began = time.time()
        await somebody.telephone.press("#")
        await somebody.hears_outcome("cancelled")
        took = time.time() - began
        await somebody.is_back()

    assert took < BUSY_TONE_SECONDS


async def test_how_a_call_failed_is_whispered_to_whoever_asked(scene: Scene) -> None:
    """He is back in the conference by then, and nobody else there hears it."""
    async with ear_on(scene.carrier.ear_port) as ear, participant(scene, ear) as somebody:
        visit, _ = await scene.connect(new_number(LISTENS), room=somebody.room)
        other = await ear.next_telephone()
        await scene.whisper(f"{somebody.visit.key}-join", "Local/busy@dialout-outcome/n")
        await somebody.telephone.hears()
        await somebody.telephone.hears_silence()
        meanwhile = list(other.loud_at)
        await scene.hangup(visit.channel)
        await scene.ended(visit.uniqueid)

    assert meanwhile == []


async def test_an_outcome_of_no_known_name_is_not_said(scene: Scene) -> None:
    """Nothing answers, and so the participant hears nothing."""
    async with ear_on(scene.carrier.ear_port) as ear, participant(scene, ear) as somebody:
        for word in ("no_such_word", "s", "a,1", "busy&demo-congrats", "i", "over"):
            outcome = await scene.whisper(somebody.leg, f"Local/{word}@dialout-outcome/n")
            assert outcome["Response"] == "Failure", word

    assert somebody.telephone.loud_at == []
