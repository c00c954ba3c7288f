"""``dialout deck``: what calls cost, by the digits that a number begins with."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from gateway.cli.provisioning import (
    BecauseOption,
    ByOption,
    SheetArgument,
    answer,
    author,
    filled,
    run,
    sheet_import,
    show,
    tell_of_import,
)
from gateway.cli.terminal import JsonOption
from gateway.ledger import Provisioning, RateDeck, RateDeckOutcome
from gateway.provisioning.forms import DeckForm
from gateway.provisioning.imports import Rejected

deck_cli = typer.Typer(help="Load rate decks.", no_args_is_help=True)


@deck_cli.command("import")
def import_deck(
    file: SheetArgument,
    name: Annotated[str, typer.Option(help="What tenants' decks are chosen by.")],
    currency: Annotated[str, typer.Option(help="What prices are in, like USD. Never changes.")],
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a sheet the whole of a deck, from now on. Calls that are reserved keep their price.

    Columns: prefix, price (of a minute), connect_fee, initial_increment and increment (seconds),
    regions (US;CA). Money in units of the currency, exact to a millionth.
    """
    deck = filled(DeckForm, name=name, currency=currency)
    who, now = author(by, because), datetime.now(UTC)

    async def loaded(provisioning: Provisioning) -> tuple[RateDeckOutcome, int] | Rejected:
        with sheet_import(provisioning, file, who, as_json=as_json) as (importing, sheet):
            return await importing.load_deck(sheet, deck.name, deck.currency, now)

    put = run(loaded)
    if isinstance(put, Rejected):
        tell_of_import(put, as_json=as_json)
        return
    outcome, prefixes = put
    answer(outcome, as_json=as_json, prefixes=prefixes)


@deck_cli.command("list")
def list_decks(as_json: JsonOption = False) -> None:
    """List the rate decks, by name."""

    async def found(provisioning: Provisioning) -> tuple[RateDeck, ...]:
        return await provisioning.rate_decks()

    show(run(found), ("name", "currency", "rates", "rates_from"), as_json=as_json)
