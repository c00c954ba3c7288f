"""``dialout licence``: what organizers hold, and what was bought."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID, uuid4

import typer

from gateway.cli.provisioning import (
    TIME_HELP,
    BecauseOption,
    ByOption,
    LimitOption,
    SheetArgument,
    WhoseOption,
    author,
    filled,
    listed,
    load,
    put,
    show,
    tell_of_more,
)
from gateway.cli.terminal import JsonOption, checked, fail
from gateway.core.facts import OrganizerId, Sku
from gateway.ledger import Channel, LicenceKey, Segment
from gateway.provisioning.forms import PERSON_ID, LicenceEndForm, LicenceForm, PurchaseForm
from gateway.provisioning.pages import licence_key, licence_mark

OrganizerArgument = Annotated[str, typer.Argument(help="Who holds it: the organizer's id.")]
SkuOption = Annotated[Sku, typer.Option("--sku", help="Which licence.")]
FromOption = Annotated[
    str | None,
    typer.Option("--from", help=f"From this instant on. {TIME_HELP} Default: now."),
]
ToOption = Annotated[
    str | None,
    typer.Option("--to", help=f"Until before this instant. {TIME_HELP} Default: without end."),
]
ChannelOption = Annotated[Channel, typer.Option("--channel", help="How it was bought.")]
SegmentOption = Annotated[Segment, typer.Option("--segment", help="What kind of customer bought.")]
ForceOption = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Pass over what is refused, such as a licence that is not sold there. "
        "Needs --because; who and why are kept with the licence.",
    ),
]

licence_cli = typer.Typer(help="Give licences to organizers, and end them.", no_args_is_help=True)


@licence_cli.command("assign")
def assign_licence(
    organizer: OrganizerArgument,
    tenant: WhoseOption,
    sku: SkuOption,
    channel: ChannelOption,
    segment: SegmentOption,
    valid_from: FromOption = None,
    valid_to: ToOption = None,
    force: ForceOption = False,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give an organizer a licence for a period, whose end is exclusive."""
    form = filled(
        LicenceForm,
        organizer_id=organizer,
        sku=sku,
        valid_from=valid_from or _now(),
        valid_to=valid_to,
        channel=channel,
        segment=segment,
        forced_because=_forced_because(force, because),
    )
    put(tenant, form, author(by, because), as_json=as_json)


@licence_cli.command("end")
def end_licence(
    organizer: OrganizerArgument,
    tenant: WhoseOption,
    sku: SkuOption,
    valid_from: Annotated[
        str, typer.Option("--from", help="When it starts, as `dialout licence list` says.")
    ],
    valid_to: Annotated[
        str | None, typer.Option("--to", help=f"Until before this instant. {TIME_HELP}")
    ] = None,
    without_end: Annotated[
        bool, typer.Option("--without-end", help="Have it go on without end.")
    ] = False,
    force: ForceOption = False,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move the end of a licence, either way. Minutes that it brought are not taken back."""
    if (valid_to is None) is not without_end:
        fail("When is it to end? Say either --to TIME or --without-end.")
    form = filled(
        LicenceEndForm,
        organizer_id=organizer,
        sku=sku,
        valid_from=valid_from,
        valid_to=valid_to,
        forced_because=_forced_because(force, because),
    )
    put(tenant, form, author(by, because), as_json=as_json)


@licence_cli.command("list")
def list_licences(
    tenant: WhoseOption,
    organizer: Annotated[str | None, typer.Option(help="Only this organizer's.")] = None,
    after: Annotated[
        str | None,
        typer.Option(help="Only licences after this one, as the page before says."),
    ] = None,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """List a tenant's licences, or those of one organizer."""
    start = None if after is None else _key(after)
    whom = None if organizer is None else OrganizerId(checked("organizer", PERSON_ID, organizer))
    licences = listed(
        tenant,
        lambda provisioning, whose: provisioning.licences(
            whose,
            organizer_id=whom,
            after=start,
            limit=limit,
        ),
        as_json=as_json,
    )
    columns = ("organizer_id", "sku", "valid_from", "valid_to", "channel", "segment", "forced_by")
    show(licences, columns, as_json=as_json)
    tell_of_more(licences, limit, licence_mark)


@licence_cli.command("import")
def import_licences(
    file: SheetArgument,
    tenant: WhoseOption,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Assign licences.

    Columns: organizer_id, sku, valid_from, valid_to, channel, segment, forced_because.
    """
    load(tenant, file, LicenceForm, author(by, because), as_json=as_json)


@licence_cli.command("buy")
def buy_licences(
    tenant: WhoseOption,
    sku: SkuOption,
    quantity: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many licences.")],
    channel: ChannelOption,
    segment: SegmentOption,
    valid_from: FromOption = None,
    valid_to: ToOption = None,
    purchase_id: Annotated[
        UUID | None,
        typer.Option("--id", help="The purchase's id, so that a retry adds nothing. Default: new."),
    ] = None,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record licences that were bought, for tenants whose policy pool_basis is purchased."""
    form = filled(
        PurchaseForm,
        purchase_id=purchase_id or uuid4(),
        sku=sku,
        quantity=quantity,
        channel=channel,
        segment=segment,
        valid_from=valid_from or _now(),
        valid_to=valid_to,
    )
    put(tenant, form, author(by, because), as_json=as_json)


@licence_cli.command("purchases")
def list_purchases(tenant: WhoseOption, as_json: JsonOption = False) -> None:
    """List the licences that a tenant bought, oldest first."""
    purchases = listed(
        tenant, lambda provisioning, whose: provisioning.purchases(whose), as_json=as_json
    )
    columns = ("purchase_id", "sku", "quantity", "valid_from", "valid_to", "channel", "segment")
    show(purchases, columns, as_json=as_json)


@licence_cli.command("import-purchases")
def import_purchases(
    file: SheetArgument,
    tenant: WhoseOption,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record purchases.

    Columns: purchase_id, sku, quantity, channel, segment, valid_from, valid_to.
    """
    load(tenant, file, PurchaseForm, author(by, because), as_json=as_json)


def _forced_because(force: bool, because: str | None) -> str | None:
    if force and because is None:
        fail("Why is it forced? Say --because REASON.")
    return because if force else None


def _key(mark: str) -> LicenceKey:
    try:
        return licence_key(mark)
    except ValueError:
        fail("Give --after as the page before said it.")


def _now() -> str:
    """Return this instant as it would be typed, in whole seconds: `end` has to name it."""
    return datetime.now(UTC).replace(microsecond=0).isoformat()
