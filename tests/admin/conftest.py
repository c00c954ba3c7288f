"""Provisioning as its users have it: the commands and the HTTP API, with the least rights."""

import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from gateway import db
from gateway.api import Administration, create_api
from gateway.bridges import Bridges
from gateway.cli.main import cli
from gateway.core.dial_out import MAIN_BRIDGE, Terms
from gateway.core.e164 import E164
from gateway.core.rating import Seconds
from gateway.core.trunk import Trunk
from gateway.explainer import Explainer
from gateway.inquiry import Inquiry
from gateway.lab.postgres import Postgres
from gateway.ledger import Ledger, Provisioning, Reports
from gateway.progress import Progress
from gateway.settings import AdminSettings
from tests.ledger.conftest import dsn, owner, server, server_directory, settings

__all__ = ["dsn", "owner", "server", "server_directory"]

CALLS_TOKEN = "the-token-of-those-who-call"
ADMIN_TOKEN = "the-token-of-those-who-provision"
TERMS = Terms(
    talk_seconds_max=Seconds(3600),
    talk_seconds_min=Seconds(60),
    slice_seconds=Seconds(14_400),
    ring_seconds=Seconds(45),
    caller_id=E164("+442079460999"),
)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def logins(server: Postgres) -> Postgres:
    """The server, with a login that provisions and one that the gateway has."""
    await server.create_login("provisioner", member_of="dialout_provisioner")
    await server.create_login("gateway", member_of="dialout_gateway")
    return server


@dataclass(frozen=True, slots=True, kw_only=True)
class Logins:
    """The ways into the database of one test."""

    provisioner: str
    gateway: str


@pytest.fixture
def ways(logins: Postgres, dsn: str) -> Logins:
    """The ways into the database of this test."""
    name = dsn.split("/")[3].split("?")[0]
    return Logins(
        provisioner=logins.dsn(name, user="provisioner"), gateway=logins.dsn(name, user="gateway")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """The command line, as a person or a script uses it."""

    runner: CliRunner

    def run(self, *arguments: str, sheet: str | bytes | None = None) -> Result:
        """Run a command; ``sheet`` is its standard input."""
        return self.runner.invoke(cli, arguments, input=sheet)

    def done(self, *arguments: str, sheet: str | bytes | None = None) -> Any:
        """Run a command, insist that it does as it is told, and return its JSON."""
        result = self.run(*arguments, "--json", sheet=sheet)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def refused(self, *arguments: str, sheet: str | bytes | None = None) -> str:
        """Run a command, insist that it is refused, and return the outcome."""
        result = self.run(*arguments, "--json", sheet=sheet)
        assert result.exit_code == 1, result.output
        outcome: str = json.loads(result.stdout)["outcome"]
        return outcome

    def fault(self, *arguments: str, sheet: str | bytes | None = None) -> str:
        """Run a command, insist that it cannot be done at all, and return what it says."""
        result = self.run(*arguments, sheet=sheet)
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output
        return result.stderr


@pytest.fixture
def commands(ways: Logins, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """The commands, whose settings name the database of this test."""
    for name in list(os.environ):
        if name.startswith("DIALOUT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DIALOUT_ADMIN__DSN", ways.provisioner)
    monkeypatch.setenv("COLUMNS", "200")
    return Commands(runner=CliRunner())


@contextmanager
def api_of(gateway: db.Pool, administration: Administration | None) -> Iterator[FastAPI]:
    """Lend the whole API, which has no bridge: nobody is called here."""
    ledger = Ledger(gateway, call_seconds_max=20.0)
    inquiry = Inquiry(ledger=ledger, trunks={MAIN_BRIDGE: Trunk()})
    yield create_api(
        bridges=Bridges((), ledger=ledger, default=MAIN_BRIDGE),
        ledger=ledger,
        explainer=Explainer(ledger=ledger, inquiry=inquiry, terms={MAIN_BRIDGE: TERMS}),
        progress=Progress(ledger=ledger),
        token=CALLS_TOKEN,
        administration=administration,
    )


@pytest.fixture
async def gateway_pool(ways: Logins) -> AsyncIterator[db.Pool]:
    """The pool of the calls' path."""
    async with db.pool(settings(ways.gateway)) as opened:
        yield opened


@pytest.fixture
async def admin_pool(ways: Logins) -> AsyncIterator[db.Pool]:
    """The pool of provisioning, as small as it is by default."""
    async with db.pool(AdminSettings(dsn=SecretStr(ways.provisioner)).database()) as opened:
        yield opened


@pytest.fixture
def api(gateway_pool: db.Pool, admin_pool: db.Pool) -> Iterator[FastAPI]:
    """The API with provisioning."""
    provisioning = Provisioning(admin_pool, call_seconds_max=20.0)
    administration = Administration(
        provisioning=provisioning,
        reports=Reports(admin_pool, call_seconds_max=20.0),
        token=ADMIN_TOKEN,
    )
    with api_of(gateway_pool, administration) as app:
        yield app


@pytest.fixture
async def admin(api: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client that may provision."""
    async with client(api, ADMIN_TOKEN) as opened:
        yield opened


def client(api: FastAPI, token: str | None) -> httpx.AsyncClient:
    """Return a client of the API, with this token."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(api), base_url="http://gateway", headers=headers
    )


def _now() -> datetime:
    return datetime.now(UTC)
