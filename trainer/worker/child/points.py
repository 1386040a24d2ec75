"""The numbers of an attempt, to be kept when the log has forgotten them. No personal text."""

from array import array

import pyarrow.parquet  # noqa: F401 - now: an attempt that is stopped has seconds to end

from schemas.telemetry import RunPoints, Tick
from trainer.worker.lines import Spec
from vault import points as archive


class Points:
    """Collects an attempt's ticks, about 70 bytes each.

    Args:
        spec: Whose attempt it is.
    """

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._total_steps = 1
        self._steps = array("q")
        self._at = array("d")
        self._metrics: dict[str, array[float]] = {}

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, tick: Tick) -> None:
        """Take a tick; each has the same metrics."""
        self._total_steps = tick.total_steps
        self._steps.append(tick.step)
        self._at.append(tick.at.timestamp())
        for name, value in tick.metrics.items():
            self._metrics.setdefault(name, array("d")).append(value)

    def encoded(self, micro_batches: int) -> bytes:
        """The artifact: `RunPoints` as Parquet."""
        points = RunPoints(
            job_id=self._spec.job_id,
            attempt=self._spec.attempt,
            fencing_token=self._spec.fencing_token,
            total_steps=self._total_steps,
            micro_batches=micro_batches,
            steps=tuple(self._steps),
            at=tuple(self._at),
            metrics={name: tuple(values) for name, values in self._metrics.items()},
        )
        return archive.encode(points)
