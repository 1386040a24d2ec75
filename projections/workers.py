"""Workers, from `jobs.events`: who they are, whether they are there, and what they hold."""

import datetime
from typing import Literal

import msgspec
from sqlalchemy.engine import Connection

from projections.model import ReadModel
from projections.tables import Rows, Table, select
from schemas import events, topics
from schemas.envelope import Recorded
from schemas.types import Device

WorkerState = Literal["present", "silent", "left", "lost"]


class WorkerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's latest process."""

    worker_id: str
    incarnation: str
    partition: int  # of its pool
    host: str
    device: Device
    gpus: tuple[str, ...]
    memory_bytes: int
    slots: int
    state: WorkerState
    joined_at: datetime.datetime
    changed_at: datetime.datetime
    last_heard: datetime.datetime | None = None  # of a silent one
    detail: str = ""


class WorkerHolding(WorkerRow, frozen=True, kw_only=True):
    """A worker with the jobs that it holds."""

    job_ids: tuple[str, ...]


WORKERS = Table("workers", WorkerRow, key=("worker_id",))


def project(rows: Rows, recorded: Recorded) -> None:
    """What one event does to its worker; word of an earlier incarnation changes nothing."""
    event, at = recorded.data, recorded.envelope.time
    match event:
        case events.WorkerJoined():
            rows.put(WORKERS, _joined(event, recorded))
        case events.WorkerSilent():
            _change(rows, event, "silent", at, last_heard=event.last_heard)
        case events.WorkerHeard():
            _change(rows, event, "present", at)
        case events.WorkerLeft():
            _change(rows, event, "left", at)
        case events.WorkerLost():
            _change(rows, event, "lost", at, detail=event.reason)
        case _:
            pass


MODEL = ReadModel(topics.JOB_EVENTS, (WORKERS,), project)


def _joined(event: events.WorkerJoined, recorded: Recorded) -> WorkerRow:
    return WorkerRow(
        worker_id=event.worker_id,
        incarnation=event.incarnation,
        partition=recorded.partition,
        host=event.host,
        device=event.device,
        gpus=event.gpus,
        memory_bytes=event.memory_bytes,
        slots=event.slots,
        state="present",
        joined_at=recorded.envelope.time,
        changed_at=recorded.envelope.time,
    )


def _change(
    rows: Rows,
    event: events.WorkerSilent | events.WorkerHeard | events.WorkerLeft | events.WorkerLost,
    state: WorkerState,
    at: datetime.datetime,
    *,
    last_heard: datetime.datetime | None = None,
    detail: str = "",
) -> None:
    known = rows.find(WORKERS, event.worker_id)
    if known is not None and known.incarnation == event.incarnation:
        row = msgspec.structs.replace(
            known, state=state, changed_at=at, last_heard=last_heard, detail=detail
        )
        rows.put(WORKERS, row)


def all_holding(connection: Connection) -> list[WorkerHolding]:
    """Every worker with the jobs that it holds, by id."""
    return select(
        connection,
        WorkerHolding,
        "SELECT w.*, (SELECT coalesce(json_agg(job_id ORDER BY fencing_token), '[]') FROM jobs"
        " WHERE jobs.worker_id = w.worker_id AND jobs.state IN ('leased', 'running')) AS job_ids"
        " FROM workers w ORDER BY worker_id",
    )
