"""Workers, from `jobs.events`: who they are, whether they are there, and what they hold."""

import datetime
from typing import Any, Literal

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
    draining: bool = False  # it is given no more jobs, whichever process of it runs
    hot: bool = False  # it is given no more jobs until its GPUs have cooled


class WorkerHolding(WorkerRow, frozen=True, kw_only=True):
    """A worker with the jobs that it holds."""

    job_ids: tuple[str, ...]

    def takes_jobs(self, partition: int) -> bool:
        """Whether it is given jobs of a pool."""
        closed = self.draining or self.hot
        return self.partition == partition and self.state == "present" and not closed


WORKERS = Table("workers", WorkerRow, key=("worker_id",))


def project(rows: Rows, recorded: Recorded) -> None:
    """What one event does to its worker; word of an earlier incarnation changes nothing."""
    event, at = recorded.data, recorded.envelope.time
    match event:
        case events.WorkerJoined():
            known = rows.find(WORKERS, event.worker_id)
            rows.put(WORKERS, _joined(event, recorded, known))
        case events.WorkerSilent():
            _change(rows, event, at, state="silent", last_heard=event.last_heard, detail="")
        case events.WorkerHeard():
            _change(rows, event, at, state="present", last_heard=None, detail="")
        case events.WorkerLeft():
            _change(rows, event, at, state="left", last_heard=None, detail="")
        case events.WorkerLost():
            _change(rows, event, at, state="lost", last_heard=None, detail=event.reason)
        case events.WorkerDraining() | events.WorkerResumed():
            draining = isinstance(event, events.WorkerDraining)
            _change(rows, event, at, draining=draining, detail=event.reason)
        case events.WorkerHot() | events.WorkerCooled():
            _change(rows, event, at, hot=isinstance(event, events.WorkerHot))
        case _:
            pass


MODEL = ReadModel(topics.JOB_EVENTS, (WORKERS,), project)


def _joined(event: events.WorkerJoined, recorded: Recorded, known: WorkerRow | None) -> WorkerRow:
    """A worker's new process, or what one that is there has told anew."""
    same = known is not None and known.incarnation == event.incarnation
    at = recorded.envelope.time
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
        joined_at=known.joined_at if known is not None and same else at,
        changed_at=at,
        detail=_lost(event),
        draining=known is not None and known.draining,
        hot=known is not None and same and known.hot,
    )


def _lost(event: events.WorkerJoined) -> str:
    if not event.lost_gpus:
        return ""
    names = ", ".join(str(index) for index in event.lost_gpus)
    return f"of its GPUs these do not answer: {names}"


About = (
    events.WorkerSilent
    | events.WorkerHeard
    | events.WorkerLeft
    | events.WorkerLost
    | events.WorkerDraining
    | events.WorkerResumed
    | events.WorkerHot
    | events.WorkerCooled
)


def _change(rows: Rows, event: About, at: datetime.datetime, **changes: Any) -> None:
    known = rows.find(WORKERS, event.worker_id)
    if known is not None and getattr(event, "incarnation", known.incarnation) == known.incarnation:
        rows.put(WORKERS, msgspec.structs.replace(known, changed_at=at, **changes))


def all_holding(connection: Connection) -> list[WorkerHolding]:
    """Every worker with the jobs that it holds, by id."""
    return select(
        connection,
        WorkerHolding,
        "SELECT w.*, (SELECT coalesce(json_agg(job_id ORDER BY fencing_token), '[]') FROM jobs"
        " WHERE jobs.worker_id = w.worker_id AND jobs.state IN ('leased', 'running')) AS job_ids"
        " FROM workers w ORDER BY worker_id",
    )
