"""``dialout limits``: how much a tenant, its organizers and its meetings may."""

import json
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from pydantic import ValidationError

from gateway.cli.provisioning import (
    BecauseOption,
    ByOption,
    LimitOption,
    SheetArgument,
    WhoseOption,
    answer,
    author,
    listed,
    load,
    run,
    tell_of_more,
    tenant_named,
)
from gateway.cli.terminal import JsonOption, checked, console, fail, new_table, printable
from gateway.core.limits import LimitKind, LimitScope
from gateway.ledger import LimitKey, LimitSet, Provisioning
from gateway.provisioning.forms import CONFERENCE_ID, PERSON_ID, Form
from gateway.provisioning.limit_forms import (
    LimitForm,
    amount,
    written,
)
from gateway.provisioning.pages import limit_key, limit_mark
from gateway.provisioning.revisions import revise_limits
from gateway.sheet import explained

limits_cli = typer.Typer(help="Limit calls, callees, minutes and money.", no_args_is_help=True)

_HOW: Final = "[:observe|refuse|block], none or default."

OrganizerOption = Annotated[str | None, typer.Option("--organizer", help="Of this organizer.")]
MeetingOption = Annotated[str | None, typer.Option("--meeting", help="Of this meeting.")]


@limits_cli.command("set")
def set_limits(
    tenant: WhoseOption,
    organizer: OrganizerOption = None,
    organizers: Annotated[
        bool, typer.Option("--organizers", help="Of each organizer without a limit of its own.")
    ] = False,
    meeting: MeetingOption = None,
    meetings: Annotated[
        bool, typer.Option("--meetings", help="Of each meeting without a limit of its own.")
    ] = False,
    concurrent_calls: Annotated[str | None, typer.Option(help=f"Calls at once: N{_HOW}")] = None,
    calls_a_minute: Annotated[
        str | None, typer.Option(help=f"Calls in a minute of the clock: N{_HOW}")
    ] = None,
    callees_a_day: Annotated[
        str | None, typer.Option(help=f"Different numbers in a day: N{_HOW}")
    ] = None,
    price: Annotated[
        str | None, typer.Option(help=f"What a minute may cost, like 0.50{_HOW}")
    ] = None,
    spend_a_day: Annotated[
        str | None, typer.Option(help=f"Credits in a day, like 100{_HOW}")
    ] = None,
    meeting_time: Annotated[
        str | None, typer.Option(help=f"Minutes in a day of all calls of a meeting: N{_HOW}")
    ] = None,
    meeting_spend: Annotated[
        str | None, typer.Option(help=f"Credits in a day of all calls of a meeting{_HOW}")
    ] = None,
    fair_use: Annotated[
        str | None, typer.Option(help=f"Minutes a month where the add-on is good: N{_HOW}")
    ] = None,
    fair_use_notice: Annotated[
        str | None, typer.Option(help="Minutes of it a month that are noted in the log: N.")
    ] = None,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set limits of the whole tenant, or of who is named. What is not named stays.

    `none` is no limit, whatever the default; `default` takes away what somebody has of his own.
    """
    scope, subject = _whose(organizer, organizers, meeting, meetings)
    named = {
        LimitKind.CONCURRENT_CALLS: concurrent_calls,
        LimitKind.CALLS_A_MINUTE: calls_a_minute,
        LimitKind.CALLEES_A_DAY: callees_a_day,
        LimitKind.PRICE: price,
        LimitKind.SPEND_A_DAY: spend_a_day,
        LimitKind.MEETING_TIME: meeting_time,
        LimitKind.MEETING_SPEND: meeting_spend,
        LimitKind.FAIR_USE: fair_use,
        LimitKind.FAIR_USE_NOTICE: fair_use_notice,
    }
    limits = [
        _limit(kind, scope, subject, text) for kind, text in named.items() if text is not None
    ]
    if not limits:
        fail("What is to be limited? Name it, like --concurrent-calls 10:refuse.")
    who, now = author(by, because), datetime.now(UTC)

    async def change(provisioning: Provisioning) -> str:
        whose = await tenant_named(provisioning, tenant, as_json=as_json)
        return await revise_limits(provisioning, who, whose.tenant_id, limits, now)

    answer(run(change), as_json=as_json)


@limits_cli.command("show")
def show_limits(
    tenant: WhoseOption,
    organizer: OrganizerOption = None,
    meeting: MeetingOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the tenant's limits and the defaults; and those of an organizer or a meeting."""
    subjects = [
        "",
        *(() if organizer is None else (checked("organizer", PERSON_ID, organizer),)),
        *(() if meeting is None else (checked("meeting", CONFERENCE_ID, meeting),)),
    ]
    limits = listed(
        tenant,
        lambda provisioning, whose: provisioning.limits(whose, subjects=subjects),
        as_json=as_json,
    )
    _show(limits, as_json=as_json)


@limits_cli.command("list")
def list_limits(
    tenant: WhoseOption,
    after: Annotated[str | None, typer.Option(help="Only limits after this one.")] = None,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """List every limit that is set for a tenant, an organizer or a meeting."""
    start = None if after is None else _key(after)
    limits = listed(
        tenant,
        lambda provisioning, whose: provisioning.limits(whose, after=start, limit=limit),
        as_json=as_json,
    )
    _show(limits, as_json=as_json)
    tell_of_more(limits, limit, limit_mark)


@limits_cli.command("import")
def import_limits(
    file: SheetArgument,
    tenant: WhoseOption,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load limits. Columns: kind, scope, subject, most, mode."""
    load(tenant, file, LimitForm, author(by, because), as_json=as_json)


def _whose(
    organizer: str | None, organizers: bool, meeting: str | None, meetings: bool
) -> tuple[LimitScope, str]:
    """Return whose limits are meant: at most one of the options says so."""
    if sum((organizer is not None, organizers, meeting is not None, meetings)) > 1:
        fail("Whose? Name one of --organizer, --organizers, --meeting and --meetings, or none.")
    if organizer is not None:
        return LimitScope.ORGANIZER, checked("organizer", PERSON_ID, organizer)
    if meeting is not None:
        return LimitScope.MEETING, checked("meeting", CONFERENCE_ID, meeting)
    if organizers:
        return LimitScope.ORGANIZER, ""
    return (LimitScope.MEETING if meetings else LimitScope.TENANT), ""


def _limit(kind: LimitKind, scope: LimitScope, subject: str, text: str) -> Form:
    try:
        return written(kind, scope, subject, text)
    except ValidationError as error:
        option = f"--{kind.replace('_', '-')}"
        fail("\n".join(f"{option}: {explained(fault)}" for fault in error.errors()))


def _key(mark: str) -> LimitKey:
    try:
        return limit_key(mark)
    except ValueError:
        fail("after: must be as the command before has printed it")


def _show(limits: tuple[LimitSet, ...], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([each.summary() for each in limits]))
        return
    table = new_table("whose", "limit", "most", "of", "mode")
    for each in limits:
        table.add_row(
            _name(each), each.kind, amount(each.kind, each.most), _unit(each.kind), each.mode
        )
    console().print(table)


def _name(limit: LimitSet) -> str:
    if limit.scope is LimitScope.TENANT:
        return "the tenant"
    return f"{limit.scope} {printable(limit.subject)}" if limit.subject else f"each {limit.scope}"


def _unit(kind: LimitKind) -> str:
    match kind.unit:
        case "seconds":
            return "minutes"
        case "micros":
            return "the currency"
        case unit:
            return unit
