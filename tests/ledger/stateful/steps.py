"""The steps of a history: each asks the ledger for one thing, and the books for the same.

A step is a few small numbers, so that a history can be drawn, shrunk and printed: which call
is meant is counted among those that there are, and instants from the history's own clock.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeAlias
from uuid import UUID

from gateway.core.causes import Disposition
from gateway.core.choices import Choices, Exhaustion
from gateway.core.dial_out import DialOut, DialOutKind, DialOutRequest, Terms
from gateway.core.e164 import E164, Destination, NumberKind, Region
from gateway.core.facts import OrganizerId, Sku, SourceKind
from gateway.core.key import DialOutKey
from gateway.core.rating import Micros, Rate, Seconds
from gateway.core.reasons import Reason
from gateway.core.waterfall import Source
from gateway.ledger import Claim, Ledger
from gateway.ledger.provisioning import Change, Provisioning
from gateway.ledger.provisioning_answers import Channel, Segment
from tests.ledger.stateful.books import Asked, Books, Call, Licence, Wish
from tests.ledger.stateful.calendar import DAY, END, SECOND, moment
from tests.ledger.stateful.prices import Price

FAIR_USE_MINUTES = 12
ORGANIZERS = ("ann", "bob")
NUMBER = "442079460123"
RING_SECONDS = 30

ANY = 4
"""From which number on a call is counted among all of them, whatever their state."""

ASKED: tuple[tuple[Asked, ...], ...] = (
    (("pool", "standard_pool"), ("credits", None)),
    (("pool", "standard_pool"),),
    (("credits", None),),
    (("addon", "extended_dialout_us_ca"), ("pool", "standard_pool"), ("credits", None)),
    (("addon", "extended_dialout_us_ca"),),
    (("promotion", "complimentary_2018"), ("credits", None)),
    (("promotion", "complimentary_900"), ("credits", None)),
)
"""Who may be asked to pay, in this order."""

MEETINGS = "audio_conferencing"
ADDON = "extended_dialout_us_ca"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """The tenant of a history, as the ledger knows it."""

    ledger: Ledger
    provisioning: Provisioning
    tenant_id: UUID
    deck_id: int

    async def change(self, what: Callable[[Change], Awaitable[str]]) -> str:
        """Change one thing, in a transaction of its own."""
        async with self.provisioning.change(actor="history") as change:
            return str(await what(change))

    def key(self, dial_out_id: UUID) -> DialOutKey:
        """Return the key of a dial-out of this tenant."""
        return DialOutKey(tenant_id=self.tenant_id, dial_out_id=dial_out_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a step starts from: the books so far, its number among all steps, and the time."""

    books: Books
    number: int
    at: int

    def call(self, which: int, *states: str) -> Call | None:
        """Return one of the calls, counted from the newest; None if there is none.

        The first few are counted among those in the states named, if there are any: most steps
        would find nothing to do otherwise.
        """
        calls = list(self.books.calls.values())
        fitting = [call for call in calls if call.state in states] if which < ANY else []
        chosen = fitting or calls
        return chosen[-1 - which % len(chosen)] if chosen else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """One thing to ask of the ledger and of the books; both answers should be equal."""

    ask: Callable[[Tenant], Awaitable[object]]
    tell: Callable[[Books], object]


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is done, and so nothing changes."""

    def doing(self, _scene: Scene) -> Doing:
        """Ask for nothing."""

        async def ask(_tenant: Tenant) -> object:
            return None

        return Doing(ask=ask, tell=lambda _: None)


@dataclass(frozen=True, slots=True)
class Reserve:
    """A call is asked for."""

    organizer: int
    asked: int
    talk_max: int
    talk_min: int
    slice_seconds: int
    is_waiting: bool
    is_ordinary: bool

    def doing(self, scene: Scene) -> Doing:
        """Ask for a call with an id of its own."""
        wish = self.wish(scene)
        if not wish.asked:
            return Wait().doing(scene)
        return Doing(ask=lambda tenant: reserve(tenant, wish), tell=lambda b: b.reserve(wish))

    def wish(self, scene: Scene) -> Wish:
        """Return what is asked for: only who could pay now, and credits if there is a price."""
        books = scene.books
        price = books.deck.price(NUMBER, scene.at)
        asked = tuple(
            (kind, benefit)
            for kind, benefit in ASKED[self.asked]
            if (price if benefit is None else books.benefits[benefit].is_in_force(scene.at))
        )
        return Wish(
            dial_out_id=UUID(int=scene.number),
            organizer=ORGANIZERS[self.organizer],
            typed="0",
            number=NUMBER,
            asked=asked,
            price=price,
            talk_max=self.talk_max,
            talk_min=min(self.talk_min, self.talk_max),
            slice_seconds=self.slice_seconds,
            ring_seconds=RING_SECONDS,
            at=scene.at,
            expires_at=scene.at + 60 * SECOND,
            channel="gate" if self.is_waiting else None,
            may_finish=self.is_ordinary,
        )


@dataclass(frozen=True, slots=True)
class Rehearse:
    """Somebody asks what would become of a call."""

    call: Reserve

    def doing(self, scene: Scene) -> Doing:
        """Ask, and leave no trace."""
        wish = replace(
            self.call.wish(scene), ring_seconds=1, expires_at=scene.at + SECOND, channel=None
        )
        if not wish.asked:
            return Wait().doing(scene)
        return Doing(ask=lambda tenant: rehearse(tenant, wish), tell=lambda b: b.rehearse(wish))


@dataclass(frozen=True, slots=True)
class ReserveAgain:
    """The same call is asked for again, later; or another one under its id."""

    which: int
    is_other: bool

    def doing(self, scene: Scene) -> Doing:
        """Ask again."""
        call = scene.call(self.which)
        if call is None or not call.wish.asked:
            return Wait().doing(scene)
        later = scene.at - call.wish.at
        wish = replace(
            call.wish,
            typed="1" if self.is_other else call.wish.typed,
            at=scene.at,
            expires_at=call.wish.expires_at + later,
        )
        return Doing(ask=lambda tenant: reserve(tenant, wish), tell=lambda b: b.reserve(wish))


@dataclass(frozen=True, slots=True)
class Refuse:
    """Policy refuses a call that nobody asked the ledger for, or one that it was asked for."""

    which: int
    is_new: bool

    def doing(self, scene: Scene) -> Doing:
        """Record the refusal."""
        call = scene.call(self.which)
        if self.is_new or call is None:
            wish = Reserve(0, 0, 60, 60, 60, False, True).wish(scene)
        else:
            wish = replace(call.wish, at=scene.at)
        return Doing(
            ask=lambda tenant: refuse(tenant, wish),
            tell=lambda books: books.refuse(wish, Reason.TENANT_SUSPENDED),
        )


@dataclass(frozen=True, slots=True)
class ClaimIt:
    """A channel reaches the gate: in time, or whenever it is."""

    which: int
    in_time: bool

    def doing(self, scene: Scene) -> Doing:
        """Claim a call."""
        dial_out_id = _id(scene, self.which, "reserved")
        call = scene.books.calls.get(dial_out_id)
        at = scene.at
        if call and self.in_time:
            at = min(at, call.wish.expires_at - SECOND)

        async def ask(tenant: Tenant) -> object:
            claim = await tenant.ledger.claim(tenant.key(dial_out_id), "gate", moment(at))
            if isinstance(claim, Claim):
                return "claimed", claim.limit_seconds, claim.talk_seconds_max
            return (claim,)

        return Doing(ask=ask, tell=lambda books: books.claim(dial_out_id, at))


@dataclass(frozen=True, slots=True)
class Answer:
    """The telephone answers, so long after its call was released."""

    which: int
    milliseconds: int

    def doing(self, scene: Scene) -> Doing:
        """Note the answer."""
        dial_out_id = _id(scene, self.which, "released")
        at = _answered_at(scene, dial_out_id, self.milliseconds)

        async def ask(tenant: Tenant) -> object:
            return str(await tenant.ledger.answered(tenant.key(dial_out_id), moment(at)))

        return Doing(ask=ask, tell=lambda books: books.answer(dial_out_id, at))


@dataclass(frozen=True, slots=True)
class Extend:
    """A call goes on. The one who asks may know of fewer slices than there are.

    He asks before the funded time is over: then Asterisk cuts the call.
    """

    which: int
    stale: int

    def doing(self, scene: Scene) -> Doing:
        """Ask for the next slice."""
        dial_out_id = _id(scene, self.which, "answered")
        call = scene.books.calls.get(dial_out_id)
        slices = max(0, ((call.slices if call else None) or 1) - self.stale)
        asked_at = scene.at
        if call and call.answered_at is not None and call.talk is not None:
            asked_at = min(asked_at, call.answered_at + call.talk * SECOND)

        async def ask(tenant: Tenant) -> object:
            given = await tenant.ledger.extend(
                tenant.key(dial_out_id), slices=slices, at=moment(asked_at)
            )
            return (
                *(str(given.outcome), given.slices, given.talk_seconds, given.limit_seconds),
                given.more,
            )

        return Doing(ask=ask, tell=lambda books: books.extend(dial_out_id, slices, asked_at))


@dataclass(frozen=True, slots=True)
class Settle:
    """A call ends: after so many thousandths of its funded time, and some milliseconds."""

    which: int
    thousandths: int
    milliseconds: int

    def doing(self, scene: Scene) -> Doing:
        """Bill it."""
        dial_out_id = _id(scene, self.which, "answered", "released")
        call = scene.books.calls.get(dial_out_id)
        answered_at = _answered_at(scene, dial_out_id, 1000)
        talk = (call.talk if call else None) or 60
        lasted = talk * self.thousandths * 1000 + self.milliseconds * 1000
        return settling(dial_out_id, answered_at, answered_at + lasted)


@dataclass(frozen=True, slots=True)
class Void:
    """A call that nobody answered is given up."""

    which: int
    only_if_unclaimed: bool
    after_expiry: bool

    def doing(self, scene: Scene) -> Doing:
        """Give everything back."""
        at = scene.at + (120 * SECOND if self.after_expiry else 0)
        return voiding(
            _id(scene, self.which, "reserved", "released"),
            at,
            only_if_unclaimed=self.only_if_unclaimed,
        )


@dataclass(frozen=True, slots=True)
class See:
    """Calls are seen alive, which changes no money."""

    which: int

    def doing(self, scene: Scene) -> Doing:
        """Note it."""
        ids = [_id(scene, self.which), _id(scene, self.which + 1)]

        async def ask(tenant: Tenant) -> object:
            await tenant.ledger.seen(tenant.tenant_id, ids, moment(scene.at))
            return None

        return Doing(ask=ask, tell=lambda _: None)


@dataclass(frozen=True, slots=True)
class Buy:
    """Credits are bought, so many days ago."""

    micros: int
    days_ago: int

    def doing(self, scene: Scene) -> Doing:
        """Add a lot."""
        return buying(UUID(int=scene.number), self.micros, scene.at - self.days_ago * DAY)


@dataclass(frozen=True, slots=True)
class BuyAgain:
    """A purchase is reported again, perhaps with another sum."""

    which: int
    more: int

    def doing(self, scene: Scene) -> Doing:
        """Add it again."""
        grants = list(scene.books.grants.items())
        if not grants:
            return Wait().doing(scene)
        grant_id, micros = grants[self.which % len(grants)]
        return buying(grant_id, micros + self.more, scene.at)


@dataclass(frozen=True, slots=True)
class Assign:
    """An organizer gets a licence: from so many hours from now, for so many; 0 is for ever."""

    organizer: int
    is_addon: bool
    hours: int
    lasting: int

    def doing(self, scene: Scene) -> Doing:
        """Assign it."""
        since = scene.at - scene.at % DAY + self.hours * 3600 * SECOND
        licence = Licence(
            organizer=ORGANIZERS[self.organizer],
            sku=ADDON if self.is_addon else MEETINGS,
            valid_from=since,
            valid_to=since + self.lasting * 3600 * SECOND if self.lasting else END,
        )

        async def ask(change: Change, tenant: Tenant) -> str:
            return await change.licence_assign(
                tenant.tenant_id,
                OrganizerId(licence.organizer),
                Sku(licence.sku),
                valid_from=moment(licence.valid_from),
                valid_to=None if licence.valid_to == END else moment(licence.valid_to),
                channel=Channel.CSP,
                segment=Segment.COMMERCIAL,
                at=moment(scene.at),
                forced_because="a history",
            )

        return Doing(
            ask=lambda tenant: tenant.change(lambda change: ask(change, tenant)),
            tell=lambda books: books.assign(licence, scene.at),
        )


@dataclass(frozen=True, slots=True)
class EndLicence:
    """A licence ends so many hours from now instead of when it did; 0 is never."""

    which: int
    hours: int

    def doing(self, scene: Scene) -> Doing:
        """Move its end."""
        if not scene.books.licences:
            return Wait().doing(scene)
        licence = scene.books.licences[self.which % len(scene.books.licences)]
        valid_to = scene.at - scene.at % DAY + self.hours * 3600 * SECOND if self.hours else END

        async def ask(change: Change, tenant: Tenant) -> str:
            return await change.licence_end(
                tenant.tenant_id,
                OrganizerId(licence.organizer),
                Sku(licence.sku),
                valid_from=moment(licence.valid_from),
                valid_to=None if valid_to == END else moment(valid_to),
                at=moment(scene.at),
                forced_because="a history",
            )

        return Doing(
            ask=lambda tenant: tenant.change(lambda change: ask(change, tenant)),
            tell=lambda books: books.end(licence, valid_to, scene.at),
        )


@dataclass(frozen=True, slots=True)
class Choose:
    """The tenant lets calls finish, or has them cut."""

    finish: bool

    def doing(self, scene: Scene) -> Doing:
        """Change the choice."""

        def ask(tenant: Tenant) -> Awaitable[object]:
            return tenant.change(
                lambda change: change.policy_put(
                    tenant.tenant_id, choices(finish=self.finish), moment(scene.at)
                )
            )

        return Doing(ask=ask, tell=lambda books: books.choose(finish=self.finish, at=scene.at))


Single: TypeAlias = (
    Wait
    | Reserve
    | Rehearse
    | ReserveAgain
    | Refuse
    | ClaimIt
    | Answer
    | Extend
    | Settle
    | Void
    | See
    | Buy
    | BuyAgain
    | Assign
    | EndLicence
    | Choose
)


@dataclass(frozen=True, slots=True)
class Together:
    """Two things are asked at once, on two connections."""

    one: Single
    other: Single


def choices(*, finish: bool) -> Choices:
    """Return the choices of a history's tenant."""
    return Choices(
        addon_fair_use_minutes=FAIR_USE_MINUTES,
        on_exhaustion=Exhaustion.FINISH if finish else Exhaustion.DISCONNECT,
    )


def settling(dial_out_id: UUID, answered_at: int, ended_at: int) -> Doing:
    """End a call that was answered."""

    async def ask(tenant: Tenant) -> object:
        outcome, dial_out = await tenant.ledger.settle(
            tenant.key(dial_out_id),
            answered_at=moment(answered_at),
            ended_at=moment(ended_at),
            hangup_cause=16,
            disposition=Disposition.ANSWERED,
            evidence="a history",
        )
        return str(outcome), dial_out and record(dial_out)

    return Doing(ask=ask, tell=lambda books: books.settle(dial_out_id, answered_at, ended_at))


def voiding(dial_out_id: UUID, at: int, *, only_if_unclaimed: bool) -> Doing:
    """End a call that was not answered."""

    async def ask(tenant: Tenant) -> object:
        outcome, dial_out = await tenant.ledger.void(
            tenant.key(dial_out_id),
            at=moment(at),
            hangup_cause=17,
            disposition=Disposition.BUSY,
            only_if_unclaimed=only_if_unclaimed,
            evidence="a history",
        )
        return str(outcome), dial_out and record(dial_out)

    return Doing(
        ask=ask,
        tell=lambda books: books.void(dial_out_id, only_if_unclaimed=only_if_unclaimed),
    )


def buying(grant_id: UUID, micros: int, at: int) -> Doing:
    """Add a lot of credits."""

    def ask(tenant: Tenant) -> Awaitable[object]:
        return tenant.change(
            lambda change: change.credits_add(
                tenant.tenant_id, grant_id, Micros(micros), moment(at)
            )
        )

    return Doing(ask=ask, tell=lambda books: books.buy(grant_id, micros, at))


async def reserve(tenant: Tenant, wish: Wish) -> object:
    """Ask the ledger for a call."""
    outcome, dial_out = await tenant.ledger.reserve(
        _request(tenant, wish),
        _destination(wish),
        _sources(wish),
        _rate(tenant, wish.price),
        _terms(wish),
        json.dumps("a history"),
        moment(wish.at),
        moment(wish.expires_at),
        wish.channel,
    )
    return str(outcome), record(dial_out)


async def rehearse(tenant: Tenant, wish: Wish) -> object:
    """Ask the ledger what it would do."""
    found = await tenant.ledger.rehearse(
        tenant.tenant_id,
        OrganizerId(wish.organizer),
        "room",
        _destination(wish),
        _sources(wish),
        _rate(tenant, wish.price),
        _terms(wish),
        moment(wish.at),
    )
    return found.reason, found.talk_seconds, found.limit_seconds


async def refuse(tenant: Tenant, wish: Wish) -> object:
    """Have the ledger record a refusal."""
    outcome, dial_out = await tenant.ledger.refuse(
        _request(tenant, wish),
        _destination(wish),
        Reason.TENANT_SUSPENDED,
        json.dumps("a history"),
        moment(wish.at),
    )
    assert dial_out is not None, "the tenant is known"
    return str(outcome), record(dial_out)


def record(dial_out: DialOut) -> tuple[object, ...]:
    """Return what the ledger has on record of a call, as the books say it."""
    return (
        *(dial_out.state, dial_out.reason, dial_out.talk_seconds, dial_out.limit_seconds),
        *(dial_out.slices, dial_out.billable_seconds, dial_out.overrun_seconds),
        tuple(
            (
                *(str(part.source), part.benefit_id, part.seconds, part.micros),
                *(part.billed_seconds, part.billed_micros),
            )
            for part in dial_out.parts
        ),
    )


def _id(scene: Scene, which: int, *states: str) -> UUID:
    """Return the id of a call; of one that nobody asked for, while there is none."""
    call = scene.call(which, *states)
    return call.wish.dial_out_id if call else UUID(int=2**64)


def _answered_at(scene: Scene, dial_out_id: UUID, milliseconds: int) -> int:
    call = scene.books.calls.get(dial_out_id)
    if call is None or call.released_at is None:
        return scene.at
    return call.answered_at or call.released_at + milliseconds * 1000


def _request(tenant: Tenant, wish: Wish) -> DialOutRequest:
    return DialOutRequest(
        key=tenant.key(wish.dial_out_id),
        kind=DialOutKind.CALL_ME,
        organizer_id=OrganizerId(wish.organizer),
        initiator_id=None,
        conference_id="room",
        number_typed=wish.typed,
    )


def _destination(wish: Wish) -> Destination:
    kind = NumberKind.FIXED_LINE if wish.may_finish else NumberKind.PREMIUM_RATE
    return Destination(e164=E164(f"+{wish.number}"), region=Region("GB"), kind=kind)


def _sources(wish: Wish) -> tuple[Source, ...]:
    return tuple(Source(kind=SourceKind(kind), benefit_id=benefit) for kind, benefit in wish.asked)


def _rate(tenant: Tenant, price: Price | None) -> Rate | None:
    if price is None:
        return None
    return Rate(
        deck_id=tenant.deck_id,
        deck="a deck",
        prefix=price.prefix,
        regions=None,
        currency="EUR",
        price_micros=Micros(price.price),
        connect_fee_micros=Micros(price.connect),
        initial_increment_seconds=Seconds(price.initial),
        increment_seconds=Seconds(price.increment),
    )


def _terms(wish: Wish) -> Terms:
    return Terms(
        talk_seconds_max=Seconds(wish.talk_max),
        talk_seconds_min=Seconds(wish.talk_min),
        slice_seconds=Seconds(wish.slice_seconds),
        ring_seconds=Seconds(wish.ring_seconds),
        caller_id=E164("+442079460999"),
    )
