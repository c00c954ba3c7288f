"""The page is for everybody: by keyboard, by ear, on a telephone's screen, by day and by night."""

import asyncio
from typing import Literal

import pytest
from playwright.async_api import expect

from tests.web.visitor import Visitor

# The first of them may wait for a Chromium to be built.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(150)]

REFUSED = "+449098790000"

# Of each text that is shown: its contrast with what is behind it, as WCAG 2 reckons it.
CONTRASTS = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const luminance = (colour) => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return colour;
    }
    return "white";
  };
  return [...document.querySelectorAll("h1, h2, p, label, legend, button, td, th, select, input")]
    .filter((element) => element.textContent.trim() && element.checkVisibility())
    .map((element) => {
      const [low, high] = [getComputedStyle(element).color, behind(element)]
        .map(luminance).sort((a, b) => a - b);
      return [element.textContent.trim().slice(0, 20), (high + 0.05) / (low + 0.05)];
    });
}"""

# What can be pressed or filled in, with the name that a screen reader says.
NAMES = """() => [...document.querySelectorAll("button, input, select")]
  .filter((element) => element.checkVisibility())
  .map((element) => element.ariaLabel || element.labels?.[0]?.textContent || element.textContent)
  .map((name) => name.trim())"""


async def test_everything_has_a_name(visitor: Visitor) -> None:
    """Whoever hears the page is told what each control is, and where each part begins."""
    page = visitor.page

    assert all(await page.evaluate(NAMES))
    assert await page.evaluate("document.documentElement.lang") == "en"
    assert await page.title() == "Weekly meeting: call a telephone"
    await expect(page.get_by_role("heading", level=1)).to_have_count(1)
    for region in ("Call a telephone", "Calls", "Numbers to try"):
        await expect(page.get_by_role("region", name=region)).to_be_visible()
    await expect(page.get_by_role("group", name="Whom?")).to_be_visible()


async def test_it_is_used_by_keyboard_alone(visitor: Visitor) -> None:
    """Tab goes through the form in its order, Enter calls, and a refusal leads back to the number.

    What is said of it, is in regions that screen readers read out by themselves.
    """
    page = visitor.page
    for control in ("You are", "Call me", "Telephone number"):
        await page.keyboard.press("Tab")
        await expect(page.get_by_label(control, exact=True)).to_be_focused()
    await page.keyboard.type(REFUSED)
    await expect(page.get_by_role("status").filter(has_text="not called")).to_be_visible()
    await page.keyboard.press("Enter")

    await expect(page.get_by_role("alert")).to_have_text("Numbers of this kind are not called.")
    await expect(visitor.number).to_be_focused()
    await expect(visitor.number).to_have_attribute("aria-invalid", "true")
    assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


async def test_nothing_typed_is_said_and_not_sent(visitor: Visitor) -> None:
    """An empty form needs no gateway to be told so."""
    asked: list[str] = []
    visitor.page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    await visitor.page.get_by_role("button", name="Call", exact=True).click()

    await expect(visitor.fault).to_have_text("Type a telephone number first.")
    await asyncio.sleep(1)
    # What the page asks for by itself is nobody's call.
    assert [each for each in asked if not each.startswith("GET ")] == []


async def test_a_sample_number_is_chosen_and_quoted(visitor: Visitor) -> None:
    """Who tries the page has no number of their own at hand."""
    await visitor.page.get_by_role("button", name="+44 909 879 0000").click()

    await expect(visitor.number).to_have_value("+44 909 879 0000")
    await expect(visitor.number).to_be_focused()
    await expect(visitor.quote).to_have_text("Numbers of this kind are not called.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_stands_out(visitor: Visitor, scheme: Literal["light", "dark"]) -> None:
    """At least 4.5 to 1, in both schemes, the text of faults included."""
    await visitor.page.emulate_media(color_scheme=scheme)
    await visitor.type("Add somebody", REFUSED)
    await visitor.page.get_by_role("button", name="Call", exact=True).click()
    await expect(visitor.fault).not_to_be_empty()

    contrasts = await visitor.page.evaluate(CONTRASTS)
    assert len(contrasts) > 20
    assert [each for each in contrasts if each[1] < 4.5] == []


async def test_it_fits_a_telephone(visitor: Visitor) -> None:
    """On the narrowest of screens nothing has to be moved sideways, and buttons fit a thumb."""
    await visitor.page.set_viewport_size({"width": 320, "height": 640})
    call = await visitor.page.get_by_role("button", name="Call", exact=True).bounding_box()

    assert await visitor.page.evaluate("document.documentElement.scrollWidth") <= 320
    assert call is not None
    assert call["height"] >= 44
