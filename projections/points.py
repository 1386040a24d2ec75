"""Points on disk: a partition for each day on which the broker appended them, written by COPY.

Measured on PostgreSQL 18 with two cores: see `bench/ingest.py`.
"""

import datetime
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from psycopg.errors import UniqueViolation
from sqlalchemy.engine import Connection

from projections.tables import Table
from schemas import topics
from schemas.errors import RecordCorrupt

if TYPE_CHECKING:
    from projections.metrics import MetricRow

KEPT = datetime.timedelta(milliseconds=topics.RUN_TELEMETRY.retention_ms)
AHEAD = datetime.timedelta(days=1)  # so that midnight finds its partition
LOCK_WITHIN = "2s"  # readers hold a partition for as long as one query takes
FEW = 100  # rows that one insert writes sooner than a copy and its savepoint

_COLUMNS = "job_id, attempt, fencing_token, name, step, value, at, appended_on"
_EPOCH = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)  # of Postgres


class Points(Table["MetricRow"]):
    """The table of points, one partition a day."""

    def write(self, connection: Connection, live: str, rows: Sequence["MetricRow"]) -> None:
        """Copy the rows into their days' partitions; those whose key exists stay as they are.

        Repeats are rare: they cost a copy that fails and an insert that goes past them.
        """
        place = self.in_schema(live)
        by_day = attrgetter("appended_on")
        ordered = sorted(rows, key=by_day)
        keep_days(connection, place, dict.fromkeys(row.appended_on for row in ordered))
        for day, found in groupby(ordered, key=by_day):
            some = list(found)
            if len(some) < FEW:
                super().write(connection, live, some)
                continue
            try:
                with connection.begin_nested():
                    _copy(connection, _partition(place, day), some)
            except UniqueViolation:
                super().write(connection, live, some)


def keep_days(connection: Connection, place: str, days: Iterable[datetime.date]) -> None:
    """See that the table `place` has a partition for each of some days."""
    for day in days:
        name = _partition(place, day)
        if connection.execute(sa.text("SELECT to_regclass(:it)"), {"it": name}).scalar() is None:
            until = day + datetime.timedelta(days=1)
            # Made apart and attached: readers of the other days are not kept waiting.
            connection.execute(sa.text(f"CREATE TABLE {name} (LIKE {place} INCLUDING ALL)"))
            connection.execute(
                sa.text(
                    f"ALTER TABLE {place} ATTACH PARTITION {name}"
                    f" FOR VALUES FROM ('{day}') TO ('{until}')"
                )
            )


def forget(connection: Connection, place: str, now: datetime.datetime) -> list[datetime.date]:
    """Drop the days that the log has forgotten, and make tomorrow's partition.

    Returns:
        The days whose points are gone.

    Raises:
        DatabaseUnavailable: If a reader holds one of them for too long; nothing has changed then.
    """
    connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_WITHIN}'"))
    keep_days(connection, place, [(now + AHEAD).date()])
    old = [day for day in days_of(connection, place) if day < (now - KEPT).date()]
    for day in old:
        connection.execute(sa.text(f"DROP TABLE {_partition(place, day)}"))
    return old


def days_of(connection: Connection, place: str) -> list[datetime.date]:
    """The days that have a partition, the first one first."""
    found = connection.execute(
        sa.text(
            "SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day FROM pg_inherits i"
            " JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = CAST(:place AS regclass) ORDER BY day"
        ),
        {"place": place},
    )
    return list(found.scalars())


def _partition(place: str, day: datetime.date) -> str:
    return f"{place}_{day:%Y%m%d}"


def _copy(connection: Connection, place: str, rows: Sequence["MetricRow"]) -> None:
    """Copy rows of one day.

    Raises:
        RecordCorrupt: If a number or a name is none that Postgres can hold.
    """
    try:
        found = b"".join(_encoded(rows))
    except (struct.error, UnicodeEncodeError) as error:
        raise RecordCorrupt(f"A point that no column holds: {type(error).__name__}") from error
    cursor: Any = connection.connection.cursor()  # psycopg's
    with cursor, cursor.copy(f"COPY {place} ({_COLUMNS}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.write(found)


def _encoded(rows: Iterable["MetricRow"]) -> Iterator[bytes]:
    """The rows in COPY's binary form: what many of them share is packed once.

    Source:
        PostgreSQL's manual, COPY, "Binary Format".
    """
    runs: dict[tuple[str, int, int], bytes] = {}
    names: dict[str, bytes] = {}
    times: dict[tuple[datetime.datetime, datetime.date], bytes] = {}
    numbers = struct.Struct("!iqid").pack
    yield b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
    for row in rows:
        run, when = (row.job_id, row.attempt, row.fencing_token), (row.at, row.appended_on)
        yield runs.get(run) or runs.setdefault(run, _run(*run))
        yield names.get(row.name) or names.setdefault(row.name, _text(row.name))
        yield numbers(8, row.step, 8, row.value)
        yield times.get(when) or times.setdefault(when, _times(*when))
    yield struct.pack("!h", -1)


def _run(job_id: str, attempt: int, fencing_token: int) -> bytes:
    """The first three columns, with the number of all of them before."""
    return struct.pack("!h", 8) + _text(job_id) + struct.pack("!iqiq", 8, attempt, 8, fencing_token)


def _text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack("!i", len(encoded)) + encoded


def _times(at: datetime.datetime, day: datetime.date) -> bytes:
    """The last two columns: microseconds and days since 2000."""
    known = at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
    microseconds = (known - _EPOCH) // datetime.timedelta(microseconds=1)
    return struct.pack("!iqii", 8, microseconds, 4, (day - _EPOCH.date()).days)
