"""The queue: what waits and what runs, and asking a job to stop."""

import datetime
from typing import Any, Literal

from starlette.responses import Response

from projections import jobs, workers
from projections.jobs import JobRow
from schemas import commands
from schemas.errors import InvalidBody, NotBuilt
from schemas.topics import JOB_COMMANDS, POOLS
from schemas.types import Device, JobState, Priority
from web.api.configuration import ATTEMPTS_MAX, PRIORITY_RANKS, TIMEOUT_S, EffectiveQueue
from web.api.jobs import Progress, progress_view, required_job
from web.callers import Caller
from web.routing import Body, Operation, WebRequest, Wire, answer, caller, read_hashed, services
from web.writes import ask, request_id, shown

GIGABYTE = 1e9
REASON_LENGTH = 500  # characters


class QueuedJob(Wire, frozen=True, kw_only=True):
    """A job that waits or runs. Of another's a member sees no more than that it is there."""

    mine: bool
    job_id: str | None = None
    person_id: str | None = None
    state: JobState
    priority: Priority
    position: int | None = None  # among those that wait, from 1
    attempt: int = 0
    attempts_max: int | None = None
    worker_id: str | None = None
    submitted_at: datetime.datetime | None = None
    progress: Progress | None = None


class Worker(Wire, frozen=True, kw_only=True):
    """A machine that takes jobs."""

    worker_id: str
    state: Literal["present", "silent", "left", "lost"]
    device: Device
    gpus: tuple[str, ...]
    memory_bytes: int
    slots: int
    busy: int  # slots


class Queue(Wire, frozen=True, kw_only=True):
    """A pool's queue: what runs first, then what waits, in its order."""

    pool: str
    jobs: tuple[QueuedJob, ...]
    counts: dict[str, int]  # of all the pool's jobs, by state
    workers: tuple[Worker, ...]
    configuration: EffectiveQueue


class QueueAction(Body, frozen=True, kw_only=True):
    """What to do with a job."""

    action: Literal["cancel", "pause", "resume", "reprioritize", "retry"]
    job_id: str
    reason: str = ""
    priority: Priority | None = None


class ActionTaken(Wire, frozen=True, kw_only=True):
    """The job as it stands after the action; null where the queue has not answered yet."""

    job_id: str
    action: str
    state: JobState | None


async def queue(request: WebRequest) -> Response:
    """The queue of this installation's pool."""
    who, held = caller(request), services(request)
    pool = held.settings.pool

    def question(connection: Any) -> Queue:
        running, waiting = jobs.held(connection, pool), jobs.waiting(connection, pool)
        ranks = {row.job_id: rank for rank, row in enumerate(waiting, 1)}
        there = [
            one for one in workers.all_holding(connection) if one.partition == POOLS.index(pool)
        ]
        return Queue(
            pool=pool,
            jobs=tuple(
                _queued(connection, who, row, ranks.get(row.job_id)) for row in (*running, *waiting)
            ),
            counts={str(state): number for state, number in jobs.counts(connection, pool).items()},
            workers=tuple(_worker(one) for one in there),
            configuration=_configuration(there),
        )

    return answer(request, await held.query(question))


async def act(request: WebRequest) -> Response:
    """Ask the queue to stop a job."""
    body, body_hash = await read_hashed(request, QueueAction)
    if body.action != "cancel":
        raise NotBuilt(f"The action {body.action} does not exist yet: only cancel does.")
    if len(body.reason) > REASON_LENGTH:
        raise InvalidBody(f"reason: more than {REASON_LENGTH} characters.", field="reason")
    who, held = caller(request), services(request)
    row = await held.query(lambda connection: required_job(connection, who, body.job_id))
    sent = await ask(
        request,
        JOB_COMMANDS,
        row.partition,
        commands.CancelJob(
            job_id=row.job_id,
            reason=body.reason,
            person_id=None if who.is_admin else who.person_id,
        ),
        identity=request_id(request),
        body_hash=body_hash,
        owner=row.person_id,
        subject=row.job_id,
    )
    state: JobState | None = None
    if await shown(request, sent):
        now = await held.query(lambda connection: required_job(connection, who, row.job_id))
        state = now.state
    taken = ActionTaken(job_id=row.job_id, action=body.action, state=state)
    return answer(request, taken, 202, sent.headers)


def _queued(connection: Any, who: Caller, row: JobRow, position: int | None) -> QueuedJob:
    mine = row.person_id == who.person_id
    if not who.may_see(row.person_id):
        return QueuedJob(mine=False, state=row.state, priority=row.priority, position=position)
    return QueuedJob(
        mine=mine,
        job_id=row.job_id,
        person_id=row.person_id,
        state=row.state,
        priority=row.priority,
        position=position,
        attempt=row.attempt,
        attempts_max=row.attempts_max,
        worker_id=row.worker_id,
        submitted_at=row.submitted_at,
        progress=progress_view(connection, row.job_id) if row.attempt else None,
    )


def _worker(row: workers.WorkerHolding) -> Worker:
    return Worker(
        worker_id=row.worker_id,
        state=row.state,
        device=row.device,
        gpus=row.gpus,
        memory_bytes=row.memory_bytes,
        slots=row.slots,
        busy=len(row.job_ids),
    )


def _configuration(there: list[workers.WorkerHolding]) -> EffectiveQueue:
    living = [one for one in there if one.state in {"present", "silent"}]
    gpus = [one.memory_bytes / GIGABYTE for one in living if one.device == "cuda"]
    return EffectiveQueue(
        max_concurrent_jobs=sum(one.slots for one in living),
        priority_weights=PRIORITY_RANKS,
        retry_attempts=ATTEMPTS_MAX - 1,
        timeout_minutes=TIMEOUT_S / 60,
        resource_limits={"gpuMemoryGB": max(gpus, default=0.0)},
    )


OPERATIONS = (
    Operation(
        method="GET",
        path="/api/training/queue",
        endpoint=queue,
        access="member",
        summary="What waits and what runs",
        answers={200: Queue},
    ),
    Operation(
        method="POST",
        path="/api/training/queue",
        endpoint=act,
        access="member",
        summary="Cancel a job",
        body=QueueAction,
        idempotent=True,
        answers={202: ActionTaken},
    ),
)
