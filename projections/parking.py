"""Records that cannot become rows: noted in a table and on `dead-letters`, and gone past.

With such a record every later one of the same topic and subject is parked too, since the rows of
that subject are no longer what those events expect.
"""

import datetime

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from projections.tables import select
from schemas import codec, topics
from schemas.envelope import Recorded
from schemas.errors import LifelogError, RecordCorrupt
from schemas.telemetry import DeadLetter
from streams.log import Log, Unreadable

READER = "projector"
KEPT_BYTES = 500_000  # of the value, so that the letter fits a record; the rest stays on the log

Subject = tuple[str, str]  # topic, subject
Place = tuple[str, int, int]  # topic, partition, offset


class Parked(msgspec.Struct, frozen=True, kw_only=True):
    """A record that made no row."""

    topic: str
    partition: int
    log_offset: int
    subject: str | None
    code: str
    error: str
    at: datetime.datetime

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.topic, self.partition, self.log_offset


_INSERT = sa.text(
    'INSERT INTO projections.parked (schema, topic, partition, "offset", subject, code, error, at)'
    " VALUES (:live, :topic, :partition, :offset, :subject, :code, :error, :at)"
)


def subject_of(recorded: Recorded) -> Subject | None:
    """What a record's successors share with it; None if it cannot be told."""
    subject = recorded.envelope.subject
    return None if subject is None else (recorded.topic, subject)


def place_of(recorded: Recorded) -> Place:
    """Where a record stands."""
    return recorded.topic, recorded.partition, recorded.offset


def fault(recorded: Recorded, parked: set[Subject]) -> LifelogError | None:
    """Why a record cannot be folded, as far as that can be told without folding it."""
    if isinstance(recorded.data, Unreadable):
        return RecordCorrupt(recorded.data.error)
    if subject_of(recorded) in parked:
        return RecordCorrupt("An earlier record of the same subject could not be folded.")
    return None


def insert(connection: Connection, live: str, recorded: Recorded, error: LifelogError) -> None:
    """Note a parked record, in the transaction that moves the position past it."""
    connection.execute(
        _INSERT,
        {
            "live": live,
            "topic": recorded.topic,
            "partition": recorded.partition,
            "offset": recorded.offset,
            "subject": recorded.envelope.subject,
            "code": error.code,
            "error": str(error),
            "at": recorded.timestamp,
        },
    )


async def send(log: Log, recorded: Recorded, error: LifelogError) -> None:
    """Append a copy of a record to `dead-letters`.

    Raises:
        LogUnavailable: If no broker acknowledges it.
    """
    unreadable = recorded.data if isinstance(recorded.data, Unreadable) else None
    value = unreadable.value if unreadable else codec.encode(recorded.data)
    letter = DeadLetter(
        topic=recorded.topic,
        partition=recorded.partition,
        offset=recorded.offset,
        reader=READER,
        error=str(error),
        value=value[:KEPT_BYTES],
        headers=unreadable.headers if unreadable else (),
    )
    await log.append(topics.DEAD_LETTERS, 0, letter, subject=recorded.envelope.subject)


def of_schemas(connection: Connection, schemas: list[str]) -> list[Parked]:
    """Every parked record of some schemas, in the order in which they were written."""
    return select(
        connection,
        Parked,
        'SELECT topic, partition, "offset" AS log_offset, subject, code, error, at'
        " FROM projections.parked WHERE schema = ANY(:schemas)"
        ' ORDER BY at, topic, partition, "offset"',
        schemas=schemas,
    )


def dropped(connection: Connection) -> set[Place]:
    """The records that an operator gave up: no tables are made of them, now or in a rebuild."""
    found = connection.execute(
        sa.text('SELECT topic, partition, "offset" FROM projections.dropped')
    )
    return {(topic, partition, offset) for topic, partition, offset in found}
