"""``dialout organizer``: whose meetings may have telephones called."""

from typing import Annotated

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
