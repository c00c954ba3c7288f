"""The books of one tenant, kept by hand: what the ledger promises, said again in plain Python.

It shares no line with the ledger. Amounts are integers, instants microseconds (see
``calendar``), and each second of a call is looked at on its own. It knows nothing of locks,
retries by the network or the journal: it is what one clerk would write, call after call.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import takewhile
from uuid import UUID

from tests.ledger.stateful.calendar import BEGINNING, END, SECOND, Calendar, first_whole, instant
from tests.ledger.stateful.prices import Deck, Price, Stretch, bound, costs, seconds_payable

Key = tuple[str, str | None, str | None, int]
"""What tells sources apart: kind, benefit, whose, and from which instant."""

Asked = tuple[str, str | None]
"""A kind of source that is asked to pay, and its benefit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Benefit:
    """Minutes for each licence; none named: as many as are asked for."""

    kind: str
    sku: str
    seconds: int | None
    valid_from: int
    valid_to: int

    def is_in_force(self, at: int) -> bool:
        """Return whether it brings minutes at an instant."""
        return self.valid_from <= at < self.valid_to


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """What an organizer holds from an instant until before another."""

    organizer: str
    sku: str
    valid_from: int
    valid_to: int


@dataclass(slots=True, kw_only=True)
class Source:
    """One month of a benefit, or one lot of credits. ``due_at``: when it is to be counted."""

    key: Key
    capped: bool
    valid_to: int
    granted: int = 0
    used: int = 0
    reserved: int = 0
    due_at: int | None = None

    @property
    def valid_from(self) -> int:
        """Return from which instant it pays."""
        return self.key[3]

    @property
    def free(self) -> int:
        """Return what can be set aside."""
        return self.granted - self.used - self.reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What was set aside of one kind of source, for seconds between two instants."""

    kind: str
    benefit: str | None
    source: Key | None
    seconds: int
    micros: int
    price: Price | None
    begins: int
    since: int
    until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Funding:
    """What could be set aside: for so many seconds for certain, in parts."""

    seconds: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A call that somebody asks for."""

    dial_out_id: UUID
    organizer: str
    typed: str
    number: str
    asked: tuple[Asked, ...]
    price: Price | None
    talk_max: int
    talk_min: int
    slice_seconds: int
    ring_seconds: int
    at: int
    expires_at: int
    channel: str | None
    may_finish: bool


@dataclass(slots=True, kw_only=True)
class Call:
    """A call as it stands: what it was promised and what was set aside for it."""

    wish: Wish
    state: str
    reason: str | None = None
    talk: int | None = None
    limit: int | None = None
    may_finish: bool = False
    slices: int | None = None
    released_at: int | None = None
    answered_at: int | None = None
    billable: int | None = None
    overrun: int | None = None
    parts: tuple[Part, ...] = ()
    draws: tuple[tuple[Key, int], ...] = ()
    billed: tuple[tuple[int, int], ...] = ()

    @property
    def is_open(self) -> bool:
        """Return whether it still has to end."""
        return self.state not in ("refused", "ended")

    def is_answered_in_time(self, answered_at: int) -> bool:
        """Return whether the telephone was answered when the first slice reckoned with it.

        The slices after it reckon with the answer that was noted.
        """
        wish = self.wish
        in_time = wish.at <= answered_at <= wish.expires_at + wish.ring_seconds * SECOND
        return in_time and (self.slices == 1 or self.answered_at == answered_at)

    def record(self) -> tuple[object, ...]:
        """Return what everybody can see of it: what a source paid at one price stands together."""
        billed = self.billed or ((0, 0),) * len(self.parts)
        shown: dict[tuple[object, ...], list[int]] = {}
        for part, of_part in zip(self.parts, billed, strict=True):
            sums = shown.setdefault((part.kind, part.benefit, part.source, part.price), [0] * 4)
            for place, amount in enumerate((part.seconds, part.micros, *of_part)):
                sums[place] += amount
        return (
            *(self.state, self.reason, self.talk, self.limit, self.slices),
            *(self.billable, self.overrun),
            tuple(
                (*by[:2], *sums[:2], *(sums[2:] if self.billed else (None, None)))
                for by, sums in shown.items()
            ),
        )


@dataclass(slots=True, kw_only=True)
class Books:
    """All that one tenant has and owes."""

    calendar: Calendar
    deck: Deck
    benefits: dict[str, Benefit]
    finish: bool = False
    licences: tuple[Licence, ...] = ()
    sources: dict[Key, Source] = field(default_factory=dict)
    calls: dict[UUID, Call] = field(default_factory=dict)
    grants: dict[UUID, int] = field(default_factory=dict)

    def copy(self) -> "Books":
        """Return books that can be written on without touching these."""
        return replace(
            self,
            sources={key: replace(source) for key, source in self.sources.items()},
            calls={key: replace(call) for key, call in self.calls.items()},
            grants=dict(self.grants),
        )

    def totals(self) -> dict[Key, tuple[int, int, int, int, int]]:
        """Return granted, used, reserved, free and end of each source."""
        return {
            key: (each.granted, each.used, each.reserved, each.free, each.valid_to)
            for key, each in self.sources.items()
        }

    # What is bought.

    def buy(self, grant_id: UUID, micros: int, at: int) -> str:
        """Add a lot of credits, which lapses after a year."""
        if grant_id in self.grants:
            return "exists" if self.grants[grant_id] == micros else "exists_with_different_terms"
        self.grants[grant_id] = micros
        key = ("credits", None, None, at)
        self.sources[key] = Source(
            key=key, capped=True, valid_to=self.calendar.year_later(at), granted=micros
        )
        return "added"

    def assign(self, licence: Licence, at: int) -> str:
        """Give an organizer a licence."""
        for held in self._held(licence.organizer, licence.sku):
            if held.valid_from == licence.valid_from:
                same = held.valid_to == licence.valid_to
                return "exists" if same else "exists_with_different_terms"
        if licence.valid_to <= licence.valid_from:
            return "ends_before_it_starts"
        if self._overlaps(licence):
            return "overlaps"
        self.licences += (licence,)
        self._count_pools(at)
        return "assigned"

    def end(self, licence: Licence, valid_to: int, at: int) -> str:
        """Move the end of a licence."""
        held = next(
            (
                each
                for each in self._held(licence.organizer, licence.sku)
                if each.valid_from == licence.valid_from
            ),
            None,
        )
        if held is None:
            return "unknown_licence"
        if held.valid_to == valid_to:
            return "unchanged"
        if valid_to <= held.valid_from:
            return "ends_before_it_starts"
        if valid_to > held.valid_to and self._overlaps(replace(held, valid_to=valid_to)):
            return "overlaps"
        changed = replace(held, valid_to=valid_to)
        self.licences = tuple(changed if each == held else each for each in self.licences)
        self._count_pools(at)
        return "changed"

    def choose(self, *, finish: bool, at: int) -> str:
        """Let calls finish, or have them cut."""
        if finish == self.finish:
            return "unchanged"
        self.finish = finish
        for source in self._counted():
            if at < source.valid_to and not _is_due(source, at):
                source.due_at = at
                if source.key[2] is None:
                    self._count(source, at)
        return "changed"

    # The life of a call.

    def reserve(self, wish: Wish) -> tuple[object, ...]:
        """Set the first slice aside, or refuse the call."""
        known = self.calls.get(wish.dial_out_id)
        if known:
            same = (known.wish.organizer, known.wish.typed) == (wish.organizer, wish.typed)
            outcome = "exists" if same else "exists_with_different_terms"
            return outcome, known.record()
        wanted = min(wish.talk_max, max(wish.slice_seconds, wish.talk_min))
        funding = self._fund(
            wish, wanted, wish.at, wish.expires_at + wish.ring_seconds * SECOND, (), wish.at
        )
        if funding.seconds < wish.talk_min:
            reason = f"{wish.asked[-1][0]}_exhausted"
            call = Call(wish=wish, state="refused", reason=reason)
            self.calls[wish.dial_out_id] = call
            return "refused", call.record()
        may_finish = wish.may_finish and self.finish
        is_all = funding.seconds < wanted and may_finish
        call = Call(
            wish=wish,
            state="reserved" if wish.channel is None else "released",
            talk=funding.seconds,
            limit=wish.talk_max if is_all else funding.seconds,
            may_finish=may_finish,
            slices=1,
            released_at=None if wish.channel is None else wish.at,
        )
        self.calls[wish.dial_out_id] = call
        self._set_aside(call, funding, wish.at)
        return "reserved", call.record()

    def refuse(self, wish: Wish, reason: str) -> tuple[object, ...]:
        """Record what policy refused."""
        known = self.calls.get(wish.dial_out_id)
        if known:
            same = (known.wish.organizer, known.wish.typed) == (wish.organizer, wish.typed)
            return "exists" if same else "exists_with_different_terms", known.record()
        call = Call(wish=wish, state="refused", reason=reason)
        self.calls[wish.dial_out_id] = call
        return "refused", call.record()

    def rehearse(self, wish: Wish) -> tuple[object, ...]:
        """Say what would become of a call, and how long it could last by what there is now."""
        _, record = self.copy().reserve(replace(wish, slice_seconds=wish.talk_max))
        assert isinstance(record, tuple), "a new call has a record"
        return record[1:4]

    def claim(self, dial_out_id: UUID, at: int) -> tuple[object, ...]:
        """Release a call to a channel, once."""
        call = self.calls.get(dial_out_id)
        if call is None:
            return ("unknown_dial_out",)
        if call.state != "reserved":
            return ("released" if call.state == "answered" else call.state,)
        if call.wish.expires_at <= at:
            return ("expired",)
        call.state, call.released_at = "released", at
        return "claimed", call.limit, call.wish.talk_max

    def answer(self, dial_out_id: UUID, at: int) -> str:
        """Note when the telephone answered."""
        call = self.calls.get(dial_out_id)
        if call is None:
            return "unknown_dial_out"
        if call.state != "released":
            return {"answered": "exists", "reserved": "unclaimed"}.get(call.state, "ended")
        call.state, call.answered_at = "answered", at
        return "answered"

    def extend(self, dial_out_id: UUID, slices: int, at: int) -> tuple[object, ...]:
        """Set the next slice aside."""
        call = self.calls.get(dial_out_id)
        if call is None:
            return "unknown_dial_out", None, None, None, False
        if not call.is_open:
            return "ended", None, None, None, False
        outcome = self._extend(call, slices, at)
        assert call.limit is not None, "an open call has a limit"
        return outcome, call.slices, call.talk, call.limit, call.limit < call.wish.talk_max

    def settle(self, dial_out_id: UUID, answered_at: int, ended_at: int) -> tuple[object, ...]:
        """Bill a call and give the rest back."""
        call = self.calls.get(dial_out_id)
        if call is None:
            return "unknown_dial_out", None
        if call.state not in ("released", "answered"):
            return "unclaimed" if call.state == "reserved" else "exists", call.record()
        assert call.talk is not None, "what was reserved has seconds"
        seconds = min(call.talk, max(1, first_whole(ended_at - answered_at)))
        paid = walk(call.parts, answered_at, seconds)
        if call.is_answered_in_time(answered_at):
            assert sum(paid) == seconds, "what was promised is paid, second by second"
        micros = self._bill(call, paid)
        call.state, call.answered_at = "ended", answered_at
        call.billed = tuple(zip(paid, micros, strict=True))
        call.billable = sum(paid)
        call.overrun = max(0, (ended_at - answered_at) // SECOND - sum(paid))
        return "settled", call.record()

    def void(self, dial_out_id: UUID, *, only_if_unclaimed: bool) -> tuple[object, ...]:
        """Give everything back."""
        call = self.calls.get(dial_out_id)
        if call is None:
            return "unknown_dial_out", None
        if not call.is_open:
            return "exists", call.record()
        if call.state != "reserved" and only_if_unclaimed:
            return "released", call.record()
        if call.state == "answered":
            return "answered", call.record()
        for key, amount in call.draws:
            self.sources[key].reserved -= amount
        call.state, call.billable, call.overrun = "ended", 0, 0
        call.billed = ((0, 0),) * len(call.parts)
        return "voided", call.record()

    def _extend(self, call: Call, slices: int, at: int) -> str:
        wish = call.wish
        assert call.talk is not None, "an open call has seconds"
        assert call.slices is not None, "an open call has slices"
        if call.state != "answered":
            return "unanswered"
        if slices < call.slices:
            return "exists"
        if call.talk >= wish.talk_max:
            return "longest"
        assert call.answered_at is not None, "it was answered"
        begins = max(call.talk, reach(call.parts, call.answered_at, wish.talk_max))
        wanted = min(wish.slice_seconds, wish.talk_max - begins)
        starts_at = call.answered_at + begins * SECOND
        funding = self._fund(wish, wanted, starts_at, starts_at, call.parts, at)
        before, call.talk = call.talk, begins + funding.seconds
        if funding.seconds < wanted and call.may_finish:
            call.limit = wish.talk_max
        else:
            call.limit = max(call.talk, call.limit or 0)
        if funding.seconds:
            call.slices += 1
            self._set_aside(call, funding, at)
        return "extended" if call.talk > before else "exhausted"

    # Who pays.

    def _fund(
        self,
        wish: Wish,
        seconds: int,
        earliest: int,
        latest: int,
        before: Sequence[Part],
        at: int,
    ) -> Funding:
        until = latest + seconds * SECOND
        spent = _stretches(before)
        reserved = sum(part.micros for part in before)
        stretches = self._stretches(wish, earliest, until)
        for _, _, keys, _ in stretches:
            self._count_due(keys, at)
        payable = reserved + sum(lot.free for lot in self._lots(at))
        parts: list[Part] = []
        sure = seconds
        for since, to, keys, price in stretches:
            length = min(to, until) - max(since, earliest)
            needed = left = min(first_whole(length), seconds if to == END else sys.maxsize)
            for (kind, benefit), key in zip(wish.asked, keys, strict=True):
                given, micros = 0, 0
                if left and kind == "credits":
                    if price is not None and payable > 0:
                        given = seconds_payable(payable, left, price, spent)
                    if given and price is not None:
                        spent = [*spent, (given, price)]
                        micros = max(0, bound(spent) - reserved)
                        reserved += micros
                elif left and key is not None:
                    given = self._seconds_free(key, left, parts)
                if given:
                    left -= given
                    parts.append(
                        Part(
                            kind=kind,
                            benefit=benefit,
                            source=key,
                            seconds=given,
                            micros=micros,
                            price=price if kind == "credits" else None,
                            begins=max(since, earliest),
                            since=since,
                            until=to,
                        )
                    )
            if left:
                ahead = 0 if since == BEGINNING else max(0, (since - latest) // SECOND)
                sure = min(sure, needed - left + ahead)
        return Funding(seconds=sure, parts=tuple(parts))

    def _stretches(
        self, wish: Wish, earliest: int, until: int
    ) -> list[tuple[int, int, list[Key | None], Price | None]]:
        """Cut the time where a source ends or the price changes."""
        changes = (
            list(self.deck.changes(wish.number, wish.price, wish.at, until))
            if wish.price and ("credits", None) in wish.asked
            else []
        )
        at, since, found = earliest, BEGINNING, []
        while True:
            keys = [self._open(kind, benefit, wish.organizer, at) for kind, benefit in wish.asked]
            price = next((each for begins, each in reversed(changes) if begins <= at), wish.price)
            ends = [self.sources[key].valid_to for key in keys if key]
            to = min([*ends, *(begins for begins, _ in changes if begins > at), END])
            to = to if to < until else END
            found.append((since, to, keys, price))
            if to == END:
                return found
            at = since = to

    def _open(self, kind: str, benefit_id: str | None, organizer: str, at: int) -> Key | None:
        if benefit_id is None:
            return None
        benefit = self.benefits[benefit_id]
        if not benefit.is_in_force(at):
            return None
        starts_at, ends_at = self.calendar.period(at)
        owner = organizer if kind == "addon" else None
        key = (kind, benefit_id, owner, max(starts_at, benefit.valid_from))
        if key not in self.sources:
            capped = kind != "promotion" or benefit.seconds is not None
            self.sources[key] = Source(
                key=key, capped=capped, valid_to=min(ends_at, benefit.valid_to), due_at=at
            )
        return key

    def _seconds_free(self, key: Key, wanted: int, parts: Sequence[Part]) -> int:
        source = self.sources[key]
        if not source.capped:
            return wanted
        given = sum(part.seconds for part in parts if part.source == key)
        return max(0, min(wanted, source.free - given))

    def _lots(self, at: int) -> list[Source]:
        """Return the lots that can pay, the one first that lapses first."""
        lots = [
            each
            for each in self.sources.values()
            if each.key[0] == "credits"
            and each.valid_from <= at < each.valid_to
            and each.granted > each.used
        ]
        return sorted(lots, key=_lapsing)

    def _set_aside(self, call: Call, funding: Funding, at: int) -> None:
        lots = self._lots(at)
        for part in funding.parts:
            if part.source is None:
                call.draws += tuple(_drawn(lots, part.micros))
                continue
            source = self.sources[part.source]
            if not source.capped:
                source.granted += max(0, part.seconds - source.free)
            source.reserved += part.seconds
            call.draws += ((part.source, part.seconds),)
        call.parts = tuple(sorted((*call.parts, *funding.parts), key=lambda part: part.begins))

    def _bill(self, call: Call, paid: Sequence[int]) -> list[int]:
        """Use what was paid, release everything, and return the money of each part."""
        micros = [0] * len(paid)
        priced = [place for place, part in enumerate(call.parts) if part.price is not None]
        stretches = [
            (paid[place], price)
            for place in priced
            if (price := call.parts[place].price) is not None
        ]
        for place, cost in zip(priced, costs(stretches), strict=True):
            micros[place] = cost
        for part, seconds in zip(call.parts, paid, strict=True):
            if part.source is not None:
                self.sources[part.source].used += seconds
        left = sum(micros)
        lots: dict[Key, int] = {}
        for key, amount in call.draws:
            self.sources[key].reserved -= amount
            if key[0] == "credits":
                lots[key] = lots.get(key, 0) + amount
        for lot in sorted((self.sources[key] for key in lots), key=_lapsing):
            used = min(left, lots[lot.key])
            lot.used += used
            left -= used
        assert left == 0, "a call costs no more than was set aside for it"
        return micros

    # How many licences count.

    def _held(self, organizer: str, sku: str) -> list[Licence]:
        return [each for each in self.licences if (each.organizer, each.sku) == (organizer, sku)]

    def _overlaps(self, licence: Licence) -> bool:
        return any(
            each.valid_from < licence.valid_to and licence.valid_from < each.valid_to
            for each in self._held(licence.organizer, licence.sku)
            if each.valid_from != licence.valid_from
        )

    def _counted(self) -> list[Source]:
        return [each for each in self.sources.values() if each.key[1] is not None and each.capped]

    def _count_pools(self, at: int) -> None:
        """Count what all share again; what is one organizer's own is counted when asked for."""
        for source in self._counted():
            if source.key[2] is None and at < source.valid_to and not _is_due(source, at):
                self._count(source, at)

    def _count_due(self, keys: Sequence[Key | None], at: int) -> None:
        for key in keys:
            source = self.sources[key] if key else None
            if source and source.capped and _is_due(source, max(at, source.valid_from)):
                self._count(source, max(at, source.valid_from))

    def _count(self, source: Source, at: int) -> None:
        """Grant what the licences bring; what was granted stays."""
        _, benefit_id, organizer, _ = source.key
        assert benefit_id is not None, "credits are bought"
        benefit = self.benefits[benefit_id]
        assert benefit.seconds is not None, "what is not capped is not counted"
        held = [
            each
            for each in self.licences
            if each.sku == benefit.sku
            and each.valid_from < source.valid_to
            and each.valid_to > source.valid_from
            and organizer in (None, each.organizer)
        ]
        starts = sorted(max(each.valid_from, source.valid_from) for each in held)
        if organizer is None:
            units = max((_holders(held, each) for each in starts if each <= at), default=0)
            fresh = {
                max(each.valid_from, source.valid_from)
                for each in held
                if not any(
                    other.organizer == each.organizer
                    and other.valid_from < each.valid_from <= other.valid_to
                    for other in held
                )
            }
        else:
            units = int(any(each.valid_from <= at for each in held))
            fresh = {each.valid_from for each in held}
        source.due_at = (
            at if units == 0 else min((each for each in fresh if each > at), default=None)
        )
        source.granted = max(source.granted, units * benefit.seconds)


def walk(parts: Sequence[Part], answered_at: int, seconds: int) -> list[int]:
    """Return how many seconds of a call each part pays."""
    paid = [0] * len(parts)
    for payer in _payers(parts, answered_at, seconds):
        if payer is not None:
            paid[payer] += 1
    return paid


def reach(parts: Sequence[Part], answered_at: int, seconds: int) -> int:
    """Return how many seconds of a call are paid from its answer without a gap."""
    found = _payers(parts, answered_at, seconds)
    return sum(1 for _ in takewhile(lambda payer: payer is not None, found))


def _payers(parts: Sequence[Part], answered_at: int, seconds: int) -> Iterator[int | None]:
    """Yield which part pays each second of a call, from its answer; None where none does.

    A second is paid by the first part that has any left and pays when the second begins; a
    part is done with once a later one has paid.
    """
    left = [part.seconds for part in parts]
    place = 0
    for second in range(seconds):
        at = answered_at + second * SECOND
        payer = next(
            (
                each
                for each in range(place, len(parts))
                if left[each] and parts[each].since <= at < parts[each].until
            ),
            None,
        )
        if payer is not None:
            left[payer] -= 1
            place = payer
        yield payer


def benefits_of(fair_use_minutes: int, shipped: Sequence[dict[str, str]]) -> dict[str, Benefit]:
    """Read the shipped benefits; an add-on brings what the tenant has chosen."""

    def day(text: str, otherwise: int) -> int:
        return instant(datetime.fromisoformat(f"{text}T00:00:00+00:00")) if text else otherwise

    found = {}
    for row in shipped:
        minutes = str(fair_use_minutes) if row["kind"] == "addon" else row["minutes_a_licence"]
        found[row["benefit_id"]] = Benefit(
            kind=row["kind"],
            sku=row["sku"],
            seconds=int(minutes) * 60 if minutes else None,
            valid_from=day(row["valid_from"], BEGINNING),
            valid_to=day(row["valid_to"], END),
        )
    return found


def _is_due(source: Source, at: int) -> bool:
    return source.due_at is not None and source.due_at <= at


def _holders(held: Sequence[Licence], at: int) -> int:
    return len({each.organizer for each in held if each.valid_from <= at < each.valid_to})


def _lapsing(lot: Source) -> tuple[int, int]:
    return lot.valid_to, lot.valid_from


def _drawn(lots: Sequence[Source], micros: int) -> list[tuple[Key, int]]:
    """Take money from lots in their order, and return how much of each."""
    drawn = []
    for lot in lots:
        amount = min(micros, lot.free)
        if amount:
            lot.reserved += amount
            micros -= amount
            drawn.append((lot.key, amount))
    assert micros == 0, "the lots have what was promised"
    return drawn


def _stretches(parts: Sequence[Part]) -> list[Stretch]:
    return [(part.seconds, part.price) for part in parts if part.price is not None]
