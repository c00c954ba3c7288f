"""Provisioning over HTTP, behind a token of its own: what tenants are, hold, bought and chose.

Every change names who made it in the header ``Dialout-Actor``, and may say why in
``Dialout-Because``; both are written down with each row that changes. To ask again for what is
so already changes nothing and is answered 200.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from io import BytesIO
from typing import Annotated, Any, Final, Generic, NoReturn, TypeVar
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, Field

from gateway.api.faults import Fault, Refused
from gateway.core.choices import ChoiceFaults, Choices
from gateway.core.e164 import E164
from gateway.core.facts import OrganizerId
from gateway.ledger import (
    AuditEntry,
    Callee,
    Change,
    CreditGrant,
    LedgerUnavailable,
    Licence,
    ListedPrefix,
    Meeting,
    Organizer,
    PrefixEffect,
    Provisioning,
    Purchase,
    RateDeck,
    Reports,
    Tenant,
)
from gateway.provisioning.forms import (
    Author,
    CalleeNumber,
    ConferenceId,
    CreditsForm,
    CurrencyCode,
    DeckForm,
    DeckName,
    Form,
    Instant,
    LicenceEndForm,
    LicenceForm,
    MeetingForm,
    Name,
    OrganizerForm,
    PersonId,
    Prefix,
    PrefixForm,
    PurchaseForm,
    Reason,
    TenantForm,
    TimeZone,
)
from gateway.provisioning.imports import Import, Imported, Rejected
from gateway.provisioning.outcomes import OUTCOME_TEXTS, Standing
from gateway.provisioning.pages import deck_rate_key, deck_rate_mark, licence_key, licence_mark
from gateway.provisioning.revisions import TenantRevision, revise_policy, revise_tenant

SHEET_BYTES_MAX: Final = 16 * 1024 * 1024
IMPORT_SECONDS_MAX: Final = 300.0
CLASHES_MAX: Final = 1000

ADMIN_PREFIX: Final = "/v1/admin"
# These routes read their body themselves, once the token was found good.
_TAKES_SHEET = re.compile(rf"{ADMIN_PREFIX}/((.+/)?import|rate-decks/[^/]+)")

_STATUS: dict[Standing, int] = {
    Standing.CREATED: 201,
    Standing.CHANGED: 200,
    Standing.UNCHANGED: 200,
    Standing.ABSENT: 404,
    Standing.CONFLICT: 409,
    Standing.REFUSED: 422,
}

T = TypeVar("T")


class Done(BaseModel):
    """What was asked for is so now, or was before."""

    outcome: str
    message: str


class TenantMade(Done):
    """A tenant, and the id that it has."""

    tenant_id: UUID


class PrefixClash(BaseModel):
    """A line that says it prices ``named``, where no number of such a country begins so.

    ``reached`` are the countries whose numbers do; a line without any prices nothing.
    """

    line: int
    prefix: str
    name: str | None
    named: list[str]
    reached: list[str]


class DeckMade(Done):
    """A deck, how many lines its sheet has, and the first of those that clash with the plans."""

    prefixes: int
    clashes: list[PrefixClash]
    more_clashes: int


class ImportDone(BaseModel):
    """All lines of a sheet are in the database."""

    loaded: int
    unchanged: int


class LineFault(BaseModel):
    """What is wrong in a line of a sheet."""

    line: int
    column: str | None = None
    message: str


class SheetFaulty(Fault):
    """Nothing of a sheet was loaded. ``more`` faults are not listed."""

    faults: list[LineFault]
    more: int


class Page(BaseModel, Generic[T]):
    """Part of a list. ``after`` asks for the next part; without it there is none."""

    items: list[T]
    after: str | None = None


class DeckRateItem(BaseModel):
    """A price of a deck; one with `hours` holds within them, before the one without."""

    prefix: str
    slot: int
    hours: str | None
    name: str | None
    price_micros: int
    connect_fee_micros: int
    initial_increment_seconds: int
    increment_seconds: int
    regions: list[str] | None
    time_zone: str
    starts_at: datetime | None
    ends_at: datetime | None


class TenantBody(TenantForm):
    """A tenant to be made known."""

    tenant_id: UUID | None = Field(
        default=None, description="Chosen by the client, so that a retry makes no second one."
    )


class SheetNoun(StrEnum):
    """What of a tenant can be imported."""

    ORGANIZERS = "organizers"
    LICENCES = "licences"
    PURCHASES = "purchases"
    CREDITS = "credits"
    MEETINGS = "meetings"
    PREFIXES = "prefixes"


_FORMS: dict[SheetNoun, type[Form]] = {
    SheetNoun.ORGANIZERS: OrganizerForm,
    SheetNoun.LICENCES: LicenceForm,
    SheetNoun.PURCHASES: PurchaseForm,
    SheetNoun.CREDITS: CreditsForm,
    SheetNoun.MEETINGS: MeetingForm,
    SheetNoun.PREFIXES: PrefixForm,
}

ADMIN_FAULTS: dict[int | str, dict[str, object]] = {
    401: {"model": Fault, "description": "The token is absent or wrong."},
    404: {"model": Fault, "description": "There is nothing of this id."},
    409: {"model": Fault, "description": "It contradicts what is there; `reason` says how."},
    422: {"model": Fault, "description": "It cannot be so; `reason` says why."},
    503: {"model": Fault, "description": "The ledger is away; try again."},
}
_SHEET_FAULTS: dict[int | str, dict[str, object]] = {
    413: {"model": Fault, "description": "The sheet is too large."},
    415: {"model": Fault, "description": "The body is not text/csv."},
    422: {"model": SheetFaulty, "description": "The sheet has faults; nothing is loaded."},
}


def _author(
    dialout_actor: Annotated[PersonId, Header(description="Who changes it.")] = "api",
    dialout_because: Annotated[Reason | None, Header(description="Why.")] = None,
) -> Author:
    return Author(actor=dialout_actor, because=dialout_because)


By = Annotated[Author, Depends(_author)]
Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most.")]


def body_bytes_max(path: str, otherwise: int) -> int:
    """Return how long the body of a request for ``path`` may be."""
    return SHEET_BYTES_MAX if _TAKES_SHEET.fullmatch(path) else otherwise


def body_seconds_max(path: str, otherwise: float) -> float:
    """Return how long the body of a request for ``path`` may take to come in."""
    return IMPORT_SECONDS_MAX if _TAKES_SHEET.fullmatch(path) else otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Administration:
    """What provisions and reports over HTTP, and the token that opens it."""

    provisioning: Provisioning
    reports: Reports
    token: str


def admin(provisioning: Provisioning) -> APIRouter:
    """Return the routes of provisioning."""
    router = APIRouter(prefix=ADMIN_PREFIX, tags=["admin"], responses=ADMIN_FAULTS)
    desk = Desk(provisioning)
    for routes in (_tenants, _organizers, _bought, _allowed, _operator, _imports):
        routes(router, desk, provisioning)
    return router


class Desk:
    """Where changes are handed in: each one a transaction, its outcome an answer of HTTP."""

    def __init__(self, provisioning: Provisioning) -> None:
        self._provisioning = provisioning

    async def put(self, tenant_id: UUID, form: Form, author: Author, response: Response) -> Done:
        """Have the form so for a tenant."""
        return await self.change(
            author, response, lambda change: form.put(change, tenant_id, datetime.now(UTC))
        )

    async def change(
        self,
        author: Author,
        response: Response,
        ask: Callable[[Change], Awaitable[StrEnum]],
    ) -> Done:
        """Make a change of one step."""
        async with self._provisioning.change(actor=author.actor, because=author.because) as change:
            outcome = await ask(change)
        return _done(outcome, response)

    async def known(self, tenant_id: UUID) -> Tenant:
        """Return the tenant, whose lists would otherwise look empty."""
        tenant = await self._provisioning.tenant(tenant_id)
        return tenant or _refuse("unknown_tenant")


def _done(outcome: str, response: Response) -> Done:
    """Answer that it is so; refuse if it is not."""
    text = OUTCOME_TEXTS[outcome]
    if not text.standing.is_done:
        _refuse(outcome)
    response.status_code = _STATUS[text.standing]
    return Done(outcome=outcome, message=text.message)


def _refuse(outcome: str) -> NoReturn:
    text = OUTCOME_TEXTS[outcome]
    raise Refused(_STATUS[text.standing], Fault(reason=outcome, message=text.message))


def page(items: Sequence[T], limit: int, key: Callable[[T], object]) -> Page[T]:
    """Return a part of a list; one that is not full is the last."""
    return Page(items=list(items), after=str(key(items[-1])) if len(items) == limit else None)


def _tenants(router: APIRouter, desk: Desk, provisioning: Provisioning) -> None:
    @router.post("/tenants", status_code=201)
    async def create_tenant(body: TenantBody, author: By, response: Response) -> TenantMade:
        """Make a tenant known, with the default of every choice."""
        tenant_id = body.tenant_id or uuid4()
        done = await desk.put(tenant_id, body, author, response)
        response.headers["Location"] = f"{ADMIN_PREFIX}/tenants/{tenant_id}"
        return TenantMade(outcome=done.outcome, message=done.message, tenant_id=tenant_id)

    @router.get("/tenants")
    async def list_tenants(
        name: Name | None = None, after: UUID | None = None, limit: Limit = 100
    ) -> Page[Tenant]:
        """List the tenants, in the order of their ids; or those of one name."""
        found = await provisioning.tenants(name=name, after=after, limit=limit)
        return page(found, limit, lambda each: each.tenant_id)

    @router.get("/tenants/{tenant_id}")
    async def show_tenant(tenant_id: UUID) -> Tenant:
        """Return one tenant."""
        return await desk.known(tenant_id)

    @router.patch("/tenants/{tenant_id}")
    async def change_tenant(
        tenant_id: UUID, body: TenantRevision, author: By, response: Response
    ) -> Done:
        """Suspend a tenant or lift that, or give it other decks. What is left out stays."""
        return _done(await revise_tenant(provisioning, author, tenant_id, body), response)

    @router.get("/tenants/{tenant_id}/policy")
    async def show_policy(tenant_id: UUID) -> Choices:
        """Return a tenant's choices."""
        return await provisioning.policy(tenant_id) or _refuse("unknown_tenant")

    @router.patch("/tenants/{tenant_id}/policy")
    async def change_policy(
        tenant_id: UUID, body: dict[str, Any], author: By, response: Response
    ) -> Done:
        """Change some of a tenant's choices. What is left out stays."""
        now = datetime.now(UTC)
        try:
            outcome = await revise_policy(provisioning, author, tenant_id, body, now)
        except ChoiceFaults as faults:
            raise Refused(422, Fault(reason="invalid_choice", message=str(faults))) from faults
        return _done(outcome, response)

    @router.get("/tenants/{tenant_id}/audit")
    async def tenant_audit(
        tenant_id: UUID,
        since: Instant | None = None,
        after: UUID | None = None,
        limit: Limit = 100,
    ) -> Page[AuditEntry]:
        """List what was changed of a tenant, newest first."""
        await desk.known(tenant_id)
        found = await provisioning.audit(tenant_id, since=since, before=after, limit=limit)
        return page(found, limit, lambda each: each.audit_id)


def _organizers(router: APIRouter, desk: Desk, provisioning: Provisioning) -> None:
    @router.put("/tenants/{tenant_id}/organizers", responses={201: {"model": Done}})
    async def put_organizer(
        tenant_id: UUID, body: OrganizerForm, author: By, response: Response
    ) -> Done:
        """Make an organizer known, or change one: all of it."""
        return await desk.put(tenant_id, body, author, response)

    @router.get("/tenants/{tenant_id}/organizers")
    async def list_organizers(
        tenant_id: UUID, after: PersonId | None = None, limit: Limit = 100
    ) -> Page[Organizer]:
        """List a tenant's organizers, in the order of their ids."""
        await desk.known(tenant_id)
        start = None if after is None else OrganizerId(after)
        found = await provisioning.organizers(tenant_id, after=start, limit=limit)
        return page(found, limit, lambda each: each.organizer_id)

    @router.post("/tenants/{tenant_id}/licences", status_code=201)
    async def assign_licence(
        tenant_id: UUID, body: LicenceForm, author: By, response: Response
    ) -> Done:
        """Give an organizer a licence for a period."""
        return await desk.put(tenant_id, body, author, response)

    @router.patch("/tenants/{tenant_id}/licences")
    async def end_licence(
        tenant_id: UUID, body: LicenceEndForm, author: By, response: Response
    ) -> Done:
        """Move the end of a licence, either way; minutes that it brought are not taken back."""
        return await desk.put(tenant_id, body, author, response)

    @router.get("/tenants/{tenant_id}/licences")
    async def list_licences(
        tenant_id: UUID,
        organizer_id: PersonId | None = None,
        after: Annotated[str | None, Query(max_length=256)] = None,
        limit: Limit = 100,
    ) -> Page[Licence]:
        """List a tenant's licences, or those of one organizer."""
        await desk.known(tenant_id)
        found = await provisioning.licences(
            tenant_id,
            organizer_id=None if organizer_id is None else OrganizerId(organizer_id),
            after=None if after is None else _marked(licence_key, after),
            limit=limit,
        )
        return page(found, limit, licence_mark)


def _bought(router: APIRouter, desk: Desk, provisioning: Provisioning) -> None:
    @router.post("/tenants/{tenant_id}/purchases", status_code=201)
    async def add_purchase(
        tenant_id: UUID, body: PurchaseForm, author: By, response: Response
    ) -> Done:
        """Record licences that were bought; `purchase_id` makes a retry harmless."""
        return await desk.put(tenant_id, body, author, response)

    @router.get("/tenants/{tenant_id}/purchases")
    async def list_purchases(tenant_id: UUID) -> Page[Purchase]:
        """List what a tenant bought, oldest first."""
        await desk.known(tenant_id)
        return Page(items=list(await provisioning.purchases(tenant_id)))

    @router.post("/tenants/{tenant_id}/credits", status_code=201)
    async def add_credits(
        tenant_id: UUID, body: CreditsForm, author: By, response: Response
    ) -> Done:
        """Add funds, in units of the tenant's currency; `grant_id` makes a retry harmless."""
        return await desk.put(tenant_id, body, author, response)

    @router.get("/tenants/{tenant_id}/credits")
    async def list_credits(tenant_id: UUID) -> Page[CreditGrant]:
        """List the funds that a tenant bought, oldest first. Micros: millionths of a unit."""
        await desk.known(tenant_id)
        return Page(items=list(await provisioning.credits(tenant_id)))


def _allowed(router: APIRouter, desk: Desk, provisioning: Provisioning) -> None:
    @router.put("/tenants/{tenant_id}/meetings", responses={201: {"model": Done}})
    async def put_meeting(
        tenant_id: UUID, body: MeetingForm, author: By, response: Response
    ) -> Done:
        """Give a meeting permissions of its own, or change them."""
        return await desk.put(tenant_id, body, author, response)

    @router.delete("/tenants/{tenant_id}/meetings/{conference_id}")
    async def remove_meeting(
        tenant_id: UUID, conference_id: ConferenceId, author: By, response: Response
    ) -> Done:
        """Have the tenant's choices hold for a meeting again."""
        return await desk.change(
            author, response, lambda change: change.meeting_remove(tenant_id, conference_id)
        )

    @router.get("/tenants/{tenant_id}/meetings")
    async def list_meetings(
        tenant_id: UUID, after: ConferenceId | None = None, limit: Limit = 100
    ) -> Page[Meeting]:
        """List the meetings that have permissions of their own."""
        await desk.known(tenant_id)
        found = await provisioning.meetings(tenant_id, after=after, limit=limit)
        return page(found, limit, lambda each: each.conference_id)

    @router.put("/tenants/{tenant_id}/prefixes", responses={201: {"model": Done}})
    async def put_prefix(tenant_id: UUID, body: PrefixForm, author: By, response: Response) -> Done:
        """Block a prefix for a tenant, or exempt it from the shipped high-risk list."""
        return await desk.put(tenant_id, body, author, response)

    @router.delete("/tenants/{tenant_id}/prefixes/{prefix}")
    async def remove_prefix(
        tenant_id: UUID,
        prefix: Prefix,
        author: By,
        response: Response,
        effect: PrefixEffect = PrefixEffect.BLOCK,
    ) -> Done:
        """Take a prefix off a tenant's list."""
        return await desk.change(
            author, response, lambda change: change.prefix_remove(tenant_id, prefix, effect)
        )

    @router.get("/tenants/{tenant_id}/prefixes")
    async def list_prefixes(tenant_id: UUID) -> Page[ListedPrefix]:
        """List what a tenant blocks and exempts."""
        await desk.known(tenant_id)
        return Page(items=list(await provisioning.prefixes(tenant_id)))


def _operator(router: APIRouter, desk: Desk, provisioning: Provisioning) -> None:
    @router.put("/prefixes", responses={201: {"model": Done}})
    async def put_prefix_for_all(body: PrefixForm, author: By, response: Response) -> Done:
        """Block a prefix for all tenants."""
        return await desk.change(author, response, body.put_for_all)

    @router.delete("/prefixes/{prefix}")
    async def remove_prefix_for_all(prefix: Prefix, author: By, response: Response) -> Done:
        """Take a prefix off the operator's list."""
        return await desk.change(
            author,
            response,
            lambda change: change.prefix_remove(None, prefix, PrefixEffect.BLOCK),
        )

    @router.get("/prefixes")
    async def list_prefixes_for_all() -> Page[ListedPrefix]:
        """List the operator's prefixes, and the shipped high-risk ones."""
        return Page(items=list(await provisioning.prefixes(None)))

    @router.get("/callees/{number}")
    async def show_callee(number: CalleeNumber) -> Callee:
        """Show how often a number was called of late, and until when it is left alone."""
        return await provisioning.callee(E164(number))

    @router.delete("/callees/{number}")
    async def clear_callee(number: CalleeNumber, author: By, response: Response) -> Done:
        """Let a number be called again at once, however often it was of late."""
        return await desk.change(author, response, lambda change: change.callee_clear(E164(number)))

    @router.get("/rate-decks")
    async def list_rate_decks() -> Page[RateDeck]:
        """List the rate decks, by name."""
        return Page(items=list(await provisioning.rate_decks()))

    @router.get("/rate-decks/{name}/rates")
    async def list_rates(
        name: DeckName,
        at: Instant | None = None,
        prefix: Prefix | None = None,
        after: str | None = None,
        limit: Limit = 100,
    ) -> Page[DeckRateItem]:
        """List what a deck holds at an instant, by prefix: those that begin with `prefix`."""
        deck = await provisioning.rate_deck(name) or _refuse("absent")
        found = await provisioning.rates(
            deck.deck_id,
            at or datetime.now(UTC),
            prefix=prefix or "",
            after=None if after is None else _marked(deck_rate_key, after),
            limit=limit,
        )
        items = [DeckRateItem.model_validate(rate.summary()) for rate in found]
        mark = deck_rate_mark(found[-1]) if len(found) == limit else None
        return Page(items=items, after=mark)

    @router.get("/audit")
    async def operator_audit(
        since: Instant | None = None, after: UUID | None = None, limit: Limit = 100
    ) -> Page[AuditEntry]:
        """List what was changed for all tenants, newest first."""
        found = await provisioning.audit(None, since=since, before=after, limit=limit)
        return page(found, limit, lambda each: each.audit_id)


def _imports(router: APIRouter, desk: Desk, provisioning: Provisioning) -> None:
    @router.post("/tenants/{tenant_id}/{noun}/import", responses=_SHEET_FAULTS)
    async def import_of_tenant(
        tenant_id: UUID, noun: SheetNoun, author: By, request: Request
    ) -> ImportDone:
        """Load a sheet (text/csv, 16 MiB at most): all of it, or nothing and every fault."""
        await desk.known(tenant_id)
        sheet, now = await _sheet(request), datetime.now(UTC)
        return _loaded(
            await _in_time(
                Import(provisioning, author).load(
                    sheet, _FORMS[noun], lambda change, row: row.put(change, tenant_id, now)
                )
            )
        )

    @router.post("/prefixes/import", responses=_SHEET_FAULTS)
    async def import_prefixes(author: By, request: Request) -> ImportDone:
        """Load prefixes that are blocked for all tenants (text/csv)."""
        sheet = await _sheet(request)
        return _loaded(
            await _in_time(
                Import(provisioning, author).load(
                    sheet, PrefixForm, lambda change, row: row.put_for_all(change)
                )
            )
        )

    @router.put("/rate-decks/{name}", status_code=201, responses=_SHEET_FAULTS)
    async def put_rate_deck(
        name: DeckName,
        currency: CurrencyCode,
        author: By,
        request: Request,
        response: Response,
        starts_at: Instant | None = None,
        time_zone: TimeZone | None = None,
    ) -> DeckMade:
        """Make a sheet (text/csv) the whole of a deck, from its start on; without one, from now."""
        sheet = await _sheet(request)
        deck = DeckForm(name=name, currency=currency, starts_at=starts_at, time_zone=time_zone)
        answer = await _in_time(
            Import(provisioning, author).load_deck(sheet, deck, datetime.now(UTC))
        )
        if isinstance(answer, Rejected):
            _refuse_sheet(answer)
        done = _done(answer.outcome, response)
        listed = answer.clashes[:CLASHES_MAX]
        return DeckMade(
            outcome=done.outcome,
            message=done.message,
            prefixes=answer.lines,
            clashes=[PrefixClash.model_validate(clash.summary()) for clash in listed],
            more_clashes=len(answer.clashes) - len(listed),
        )


async def _sheet(request: Request) -> BytesIO:
    """Return the body, which is at most ``SHEET_BYTES_MAX`` long."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "text/csv":
        raise Refused(415, Fault(reason="not_csv", message="Send the sheet as text/csv, in UTF-8."))
    return BytesIO(await request.body())


async def _in_time(loading: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(IMPORT_SECONDS_MAX):
            return await loading
    except TimeoutError as error:
        raise LedgerUnavailable("the sheet took too long; nothing of it is loaded") from error


def _loaded(answer: Imported | Rejected) -> ImportDone:
    if isinstance(answer, Rejected):
        _refuse_sheet(answer)
    return ImportDone(loaded=answer.loaded, unchanged=answer.unchanged)


def _refuse_sheet(rejected: Rejected) -> NoReturn:
    faulty = SheetFaulty(
        reason="sheet_faulty",
        message="Nothing was loaded. Correct the lines that are listed, and send the whole again.",
        faults=[LineFault.model_validate(fault.summary()) for fault in rejected.faults],
        more=rejected.more,
    )
    raise Refused(422, faulty)


def _marked(read: Callable[[str], T], mark: str) -> T:
    """Return the place in a list that a mark stands for."""
    try:
        return read(mark)
    except ValueError as error:
        message = "Send `after` as the page before gave it."
        raise Refused(422, Fault(reason="invalid_after", message=message)) from error
