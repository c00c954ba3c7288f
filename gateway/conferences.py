"""Which conferences are in progress on one Asterisk, as far as that can be known.

Asterisk says when a conference begins and ends, and lists them all after each connection. While
there is no link nobody can say; those that were there last may be there still.
"""

import asyncio

from gateway.ami import AmiClient, ConferenceChanged, ConferenceEnded, Event, Shutdown

DOUBT_SECONDS = 15.0
"""How long nobody is called elsewhere because a conference may have begun on a bridge that is away.
A link that broke is back by then, and an Asterisk that was restarted, too."""


class Conferences:
    """Follows the conferences of one Asterisk."""

    def __init__(self, ami: AmiClient) -> None:
        self._ami = ami
        self._there: set[str] = set()
        self._changed: dict[str, bool] = {}
        self._known = False
        self._unknown_since = asyncio.get_running_loop().time()

    @property
    def known(self) -> bool:
        """Whether those that are in progress have been listed since the link is up."""
        return self._known

    @property
    def in_doubt(self) -> bool:
        """Whether those that are in progress are not known, and were until a moment ago."""
        passed = asyncio.get_running_loop().time() - self._unknown_since
        return not self._known and passed < DOUBT_SECONDS

    def __contains__(self, conference: str) -> bool:
        """Return whether a conference is in progress, or was when that was last known."""
        return conference in self._there

    def handle(self, event: Event) -> None:
        """Apply one event; never waits."""
        match event:
            case ConferenceChanged(joined=True):
                self._note(event.conference, is_there=True)
            case ConferenceEnded():
                self._note(event.conference, is_there=False)
            case Shutdown():
                self._there.clear()
            case _:
                pass

    def link_lost(self) -> None:
        """Know no longer which there are, and remember which there were."""
        if self._known:
            self._unknown_since = asyncio.get_running_loop().time()
        self._known = False

    async def take_stock(self) -> None:
        """List them all, or raise ``AmiError`` and know as much as before."""
        self._changed = {}
        listed = await self._ami.conferences()
        # What was said while the list was on its way counts more than the list.
        changed = self._changed
        self._there = {each for each in listed if changed.get(each, True)}
        self._there.update(each for each, is_there in changed.items() if is_there)
        self._known = True

    def _note(self, conference: str, *, is_there: bool) -> None:
        self._changed[conference] = is_there
        if is_there:
            self._there.add(conference)
        else:
            self._there.discard(conference)
