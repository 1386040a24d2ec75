"""Jobs as the API shows them: state, place in the queue, progress, history, points."""

import datetime
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import Response

from projections import attempts, history, jobs, metrics
from projections.jobs import JobRow
from projections.metrics import MetricPoint
from schemas.errors import NotFound
from schemas.types import ENDED, Cause, JobState, Priority, Scalar, StopReason
from streams.queue.telling.forecast import AHEAD_AT_MOST, Forecast, Span
from streams.queue.telling.sentences import sentence
from web import archives
from web.callers import Caller
from web.routing import Body, Operation, WebRequest, Wire, answer, caller, queried, services
from web.services import Services
from web.writes import etag

METRICS = ("loss", "learning_rate", "epoch", "tokens", "tokens_per_second", "seconds_left")


class Progress(Wire, frozen=True, kw_only=True):
    """How far the attempt that counts has come."""

    step: int
    total_steps: int
    share: float  # of all steps, 0 to 1
    loss: float | None = None  # nats per label token
    tokens: float | None = None  # non-padding tokens so far
    tokens_per_second: float | None = None
    seconds_left: float | None = None
    at: datetime.datetime


class Expected(Wire, frozen=True, kw_only=True):
    """A time that is not known yet, and its bounds."""

    earliest: datetime.datetime
    expected: datetime.datetime
    latest: datetime.datetime


class Job(Wire, frozen=True, kw_only=True):
    """A training job as it stands."""

    job_id: str
    person_id: str
    pool: str
    state: JobState
    priority: Priority
    position: int | None = None  # in line, from 1; null: it is not in line
    expected_start: Expected | None = None  # null: it is not in line, or nothing can be said
    expected_end: Expected | None = None
    attempt: int = 0  # 0: none yet
    attempts_max: int
    timeout_seconds: float  # of one attempt
    fencing_token: int | None = None
    worker_id: str | None = None
    cancel_requested: bool = False
    version: int  # of the job: its ETag, which `If-Match` quotes
    paused: bool = False  # by its owner
    held: bool = False  # by an operator
    blocked: bool = False  # by its person's budget
    after: tuple[str, ...] = ()  # the jobs that it waits for
    stopping: StopReason | None = None  # why its worker was told to stop the attempt that runs
    submitted_at: datetime.datetime
    changed_at: datetime.datetime
    not_before: datetime.datetime | None = None
    started_at: datetime.datetime | None = None
    ended_at: datetime.datetime | None = None
    progress: Progress | None = None
    effective: dict[str, Scalar]  # the recipe as it took effect
    notes: tuple[str, ...] = ()  # where it differs from what was asked for
    version_id: str | None = None
    scores: dict[str, float] = msgspec.field(default_factory=dict)
    code: str | None = None  # of the error that it or its latest attempt ended with
    detail: str = ""


class Attempt(Wire, frozen=True, kw_only=True):
    """One lease of a job."""

    attempt: int
    fencing_token: int
    worker_id: str
    state: str
    reason: str  # why this job, on this worker, then
    leased_at: datetime.datetime
    lease_until: datetime.datetime
    started_at: datetime.datetime | None = None
    ended_at: datetime.datetime | None = None
    from_step: int
    step: int
    cause: Cause | None = None
    code: str | None = None
    detail: str = ""


class JobEvent(Wire, frozen=True, kw_only=True):
    """One event of a job's history, as it stands on the log."""

    position: str  # topic/partition/offset
    at: datetime.datetime
    type: str
    data: dict[str, Any]  # in the log's own spelling
    told: str | None = None  # in a sentence; null: it tells nothing new


class JobHistory(Wire, frozen=True, kw_only=True):
    """A job with all that happened to it."""

    job: Job
    attempts: tuple[Attempt, ...]
    events: tuple[JobEvent, ...]
    waits_for: tuple[str, ...] = ()  # what keeps it from running now, in sentences


class Point(Wire, frozen=True, kw_only=True):
    """One step's number, of the attempt that counts for that step."""

    step: int
    value: float
    at: datetime.datetime
    attempt: int


class Series(Wire, frozen=True, kw_only=True):
    """A job's points by metric, one a step."""

    job_id: str
    series: dict[str, tuple[Point, ...]]


class SeriesQuery(Body, frozen=True, kw_only=True):
    """Which points."""

    names: str = "loss"  # with commas
    max_points: Annotated[int, Meta(ge=2, le=10_000)] = 1_000


def job_view(connection: Any, row: JobRow, told: Forecast | None, *, brief: bool = False) -> Job:
    """A job's row with its place in the queue and its progress.

    Args:
        connection: Of a snapshot.
        row: The job.
        told: What its queue says of it; None where it says nothing.
        brief: Leave out how far a job had come that has ended.
    """
    far = row.attempt and not (brief and row.state in ENDED)
    told = None if row.state in ENDED else told
    return Job(
        job_id=row.job_id,
        person_id=row.person_id,
        pool=row.pool,
        state=row.state,
        priority=row.priority,
        position=position_of(row, told),
        expected_start=expected(None if told is None else told.start),
        expected_end=expected(None if told is None else told.end),
        attempt=row.attempt,
        attempts_max=row.attempts_max,
        timeout_seconds=row.timeout_s,
        fencing_token=row.fencing_token,
        worker_id=row.worker_id,
        cancel_requested=row.cancel_requested,
        version=row.version,
        paused=row.paused,
        held=row.held,
        blocked=row.blocked,
        after=row.after,
        stopping=row.stopping,
        submitted_at=row.submitted_at,
        changed_at=row.changed_at,
        not_before=row.not_before,
        started_at=row.started_at,
        ended_at=row.ended_at,
        progress=progress_view(connection, row.job_id) if far else None,
        effective=row.recipe,
        notes=row.notes,
        version_id=row.version_id,
        scores=row.scores,
        code=row.code,
        detail=row.detail,
    )


def expectations(held: Services, rows: Iterable[JobRow]) -> dict[str, Forecast]:
    """What the queues say of some jobs, by job. Blocks: call it in a thread."""
    asked: dict[int, dict[str, None]] = {}
    for row in rows:
        if row.state not in ENDED:
            asked.setdefault(row.partition, {})[row.job_id] = None
    found: dict[str, Forecast] = {}
    for partition, job_ids in asked.items():
        found |= held.queues.forecasts(partition, job_ids)
    return found


def waits_for(row: JobRow, told: Forecast | None) -> tuple[str, ...]:
    """What keeps a job from running now, in sentences."""
    if told is None or row.state in ENDED:
        return ()
    return tuple(sentence(one) for one in told.waits_for)


def position_of(row: JobRow, told: Forecast | None) -> int | None:
    """A job's position; None for one that is not in line by its row and by its queue alike."""
    return told.position if told is not None and row.state in {"queued", "retrying"} else None


def expected(span: Span | None) -> Expected | None:
    """A span of the forecast's as the API shows it."""
    if span is None:
        return None
    return Expected(earliest=span.earliest, expected=span.expected, latest=span.latest)


def progress_view(connection: Any, job_id: str) -> Progress | None:
    """How far a job has come; None before its first word."""
    row = metrics.progress(connection, job_id)
    if row is None:
        return None
    latest = metrics.latest(connection, job_id)
    return Progress(
        step=row.step,
        total_steps=row.total_steps,
        share=row.step / row.total_steps,
        loss=_value(latest, "loss"),
        tokens=_value(latest, "tokens"),
        tokens_per_second=_value(latest, "tokens_per_second"),
        seconds_left=_value(latest, "seconds_left"),
        at=row.at,
    )


def required_job(connection: Any, who: Caller, job_id: str) -> JobRow:
    """A job that the caller may see.

    Raises:
        NotFound: If there is none, or it is another's.
    """
    row = jobs.find(connection, job_id)
    if row is None or not who.may_see(row.person_id):
        raise NotFound("There is no such job.")
    return row


async def job(request: WebRequest) -> Response:
    """One job with its attempts and its events."""
    job_id, who, held = request.path_params["job_id"], caller(request), services(request)

    def question(connection: Any) -> JobHistory:
        row = required_job(connection, who, job_id)
        told = held.queues.forecasts(row.partition, (job_id,), ahead_at_most=AHEAD_AT_MOST)
        return JobHistory(
            job=job_view(connection, row, told.get(job_id)),
            attempts=tuple(_attempt(one) for one in attempts.of_job(connection, job_id)),
            events=tuple(_event(one) for one in history.of_job(connection, job_id)),
            waits_for=waits_for(row, told.get(job_id)),
        )

    found = await held.query(question)
    return answer(request, found, headers={"ETag": etag(found.job.version)})


async def points(request: WebRequest) -> Response:
    """The points of a job's training, of the attempts that count."""
    job_id, who = request.path_params["job_id"], caller(request)
    wanted = queried(request, SeriesQuery)
    names = [name for name in wanted.names.split(",") if name in METRICS]

    def question(connection: Any) -> dict[str, list[MetricPoint]]:
        required_job(connection, who, job_id)
        return metrics.series(connection, job_id, names, max_points=wanted.max_points)

    found = await services(request).query(question)
    whole = await archives.whole_series(services(request), job_id, names)
    if whole is not None:  # some rows are gone
        found = {name: archives.thinned(whole[name], wanted.max_points) for name in names}
    series = {name: tuple(_point(one) for one in found[name]) for name in names}
    return answer(request, Series(job_id=job_id, series=series))


def _attempt(row: attempts.AttemptRow) -> Attempt:
    return Attempt(
        attempt=row.attempt,
        fencing_token=row.fencing_token,
        worker_id=row.worker_id,
        state=row.state,
        reason=row.reason,
        leased_at=row.leased_at,
        lease_until=row.lease_until,
        started_at=row.started_at,
        ended_at=row.ended_at,
        from_step=row.from_step,
        step=row.step,
        cause=row.cause,
        code=row.code,
        detail=row.detail,
    )


def _event(row: history.JobEventRow) -> JobEvent:
    return JobEvent(
        position=str(row.position), at=row.at, type=row.type, data=row.payload, told=row.told
    )


def _point(point: MetricPoint) -> Point:
    return Point(step=point.step, value=point.value, at=point.at, attempt=point.attempt)


def _value(latest: dict[str, MetricPoint], name: str) -> float | None:
    point = latest.get(name)
    return None if point is None else point.value


OPERATIONS = (
    Operation(
        method="GET",
        path="/api/jobs/{job_id}",
        endpoint=job,
        access="member",
        summary="One job with its attempts and its events",
        answers={200: JobHistory},
    ),
    Operation(
        method="GET",
        path="/api/jobs/{job_id}/metrics",
        endpoint=points,
        access="member",
        summary="The points of a job's training, one a step",
        query=SeriesQuery,
        answers={200: Series},
    ),
)
