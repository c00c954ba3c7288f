"""Somebody in front of the page: what they do, and what they see."""

from datetime import datetime

from playwright.async_api import Dialog, Locator, Page, Request, expect


class Visitor:
    """A person with a browser of their own. ``surprises`` notes what no page of ours does.

    That is errors, dialogs, and asking anybody but the page's own server for anything.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.surprises: list[str] = []
        page.on("pageerror", lambda error: self.surprises.append(f"error: {error}"))
        page.on("dialog", self._refuse)
        page.on("request", self._check)

    async def open(self) -> None:
        """Open the page, and return when the meeting is shown."""
        await self.page.goto(self.url)
        await expect(self.page.get_by_label("You are").locator("option")).not_to_have_count(0)

    async def another_tab(self) -> "Visitor":
        """Return the same person in front of another tab of the same browser."""
        tab = Visitor(await self.page.context.new_page(), self.url)
        tab.surprises = self.surprises
        await tab.open()
        return tab

    async def press_call_back(self) -> None:
        """Press "Call me back" of the first call, though it may just be going away."""
        await self.calls.last.locator(".call-back").dispatch_event("click")

    async def ask(self, kind: str, number: str) -> Locator:
        """Have a telephone called; return the call as the page shows it."""
        await self.type(kind, number)
        known = await self.calls.count()
        await self.page.get_by_role("button", name="Call", exact=True).click()
        await expect(self.calls).to_have_count(known + 1)
        return self.calls.first

    async def type(self, kind: str, number: str) -> None:
        """Fill the form in, and press nothing."""
        await self.page.get_by_label(kind, exact=True).check()
        await self.number.fill(number)

    @property
    def number(self) -> Locator:
        """Where a number is typed."""
        return self.page.get_by_label("Telephone number")

    @property
    def calls(self) -> Locator:
        """The calls, latest first."""
        return self.page.locator("#calls > li")

    @property
    def ringing(self) -> Locator:
        """Those of them that ring."""
        return self.page.locator("#calls > .ringing")

    @property
    def quote(self) -> Locator:
        """What is said of a call before it is asked for."""
        return self.page.locator("#quote")

    @property
    def fault(self) -> Locator:
        """What went wrong with what was asked for last."""
        return self.page.locator("#fault")

    @property
    def recent(self) -> Locator:
        """The numbers that are offered again."""
        return self.page.locator("#recent li button:first-child")

    async def stages(self, call: Locator) -> list[str]:
        """Return the stages that a call has gone through, as they are shown, in order."""
        steps = await call.locator(".steps li").all()
        return [await step.get_attribute("data-stage") or "" for step in steps]

    async def reaches(self, call: Locator, stage: str) -> Locator:
        """Return the line of a stage once the call has got there."""
        line = call.locator(f".steps li[data-stage={stage}]")
        await expect(line).to_be_visible()
        return line

    async def reached_at(self, call: Locator, stage: str) -> datetime:
        """Return when a call got to a stage, once it has, as the page says."""
        line = await self.reaches(call, stage)
        at = await line.locator("time").get_attribute("datetime")
        assert at is not None
        return datetime.fromisoformat(at)

    def _check(self, request: Request) -> None:
        if not request.url.startswith(self.url):
            self.surprises.append(f"request: {request.url}")

    async def _refuse(self, dialog: Dialog) -> None:
        self.surprises.append(f"dialog: {dialog.message}")
        await dialog.dismiss()
