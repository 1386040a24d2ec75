"""The connection to Postgres, and the migrations of what no fold makes.

Tables that a fold makes live in a schema `live_v<N>` (see `projections.tables`); which one readers
see stands in `public.lifelog_projection`. All else (`vault`, `access`, `telemetry`, `projections`)
is made by Alembic and named with its schema.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import sqlalchemy as sa
from psycopg import errors as postgres
from sqlalchemy.engine import Connection, Engine, make_url

from schemas.errors import DatabaseUnavailable, InvalidSetting, LifelogError, RecordCorrupt

CONNECT_WITHIN_S = 5
SILENT_AFTER_MS = 10_000  # a connection whose packets nobody acknowledges is given up
CONNECTIONS = 16  # threads of one process that may be in the database at once
WAIT_FOR_CONNECTION_S = 5.0
MIGRATION_LOCK = 0x11FE106  # of `pg_advisory_xact_lock`; two processes may start at once

_SEE_LIVE = sa.text(
    "SELECT set_config('search_path', active_schema || ', telemetry, public', true)"
    " FROM public.lifelog_projection"
)


class Database:
    """A pool of connections. Every error of the driver leaves as one of ours."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect."""
        self.engine.dispose()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction: committed at the end of the block, rolled back on an error.

        Raises:
            DatabaseUnavailable: If Postgres does not answer; a commit may then have happened.
            RecordCorrupt: If Postgres refuses a value as such.
        """
        with _translated(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A read-only view of the active tables in which nothing changes, positions included.

        Raises:
            DatabaseUnavailable: If Postgres does not answer, or has no tables yet.
        """
        with _translated(), self.engine.connect() as connection:
            connection.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            if connection.execute(_SEE_LIVE).first() is None:
                raise DatabaseUnavailable("There are no tables yet: the projector makes them.")
            yield connection


def open_database(url: str) -> Database:
    """A pool for an address `postgresql://user:password@host:port/name`; it connects when used.

    Raises:
        InvalidSetting: If the address is no such address.
    """
    try:
        address = make_url(url)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise InvalidSetting(
            "LIFELOG_DATABASE is not postgresql://user:password@host:port/name", field="database"
        ) from error
    if address.get_backend_name() not in {"postgresql", "postgres"}:
        raise InvalidSetting(
            f"LIFELOG_DATABASE names {address.drivername}: only postgresql:// is supported",
            field="database",
        )
    engine = sa.create_engine(
        address.set(drivername="postgresql+psycopg"),
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=WAIT_FOR_CONNECTION_S,
        pool_pre_ping=True,
        hide_parameters=True,  # errors name no value
        connect_args={
            "connect_timeout": CONNECT_WITHIN_S,
            "tcp_user_timeout": SILENT_AFTER_MS,
            "application_name": "lifelog",
        },
    )
    return Database(engine)


def migrate(database: Database) -> None:
    """Bring the fixed schemas up to this version. Several processes may call it at once.

    Raises:
        DatabaseUnavailable: If Postgres does not answer; nothing has changed then.
    """
    from alembic import command  # where it is used: it takes half a second
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "projections:migrations")
    with database.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.execute(sa.text("CREATE SCHEMA IF NOT EXISTS projections"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except LifelogError:
        raise
    except (
        *(sa.exc.DataError, sa.exc.IntegrityError),
        *(postgres.DataError, postgres.IntegrityError),  # of a COPY, which SQLAlchemy does not see
    ) as error:
        raise RecordCorrupt(f"Postgres refuses a value: {_cause(error)}") from error
    except sa.exc.ProgrammingError as error:
        if isinstance(error.orig, (postgres.UndefinedTable, postgres.InvalidSchemaName)):
            raise DatabaseUnavailable(
                "Postgres does not have this version's tables yet: start the stack."
            ) from error
        raise
    except (
        *(sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError),
        *(postgres.OperationalError, postgres.InterfaceError),
    ) as error:
        raise DatabaseUnavailable(
            f"Postgres does not answer ({_cause(error)}): try again in a moment."
        ) from error
    except sa.exc.DBAPIError as error:
        if error.connection_invalidated:
            raise DatabaseUnavailable(
                f"The connection to Postgres broke ({_cause(error)}): try again in a moment."
            ) from error
        raise


def _cause(error: Exception) -> str:
    """The driver's class of error: its message may quote a value."""
    return type(getattr(error, "orig", None) or error).__name__
