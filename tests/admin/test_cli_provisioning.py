"""The commands of provisioning: what they do, what they refuse, and in which words."""

import asyncio
import json
import re
import shlex
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from gateway import db
from gateway.cli.main import cli
from gateway.cli.rate_decks import CLASHES_SHOWN
from gateway.core.choices import Choices
from gateway.provisioning.imports import FAULTS_MAX
from tests.admin.conftest import Commands, Logins

ACME = ("--tenant", "Acme")
LICENCE = ("--sku", "audio_conferencing", "--channel", "ea", "--segment", "commercial")
ORGANIZERS = "organizer_id,display_name,region,dial_out_permission\n"
DECK = "prefix,price,connect_fee,initial_increment,increment,regions\n"


def _assign(sku: str, channel: str = "ea") -> tuple[str, ...]:
    return (
        *("licence", "assign", "alice", *ACME),
        *("--sku", sku, "--channel", channel, "--segment", "commercial"),
    )


def _meeting(*more: str) -> tuple[str, ...]:
    return (
        *("meeting", "set", "room", *ACME),
        *("--to-self", "everyone", "--to-third-party", "organizer", *more),
    )


@pytest.fixture
def acme(commands: Commands) -> str:
    """A tenant of the name that ``ACME`` says."""
    made = commands.done("tenant", "create", "Acme", "--time-zone", "UTC", "--currency", "USD")
    tenant_id: str = made["tenant_id"]
    return tenant_id


@pytest.fixture
def alice(commands: Commands, acme: str) -> str:
    """An organizer of that tenant, without licences."""
    commands.done("organizer", "set", "alice", *ACME, "--region", "GB", "--permission", "any")
    return "alice"


def test_a_new_tenant_can_call(
    commands: Commands, ways: Logins, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From an empty database to the first call: each command of the manual, as it stands there."""
    manual = (Path(__file__).parents[2] / "docs" / "provisioning.md").read_text(encoding="utf-8")
    deck = re.findall(r"^```csv\n(.+?)^```$", manual, re.MULTILINE | re.DOTALL)[-1]
    (tmp_path / "deck.csv").write_text(deck, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIALOUT_DATABASE__DSN", ways.gateway)
    monkeypatch.setenv("DIALOUT_DATABASE__CALL_SECONDS_MAX", "20")
    walk = re.findall(
        r"^\$ ((?:dialout|export) .+)\n((?!\$|```).+)?",
        manual.split("## Commands")[0],
        re.MULTILINE,
    )

    for typed, printed in walk:
        program, *arguments = shlex.split(typed)
        if program == "export" and arguments[0].startswith("DIALOUT_BRIDGES__MAIN__CALLER_ID="):
            monkeypatch.setenv(*arguments[0].split("=", 1))
        if program == "dialout" and arguments[0] not in ("migrate", "serve"):
            result = commands.run(*arguments)
            assert result.exit_code == 0, (typed, result.output)
            assert result.stdout.startswith(printed.split("tenant_id")[0]), typed

    assert "ALLOWED, 3600 s, paid by credits" in [printed for _, printed in walk]
    london = commands.done("explain", "020 7946 0000", "--organizer", "alice@example.com")
    san_juan = commands.done("explain", "+1 787 722 0000", "--organizer", "alice@example.com")
    assert [each["kind"] for each in london["sources"]] == ["pool", "credits"]
    assert san_juan["answer"] == "allow"


def test_to_say_it_twice_changes_nothing(commands: Commands, acme: str, alice: str) -> None:
    """A script that failed half way is run again from its first line."""
    assigned = ("licence", "assign", "alice", *ACME, *LICENCE, "--from", "2026-01-01")
    grant = ("credits", "add", "12.5", *ACME, "--id", str(uuid4()))
    bought = ("licence", "buy", *ACME, *LICENCE, "--quantity", "5", "--id", str(uuid4()))
    for command, first, second in (
        (assigned, "assigned", "exists"),
        (grant, "added", "exists"),
        ((*bought, "--from", "2026-01-01"), "added", "exists"),
        (
            ("organizer", "set", "bob", *ACME, "--region", "US", "--permission", "none"),
            "created",
            "unchanged",
        ),
        (("policy", "set", *ACME, "--premium", "credits"), "changed", "unchanged"),
        (_meeting("--organizer", "alice"), "created", "unchanged"),
        (_meeting(), "updated", "unchanged"),
        (("block", "add", "4470"), "put", "exists"),
        (("block", "add", "1264", *ACME, "--exempt"), "put", "exists"),
        (("tenant", "change", "Acme", "--suspend"), "updated", "unchanged"),
    ):
        outcomes = [commands.done(*command)["outcome"] for _ in range(2)]
        assert outcomes == [first, second], command

    [grant_listed] = commands.done("credits", "list", *ACME)
    assert (grant_listed["micros"], grant_listed["currency"]) == (12_500_000, "USD")
    assert len(commands.done("licence", "list", *ACME)) == 1
    assert commands.done("licence", "purchases", *ACME)[0]["quantity"] == 5
    assert commands.done("tenant", "show", "Acme")[0]["suspended"] is True


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        (("tenant", "show", "Nobody"), "unknown_tenant"),
        (("tenant", "show", str(uuid4())), "unknown_tenant"),
        (("organizer", "list", "--tenant", "Nobody"), "unknown_tenant"),
        (("tenant", "change", "Acme", "--deck", "absent"), "unknown_rate_deck"),
        (
            ("tenant", "create", "B", "--time-zone", "Mars/Phobos", "--currency", "USD"),
            "unknown_time_zone",
        ),
        (("licence", "assign", "bob", *ACME, *LICENCE), "unknown_organizer"),
        (
            (
                "licence",
                "assign",
                "alice",
                *ACME,
                *LICENCE,
                *["--from", "2026-02-01", "--to", "2026-02-01"],
            ),
            "ends_before_it_starts",
        ),
        (
            _assign("extended_dialout_us_ca", "ea"),
            "prerequisite_missing",
        ),
        (
            _assign("audio_conferencing", "ees"),
            "channel_segment_mismatch",
        ),
        (
            (
                "licence",
                "end",
                "alice",
                *ACME,
                *["--sku", "audio_conferencing", "--from", "2026-01-01", "--to", "2026-02-01"],
            ),
            "unknown_licence",
        ),
        (("policy", "set", *ACME, "--availability-version", "1999-01-01"), "unknown_version"),
        (("meeting", "remove", "room", *ACME), "absent"),
        (_meeting("--organizer", "bob"), "unknown_organizer"),
        (("callee", "clear", "+442079460123"), "absent"),
        (("block", "remove", "4470"), "absent"),
    ],
)
def test_what_cannot_be_is_refused(
    commands: Commands, alice: str, command: tuple[str, ...], outcome: str
) -> None:
    """Exit 1, the outcome as a word for machines, and a sentence that says what to do."""
    before = commands.done("audit", "list", *ACME)

    assert commands.refused(*command) == outcome
    said = commands.run(*command)
    assert (said.exit_code, said.stdout) == (1, "")
    assert said.stderr.startswith(f"{outcome}: ")
    assert "tenant_id" not in said.stderr
    assert commands.done("audit", "list", *ACME) == before


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("organizer", "set", "a b", *ACME, "--region", "GB", "--permission", "any"), "'a b'"),
        (("organizer", "set", "a", *ACME, "--region", "gb", "--permission", "any"), "region"),
        (("organizer", "set", "a", *ACME, "--region", "UK", "--permission", "any"), "'UK'"),
        (("organizer", "set", "a", *ACME, "--region", "GB", "--permission", "all"), "permission"),
        (("tenant", "create", "A\x1b[2J", "--time-zone", "UTC", "--currency", "USD"), "\\x1b[2J"),
        (("tenant", "create", "A", "--time-zone", "UTC", "--currency", "usd"), "currency"),
        (("tenant", "show", "A\udcff"), "tenant"),
        (("tenant", "change", "Acme"), "--suspend"),
        (("credits", "add", "0", *ACME), "amount"),
        (("credits", "add", "-5", *ACME), "No such option"),
        (("credits", "add", "1e3", *ACME), "amount"),
        (("credits", "add", "0.0000001", *ACME), "amount"),
        (("credits", "add", "1000000001", *ACME), "amount"),
        (("licence", "assign", "alice", *ACME, *LICENCE, "--force"), "--because"),
        (("licence", "assign", "alice", *ACME, *LICENCE, "--from", "soon"), "valid from"),
        (("licence", "assign", "alice", *ACME, *LICENCE, "--by", "a b"), "actor"),
        (("licence", "assign", "alice", *ACME, *LICENCE, "--because", ""), "because"),
        (("licence", "assign", "alice", *ACME, *LICENCE, "--force", "--because", " "), "seen"),
        (
            (
                "licence",
                "end",
                "alice",
                *ACME,
                "--sku",
                "audio_conferencing",
                "--from",
                "2026-01-01",
            ),
            "--without-end",
        ),
        (("licence", "list", *ACME, "--after", "x"), "--after"),
        (("audit", "list", "--since", "9999-12-31T23:59:59-12:00"), "--since"),
        (("policy", "set", *ACME), "--premium"),
        (("policy", "set", *ACME, "--addon-regions", "US,Canada"), "addon_regions"),
        (("policy", "set", *ACME, "--addon-regions", "US,UK"), "addon_regions: UK"),
        (("policy", "set", *ACME, "--addon-fair-use-minutes", "0"), "addon_fair_use_minutes"),
        (("meeting", "remove", "a b", *ACME), "conference"),
        (_meeting("--organizer", "a b"), "organizer id"),
        (("callee", "show", "02079460123"), "number"),
        (("callee", "clear", "+44\x1b[2J"), "\\x1b[2J"),
        (("block", "add", "+44"), "prefix"),
        (("block", "remove", "044"), "prefix"),
        (("block", "add", "44", "--exempt"), "--tenant"),
        (("organizer", "import", "/nowhere.csv", *ACME), "/nowhere.csv"),
        (("organizer", "import", "/", *ACME), "directory"),
    ],
)
def test_what_was_typed_wrong_is_named(
    commands: Commands, alice: str, command: tuple[str, ...], said: str
) -> None:
    """Exit 2, before the database hears of it: what is wrong, in a line, harmless to print."""
    stderr = commands.fault(*command)

    assert said in stderr
    assert "\x1b[2J" not in stderr


def test_a_name_that_two_tenants_have_is_no_name(commands: Commands, acme: str) -> None:
    """Whose money it is must not be a guess; the id still tells them apart."""
    commands.done("tenant", "create", "Acme", "--time-zone", "UTC", "--currency", "USD")

    assert "Several tenants" in commands.fault("credits", "add", "5", *ACME)
    assert commands.done("credits", "add", "5", "--tenant", acme)["outcome"] == "added"


def test_without_its_settings_nothing_is_asked(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the gateway's login nor any other is used instead of the provisioner's."""
    monkeypatch.setenv("DIALOUT_DATABASE__DSN", "postgresql:///gateway")
    monkeypatch.delenv("DIALOUT_ADMIN__DSN")

    assert "DIALOUT_ADMIN__DSN" in commands.fault("tenant", "list")


def test_a_database_that_is_away_is_a_fault(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Exit 2 and the setting to look at, not a traceback."""
    monkeypatch.setenv("DIALOUT_ADMIN__DSN", f"postgresql:///absent?host={tmp_path}")

    assert "DIALOUT_ADMIN__DSN" in commands.fault("tenant", "list")


async def test_a_schema_that_is_not_there_is_to_be_migrated(
    commands: Commands, owner: db.Connection
) -> None:
    """Nobody finds a missing schema by looking at the setting alone."""
    await owner.execute("DROP SCHEMA dialout CASCADE")

    said = await asyncio.to_thread(commands.fault, "tenant", "list")

    assert "dialout migrate" in said


def test_the_gateways_login_cannot_provision(
    commands: Commands, ways: Logins, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has the gateway's password can spend, and grant nothing."""
    monkeypatch.setenv("DIALOUT_ADMIN__DSN", ways.gateway)

    said = commands.fault("tenant", "create", "A", "--time-zone", "UTC", "--currency", "USD")

    assert "permission denied" in said


def test_force_is_recorded_with_who_and_why(commands: Commands, alice: str) -> None:
    """What the rules forbid can be done, but not in secret."""
    command = (*_assign("extended_dialout_us_ca"), "--force", "--by", "ann")

    assert commands.done(*command, "--because", "contract 7")["outcome"] == "assigned"

    [licence] = commands.done("licence", "list", *ACME, "--organizer", "alice")
    assert (licence["forced_by"], licence["forced_because"]) == ("ann", "contract 7")


def test_every_change_is_in_the_audit(commands: Commands, acme: str, alice: str) -> None:
    """Who, when, why, before and after; for people as what differs."""
    command = ("organizer", "set", "alice", *ACME, "--region", "US", "--permission", "any")

    commands.done(*command, "--by", "ann@example.com", "--because", "moved")

    entry = commands.done("audit", "list", *ACME)[0]
    assert (entry["actor"], entry["because"]) == ("ann@example.com", "moved")
    assert (entry["before"]["region"], entry["after"]["region"]) == ("GB", "US")
    assert "region: GB -> US" in commands.run("audit", "list", *ACME).stdout
    assert commands.done("audit", "list", *ACME, "--since", "2999-01-01") == []


def test_the_end_of_a_licence_can_be_moved(commands: Commands, alice: str) -> None:
    """As the list says it: its first instant tells which one is meant."""
    commands.done("licence", "assign", "alice", *ACME, *LICENCE)
    [licence] = commands.done("licence", "list", *ACME)
    assert "." not in licence["valid_from"], "whole seconds, because people type them"
    which = ("alice", *ACME, "--sku", "audio_conferencing", "--from", licence["valid_from"])

    assert commands.done("licence", "end", *which, "--to", "2999-01-01")["outcome"] == "changed"
    assert commands.done("licence", "list", *ACME)[0]["valid_to"].startswith("2999-01-01T00:00")
    assert commands.done("licence", "end", *which, "--without-end")["outcome"] == "changed"
    assert commands.done("licence", "list", *ACME)[0]["valid_to"] is None


CHOICES = {
    "addon_regions": ["US"],
    "addon_fair_use_minutes": 500,
    "pool_basis": "purchased",
    "ppm_needs_credits_licence": False,
    "premium": "credits",
    "toll_free": "allow",
    "unallocated": "credits",
    "high_risk_prefixes": "allow",
    "meeting_to_self": "everyone",
    "meeting_to_third_party": "organizer",
    "confirmation": "always",
    "on_exhaustion": "finish",
    "availability_version": "2023-01-25",
}


@pytest.mark.parametrize("name", [field.name for field in fields(Choices)])
def test_each_choice_has_its_option(commands: Commands, acme: str, name: str) -> None:
    """Each one is set alone, and the others stay as they are."""
    before = commands.done("policy", "show", *ACME)
    option, value = f"--{name.replace('_', '-')}", CHOICES[name]
    if isinstance(value, bool):
        option = option if value else option.replace("--", "--no-", 1)
        commands.done("policy", "set", *ACME, option)
    else:
        text = ",".join(value) if isinstance(value, list) else str(value)
        commands.done("policy", "set", *ACME, option, text)

    assert commands.done("policy", "show", *ACME) == {**before, name: value}
    assert before[name] != value


def test_a_policy_can_come_from_a_file(commands: Commands, acme: str, tmp_path: Path) -> None:
    """The file that replay was tried with is the one that is set; an option beside it wins."""
    file = tmp_path / "policy.toml"
    file.write_text('premium = "credits"\ntoll_free = "allow"\naddon_regions = ["US"]\n')

    commands.done("policy", "set", *ACME, "--file", str(file), "--toll-free", "deny")

    choices = commands.done("policy", "show", *ACME)
    assert (choices["premium"], choices["toll_free"]) == ("credits", "deny")
    assert choices["addon_regions"] == ["US"]
    for content in ('premum = "credits"', "premium = 1", "premium", '"\\u001b[2J" = 1'):
        file.write_text(content)
        said = commands.fault("policy", "set", *ACME, "--file", str(file))
        assert "\x1b[2J" not in said
    assert commands.done("policy", "show", *ACME) == choices


def test_policies_are_listed_by_what_differs(commands: Commands, acme: str) -> None:
    """Whoever looks after many tenants sees at once which is unlike the others."""
    commands.done("policy", "set", *ACME, "--premium", "credits")

    said = commands.run("policy", "list").stdout

    assert "premium: credits" in said
    assert "toll_free" not in said
    assert commands.done("policy", "list")[0]["toll_free"] == "deny"


def test_a_faulty_sheet_loads_nothing_and_says_everything(commands: Commands, acme: str) -> None:
    """All faults in one go, by line; the good lines are not loaded either."""
    sheet = ORGANIZERS + "bob,B,GB,any\nc d,,gb,all\nbob,B,GB,any\n"

    result = commands.run("organizer", "import", "-", *ACME, sheet=sheet)

    assert result.exit_code == 1
    assert [line.split(":")[:2] for line in result.stderr.splitlines()[:4]] == [
        ["line 3", " organizer_id"],
        ["line 3", " region"],
        ["line 3", " dial_out_permission"],
        ["line 4", " is for the same as line 2"],
    ]
    assert "Nothing was loaded." in result.stderr
    assert commands.done("organizer", "list", *ACME) == []


def test_what_the_database_refuses_is_named_by_line(commands: Commands, alice: str) -> None:
    """One licence that is not possible takes back those that are."""
    sheet = (
        "organizer_id,sku,valid_from,channel,segment\n"
        "alice,audio_conferencing,2026-01-01,ea,commercial\n"
        "bob,audio_conferencing,2026-01-01,ea,commercial\n"
        "alice,extended_dialout_us_ca,2025-01-01,ea,commercial\n"
    )

    result = commands.run("licence", "import", "-", *ACME, "--json", sheet=sheet)

    faults = json.loads(result.stdout)["faults"]
    assert result.exit_code == 1
    assert [fault["line"] for fault in faults] == [3, 4]
    assert "no such organizer" in faults[0]["message"]
    assert "--force" not in faults[1]["message"]
    assert commands.done("licence", "list", *ACME) == []


def test_a_sheet_may_be_loaded_again(commands: Commands, acme: str, tmp_path: Path) -> None:
    """What is so already counts as unchanged: a list that grows is loaded as a whole each time."""
    file = tmp_path / "organizers.csv"
    file.write_text(ORGANIZERS + "bob,B,GB,any\ncarol,C,US,none\n")
    load = ("organizer", "import", str(file), *ACME)

    assert commands.done(*load) == {"loaded": 2, "unchanged": 0}
    file.write_text(file.read_text() + "dave,D,US,none\n")
    assert commands.done(*load) == {"loaded": 1, "unchanged": 2}
    assert commands.run(*load).stdout == "0 loaded, 3 unchanged.\n"


SHEETS = {
    ("organizer", "import"): ORGANIZERS + "bob,,GB,any\n",
    ("licence", "import"): "organizer_id,sku,valid_from,valid_to,channel,segment,forced_because\n"
    "alice,audio_conferencing,2026-01-01,2027-01-01,csp,commercial,\n"
    "alice,extended_dialout_us_ca,2025-01-01,,csp,commercial,contract 7\n",
    ("licence", "import-purchases"): "purchase_id,sku,quantity,channel,segment,valid_from\n"
    f"{uuid4()},audio_conferencing,10,ea,commercial,2026-01-01T09:00:00+01:00\n",
    ("credits", "import"): f"grant_id,amount\n{uuid4()},12.50\n",
    ("meeting", "import"): "conference_id,to_self,to_third_party,organizer_id\n"
    "room,everyone,organizer,\nboard,organizer,organizer,alice\n",
    ("block", "import"): "prefix,effect,note\n4470,block,personal\n1264,exempt,\n",
}


@pytest.mark.parametrize("command", SHEETS)
def test_each_kind_of_sheet_is_loaded(
    commands: Commands, alice: str, command: tuple[str, str]
) -> None:
    """Every list that somebody keeps in a spreadsheet, whole, and a second time without effect."""
    lines = SHEETS[command].count("\n") - 1

    first = commands.done(*command, "-", *ACME, sheet=SHEETS[command])
    second = commands.done(*command, "-", *ACME, sheet=SHEETS[command])

    assert first == {"loaded": lines, "unchanged": 0}
    assert second == {"loaded": 0, "unchanged": lines}


def test_the_operators_list_is_for_all(commands: Commands, acme: str) -> None:
    """It is loaded and listed apart from that of any tenant, and nobody can be exempt in it."""
    sheet = "prefix,note\n4470,personal\n882,\n"

    assert commands.done("block", "import", "-", sheet=sheet) == {"loaded": 2, "unchanged": 0}

    assert [each["prefix"] for each in commands.done("block", "list")] == ["4470", "882"]
    assert commands.done("block", "list", *ACME) == []
    shipped = commands.done("block", "list", "--high-risk")
    assert {each["listed_in"] for each in shipped} == {"operator", "high_risk"}
    exempt = commands.run("block", "import", "-", sheet="prefix,effect\n882,exempt\n")
    assert exempt.exit_code == 1
    assert "line 2: Only a tenant can be exempted." in exempt.stderr


def test_a_deck_is_put_in_place_whole(commands: Commands) -> None:
    """Prices are exact to a millionth; a later sheet replaces all of it, a faulty one nothing."""
    put = ("deck", "import", "-", "--name", "std", "--currency", "USD")

    first = commands.done(
        *put, sheet=DECK + "44,0.013001,0.5,60,6,\n1,0.01,,1,1,US;CA\n882,9,,1,1,001\n"
    )
    assert (first["outcome"], first["prefixes"]) == ("put", 3)
    for sheet in (
        DECK,
        DECK + "44,0.0130001,,60,60,\n",
        DECK + "+44,0.01,,60,60,\n",
        DECK + "44,0.01,,0,60,\n",
        DECK + "44,0.01,,60,60,US CA\n",
        DECK + "44,0.01,,60,60,\n44,0.02,,60,60,\n",
    ):
        assert commands.run(*put, sheet=sheet).exit_code == 1
    [deck] = commands.done("deck", "list")
    assert (deck["name"], deck["rates"]) == ("std", 3)
    second = commands.done(*put, sheet=DECK + "44,0.02,,60,60,\n")
    assert (second["outcome"], commands.done("deck", "list")[0]["rates"]) == ("put", 1)
    other = ("deck", "import", "-", "--name", "std", "--currency", "EUR")
    assert commands.refused(*other, sheet=DECK + "44,1,,1,1,\n") == "exists_with_different_currency"


def test_a_deck_of_tomorrow_is_loaded_today(commands: Commands) -> None:
    """It is told as what it is; today's stays, and what was in force is never changed."""
    put = ("deck", "import", "-", "--name", "std", "--currency", "USD")
    now = datetime.now(UTC)
    tomorrow = (now + timedelta(days=1)).isoformat()
    dearer = DECK + "44,0.02,,60,60,\n"
    commands.done(*put, sheet=DECK + "44,0.01,,60,60,\n")

    ahead = [commands.done(*put, "--from", tomorrow, sheet=dearer)["outcome"] for _ in range(2)]

    assert ahead == ["scheduled", "exists"]
    [deck] = commands.done("deck", "list")
    assert [each["rates"] for each in deck["ahead"]] == [1]
    assert "1 from " in commands.run("deck", "list").stdout
    [held], [later] = (commands.done("deck", "show", "std", *at) for at in ((), ("--at", tomorrow)))
    assert (held["price_micros"], later["price_micros"]) == (10_000, 20_000)
    assert held["ends_at"] == later["starts_at"]
    yesterday = (now - timedelta(days=1)).isoformat()
    early = commands.refused(*put, "--from", yesterday, sheet=dearer)
    assert early == "starts_too_early"
    assert "must be a time like" in commands.fault(*put, "--from", "tomorrow", sheet=dearer)
    zone = (*put, "--time-zone", "Europe/Atlantis")
    assert commands.refused(*zone, sheet=dearer) == "unknown_time_zone"


def test_a_deck_has_hours(commands: Commands) -> None:
    """By the clock of its own zone; they are shown beside the price at any time."""
    sheet = (
        "prefix,name,price,initial_increment,increment,days,from,to\n"
        "44,United Kingdom,0.02,60,60,,,\n"
        '44,United Kingdom,0.01,60,60,"sat,sun",18:00,08:00\n'
        "45,Denmark,0.03,60,60,,,\n"
    )
    put = ("deck", "import", "-", "--name", "std", "--currency", "USD")

    made = commands.done(*put, "--time-zone", "Europe/London", sheet=sheet)

    assert (made["outcome"], made["prefixes"], made["clashes"]) == ("put", 3, [])
    british = commands.done("deck", "show", "std", "--prefix", "44")
    nights = "mon 00:00-08:00, sat 18:00-24:00, sun 00:00-08:00 18:00-24:00"
    assert [(each["slot"], each["hours"], each["time_zone"]) for each in british] == [
        (0, None, "Europe/London"),
        (1, nights, "Europe/London"),
    ]
    first = commands.run("deck", "show", "std", "--limit", "2")
    assert "There may be more: --after 44/1" in first.stderr
    [rest] = commands.done("deck", "show", "std", "--after", "44/1")
    assert rest["name"] == "Denmark"
    assert commands.refused("deck", "show", "absent") == "absent"
    assert "--after" in commands.fault("deck", "show", "std", "--after", "x")
    assert "prefix" in commands.fault("deck", "show", "std", "--prefix", "+44")


def test_clashes_with_the_numbering_plans_are_told(commands: Commands) -> None:
    """In a table beside the answer, and in it for machines; the deck is loaded all the same."""
    put = ("deck", "import", "-", "--name", "std", "--currency", "USD")
    sheet = (
        "prefix,name,price,initial_increment,increment,regions\n"
        "44,United Kingdom,1,1,1,\n1876,Jamaica,1,1,1,US\n254,Norway,1,1,1,\n"
    )

    machine = commands.done(*put, sheet=sheet)
    person = commands.run(*put, sheet=sheet)

    assert machine["outcome"] == "put"
    assert [(each["line"], each["named"], each["reached"]) for each in machine["clashes"]] == [
        (3, ["US"], ["JM"]),
        (4, ["NO"], ["KE"]),
    ]
    assert person.stdout.startswith("exists: ")
    assert "2 lines are at odds with the numbering plans." in person.stderr


def test_the_table_of_clashes_has_an_end(commands: Commands) -> None:
    """A deck of another country has one in each line; machines get them all."""
    put = ("deck", "import", "-", "--name", "std", "--currency", "USD")
    prefixes = [f"44{number}" for number in range(200, 207 + CLASHES_SHOWN)]
    rows = "".join(f"{prefix},1,1,1,US\n" for prefix in prefixes)
    sheet = f"prefix,price,initial_increment,increment,regions\n{rows}"

    machine = commands.done(*put, sheet=sheet)
    person = commands.run(*put, sheet=sheet)

    assert [each["prefix"] for each in machine["clashes"]] == prefixes
    assert sum(prefix in person.stderr for prefix in prefixes) == CLASHES_SHOWN
    assert "7 more are not listed here: --json prints all." in person.stderr
    assert f"{len(prefixes)} lines are at odds" in person.stderr


def test_the_list_of_faults_has_an_end(commands: Commands, acme: str) -> None:
    """A sheet of another kind has a fault in each line; nobody reads a hundred thousand."""
    sheet = ORGANIZERS + "x\n" * (FAULTS_MAX + 7)

    result = commands.run("organizer", "import", "-", *ACME, sheet=sheet)

    assert len(result.stderr.splitlines()) == FAULTS_MAX + 1
    assert "7 more faults are not listed" in result.stderr


def test_long_lists_come_in_pages(commands: Commands, acme: str) -> None:
    """Each page says where the next one starts, and together they are the whole."""
    sheet = ORGANIZERS + "".join(f"user{n},,GB,any\n" for n in range(5))
    commands.done("organizer", "import", "-", *ACME, sheet=sheet)

    first = commands.run("organizer", "list", *ACME, "--limit", "3", "--json")
    rest = commands.done("organizer", "list", *ACME, "--limit", "3", "--after", "user2")

    assert "--after user2" in first.stderr
    assert [each["organizer_id"] for each in json.loads(first.stdout)] == [
        "user0",
        "user1",
        "user2",
    ]
    assert [each["organizer_id"] for each in rest] == ["user3", "user4"]


@pytest.fixture
async def odd_name(owner: db.Connection, acme: str) -> str:
    """The name of an organizer who came into the database by another way."""
    await owner.execute(
        "INSERT INTO dialout.organizer VALUES ($1, 'bob', $2, 'GB', 'any')",
        *(acme, "\x1b[2J[bold]bob"),
    )
    return "\\x1b[2J[bold]bob"


def test_what_is_listed_is_harmless(commands: Commands, odd_name: str) -> None:
    """A terminal acts on no name, and neither does what draws the table."""
    for command in ("organizer", "audit"):
        said = commands.run(command, "list", *ACME).stdout
        assert odd_name in said
        assert "\x1b" not in said


REPLAYS = {
    "premium": '"credits"',
    "toll_free": '"allow"',
    "addon_regions": '["US"]',
    "meeting_to_self": '"everyone"',
}
FUNDS = {
    "addon_fair_use_minutes": "60",
    "availability_version": '"2018-04-03"',
    "confirmation": '"never"',
    "on_exhaustion": '"finish"',
    "pool_basis": '"purchased"',
}


async def test_replay_says_what_it_cannot_see(
    commands: Commands,
    ways: Logins,
    owner: db.Connection,
    acme: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a choice that no rule looks at, "nothing would change" is no answer.

    The tenant's name is what a table could take for markup, and a terminal for a command.
    """
    monkeypatch.setenv("DIALOUT_DATABASE__DSN", ways.gateway)
    monkeypatch.setenv("DIALOUT_BRIDGES__MAIN__CALLER_ID", "+442079460999")
    await owner.execute("UPDATE dialout.tenant SET name = $1", "Acme [/EU] :smile: \x1b[2J")
    policy = tmp_path / "policy.toml"
    policy.write_text("".join(f"{name} = {value}\n" for name, value in (REPLAYS | FUNDS).items()))
    words = ("replay", "--since", "2026-01-01", "--policy", str(policy))

    told = await asyncio.to_thread(commands.done, *words)
    shown = await asyncio.to_thread(commands.run, *words)

    assert told["not_replayed"] == sorted(FUNDS)
    assert ", ".join(sorted(FUNDS)) in shown.stderr
    assert "Acme [/EU] :smile: \\x1b[2J" in shown.stdout


NOUNS = (
    *("tenant", "organizer", "licence", "credits", "policy", "meeting", "block", "callee"),
    *("deck", "audit"),
)


def _leaves() -> list[tuple[str, str]]:
    return [(noun, name) for noun in NOUNS for name in _group(noun).commands]


def _group(noun: str) -> TyperGroup:
    root = get_command(cli)
    assert isinstance(root, TyperGroup)
    group = root.commands[noun]
    assert isinstance(group, TyperGroup)
    return group


@pytest.mark.parametrize(("noun", "name"), _leaves())
def test_each_command_is_for_people_and_machines(noun: str, name: str) -> None:
    """Each has --json, says what it does and what each option means; each change, who and why."""
    command = _group(noun).commands[name]
    options = {option for parameter in command.params for option in parameter.opts}

    assert "--json" in options
    assert command.help
    for parameter in command.params:
        assert getattr(parameter, "help", None), parameter.name
    if name not in ("list", "show", "purchases", "blocked", "recharges"):
        assert {"--by", "--because"} <= options
