"""``dialout explain``: why a call is, was or would be placed or refused."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Annotated, Any, TypeVar
from uuid import UUID

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from gateway import db
from gateway.cli.terminal import (
    EXIT_FINDINGS,
    JsonOption,
    cell,
    checked,
    console,
    fail,
    fail_without_ledger,
    instant,
    new_table,
    printable,
    read,
)
from gateway.core.dial_out import BridgeName, DialOut, DialOutKind
from gateway.core.facts import OrganizerId
from gateway.explainer import Answer, Evidence, Explainer, question, recorded
from gateway.inquiry import Inquiry
from gateway.ledger import Ledger, LedgerUnavailable
from gateway.provisioning.forms import CONFERENCE_ID, PERSON_ID
from gateway.settings import PlacingSettings, read_placing_settings

T = TypeVar("T")
Ask = Callable[[Explainer, Ledger], Awaitable[Answer]]


def explain(
    what: Annotated[
        str,
        typer.Argument(
            metavar="NUMBER|DIAL_OUT_ID",
            help="Digits as somebody would type them, or the id of a dial-out on record.",
        ),
    ],
    organizer: Annotated[
        str | None,
        typer.Option(help="Who would pay: the organizer. Needed for a number."),
    ] = None,
    initiator: Annotated[
        str | None, typer.Option(help="Who would ask. Default: the organizer.")
    ] = None,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Somebody would ask who has not signed in.")
    ] = False,
    call_me: Annotated[
        bool, typer.Option("--call-me", help="For the asker's own telephone, not somebody else's.")
    ] = False,
    conference: Annotated[
        str, typer.Option(help="In which conference, if it has permissions of its own.")
    ] = "explain",
    bridge: Annotated[
        str | None,
        typer.Option(help="On which bridge. Default: the only one, or call.default_bridge."),
    ] = None,
    tenant: Annotated[
        UUID | None, typer.Option(help="Whose. Not needed where the name or id is only one's.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            help="The instant whose licences, rates and lists count, ISO 8601; "
            "without an offset it is UTC. Default: now. Balances are always today's."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Answer as a call would be answered, or print why a call on record was.

    Nothing is reserved, recorded or dialled. Exit 0: allowed. 1: refused. 2: no answer.
    """
    when = instant("--at", at)
    if anonymous and initiator is not None:
        fail("--anonymous and --initiator exclude each other.")
    dial_out_id = _dial_out_id(what)
    if dial_out_id is None and organizer is None:
        fail("Whose meeting is it? Name the organizer: --organizer alice@example.com")
    whose, asker = _person("organizer", organizer), _person("initiator", initiator)
    room = checked("conference", CONFERENCE_ID, conference)

    settings = read(read_placing_settings)
    on = None if dial_out_id is not None else _bridge(settings, bridge)

    async def ask(explainer: Explainer, ledger: Ledger) -> Answer:
        if dial_out_id is not None:
            dial_out = await _dial_out(ledger, dial_out_id, tenant)
            return recorded(dial_out, await ledger.outages_of(dial_out))
        assert whose is not None, "checked above"
        assert on is not None, "found above"
        request = question(
            tenant or await _tenant_of(ledger, whose),
            organizer_id=OrganizerId(whose),
            initiator_id=None if anonymous else asker or whose,
            kind=DialOutKind.CALL_ME if call_me else DialOutKind.ADD_PARTICIPANT,
            conference_id=room,
            number=what,
            bridge=on,
        )
        return await explainer.rehearsed(request, when)

    answer = asyncio.run(_with_explainer(settings, ask))
    if as_json:
        typer.echo(json.dumps(answer.summary()))
    else:
        console().print(_page(answer))
    if answer.reason is not None:
        raise typer.Exit(EXIT_FINDINGS)


def _person(name: str, text: str | None) -> str | None:
    return None if text is None else checked(name, PERSON_ID, text)


def _dial_out_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _bridge(settings: PlacingSettings, named: str | None) -> BridgeName:
    """Return the bridge that is meant; where that is not clear, say which there are."""
    meant = settings.default_bridge if named is None else named
    if meant not in settings.bridges:
        wrong = "Which bridge?" if named is None else f"There is no bridge {printable(named)}."
        fail(f"{wrong} --bridge {' or '.join(settings.bridges)}")
    return BridgeName(meant)


async def _with_explainer(settings: PlacingSettings, ask: Ask) -> Answer:
    try:
        async with db.pool(settings.database) as pool:
            ledger = Ledger(pool, call_seconds_max=settings.database.call_seconds_max)
            inquiry = Inquiry(ledger=ledger, trunks=settings.trunks())
            explainer = Explainer(ledger=ledger, inquiry=inquiry, terms=settings.terms())
            return await ask(explainer, ledger)
    except LedgerUnavailable as error:
        fail_without_ledger(error, "DIALOUT_DATABASE__DSN")


async def _dial_out(ledger: Ledger, dial_out_id: UUID, tenant: UUID | None) -> DialOut:
    found = [
        each
        for each in await ledger.dial_outs_named(dial_out_id)
        if tenant in (None, each.request.key.tenant_id)
    ]
    return _only(found, "dial-out", str(dial_out_id))


async def _tenant_of(ledger: Ledger, organizer: str) -> UUID:
    tenants = await ledger.organizer_tenants(OrganizerId(organizer))
    return _only(list(tenants), "organizer", organizer)


def _only(found: list[T], noun: str, name: str) -> T:
    """Return the only thing of a name; more than one is for the asker to tell apart."""
    if not found:
        fail(f"There is no {noun} {name}.")
    if len(found) > 1:
        fail(f"{len(found)} tenants have the {noun} {name}. Say whose: --tenant ID")
    return found[0]


def _page(answer: Answer) -> Group:
    """Return the answer as people read it: the verdict first, then what led to it."""
    return Group(*_parts(answer))


def _parts(answer: Answer) -> Iterator[Text | Table]:
    summary = answer.summary()
    yield _verdict(summary)
    yield _table("request", summary["request"])
    if answer.evidence is not None:
        yield _evidence(answer.evidence)
    explanation = summary["explanation"]
    if explanation is None:
        yield Text("This dial-out is of a version that stored no reasons in this form.")
        return
    yield _table("number", explanation["facts"]["number"] or {})
    yield _table("rate", (explanation["facts"]["destination"] or {}).get("rate") or {})
    yield _rules(explanation["rules"])
    if explanation["observed"]:
        kinds = ", ".join(f"{each['scope']} {each['kind']}" for each in explanation["observed"])
        yield Text(f"Beyond limits that only observe: {kinds}.")
    yield _looks(explanation["sources"])
    if summary["sources"]:
        yield _standings(summary["sources"])
    yield Text(
        f"Decided at {explanation['at']} by numbering plans {explanation['metadata_version']}."
    )
    if answer.is_reproduced is not None:
        yield Text(
            "The rules of this version give the same answer, byte for byte."
            if answer.is_reproduced
            else "The rules of this version would give another explanation: see dialout replay."
        )


def _verdict(summary: dict[str, Any]) -> Text:
    if summary["answer"] == "allow":
        givers = [source["kind"] for source in summary["sources"] if source["seconds"]]
        seconds = summary["talk_seconds"]
        payers = f", paid by {' then '.join(givers)}" if givers else ""
        return Text(f"ALLOWED, {seconds} s{payers}", style="bold green")
    lines = [f"REFUSED: {summary['reason']}. {summary['message']}", "To pass:"]
    return Text(
        "\n".join([*lines, *(f"  - {each}" for each in summary["to_pass"])]), style="bold red"
    )


def _table(title: str, values: dict[str, Any]) -> Table:
    table = new_table(title, "")
    for name, value in values.items():
        if value is not None:
            table.add_row(name, _shown(value))
    return table


def _evidence(evidence: Evidence) -> Table:
    """Return how the end of a call is known, how long it may have lasted, and what was away."""
    table = _table(
        "evidence",
        {
            "end": evidence.evidence or "none: the call goes on",
            "least": _seconds(evidence.least_seconds),
            "most": _seconds(evidence.most_seconds),
            "billed": _seconds(evidence.billed_seconds),
            "billed by": evidence.unproved,
        },
    )
    for outage in evidence.outages:
        times = f"{cell(outage.began_at)} to {cell(outage.ended_at)}"
        table.add_row(f"outage, {outage.kind}", printable(f"{times}, {outage.detail}"))
    return table


def _seconds(seconds: int | None) -> str | None:
    return None if seconds is None else f"{seconds} s"


def _rules(rules: list[dict[str, Any]]) -> Table:
    table = new_table("rule", "answer", "looked at")
    for rule in rules:
        refuses = rule["refuses"]
        facts = "\n".join(
            f"{path}: {_shown(value)}"
            for path, value in rule["facts"].items()
            if not isinstance(value, dict)
        )
        table.add_row(rule["rule"], Text(refuses, style="red") if refuses else "passes", facts)
    return table


def _looks(looks: list[dict[str, Any]]) -> Table:
    table = new_table("source", "may pay", "lacks")
    for look in looks:
        lacks = ", ".join(look["lacks"])
        table.add_row(_source(look["source"]), "no" if lacks else "yes", lacks)
    return table


def _standings(standings: list[dict[str, Any]]) -> Table:
    table = new_table("source", "unit", "granted", "used", "reserved", "free", "gives")
    for each in standings:
        unit = (each["currency"] and f"millionths of {each['currency']}") or each["unit"]
        totals = (str(each[name]) for name in ("granted", "used", "reserved"))
        free = str(each["free"]) if each["capped"] else "no cap"
        table.add_row(_source(each), unit, *totals, free, f"{each['seconds']} s")
    return table


def _source(source: dict[str, Any]) -> str:
    return " ".join(filter(None, (source["kind"], source["benefit_id"])))


def _shown(value: Any) -> str:
    return ", ".join(map(_item, value)) if isinstance(value, list) else printable(value)


def _item(each: Any) -> str:
    """Return one of several as people read it: a limit, a benefit, or a word."""
    match each:
        case {"most": most, "used": used, "scope": scope, "mode": mode}:
            return f"{used} of {most} for the {scope}, {mode}"
        case {"benefit_id": benefit_id}:
            return printable(benefit_id)
        case _:
            return printable(each)
