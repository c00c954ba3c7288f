"""Tells others what has happened: signed webhooks, until each event has been taken in.

The format is that of Standard Webhooks. An event is delivered at least once, always under the
same id; nothing is given up, and what is left to do survives a restart, because it stands in
the database. Other gateways may do the same at the same time.
"""

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final, Self

import httpx
import structlog
from standardwebhooks import Webhook

from gateway.core.event import retry_seconds
from gateway.ledger import DueEvent, LedgerUnavailable, Outbox
from gateway.settings import WebhookSettings

log = structlog.get_logger()

PERIOD_SECONDS: Final = 1.0
SWEEP_SECONDS: Final = 60.0
AT_ONCE_MAX: Final = 4
_REPORT_SECONDS: Final = 30.0  # what a claim leaves, beyond the request itself, to report on it

_SPREAD: Final = random.SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """Who is told, and what signs it: with the new secret first, then, for a while, an old one."""

    url: str = field(repr=False)
    signers: tuple[Webhook, ...]
    timeout_seconds: float

    @classmethod
    def of(cls, settings: WebhookSettings) -> Self | None:
        """Return whom an operator wants told; None for nobody."""
        if settings.url is None:
            return None
        return cls(
            url=str(settings.url),
            signers=tuple(map(Webhook, settings.secret_texts())),
            timeout_seconds=settings.timeout_seconds,
        )


def webhook_client() -> httpx.AsyncClient:
    """Return a client that goes where it is told and nowhere else: no redirects, no proxies.

    It takes no cookies: what one receiver says never goes back to it, or to anybody.
    """
    return httpx.AsyncClient(
        follow_redirects=False,
        trust_env=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        limits=httpx.Limits(max_connections=AT_ONCE_MAX),
    )


class Courier:
    """Delivers what is due, a few at a time, and writes what time alone brings about.

    Without a receiver events are written and kept, for whoever reads them page by page.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        client: httpx.AsyncClient,
        receiver: Receiver | None,
        now: Callable[[], datetime],
    ) -> None:
        self._outbox = outbox
        self._client = client
        self._receiver = receiver
        self._now = now
        self._sweep_at: datetime | None = None

    async def run(self) -> None:
        """Go round for ever. What is under way when it is cancelled is delivered once more.

        No fault ends it, since the gateway and its calls would end with it; and what time brings
        about and what is due do not wait for each other's faults.
        """
        while True:
            with _contained():
                await self._sweep()
            more = False
            with _contained():
                more = await self.deliver_due() == AT_ONCE_MAX
            if not more:
                await asyncio.sleep(PERIOD_SECONDS)

    async def deliver_due(self) -> int:
        """Make one attempt for each of a few events that are due; return how many there were.

        Raises ``LedgerUnavailable``; what was attempted by then is delivered once more.
        """
        if self._receiver is None:
            return 0
        now = self._now()
        until = now + timedelta(seconds=self._receiver.timeout_seconds + _REPORT_SECONDS)
        events = await self._outbox.claim(limit=AT_ONCE_MAX, until=until, at=now)
        faults = await asyncio.gather(
            *(_attempt(self._client, self._receiver, event, now) for event in events)
        )
        for event, fault in zip(events, faults, strict=True):
            await self._report(event, fault)
        return len(events)

    async def _sweep(self) -> None:
        now = self._now()
        if self._sweep_at is None or now >= self._sweep_at:
            self._sweep_at = now + timedelta(seconds=SWEEP_SECONDS)
            await self._outbox.sweep(now)

    async def _report(self, event: DueEvent, fault: str | None) -> None:
        now = self._now()
        told = log.bind(
            event_id=str(event.event_id),
            tenant_id=str(event.tenant_id),
            kind=event.kind,
            attempt=event.attempt,
        )
        if fault is None:
            await self._outbox.delivered(event, now)
            told.info("webhook.delivered")
            return
        seconds = retry_seconds(event.attempt, _SPREAD.random())
        is_failing = await self._outbox.failed(
            event, fault=fault, next_at=now + timedelta(seconds=seconds), at=now
        )
        tell = told.error if is_failing else told.warning
        tell("webhook.failed", fault=fault, retry_seconds=round(seconds))


@contextmanager
def _contained() -> Iterator[None]:
    """Log a fault of what is done meanwhile, and go on."""
    try:
        yield
    except LedgerUnavailable as error:
        log.warning("ledger.unavailable", error=str(error))
    except Exception:
        log.exception("courier.failed")


async def _attempt(
    client: httpx.AsyncClient, receiver: Receiver, event: DueEvent, at: datetime
) -> str | None:
    """Return what went wrong; None if the receiver took the event in.

    Nothing that the receiver says is read but its status, and no text of a fault is kept: it
    may hold the address, and an address may hold a secret. Whatever goes wrong with one event is
    a fault of its own, so that the others are delivered.
    """
    try:
        body = message(event)
        async with (
            asyncio.timeout(receiver.timeout_seconds),
            client.stream(
                "POST",
                receiver.url,
                content=body,
                headers=_headers(receiver, event, body, at),
                timeout=receiver.timeout_seconds,
            ) as response,
        ):
            return None if response.is_success else f"status {response.status_code}"
    except (TimeoutError, httpx.TimeoutException):
        return "timeout"
    except Exception as error:
        return type(error).__name__


def message(event: DueEvent) -> str:
    """Return the body of an event, the same for each attempt."""
    return json.dumps(
        {
            "type": event.kind,
            "timestamp": event.at.astimezone(UTC).isoformat(),
            "data": event.data,
        },
        separators=(",", ":"),
        sort_keys=True,
    )


def _headers(receiver: Receiver, event: DueEvent, body: str, at: datetime) -> dict[str, str]:
    """Return who signs what and when. The id is the event's own, whichever attempt it is."""
    event_id = str(event.event_id)
    signatures = (
        signer.sign(msg_id=event_id, timestamp=at.astimezone(UTC), data=body)
        for signer in receiver.signers
    )
    return {
        "content-type": "application/json",
        "user-agent": "dialout-gateway",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
