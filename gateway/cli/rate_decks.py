"""``dialout deck``: what calls cost, by the digits that a number begins with."""

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from rich.text import Text

from gateway.cli.provisioning import (
    TIME_HELP,
    BecauseOption,
    ByOption,
    LimitOption,
    SheetArgument,
    answer,
    author,
    filled,
    refuse,
    run,
    sheet_import,
    show,
    tell_of_import,
    tell_of_more,
)
from gateway.cli.terminal import (
    EXIT_FINDINGS,
    JsonOption,
    checked,
    console,
    fail,
    instant,
    new_table,
    printable,
)
from gateway.ledger import DeckRate, Provisioning, RateDeck
from gateway.provisioning.decks import Clash
from gateway.provisioning.forms import DECK_NAME, PREFIX, DeckForm
from gateway.provisioning.imports import DeckImported, Rejected
from gateway.provisioning.outcomes import OUTCOME_TEXTS
from gateway.provisioning.pages import deck_rate_key, deck_rate_mark

CLASHES_SHOWN: Final = 50

deck_cli = typer.Typer(help="Load rate decks, and look into them.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The deck's name.")]


@deck_cli.command("import")
def import_deck(
    file: SheetArgument,
    name: Annotated[str, typer.Option(help="What tenants' decks are chosen by.")],
    currency: Annotated[str, typer.Option(help="What prices are in, like USD. Never changes.")],
    starts_at: Annotated[
        str | None,
        typer.Option("--from", help=f"When it takes effect; now, if not given. {TIME_HELP}"),
    ] = None,
    time_zone: Annotated[
        str | None,
        typer.Option(
            help="What clock the days and times of the sheet are of, like Europe/London. "
            "Default: as before; UTC for a new deck."
        ),
    ] = None,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a sheet the whole of a deck, from its start on. Calls in progress change price then.

    Columns: prefix, price (of a minute), initial_increment and increment (seconds); and if need
    be name, currency, connect_fee, regions (US;CA), valid_from, days (mon-fri), from and to
    (18:00). Money in units of the currency, exact to a millionth. See docs/rating.md.
    """
    start = None if starts_at is None else instant("--from", starts_at)
    deck = filled(DeckForm, name=name, currency=currency, starts_at=start, time_zone=time_zone)
    who, now = author(by, because), datetime.now(UTC)

    async def loaded(provisioning: Provisioning) -> DeckImported | Rejected:
        with sheet_import(provisioning, file, who, as_json=as_json) as (importing, sheet):
            return await importing.load_deck(sheet, deck, now)

    imported = run(loaded)
    if isinstance(imported, Rejected):
        tell_of_import(imported, as_json=as_json)
    elif as_json:
        _tell_of_deck(imported)
    else:
        _tell_of_clashes(imported.clashes)
        answer(imported.outcome, as_json=False, prefixes=imported.lines)


@deck_cli.command("list")
def list_decks(as_json: JsonOption = False) -> None:
    """List the rate decks, by name: what is in force, and what starts later."""

    async def found(provisioning: Provisioning) -> tuple[RateDeck, ...]:
        return await provisioning.rate_decks()

    decks = run(found)
    if as_json:
        show(decks, (), as_json=True)
        return
    table = new_table("name", "currency", "time zone", "rates", "rates from", "ahead")
    for deck in decks:
        ahead = "\n".join(f"{each['rates']} from {each['starts_at']}" for each in deck.ahead)
        cells = (deck.name, deck.currency, deck.time_zone, deck.rates, deck.rates_from)
        table.add_row(*(Text(printable(cell)) for cell in cells), Text(ahead))
    console().print(table)


@deck_cli.command("show")
def show_deck(
    name: NameArgument,
    at: Annotated[
        str | None, typer.Option(help=f"What is in force then; now, if not given. {TIME_HELP}")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Only prefixes that begin with these digits.")] = "",
    after: Annotated[str | None, typer.Option(help="Only what comes after this one.")] = None,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """Print what a deck holds, by prefix. What has hours overrides what has none, within them."""
    deck_name, since = checked("name", DECK_NAME, name), instant("--at", at)
    digits = prefix and checked("prefix", PREFIX, prefix)
    try:
        key = None if after is None else deck_rate_key(after)
    except ValueError:
        fail("--after: write what the page before said")

    async def found(provisioning: Provisioning) -> tuple[DeckRate, ...]:
        deck = await provisioning.rate_deck(deck_name) or refuse("absent", as_json=as_json)
        return await provisioning.rates(deck.deck_id, since, prefix=digits, after=key, limit=limit)

    rates = run(found)
    columns = (
        *("prefix", "name", "hours", "price_micros", "connect_fee_micros"),
        *("initial_increment_seconds", "increment_seconds", "regions"),
    )
    show(rates, columns, as_json=as_json)
    tell_of_more(rates, limit, deck_rate_mark)


def _tell_of_deck(imported: DeckImported) -> None:
    """Print for machines what came of a deck; end the command with 1 if it is not so now."""
    sys.stdout.writelines(_pieces(imported))
    if not OUTCOME_TEXTS[imported.outcome].standing.is_done:
        raise typer.Exit(EXIT_FINDINGS)


def _pieces(imported: DeckImported) -> Iterator[str]:
    """Yield one JSON object, clash by clash: a deck may have one in each line."""
    told = {
        "outcome": imported.outcome,
        "message": OUTCOME_TEXTS[imported.outcome].message,
        "prefixes": imported.lines,
    }
    yield json.dumps(told).removesuffix("}") + ', "clashes": ['
    for number, clash in enumerate(imported.clashes):
        yield (", " if number else "") + json.dumps(clash.summary())
    yield "]}\n"


def _tell_of_clashes(clashes: Sequence[Clash]) -> None:
    """Print the first lines that contradict the numbering plans, where others do not read."""
    if not clashes:
        return
    table = new_table("line", "prefix", "name", "prices", "numbers are of")
    for clash in clashes[:CLASHES_SHOWN]:
        cells = (
            *(clash.line, clash.prefix, clash.name),
            *(" ".join(clash.named), " ".join(clash.reached) or "nobody"),
        )
        table.add_row(*(Text(printable(cell)) for cell in cells))
    errors = console(stderr=True)
    errors.print(table)
    more = len(clashes) - CLASHES_SHOWN
    if more > 0:
        errors.print(f"{more} more are not listed here: --json prints all.", soft_wrap=True)
    errors.print(
        f"{len(clashes)} lines are at odds with the numbering plans. Correct them, or say which "
        "countries they price.",
        soft_wrap=True,
    )
