"""Attempts of jobs, from `jobs.events`: one row a lease, and what came of it."""

# ruff: noqa: S608 - names in statements are ours; values are parameters

import datetime
from typing import Any

import msgspec
from sqlalchemy.engine import Connection

from projections.model import ReadModel
from projections.tables import Rows, Table, select
from schemas import events, topics
from schemas.envelope import Recorded
from schemas.types import Cause, Device


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    """One lease of a job."""

    job_id: str
    fencing_token: int
    attempt: int
    person_id: str
    partition: int
    worker_id: str
    incarnation: str
    state: str  # "leased", "running", "succeeded", or the outcome it ended with
    reason: str  # why this job, on this worker, then
    leased_at: datetime.datetime
    lease_until: datetime.datetime
    gaps_s: float  # of the pool, when the lease was granted or renewed
    from_step: int  # where it resumed: points of earlier attempts count up to here
    device: Device | None = None
    started_at: datetime.datetime | None = None
    ended_at: datetime.datetime | None = None
    step: int = 0  # of its latest checkpoint
    total_steps: int | None = None
    cause: Cause | None = None
    code: str | None = None
    detail: str = ""
    costs_attempt: bool = True
    telemetry: str | None = None  # digest of its archived points


class GapRow(msgspec.Struct, frozen=True, kw_only=True):
    """For how long a pool's log has stood still in all: each lease ends that much later."""

    partition: int
    gaps_s: float


ATTEMPTS = Table("attempts", AttemptRow, key=("job_id", "fencing_token"))
GAPS = Table("gaps", GapRow, key=("partition",))


def project(rows: Rows, recorded: Recorded) -> None:
    """What one event does to its attempt."""
    at = recorded.envelope.time
    match recorded.data:
        case events.LeasesExtended() as event:
            gaps_s = _gaps_s(rows, recorded.partition) + event.gap_s
            rows.put(GAPS, GapRow(partition=recorded.partition, gaps_s=gaps_s))
        case events.LeaseGranted() as event:
            rows.put(ATTEMPTS, _granted(rows, event, recorded))
        case events.LeaseRenewed() as event:
            _change(rows, event, **_lease(rows, recorded, event.ttl_s))
        case events.JobStarted() as event:
            _change(
                rows,
                event,
                state="running",
                device=event.device,
                started_at=at,
                from_step=event.resumed_from_step,
            )
        case events.CheckpointNoted() as event:
            _change(rows, event, step=event.step, total_steps=event.total_steps)
        case events.AttemptEnded() as event:
            _change(
                rows,
                event,
                state=event.outcome,
                ended_at=at,
                cause=event.cause,
                code=event.code,
                detail=event.detail,
                costs_attempt=event.costs_attempt,
                telemetry=event.telemetry,
            )
        case events.JobSucceeded() as event:
            _change(rows, event, state="succeeded", ended_at=at, telemetry=event.telemetry)
        case _:
            pass


MODEL = ReadModel(topics.JOB_EVENTS, (ATTEMPTS, GAPS), project)


def _granted(rows: Rows, event: events.LeaseGranted, recorded: Recorded) -> AttemptRow:
    return AttemptRow(
        job_id=event.job_id,
        fencing_token=event.fencing_token,
        attempt=event.attempt,
        person_id=event.person_id,
        partition=recorded.partition,
        worker_id=event.worker_id,
        incarnation=event.incarnation,
        state="leased",
        reason=event.reason,
        leased_at=recorded.envelope.time,
        from_step=event.checkpoint_step,
        **_lease(rows, recorded, event.ttl_s),
    )


def _lease(rows: Rows, recorded: Recorded, ttl_s: float) -> dict[str, Any]:
    return {
        "lease_until": recorded.envelope.time + datetime.timedelta(seconds=ttl_s),
        "gaps_s": _gaps_s(rows, recorded.partition),
    }


def _gaps_s(rows: Rows, partition: int) -> float:
    known = rows.find(GAPS, partition)
    return 0.0 if known is None else known.gaps_s


def _change(rows: Rows, event: events.AboutAttempt, **changes: Any) -> None:
    rows.change(ATTEMPTS, event.job_id, event.fencing_token, **changes)


_COLUMNS = ", ".join(name for name in ATTEMPTS.columns if name != "lease_until")


def of_job(connection: Connection, job_id: str) -> list[AttemptRow]:
    """A job's attempts in order; `lease_until` counts the pool's gaps since it was set."""
    return select(
        connection,
        AttemptRow,
        f"SELECT {_COLUMNS}, lease_until + make_interval(secs => coalesce(total, gaps_s) - gaps_s)"
        " AS lease_until FROM attempts LEFT JOIN"
        " (SELECT partition, gaps_s AS total FROM gaps) g USING (partition)"
        " WHERE job_id = :it ORDER BY fencing_token",
        it=job_id,
    )
