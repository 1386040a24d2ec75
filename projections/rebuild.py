"""The tables made anew from the log, beside those that readers see, and switched at once."""

# ruff: noqa: S608 - names in statements are ours; values are parameters

import asyncio
import contextlib
import datetime
import hashlib
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from projections import answers, live
from projections.database import Database
from projections.fold import TABLES
from projections.positions import Source
from projections.projection import Projection
from streams.log import Log

BATCH = 5_000  # records of one transaction: a job's events meet in one row


async def rebuild(database: Database, log: Log) -> str:
    """Fold the whole log into a new schema and let readers see it instead of the old one.

    A projector may run meanwhile: it goes on from the new schema after the switch. Telemetry is
    shared and stays as it is. The old schema is kept until the next rebuild.

    Returns:
        The new schema's name.

    Raises:
        LogUnavailable: If Kafka does not answer; readers see the old tables.
        DatabaseUnavailable: If Postgres does not answer; readers see the old tables.
        ClusterChanged: If the topics are not as they should be.
    """
    cluster, topic_ids = await log.identity()
    source = Source(cluster=cluster, topic_ids=topic_ids)
    await asyncio.to_thread(_drop_leftovers, database)
    new = await asyncio.to_thread(Projection.of_new, database, source, uuid4().hex)
    await _fold_to_end(new, log)
    while not await asyncio.to_thread(_switched, new):
        await _fold_to_end(new, log)
    return new.schema


def fingerprints(connection: Connection, schema: str) -> dict[str, str]:
    """SHA-256 of every table's rows in the order of their keys: equal rows, equal hashes."""
    return {
        table.name: _fingerprint(connection, f"{schema}.{table.name}", ", ".join(table.key))
        for table in TABLES
        if table.schema is None
    }


async def _fold_to_end(new: Projection, log: Log) -> None:
    ends = await log.ends(new.topics)
    async with contextlib.aclosing(log.read(new.next_offsets, batch=BATCH, until=ends)) as batches:
        async for records in batches:
            if records:
                await new.settle(records)


def _switched(new: Projection) -> bool:
    """Let readers see the new tables, unless the old ones are further; then nothing changes."""
    with new.database.begin() as connection:
        connection.execute(sa.text("LOCK TABLE public.lifelog_projection IN EXCLUSIVE MODE"))
        known = live.active(connection)
        old = None if known is None else known[0]
        # The old tables' projector waits here, and then finds that another owns its positions.
        reached = connection.execute(
            sa.text(
                "SELECT topic, partition, next_offset FROM projections.positions"
                " WHERE schema = :old FOR UPDATE"
            ),
            {"old": old},
        ).all()
        if any(new.next_offsets[one.topic, one.partition] < one.next_offset for one in reached):
            return False
        connection.execute(
            sa.text("UPDATE projections.positions SET owner = :new WHERE schema = :old"),
            {"new": f"superseded by {new.schema}", "old": old},
        )
        live.activate(connection, new.schema)
        before = datetime.datetime.now(datetime.UTC) - answers.KEPT
        answers.prune(connection, new.schema, before)
    return True


def _drop_leftovers(database: Database) -> None:
    with database.begin() as connection:
        live.drop_others(connection)


def _fingerprint(connection: Connection, table: str, key: str) -> str:
    found = hashlib.sha256()
    cursor: Any = connection.connection.cursor()  # psycopg's
    query = f"COPY (SELECT * FROM {table} ORDER BY {key}) TO STDOUT"
    with cursor, cursor.copy(query) as rows:
        for block in rows:
            found.update(block)
    return found.hexdigest()
