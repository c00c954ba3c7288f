"""``dialout callee``: numbers that are left alone because they were called too often."""

import json
from typing import Annotated

import typer

from gateway.cli.provisioning import BecauseOption, ByOption, author, change_for_all, run, show
from gateway.cli.terminal import JsonOption, checked
from gateway.core.e164 import E164
from gateway.provisioning.forms import CALLEE_NUMBER

NumberArgument = Annotated[
    str, typer.Argument(metavar="NUMBER", help="With + and the calling code, like +442079460000.")
]

callee_cli = typer.Typer(
    help="Look at numbers that were called too often, and let them be called again.",
    no_args_is_help=True,
)


@callee_cli.command("show")
def show_callee(number: NumberArgument, as_json: JsonOption = False) -> None:
    """Print how often a number was called of late, and until when it is left alone."""
    destination = _destination(number)
    callee = run(lambda provisioning: provisioning.callee(destination))
    if as_json:
        typer.echo(json.dumps(callee.summary()))
    else:
        columns = ("destination", "attempts", "window_from", "quiet_until")
        show([callee], columns, as_json=as_json)


@callee_cli.command("clear")
def clear_callee(
    number: NumberArgument,
    by: ByOption = None,
    because: BecauseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a number be called again at once."""
    destination = _destination(number)
    change_for_all(
        author(by, because), lambda step: step.callee_clear(destination), as_json=as_json
    )


def _destination(number: str) -> E164:
    return E164(checked("number", CALLEE_NUMBER, number))
