"""What people do on the page, on a real bridge: the carrier counts what comes of it."""

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import expect

from gateway.console import Meeting, Participant
from gateway.lab.service import Service
from gateway.lab.stack import Stack
from tests.calls.meeting import london
from tests.web.conftest import RING_SECONDS, Visit
from tests.web.visitor import Visitor

# The first of them may wait for a Chromium to be built.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(150)]

PREMIUM = "+449098790000"


def invites(parts: Stack, number: str) -> int:
    """Return how many calls to a number the carrier has seen."""
    return sum(1 for invite in parts.carrier.invites() if invite.number == number)


async def test_call_me_is_followed_to_its_end(visitor: Visitor, parts: Stack) -> None:
    """Each stage is shown when it is reached, and one telephone rang once."""
    number = london("70")
    call = await visitor.ask("Call me", number)
    await visitor.reaches(call, "joined")
    await call.get_by_role("button", name="Hang up").click()
    ended = await visitor.reaches(call, "ended")

    stages = await visitor.stages(call)
    assert [stage for stage in stages if stage != "ringing"] == [
        *("reserved", "dialing", "answered", "joined", "ended")
    ]
    assert "lasted" in await ended.inner_text()
    await expect(call.get_by_role("button", name="Hang up")).to_be_hidden()
    assert invites(parts, number) == 1


async def test_a_stream_goes_on_after_what_was_seen(visitor: Visitor) -> None:
    """A browser that reconnects says what it saw last, and is told no more than the rest."""
    call = await visitor.ask("Add somebody", london("10"))
    await visitor.reaches(call, "joined")
    await call.get_by_role("button", name="Hang up").click()
    await visitor.reaches(call, "ended")
    path = f"{visitor.url}api/events"
    whole = await (await visitor.page.request.get(path)).text()
    joined = re.search(r"event: joined\n(?:.*\n)*?id: (\S+)", whole)
    assert joined is not None
    rest = await visitor.page.request.get(path, headers={"Last-Event-ID": joined[1]})

    assert re.findall("^event: (.*)$", await rest.text(), re.MULTILINE) == ["ended"]


async def test_who_presses_nothing_never_joins(visitor: Visitor, parts: Stack) -> None:
    """A telephone that answers and is silent is no participant, and hanging up ends it."""
    number = london("10")
    call = await visitor.ask("Call me", number)
    await visitor.reaches(call, "answered")
    await call.get_by_role("button", name="Hang up").click()
    ended = await visitor.reaches(call, "ended")

    assert "joined" not in await visitor.stages(call)
    assert "nobody there pressed 1" in await ended.inner_text()
    assert invites(parts, number) == 1


async def test_somebody_who_is_added_need_press_nothing(visitor: Visitor, parts: Stack) -> None:
    """The far side hangs up after five seconds, and the page says so by itself."""
    number = london("25")
    call = await visitor.ask("Add somebody", number)
    await visitor.reaches(call, "ended")

    stages = await visitor.stages(call)
    assert [stage for stage in stages if stage != "ringing"] == [
        *("reserved", "dialing", "answered", "joined", "ended")
    ]
    assert invites(parts, number) == 1


async def test_a_refused_number_says_why_and_calls_nobody(visitor: Visitor, parts: Stack) -> None:
    """The reason stands there before the call is asked for, and again when it is."""
    await visitor.type("Add somebody", PREMIUM)
    await expect(visitor.quote).to_have_text("Numbers of this kind are not called.")
    await expect(visitor.quote).to_have_class(re.compile("refused"))
    await visitor.page.get_by_role("button", name="Call", exact=True).click()

    await expect(visitor.fault).to_have_text("Numbers of this kind are not called.")
    await expect(visitor.number).to_be_focused()
    assert await visitor.calls.count() == 0
    assert invites(parts, PREMIUM) == 0


async def test_what_rings_is_cancelled(visitor: Visitor, parts: Stack) -> None:
    """Nobody answers, somebody changes their mind: it stops long before it would by itself."""
    number = london("80")
    call = await visitor.ask("Add somebody", number)
    await visitor.reaches(call, "ringing")
    changed_at = datetime.now(UTC)
    await call.get_by_role("button", name="Cancel").click()
    ended = await visitor.reaches(call, "ended")

    assert "cancelled" in await ended.inner_text()
    assert await visitor.reached_at(call, "ended") - changed_at < timedelta(seconds=10)
    assert invites(parts, number) == 1


async def test_many_calls_are_followed_at_once(visitor: Visitor, parts: Stack) -> None:
    """More than a browser has connections for, in two tabs: none waits for another to end.

    A call that waited in the browser would have a telephone rung when nobody thinks of it.
    """
    numbers = [london("80") for _ in range(8)]
    other = await visitor.another_tab()
    async with asyncio.timeout(RING_SECONDS - 30):
        for number in numbers:
            await visitor.reaches(await visitor.ask("Add somebody", number), "ringing")
        await other.page.reload()
        await expect(other.ringing).to_have_count(len(numbers))
        await expect(visitor.quote).to_contain_text("from the pool")
        for left in reversed(range(len(numbers))):
            cancelling = (visitor, other)[left % 2]
            await cancelling.ringing.first.get_by_role("button", name="Cancel").click()
            for tab in (visitor, other):
                await expect(tab.ringing).to_have_count(left)

    assert [invites(parts, number) for number in numbers] == [1] * len(numbers)


async def test_two_tabs_call_back_once(visitor: Visitor, parts: Stack) -> None:
    """Whoever presses twice means one call, and pays for one; when it is over, it may be again."""
    number = london("10")
    first = await visitor.ask("Call me", number)
    await visitor.reaches(first, "answered")
    await first.get_by_role("button", name="Hang up").click()
    await visitor.reaches(first, "ended")
    other = await visitor.another_tab()
    await visitor.reaches(other.calls.last, "ended")
    await asyncio.gather(*(tab.press_call_back() for tab in (visitor, other)))
    for tab in (visitor, other):
        await tab.reaches(tab.calls.first, "answered")
        await expect(tab.calls).to_have_count(2)
        await expect(tab.calls.last.get_by_role("button", name="Call me back")).to_be_hidden()
    await visitor.calls.first.get_by_role("button", name="Hang up").click()
    await visitor.reaches(visitor.calls.first, "ended")
    assert invites(parts, number) == 2

    await visitor.calls.last.get_by_role("button", name="Call me back").click()
    await expect(visitor.calls).to_have_count(3)
    await visitor.reaches(visitor.calls.first, "answered")
    await visitor.calls.first.get_by_role("button", name="Hang up").click()
    await visitor.reaches(visitor.calls.first, "ended")
    assert invites(parts, number) == 3


async def test_a_call_is_placed_again_after_an_audio_fault(visitor: Visitor, parts: Stack) -> None:
    """The old leg ends before the new one rings, and the number need not be typed again.

    Somebody else is in the meeting, which so goes on: at its end whatever rings is given up.
    """
    await visitor.reaches(await visitor.ask("Add somebody", london("10")), "joined")
    number = london("70")
    first = await visitor.ask("Call me", number)
    await visitor.reaches(first, "joined")
    await first.get_by_role("button", name="Call me back").click()
    await expect(visitor.calls).to_have_count(3)

    second, first, other = await visitor.calls.all()
    await visitor.reaches(second, "joined")
    ended_at = await visitor.reached_at(first, "ended")
    assert ended_at <= await visitor.reached_at(second, "dialing")
    assert invites(parts, number) == 2
    for call in (second, other):
        await call.get_by_role("button", name="Hang up").click()
        await visitor.reaches(call, "ended")


async def test_who_asks_counts(visitor: Visitor) -> None:
    """The quote is of the person at the page: a stranger has nobody called, and is told so."""
    await visitor.type("Call me", london("70"))
    await expect(visitor.quote).to_contain_text("from the pool")
    await visitor.page.get_by_label("You are").select_option(label="Somebody anonymous")

    await expect(visitor.quote).to_have_class(re.compile("refused"))
    await expect(visitor.quote).to_contain_text("signed in")


async def test_the_price_is_known_before_the_call(visitor: Visitor, parts: Stack) -> None:
    """Who pays, what a minute costs and when the call is cut: nobody is called for that."""
    number = "+254202000010"
    await visitor.type("Add somebody", london("10"))
    await expect(visitor.quote).to_contain_text("from the pool")
    await visitor.number.fill(number)

    await expect(visitor.quote).to_contain_text("0.25 USD a minute from credits")
    await expect(visitor.quote).to_contain_text("cut at 1:00")
    assert invites(parts, number) == 0


async def test_a_number_of_before_is_offered_again_until_it_is_forgotten(
    visitor: Visitor,
) -> None:
    """To whom it was called for, and to nobody else in the meeting."""
    number = london("70")
    call = await visitor.ask("Call me", number)
    await visitor.reaches(call, "joined")
    await call.get_by_role("button", name="Hang up").click()
    await visitor.reaches(call, "ended")

    await expect(visitor.recent).to_have_text([number])
    await visitor.page.get_by_label("You are").select_option(label="Bob, a guest")
    await expect(visitor.recent).to_have_count(0)
    await visitor.page.get_by_label("You are").select_option(label="Alice, the organizer")
    await visitor.number.fill("")
    await visitor.recent.click()
    await expect(visitor.number).to_have_value(number)
    await visitor.page.get_by_role("button", name=f"Forget {number}").click()
    await expect(visitor.recent).to_have_count(0)


async def test_a_call_is_still_there_when_the_page_is_loaded_again(visitor: Visitor) -> None:
    """The steps come from the ledger, so none that it knows of is lost with the page."""
    call = await visitor.ask("Add somebody", london("10"))
    await visitor.reaches(call, "joined")
    await visitor.page.reload()
    await visitor.reaches(call, "joined")

    stages = await visitor.stages(call)
    assert [stage for stage in stages if stage != "ringing"] == [
        *("reserved", "dialing", "answered", "joined")
    ]
    await call.get_by_role("button", name="Hang up").click()
    await visitor.reaches(call, "ended")


async def test_the_page_goes_on_after_the_gateway_was_away(
    visitor: Visitor, service: Service, parts: Stack
) -> None:
    """A gateway that dies and comes back ends no call, and the page says how it goes on."""
    number = london("10")
    call = await visitor.ask("Add somebody", number)
    await visitor.reaches(call, "joined")
    await service.kill()
    await visitor.type("Add somebody", london("10"))
    await expect(visitor.quote).to_contain_text("does not answer")
    await service.start()
    await call.get_by_role("button", name="Hang up").click()
    await visitor.reaches(call, "ended")

    stages = await visitor.stages(call)
    assert stages == [*("reserved", "dialing", "ringing", "answered", "joined", "ended")]
    assert invites(parts, number) == 1


async def test_names_from_outside_are_text(visit: Visit, meeting: Meeting) -> None:
    """Markup in the meeting's name, a participant's or a number is shown and nothing else."""
    markup = "<img src=x onerror=alert(1)>"
    hostile = replace(
        meeting,
        name=f"{markup}<script>alert(2)</script>",
        participants=(
            Participant(participant_id="alice", name=markup, initiator_id="alice"),
            *meeting.participants[1:],
        ),
    )
    visitor = await visit(hostile)
    await visitor.type("Call me", markup)
    await expect(visitor.quote).to_have_class(re.compile("refused"))
    await visitor.page.get_by_role("button", name="Call", exact=True).click()
    await expect(visitor.fault).not_to_be_empty()

    await expect(visitor.page.locator("h1")).to_have_text(hostile.name)
    await expect(visitor.page.locator("#me option").first).to_have_text(markup)
    assert await visitor.page.locator("img, body script").count() == 0


async def test_a_call_of_a_meeting_with_a_hostile_name_joins_it(
    visit: Visit, meeting: Meeting, parts: Stack
) -> None:
    """The name is spoken, on the way to the telephone, by a dialplan that it must not steer."""
    number = london("70")
    visitor = await visit(replace(meeting, name='${EVAL(1)},Hangup(),"&`^|; Sales'))
    call = await visitor.ask("Call me", number)
    await visitor.reaches(call, "joined")
    await call.get_by_role("button", name="Hang up").click()
    await visitor.reaches(call, "ended")

    assert invites(parts, number) == 1
