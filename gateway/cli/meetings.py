"""``dialout meeting``: meetings with permissions of their own."""

from typing import Annotated

import typer

from gateway.cli.provisioning import (
    BecauseOption,
    ByOption,
    LimitOption,
    SheetArgument,
    WhoseOption,
    author,
    change,
    filled,
    listed,
    load,
    put,
    show,
    tell_of_more,
)
from gateway.cli.terminal import JsonOption, checked
from gateway.core.choices import MeetingPermission
from gateway.provisioning.forms import CONFERENCE_ID, MeetingForm

ConferenceArgument = Annotated[
    str, typer.Argument(metavar="CONFERENCE", help="The conference's id, as the bridge has it.")
]

meeting_cli = typer.Typer(help="Give meetings permissions of their own.", no_args_is_help=True)


@meeting_cli.command("set")
def set_meeting(
    conference: ConferenceArgument,
    tenant: WhoseOption,
    to_self: Annotated[MeetingPermission, typer.Option(help="Who may use Call Me.")],
    to_third_party: Annotated[MeetingPermission, typer.Option(help="Who may call somebody else.")],
    organizer: Annotated[
        str | None, typer.Option(help="Whose meeting it is; without, any organizer's.")
    ] = None,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a meeting permissions of its own, or change them."""
    form = filled(
        MeetingForm,
        conference_id=conference,
        to_self=to_self,
        to_third_party=to_third_party,
        organizer_id=organizer,
    )
    put(tenant, form, author(by, because), as_json=as_json)


@meeting_cli.command("remove")
def remove_meeting(
    conference: ConferenceArgument,
    tenant: WhoseOption,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have the tenant's choices hold for a meeting again."""
    conference_id = checked("conference", CONFERENCE_ID, conference)
    change(
        tenant,
        author(by, because),
        lambda step, whose: step.meeting_remove(whose, conference_id),
        as_json=as_json,
    )


@meeting_cli.command("list")
def list_meetings(
    tenant: WhoseOption,
    after: Annotated[str | None, typer.Option(help="Only ids after this one.")] = None,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """List the meetings that have permissions of their own."""
    start = None if after is None else checked("after", CONFERENCE_ID, after)
    meetings = listed(
        tenant,
        lambda provisioning, whose: provisioning.meetings(whose, after=start, limit=limit),
        as_json=as_json,
    )
    columns = ("conference_id", "to_self", "to_third_party", "organizer_id")
    show(meetings, columns, as_json=as_json)
    tell_of_more(meetings, limit, lambda each: each.conference_id)


@meeting_cli.command("import")
def import_meetings(
    file: SheetArgument,
    tenant: WhoseOption,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load meetings. Columns: conference_id, to_self, to_third_party, and organizer_id."""
    load(tenant, file, MeetingForm, author(by, because), as_json=as_json)
