"""Single reads for what is asked most often: prepared statements, without a thread in between.

A page's read wants a snapshot of several statements, in a thread (`Database.snapshot`). Who is let
in and how a job stands are one statement each, and are asked with nearly every request: there a
thread and a transaction cost more than the answer. A connection is made when it is needed, so a
server that is away is noticed at once and found again at once.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, LiteralString, Self

import psycopg

from schemas.errors import DatabaseUnavailable

CONNECTIONS = 8
CONNECT_WITHIN_S = 5
SILENT_AFTER_MS = 10_000  # a connection whose packets nobody acknowledges is given up
WAIT_FOR_CONNECTION_S = 5.0
Row = tuple[Any, ...]
UNKNOWN = (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName)


class Quick:
    """Connections of one event loop, for reads of one statement."""

    def __init__(self, url: str) -> None:
        """Nothing is connected yet.

        Args:
            url: `postgresql://user:password@host:port/name`.
        """
        self._url = url
        self._idle: deque[psycopg.AsyncConnection[Row]] = deque()
        self._free = asyncio.Semaphore(CONNECTIONS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._idle:
            await self._idle.pop().close()

    async def first(
        self, query: LiteralString, values: Mapping[str, Any]
    ) -> tuple[Any, ...] | None:
        """The first row of a read, if there is one.

        Args:
            query: One statement that changes nothing, with psycopg's `%(name)s`.
            values: By name.

        Raises:
            DatabaseUnavailable: If Postgres does not answer, or has no tables yet.
        """
        try:
            async with asyncio.timeout(WAIT_FOR_CONNECTION_S):
                await self._free.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailable(
                "All connections to Postgres are taken: try again in a moment."
            ) from error
        try:
            return await self._first(query, values)
        except UNKNOWN as error:
            raise DatabaseUnavailable(
                "Postgres does not have this version's tables yet: start the stack."
            ) from error
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            name = type(error).__name__
            raise DatabaseUnavailable(
                f"Postgres does not answer ({name}): try again in a moment."
            ) from error
        finally:
            self._free.release()

    async def _first(self, query: LiteralString, values: Mapping[str, Any]) -> Row | None:
        while self._idle:
            kept = self._idle.pop()
            try:
                return await self._answered(kept, query, values)
            except (psycopg.OperationalError, psycopg.InterfaceError):
                if not kept.broken:
                    raise
                # The server ended it while nobody looked: a read may be asked again.
        return await self._answered(await self._connected(), query, values)

    async def _answered(
        self, connection: psycopg.AsyncConnection[Row], query: LiteralString, values: Any
    ) -> Row | None:
        row, whole = None, False
        try:
            found = await connection.execute(query, values, prepare=True)
            row, whole = await found.fetchone(), True
        finally:
            if whole:
                self._idle.append(connection)
            else:  # cancelled in the middle, too: it is of no more use
                await connection.close()
        return row

    async def _connected(self) -> psycopg.AsyncConnection[Row]:
        return await psycopg.AsyncConnection.connect(
            self._url,
            autocommit=True,
            connect_timeout=CONNECT_WITHIN_S,
            tcp_user_timeout=SILENT_AFTER_MS,
            application_name="lifelog",
        )
