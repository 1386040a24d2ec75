"""The queue: what waits and what runs, and what can be asked of a job."""

import datetime
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from starlette.responses import Response

from projections import jobs, pools, workers
from projections.jobs import JobRow
from schemas import commands
from schemas.errors import Forbidden, InvalidBody
from schemas.topics import JOB_COMMANDS, POOLS
from schemas.types import Device, JobState, Priority, Scalar
from streams.queue.telling.forecast import Forecast, forecasts
from streams.queue.telling.position import in_line
from web.api.configuration import (
    ATTEMPTS_MAX,
    GIGABYTE,
    PRIORITY_RANKS,
    TIMEOUT_S,
    EffectiveQueue,
    slots_of,
)
from web.api.jobs import (
    Expected,
    MomentQuery,
    Progress,
    expectations,
    expected,
    past_progress,
    position_of,
    progress_view,
    required_job,
    waits_for,
)
from web.callers import Caller
from web.live.queues import PLAYED_AT_MOST
from web.past import AS_OF
from web.routing import (
    Body,
    Operation,
    WebRequest,
    Wire,
    answer,
    caller,
    queried,
    read_hashed,
    services,
)
from web.services import Services
from web.writes import ask, etag, expected_version, request_id, shown

REASON_LENGTH = 500  # characters
Action = Literal["cancel", "pause", "resume", "reprioritize", "retry", "hold", "release"]
ASKS: Mapping[Action, type[commands.CancelJob | commands.AboutJob]] = {
    "cancel": commands.CancelJob,
    "pause": commands.PauseJob,
    "resume": commands.ResumeJob,
    "retry": commands.RetryJob,
    "hold": commands.HoldJob,
    "release": commands.ReleaseJob,
}
OPERATORS: frozenset[Action] = frozenset({"hold", "release"})


class QueuedJob(Wire, frozen=True, kw_only=True):
    """A job that waits or runs. Of another's a member sees no more than that it is there."""

    mine: bool
    job_id: str | None = None
    person_id: str | None = None
    state: JobState
    priority: Priority
    position: int | None = None  # in line, from 1; null: it is not in line
    expected_start: Expected | None = None
    expected_end: Expected | None = None
    waits_for: tuple[str, ...] = ()  # what keeps it from running now, in sentences
    attempt: int = 0
    attempts_max: int | None = None
    worker_id: str | None = None
    submitted_at: datetime.datetime | None = None
    paused: bool = False  # by its owner
    held: bool = False  # by an operator
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
    draining: bool  # it is given no more jobs
    hot: bool  # it is given no more jobs until its GPUs have cooled


class Queue(Wire, frozen=True, kw_only=True):
    """A pool's queue: what runs, then what waits, in its order, then what is kept out of line."""

    pool: str
    paused: bool  # nothing is leased
    jobs: tuple[QueuedJob, ...]
    counts: dict[str, int]  # of all the pool's jobs, by state
    workers: tuple[Worker, ...]
    configuration: EffectiveQueue


class QueueAction(Body, frozen=True, kw_only=True):
    """What to do with a job; `hold` and `release` are an admin's."""

    action: Action
    job_id: str
    reason: str = ""
    priority: Priority | None = None  # the new one, to reprioritize


class ActionTaken(Wire, frozen=True, kw_only=True):
    """The job as it stands after the action; null where the queue has not answered yet."""

    job_id: str
    action: str
    state: JobState | None
    version: int | None  # that it is at


async def queue(request: WebRequest) -> Response:
    """The queue of this installation's pool, now or as it stood."""
    who, held = caller(request), services(request)
    pool, moment = held.settings.pool, queried(request, MomentQuery).as_of
    index = POOLS.index(pool)
    if moment is None:
        return answer(request, await held.query(lambda found: _now(found, held, who, pool)))
    past = await held.pasts.at(index, moment)

    def question(connection: Any) -> Queue:
        rows = (*past.held(), *past.waiting(in_line(past.state)), *past.apart())
        told = forecasts(
            past.state,
            [row.job_id for row in rows],
            past.time,
            ahead_at_most=PLAYED_AT_MOST,
        )
        return _queue(
            pool,
            (
                _queued(who, row, told.get(row.job_id), past_progress(connection, row, past.time))
                for row in rows
            ),
            past.counts(),
            [one for one in past.workers() if one.partition == index],
            past.pool(),
        )

    return answer(request, await held.query(question), headers={AS_OF: past.position or ""})


def _now(connection: Any, held: Services, who: Caller, pool: str) -> Queue:
    line = held.queues.order(POOLS.index(pool))
    running, waiting = jobs.held(connection, pool), jobs.waiting(connection, pool, line)
    rows = (*running, *waiting, *jobs.apart(connection, pool))
    told = expectations(held, rows)
    return _queue(
        pool,
        (
            _queued(
                who,
                row,
                told.get(row.job_id),
                progress_view(connection, row.job_id) if row.attempt else None,
            )
            for row in rows
        ),
        jobs.counts(connection, pool),
        [one for one in workers.all_holding(connection) if one.partition == POOLS.index(pool)],
        pools.by_partition(connection).get(POOLS.index(pool)),
    )


def _queue(
    pool: str,
    queued: Iterable[QueuedJob],
    counts: Mapping[JobState, int],
    there: list[workers.WorkerHolding],
    said: pools.PoolRow | None,
) -> Queue:
    changes = {} if said is None else said.changes
    return Queue(
        pool=pool,
        paused=said is not None and said.paused,
        jobs=tuple(queued),
        counts={str(state): number for state, number in counts.items()},
        workers=tuple(_worker(one, changes) for one in there),
        configuration=_configuration(there, changes),
    )


async def act(request: WebRequest) -> Response:
    """Ask something of a job; with `If-Match`, only if it is as it was read."""
    body, body_hash = await read_hashed(request, QueueAction)
    who, held = caller(request), services(request)
    if body.action in OPERATORS and not who.is_admin:
        raise Forbidden(f"The action {body.action} is an admin's: ask one, or pause the job.")
    reason_of(body.reason)
    version = expected_version(request)
    row = await held.query(lambda connection: required_job(connection, who, body.job_id))
    sent = await ask(
        request,
        JOB_COMMANDS,
        row.partition,
        _command(body, None if who.is_admin else who.person_id, version),
        identity=request_id(request),
        body_hash=body_hash,
        owner=row.person_id,
        subject=row.job_id,
    )
    taken = ActionTaken(job_id=row.job_id, action=body.action, state=None, version=None)
    if not await shown(request, sent):
        return answer(request, taken, 202, sent.headers)
    now = await held.query(lambda connection: required_job(connection, who, row.job_id))
    taken = ActionTaken(job_id=row.job_id, action=body.action, state=now.state, version=now.version)
    return answer(request, taken, 202, sent.headers | {"ETag": etag(now.version)})


def reason_of(text: str) -> str:
    """A reason as it goes on the log.

    Raises:
        InvalidBody: If it is too long.
    """
    if len(text) > REASON_LENGTH:
        raise InvalidBody(f"reason: more than {REASON_LENGTH} characters.", field="reason")
    return text


def _command(
    body: QueueAction, person_id: str | None, version: int | None
) -> commands.CancelJob | commands.AboutJob:
    """The command that an action becomes.

    Raises:
        InvalidBody: If a new priority is asked for and none is named.
    """
    if body.action != "reprioritize":
        return ASKS[body.action](
            job_id=body.job_id,
            reason=body.reason,
            person_id=person_id,
            expected_version=version,
        )
    if body.priority is None:
        raise InvalidBody("priority: name the new one: high, medium or low.", field="priority")
    return commands.ReprioritiseJob(
        job_id=body.job_id,
        reason=body.reason,
        person_id=person_id,
        expected_version=version,
        priority=body.priority,
    )


def _queued(
    who: Caller, row: JobRow, told: Forecast | None, progress: Progress | None
) -> QueuedJob:
    mine, position = row.person_id == who.person_id, position_of(row, told)
    if not who.sees(row.person_id):
        return QueuedJob(mine=False, state=row.state, priority=row.priority, position=position)
    return QueuedJob(
        mine=mine,
        job_id=row.job_id,
        person_id=row.person_id,
        state=row.state,
        priority=row.priority,
        position=position,
        expected_start=expected(None if told is None else told.start),
        expected_end=expected(None if told is None else told.end),
        waits_for=waits_for(row, told),
        attempt=row.attempt,
        attempts_max=row.attempts_max,
        worker_id=row.worker_id,
        submitted_at=row.submitted_at,
        paused=row.paused,
        held=row.held,
        progress=progress,
    )


def _worker(row: workers.WorkerHolding, changes: Mapping[str, Scalar]) -> Worker:
    return Worker(
        worker_id=row.worker_id,
        state=row.state,
        device=row.device,
        gpus=row.gpus,
        memory_bytes=row.memory_bytes,
        slots=slots_of(row, changes),
        busy=len(row.job_ids),
        draining=row.draining,
        hot=row.hot,
    )


def _configuration(
    there: list[workers.WorkerHolding], changes: Mapping[str, Scalar]
) -> EffectiveQueue:
    living = [one for one in there if one.state in {"present", "silent"}]
    gpus = [one.memory_bytes / GIGABYTE for one in living if one.device == "cuda"]
    slots, memory = sum(slots_of(one, changes) for one in living), max(gpus, default=0.0)
    most, at_most = changes.get("max_concurrent_jobs"), changes.get("gpu_memory_bytes_max")
    limits = {"gpuMemoryGB": memory}
    if isinstance(at_most, int):
        limits["gpuMemoryGB"] = min(memory, at_most / GIGABYTE)
    disk = changes.get("disk_bytes_max")
    if isinstance(disk, int):
        limits["diskSpaceGB"] = disk / GIGABYTE
    return EffectiveQueue(
        max_concurrent_jobs=min(slots, most) if isinstance(most, int) else slots,
        priority_weights=PRIORITY_RANKS,
        retry_attempts=ATTEMPTS_MAX - 1,
        timeout_minutes=TIMEOUT_S / 60,
        resource_limits=limits,
    )


OPERATIONS = (
    Operation(
        method="GET",
        path="/api/training/queue",
        endpoint=queue,
        access="member",
        summary="What waits and what runs, now or as of a moment",
        query=MomentQuery,
        answers={200: Queue},
    ),
    Operation(
        method="POST",
        path="/api/training/queue",
        endpoint=act,
        access="member",
        summary="Cancel, pause, resume, reprioritize, retry, hold or release a job",
        body=QueueAction,
        idempotent=True,
        conditional=True,
        answers={202: ActionTaken},
    ),
)
