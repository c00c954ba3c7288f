"""Limits and blocked organizers as their users have them: commands, sheets and HTTP."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.admin.conftest import Commands

ACME = ("--tenant", "Acme")


@pytest.fixture
def acme(commands: Commands) -> str:
    """A tenant of the name that ``ACME`` says, with the organizer Ann."""
    made = commands.done("tenant", "create", "Acme", "--time-zone", "UTC", "--currency", "USD")
    commands.done("organizer", "set", "ann", *ACME, "--region", "GB", "--permission", "any")
    tenant_id: str = made["tenant_id"]
    return tenant_id


@pytest.fixture
async def tenant(admin: httpx.AsyncClient) -> str:
    """The path of a tenant, made over HTTP, with the organizer Ann."""
    made = await admin.post(
        "/v1/admin/tenants", json={"name": "Acme", "time_zone": "UTC", "currency": "USD"}
    )
    path = f"/v1/admin/tenants/{made.json()['tenant_id']}"
    ann = {"organizer_id": "ann", "region": "GB", "dial_out_permission": "any"}
    assert (await admin.put(f"{path}/organizers", json=ann)).status_code == 201
    return path


def shown(commands: Commands, *whose: str) -> dict[str, tuple[Any, str]]:
    """Return the limits as the command prints them: how much, and the mode."""
    return {
        f"{each['scope']}:{each['subject']} {each['kind']}": (each["most"], each["mode"])
        for each in commands.done("limits", "show", *ACME, *whose)
    }


@pytest.mark.usefixtures("acme")
def test_limits_are_set_shown_and_taken_away(commands: Commands) -> None:
    """Each in the unit that people think in: calls, minutes, money."""
    before = shown(commands)
    tenant = (
        *("--concurrent-calls", "10:block", "--price", "0.50", "--spend-a-day", "100:observe"),
        *("--because", "fraud"),
    )

    assert commands.done("limits", "set", *ACME, *tenant)["outcome"] == "changed"
    assert commands.done("limits", "set", *ACME, *tenant)["outcome"] == "unchanged"
    commands.done("limits", "set", *ACME, "--organizer", "ann", "--fair-use", "90")
    commands.done("limits", "set", *ACME, "--organizer", "ann", "--concurrent-calls", "none")
    commands.done("limits", "set", *ACME, "--meetings", "--meeting-time", "120")
    commands.done("limits", "set", *ACME, "--meeting", "room", "--meeting-spend", "5.25")

    own = {
        "tenant: concurrent_calls": (10, "block"),
        "tenant: price": (500_000, "refuse"),
        "tenant: spend_a_day": (100_000_000, "observe"),
        "meeting: meeting_time": (7200, "refuse"),
    }
    of_ann = {
        "organizer:ann fair_use": (5400, "refuse"),
        "organizer:ann concurrent_calls": (None, "refuse"),
    }
    assert shown(commands) == before | own
    assert shown(commands, "--organizer", "ann") == before | own | of_ann
    assert shown(commands, "--meeting", "room") == before | own | {
        "meeting:room meeting_spend": (5_250_000, "refuse")
    }
    taken = ("--organizer", "ann", "--fair-use", "default", "--concurrent-calls", "default")
    assert commands.done("limits", "set", *ACME, *taken)["outcome"] == "changed"
    assert commands.done("limits", "set", *ACME, *taken)["outcome"] == "unchanged"
    assert shown(commands, "--organizer", "ann") == before | own


@pytest.mark.usefixtures("acme")
def test_a_table_shows_what_people_wrote(commands: Commands) -> None:
    """Seconds and micros are for machines."""
    commands.done("limits", "set", *ACME, "--meetings", "--meeting-time", "90")
    commands.done("limits", "set", *ACME, "--price", "0.013", "--calls-a-minute", "7:observe")

    table = commands.run("limits", "show", *ACME).stdout

    for words in (
        ("each meeting", "meeting_time", "90", "minutes", "refuse"),
        ("the tenant", "price", "0.013", "the currency", "refuse"),
        ("the tenant", "calls_a_minute", "7", "calls", "observe"),
        ("each organizer", "concurrent_calls", "250", "calls", "refuse"),
    ):
        assert any(all(word in line for word in words) for line in table.splitlines()), words


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "What is to be limited?"),
        (("--price", "cheap"), "--price: 'cheap': must be a text like"),
        (("--concurrent-calls", "-1"), "a whole number of calls"),
        (("--concurrent-calls", "10:forbid"), "--concurrent-calls: 'forbid': must be"),
        (("--meeting-time", "9"), "meeting_time can be limited for meeting"),
        (("--organizers", "--fair-use", "1.5"), "a whole number of minutes"),
        (("--organizers", "--fair-use-notice", "9:block"), "fair_use_notice can only observe"),
        (("--organizers", "--meetings", "--price", "1"), "Whose?"),
        (("--organizer", "a b", "--price", "1"), "organizer: 'a b': must be"),
        (("--meeting", "", "--meeting-time", "1"), "meeting: '': must be"),
    ],
)
def test_what_cannot_be_meant_is_said_in_one_line(
    commands: Commands, arguments: tuple[str, ...], said: str
) -> None:
    """A limit that was misread protects nobody."""
    assert said in commands.fault("limits", "set", *ACME, *arguments)


@pytest.mark.usefixtures("acme")
def test_a_limit_of_nobody_changes_nothing_at_all(commands: Commands) -> None:
    """All that a command names takes effect together."""
    before = shown(commands)

    refused = commands.refused(
        "limits", "set", *ACME, "--organizer", "eve", "--price", "1", "--fair-use", "1"
    )

    assert refused == "unknown_organizer"
    assert commands.refused("limits", "show", "--tenant", "Nobody") == "unknown_tenant"
    assert shown(commands) == before


@pytest.mark.usefixtures("acme")
def test_limits_are_loaded_from_a_sheet_and_listed_in_pages(commands: Commands) -> None:
    """An operator of many meetings has them in a sheet."""
    sheet = "kind,scope,subject,most,mode\n" + "".join(
        f"meeting_time,meeting,room-{n},{n},observe\n" for n in range(1, 6)
    )

    assert commands.done("limits", "import", "-", *ACME, sheet=sheet)["loaded"] == 5
    first = commands.done("limits", "list", *ACME, "--limit", "3")
    mark = f"{first[-1]['scope']}/{first[-1]['subject']}/{first[-1]['kind']}"
    rest = commands.done("limits", "list", *ACME, "--after", mark)

    assert [each["most"] for each in first + rest if each["scope"] == "meeting"] == [
        60 * n for n in range(1, 6)
    ]
    assert "as the command before" in commands.fault("limits", "list", *ACME, "--after", "room")


@pytest.mark.usefixtures("acme")
def test_an_organizer_is_blocked_listed_and_unblocked(commands: Commands) -> None:
    """The list has who, when, why and, when it is over, who lifted it and why."""
    ann = ("ann", *ACME, "--because", "stolen password", "--by", "eve")

    assert commands.done("organizer", "block", *ann)["outcome"] == "blocked"
    assert commands.done("organizer", "block", *ann)["outcome"] == "exists"
    lifted = ("ann", *ACME, "--because", "new password", "--by", "ann")
    assert commands.done("organizer", "unblock", *lifted)["outcome"] == "lifted"
    assert commands.refused("organizer", "unblock", *lifted) == "not_blocked"
    assert commands.refused("organizer", "block", "eve", *ann[1:]) == "unknown_organizer"

    [block] = commands.done("organizer", "blocked", *ACME, "--organizer", "ann")
    assert (block["reason"], block["blocked_by"]) == ("stolen password", "eve")
    assert (block["lifted_because"], block["lifted_by"]) == ("new password", "ann")
    assert commands.done("organizer", "blocked", *ACME, "--after", block["block_id"]) == []
    assert "stolen password" in commands.run("organizer", "blocked", *ACME).stdout
    assert commands.run("organizer", "block", "ann", *ACME).exit_code == 2


# Over HTTP.


async def test_limits_over_http(admin: httpx.AsyncClient, tenant: str) -> None:
    """Put one, list all, take one away; what contradicts itself is refused by field."""
    price = {"kind": "price", "scope": "tenant", "most": "0.25", "mode": "block"}
    calls = {"kind": "concurrent_calls", "scope": "organizer", "subject": "ann", "most": 3}

    created = [
        (await admin.put(f"{tenant}/limits", json=each)).status_code for each in (price, calls)
    ]
    again = await admin.put(f"{tenant}/limits", json=price)
    listed = (await admin.get(f"{tenant}/limits")).json()["items"]
    removed = await admin.delete(f"{tenant}/limits/organizer/concurrent_calls?subject=ann")
    absent = await admin.delete(f"{tenant}/limits/organizer/concurrent_calls?subject=ann")
    faulty = await admin.put(f"{tenant}/limits", json=price | {"scope": "meeting"})
    unknown = await admin.put(f"{tenant}/limits", json=calls | {"subject": "eve"})

    assert created == [201, 201]
    assert (again.status_code, again.json()["outcome"]) == (200, "unchanged")
    assert {(each["scope"], each["subject"], each["kind"], each["most"]) for each in listed} > {
        ("tenant", "", "price", 250_000),
        ("organizer", "ann", "concurrent_calls", 3),
    }
    assert (removed.status_code, absent.status_code) == (200, 404)
    assert faulty.status_code == 422
    assert (unknown.status_code, unknown.json()["reason"]) == (404, "unknown_organizer")


async def test_a_list_of_limits_comes_in_pages(admin: httpx.AsyncClient, tenant: str) -> None:
    """However many meetings have a budget of their own."""
    for number in range(3):
        body = {"kind": "meeting_time", "scope": "meeting", "subject": f"r{number}", "most": "5"}
        await admin.put(f"{tenant}/limits", json=body)

    seen: list[tuple[str, ...]] = []
    page = {"after": ""}
    while page["after"] is not None:
        after = f"&after={page['after']}" if seen else ""
        page = (await admin.get(f"{tenant}/limits?limit=2{after}")).json()
        seen += [(each["scope"], each["subject"], each["kind"]) for each in page["items"]]
    strange = await admin.get(f"{tenant}/limits?after=room")

    assert len(seen) == len(set(seen)) == 5
    assert (strange.status_code, strange.json()["reason"]) == (422, "invalid_after")


async def test_an_organizer_is_blocked_over_http(admin: httpx.AsyncClient, tenant: str) -> None:
    """The header names who did it; the body says why."""
    eve = {"Dialout-Actor": "eve"}
    path = f"{tenant}/organizers/ann"

    blocked = await admin.post(f"{path}/block", json={"because": "fraud"}, headers=eve)
    again = await admin.post(f"{path}/block", json={"because": "fraud"}, headers=eve)
    lifted = await admin.post(f"{path}/unblock", json={"because": "checked"})
    not_blocked = await admin.post(f"{path}/unblock", json={"because": "checked"})
    for_nothing = await admin.post(f"{path}/block", json={"because": " "})
    [block] = (await admin.get(f"{tenant}/blocks")).json()["items"]
    nowhere = await admin.get(f"/v1/admin/tenants/{uuid4()}/blocks")

    assert [each.status_code for each in (blocked, again, lifted, not_blocked)] == [
        *(201, 200),
        *(200, 404),
    ]
    assert (block["blocked_by"], block["lifted_by"], block["reason"]) == ("eve", "api", "fraud")
    assert (for_nothing.status_code, nowhere.status_code) == (422, 404)
