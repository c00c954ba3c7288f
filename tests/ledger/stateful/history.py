"""Random histories of one tenant each, played on the ledger and in the books side by side.

After each step the ledger's answer must be the books', and so must every total of every
source; at the end everything is ended, nothing is reserved, and the ledger proves itself.
"""

import asyncio
import csv
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import uuid4
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from gateway import db
from gateway.core.e164 import Region
from gateway.core.facts import DialOutPermission, OrganizerId
from gateway.core.rating import Micros, Seconds
from gateway.core.week import Hours as WeekHours
from gateway.ledger import Ledger
from gateway.ledger.provisioning import Provisioning
from gateway.ledger.provisioning_answers import DeckRow
from tests.ledger.stateful import steps
from tests.ledger.stateful.books import Benefit, Books, Key, benefits_of
from tests.ledger.stateful.calendar import MINUTE, SECOND, Calendar, instant, moment
from tests.ledger.stateful.prices import Deck, Hours, Price, Version
from tests.ledger.stateful.steps import Doing, Scene, Single, Tenant, Together

PLACES = (
    ("UTC", 1, "2026-03-31T23:40+00:00"),
    ("Europe/Berlin", 1, "2026-03-31T21:40+00:00"),
    ("Europe/Berlin", 29, "2026-03-28T22:40+00:00"),
    ("America/New_York", 31, "2026-02-28T04:40+00:00"),
    ("Africa/Cairo", 24, "2026-04-23T21:40+00:00"),
    ("America/Havana", 1, "2026-11-01T03:50+00:00"),
    ("Asia/Kolkata", 15, "2027-02-14T18:10+00:00"),
    ("Pacific/Kiritimati", 30, "2027-04-29T09:40+00:00"),
    ("UTC", 29, "2028-02-28T23:40+00:00"),
    ("UTC", 1, "2018-06-30T23:40+00:00"),
    ("America/New_York", 1, "2019-11-30T23:40+00:00"),
)
"""Where and when: shortly before a month ends, the clocks change, or a benefit does.

In Cairo the clock skips the midnight at which the month begins; in Havana it shows it twice.
"""

_FULL = Price(prefix="44", price=12_007, connect=5_000, initial=60, increment=60)
_FINE = Price(prefix="44", price=9_001, connect=0, initial=1, increment=1)
_LONGER = Price(prefix="4420", price=30_011, connect=7_000, initial=30, increment=6)
_FREE = Price(prefix="44", price=0, connect=0, initial=60, increment=1)
_ELSEWHERE = Price(prefix="33", price=1_000, connect=0, initial=60, increment=60)
_NIGHT = Price(prefix="44", price=4_003, connect=1_000, initial=60, increment=1)
_EVENING = Hours(days=frozenset({0, 2, 4, 6}), start=23 * 60 + 50, end=24 * 60)


def _versions() -> tuple[Version, ...]:
    """Return a deck whose prices change several times around each place."""
    changing = [
        Version(starts_at=instant(datetime.fromisoformat("2016-01-01T00:00Z")), prices=(_FULL,))
    ]
    for start in sorted({instant(datetime.fromisoformat(start)) for _, _, start in PLACES}):
        for minutes, prices in (
            (12, (_FINE,)),
            (25, (_FULL, _LONGER)),
            (45, (_FREE,)),
            (70, (_ELSEWHERE,)),
            (90, (_FULL,)),
        ):
            changing.append(Version(starts_at=start + minutes * MINUTE, prices=prices))
    return tuple(changing)


_LONG_AGO = instant(datetime.fromisoformat("2016-01-01T00:00Z"))
DECKS = {
    "steady": ("UTC", (Version(starts_at=_LONG_AGO, prices=(_FULL,)),)),
    "changing": ("UTC", _versions()),
    "by hours": (
        "Europe/Berlin",
        (Version(starts_at=_LONG_AGO, prices=(_FULL,), hours=_EVENING, within=_NIGHT),),
    ),
}
"""What the decks hold, by name, and whose clock their hours are of."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something that is done, so many seconds after the step before."""

    later: int
    what: Single | Together


IDLE = Step(later=0, what=steps.Wait())
"""What a step shrinks to that has nothing to do with a failure."""


@dataclass(frozen=True, slots=True)
class History:
    """A tenant, what it begins with, and what happens to it."""

    place: int
    deck: str
    finish: bool
    before: tuple[Single, ...]
    steps: tuple[Step, ...]

    def setting(self) -> tuple[object, ...]:
        """Return where and when it begins, the deck, and whether calls may finish."""
        return *PLACES[self.place], self.deck, self.finish


W = TypeVar("W")

_which = st.sampled_from([*[0, 1] * 6, 2, 3, steps.ANY])
_organizer = st.integers(0, 1)
_micros = st.sampled_from([1, 5_000, 20_000, 65_000, 150_001, 1_000_000])
_reserve = st.builds(
    steps.Reserve,
    organizer=_organizer,
    asked=st.sampled_from([0, 0, 0, 1, 2, 2, 3, 3, 4, 5, 6]),
    talk_max=st.sampled_from([1800, 900, 240, 61]),
    talk_min=st.sampled_from([1, 30, 60]),
    slice_seconds=st.sampled_from([300, 60, 125, 1200]),
    is_waiting=st.sampled_from([True, True, False]),
    is_ordinary=st.sampled_from([True, True, False]),
)
_claim = st.builds(steps.ClaimIt, which=_which, in_time=st.sampled_from([True, True, False]))
_answer = st.builds(
    steps.Answer, which=_which, milliseconds=st.sampled_from([0, 1, 4_000, 9_500, 29_999])
)
_extend = st.builds(steps.Extend, which=_which, stale=st.sampled_from([0, 0, 0, 1, 2]))
_settle = st.builds(
    steps.Settle,
    which=_which,
    thousandths=st.sampled_from([1000, 0, 10, 250, 500, 700, 999, 1200]),
    milliseconds=st.sampled_from([0, -1, 1, 500, -3_000, 30_000]),
)
_void = st.builds(
    steps.Void, which=_which, only_if_unclaimed=st.booleans(), after_expiry=st.booleans()
)
_buy = st.builds(steps.Buy, micros=_micros, days_ago=st.just(0))
_assign = st.builds(
    steps.Assign,
    organizer=_organizer,
    is_addon=st.booleans(),
    hours=st.sampled_from([-48, -1, 0, 23, 24, 30, 400]),
    lasting=st.sampled_from([0, 24, 25, 700, 9000]),
)
_end = st.builds(steps.EndLicence, which=_which, hours=st.sampled_from([0, -24, 0, 24, 26, 720]))


def _weighted(*weights: tuple[int, st.SearchStrategy[W]]) -> st.SearchStrategy[W]:
    """Draw from one of several strategies, from each so many times as often."""
    return st.sampled_from([each for weight, each in weights for _ in range(weight)]).flatmap(
        lambda drawn: drawn
    )


_single: st.SearchStrategy[Single] = _weighted(
    (1, st.builds(steps.Wait)),
    (8, _reserve),
    (4, _claim),
    (6, _answer),
    (10, _extend),
    (6, _settle),
    (2, _void),
    (2, _buy),
    (2, _assign),
    (1, _end),
    (1, st.builds(steps.Rehearse, call=_reserve)),
    (
        2,
        st.builds(steps.ReserveAgain, which=_which, is_other=st.sampled_from([False, False, True])),
    ),
    (1, st.builds(steps.Refuse, which=_which, is_new=st.booleans())),
    (1, st.builds(steps.See, which=_which)),
    (1, st.builds(steps.BuyAgain, which=_which, more=st.sampled_from([0, 0, 1]))),
    (1, st.builds(steps.Choose, finish=st.booleans())),
)
_at_once = _weighted(
    (3, st.builds(Together, one=_reserve, other=_reserve)),
    (3, st.builds(Together, one=_extend, other=_extend)),
    (2, st.builds(Together, one=_settle, other=_extend)),
    (1, st.builds(Together, one=_settle, other=_settle)),
    (3, st.builds(Together, one=_single, other=_single)),
)
_what = _weighted((8, _single), (2, _at_once))
_later = st.sampled_from(
    [*[0, 1, 5, 20, 60] * 6, *[120, 290, 600] * 3, *[1800, 3600] * 2, 86_400, 2_500_000]
)
_before = st.one_of(
    st.builds(steps.Buy, micros=_micros, days_ago=st.sampled_from([0, 30, 364, 365])),
    st.builds(
        steps.Assign,
        organizer=_organizer,
        is_addon=st.booleans(),
        hours=st.sampled_from([-1000, -24, 12, 24]),
        lasting=st.sampled_from([0, 1024, 1030]),
    ),
)


def histories(length: int) -> st.SearchStrategy[History]:
    """Draw histories of so many steps."""
    return st.builds(
        History,
        place=st.integers(0, len(PLACES) - 1),
        deck=st.sampled_from(list(DECKS)),
        finish=st.booleans(),
        before=st.lists(_before, min_size=0, max_size=8).map(tuple),
        steps=st.lists(
            st.builds(Step, later=_later, what=_what), min_size=length, max_size=length
        ).map(tuple),
    )


class Unlike(AssertionError):
    """The ledger and the books do not say the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A database that histories are played in: the ledger, and the decks there."""

    ledger: Ledger
    provisioning: Provisioning
    decks: Mapping[str, Deck]
    benefits: Mapping[str, Benefit]

    async def play(self, history: History) -> None:
        """Play a history to its end. Raises ``Unlike`` at the first difference."""
        player = Player(await self._tenant(history), self._books(history), str(history.setting()))
        start = instant(datetime.fromisoformat(PLACES[history.place][2]))
        for what in history.before:
            await player.step(Step(later=0, what=what), start)
        for step in history.steps:
            await player.step(step, start)
        await player.end(start)

    async def _tenant(self, history: History) -> Tenant:
        tenant_id = uuid4()
        zone, anchor_day, _ = PLACES[history.place]
        async with self.provisioning.change(actor="history") as change:
            await change.tenant_create(
                tenant_id,
                name="Acme",
                time_zone=zone,
                currency="EUR",
                rate_deck=history.deck,
                anchor_day=anchor_day,
            )
            for organizer in steps.ORGANIZERS:
                await change.organizer_put(
                    tenant_id,
                    OrganizerId(organizer),
                    display_name=organizer,
                    region=Region("GB"),
                    permission=DialOutPermission.ANY,
                )
            await change.policy_put(
                tenant_id, steps.choices(finish=history.finish), moment(_LONG_AGO)
            )
        return Tenant(
            ledger=self.ledger,
            provisioning=self.provisioning,
            tenant_id=tenant_id,
            deck_id=self.decks[history.deck].deck_id,
        )

    def _books(self, history: History) -> Books:
        zone, anchor_day, _ = PLACES[history.place]
        return Books(
            calendar=Calendar(zone=ZoneInfo(zone), anchor_day=anchor_day),
            deck=self.decks[history.deck],
            benefits=dict(self.benefits),
            finish=history.finish,
        )


class Player:
    """One history as it is played: the tenant, its books, and what was done so far."""

    def __init__(self, tenant: Tenant, books: Books, setting: str) -> None:
        self._tenant = tenant
        # Of two things done at once, either may have been first, and perhaps nobody can tell yet.
        self._possible = [books]
        self._told = [f"tenant {tenant.tenant_id}: {setting}"]
        self._number = 0
        self._passed = 0

    async def step(self, step: Step, start: int) -> None:
        """Do one step and compare."""
        self._passed += step.later * SECOND
        scene = self._scene(start)
        if isinstance(step.what, Together):
            one = step.what.one.doing(scene)
            await self._compare(step, [one, step.what.other.doing(self._scene(start))])
        else:
            await self._compare(step, [step.what.doing(scene)])

    async def end(self, start: int) -> None:
        """End every call that is open, and have the ledger prove itself."""
        for call in [each for each in self._possible[0].calls.values() if each.is_open]:
            scene = self._scene(start)
            dial_out_id = call.wish.dial_out_id
            if call.state == "reserved":
                doing = steps.voiding(dial_out_id, scene.at, only_if_unclaimed=True)
            else:
                answered_at = call.answered_at or call.released_at or scene.at
                doing = steps.settling(dial_out_id, answered_at, answered_at + 200 * SECOND)
            await self._compare(f"the end of {dial_out_id.int}", [doing])
        reserved = [key for key, total in (await self._totals()).items() if total[2]]
        findings = await self._tenant.ledger.check(self._tenant.tenant_id)
        if reserved or findings:
            raise Unlike(self._story(f"{reserved} is reserved, and found is {findings}"))

    def _scene(self, start: int) -> Scene:
        """Return what the next step starts from. No two of them are at one instant."""
        self._number += 1
        return Scene(
            books=self._possible[0], number=self._number, at=start + self._passed + self._number
        )

    async def _compare(self, step: object, doings: list[Doing]) -> None:
        if step != IDLE:
            self._told.append(str(step))
        try:
            answers = list(await asyncio.gather(*(each.ask(self._tenant) for each in doings)))
        except Exception as error:
            raise Unlike(self._story(f"the ledger fails: {error!r}")) from error
        totals = await self._totals()
        expected: list[str] = []
        possible: list[Books] = []
        for before in self._possible:
            for order in ([0],) if len(doings) == 1 else ([0, 1], [1, 0]):
                books = before.copy()
                told = {place: doings[place].tell(books) for place in order}
                if [told[place] for place in sorted(order)] != answers or books.totals() != totals:
                    expected.append(f"{order}: {told}\n    {_difference(books.totals(), totals)}")
                elif books not in possible:
                    possible.append(books)
        if not possible:
            wanted = "\n  or ".join(expected)
            raise Unlike(self._story(f"the ledger says {answers}\nthe books {wanted}"))
        self._possible = possible

    async def _totals(self) -> dict[Key, tuple[int, int, int, int, int]]:
        totals: dict[Key, tuple[int, int, int, int, int]] = {}
        for each in await self._tenant.ledger.balances(self._tenant.tenant_id):
            assert each.valid_from is not None, "every source of a history begins"
            assert each.valid_to is not None, "and ends"
            key = (str(each.kind), each.benefit_id, each.organizer_id, instant(each.valid_from))
            totals[key] = (
                *(each.granted, each.used, each.reserved, each.free, instant(each.valid_to)),
            )
        return totals

    def _story(self, end: str) -> str:
        return "\n".join([*self._told, end])


def _difference(books: Mapping[Key, object], ledger: Mapping[Key, object]) -> str:
    return "; ".join(
        f"{key}: books {books.get(key)}, ledger {ledger.get(key)}"
        for key in {**books, **ledger}
        if books.get(key) != ledger.get(key)
    )


async def put_decks(provisioning: Provisioning) -> None:
    """Put the decks of all histories into a database."""
    for name, (zone, versions) in DECKS.items():
        for version in versions:
            at = moment(version.starts_at)
            async with provisioning.change(actor="history") as change:
                await change.rate_deck_put(
                    name, "EUR", _rows(version), at, starts_at=at, time_zone=zone
                )


async def stage(pool: db.Pool) -> Stage:
    """Return the stage of a database that has the decks."""
    provisioning = Provisioning(pool, call_seconds_max=30.0)
    ids = {each.name: each.deck_id for each in await provisioning.rate_decks()}
    with (db.SQL / "reference" / "benefits.csv").open(encoding="utf-8", newline="") as file:
        benefits = benefits_of(steps.FAIR_USE_MINUTES, list(csv.DictReader(file)))
    return Stage(
        ledger=Ledger(pool, call_seconds_max=30.0),
        provisioning=provisioning,
        decks={
            name: Deck(name=name, deck_id=ids[name], zone=ZoneInfo(zone), versions=versions)
            for name, (zone, versions) in DECKS.items()
        },
        benefits=benefits,
    )


def _rows(version: Version) -> list[DeckRow]:
    rows = [_row(price, None) for price in version.prices]
    if version.hours and version.within:
        hours = WeekHours.of(version.hours.days, version.hours.start, version.hours.end)
        rows.append(_row(version.within, hours))
    return rows


def _row(price: Price, hours: WeekHours | None) -> DeckRow:
    return DeckRow(
        prefix=price.prefix,
        price_micros=Micros(price.price),
        connect_fee_micros=Micros(price.connect),
        initial_increment_seconds=Seconds(price.initial),
        increment_seconds=Seconds(price.increment),
        hours=hours,
    )
