"""The events of each job as they stand on `jobs.events`, so that a page can show its history."""

import datetime
from typing import Any

import msgspec
from sqlalchemy.engine import Connection

from projections.model import ReadModel
from projections.tables import Rows, Table, select
from schemas import codec, events, topics
from schemas.envelope import Recorded
from schemas.positions import Position
from streams.queue.telling.history import in_words

UNSHOWN = frozenset({"recipe", "requested"})  # long, and they stand elsewhere


class JobEventRow(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a job's history."""

    partition: int
    log_offset: int
    job_id: str
    at: datetime.datetime
    type: str
    payload: dict[str, Any]
    told: str | None = None  # in a sentence; None: it tells nothing new

    @property
    def position(self) -> Position:
        """Where it stands on the log."""
        return Position(
            topic=topics.JOB_EVENTS.name, partition=self.partition, offset=self.log_offset
        )


JOB_EVENTS = Table(
    "job_events",
    JobEventRow,
    key=("partition", "log_offset"),
    indexes=("job_id, log_offset",),
    append_only=True,
)


def project(rows: Rows, recorded: Recorded) -> None:
    """Keep an event that is about a job."""
    event = recorded.data
    if not isinstance(event, events.Event) or not hasattr(event, "job_id"):
        return
    payload = msgspec.to_builtins(event)
    row = JobEventRow(
        partition=recorded.partition,
        log_offset=recorded.offset,
        job_id=event.job_id,
        at=recorded.envelope.time,
        type=codec.type_of(event),
        payload={name: value for name, value in payload.items() if _is_shown(name, value)},
        told=in_words(event),
    )
    rows.put(JOB_EVENTS, row)


def _is_shown(name: str, value: Any) -> bool:
    """How many entries a dataset was made of is shown, which they were stands elsewhere."""
    return name not in UNSHOWN and (name != "entries" or isinstance(value, int))


MODEL = ReadModel(topics.JOB_EVENTS, (JOB_EVENTS,), project)


def of_job(connection: Connection, job_id: str, *, limit: int = 1_000) -> list[JobEventRow]:
    """The newest events of a job, in order."""
    found = select(
        connection,
        JobEventRow,
        "SELECT * FROM job_events WHERE job_id = :it ORDER BY log_offset DESC LIMIT :limit",
        it=job_id,
        limit=limit,
    )
    return found[::-1]
