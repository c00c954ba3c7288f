"""``dialout organizer``: whose meetings may have telephones called, and whose not for now."""

from typing import Annotated
from uuid import UUID

import typer

from gateway.cli.provisioning import (
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
from gateway.cli.terminal import JsonOption, checked
from gateway.core.facts import DialOutPermission, OrganizerId
from gateway.provisioning.forms import PERSON_ID, OrganizerForm
from gateway.provisioning.limit_forms import BlockForm, UnblockForm

WhyOption = Annotated[
    str, typer.Option("--because", help="Why, for the list and the audit; at most 256 characters.")
]
OrganizerArgument = Annotated[
    str, typer.Argument(metavar="ORGANIZER", help="The id that the conference bridge uses.")
]

organizer_cli = typer.Typer(help="Make organizers of meetings known.", no_args_is_help=True)


@organizer_cli.command("set")
def set_organizer(
    organizer: Annotated[str, typer.Argument(help="The id that the conference bridge uses.")],
    tenant: WhoseOption,
    region: Annotated[
        str, typer.Option(help="Usage location of the licences, ISO 3166-1, like GB.")
    ],
    permission: Annotated[
        DialOutPermission, typer.Option(help="Which destinations may be called, whoever pays.")
    ],
    name: Annotated[str, typer.Option(help="What people call the organizer.")] = "",
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an organizer known, or change one: all of it, the name too."""
    form = filled(
        OrganizerForm,
        organizer_id=organizer,
        display_name=name,
        region=region,
        dial_out_permission=permission,
    )
    put(tenant, form, author(by, because), as_json=as_json)


@organizer_cli.command("list")
def list_organizers(
    tenant: WhoseOption,
    after: Annotated[str | None, typer.Option(help="Only ids after this one.")] = None,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """List a tenant's organizers, in the order of their ids."""
    start = None if after is None else OrganizerId(checked("after", PERSON_ID, after))
    organizers = listed(
        tenant,
        lambda provisioning, whose: provisioning.organizers(whose, after=start, limit=limit),
        as_json=as_json,
    )
    show(
        organizers,
        ("organizer_id", "display_name", "region", "dial_out_permission"),
        as_json=as_json,
    )
    tell_of_more(organizers, limit, lambda each: each.organizer_id)


@organizer_cli.command("import")
def import_organizers(
    file: SheetArgument,
    tenant: WhoseOption,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load organizers. Columns: organizer_id, display_name, region, dial_out_permission."""
    load(tenant, file, OrganizerForm, author(by, because), as_json=as_json)


@organizer_cli.command("block")
def block_organizer(
    organizer: OrganizerArgument,
    tenant: WhoseOption,
    because: WhyOption,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refuse every call out of an organizer's meetings until somebody lifts that."""
    form = filled(BlockForm, organizer_id=organizer, because=because)
    put(tenant, form, author(by, because), as_json=as_json)


@organizer_cli.command("unblock")
def unblock_organizer(
    organizer: OrganizerArgument,
    tenant: WhoseOption,
    because: WhyOption,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lift the block of an organizer, whoever or whatever has set it."""
    form = filled(UnblockForm, organizer_id=organizer, because=because)
    put(tenant, form, author(by, because), as_json=as_json)


@organizer_cli.command("blocked")
def list_blocks(
    tenant: WhoseOption,
    organizer: Annotated[str | None, typer.Option(help="Only this organizer's.")] = None,
    after: Annotated[UUID | None, typer.Option(help="Only blocks older than this id's.")] = None,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """List who is blocked and who was, newest first: since when, why, and who lifted it."""
    whom = None if organizer is None else OrganizerId(checked("organizer", PERSON_ID, organizer))
    blocks = listed(
        tenant,
        lambda provisioning, whose: provisioning.blocks(
            whose, organizer_id=whom, before=after, limit=limit
        ),
        as_json=as_json,
    )
    columns = ("organizer_id", "at", "blocked_by", "reason")
    show(blocks, (*columns, "lifted_at", "lifted_by"), as_json=as_json)
    tell_of_more(blocks, limit, lambda each: each.block_id)
