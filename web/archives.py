"""Points of a training whose rows are gone, from the archives that its history names."""

import datetime
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio.to_thread

from projections import attempts, coverage, metrics
from projections.attempts import AttemptRow
from projections.metrics import MetricPoint
from schemas.errors import KeyDestroyed
from schemas.telemetry import RunPoints
from vault import points as archive
from vault.artifacts import Artifacts
from web.services import Services

Series = dict[str, list[MetricPoint]]


async def whole_series(held: Services, job_id: str, names: Sequence[str]) -> Series | None:
    """All points of a job, those included that only its archives have; None if the rows have all.

    Args:
        held: Of this process.
        job_id: A job that the caller may see.
        names: Which metrics.

    Raises:
        ParquetCorrupt: If an archive that is needed was cut short or changed.
        ArtifactCorrupt: If its file is not what was stored.
        ArtifactMissing: If it is not in this machine's store.
        StorageUnavailable: If it cannot be read.
        DatabaseUnavailable: If Postgres does not answer.
    """

    def found(connection: Any) -> tuple[list[AttemptRow], list[AttemptRow]]:
        every = attempts.of_job(connection, job_id)
        return every, coverage.incomplete(connection, job_id, every)

    every, lacking = await held.query(found)
    if not lacking:
        return None
    live = await held.query(lambda connection: metrics.series(connection, job_id, names))
    opened = await anyio.to_thread.run_sync(_opened, held, lacking)
    return joined(live, every, opened, names)


def joined(
    live: Mapping[str, Sequence[MetricPoint]],
    every: Sequence[AttemptRow],
    archived: Mapping[int, RunPoints],
    names: Sequence[str],
) -> Series:
    """Rows and archives as one series: of each step the point of the last attempt that took it.

    Args:
        live: The shown points that have rows.
        every: The job's attempts in order: each counts up to where the next ones resumed.
        archived: Points by fencing token.
        names: Which metrics; each has an entry in the answer.
    """
    found: dict[str, dict[int, MetricPoint]] = {name: {} for name in names}
    for index, attempt in enumerate(every):
        points = archived.get(attempt.fencing_token)
        if points is None:
            continue
        last = min((later.from_step for later in every[index + 1 :]), default=math.inf)
        for name in names:
            for point in _of(points, name):
                if point.step <= last:
                    found[name][point.step] = point
    for name in names:
        for point in live.get(name, ()):
            known = found[name].get(point.step)
            if known is None or known.fencing_token <= point.fencing_token:
                found[name][point.step] = point
    return {name: [one for _, one in sorted(found[name].items())] for name in names}


def _of(points: RunPoints, name: str) -> list[MetricPoint]:
    values = points.metrics.get(name, ())
    return [
        MetricPoint(
            name=name,
            step=step,
            value=value,
            at=datetime.datetime.fromtimestamp(at, datetime.UTC),
            attempt=points.attempt,
            fencing_token=points.fencing_token,
        )
        for step, at, value in zip(points.steps, points.at, values, strict=False)
        if value is not None and math.isfinite(value)
    ]


def _opened(held: Services, lacking: Sequence[AttemptRow]) -> dict[int, RunPoints]:
    """The archives by fencing token; none of somebody whose keys were destroyed."""
    artifacts = Artifacts(Path(held.settings.home) / "artifacts", held.vault)
    found: dict[int, RunPoints] = {}
    for attempt in lacking:
        if attempt.telemetry is None:
            continue
        try:
            data = artifacts.get(attempt.person_id, attempt.telemetry)
        except KeyDestroyed:
            continue
        found[attempt.fencing_token] = archive.decode(data)
    return found
