"""Settings of grants: what may pay, and where it is written down."""

import os
from pathlib import Path

import pytest

from gateway.core.facts import SourceKind
from gateway.settings import Settings, SettingsError, read_settings
from tests.shell.test_settings import VALID


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory that only this user can read."""
    private = tmp_path / "grants"
    private.mkdir(mode=0o700)
    return private


def read(monkeypatch: pytest.MonkeyPatch, **grants: str) -> Settings:
    """Read the settings with these of grants, and none of this machine's."""
    for name in list(os.environ):
        if name.startswith("DIALOUT_"):
            monkeypatch.delenv(name)
    for name, value in VALID.items():
        monkeypatch.setenv(name, value)
    for name, value in grants.items():
        monkeypatch.setenv(f"DIALOUT_GRANTS__{name.upper()}", value)
    return read_settings()


def test_nothing_is_granted_unless_somebody_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sets nothing has every call refused while the ledger is away."""
    assert read(monkeypatch).grants.bounds() is None


def test_the_marked_sources_are_read(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Two words and a directory are enough."""
    settings = read(monkeypatch, sources='["addon", "promotion"]', directory=str(directory))

    bounds = settings.grants.bounds()
    assert bounds is not None
    assert bounds.sources == {SourceKind.ADDON, SourceKind.PROMOTION}
    assert (bounds.call_seconds_max, bounds.outage_seconds_max) == (600, 900)


def test_a_directory_alone_turns_nothing_on_and_forgets_nothing(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    """What was granted before is booked from there, also where nothing is granted any more."""
    bounds = read(monkeypatch, directory=str(directory)).grants.bounds()

    assert bounds is not None
    assert bounds.sources == frozenset()


@pytest.mark.parametrize("source", ["credits", "pool"])
def test_what_can_run_out_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, directory: Path, source: str
) -> None:
    """An operator who wants it hears why it cannot be."""
    with pytest.raises(SettingsError, match=f"grants.sources .*: {source} cannot pay .*run out"):
        read(monkeypatch, sources=f'["{source}"]', directory=str(directory))


def test_a_directory_must_be_there_and_private(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    """It tells who called whom. What is wrong with it is said at the start, not in an outage."""
    file = directory / "file"
    file.touch()
    directory.chmod(0o750)

    for value, said in (
        (directory, f"chmod 700 {directory}"),
        (file, "is not a directory"),
        (directory / "nowhere", "No such file"),
    ):
        with pytest.raises(SettingsError, match=rf"grants.directory .*: .*{said}"):
            read(monkeypatch, sources='["addon"]', directory=str(value))
    monkeypatch.delenv("DIALOUT_GRANTS__DIRECTORY")
    with pytest.raises(SettingsError, match="directory is not: nothing"):
        read(monkeypatch, sources='["addon"]')


def test_bounds_that_no_call_fits_in_are_refused(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    """They would look as if something were granted."""
    with pytest.raises(SettingsError, match="call_seconds_max is larger"):
        read(monkeypatch, directory=str(directory), call_seconds_max="600", seconds_max="300")


def test_a_ledger_that_may_be_slow_is_too_slow_for_grants(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    """Its absence would be noticed when nobody waits any more."""
    read(monkeypatch, sources='["addon"]', directory=str(directory))
    monkeypatch.setenv("DIALOUT_DATABASE__CALL_SECONDS_MAX", "10")

    with pytest.raises(SettingsError, match="call_seconds_max is larger than 3"):
        read_settings()
