"""Settings: where they come from, and what is said of wrong ones."""

import os
from datetime import UTC
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.main import cli
from gateway.core.attendance import Patience
from gateway.core.dial_out import MAIN_BRIDGE, BridgeName
from gateway.core.e164 import Region
from gateway.core.rating import Seconds
from gateway.core.trunk import Trunk
from gateway.settings import (
    Settings,
    SettingsError,
    read_placing_settings,
    read_rules_settings,
    read_settings,
)

VALID = {
    "DIALOUT_BRIDGES__MAIN__SECRET": "ami-secret",
    "DIALOUT_DATABASE__DSN": "postgresql://dialout@localhost/dialout",
    "DIALOUT_API__TOKEN": "a-token-of-enough-characters",
    "DIALOUT_BRIDGES__MAIN__CALLER_ID": "+442079460999",
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

    assert settings.bridges["main"].port == 5038
    assert settings.bridges["main"].secret_text() == "ami-secret"
    assert settings.call.ring_seconds == 45


def test_every_fault_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator mends a whole list, not one line a start."""
    with pytest.raises(SettingsError) as caught:
        read(
            monkeypatch,
            DIALOUT_BRIDGES__MAIN__PORT="99999",
            DIALOUT_API__TOKEN="short",
            DIALOUT_BRIDGES__MAIN__CALLER_ID="not a number",
            DIALOUT_CALL__RING_SECOND="5",
            DIALOUT_AMY__PORT="5038",
            DIALOUT_BRIDGES_MAIN="bridge",
            DIALOUT_BRIDGES__MAIN__SECRET_FILE="/nowhere",
            DIALOUT_DATABASE__DSN="host=localhost",
        )

    text = str(caught.value)
    for name in (
        "DIALOUT_BRIDGES__MAIN__PORT",
        "DIALOUT_DATABASE__DSN",
        "token is shorter than 24",
        "DIALOUT_BRIDGES__MAIN__CALLER_ID",
        "DIALOUT_CALL__RING_SECOND",
        "DIALOUT_AMY__PORT",
        "DIALOUT_BRIDGES_MAIN",
        "DIALOUT_BRIDGES__MAIN__SECRET_FILE",
    ):
        assert name in text


def test_a_list_that_is_none_is_a_fault_among_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named with the form that it must have, and hides nothing."""
    with pytest.raises(SettingsError) as caught:
        read(
            monkeypatch,
            **VALID,
            DIALOUT_CALL__WARNING_SECONDS="60,10",
            DIALOUT_BRIDGES__MAIN__TOLL_FREE_REGIONS="US",
            DIALOUT_CALL__RING_SECONDS="1",
            DIALOUT_GUARD="x",
        )

    text = str(caught.value)
    assert "TOML" not in text
    assert text.count("must be a list in brackets, like [60, 10]") == 2
    for name in (
        "(DIALOUT_CALL__WARNING_SECONDS)",
        "(DIALOUT_BRIDGES__MAIN__TOLL_FREE_REGIONS)",
        "(DIALOUT_CALL__RING_SECONDS)",
        "(DIALOUT_GUARD)",
    ):
        assert name in text


def test_an_absent_section_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing set at all: the message still names each value that must be."""
    with pytest.raises(SettingsError) as caught:
        read(monkeypatch)

    for part in ("[bridges.main]", "DIALOUT_DATABASE__DSN", "token or token_file"):
        assert part in str(caught.value)


def test_a_bridge_without_a_secret_is_a_fault_where_calls_are_placed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever only explains needs none: what a bridge's trunk reaches is enough."""
    variables = {name: value for name, value in VALID.items() if "SECRET" not in name}

    with pytest.raises(SettingsError, match=r"main.*secret or secret_file must be set"):
        read(monkeypatch, **variables)
    assert list(read_placing_settings().trunks()) == [MAIN_BRIDGE]


def bridge_file(directory: Path, *bridges: str, call: str = "") -> str:
    """Write a file with these bridges and return its path; the number of each says which it is."""
    file = directory / "dialout.toml"
    file.write_text(
        "".join(
            f'[bridges.{name}]\nport = {5038 + number}\nsecret = "s"\n'
            f'caller_id = "+4420794600{number:02d}"\n'
            for number, name in enumerate(bridges)
        )
        + call
    )
    return str(file)


OTHERS = {name: value for name, value in VALID.items() if "BRIDGES" not in name}


def test_each_bridge_has_its_own_terms_and_trunk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The number that a telephone shows, and the countries, are the trunk's; the bounds are not."""
    file = bridge_file(tmp_path, "paris", "new-york")

    settings = read(
        monkeypatch,
        **OTHERS,
        DIALOUT_CONFIG=file,
        DIALOUT_BRIDGES__PARIS__REGIONS='["FR", "DE"]',
        DIALOUT_BRIDGES__PARIS__TOLL_FREE_REGIONS='["FR"]',
        DIALOUT_CALL__RING_SECONDS="20",
    )

    paris, new_york = BridgeName("paris"), BridgeName("new-york")
    terms = settings.terms()
    assert [terms[name].caller_id for name in (paris, new_york)] == [
        "+442079460000",
        "+442079460001",
    ]
    assert {each.ring_seconds for each in terms.values()} == {20}
    assert settings.trunks() == {
        paris: Trunk(
            regions=frozenset({Region("FR"), Region("DE")}),
            toll_free_regions=frozenset({Region("FR")}),
        ),
        new_york: Trunk(regions=None, toll_free_regions=frozenset()),
    }


@pytest.mark.parametrize(
    ("bridges", "call", "default"),
    [
        (("paris",), "", "paris"),
        (("paris", "new-york"), "", None),
        (("paris", "new-york"), '[call]\ndefault_bridge = "new-york"\n', "new-york"),
    ],
)
def test_new_conferences_are_on_the_only_bridge_or_on_the_one_that_is_named(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    bridges: tuple[str, ...],
    call: str,
    default: str | None,
) -> None:
    """Of two, none is taken because it comes first: the callee would sit there alone."""
    file = bridge_file(tmp_path, *bridges, call=call)

    assert read(monkeypatch, **OTHERS, DIALOUT_CONFIG=file).default_bridge == default


@pytest.mark.parametrize(
    ("bridges", "call", "said"),
    [
        (("paris",), '[call]\ndefault_bridge = "london"\n', "names none of the bridges"),
        (("Paris",), "", r"bridges\.Paris .*pattern"),
        (('"a b"',), "", r"bridges\.a b .*pattern"),
        (("paris",), "[bridges.paris.trunk]\n", r"bridges\.paris\.trunk .*not permitted"),
        (("paris",), '[bridges.bonn]\nsecret = "s"\n', r"bridges\.bonn\.caller_id"),
        (("paris",), '[bridges.bonn]\ncaller_id = "1"\n', r"BRIDGES__BONN__CALLER_ID\): .*pattern"),
        (("paris",), "[bridges.bonn]\nregions = []\n", r"bridges\.bonn\.regions"),
        (("paris",), '[bridges.bonn]\nregions = ["de"]\n', r"bridges\.bonn\.regions"),
    ],
)
def test_a_bridge_that_cannot_be_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bridges: tuple[str, ...], call: str, said: str
) -> None:
    """Found at the start, by the bridge's name. No region at all is no trunk."""
    file = bridge_file(tmp_path, *bridges, call=call)

    with pytest.raises(SettingsError, match=said):
        read(monkeypatch, **OTHERS, DIALOUT_CONFIG=file)


@pytest.mark.parametrize(
    ("host", "port", "is_same"),
    [("127.0.0.1", 5038, True), ("127.0.0.1", 5039, False), ("10.0.0.1", 5038, False)],
)
def test_two_bridges_are_two_asterisks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: str, port: int, is_same: bool
) -> None:
    """Two names for one would each hang up, as a leg that nobody released, what the other dials."""
    bonn = (
        f'[bridges.bonn]\nhost = "{host}"\nport = {port}\nsecret = "s"\ncaller_id = "+493012345"\n'
    )
    file = bridge_file(tmp_path, "paris", call=bonn)

    if is_same:
        with pytest.raises(SettingsError, match=r"paris and bridges\.bonn are the same"):
            read(monkeypatch, **OTHERS, DIALOUT_CONFIG=file)
    else:
        assert len(read(monkeypatch, **OTHERS, DIALOUT_CONFIG=file).bridges) == 2


def test_settings_of_the_one_bridge_of_earlier_versions_say_where_they_are_now(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever upgrades reads what to write instead, whether it was in the file or not."""
    file = bridge_file(
        tmp_path,
        "main",
        call='[ami]\nport = 5038\n[call]\ncaller_id = "+1"\ntoll_free_regions = ["GB"]\n',
    )

    with pytest.raises(SettingsError) as caught:
        read(monkeypatch, **OTHERS, DIALOUT_CONFIG=file, DIALOUT_AMI__SECRET_FILE="/run/ami")

    for part in (
        "ami (DIALOUT_AMI): is the bridge main now",
        "DIALOUT_AMI__SECRET_FILE: is DIALOUT_BRIDGES__MAIN__SECRET_FILE now",
        "call.caller_id (DIALOUT_CALL__CALLER_ID): is of a bridge now: bridges.main.caller_id",
        "is of a bridge now: bridges.main.toll_free_regions",
    ):
        assert part in str(caught.value)


def test_secrets_come_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A secret in a file of its own never stands in the environment or in the process list."""
    file = tmp_path / "secret"
    file.write_text("from-a-file\n")
    variables = {name: value for name, value in VALID.items() if "SECRET" not in name}

    settings = read(monkeypatch, DIALOUT_BRIDGES__MAIN__SECRET_FILE=str(file), **variables)

    assert settings.bridges["main"].secret_text() == "from-a-file"


def test_a_secret_file_that_cannot_be_read_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Found at the start, not at the first login."""
    variables = {name: value for name, value in VALID.items() if "SECRET" not in name}

    with pytest.raises(SettingsError, match="cannot be read"):
        read(monkeypatch, DIALOUT_BRIDGES__MAIN__SECRET_FILE=str(tmp_path / "absent"), **variables)


def test_two_sources_for_one_secret_are_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Which of the two counts must not be a guess."""
    file = tmp_path / "secret"
    file.write_text("one")

    with pytest.raises(SettingsError, match="both set"):
        read(monkeypatch, DIALOUT_BRIDGES__MAIN__SECRET_FILE=str(file), **VALID)


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


CALL_DETAIL = {
    "DIALOUT_BRIDGES__MAIN__CALL_DETAIL__DSN": "postgresql://reader:hidden@db/asterisk",
    "DIALOUT_BRIDGES__MAIN__CALL_DETAIL__CEL_TABLE": "calls.cel",
}


def test_call_detail_is_read_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table and where it lies are enough; times are in UTC, and the password is not shown."""
    settings = read(monkeypatch, **VALID, **CALL_DETAIL)

    tables = settings.bridges["main"].call_detail
    assert tables is not None
    assert (tables.cel_table, tables.cdr_table, tables.zone()) == ("calls.cel", None, UTC)
    assert "hidden" not in repr(settings) + str(settings.model_dump(mode="json"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CEL_TABLE", "cel; DROP TABLE cel"),
        ("CEL_TABLE", 'cel"'),
        ("CEL_TABLE", "a.b.c"),
        ("CEL_TABLE", "Cel"),
        ("CDR_TABLE", ""),
        ("TIME_ZONE", "Middle-Earth/Shire"),
        ("TIME_ZONE", "../../etc/passwd"),
        ("DSN", "host=db"),
        ("CALL_SECONDS_MAX", "60"),
    ],
)
def test_a_fault_of_call_detail_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Names of tables stand in statements, so nothing but a name may pass."""
    variable = f"DIALOUT_BRIDGES__MAIN__CALL_DETAIL__{name}"
    with pytest.raises(SettingsError, match=variable):
        read(monkeypatch, **(VALID | CALL_DETAIL | {variable: value}))


def test_call_detail_without_a_table_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be read never, and be thought to be."""
    dsn = {"DIALOUT_BRIDGES__MAIN__CALL_DETAIL__DSN": "postgresql://reader@db/asterisk"}

    with pytest.raises(SettingsError, match="cel_table or cdr_table"):
        read(monkeypatch, **VALID, **dsn)


def test_the_command_names_each_setting_in_full(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As it is written in the file, so that it can be looked up; of each bridge apart."""
    for name, value in OTHERS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DIALOUT_CONFIG", bridge_file(tmp_path, "paris", "new-york"))
    monkeypatch.setenv("COLUMNS", "120")

    shown = CliRunner().invoke(cli, ["settings"]).stdout

    for name in ("bridges.paris.port", "bridges.new-york.caller_id", "call.ring_seconds"):
        assert name in shown


def test_rules_of_an_unknown_section_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A campaign that leaves out what somebody meant to set would prove it of other rules."""
    file = tmp_path / "gateway.toml"
    monkeypatch.setenv("DIALOUT_CONFIG", str(file))
    file.write_text("[webhooks]\nurl = 'https://example.com/'\n[calll]\nring_seconds = 9\n")
    with pytest.raises(SettingsError, match="calll: no such section"):
        read_rules_settings()

    file.write_text("[call]\nring_seconds = 9\n")
    monkeypatch.setenv("DIALOUT_GARD__GRACE_SECONDS", "9")
    with pytest.raises(SettingsError, match="DIALOUT_GARD__GRACE_SECONDS: no such setting"):
        read_rules_settings()

    monkeypatch.delenv("DIALOUT_GARD__GRACE_SECONDS")
    rules = read_rules_settings()
    assert rules.call is not None
    assert (rules.call.ring_seconds, rules.guard) == (9, None)
