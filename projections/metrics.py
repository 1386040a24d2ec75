"""Points of training runs, from `runs.telemetry`: every attempt's are kept, one a step is shown.

A point counts while no later attempt has taken its step over: an attempt that resumed from step 40
leaves its predecessors' points up to 40 and supersedes those after. Points under a token that was
never granted are not shown. The tables are shared by all versions of the live schema; points are
kept by the day on which the broker appended them (`projections.points`).
"""

# ruff: noqa: S608 - names in statements are ours; values are parameters

import datetime
from collections.abc import Sequence

import msgspec
from sqlalchemy.engine import Connection

from projections.model import ReadModel
from projections.points import Points
from projections.tables import Rows, Table, first, select
from schemas import topics
from schemas.envelope import Recorded
from schemas.telemetry import TelemetryReported, Tick

SHARED = "telemetry"


class MetricRow(msgspec.Struct, frozen=True, kw_only=True):
    """One number of one optimizer step of one attempt."""

    job_id: str
    attempt: int
    fencing_token: int
    name: str
    step: int
    value: float
    at: datetime.datetime  # by the worker's clock
    appended_on: datetime.date  # by the broker's, UTC: the partition


class ProgressRow(msgspec.Struct, frozen=True, kw_only=True):
    """How far an attempt has come."""

    job_id: str
    attempt: int
    fencing_token: int
    person_id: str
    worker_id: str
    step: int
    total_steps: int
    at: datetime.datetime


class MetricPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A point as a chart shows it."""

    name: str
    step: int
    value: float
    at: datetime.datetime
    attempt: int
    fencing_token: int


METRICS = Points(
    "metrics",
    MetricRow,
    key=("job_id", "attempt", "fencing_token", "name", "step", "appended_on"),
    schema=SHARED,
    append_only=True,
)
PROGRESS = Table("progress", ProgressRow, key=("job_id", "attempt", "fencing_token"), schema=SHARED)


def project(rows: Rows, recorded: Recorded) -> None:
    """Keep every point, whoever sent it; a point that came before stays as it was."""
    event = recorded.data
    if not isinstance(event, TelemetryReported):
        return
    day = recorded.timestamp.astimezone(datetime.UTC).date()
    for tick in event.ticks:
        for name, value in tick.metrics.items():
            row = MetricRow(
                job_id=event.job_id,
                attempt=event.attempt,
                fencing_token=event.fencing_token,
                name=name,
                step=tick.step,
                value=value,
                at=tick.at,
                appended_on=day,
            )
            rows.put(METRICS, row)
    if event.ticks:
        _advance(rows, event, max(event.ticks, key=lambda tick: tick.step))


MODEL = ReadModel(topics.RUN_TELEMETRY, (METRICS, PROGRESS), project)


def _advance(rows: Rows, event: TelemetryReported, tick: Tick) -> None:
    known = rows.find(PROGRESS, event.job_id, event.attempt, event.fencing_token)
    if known is not None and known.step >= tick.step:
        return
    row = ProgressRow(
        job_id=event.job_id,
        attempt=event.attempt,
        fencing_token=event.fencing_token,
        person_id=event.person_id,
        worker_id=event.worker_id,
        step=tick.step,
        total_steps=tick.total_steps,
        at=tick.at,
    )
    rows.put(PROGRESS, row)


# The points that count: of a granted attempt, up to where the next ones resumed. One that came
# twice, before and after midnight, counts as it came first.
SHOWN = (
    "SELECT DISTINCT ON (m.name, m.step) m.name, m.step, m.value, m.at, m.attempt,"
    " m.fencing_token FROM metrics m JOIN (SELECT job_id, attempt, fencing_token,"
    " min(from_step) OVER (PARTITION BY job_id ORDER BY fencing_token"
    " ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS last_step"
    " FROM attempts WHERE job_id = :job) a USING (job_id, attempt, fencing_token)"
    " WHERE m.job_id = :job AND m.name = ANY(:names)"
    " AND (a.last_step IS NULL OR m.step <= a.last_step)"
    " ORDER BY m.name, m.step, m.fencing_token DESC, m.appended_on"
)

_PROGRESS = (
    "SELECT p.* FROM progress p JOIN jobs USING (job_id, attempt, fencing_token)"
    " WHERE job_id = :job"
)


def series(
    connection: Connection, job_id: str, names: Sequence[str]
) -> dict[str, list[MetricPoint]]:
    """All shown points of a job by name, one a step, in order of steps.

    Fewer of them, with what they stand for: `projections.sampling`.

    Args:
        connection: Of a snapshot.
        job_id: Whose.
        names: Which metrics; each has an entry in the answer.
    """
    found = select(connection, MetricPoint, SHOWN, job=job_id, names=list(names))
    answer: dict[str, list[MetricPoint]] = {name: [] for name in names}
    for point in found:
        answer[point.name].append(point)
    return answer


def latest(connection: Connection, job_id: str) -> dict[str, MetricPoint]:
    """What the attempt that counts said of its highest step, by name."""
    found = select(
        connection,
        MetricPoint,
        "SELECT m.name, m.step, m.value, m.at, m.attempt, m.fencing_token FROM metrics m"
        f" JOIN ({_PROGRESS}) p USING (job_id, attempt, fencing_token, step)",
        job=job_id,
    )
    return {point.name: point for point in found}


def progress(connection: Connection, job_id: str) -> ProgressRow | None:
    """How far the attempt that counts has come; None before its first word."""
    return first(connection, ProgressRow, _PROGRESS, job=job_id)


def progress_until(
    connection: Connection, job_id: str, fencing_token: int, until: datetime.datetime
) -> ProgressRow | None:
    """How far an attempt had come at a time of its worker's clock; None before its first word."""
    return first(
        connection,
        ProgressRow,
        "SELECT p.job_id, p.attempt, p.fencing_token, p.person_id, p.worker_id, p.total_steps,"
        " m.step, m.at FROM progress p JOIN metrics m USING (job_id, attempt, fencing_token)"
        " WHERE job_id = :job AND fencing_token = :token AND m.at <= :until"
        " ORDER BY m.step DESC LIMIT 1",
        job=job_id,
        token=fencing_token,
        until=until,
    )


def at_step(
    connection: Connection, job_id: str, fencing_token: int, step: int
) -> dict[str, MetricPoint]:
    """What an attempt said of one step, by name."""
    found = select(
        connection,
        MetricPoint,
        "SELECT name, step, value, at, attempt, fencing_token FROM metrics"
        " WHERE job_id = :job AND fencing_token = :token AND step = :step",
        job=job_id,
        token=fencing_token,
        step=step,
    )
    return {point.name: point for point in found}
