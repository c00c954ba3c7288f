"""Events on their way out: signed, at least once, patient, and never in the way of a call."""

import asyncio
import json
from collections import Counter, deque
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from structlog.testing import capture_logs

from gateway import db
from gateway.core.event import EventKind
from gateway.core.facts import SourceKind
from gateway.ledger import DeliveryState, Outbox
from gateway.outbox import AT_ONCE_MAX, Courier, Receiver
from tests.ledger.conftest import settings
from tests.ledger.world import ACTOR, POOL
from tests.outbox import receiver as answers
from tests.outbox.conftest import SECRET, Office
from tests.outbox.receiver import Listener

OLD_SECRET = "whsec_c2VjcmV0LW9mLXRoZS10ZXN0cy0tb2xkLS0t"


async def test_an_event_is_delivered_as_standard_webhooks_say(office: Office) -> None:
    """Any library of that standard can verify it, and the body says what has happened."""
    assert await office.courier().deliver_due() == 2

    request, _ = office.listener.requests
    told = Webhook(SECRET).verify(request.body, request.headers)
    first, second = await office.events()
    assert request.line == "POST /hooks/dialout HTTP/1.1"
    assert request.headers["content-type"] == "application/json"
    assert Counter(office.listener.event_ids) == {str(first.event_id): 1, str(second.event_id): 1}
    assert set(told) == {"type", "timestamp", "data"}
    assert told["data"]["tenant_id"] == str(office.world.tenant_id)
    assert datetime.fromisoformat(told["timestamp"]) == first.at
    assert {json.loads(each.body)["type"] for each in office.listener.requests} == {
        EventKind.POOL_USED_80,
        EventKind.POOL_USED_100,
    }
    assert await office.states() == [DeliveryState.DELIVERED] * 2
    assert await office.courier().deliver_due() == 0


async def test_a_changed_body_is_found_out(office: Office) -> None:
    """The signature is of the body, the id and the time: none of them can be exchanged."""
    await office.courier().deliver_due()
    request, _ = office.listener.requests

    for headers, body in (
        (request.headers, request.body.replace(b"3600", b"9999")),
        (request.headers | {"webhook-id": "another"}, request.body),
        (
            request.headers
            | {"webhook-timestamp": str(int(request.headers["webhook-timestamp"]) + 1)},
            request.body,
        ),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(body, headers)


async def test_both_secrets_sign_while_one_is_replaced(office: Office) -> None:
    """A receiver that knows only the old one, or only the new one, misses nothing."""
    await office.courier(office.receiver(secrets=(SECRET, OLD_SECRET))).deliver_due()

    for request in office.listener.requests:
        for secret in (SECRET, OLD_SECRET):
            Webhook(secret).verify(request.body, request.headers)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (answers.FAULTY, "status 500"),
        (b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", "status 302"),
        (b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", "status 410"),
        (answers.GARBAGE, "RemoteProtocolError"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", "RemoteProtocolError"),
        (answers.SILENT, "timeout"),
        (answers.DRIPPING, "timeout"),
    ],
    ids=["500", "redirect", "gone", "garbage", "huge header", "silent", "dripping"],
)
async def test_what_is_not_taken_in_is_sent_again(
    office: Office, answer: bytes, fault: str
) -> None:
    """Under the same id, with the same body, after a wait; and no redirect is followed."""
    office.listener.answers = deque([answer, answer])
    timeout_seconds = 3.0 if fault == "timeout" else 10.0
    with capture_logs() as logs:
        await office.courier(office.receiver(timeout_seconds=timeout_seconds)).deliver_due()

    assert [event.fault for event in await office.events()] == [fault] * 2
    assert await office.states() == [DeliveryState.PENDING] * 2
    assert [log["event"] for log in logs] == ["webhook.failed"] * 2
    assert await office.courier().deliver_due() == 0
    office.clock.passes(seconds=5)
    assert await office.courier().deliver_due() == 2

    assert Counter(Counter(office.listener.event_ids).values()) == {2: 2}
    assert len({request.body for request in office.listener.requests}) == 2
    assert await office.states() == [DeliveryState.DELIVERED] * 2
    assert {event.fault for event in await office.events()} == {None}


async def test_a_body_without_end_is_not_read(office: Office) -> None:
    """The status says all: what a receiver sends after it fills no memory and holds nobody."""
    office.listener.answers = deque([answers.ENDLESS, answers.ENDLESS])

    async with asyncio.timeout(30):
        await office.courier().deliver_due()

    assert await office.states() == [DeliveryState.DELIVERED] * 2


async def test_a_receiver_that_is_down_is_found_when_it_is_back(office: Office) -> None:
    """Nobody listens, the gateway is replaced meanwhile, and then somebody does."""
    async with Listener() as gone:
        url = gone.url
    for attempt in range(1, 4):
        assert await office.courier(office.receiver(url=url)).deliver_due() == 2
        assert {event.attempts for event in await office.events()} == {attempt}
        office.clock.passes(seconds=5 * 2 ** (attempt - 1))
    assert {event.fault for event in await office.events()} == {"ConnectError"}

    assert await office.courier().deliver_due() == 2

    assert await office.states() == [DeliveryState.DELIVERED] * 2


async def test_the_waits_grow(office: Office) -> None:
    """Each is between half of and all of what its attempt says."""
    office.listener.answers = deque([answers.FAULTY] * 20)

    for longest in (5, 10, 20, 40):
        started = office.clock.at
        await office.courier().deliver_due()
        waits = [event.next_at - started for event in await office.events() if event.next_at]
        assert len(waits) == 2
        assert all(longest / 2 <= wait.total_seconds() <= longest for wait in waits)
        office.clock.passes(seconds=longest)


async def test_what_fails_for_days_is_marked_and_goes_on(office: Office) -> None:
    """Nothing is given up: it is listed, told as an error, and delivered in the end."""
    office.listener.answers = deque([answers.FAULTY] * 4)
    await office.courier().deliver_due()
    office.clock.passes(days=3)
    with capture_logs() as logs:
        await office.courier().deliver_due()

    failing = await office.world.provisioning.events(states=[DeliveryState.FAILING])
    assert len(failing) == 2
    assert {log["log_level"] for log in logs} == {"error"}
    office.clock.passes(hours=6)
    await office.courier().deliver_due()
    assert await office.states() == [DeliveryState.DELIVERED] * 2


async def test_somebody_may_have_it_tried_at_once(office: Office) -> None:
    """The receiver is mended: nobody waits for the next attempt of tonight."""
    office.listener.answers = deque([answers.FAULTY] * 2)
    await office.courier().deliver_due()

    async with office.world.provisioning.change(actor=ACTOR) as change:
        await change.outbox_retry(None, office.clock.at)

    assert await office.courier().deliver_due() == 2
    assert await office.states() == [DeliveryState.DELIVERED] * 2


async def test_a_gateway_that_dies_on_the_way_has_it_sent_again(office: Office) -> None:
    """Killed between the request and the report, it leaves an event that is due again."""
    office.listener.answers = deque([answers.SILENT, answers.SILENT])
    delivering = asyncio.create_task(office.courier().deliver_due())
    while len(office.listener.requests) < 2:
        await asyncio.sleep(0)
    delivering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivering

    assert await office.courier().deliver_due() == 0
    office.clock.passes(seconds=41)
    assert await office.courier().deliver_due() == 2

    assert Counter(Counter(office.listener.event_ids).values()) == {2: 2}
    assert await office.states() == [DeliveryState.DELIVERED] * 2


async def test_a_late_report_undoes_nothing(office: Office) -> None:
    """A gateway that hung wakes up and reports a failure; another one has delivered it."""
    outbox = office.outbox
    now = office.clock.at
    slow = await outbox.claim(limit=2, until=now, at=now)
    assert await office.courier().deliver_due() == 2

    for event in slow:
        for attempt in (1, 2):
            reported = replace(event, attempt=attempt)
            assert not await outbox.failed(reported, fault="late", next_at=now, at=now)
        await outbox.delivered(event, now + timedelta(days=1))

    assert await office.courier().deliver_due() == 0
    assert {event.fault for event in await office.events()} == {None}
    assert {event.delivered_at for event in await office.events()} == {now}


async def test_a_report_of_an_attempt_before_changes_no_later_one(office: Office) -> None:
    """Else the event would be due again while the later attempt is still being made."""
    outbox = office.outbox
    now = office.clock.at
    slow = await outbox.claim(limit=2, until=now, at=now)
    await outbox.claim(limit=2, until=now + timedelta(hours=1), at=now)

    for event in slow:
        await outbox.failed(event, fault="late", next_at=now, at=now)

    assert await outbox.claim(limit=2, until=now, at=now) == ()


async def test_several_gateways_share_the_work(office: Office) -> None:
    """Ten couriers at once over forty events: each event is sent once."""
    for _ in range(19):
        elsewhere = await office.world.elsewhere()
        await elsewhere.add_licence()
        await elsewhere.settle(await elsewhere.released(POOL, seconds=3600), 3_600_000)

    async def work() -> None:
        while await office.courier().deliver_due():
            pass

    await asyncio.gather(*(work() for _ in range(10)))

    assert len(office.listener.requests) == 40
    assert set(Counter(office.listener.event_ids).values()) == {1}
    assert set(await office.states()) == {DeliveryState.DELIVERED}


async def test_only_a_few_are_under_way_at_once(office: Office) -> None:
    """A receiver that is slow holds a handful of sockets, and no connection of the database."""
    for _ in range(3):
        elsewhere = await office.world.elsewhere()
        await elsewhere.add_licence()
        await elsewhere.settle(await elsewhere.released(POOL, seconds=3600), 3_600_000)
    office.listener.answers = deque([answers.SILENT] * 8)

    assert await office.courier(office.receiver(timeout_seconds=2.0)).deliver_due() == AT_ONCE_MAX

    assert len(office.listener.requests) == AT_ONCE_MAX


async def test_without_a_receiver_events_wait(office: Office) -> None:
    """They are read page by page; and when a receiver is set, it hears of all of them."""
    nobody = Courier(outbox=office.outbox, client=office.client, receiver=None, now=office.clock)

    assert await nobody.deliver_due() == 0

    assert await office.states() == [DeliveryState.PENDING] * 2
    assert await office.courier().deliver_due() == 2


async def test_it_does_not_end_while_the_ledger_is_away(office: Office, dsn: str) -> None:
    """A task that ended would take the gateway with it, and calls that are up with that."""
    async with db.pool(settings(dsn)) as shut:
        await shut.close()
        away = Courier(
            outbox=Outbox(shut, call_seconds_max=20.0),
            client=office.client,
            receiver=None,
            now=office.clock,
        )
        with capture_logs() as logs:
            running = asyncio.create_task(away.run())
            while not logs:
                await asyncio.sleep(0)
        assert not running.done()
        running.cancel()

    assert {log["event"] for log in logs} == {"ledger.unavailable"}


async def test_a_fault_of_one_attempt_is_its_own(office: Office) -> None:
    """Not even an address that the client cannot read ends the gateway, and no text is kept."""
    wrong = ("https://xn--n3h.invalid/token", "https://a.invalid/" + "x" * 70_000)
    for url, fault in zip(wrong, ("InvalidCodepoint", "InvalidURL"), strict=True):
        assert await office.courier(office.receiver(url=url)).deliver_due() == 2
        assert {event.fault for event in await office.events()} == {fault}
        office.clock.passes(seconds=10)

    assert await office.courier().deliver_due() == 2
    assert await office.states() == [DeliveryState.DELIVERED] * 2


async def test_a_sweep_that_fails_stops_no_delivery(office: Office, owner: db.Connection) -> None:
    """It is tried again after a while, and not at once: what is due goes out meanwhile."""
    await owner.execute("DROP FUNCTION dialout.outbox_sweep")
    with capture_logs() as logs:
        running = asyncio.create_task(office.courier().run())
        async with asyncio.timeout(20):
            while await office.states() != [DeliveryState.DELIVERED] * 2:
                pass
        running.cancel()

    assert len([log for log in logs if log["event"] == "ledger.unavailable"]) == 1


async def test_no_fault_ends_it(office: Office) -> None:
    """What nobody has thought of is logged, and the courier goes on: calls depend on that."""

    def broken() -> datetime:
        raise RuntimeError("no time")

    courier = Courier(
        outbox=office.outbox, client=office.client, receiver=office.receiver(), now=broken
    )
    with capture_logs() as logs:
        running = asyncio.create_task(courier.run())
        while len(logs) < 2 and not running.done():
            await asyncio.sleep(0)
        assert not running.done()
        running.cancel()

    assert [log["event"] for log in logs] == ["courier.failed"] * 2


async def test_no_cookie_is_taken(office: Office) -> None:
    """A receiver must not be able to mark a gateway, nor to have it say something again."""
    with_cookie = answers.NO_CONTENT.replace(b"\r\n", b"\r\nSet-Cookie: a=b; Path=/\r\n", 1)
    office.listener.answers = deque([with_cookie.replace(b"204 No Content", b"500 Oops")] * 2)
    await office.courier().deliver_due()
    office.clock.passes(seconds=5)
    await office.courier().deliver_due()

    assert len(office.listener.requests) == 4
    assert all("cookie" not in request.headers for request in office.listener.requests)


async def test_it_runs_by_itself(office: Office) -> None:
    """As the gateway runs it: what is due is delivered, what time brings about is written."""
    await office.world.add_credits(17_000)
    office.clock.at = datetime(2027, 3, 1, tzinfo=UTC)
    running = asyncio.create_task(office.courier().run())
    async with asyncio.timeout(20):
        while await office.states() != [DeliveryState.DELIVERED] * 3:
            pass
    running.cancel()

    assert [event.kind for event in await office.events()][2] == EventKind.CREDITS_EXPIRING
    assert (await office.world.balance(SourceKind.CREDITS)).free == 17_000


async def test_no_secret_is_in_a_log_or_a_name(office: Office) -> None:
    """Neither what signs nor where it goes: an address may hold a token."""
    office.listener.answers = deque([answers.FAULTY, answers.NO_CONTENT])
    url = office.listener.url + "/token-in-the-path"
    receiver = Receiver(url=url, signers=(Webhook(SECRET),), timeout_seconds=10.0)
    with capture_logs() as logs:
        await office.courier(receiver).deliver_due()

    assert Counter(log["event"] for log in logs) == {"webhook.failed": 1, "webhook.delivered": 1}
    for text in (repr(logs), repr(receiver), repr(await office.events())):
        assert "token-in-the-path" not in text
        assert SECRET.removeprefix("whsec_") not in text
