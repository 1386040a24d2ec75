"""How one job stands, in one statement: what clients ask again and again."""

from typing import LiteralString

import msgspec

from projections.jobs import JobRow
from projections.metrics import MetricRow, ProgressRow
from projections.quick import Quick

_STATUS: LiteralString = (
    "SELECT job, progress, points FROM public.job_status WHERE job_id = %(job)s"
)
_JOB = msgspec.json.Decoder(JobRow)
_PROGRESS = msgspec.json.Decoder(ProgressRow)
_POINTS = msgspec.json.Decoder(list[MetricRow])


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A job with its newest numbers."""

    job: JobRow
    progress: ProgressRow | None  # of the attempt that counts; None before its first word
    latest: dict[str, float]  # what that attempt said of its highest step, by name


async def find(quick: Quick, job_id: str) -> Status | None:
    """A job by its id.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    row = await quick.first(_STATUS, {"job": job_id})
    if row is None:
        return None
    job, progress, points = row
    return Status(
        job=_JOB.decode(job),
        progress=None if progress is None else _PROGRESS.decode(progress),
        latest={} if points is None else {one.name: one.value for one in _POINTS.decode(points)},
    )
