"""What operators say of workers: drain, resume, lost."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from projections import pools, workers
from projections.workers import WorkerState
from schemas import commands
from schemas.commands import Command
from schemas.errors import InvalidBody, NotFound
from schemas.topics import JOB_COMMANDS, POOLS
from schemas.types import OPERATOR, Device, Scalar
from web.api.configuration import slots_of
from web.api.pools import Said
from web.api.queue import reason_of
from web.routing import (
    Body,
    Operation,
    WebRequest,
    Wire,
    admins,
    answer,
    read_hashed,
    services,
)
from web.writes import Sent, ask, request_id, shown


class PoolWorker(Wire, frozen=True, kw_only=True):
    """A worker as it stands, with what it holds."""

    worker_id: str
    pool: str
    state: WorkerState
    draining: bool  # it is given no more jobs
    hot: bool  # it is given no more jobs until its GPUs have cooled
    detail: str  # why it is drained or lost
    host: str
    device: Device
    gpus: tuple[str, ...]
    memory_bytes: int
    slots: int
    job_ids: tuple[str, ...]


class WorkerList(Wire, frozen=True, kw_only=True):
    """Every worker that ever joined."""

    workers: tuple[PoolWorker, ...]


class Draining(Body, frozen=True, kw_only=True):
    """Why, and how long what runs may still run; without a grace it runs to its end."""

    reason: str = ""
    grace_seconds: float | None = None


async def all_workers(request: WebRequest) -> Response:
    """Every worker with the jobs that it holds."""
    found = await services(request).query(_all)
    return answer(request, WorkerList(workers=tuple(found)))


async def drain(request: WebRequest) -> Response:
    """Give a worker no more jobs; with a grace, stop those that it holds at a checkpoint."""
    body, body_hash = await read_hashed(request, Draining)
    if body.grace_seconds is not None and body.grace_seconds < 0:
        raise InvalidBody("graceSeconds: a number of seconds from 0.", field="graceSeconds")
    row = await _known(request)
    command = commands.DrainWorker(
        worker_id=row.worker_id, reason=reason_of(body.reason), grace_s=body.grace_seconds
    )
    return await _about_worker(request, row, command, body_hash)


async def resume(request: WebRequest) -> Response:
    """Give a drained worker jobs again."""
    body, body_hash = await read_hashed(request, Said)
    row = await _known(request)
    command = commands.ResumeWorker(worker_id=row.worker_id, reason=reason_of(body.reason))
    return await _about_worker(request, row, command, body_hash)


async def lost(request: WebRequest) -> Response:
    """Say that a worker will not come back: what it holds is free at once."""
    body, body_hash = await read_hashed(request, Said)
    row = await _known(request)
    command = commands.DeclareWorkerLost(worker_id=row.worker_id, reason=reason_of(body.reason))
    return await _about_worker(request, row, command, body_hash)


async def _known(request: WebRequest) -> workers.WorkerHolding:
    worker_id = request.path_params["worker_id"]
    found = await services(request).query(workers.all_holding)
    for row in found:
        if row.worker_id == worker_id:
            return row
    raise NotFound(f"There is no worker {worker_id}: `lifelog workers list` names them.")


async def _about_worker(
    request: WebRequest, row: workers.WorkerHolding, command: Command, body_hash: str
) -> Response:
    sent = await _asked(request, row.partition, command, body_hash, row.worker_id)
    await shown(request, sent)
    told = await services(request).query(_all)
    (found,) = (one for one in told if one.worker_id == row.worker_id)
    return answer(request, found, 202, sent.headers)


async def _asked(
    request: WebRequest, partition: int, command: Command, body_hash: str, subject: str
) -> Sent:
    return await ask(
        request,
        JOB_COMMANDS,
        partition,
        command,
        identity=request_id(request),
        body_hash=body_hash,
        owner=OPERATOR,
        subject=subject,
    )


def _all(connection: Any) -> list[PoolWorker]:
    said = pools.by_partition(connection)
    changes = {partition: row.changes for partition, row in said.items()}
    rows = workers.all_holding(connection)
    return [_worker(row, changes.get(row.partition, {})) for row in rows]


def _worker(row: workers.WorkerHolding, changes: Mapping[str, Scalar]) -> PoolWorker:
    return PoolWorker(
        worker_id=row.worker_id,
        pool=POOLS[row.partition] if row.partition < len(POOLS) else str(row.partition),
        state=row.state,
        draining=row.draining,
        hot=row.hot,
        detail=row.detail,
        host=row.host,
        device=row.device,
        gpus=row.gpus,
        memory_bytes=row.memory_bytes,
        slots=slots_of(row, changes),
        job_ids=row.job_ids,
    )


OPERATIONS = (
    Operation(
        method="GET",
        path="/api/workers",
        endpoint=all_workers,
        access="admin",
        summary="Every worker and what it holds",
        answers={200: WorkerList},
    ),
    admins(
        "/api/workers/{worker_id}/drain",
        drain,
        "Give a worker no more jobs",
        Draining,
        PoolWorker,
    ),
    admins(
        "/api/workers/{worker_id}/resume",
        resume,
        "Give a drained worker jobs again",
        Said,
        PoolWorker,
    ),
    admins(
        "/api/workers/{worker_id}/lost",
        lost,
        "Declare a worker lost",
        Said,
        PoolWorker,
    ),
)
