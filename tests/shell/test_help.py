"""The help of the command line says what is written for it, brackets included."""

import re

import pytest
from typer.testing import CliRunner

from gateway.cli.main import cli


@pytest.mark.parametrize(("command", "words"), [("simulate", "([call], [cool_down], [guard])")])
def test_names_in_brackets_are_shown(command: str, words: str) -> None:
    """They are names of sections, and not the colours that a renderer takes them for."""
    shown = CliRunner().invoke(cli, [command, "--help"]).output

    assert words in re.sub(r"[│\s]+", " ", shown)
