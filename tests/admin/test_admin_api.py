"""Provisioning over HTTP: who may, what is answered, and that no call waits for it. Never a 500."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from gateway import db
from gateway.api.admin import SHEET_BYTES_MAX, Administration
from gateway.api.service import REQUESTS_MAX
from gateway.ledger import Ledger, Provisioning, Reports
from gateway.settings import AdminSettings
from tests.admin.conftest import ADMIN_TOKEN, CALLS_TOKEN, api_of, client

ORGANIZERS = "organizer_id,display_name,region,dial_out_permission\n"
LICENCE = {
    "organizer_id": "alice",
    "sku": "audio_conferencing",
    "valid_from": "2026-01-01",
    "channel": "ea",
    "segment": "commercial",
}
CSV = {"Content-Type": "text/csv"}


@pytest.fixture
async def acme(admin: httpx.AsyncClient) -> str:
    """Where a tenant is that has one organizer."""
    made = await admin.post(
        "/v1/admin/tenants", json={"name": "Acme", "time_zone": "UTC", "currency": "USD"}
    )
    path = made.headers["Location"]
    await admin.put(f"{path}/organizers", json=organizer("alice"))
    return str(path)


def organizer(organizer_id: str, **fields: Any) -> dict[str, Any]:
    """Return the body that makes an organizer known."""
    whole = {"organizer_id": organizer_id, "region": "GB", "dial_out_permission": "any"}
    return {**whole, **fields}


async def items(admin: httpx.AsyncClient, path: str, **query: Any) -> list[dict[str, Any]]:
    """Return a list."""
    response = await admin.get(path, params=query)
    assert response.status_code == 200, response.text
    listed: list[dict[str, Any]] = response.json()["items"]
    return listed


async def test_a_tenant_is_provisioned(admin: httpx.AsyncClient) -> None:
    """201 for what is new, 200 for what is so already, and each list shows it."""
    tenant_id, grant_id = str(uuid4()), str(uuid4())
    at = f"/v1/admin/tenants/{tenant_id}"
    deck = "prefix,price,initial_increment,increment\n44,0.014,60,60\n"
    tenant = {"tenant_id": tenant_id, "name": "Acme", "time_zone": "UTC", "currency": "USD"}
    steps: list[tuple[str, str, Any]] = [
        ("POST", "/v1/admin/tenants", tenant),
        ("PUT", f"{at}/organizers", organizer("alice")),
        ("POST", f"{at}/licences", LICENCE),
        ("POST", f"{at}/credits", {"grant_id": grant_id, "amount": "12.5"}),
        (
            "POST",
            f"{at}/purchases",
            {k: v for k, v in LICENCE.items() if k != "organizer_id"}
            | {"purchase_id": grant_id, "quantity": 5},
        ),
        (
            "PUT",
            f"{at}/meetings",
            {
                "conference_id": "room",
                "to_self": "everyone",
                "to_third_party": "organizer",
                "organizer_id": "alice",
            },
        ),
        ("PUT", f"{at}/prefixes", {"prefix": "1264", "effect": "exempt"}),
        ("PUT", "/v1/admin/prefixes", {"prefix": "4470"}),
    ]
    put_deck = ("/v1/admin/rate-decks/std?currency=USD", deck)
    for again, expected in ((False, 201), (True, 200)):
        response = await admin.put(put_deck[0], content=put_deck[1], headers=CSV)
        assert (response.status_code, response.json()["prefixes"]) == (expected, 1)
        for method, path, body in steps:
            response = await admin.request(method, path, json=body)
            assert response.status_code == expected, (path, again, response.text)
    changed = await admin.patch(at, json={"rate_deck": "std"})

    assert (changed.status_code, changed.json()["outcome"]) == (200, "updated")
    assert (await admin.get(at)).json()["rate_deck"] == "std"

    await admin.patch(at, json={"inbound_deck": "std"})
    decks = (await admin.get(at)).json()
    assert (decks["rate_deck"], decks["inbound_deck"]) == ("std", "std")
    assert (await items(admin, "/v1/admin/tenants", name="Acme"))[0]["tenant_id"] == tenant_id
    assert [each["organizer_id"] for each in await items(admin, f"{at}/organizers")] == ["alice"]
    assert [each["sku"] for each in await items(admin, f"{at}/licences")] == [LICENCE["sku"]]
    assert [each["micros"] for each in await items(admin, f"{at}/credits")] == [12_500_000]
    assert [each["quantity"] for each in await items(admin, f"{at}/purchases")] == [5]
    [meeting] = await items(admin, f"{at}/meetings")
    assert (meeting["to_self"], meeting["organizer_id"]) == ("everyone", "alice")
    assert [each["prefix"] for each in await items(admin, f"{at}/prefixes")] == ["1264"]
    assert "4470" in [each["prefix"] for each in await items(admin, "/v1/admin/prefixes")]
    assert [each["rates"] for each in await items(admin, "/v1/admin/rate-decks")] == [1]
    for path in (f"{at}/meetings/room", f"{at}/prefixes/1264?effect=exempt"):
        assert (await admin.delete(path)).status_code == 200
        assert (await admin.delete(path)).status_code == 404
    assert (await admin.delete("/v1/admin/prefixes/4470")).json()["outcome"] == "removed"


NEVER_VALID = LICENCE | {"valid_to": "2025-01-01"}
EXEMPT = {"prefix": "44", "effect": "exempt"}
NUL_AFTER = "{acme}/licences?after=%00/audio_conferencing/2026-01-01"
TENANT = {"name": "A", "time_zone": "UTC", "currency": "USD"}
BEFORE_TIME = "0001-01-01T00:00:00+14:00"
UNKNOWN = f"/v1/admin/tenants/{UUID(int=1)}"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("GET", UNKNOWN, None, 404, "unknown_tenant"),
        ("GET", f"{UNKNOWN}/organizers", None, 404, "unknown_tenant"),
        ("GET", f"{UNKNOWN}/licences", None, 404, "unknown_tenant"),
        ("GET", f"{UNKNOWN}/policy", None, 404, "unknown_tenant"),
        ("GET", f"{UNKNOWN}/audit", None, 404, "unknown_tenant"),
        ("PATCH", UNKNOWN, {"suspended": True}, 404, "unknown_tenant"),
        ("PATCH", f"{UNKNOWN}/policy", {"premium": "deny"}, 404, "unknown_tenant"),
        ("PUT", f"{UNKNOWN}/organizers", organizer("a"), 404, "unknown_tenant"),
        ("PUT", f"{UNKNOWN}/prefixes", {"prefix": "44"}, 404, "unknown_tenant"),
        ("POST", "{acme}/licences", LICENCE | {"organizer_id": "x"}, 404, "unknown_organizer"),
        ("PATCH", "{acme}/licences", None, 404, "unknown_licence"),
        (
            "POST",
            "{acme}/licences",
            LICENCE | {"valid_to": "2025-01-01"},
            422,
            "ends_before_it_starts",
        ),
        ("POST", "{acme}/licences", LICENCE | {"channel": "ees"}, 422, "channel_segment_mismatch"),
        ("PATCH", "{acme}", {"rate_deck": "absent"}, 422, "unknown_rate_deck"),
        ("PATCH", "{acme}/policy", {"availability_version": "1999-01-01"}, 422, "unknown_version"),
        ("PATCH", "{acme}/policy", {"premum": "credits"}, 422, "invalid_choice"),
        ("PATCH", "{acme}/policy", {"addon_regions": ["\x00\x01"]}, 422, "invalid_choice"),
        ("PATCH", "{acme}/policy", {"addon_regions": ["UK"]}, 422, "invalid_choice"),
        ("PATCH", "{acme}/policy", {"addon_fair_use_minutes": True}, 422, "invalid_choice"),
        (
            "PUT",
            "/v1/admin/prefixes",
            {"prefix": "44", "effect": "exempt"},
            422,
            "exempt_needs_tenant",
        ),
        ("GET", "{acme}/licences?after=x", None, 422, "invalid_after"),
        (
            "GET",
            "{acme}/licences?after=%00/audio_conferencing/2026-01-01",
            None,
            422,
            "invalid_after",
        ),
    ],
)
async def test_what_cannot_be_is_refused(
    admin: httpx.AsyncClient,
    acme: str,
    method: str,
    path: str,
    body: dict[str, Any] | None,
    status: int,
    reason: str,
) -> None:
    """A status for programs, the outcome as a word, a sentence that says what to do."""
    if (method, body) == ("PATCH", None):
        body = {k: LICENCE[k] for k in ("organizer_id", "sku", "valid_from")} | {"valid_to": None}

    response = await admin.request(method, path.format(acme=acme), json=body)

    assert (response.status_code, response.json()["reason"]) == (status, reason)
    assert response.json()["message"]


async def test_contradictions_are_409(admin: httpx.AsyncClient, acme: str) -> None:
    """The same id on other terms, or a period that is taken: the client must look again."""
    grant = {"grant_id": str(uuid4()), "amount": "5"}
    await admin.post(f"{acme}/credits", json=grant)
    await admin.post(f"{acme}/licences", json=LICENCE)

    other = await admin.post(f"{acme}/credits", json=grant | {"amount": "6"})
    overlap = await admin.post(f"{acme}/licences", json=LICENCE | {"valid_from": "2026-02-01"})

    assert (other.status_code, other.json()["reason"]) == (409, "exists_with_different_terms")
    assert (overlap.status_code, overlap.json()["reason"]) == (409, "overlaps")


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        (
            "POST",
            "/v1/admin/tenants",
            TENANT | {"name": "A\x00"},
            "name",
        ),
        (
            "POST",
            "/v1/admin/tenants",
            TENANT | {"time_zone": "../x;"},
            "time_zone",
        ),
        (
            "POST",
            "/v1/admin/tenants",
            TENANT | {"currency": "usd"},
            "currency",
        ),
        ("GET", "/v1/admin/tenants?name=%00", None, "name"),
        ("GET", "/v1/admin/tenants?limit=0", None, "limit"),
        ("GET", "/v1/admin/tenants/7", None, "tenant_id"),
        ("PUT", "{acme}/organizers", organizer("a b"), "organizer_id"),
        ("PUT", "{acme}/organizers", organizer("a", region="gb"), "region"),
        ("PUT", "{acme}/organizers", organizer("a", region="UK"), "region"),
        ("PUT", "{acme}/organizers", organizer("a", display_name="\u202ebob"), "display_name"),
        ("PUT", "{acme}/organizers", organizer("a", permission="any"), "permission"),
        ("PUT", "{acme}/organizers", {"organizer_id": "a", "region": "GB"}, "dial_out_permission"),
        ("GET", "{acme}/organizers?after=%00", None, "after"),
        ("POST", "{acme}/licences", LICENCE | {"valid_from": 1}, "valid_from"),
        (
            "POST",
            "{acme}/licences",
            LICENCE | {"valid_from": BEFORE_TIME},
            "valid_from",
        ),
        ("POST", "{acme}/licences", LICENCE | {"sku": "gold"}, "sku"),
        ("POST", "{acme}/licences", LICENCE | {"forced_because": ""}, "forced_because"),
        ("POST", "{acme}/licences", LICENCE | {"forced_because": " "}, "forced_because"),
        ("POST", "{acme}/purchases", {"quantity": True}, "quantity"),
        ("POST", "{acme}/credits", {"grant_id": str(UUID(int=1)), "amount": 12.5}, "amount"),
        ("POST", "{acme}/credits", {"grant_id": str(UUID(int=1)), "amount": "-1"}, "amount"),
        ("POST", "{acme}/credits", {"grant_id": "1", "amount": "1"}, "grant_id"),
        ("PUT", "{acme}/meetings", {"conference_id": "a/b"}, "conference_id"),
        ("DELETE", "{acme}/meetings/a%00b", None, "conference_id"),
        ("PUT", "{acme}/meetings", {"conference_id": "a", "organizer_id": "a b"}, "organizer_id"),
        ("GET", "/v1/admin/callees/442079460123", None, "number"),
        ("DELETE", "/v1/admin/callees/+0442079460123", None, "number"),
        ("PUT", "{acme}/prefixes", {"prefix": "+44"}, "prefix"),
        ("DELETE", "{acme}/prefixes/0", None, "prefix"),
        ("GET", "{acme}/audit?since=soon", None, "since"),
        ("POST", "{acme}/callers/import", None, "noun"),
        ("PUT", "/v1/admin/rate-decks/%00?currency=USD", None, "name"),
    ],
)
async def test_bad_input_is_named(
    admin: httpx.AsyncClient, acme: str, method: str, path: str, body: Any, field: str
) -> None:
    """422 and the field that is wrong, before the database hears of it."""
    response = await admin.request(method, path.format(acme=acme), json=body)

    assert response.status_code == 422, response.text
    assert field in [fault["loc"][-1] for fault in response.json()["detail"]]


@pytest.mark.parametrize(
    ("at", "status"),
    [
        ("2026-01-01T00:00:00", 200),
        ("9999-12-31T23:59:59-12:00", 422),
        ("0001-01-01T00:00:00+12:00", 422),
        (1, 422),
    ],
)
async def test_a_question_means_the_same_time_as_everywhere(
    api: FastAPI, acme: str, at: Any, status: int
) -> None:
    """Without an offset it is UTC, as in a sheet; beyond all time there is no answer."""
    question = {"tenant_id": acme.rsplit("/", 1)[-1], "organizer_id": "a", "number": "1", "at": at}

    async with client(api, CALLS_TOKEN) as caller:
        response = await caller.post("/v1/explanations", json=question)

    assert response.status_code == status, response.text
    if status == 200:
        assert response.json()["explanation"]["at"].startswith("2026-01-01T00:00:00")


async def test_only_the_own_token_opens_it(api: FastAPI, acme: str) -> None:
    """Every route, and also with the calls' token; and with this one nobody may call."""
    document = api.openapi()
    routes = [
        (method, path.replace("{tenant_id}", str(uuid4())).replace("{noun}", "organizers"))
        for path, methods in document["paths"].items()
        if path.startswith("/v1/admin")
        for method in methods
    ]

    assert len(routes) > 25
    for token in (None, "", CALLS_TOKEN, ADMIN_TOKEN[:-1], ADMIN_TOKEN + "x"):
        async with client(api, token) as stranger:
            for method, path in routes:
                response = await stranger.request(method, path, json={})
                assert response.status_code == 401, (method, path, token)
    async with client(api, ADMIN_TOKEN) as provisioner:
        assert (await provisioner.get(f"/v1/dial-outs/{uuid4()}")).status_code == 401


async def test_without_a_token_of_its_own_there_is_nothing(gateway_pool: db.Pool) -> None:
    """A gateway that nobody provisions over HTTP answers as to any unknown path."""
    with api_of(gateway_pool, None) as app:
        async with client(app, CALLS_TOKEN) as anybody:
            admin = await anybody.get("/v1/admin/tenants")
            other = await anybody.get("/v1/nothing")

    assert (admin.status_code, admin.json()) == (other.status_code, other.json())
    assert admin.status_code == 404


async def test_who_and_why_are_recorded(admin: httpx.AsyncClient, acme: str) -> None:
    """Every change says who made it, as its headers name them; without, it says that it was we."""
    headers = {"Dialout-Actor": "ann@example.com", "Dialout-Because": "moved"}

    await admin.put(f"{acme}/organizers", json=organizer("alice", region="US"), headers=headers)

    newest, oldest = await items(admin, f"{acme}/audit", limit=2)
    assert (newest["actor"], newest["because"]) == ("ann@example.com", "moved")
    assert (newest["before"]["region"], newest["after"]["region"]) == ("GB", "US")
    assert (oldest["actor"], oldest["because"]) == ("api", None)
    for wrong in ({"Dialout-Actor": "a b"}, {"Dialout-Because": "x" * 257}):
        response = await admin.patch(acme, json={"suspended": True}, headers=wrong)
        assert response.status_code == 422
    assert (await admin.get(acme)).json()["suspended"] is False


async def test_a_revision_leaves_the_rest(admin: httpx.AsyncClient, acme: str) -> None:
    """To suspend takes no deck away, a deck lifts no suspension, one choice changes no other."""
    deck = "prefix,price,initial_increment,increment\n44,1,1,1\n"
    for name in ("old", "new"):
        await admin.put(f"/v1/admin/rate-decks/{name}?currency=USD", content=deck, headers=CSV)
    await admin.patch(f"{acme}/policy", json={"toll_free": "allow"})
    before = (await admin.get(f"{acme}/policy")).json()

    await admin.patch(acme, json={"rate_deck": "old"})
    await admin.patch(acme, json={"suspended": True})
    suspended = (await admin.get(acme)).json()
    await admin.patch(acme, json={"rate_deck": "new"})
    priced = (await admin.get(acme)).json()
    await admin.patch(f"{acme}/policy", json={"premium": "credits"})

    assert (suspended["suspended"], suspended["rate_deck"]) == (True, "old")
    assert (priced["suspended"], priced["rate_deck"]) == (True, "new")
    assert (await admin.get(f"{acme}/policy")).json() == {**before, "premium": "credits"}


async def test_no_revision_undoes_another(admin: httpx.AsyncClient, acme: str) -> None:
    """Many at once, each of its own part: all of them hold, a suspension above all."""
    tenant, policy = acme, f"{acme}/policy"
    sheet = "prefix,price,initial_increment,increment\n44,0.012,60,60\n"
    await admin.put(
        "/v1/admin/rate-decks/retail",
        params={"currency": "USD"},
        content=sheet,
        headers={"Content-Type": "text/csv"},
    )
    parts = {
        "premium": "credits",
        "toll_free": "allow",
        "unallocated": "credits",
        "pool_basis": "purchased",
        "on_exhaustion": "finish",
    }

    answers = await asyncio.gather(
        admin.patch(tenant, json={"suspended": True}),
        *(admin.patch(policy, json={name: value}) for name, value in parts.items()),
        *(admin.patch(tenant, json={"rate_deck": "retail"}) for _ in range(5)),
    )

    assert {answer.status_code for answer in answers} == {200}
    assert (await admin.get(tenant)).json()["suspended"] is True
    chosen = (await admin.get(policy)).json()
    assert {name: chosen[name] for name in parts} == parts


async def test_pages_together_are_the_whole(admin: httpx.AsyncClient, acme: str) -> None:
    """Each item comes once, whichever the order of the list, and the last page says so."""
    names = [f"user{n}" for n in range(7)]
    sheet = ORGANIZERS + "".join(f"{name},,GB,any\n" for name in names)
    await admin.post(f"{acme}/organizers/import", content=sheet, headers=CSV)
    for name in names:
        await admin.post(f"{acme}/licences", json=LICENCE | {"organizer_id": name})

    for path, total in ((f"{acme}/organizers", 8), (f"{acme}/licences", 7), (f"{acme}/audit", 19)):
        listed, after = [], None
        while True:
            query = {"limit": 3} | ({"after": after} if after else {})
            page = (await admin.get(path, params=query)).json()
            listed += page["items"]
            after = page["after"]
            if after is None:
                break
        assert len(listed) == total
        assert len({str(each) for each in listed}) == total


async def test_a_faulty_sheet_loads_nothing(admin: httpx.AsyncClient, acme: str) -> None:
    """422, every fault by line and column; no good line is loaded."""
    sheet = ORGANIZERS + "bob,B,GB,any\nc d,,gb,any\n"

    response = await admin.post(f"{acme}/organizers/import", content=sheet, headers=CSV)

    body = response.json()
    assert (response.status_code, body["reason"], body["more"]) == (422, "sheet_faulty", 0)
    assert [(fault["line"], fault["column"]) for fault in body["faults"]] == [
        (3, "organizer_id"),
        (3, "region"),
    ]
    assert [each["organizer_id"] for each in await items(admin, f"{acme}/organizers")] == ["alice"]
    good = ORGANIZERS + "alice,,GB,any\nbob,B,GB,any\n"
    loaded = await admin.post(f"{acme}/organizers/import", content=good, headers=CSV)
    assert loaded.json() == {"loaded": 1, "unchanged": 1}


async def test_a_refused_line_takes_the_others_back(admin: httpx.AsyncClient, acme: str) -> None:
    """What only the database knows is named by line, too, and nothing of the sheet stays."""
    sheet = "organizer_id,sku,valid_from,channel,segment\n" + "".join(
        f"{name},audio_conferencing,2026-01-01,ea,commercial\n" for name in ("alice", "bob")
    )

    response = await admin.post(f"{acme}/licences/import", content=sheet, headers=CSV)

    assert [fault["line"] for fault in response.json()["faults"]] == [3]
    assert await items(admin, f"{acme}/licences") == []
    prefixes = "prefix,effect\n44,block\n45,exempt\n"
    refused = await admin.post("/v1/admin/prefixes/import", content=prefixes, headers=CSV)
    assert [fault["line"] for fault in refused.json()["faults"]] == [3]


async def test_sheets_may_be_long_and_nothing_else_may(
    admin: httpx.AsyncClient, api: FastAPI, acme: str
) -> None:
    """16 MiB for a sheet, once the token was seen; 16 KiB for all other bodies."""
    path = f"{acme}/organizers/import"
    long_sheet = ORGANIZERS + "".join(f"user{n},{'x' * 200},GB,any\n" for n in range(200))
    too_long = b"x" * (SHEET_BYTES_MAX + 1)

    assert (await admin.post(path, content=long_sheet, headers=CSV)).json()["loaded"] == 200
    assert (await admin.post(path, content=too_long, headers=CSV)).status_code == 413
    assert (await admin.post(path, content=long_sheet)).status_code == 415
    body = organizer("bob", display_name="x" * 20_000)
    assert (await admin.put(f"{acme}/organizers", json=body)).status_code == 413
    async with client(api, CALLS_TOKEN) as stranger:
        assert (await stranger.post(path, content=too_long, headers=CSV)).status_code == 401
        assert (await stranger.post("/v1/dial-outs", content=long_sheet)).status_code == 413


async def test_strangers_do_not_shut_the_api(api: FastAPI, admin: httpx.AsyncClient) -> None:
    """As many as there are places, who send half a body each: 401 to all, and nobody waits."""

    async def stalled() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async with client(api, None) as stranger, asyncio.timeout(30):
        asking = [stranger.post("/v1/dial-outs", content=stalled()) for _ in range(REQUESTS_MAX)]
        refused = await asyncio.gather(*asking)

        assert {answer.status_code for answer in refused} == {401}
        assert (await admin.get("/v1/admin/tenants")).status_code == 200


async def test_a_ledger_that_is_away_is_503(gateway_pool: db.Pool) -> None:
    """The same answer as for calls; a program asks again."""
    nowhere = AdminSettings.model_validate({"dsn": "postgresql:///absent?host=/nowhere"})
    async with db.pool(nowhere.database()) as pool:
        administration = Administration(
            provisioning=Provisioning(pool, call_seconds_max=1.0),
            reports=Reports(pool, call_seconds_max=1.0),
            token=ADMIN_TOKEN,
        )
        with api_of(gateway_pool, administration) as app:
            async with client(app, ADMIN_TOKEN) as admin:
                responses = [
                    await admin.get("/v1/admin/tenants"),
                    await admin.put(f"{UNKNOWN}/organizers", json=organizer("a")),
                    await admin.post(f"{UNKNOWN}/organizers/import", content="", headers=CSV),
                ]

    assert [response.status_code for response in responses] == [503] * 3
    assert responses[0].json()["reason"] == "ledger_unavailable"
    assert "Retry-After" in responses[0].headers


async def test_calls_do_not_wait_for_provisioning(
    admin: httpx.AsyncClient, acme: str, owner: db.Connection, gateway_pool: db.Pool
) -> None:
    """With every connection of provisioning stuck, the calls' own still answer at once."""
    ledger = Ledger(gateway_pool, call_seconds_max=5.0)
    async with owner.transaction():
        await owner.execute("SELECT FROM dialout.tenant FOR UPDATE")
        stuck = [
            asyncio.create_task(admin.patch(acme, json={"suspended": bool(n % 2)}))
            for n in range(8)
        ]
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        async with asyncio.timeout(10):
            while await owner.fetchval(waiting) < 2:
                await asyncio.sleep(0.01)

        await ledger.ping()

        assert not any(task.done() for task in stuck)
    answers = await asyncio.gather(*stuck)
    assert {answer.status_code for answer in answers} == {200}


async def test_the_description_names_every_answer(api: FastAPI) -> None:
    """Clients are generated from the OpenAPI document, the refusals included."""
    document = api.openapi()

    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path.startswith("/v1/admin"):
                conflict = set() if method == "get" else {"409"}
                absent = {"404"} if "{" in path else set()
                answers = {"401", "422", "503"} | conflict | absent
                assert answers <= set(operation["responses"]), path
                assert operation["description"]
    organizer_body = document["components"]["schemas"]["OrganizerForm"]
    assert set(organizer_body["required"]) == {"organizer_id", "region", "dial_out_permission"}


async def test_a_deck_is_put_and_looked_into(admin: httpx.AsyncClient) -> None:
    """With a start, hours and a time zone; what is at odds with the numbering plans is told."""
    at = "/v1/admin/rate-decks/night"
    head = "prefix,price,initial_increment,increment,regions,days,from,to\n"
    sheet = head + "44,0.02,60,60,,,,\n44,0.01,60,60,,mon-fri,20:00,24:00\n1876,1,1,1,US,,,\n"
    start = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    params = {"currency": "USD", "time_zone": "Europe/London"}

    put = await admin.put(at, params=params, content=sheet, headers=CSV)
    ahead = await admin.put(
        at, params=params | {"starts_at": start}, content=head + "44,1,1,1,,,,\n", headers=CSV
    )
    faulty = await admin.put(at, params=params, content=head + "44,1,1,1,,mon,,\n", headers=CSV)

    assert (put.status_code, put.json()["prefixes"], put.json()["more_clashes"]) == (201, 3, 0)
    assert put.json()["clashes"] == [
        {"line": 4, "prefix": "1876", "name": None, "named": ["US"], "reached": ["JM"]}
    ]
    assert (ahead.status_code, ahead.json()["outcome"]) == (201, "scheduled")
    assert [fault["line"] for fault in faulty.json()["faults"]] == [2]
    found = await items(admin, f"{at}/rates", prefix="44", limit=1)
    assert [(each["slot"], each["hours"]) for each in found] == [(0, None)]
    page = (await admin.get(f"{at}/rates", params={"limit": 2})).json()
    rest = (await admin.get(f"{at}/rates", params={"after": page["after"]})).json()
    prefixes = [each["prefix"] for each in (*page["items"], *rest["items"])]
    assert (prefixes, rest["after"]) == (["1876", "44", "44"], None)
    assert rest["items"][0]["hours"] == "mon-fri 20:00-24:00"
    later = (await admin.get(f"{at}/rates", params={"at": start})).json()["items"]
    assert [each["price_micros"] for each in later] == [1_000_000]
    assert (await admin.get("/v1/admin/rate-decks/absent/rates")).status_code == 404
    assert (await admin.get(f"{at}/rates?after=x")).json()["reason"] == "invalid_after"
