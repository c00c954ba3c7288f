"""The one way to the database: bounded in time, with one name for whatever may pass."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, LiteralString, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from gateway.db import Pool
from gateway.ledger.rows import Row

_Connection: TypeAlias = "PoolConnectionProxy[Row]"

_AWAY: Final = (
    OSError,  # includes TimeoutError
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.PostgresSystemError,
    # What an operator can put right while the gateway runs: a login, a migration.
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.SyntaxOrAccessError,
)


class LedgerUnavailable(Exception):
    """The ledger did not answer. Whether it did what it was asked is unknown; ask again."""


class Transaction:
    """Statements that take effect together, or not at all."""

    def __init__(self, connection: _Connection, call_seconds_max: float) -> None:
        self._connection = connection
        self._call_seconds_max = call_seconds_max
        self._abandoned = False

    def abandon(self) -> None:
        """Have everything undone when the transaction is left, without an error."""
        self._abandoned = True

    async def fetch_one(self, statement: LiteralString, *arguments: object) -> Row:
        """Return the only row that a statement gives."""
        [row] = await self.fetch(statement, *arguments)
        return row

    async def fetch(self, statement: LiteralString, *arguments: object) -> list[Row]:
        """Return the rows of one statement."""
        async with _bounded(self._call_seconds_max):
            return await _fetch(self._connection, statement, *arguments)

    async def begin(self) -> None:
        """Start."""
        await self._execute("BEGIN")

    async def end(self) -> None:
        """Make it lasting, unless it was abandoned.

        Raises ``LedgerUnavailable`` if a statement has failed and its error went no further:
        the server undoes such a transaction when it is told to commit it.
        """
        wanted = "ROLLBACK" if self._abandoned else "COMMIT"
        if await self._execute(wanted) != wanted:
            raise LedgerUnavailable("Nothing was changed: an earlier statement has failed.")

    async def _execute(self, statement: LiteralString) -> str:
        async with _bounded(self._call_seconds_max):
            return await self._connection.execute(statement)


class Session:
    """Statements on the connections of one pool.

    None waits longer than ``call_seconds_max`` for an answer. Raises ``LedgerUnavailable`` for
    whatever may pass; an error of ours surfaces as the database's own exception.
    """

    def __init__(self, pool: Pool, call_seconds_max: float) -> None:
        self._pool = pool
        self._call_seconds_max = call_seconds_max

    async def fetch_one(self, statement: LiteralString, *arguments: object) -> Row:
        """Return the only row that a statement gives."""
        [row] = await self.fetch(statement, *arguments)
        return row

    async def fetch(self, statement: LiteralString, *arguments: object) -> list[Row]:
        """Return the rows of one statement, in a transaction of its own."""
        limit = self._call_seconds_max
        # The limit of acquire() also bounds how long a broken connection may take to close.
        async with _bounded(limit), self._pool.acquire(timeout=limit) as connection:
            return await _fetch(connection, statement, *arguments)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Lend a transaction; leaving it by an error undoes everything."""
        limit = self._call_seconds_max
        async with _bounded(limit):
            connection = await self._pool.acquire(timeout=limit)
        transaction = Transaction(connection, limit)
        try:
            await transaction.begin()
            yield transaction
            await transaction.end()
        except BaseException:
            # The server undoes what was not committed; a connection in doubt is used no more.
            _give_up(connection)
            raise
        finally:
            async with _bounded(limit):
                await self._pool.release(connection, timeout=limit)


async def _fetch(
    connection: _Connection, statement: LiteralString, *arguments: object
) -> list[Row]:
    try:
        return await connection.fetch(statement, *arguments)
    except asyncpg.InternalClientError:
        # The server died between two messages, and the driver has lost its place.
        _give_up(connection)
        raise


def _give_up(connection: _Connection) -> None:
    # One that the driver itself found broken is out of our hands already.
    with suppress(asyncpg.InterfaceError):
        connection.terminate()


@asynccontextmanager
async def _bounded(seconds_max: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds_max):
            yield
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise LedgerUnavailable(
            f"Nobody listens where PostgreSQL should be, or a file of the DSN is missing: {error}"
        ) from error
    except _AWAY as error:
        raise LedgerUnavailable(f"{type(error).__name__}: {error}") from error
    except asyncpg.InterfaceError as error:
        if isinstance(error, ValueError):
            raise  # an argument of the wrong type
        raise LedgerUnavailable(f"{type(error).__name__}: {error}") from error
