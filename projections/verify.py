"""Whether the live tables are what the log makes: folded again beside them, and compared.

Nothing is switched. The tables are compared at one vector of positions: a snapshot of the live ones
is held open, the log is folded up to exactly there, and both are read by COPY in the order of their
keys.
"""

# ruff: noqa: S608 - names in statements are ours; values are parameters

import asyncio
import datetime
import hashlib
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any
from uuid import uuid4

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from projections import answers, live, positions
from projections.answers import ANSWERS
from projections.database import Database
from projections.fold import CODE_VERSION, TABLES
from projections.positions import Source
from projections.projection import Projection
from projections.rebuild import fold_until
from projections.tables import Table
from schemas.errors import ClusterChanged, Refused, WrongState
from schemas.positions import Vector
from streams.log import Log

PREFIX = "verify_v"
LOCK = 0x11FE107  # of `pg_try_advisory_xact_lock`: one verification at a time
OWN: tuple[Table[Any], ...] = tuple(table for table in TABLES if table.schema is None)


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The first row that is not the same on both sides."""

    table: str
    key: dict[str, Any]
    found: str  # "differs", "only in the live tables" or "only on the log"


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison found."""

    schema: str  # the live one
    positions: Vector  # where both were compared
    tables: int
    rows: int
    difference: Difference | None  # None: they are equal


async def verify(database: Database, log: Log) -> Verified:
    """Fold the log beside the live tables, compare, and drop what was folded.

    The live tables are read in one snapshot; the projector goes on meanwhile. Answers are compared
    as far as they are kept.

    Raises:
        LogUnavailable: If Kafka does not answer.
        DatabaseUnavailable: If Postgres does not answer, or has no tables yet.
        ClusterChanged: If the tables were made from another log than this one.
        WrongState: If the live tables were made by another version of the code.
        Refused: If another verification runs.
    """
    cluster, topic_ids = await log.identity()
    source = Source(cluster=cluster, topic_ids=topic_ids)
    with database.snapshot() as connection:
        await asyncio.to_thread(_alone, connection)
        schema = await asyncio.to_thread(_comparable, connection)
        if not positions.made_from(connection, schema, source):
            raise ClusterChanged("The tables were made from another log than the one here.")
        await asyncio.to_thread(_drop_leftovers, database)
        ends = positions.reached(connection, schema)
        beside = await asyncio.to_thread(
            lambda: Projection.of_new(database, source, uuid4().hex, prefix=PREFIX)
        )
        try:
            await fold_until(beside, log, ends)
            return await asyncio.to_thread(_compared, database, connection, schema, beside.schema)
        finally:
            await asyncio.to_thread(_drop_leftovers, database)


def fingerprints(connection: Connection, schema: str) -> dict[str, str]:
    """SHA-256 of every table's rows in the order of their keys: equal rows, equal hashes."""
    return {table.name: _fingerprint(connection, schema, table)[0] for table in OWN}


def _alone(connection: Connection) -> None:
    """See that no other verification runs until the transaction ends."""
    query = sa.text("SELECT pg_try_advisory_xact_lock(:key)")
    if not connection.execute(query, {"key": LOCK}).scalar():
        raise Refused("Another verification runs: wait until it has ended.")


def _comparable(connection: Connection) -> str:
    known = live.active(connection)
    if known is None or known[1] != CODE_VERSION:
        raise WrongState(
            "The live tables were made by another version of the code: start the projector, which"
            " makes them anew."
        )
    return known[0]


def _compared(database: Database, connection: Connection, schema: str, beside: str) -> Verified:
    """Compare a schema as a snapshot sees it with one that stands still."""
    since = datetime.datetime.now(datetime.UTC) - answers.KEPT
    rows, found = 0, None
    with database.begin() as other:
        for table in OWN:
            ours, count = _fingerprint(connection, schema, table, since)
            rows += count
            if ours != _fingerprint(other, beside, table, since)[0]:
                found = _first_difference((connection, schema), (other, beside), table, since)
                break
    return Verified(
        schema=schema,
        positions=positions.vector(connection),
        tables=len(OWN),
        rows=rows,
        difference=found,
    )


def _first_difference(
    ours: tuple[Connection, str],
    theirs: tuple[Connection, str],
    table: Table[Any],
    since: datetime.datetime,
) -> Difference | None:
    both = (_lines(*side, table, since) for side in (ours, theirs))
    for mine, other in zip_longest(*both, fillvalue=""):
        if mine == other:
            continue
        here, there = (line.partition("\t")[0] for line in (mine, other))
        if here == there:
            found = "differs"
        elif here and not _has(*theirs, table, here):
            found = "only in the live tables"
        else:
            here, found = there, "only on the log"
        key = dict(zip(table.key, msgspec.json.decode(here), strict=True))
        return Difference(table=table.name, key=key, found=found)
    return None


def _has(connection: Connection, schema: str, table: Table[Any], key: str) -> bool:
    """Whether a table has a row of this key, which is a JSON array."""
    wanted = dict(zip(table.key, msgspec.json.decode(key), strict=True))
    return bool(list(table.load(connection, schema, [tuple(wanted.values())])))


def _fingerprint(
    connection: Connection, schema: str, table: Table[Any], since: datetime.datetime | None = None
) -> tuple[str, int]:
    """The hash of a table's rows, and how many they are."""
    found, count = hashlib.sha256(), 0
    for block in _copied(connection, "t.*", schema, table, since):
        found.update(block)
        count += block.count(b"\n")
    return found.hexdigest(), count


def _lines(
    connection: Connection, schema: str, table: Table[Any], since: datetime.datetime
) -> Iterator[str]:
    """A table's rows, each with its key as a JSON array before the first tab."""
    what = f"json_build_array({', '.join(f't.{name}' for name in table.key)})::text AS its_key, t.*"
    rest = b""
    for block in _copied(connection, what, schema, table, since):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            key, _, columns = line.decode().partition("\t")
            yield key.replace("\\\\", "\\") + "\t" + columns


def _copied(
    connection: Connection,
    what: str,
    schema: str,
    table: Table[Any],
    since: datetime.datetime | None,
) -> Iterator[bytes]:
    kept = f" WHERE at >= '{since.isoformat()}'" if since and table is ANSWERS else ""
    order = ", ".join(f"t.{name}" for name in table.key)
    query = f"COPY (SELECT {what} FROM {schema}.{table.name} t{kept} ORDER BY {order}) TO STDOUT"
    cursor: Any = connection.connection.cursor()  # psycopg's
    with cursor, cursor.copy(query) as blocks:
        for block in blocks:
            yield bytes(block)


def _drop_leftovers(database: Database) -> None:
    with database.begin() as connection:
        live.drop_all(connection, PREFIX)
