"""The database itself: a pool of connections for the ledger, and the migration of the schema.

The SQL lives in files and is never built from strings. Tables are made by migrations, which
go forward only; functions, views and rights are replaced as a whole each time.
"""

import csv
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

import asyncpg
from pogo_core.util import migrate as pogo
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_random

from gateway.core.reasons import REASON_TEXTS
from gateway.settings import DatabaseSettings

SQL: Final = Path(__file__).parent / "sql"

POSTGRES_VERSION_MIN: Final = 18
_MONTHS_AHEAD: Final = "SELECT dialout.months_open(now())"
_MIGRATION_LOCK: Final = 0x6469616C6F7574  # "dialout": one migration of a database at a time
_SERVER_LIMIT_FACTOR: Final = 2

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Progress = Callable[[str], None]


class DatabaseUnavailable(ConnectionError):
    """The database cannot be reached, or does not let us in."""


def pool(settings: DatabaseSettings, *, read_only: bool = False) -> Pool:
    """Return a pool that is not open yet; ``async with`` opens and closes it.

    ``read_only`` has the server refuse whatever would write.

    Opening it connects to nothing: a gateway starts without its database, and its gate
    stays shut until there is one. The server compiles nothing just in time: each statement
    of the ledger touches a few rows by their keys, and compiling would take longer than
    all of them. Nor does it plan a statement again for each call: of a table in partitions
    every plan costs more than the rows that it finds. The limits on the server are for
    clients that have gone away.
    """
    limit = str(int(_SERVER_LIMIT_FACTOR * settings.call_seconds_max * 1000))
    return asyncpg.create_pool(
        settings.dsn.get_secret_value(),
        password=settings.password_text(),
        min_size=0,
        max_size=settings.connections_max,
        max_inactive_connection_lifetime=0,
        timeout=settings.call_seconds_max,
        reset=_keep,
        server_settings={
            "application_name": "dialout-gateway",
            "timezone": "UTC",
            "jit": "off",
            "plan_cache_mode": "force_generic_plan",
            "default_transaction_read_only": "on" if read_only else "off",
            "statement_timeout": limit,
            "idle_in_transaction_session_timeout": limit,
        },
    )


async def _keep(_connection: object) -> None:
    """Leave a connection as it is when it goes back to the pool.

    The ledger leaves no state behind in a session, and resetting would cost a second round
    trip for every call.
    """


async def migrate(settings: DatabaseSettings, progress: Progress | None = None) -> None:
    """Bring the schema of the database to that of this version; ``progress`` hears each step.

    Harmless when repeated, when run from several processes at once, of which one works while
    the others wait, and while calls are made, which it lets go first. What fails leaves the
    step before it in place. The login needs the right to create roles and schemas; the
    gateway's own login does not.

    Raises ``DatabaseUnavailable``.
    """
    tell = progress or _tell_nobody
    connection = await _connect(settings)
    try:
        version = connection.get_server_version()
        if version.major < POSTGRES_VERSION_MIN:
            raise DatabaseUnavailable(
                f"this is PostgreSQL {version.major}, and {POSTGRES_VERSION_MIN} or later is needed"
            )
        await connection.execute("SELECT pg_advisory_lock($1)", _MIGRATION_LOCK)
        await connection.execute(f"SET lock_timeout TO {_LOCK_MILLISECONDS_MAX}")
        for step in (_migrate_tables, _replace, _open_months):
            await _GIVING_WAY(step, connection, tell)
    except asyncpg.InsufficientPrivilegeError as error:
        raise DatabaseUnavailable(f"this login may not migrate: {error}") from error
    finally:
        await connection.close()


async def _migrate_tables(connection: Connection, tell: Progress) -> None:
    """Bring the tables up to date, each migration in a transaction of its own."""
    await _run(connection, SQL / "schema.sql", tell)
    tell("migrations")
    await pogo.apply(connection, SQL / "migrations", schema_name="dialout", logger=_pogo_logger())


async def _replace(connection: Connection, tell: Progress) -> None:
    """Replace what is not a table, all at once."""
    async with connection.transaction():
        await connection.execute("SET LOCAL ROLE dialout_owner")
        await connection.execute("SET LOCAL search_path TO dialout, pg_temp")
        await _replace_all(connection, tell)
        await _load_reference(connection, tell)


async def _open_months(connection: Connection, tell: Progress) -> None:
    """Make the months ahead. Calls that wait for the views have locked the tables already."""
    async with connection.transaction():
        await connection.execute("SET LOCAL ROLE dialout_owner")
        tell("months")
        await connection.execute("SELECT dialout.months_sort()")
        await connection.execute(_MONTHS_AHEAD)


def _is_in_the_way(error: BaseException) -> bool:
    """Return whether calls held what the migration needs; the migration tool wraps what it says."""
    if isinstance(error, asyncpg.LockNotAvailableError | asyncpg.DeadlockDetectedError):
        return True
    return error.__cause__ is not None and _is_in_the_way(error.__cause__)


# A migration replaces what calls are using. It waits for them for less time than it takes the
# server to look for a deadlock, and then lets everything go and begins again: so it is never a
# call that is given up.
_LOCK_MILLISECONDS_MAX: Final = 300
_GIVING_WAY: Final = AsyncRetrying(
    retry=retry_if_exception(_is_in_the_way),
    stop=stop_after_delay(120),
    wait=wait_random(0.05, 0.5),
    reraise=True,
)


async def _connect(settings: DatabaseSettings) -> Connection:
    try:
        return await asyncpg.connect(
            settings.dsn.get_secret_value(),
            password=settings.password_text(),
            server_settings={"application_name": "dialout-migrate", "timezone": "UTC"},
        )
    except (
        OSError,
        TimeoutError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        ValueError,
    ) as error:
        raise DatabaseUnavailable(str(error) or type(error).__name__) from error


async def _replace_all(connection: Connection, tell: Progress) -> None:
    # A body is checked when it runs: functions and views name each other, in no order.
    await connection.execute("SET LOCAL check_function_bodies TO off")
    # Whoever reads a view locks it and then those that it is made of, which have lower numbers.
    # Taken in that order, the locks of a migration and of a call form no circle.
    for path in sorted((SQL / "views").glob("*.sql"), reverse=True):
        view = path.stem.split("_", 1)[1]
        await connection.execute(f'ALTER VIEW IF EXISTS "{view}" RESET (security_barrier)')
    for folder in ("views", "functions"):
        for path in sorted((SQL / folder).glob("*.sql")):
            await _run(connection, path, tell)
    await _run(connection, SQL / "roles.sql", tell)


async def _run(connection: Connection, path: Path, tell: Progress) -> None:
    tell(path.relative_to(SQL).as_posix())
    await connection.execute(_text(path))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


async def _load_reference(connection: Connection, tell: Progress) -> None:
    tell("reference")
    rows: dict[str, list[dict[str, str]]] = {
        path.stem: list(_rows(path)) for path in sorted((SQL / "reference").glob("*.csv"))
    }
    rows["reasons"] = [
        {"code": reason, "message": text.message, "remedy": text.remedy}
        for reason, text in REASON_TEXTS.items()
    ]
    await connection.execute("SELECT dialout.reference_load($1)", json.dumps(rows))


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _tell_nobody(_step: str) -> None:
    """Report nothing."""


def _pogo_logger() -> logging.Logger:
    """Return a logger that keeps the migration tool's own words off the terminal."""
    logger = logging.getLogger("gateway.db.pogo")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger
