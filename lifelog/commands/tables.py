"""The tables that are made from the log: made anew, or compared with it."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import msgspec
from cyclopts import App

from lifelog.commands.context import Context

if TYPE_CHECKING:
    from projections.database import Database
    from streams.log import Log

T = TypeVar("T")

DIFFERENT = 2  # exit status: the comparison was made, and the tables are not equal


def register(app: App) -> None:
    """Add these commands."""
    app.command(rebuild)
    app.command(verify)


def rebuild(*, context: Context | None = None) -> None:
    """Make the tables anew from the log, and let readers see the new ones at once.

    One that was interrupted is gone on with. The stack may run meanwhile.

    Args:
        context: Options of every command.
    """
    from projections import rebuild as rebuilding

    context = context or Context()
    schema = _asked(context, rebuilding.rebuild)
    context.show({"rebuilt": True, "schema": schema}, f"The tables are made anew: {schema}.")


def verify(*, context: Context | None = None) -> None:
    """Compare the tables with what the log makes, and switch nothing.

    Exit status 0: equal; 2: not equal, and the first row that differs is named.

    Args:
        context: Options of every command.
    """
    from projections.verify import verify as comparison

    context = context or Context()
    found = _asked(context, comparison)
    told = msgspec.to_builtins(found) | {"equal": found.difference is None}
    if found.difference is None:
        context.show(told, f"Equal: {found.rows:,} rows of {found.tables} tables.")
        return
    key = ", ".join(f"{name} = {value}" for name, value in found.difference.key.items())
    context.show(told, f"{found.difference.table}, {key}: {found.difference.found}.")
    sys.exit(DIFFERENT)


def _asked(context: Context, ask: "Callable[[Database, Log], Awaitable[T]]") -> T:
    """What is answered by whoever needs the database and the log."""
    from projections.database import open_database
    from projections.pace import collect_seldom
    from streams.log import Log

    settings = context.full
    collect_seldom()

    async def asked() -> T:
        opened = Log.open(settings.kafka, prefix=settings.prefix, source="/lifelog/tables")
        with open_database(settings.database) as database:
            async with opened as log:
                return await ask(database, log)

    return asyncio.run(asked())
