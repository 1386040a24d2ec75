"""Long series in few points: each bucket of steps with its minimum, maximum and mean.

A chart of 800 pixels needs 800 buckets, whatever the length of the run; a spike stays visible in
its bucket's maximum, where every n-th point would lose it.
"""

# ruff: noqa: S608 - names in statements are ours; values are parameters

import datetime
from collections.abc import Sequence
from itertools import groupby

import msgspec
from sqlalchemy.engine import Connection

from projections.metrics import SHOWN, MetricPoint
from projections.tables import select


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """The points of a range of steps."""

    name: str
    step: int  # the last one's; `at`, `attempt` and `fencing_token` too
    at: datetime.datetime
    attempt: int
    fencing_token: int
    points: int  # how many it stands for, 1 or more
    low: float
    high: float
    mean: float


_BUCKETS = (
    "SELECT name, max(step) AS step, min(value) AS low, max(value) AS high, avg(value) AS mean,"
    " count(*) AS points, (array_agg(at ORDER BY step DESC))[1] AS at,"
    " (array_agg(attempt ORDER BY step DESC))[1] AS attempt,"
    " (array_agg(fencing_token ORDER BY step DESC))[1] AS fencing_token"
    " FROM (SELECT *, (step - min(step) OVER w) * :most"
    f" / (max(step) OVER w - min(step) OVER w + 1) AS bucket FROM ({SHOWN}) s"
    " WINDOW w AS (PARTITION BY name)) b GROUP BY name, bucket ORDER BY name, step"
)


def sampled(
    connection: Connection, job_id: str, names: Sequence[str], most: int
) -> dict[str, list[Bucket]]:
    """A job's shown points in at most so many buckets of equally many steps, made by Postgres.

    Args:
        connection: Of a snapshot.
        job_id: Whose.
        names: Which metrics; each has an entry in the answer.
        most: Buckets of each name, at least 1: the width of the chart in pixels.
    """
    found = select(connection, Bucket, _BUCKETS, job=job_id, names=list(names), most=most)
    answer: dict[str, list[Bucket]] = {name: [] for name in names}
    for bucket in found:
        answer[bucket.name].append(bucket)
    return answer


def buckets(points: Sequence[MetricPoint], most: int) -> list[Bucket]:
    """The same of points that are in memory: of one name, in order of steps.

    Examples:
        >>> at = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
        >>> def point(step: int, value: float) -> MetricPoint:
        ...     return MetricPoint(
        ...         name="loss", step=step, value=value, at=at, attempt=1, fencing_token=1
        ...     )
        >>> both = buckets([point(1, 3.0), point(2, 1.0), point(3, 7.0), point(4, 0.0)], 2)
        >>> [(one.step, one.low, one.high, one.mean) for one in both]
        [(2, 1.0, 3.0, 2.0), (4, 0.0, 7.0, 3.5)]
    """
    if not points:
        return []
    first, width = points[0].step, points[-1].step - points[0].step + 1
    grouped = groupby(points, key=lambda point: (point.step - first) * most // width)
    return [_bucket(list(some)) for _, some in grouped]


def _bucket(points: Sequence[MetricPoint]) -> Bucket:
    values, last = [point.value for point in points], points[-1]
    return Bucket(
        name=last.name,
        step=last.step,
        at=last.at,
        attempt=last.attempt,
        fencing_token=last.fencing_token,
        points=len(points),
        low=min(values),
        high=max(values),
        mean=sum(values) / len(values),
    )
