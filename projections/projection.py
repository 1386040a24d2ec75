"""One schema of tables on its way along the log: rows and positions move in one transaction."""

import asyncio
import datetime
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from projections import live, parking, positions
from projections.database import Database
from projections.fold import FOLDED, schema_of, write
from projections.parking import Place, Subject
from projections.positions import Source
from projections.readiness import Trouble
from schemas.envelope import Recorded
from schemas.errors import LifelogError, RecordCorrupt
from schemas.positions import Partition
from schemas.topics import Topic
from streams.log import Log


class Projection:
    """What one owner moves along the log. Open it with `of_active`, `of_rebuild` or `of_new`."""

    def __init__(
        self, database: Database, schema: str, owner: str, topics: Collection[Topic]
    ) -> None:
        self.database = database
        self.schema = schema
        self.owner = owner
        self.topics = topics
        self.next_offsets: dict[Partition, int] = {}  # to fold
        self.parked: set[Subject] = set()
        self.dropped: set[Place] = set()  # records that an operator gave up
        self.trouble = Trouble()
        self.answers_since: datetime.datetime | None = None  # what is older is not worth writing

    @classmethod
    def of_active(cls, database: Database, source: Source, owner: str) -> Self:
        """Take over the tables that readers see; their earlier owner stops at its next batch.

        The first call on a database makes them.

        Raises:
            ClusterChanged: If the tables were made from another log.
            DatabaseUnavailable: If Postgres does not answer.
        """
        with database.begin() as connection:
            connection.execute(sa.text("LOCK TABLE public.lifelog_projection IN EXCLUSIVE MODE"))
            known = live.active(connection)
            schema = known[0] if known else live.make(connection)
            if known is None:
                live.activate(connection, schema)
            return cls(database, schema, owner, FOLDED).claim(connection, source)

    @classmethod
    def of_new(
        cls, database: Database, source: Source, owner: str, *, prefix: str = live.PREFIX
    ) -> Self:
        """Make empty tables that nobody reads yet. Those that all versions share stay untouched.

        Raises:
            DatabaseUnavailable: If Postgres does not answer.
        """
        with database.begin() as connection:
            schema = live.make(connection, prefix)
            return cls(database, schema, owner, _own(schema)).claim(connection, source)

    @classmethod
    def of_rebuild(cls, database: Database, source: Source, owner: str) -> Self:
        """Go on with the tables that a rebuild by this code has begun, or begin with empty ones.

        Whoever fills them now stops at its next batch.

        Raises:
            DatabaseUnavailable: If Postgres does not answer.
        """
        with database.begin() as connection:
            connection.execute(sa.text("LOCK TABLE projections.rebuilds IN EXCLUSIVE MODE"))
            schema = live.unfinished(connection)
            if schema is not None and not positions.made_from(connection, schema, source):
                live.drop(connection, schema)
                schema = None
            live.drop_others(connection, keep=schema)
            schema = schema or live.begin(connection)
            return cls(database, schema, owner, _own(schema)).claim(connection, source)

    def claim(self, connection: Connection, source: Source) -> Self:
        """Take the positions over, in a transaction of the caller's.

        Raises:
            ClusterChanged: If the tables were made from another log.
        """
        self.next_offsets = positions.claim(
            connection, self.schema, self.owner, source, topics=self.topics
        )
        self.look_up_parked(connection)
        return self

    def look_up_parked(self, connection: Connection) -> None:
        """Read which records are parked or dropped."""
        found = parking.of_schemas(connection, positions.schemas(self.schema))
        self.parked = {(one.topic, one.subject) for one in found if one.subject is not None}
        self.dropped = parking.dropped(connection)

    def resume(self) -> None:
        """Read the positions again, after an outage.

        Raises:
            SupersededOwner: If another process has taken over meanwhile.
            DatabaseUnavailable: If Postgres does not answer.
        """
        with self.database.begin() as connection:
            self.next_offsets = positions.resume(
                connection, self.schema, self.owner, topics=self.topics
            )

    def active(self) -> bool:
        """Whether these are the tables that readers see."""
        with self.database.begin() as connection:
            known = live.active(connection)
        return known is not None and known[0] == self.schema

    def missing(self, records: Sequence[Recorded]) -> list[Recorded]:
        """Those records that the tables do not have yet."""
        return [one for one in records if one.offset >= self.next_offsets[one.topic, one.partition]]

    async def settle(self, records: Sequence[Recorded], log: Log | None = None) -> None:
        """Fold records into the tables; park those that cannot be folded, and them alone.

        Args:
            records: In the order of the log, none of which the tables have.
            log: Takes a copy of what is parked; without it there is none, since it has one.

        Raises:
            SupersededOwner: If another process has taken over; the rest has changed nothing.
            DatabaseUnavailable: If Postgres does not answer; how far this went, `resume` tells.
            LogUnavailable: If a copy could not be appended; its record is not gone past.
        """
        try:
            await asyncio.to_thread(self.apply, records)
        except RecordCorrupt as error:
            if len(records) > 1:
                middle = len(records) // 2
                await self.settle(records[:middle], log)
                await self.settle(records[middle:], log)
                return
            if log is not None:
                await parking.send(log, records[0], error)
            await asyncio.to_thread(self.park, records[0], error)

    def apply(self, records: Sequence[Recorded]) -> None:
        """Fold records into the tables and move past them, in one transaction.

        Raises:
            RecordCorrupt: If one of them cannot be folded; nothing has changed then.
            SupersededOwner: If another process has taken over; nothing has changed then.
            DatabaseUnavailable: If Postgres does not answer; whether anything has changed,
                `resume` tells.
        """
        kept = [one for one in records if parking.place_of(one) not in self.dropped]
        for recorded in kept:
            error = parking.fault(recorded, self.parked)
            if error is not None:
                raise error
        with self._batch() as connection:
            write(connection, self.schema, kept, since=self.answers_since)
            moved = self._move(connection, records)
        self.next_offsets |= moved

    def park(self, recorded: Recorded, error: LifelogError) -> None:
        """Move past a record that cannot be folded, and note it."""
        with self._batch() as connection:
            parking.insert(connection, schema_of(recorded.topic, self.schema), recorded, error)
            moved = self._move(connection, [recorded])
        self.next_offsets |= moved
        subject = parking.subject_of(recorded)
        if subject is not None:
            self.parked.add(subject)
        self.trouble.note(error)

    @contextmanager
    def _batch(self) -> Iterator[Connection]:
        """A transaction that does not wait for the disk.

        A crash of Postgres may undo the last ones whole, rows with positions: what they were made
        of stands on the log and is folded again.
        """
        with self.database.begin() as connection:
            connection.execute(sa.text("SET LOCAL synchronous_commit = off"))
            yield connection

    def _move(self, connection: Connection, records: Sequence[Recorded]) -> dict[Partition, int]:
        return positions.move(
            connection, self.schema, self.owner, before=self.next_offsets, records=records
        )


def _own(schema: str) -> list[Topic]:
    """The topics whose rows are a schema's own."""
    return [topic for topic in FOLDED if schema_of(topic.name, schema) == schema]
