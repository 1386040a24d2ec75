"""Jobs as the API shows them: state, place in the queue, progress, history, points."""

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from projections import attempts, history, jobs, metrics
from projections import status as standing
from projections.jobs import JobRow
from projections.metrics import MetricPoint, ProgressRow
from schemas.errors import NotFound
from schemas.types import ENDED, Cause, JobState, Priority, Scalar, StopReason
from streams.queue.telling.forecast import AHEAD_AT_MOST, Forecast, Span, forecasts
from streams.queue.telling.sentences import sentence
from web.callers import Caller
from web.past import AS_OF
from web.routing import Body, Operation, WebRequest, Wire, answer, caller, queried, services
from web.services import Services
from web.writes import etag


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


def job_view(connection: Any, row: JobRow, told: Forecast | None, *, brief: bool = False) -> Job:
    """A job's row with its place in the queue and its progress.

    Args:
        connection: Of a snapshot.
        row: The job.
        told: What its queue says of it; None where it says nothing.
        brief: Leave out how far a job had come that has ended.
    """
    far = row.attempt and not (brief and row.state in ENDED)
    return _job(row, told, progress_view(connection, row.job_id) if far else None)


def _job(row: JobRow, told: Forecast | None, progress: Progress | None) -> Job:
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
        progress=progress,
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
    return None if row is None else _progress(row, _values(metrics.latest(connection, job_id)))


def past_progress(connection: Any, row: JobRow, until: datetime.datetime) -> Progress | None:
    """How far a job had come by its worker's clock; None before its first word.

    Args:
        connection: Of a snapshot.
        row: The job as it stood then.
        until: The moment.
    """
    if row.fencing_token is None:
        return None
    found = metrics.progress_until(connection, row.job_id, row.fencing_token, until)
    if found is None:
        return None
    then = metrics.at_step(connection, row.job_id, row.fencing_token, found.step)
    return _progress(found, _values(then))


def _progress(row: ProgressRow, latest: Mapping[str, float]) -> Progress:
    return Progress(
        step=row.step,
        total_steps=row.total_steps,
        share=row.step / row.total_steps,
        loss=latest.get("loss"),
        tokens=latest.get("tokens"),
        tokens_per_second=latest.get("tokens_per_second"),
        seconds_left=latest.get("seconds_left"),
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


class MomentQuery(Body, frozen=True, kw_only=True):
    """When: a time with its offset from UTC, or a position on the log; nothing means now."""

    as_of: str | None = None


async def job(request: WebRequest) -> Response:
    """One job with its attempts and its events, now or as it stood."""
    job_id, who, held = request.path_params["job_id"], caller(request), services(request)
    moment = queried(request, MomentQuery).as_of
    if moment is not None:
        return await _job_as_of(request, moment)

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


async def _job_as_of(request: WebRequest, moment: str) -> Response:
    job_id, who, held = request.path_params["job_id"], caller(request), services(request)
    now = await held.query(lambda connection: required_job(connection, who, job_id))
    past = await held.pasts.at(now.partition, moment, job_id)
    row = past.job(job_id)
    if row is None:
        raise NotFound("There was no such job at that time.")
    progress = await held.query(lambda connection: past_progress(connection, row, past.time))
    told = forecasts(past.state, (job_id,), past.time, ahead_at_most=AHEAD_AT_MOST).get(job_id)
    found = JobHistory(
        job=_job(row, told, progress),
        attempts=tuple(_attempt(one) for one in past.attempts()),
        events=tuple(_event(one) for one in past.events()),
        waits_for=waits_for(row, told),
    )
    return answer(request, found, headers={AS_OF: past.position or ""})


async def status(request: WebRequest) -> Response:
    """How a job stands, for whoever asks again and again: one statement, nothing kept."""
    job_id, who, held = request.path_params["job_id"], caller(request), services(request)
    found = await standing.find(held.quick, job_id)
    if found is None or not who.may_see(found.job.person_id):
        raise NotFound("There is no such job.")
    told = None
    if found.job.state not in ENDED:
        told = await held.queues.forecast(found.job.partition, job_id)
    progress = None if found.progress is None else _progress(found.progress, found.latest)
    view = _job(found.job, told, progress)
    return answer(request, view, headers={"ETag": etag(view.version)})


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


def _values(latest: Mapping[str, MetricPoint]) -> dict[str, float]:
    return {name: point.value for name, point in latest.items()}


OPERATIONS = (
    Operation(
        method="GET",
        path="/api/jobs/{job_id}",
        endpoint=job,
        access="member",
        summary="One job with its attempts and its events, now or as of a moment",
        query=MomentQuery,
        answers={200: JobHistory},
    ),
    Operation(
        method="GET",
        path="/api/jobs/{job_id}/status",
        endpoint=status,
        access="member",
        summary="How a job stands, without its history",
        answers={200: Job},
    ),
)
