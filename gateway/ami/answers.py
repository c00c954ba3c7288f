"""Which action an answer belongs to, and when an action is answered."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.ami.actions import Action
from gateway.ami.errors import AmiEncodingError, AmiRefused
from gateway.ami.line import is_line

Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The end of an action. `refusal` is Asterisk's reason if it did not do what was asked."""

    headers: Headers
    items: tuple[Headers, ...] = ()
    refusal: str | None = None


Outcome = asyncio.Future[Answer | None]
"""Comes true with the answer, or with None when the link was lost first."""


@dataclass(slots=True, kw_only=True)
class _Expected:
    outcome: Outcome
    listed: bool
    response: Headers | None = None
    items: list[Headers] = field(default_factory=list)
    items_bytes: int = 0


class Answers:
    """The actions that were written and await their answer.

    The first Response ends an action, except one that asks for a list: its Response only starts
    it. An Originate is answered by its acknowledgement; how the call went is an event.
    """

    def __init__(self, *, list_bytes_max: int) -> None:
        self.late = 0
        """Answers that came when nobody awaited them any more."""
        self._list_bytes_max = list_bytes_max
        self._expected: dict[str, _Expected] = {}

    def expect(self, actions: Sequence[Action]) -> tuple[Outcome, ...]:
        """Enter actions that are about to be written, all or none."""
        ids = {action.action_id for action in actions}
        if len(ids) < len(actions) or not self._expected.keys().isdisjoint(ids):
            raise AmiEncodingError("ActionID is that of an action that still awaits its answer")
        return tuple(self._enter(action) for action in actions)

    def forget(self, actions: Sequence[Action]) -> None:
        """Await these no longer; what still comes for them is late."""
        for action in actions:
            self._expected.pop(action.action_id, None)

    def lose(self) -> None:
        """End everything that awaits an answer: the link that would have brought it is gone."""
        for expected in self._expected.values():
            _end(expected, None)

    def take_response(self, headers: Headers, *, success: bool) -> None:
        """Match a Response with its action."""
        expected = self._expected.get(headers.get("ActionID", ""))
        starts_list = headers.get("EventList", "").lower() == "start"
        if expected is None:
            self.late += not starts_list
        elif not success:
            _end(expected, Answer(headers=headers, refusal=_reason(headers)))
        elif not expected.listed:
            _end(expected, Answer(headers=headers))
        elif starts_list:
            expected.response = headers
        else:
            _end(expected, Answer(headers=headers, refusal="the answer is not a list"))

    def take_item(self, headers: Headers, *, item_bytes: int) -> None:
        """Match an event that carries an ActionID with the list that it is part of.

        A list that is longer than any ends unread, or one that never ends would fill the memory.
        """
        expected = self._expected.get(headers.get("ActionID", ""))
        ending = headers.get("EventList")
        if expected is None:
            self.late += ending is not None
        elif expected.response is None or expected.outcome.done():
            return
        elif ending is None:
            self._collect(expected, headers, item_bytes)
        else:
            refusal = _list_refusal(headers, len(expected.items))
            items = tuple(expected.items)
            _end(expected, Answer(headers=expected.response, items=items, refusal=refusal))

    def _collect(self, expected: _Expected, item: Headers, item_bytes: int) -> None:
        expected.items.append(item)
        expected.items_bytes += item_bytes
        if expected.items_bytes > self._list_bytes_max:
            expected.items.clear()
            _end(expected, Answer(headers=item, refusal="the list is longer than any list is"))

    def _enter(self, action: Action) -> Outcome:
        outcome: Outcome = asyncio.get_running_loop().create_future()
        self._expected[action.action_id] = _Expected(outcome=outcome, listed=action.listed)
        return outcome


def required(headers: Headers, name: str) -> str:
    """Return a header that an answer always has.

    Raises AmiRefused if it lacks, for a list with a hole in it is evidence of nothing, and if it
    is no line of text, for it goes on into log lines and actions.
    """
    if name not in headers:
        raise AmiRefused(f"the answer lacks a {name}")
    if not is_line(headers[name]):
        raise AmiRefused(f"the {name} of the answer is no line of text")
    return headers[name]


def _reason(headers: Headers) -> str:
    message = headers.get("Message", "")
    return message if message and is_line(message) else "no reason given"


def _list_refusal(ending: Headers, items: int) -> str | None:
    if ending["EventList"].lower() != "complete":
        return "the list was cancelled"
    if ending.get("ListItems") != str(items):
        return "the list is not complete"
    return None


def _end(expected: _Expected, answer: Answer | None) -> None:
    # A second answer to one action, or its loss after its answer, changes nothing.
    if not expected.outcome.done():
        expected.outcome.set_result(answer)
