"""What the projector says of itself, once every two seconds, so that other processes can tell."""

import datetime

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from projections.tables import first


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """How the projector is."""

    at: datetime.datetime  # when it said so, by the database's clock
    seconds_ago: float
    lag: int  # records between the tables and the end of the log; 0: caught up
    parked: int  # records that could not be folded
    error: str | None  # of the server that does not answer


_NOTE = sa.text(
    "INSERT INTO projections.readiness (schema, at, lag, parked, error) SELECT :schema,"
    " clock_timestamp(), :lag, (SELECT count(*) FROM projections.parked), :error"
    " ON CONFLICT (schema) DO UPDATE SET at = excluded.at, lag = excluded.lag,"
    " parked = excluded.parked, error = excluded.error"
)


def note(connection: Connection, schema: str, lag: int, error: str | None) -> None:
    """Say how the projector of a schema is now."""
    connection.execute(_NOTE, {"schema": schema, "lag": lag, "error": error})


def find(connection: Connection) -> Readiness | None:
    """How the projector of the active tables is; None before it ever said."""
    return first(
        connection,
        Readiness,
        "SELECT at, extract(epoch FROM clock_timestamp() - at)::float8 AS seconds_ago, lag, parked,"
        " error FROM projections.readiness JOIN public.lifelog_projection"
        " ON schema = active_schema",
    )
