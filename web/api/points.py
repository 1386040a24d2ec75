"""The points of a job's training: all of them, or as many buckets as a chart has pixels."""

import datetime
from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta
from starlette.responses import Response

from projections import metrics, sampling
from projections.metrics import MetricPoint
from projections.sampling import Bucket
from web import archives
from web.api.jobs import required_job
from web.routing import Body, Operation, WebRequest, Wire, answer, caller, queried, services

METRICS = ("loss", "learning_rate", "epoch", "tokens", "tokens_per_second", "seconds_left")


class Point(Wire, frozen=True, kw_only=True):
    """One step's number, of the attempt that counts for that step; or what stands for several."""

    step: int  # of several, the last
    value: float  # of several, the mean
    at: datetime.datetime
    attempt: int
    low: float | None = None  # of those that it stands for; null where all points were asked for
    high: float | None = None
    points: int = 1  # how many it stands for


class Series(Wire, frozen=True, kw_only=True):
    """A job's points by metric, in order of steps."""

    job_id: str
    series: dict[str, tuple[Point, ...]]


class SeriesQuery(Body, frozen=True, kw_only=True):
    """Which points."""

    names: str = "loss"  # with commas
    max_points: Annotated[int, Meta(ge=2, le=10_000)] | None = None  # of each; null: all of them


async def points(request: WebRequest) -> Response:
    """The points of a job's training, of the attempts that count, archived ones included."""
    job_id, who, held = request.path_params["job_id"], caller(request), services(request)
    wanted = queried(request, SeriesQuery)
    names = [name for name in wanted.names.split(",") if name in METRICS]

    def question(connection: Any) -> dict[str, tuple[Point, ...]]:
        required_job(connection, who, job_id)
        if wanted.max_points is None:
            rows = metrics.series(connection, job_id, names)
            return {name: tuple(map(_point, rows[name])) for name in names}
        found = sampling.sampled(connection, job_id, names, wanted.max_points)
        return {name: tuple(map(_bucket, found[name])) for name in names}

    series = await held.query(question)
    whole = await archives.whole_series(held, job_id, names)
    if whole is not None:  # some rows are gone
        series = {name: _shown(whole[name], wanted.max_points) for name in names}
    return answer(request, Series(job_id=job_id, series=series))


def _shown(found: Sequence[MetricPoint], most: int | None) -> tuple[Point, ...]:
    if most is None:
        return tuple(map(_point, found))
    return tuple(map(_bucket, sampling.buckets(found, most)))


def _point(point: MetricPoint) -> Point:
    return Point(step=point.step, value=point.value, at=point.at, attempt=point.attempt)


def _bucket(one: Bucket) -> Point:
    return Point(
        step=one.step,
        value=one.mean,
        at=one.at,
        attempt=one.attempt,
        low=one.low,
        high=one.high,
        points=one.points,
    )


OPERATIONS = (
    Operation(
        method="GET",
        path="/api/jobs/{job_id}/metrics",
        endpoint=points,
        access="member",
        summary="The points of a job's training: all of them, or maxPoints at most",
        query=SeriesQuery,
        answers={200: Series},
    ),
)
