"""What the projector says of itself, once every two seconds, so that other processes can tell."""

import datetime
from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from projections.tables import first
from schemas.errors import LifelogError


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """How the projector is."""

    at: datetime.datetime  # when it said so, by the database's clock
    seconds_ago: float
    lag: int  # records between the tables and the end of the log; 0: caught up
    parked: int  # records that could not be folded
    error: str | None  # of the server that does not answer
    last_error: str | None = None  # the latest, over or not: of a server or of a parked record
    last_error_at: datetime.datetime | None = None


class Trouble:
    """The latest error that a projector met."""

    def __init__(self) -> None:
        self.error: str | None = None
        self.at: datetime.datetime | None = None

    def note(self, error: LifelogError) -> None:
        """Remember an error."""
        self.error = f"{error.code}: {error}"
        self.at = datetime.datetime.now(datetime.UTC)


_NOTE = sa.text(
    "INSERT INTO projections.readiness AS r"
    " (schema, at, lag, parked, error, last_error, last_error_at)"
    " SELECT :schema, clock_timestamp(), :lag,"
    " (SELECT count(*) FROM projections.parked WHERE schema = ANY(:schemas)),"
    " :error, :last, CAST(:last_at AS timestamptz)"
    " ON CONFLICT (schema) DO UPDATE SET at = excluded.at, lag = excluded.lag,"
    " parked = excluded.parked, error = excluded.error,"
    " last_error = coalesce(excluded.last_error, r.last_error),"
    " last_error_at = coalesce(excluded.last_error_at, r.last_error_at)"
)


def note(
    connection: Connection,
    schemas: Sequence[str],
    lag: int,
    error: str | None,
    trouble: Trouble | None = None,
) -> None:
    """Say how the projector is now.

    Args:
        connection: In a transaction.
        schemas: The live schema first, then those that it shares.
        lag: Records between the tables and the log's end.
        error: Of a server that does not answer now.
        trouble: The latest error that the projector met.
    """
    trouble = trouble or Trouble()
    told = {"schema": schemas[0], "schemas": list(schemas), "lag": lag, "error": error}
    connection.execute(_NOTE, told | {"last": trouble.error, "last_at": trouble.at})


def find(connection: Connection) -> Readiness | None:
    """How the projector of the active tables is; None before it ever said."""
    return first(
        connection,
        Readiness,
        "SELECT at, extract(epoch FROM clock_timestamp() - at)::float8 AS seconds_ago, lag, parked,"
        " error, last_error, last_error_at FROM projections.readiness"
        " JOIN public.lifelog_projection ON schema = active_schema",
    )
