"""Jobs as they stand, from `jobs.events`: state, place in the queue, progress, how they ended."""

# ruff: noqa: S608 - names in statements are ours; values are parameters

import datetime
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy.engine import Connection

from projections.model import ReadModel
from projections.tables import Rows, Table, first, select
from schemas import events, topics
from schemas.envelope import Recorded
from schemas.errors import RecordCorrupt
from schemas.types import ENDED, JobState, Priority, Scalar, StopReason
from streams.queue.order import sort_key
from streams.queue.telling.sentences import sentence
from streams.queue.transitions import next_state

QUEUE_ORDER = "queue_rank, submitted_offset"
WAITING = "state IN ('queued', 'retrying')"
APART = "state IN ('scheduled', 'paused')"


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it stands."""

    job_id: str
    person_id: str
    pool: str
    partition: int
    state: JobState
    priority: Priority
    queue_rank: int  # with `submitted_offset`: the queue's order, lower goes first
    submitted_offset: int
    recipe: dict[str, Scalar]
    requested: dict[str, dict[str, Scalar]]
    notes: tuple[str, ...]
    memory_bytes: int
    attempts_max: int
    timeout_s: float
    submitted_at: datetime.datetime
    changed_at: datetime.datetime
    not_before: datetime.datetime | None = None  # of a job that waits to be tried again
    started_at: datetime.datetime | None = None  # when its first attempt began to run
    ended_at: datetime.datetime | None = None
    attempt: int = 0  # the latest; 0: none yet
    fencing_token: int | None = None  # of the latest attempt: the one that counts
    worker_id: str | None = None  # that holds or last held it
    step: int = 0  # of the latest checkpoint
    total_steps: int | None = None
    checkpoint: str | None = None
    dataset: str | None = None
    manifest: str | None = None
    examples: int | None = None
    dataset_entries: int | None = None
    dataset_tokens: int | None = None
    cancel_requested: bool = False
    code: str | None = None  # of the error that it or its latest attempt ended with
    detail: str = ""
    version_id: str | None = None
    steps: int | None = None
    training_tokens: int | None = None
    seconds: float | None = None
    scores: dict[str, float] = {}
    telemetry: str | None = None  # digest of the archived points
    version: int = 1  # how many events are about it: what `If-Match` is compared with
    paused: bool = False  # by its owner
    held: bool = False  # by an operator
    blocked: bool = False  # by its person's budget, as was last told: no event says that it may go
    after: tuple[str, ...] = ()  # the jobs that a scheduled one waits for
    stopping: StopReason | None = None  # why its worker was told to stop the attempt that runs


JOBS = Table(
    "jobs",
    JobRow,
    key=("job_id",),
    indexes=("person_id, submitted_at", f"pool, state, {QUEUE_ORDER}", "worker_id, state"),
)


def project(rows: Rows, recorded: Recorded) -> None:
    """What one event does to its job; states move by the queue's own table."""
    event, at = recorded.data, recorded.envelope.time
    if isinstance(event, events.JobSubmitted):
        rows.put(JOBS, _submitted(event, recorded))
        return
    if not isinstance(event, events.Event) or not hasattr(event, "job_id"):
        return
    row = rows.find(JOBS, event.job_id)
    if row is None:
        raise RecordCorrupt(f"Job {event.job_id} was never submitted.")
    state = next_state(row.state, type(event)) or row.state
    rows.put(
        JOBS,
        msgspec.structs.replace(
            row,
            state=state,
            version=row.version + 1,
            changed_at=at,
            ended_at=at if state in ENDED and row.ended_at is None else row.ended_at,
            started_at=row.started_at or (at if isinstance(event, events.JobStarted) else None),
            **_changes(row, event, at),
        ),
    )


MODEL = ReadModel(topics.JOB_EVENTS, (JOBS,), project)


def _submitted(event: events.JobSubmitted, recorded: Recorded) -> JobRow:
    rank, number = sort_key(event.priority, recorded.offset)
    return JobRow(
        job_id=event.job_id,
        person_id=event.person_id,
        pool=event.pool,
        partition=recorded.partition,
        state="queued",
        priority=event.priority,
        queue_rank=rank,
        submitted_offset=number,
        recipe=event.recipe,
        requested=event.requested,
        notes=event.notes,
        memory_bytes=event.memory_bytes,
        attempts_max=event.attempts_max,
        timeout_s=event.timeout_s,
        submitted_at=recorded.envelope.time,
        changed_at=recorded.envelope.time,
    )


def _changes(row: JobRow, event: events.Event, at: datetime.datetime) -> dict[str, Any]:
    """The fields that an event sets, but for those that follow from the state."""
    match event:
        case events.LeaseGranted():
            told = _fields(event, "attempt", "fencing_token", "worker_id")
            return told | {"not_before": None, "blocked": False}
        case events.DatasetBuilt():
            return _fields(event, "dataset", "manifest", "examples") | {
                "dataset_entries": event.entries,
                "dataset_tokens": event.tokens,
            }
        case events.CheckpointNoted():
            return _fields(event, "step", "total_steps", "checkpoint")
        case events.AttemptStopRequested():
            return {"stopping": event.stop}
        case events.AttemptEnded():
            return _fields(event, "code", "detail") | {"stopping": None}
        case events.JobCancelRequested():
            return {"cancel_requested": True}
        case _:
            return _out_of_line(row, event, at) or _over(event)


def _out_of_line(row: JobRow, event: events.Event, at: datetime.datetime) -> dict[str, Any]:
    """What keeps a job from being leased, and what lets it in line again."""
    match event:
        case events.JobRetryScheduled():
            not_before = event.not_before if event.not_before > at else None
            return {"not_before": not_before, "blocked": False}
        case events.JobDeferred():
            return _fields(event, "not_before", "after")
        case events.JobReadied():
            return {"not_before": None, "after": (), "blocked": False}
        case events.JobPaused():
            return {
                "not_before": None,
                "blocked": False,
                "paused": row.paused or not event.held,
                "held": row.held or event.held,
            }
        case events.JobResumed():
            return {"not_before": None, "paused": False, "held": False}
        case events.JobBlocked():
            return {"not_before": event.until, "blocked": True}
        case events.JobReprioritised():
            rank, _ = sort_key(event.priority, row.submitted_offset)
            return {"priority": event.priority, "queue_rank": rank}
        case _:
            return {}


def _over(event: events.Event) -> dict[str, Any]:
    """How a job ended."""
    match event:
        case events.JobFailed():
            return _fields(event, "code", "detail")
        case events.JobCancelled():
            return {"code": event.code, "detail": event.reason}
        case events.JobExpired():
            return {"code": None, "detail": "; ".join(sentence(one) for one in event.why)}
        case events.JobSucceeded():
            return {"code": None, "detail": "", "stopping": None} | _fields(
                event,
                *("version_id", "dataset", "manifest", "steps", "training_tokens"),
                *("seconds", "scores", "telemetry"),
            )
        case _:
            return {}


def _fields(event: events.Event, *names: str) -> dict[str, Any]:
    return {name: getattr(event, name) for name in names}


def find(connection: Connection, job_id: str) -> JobRow | None:
    """A job by its id."""
    return first(connection, JobRow, "SELECT * FROM jobs WHERE job_id = :it", it=job_id)


def of_person(connection: Connection, person_id: str, *, limit: int = 50) -> list[JobRow]:
    """A person's jobs, the newest first."""
    return select(
        connection,
        JobRow,
        "SELECT * FROM jobs WHERE person_id = :it"
        " ORDER BY submitted_at DESC, submitted_offset DESC LIMIT :limit",
        it=person_id,
        limit=limit,
    )


def newest(connection: Connection, *, limit: int = 50) -> list[JobRow]:
    """Everybody's jobs, the newest first."""
    return select(
        connection,
        JobRow,
        "SELECT * FROM jobs ORDER BY submitted_at DESC, submitted_offset DESC LIMIT :limit",
        limit=limit,
    )


def waiting(
    connection: Connection, pool: str, line: Sequence[str] = (), *, limit: int = 1_000
) -> list[JobRow]:
    """The jobs that wait in a pool: those of a line in its order, then by class and submission.

    Args:
        connection: Of a snapshot.
        pool: Its name.
        line: The queue's own order, which follows ages and shares and is in no table.
        limit: So many at most.
    """
    return select(
        connection,
        JobRow,
        f"SELECT jobs.* FROM jobs LEFT JOIN unnest(CAST(:line AS text[])) WITH ORDINALITY"
        f" AS l (job_id, rank) USING (job_id) WHERE pool = :pool AND {WAITING}"
        f" ORDER BY rank NULLS LAST, {QUEUE_ORDER} LIMIT :limit",
        pool=pool,
        line=list(line[:limit]),
        limit=limit,
    )


def apart(connection: Connection, pool: str, *, limit: int = 1_000) -> list[JobRow]:
    """The jobs of a pool that wait, but not in line: scheduled, paused or held."""
    return select(
        connection,
        JobRow,
        f"SELECT * FROM jobs WHERE pool = :pool AND {APART} ORDER BY submitted_offset LIMIT :limit",
        pool=pool,
        limit=limit,
    )


def held(connection: Connection, pool: str) -> list[JobRow]:
    """The jobs of a pool that a worker holds, the longest held first."""
    return select(
        connection,
        JobRow,
        "SELECT * FROM jobs WHERE pool = :pool AND state IN ('leased', 'running')"
        " ORDER BY fencing_token",
        pool=pool,
    )


class Count(msgspec.Struct, frozen=True):
    """How many jobs are in a state."""

    state: JobState
    jobs: int


def counts(connection: Connection, pool: str) -> dict[JobState, int]:
    """How many jobs of a pool are in each state; a state without jobs is left out."""
    query = "SELECT state, count(*) AS jobs FROM jobs WHERE pool = :pool GROUP BY state"
    return {one.state: one.jobs for one in select(connection, Count, query, pool=pool)}
