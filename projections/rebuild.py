"""The tables made anew from the log, beside those that readers see, and switched at once.

A rebuild that was killed is gone on with: what it has made stands in its schema with its positions,
and the next call takes both over.
"""

import asyncio
import contextlib
import datetime
from collections.abc import Mapping
from uuid import uuid4

import sqlalchemy as sa

from projections import answers, live, positions
from projections.database import Database
from projections.pace import read_ahead
from projections.positions import Source
from projections.projection import Projection
from schemas.positions import Partition
from streams.log import Log

BATCH = 5_000  # records of one transaction: a job's events meet in one row


async def rebuild(database: Database, log: Log, *, batch: int = BATCH) -> str:
    """Fold the whole log into a new schema and let readers see it instead of the old one.

    A projector may run meanwhile: it goes on from the new schema after the switch. Telemetry is
    shared and stays as it is. The old schema is kept until the next rebuild. One that was begun by
    this code and ended halfway, however it ended, is gone on with.

    Args:
        database: Where the tables are.
        log: What they are made from.
        batch: Records of one transaction.

    Returns:
        The new schema's name.

    Raises:
        LogUnavailable: If Kafka does not answer; readers see the old tables.
        DatabaseUnavailable: If Postgres does not answer; readers see the old tables.
        ClusterChanged: If the topics are not as they should be.
        SupersededOwner: If another process goes on with this rebuild.
    """
    cluster, topic_ids = await log.identity()
    source = Source(cluster=cluster, topic_ids=topic_ids)
    new = await asyncio.to_thread(Projection.of_rebuild, database, source, uuid4().hex)
    new.answers_since = datetime.datetime.now(datetime.UTC) - answers.KEPT
    await fold_until(new, log, await log.ends(new.topics), batch=batch)
    while not await asyncio.to_thread(_switched, new):
        await fold_until(new, log, await log.ends(new.topics), batch=batch)
    return new.schema


async def fold_until(
    new: Projection, log: Log, ends: Mapping[Partition, int], *, batch: int = BATCH
) -> None:
    """Fold what stands before the given offsets, and nothing after them.

    Raises:
        LogUnavailable: If Kafka does not answer when it starts.
        DatabaseUnavailable: If Postgres does not answer.
        SupersededOwner: If another process moves these tables now.
    """
    batches = read_ahead(log.read(new.next_offsets, batch=batch, until=ends))
    async with contextlib.aclosing(batches):
        async for records in batches:
            before = [one for one in records if one.offset < ends[one.topic, one.partition]]
            if before:
                await new.settle(before)


def _switched(new: Projection) -> bool:
    """Let readers see the new tables, unless the old ones are further; then nothing changes."""
    with new.database.begin() as connection:
        connection.execute(sa.text("LOCK TABLE public.lifelog_projection IN EXCLUSIVE MODE"))
        positions.hold(connection, new.schema, new.owner, topics=new.topics)
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
        live.finish(connection, new.schema)
        before = datetime.datetime.now(datetime.UTC) - answers.KEPT
        answers.prune(connection, new.schema, before)
    return True
