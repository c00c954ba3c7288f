"""Everything that a gateway needs around it, started together: PostgreSQL, a carrier, Asterisk."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import SecretStr

from gateway import db
from gateway.lab.asterisk import Asterisk
from gateway.lab.carrier import Carrier
from gateway.lab.postgres import Postgres
from gateway.lab.program import Program, find_asterisk, find_sipp
from gateway.settings import DatabaseSettings

_DATABASE = "dialout"
_LOGIN = "gateway"
_GROUP = "dialout_gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The running parts, and a migrated database.

    ``owner`` may do everything in the database, ``gateway`` only what the gateway may.
    """

    postgres: Postgres
    carrier: Carrier
    asterisk: Asterisk
    owner: DatabaseSettings
    gateway: DatabaseSettings


@asynccontextmanager
async def stack(
    lab: Path,
    *,
    applications: Mapping[str, str] | None = None,
    rtp_timeout_seconds: int = 120,
    directory: Path | None = None,
) -> AsyncIterator[Stack]:
    """Start the parts, at once where they do not need each other, and stop them in order.

    ``applications`` are further AMI accounts that may originate, by name, with their secrets.
    ``rtp_timeout_seconds`` is how long a call lives whose media stopped. ``directory`` is where
    PostgreSQL keeps its data; without one that is gone with the stack.
    """
    program, sipp = await asyncio.to_thread(_find_programs, lab)
    async with AsyncExitStack() as parts:
        if directory is None:
            directory = Path(parts.enter_context(TemporaryDirectory(prefix="dialout-")))
        postgres = Postgres(directory)
        carrier = await parts.enter_async_context(Carrier(sipp))
        asterisk = Asterisk(
            program,
            trunk_port=carrier.port,
            applications=applications,
            rtp_timeout_seconds=rtp_timeout_seconds,
        )
        async with asyncio.TaskGroup() as starting:
            starting.create_task(parts.enter_async_context(postgres))
            starting.create_task(parts.enter_async_context(asterisk))
        owner = _settings(await postgres.create_database(_DATABASE))
        await db.migrate(owner)
        await postgres.create_login(_LOGIN, member_of=_GROUP)
        yield Stack(
            postgres=postgres,
            carrier=carrier,
            asterisk=asterisk,
            owner=owner,
            gateway=_settings(postgres.dsn(_DATABASE, _LOGIN)),
        )


def _find_programs(lab: Path) -> tuple[Program, Program]:
    lab.mkdir(parents=True, exist_ok=True)
    return find_asterisk(lab), find_sipp(lab)


def _settings(dsn: str) -> DatabaseSettings:
    return DatabaseSettings(dsn=SecretStr(dsn))
