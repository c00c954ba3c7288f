"""Events and recharges as a payment system and an operator have them: over HTTP, by command."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.admin.conftest import Commands

ACME = ("--tenant", "Acme")
TERMS = {"amount": "50", "trigger": "10"}


@pytest.fixture
async def acme(admin: httpx.AsyncClient) -> str:
    """Where a tenant is."""
    made = await admin.post(
        "/v1/admin/tenants", json={"name": "Acme", "time_zone": "UTC", "currency": "USD"}
    )
    return str(made.headers["Location"])


@pytest.fixture
def tenant_id(commands: Commands) -> str:
    """A tenant of the name that ``ACME`` says."""
    made = commands.done("tenant", "create", "Acme", "--time-zone", "UTC", "--currency", "USD")
    return str(made["tenant_id"])


async def items(admin: httpx.AsyncClient, path: str, **query: Any) -> list[dict[str, Any]]:
    """Return a list."""
    response = await admin.get(path, params=query)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["items"]
    return found


class TestOverHttp:
    """What a payment system does that reads the events instead of being told of them."""

    async def test_a_recharge_is_read_and_answered(
        self, admin: httpx.AsyncClient, acme: str
    ) -> None:
        """It asks after the last number, takes the money, adds it under the recharge's id."""
        put = await admin.put(f"{acme}/auto-recharge", json=TERMS)
        [due] = await items(admin, "/v1/admin/events")
        recharge_id = due["data"]["recharge_id"]

        paid = [
            await admin.post(f"{acme}/credits", json={"grant_id": recharge_id, "amount": "50"})
            for _ in range(2)
        ]

        assert (put.status_code, due["kind"]) == (201, "credits.recharge_due")
        assert due["data"]["amount_micros"] == 50_000_000
        assert [each.status_code for each in paid] == [201, 200]
        [told] = await items(admin, "/v1/admin/events", after=due["number"])
        assert told["kind"] == "credits.recharged"
        [recharge] = await items(admin, f"{acme}/recharges")
        assert (recharge["recharge_id"], recharge["state"]) == (recharge_id, "recharged")
        assert await items(admin, f"{acme}/events", after=told["number"]) == []

    async def test_a_failure_is_reported(self, admin: httpx.AsyncClient, acme: str) -> None:
        """With its reason; again is harmless; and what was paid has not failed."""
        await admin.put(f"{acme}/auto-recharge", json=TERMS)
        [recharge] = await items(admin, f"{acme}/recharges")
        at = f"{acme}/recharges/{recharge['recharge_id']}/failed"

        outcomes = [
            (await admin.post(at, json={"reason": "card expired"})).json()["outcome"]
            for _ in range(2)
        ]
        await admin.post(
            f"{acme}/credits", json={"grant_id": recharge["recharge_id"], "amount": "50"}
        )
        late = await admin.post(at, json={"reason": "card expired"})

        assert outcomes == ["failed", "exists"]
        assert (late.status_code, late.json()["reason"]) == (409, "already_recharged")

    async def test_terms_are_set_shown_and_removed(
        self, admin: httpx.AsyncClient, acme: str
    ) -> None:
        """201 for what is new, 200 for what changed or was so, 404 once it is off."""
        path = f"{acme}/auto-recharge"
        statuses = [
            (await admin.put(path, json=body)).status_code
            for body in (TERMS, TERMS, TERMS | {"backoff_seconds": 600})
        ]
        shown = (await admin.get(path)).json()
        removed = [(await admin.delete(path)).status_code for _ in range(2)]

        assert statuses == [201, 200, 200]
        assert (shown["trigger_micros"], shown["backoff_seconds"]) == (10_000_000, 600)
        assert removed == [200, 404]
        assert (await admin.get(path)).json()["reason"] == "absent"

    async def test_an_event_is_tried_again(self, admin: httpx.AsyncClient, acme: str) -> None:
        """What waits may be sent at once; what is not there is said to be absent."""
        await admin.put(f"{acme}/auto-recharge", json=TERMS)
        [due] = await items(admin, "/v1/admin/events", state="pending")

        retried = await admin.post(f"/v1/admin/events/{due['event_id']}/retry")
        unknown = await admin.post(f"/v1/admin/events/{uuid4()}/retry")

        assert (retried.status_code, retried.json()["outcome"]) == (200, "due")
        assert (unknown.status_code, unknown.json()["reason"]) == (404, "unknown_event")

    async def test_states_narrow_the_list(self, admin: httpx.AsyncClient, acme: str) -> None:
        """Whoever looks for trouble lists what is failing, and finds nothing here."""
        await admin.put(f"{acme}/auto-recharge", json=TERMS)

        assert await items(admin, "/v1/admin/events", state=["failing", "delivered"]) == []
        assert len(await items(admin, "/v1/admin/events", state=["pending", "failing"])) == 1

    @pytest.mark.parametrize(
        ("method", "path", "body", "status"),
        [
            ("PUT", "{acme}/auto-recharge", TERMS | {"amount": "0"}, 422),
            ("PUT", "{acme}/auto-recharge", TERMS | {"trigger": 10}, 422),
            ("PUT", "{acme}/auto-recharge", TERMS | {"backoff_seconds": 59}, 422),
            ("PUT", "{acme}/auto-recharge", TERMS | {"more": "1"}, 422),
            ("POST", "{acme}/recharges/{id}/failed", {"reason": ""}, 422),
            ("POST", "{acme}/recharges/{id}/failed", {"reason": "x" * 257}, 422),
            ("POST", "{acme}/recharges/{id}/failed", {"reason": "none"}, 404),
            ("GET", "/v1/admin/events?after=-1", None, 422),
            ("GET", "/v1/admin/events?after=9223372036854775808", None, 422),
            ("GET", "/v1/admin/events?after=9223372036854775807", None, 200),
            ("GET", "/v1/admin/events?state=lost", None, 422),
            ("GET", "/v1/admin/tenants/{id}/events", None, 404),
            ("GET", "/v1/admin/tenants/{id}/recharges", None, 404),
            ("GET", "/v1/admin/tenants/{id}/auto-recharge", None, 404),
            ("PUT", "/v1/admin/tenants/{id}/auto-recharge", TERMS, 404),
            ("DELETE", "/v1/admin/tenants/{id}/auto-recharge", None, 404),
        ],
    )
    async def test_what_cannot_be_is_refused(
        self, admin: httpx.AsyncClient, acme: str, method: str, path: str, body: Any, status: int
    ) -> None:
        """Never a 500, whatever is sent."""
        response = await admin.request(method, path.format(acme=acme, id=UUID(int=1)), json=body)

        assert response.status_code == status, response.text


class TestByCommand:
    """What an operator types."""

    def test_credits_are_recharged(self, commands: Commands, tenant_id: str) -> None:
        """Set, shown, answered with a failure, and off."""
        on = ("credits", "recharge", *ACME, "--amount", "50", "--trigger", "10")
        assert commands.done(*on)["outcome"] == "put"
        assert commands.done(*on)["outcome"] == "unchanged"
        [shown] = commands.done("credits", "recharge", *ACME)
        [recharge] = commands.done("credits", "recharges", *ACME)
        failed = ("credits", "recharge-failed", recharge["recharge_id"], *ACME, "--reason", "no")

        assert (shown["tenant_id"], shown["amount_micros"]) == (tenant_id, 50_000_000)
        assert commands.done(*failed)["outcome"] == "failed"
        assert commands.done("credits", "recharge", *ACME, "--off")["outcome"] == "removed"
        assert commands.refused("credits", "recharge", *ACME, "--off") == "absent"
        assert commands.refused("credits", "recharge", *ACME) == "absent"

    @pytest.mark.parametrize(
        "options",
        [("--amount", "5"), ("--trigger", "5"), ("--off", "--amount", "5"), ("--amount", "x")],
    )
    def test_half_of_the_terms_are_none(
        self, commands: Commands, tenant_id: str, options: tuple[str, ...]
    ) -> None:
        """Nothing is guessed where somebody's card is charged."""
        assert commands.fault("credits", "recharge", *ACME, *options)
        assert commands.refused("credits", "recharge", *ACME) == "absent"

    @pytest.mark.usefixtures("tenant_id")
    def test_events_are_listed_and_tried_again(self, commands: Commands) -> None:
        """Page by page, of a tenant or of all, and sent at once on demand."""
        commands.done("credits", "recharge", *ACME, "--amount", "50", "--trigger", "10")
        [event] = commands.done("outbox", "list")

        assert commands.done("outbox", "list", *ACME) == [event]
        assert commands.done("outbox", "list", "--state", "failing") == []
        assert commands.done("outbox", "list", "--after", str(event["number"])) == []
        assert "credits.recharge_due" in commands.run("outbox", "list").output
        assert commands.done("outbox", "retry", event["event_id"])["outcome"] == "due"
        assert commands.done("outbox", "retry", "--all")["outcome"] == "due"
        assert commands.refused("outbox", "retry", str(uuid4())) == "unknown_event"
        assert "Say which event" in commands.fault("outbox", "retry")
