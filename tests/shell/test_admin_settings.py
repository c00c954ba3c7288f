"""The settings of provisioning: a login and a token of their own, or none."""

import os
from pathlib import Path

import pytest

from gateway.settings import Settings, SettingsError, read_admin_settings, read_settings

GATEWAY = {
    "DIALOUT_BRIDGES__MAIN__SECRET": "ami-secret",
    "DIALOUT_DATABASE__DSN": "postgresql://dialout@localhost/dialout",
    "DIALOUT_API__TOKEN": "a-token-of-enough-characters",
    "DIALOUT_BRIDGES__MAIN__CALLER_ID": "+442079460999",
}
DSN = {"DIALOUT_ADMIN__DSN": "postgresql://provisioner@localhost/dialout"}
TOKEN = {"DIALOUT_ADMIN__TOKEN": "another-token-of-enough-characters"}


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DIALOUT_"):
            monkeypatch.delenv(name)


def read(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> Settings:
    """Read all settings under these variables alone."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return read_settings()


def test_a_gateway_needs_no_provisioning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever provisions elsewhere has no door open here."""
    assert read(monkeypatch, GATEWAY).admin.token_text() is None


def test_the_login_alone_opens_no_door(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands need the login; that it is set must not let anybody in over HTTP."""
    assert read(monkeypatch, GATEWAY | DSN).admin.token_text() is None


def test_both_open_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a token, of the environment or of a file, there is a way in, and a small pool."""
    file = tmp_path / "token"
    file.write_text("a-token-that-lies-in-a-file\n")

    settings = read(monkeypatch, GATEWAY | DSN | {"DIALOUT_ADMIN__TOKEN_FILE": str(file)})

    assert settings.admin.token_text() == "a-token-that-lies-in-a-file"
    assert settings.admin.database().connections_max < settings.database.connections_max
    assert "provisioner" in settings.admin.database().dsn.get_secret_value()


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        (TOKEN, "dsn is not"),
        (DSN | {"DIALOUT_ADMIN__TOKEN": "short"}, "shorter than 24"),
        (DSN | {"DIALOUT_ADMIN__TOKEN": GATEWAY["DIALOUT_API__TOKEN"]}, "admin.token is api.token"),
        ({"DIALOUT_ADMIN__DSN": "host=localhost"}, "postgresql://"),
        ({"DIALOUT_ADMIN__DNS": "postgresql://localhost/d"}, "DIALOUT_ADMIN__DNS"),
    ],
)
def test_half_a_door_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], fault: str
) -> None:
    """Said at the start, not at the first request; and no secret is shown."""
    with pytest.raises(SettingsError) as caught:
        read(monkeypatch, GATEWAY | variables)

    assert fault in str(caught.value)
    assert "enough-characters" not in str(caught.value)


def test_commands_read_this_section_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever provisions from another host has neither Asterisk nor the calls' token."""
    monkeypatch.setenv("DIALOUT_ADMIN__DSN", DSN["DIALOUT_ADMIN__DSN"])
    assert read_admin_settings().connections_max == 2

    monkeypatch.delenv("DIALOUT_ADMIN__DSN")
    with pytest.raises(SettingsError, match="DIALOUT_ADMIN__DSN"):
        read_admin_settings()
