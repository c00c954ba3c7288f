"""Settings: where they come from, and what is said of wrong ones."""

import os
from pathlib import Path

import pytest

from gateway.core.attendance import Patience
from gateway.core.rating import Seconds
from gateway.settings import Settings, SettingsError, read_settings

VALID = {
    "DIALOUT_AMI__SECRET": "ami-secret",
    "DIALOUT_DATABASE__DSN": "postgresql://dialout@localhost/dialout",
    "DIALOUT_API__TOKEN": "a-token-of-enough-characters",
    "DIALOUT_CALL__CALLER_ID": "+442079460999",
}


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DIALOUT_"):
            monkeypatch.delenv(name)


def read(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    """Read the settings under these variables alone."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return read_settings()


def test_four_values_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts needs to say only what cannot be guessed."""
    settings = read(monkeypatch, **VALID)

    assert settings.ami.port == 5038
    assert settings.ami.secret_text() == "ami-secret"
    assert settings.call.ring_seconds == 45


def test_every_fault_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator mends a whole list, not one line a start."""
    with pytest.raises(SettingsError) as caught:
        read(
            monkeypatch,
            DIALOUT_AMI__PORT="99999",
            DIALOUT_API__TOKEN="short",
            DIALOUT_CALL__CALLER_ID="not a number",
            DIALOUT_CALL__RING_SECOND="5",
            DIALOUT_AMY__PORT="5038",
            DIALOUT_AMI_HOST="bridge",
            DIALOUT_AMI__SECRET_FILE="/nowhere",
            DIALOUT_DATABASE__DSN="host=localhost",
        )

    text = str(caught.value)
    for name in (
        "DIALOUT_AMI__PORT",
        "DIALOUT_DATABASE__DSN",
        "token is shorter than 24",
        "DIALOUT_CALL__CALLER_ID",
        "DIALOUT_CALL__RING_SECOND",
        "DIALOUT_AMY__PORT",
        "DIALOUT_AMI_HOST",
        "DIALOUT_AMI__SECRET_FILE",
    ):
        assert name in text


def test_a_list_that_is_none_is_a_fault_among_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named with the form that it must have, and hides nothing."""
    with pytest.raises(SettingsError) as caught:
        read(
            monkeypatch,
            **VALID,
            DIALOUT_CALL__WARNING_SECONDS="60,10",
            DIALOUT_CALL__TOLL_FREE_REGIONS="US",
            DIALOUT_CALL__RING_SECONDS="1",
            DIALOUT_GUARD="x",
        )

    text = str(caught.value)
    assert "TOML" not in text
    assert text.count("must be a list in brackets, like [60, 10]") == 2
    for name in (
        "(DIALOUT_CALL__WARNING_SECONDS)",
        "(DIALOUT_CALL__TOLL_FREE_REGIONS)",
        "(DIALOUT_CALL__RING_SECONDS)",
        "(DIALOUT_GUARD)",
    ):
        assert name in text


def test_an_absent_section_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing set at all: the message still names each value that must be."""
    with pytest.raises(SettingsError) as caught:
        read(monkeypatch)

    for part in ("secret or secret_file", "DIALOUT_DATABASE__DSN", "token or token_file"):
        assert part in str(caught.value)


def test_secrets_come_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A secret in a file of its own never stands in the environment or in the process list."""
    file = tmp_path / "secret"
    file.write_text("from-a-file\n")
    variables = {name: value for name, value in VALID.items() if "SECRET" not in name}

    settings = read(monkeypatch, DIALOUT_AMI__SECRET_FILE=str(file), **variables)

    assert settings.ami.secret_text() == "from-a-file"


def test_a_secret_file_that_cannot_be_read_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Found at the start, not at the first login."""
    variables = {name: value for name, value in VALID.items() if "SECRET" not in name}

    with pytest.raises(SettingsError, match="cannot be read"):
        read(monkeypatch, DIALOUT_AMI__SECRET_FILE=str(tmp_path / "absent"), **variables)


def test_two_sources_for_one_secret_are_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Which of the two counts must not be a guess."""
    file = tmp_path / "secret"
    file.write_text("one")

    with pytest.raises(SettingsError, match="both set"):
        read(monkeypatch, DIALOUT_AMI__SECRET_FILE=str(file), **VALID)


def test_the_environment_wins_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The file holds what is the same everywhere, the environment what is not."""
    file = tmp_path / "dialout.toml"
    file.write_text("[call]\nring_seconds = 20\ntalk_seconds_max = 600\n")

    settings = read(monkeypatch, DIALOUT_CONFIG=str(file), DIALOUT_CALL__RING_SECONDS="30", **VALID)

    assert settings.call.ring_seconds == 30
    assert settings.call.talk_seconds_max == 600


@pytest.mark.parametrize(
    ("given", "taken"), [("[]", ()), ("[10, 60, 10]", (60, 10)), ("[600]", (600,))]
)
def test_warnings_are_put_in_order(
    monkeypatch: pytest.MonkeyPatch, given: str, taken: tuple[int, ...]
) -> None:
    """The dialplan goes through them from the first to the last; none at all is a choice, too."""
    settings = read(monkeypatch, DIALOUT_CALL__WARNING_SECONDS=given, **VALID)

    assert settings.call.warning_seconds == taken


@pytest.mark.parametrize("given", ["[0]", "[601]", "60", "[1,2,3,4,5,6,7,8,9]"])
def test_a_warning_that_cannot_be_given_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """Found at the start, and not by a callee who is not warned."""
    with pytest.raises(SettingsError, match="DIALOUT_CALL__WARNING_SECONDS"):
        read(monkeypatch, DIALOUT_CALL__WARNING_SECONDS=given, **VALID)


def test_the_guard_s_times_are_its_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """0 is for ever, and not at once."""
    patience = read(monkeypatch, DIALOUT_GUARD__ALONE_SECONDS="0", **VALID).guard.patience()

    assert patience == Patience(
        alone_seconds=None, organizer_gone_seconds=Seconds(900), warning_seconds=Seconds(60)
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("ALONE_SECONDS", "4"), ("ORGANIZER_GONE_SECONDS", "59"), ("WARNING_SECONDS", "301")],
)
def test_a_guard_that_has_no_time_to_warn_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Too short for anybody to come back, or shorter than the warning that must come before."""
    with pytest.raises(SettingsError, match=r"(?i)guard.*(alone|organizer_gone|warning)_seconds"):
        read(monkeypatch, **{f"DIALOUT_GUARD__{name}": value}, **VALID)


@pytest.mark.parametrize("text", ["[call\n", "[cal]\nring_seconds = 5\n"])
def test_a_broken_file_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    """Neither bad TOML nor an unknown section is passed over."""
    file = tmp_path / "dialout.toml"
    file.write_text(text)

    with pytest.raises(SettingsError):
        read(monkeypatch, DIALOUT_CONFIG=str(file), **VALID)


def test_an_absent_file_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path with a typing error must not mean the defaults."""
    with pytest.raises(SettingsError, match="not a file"):
        read(monkeypatch, DIALOUT_CONFIG="/nowhere/dialout.toml", **VALID)


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in what is printed of the settings nor in what is said of faults."""
    settings = read(monkeypatch, **VALID)
    shown = repr(settings) + str(settings.model_dump(mode="json"))

    assert "ami-secret" not in shown
    assert "a-token-of" not in shown

    with pytest.raises(SettingsError) as caught:
        read(monkeypatch, DIALOUT_API__TOKEN="secret-but-short")
    assert "secret-but-short" not in str(caught.value)
