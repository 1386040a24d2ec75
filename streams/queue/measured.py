"""What attempts were measured to need: peak bytes and run times, by recipe."""

import math
from dataclasses import dataclass, field

from schemas.types import Scalar
from streams.queue.line.shapes import Shape, time_key
from streams.queue.policy import Policy

WEIGHT = 0.3  # of the newest run time in the mean and the deviation
UNKNOWN_SPREAD = 1 / 3  # of a run time that was never measured: 60 to 120 minutes for 90


@dataclass(slots=True)
class Duration:
    """Run times of one recipe on one kind of GPU: mean and mean deviation.

    In seconds, or, of jobs that came with an estimate, as a multiple of it: so the kinds of GPU can
    be compared although the jobs differ in length.
    """

    mean: float
    deviation: float


@dataclass(slots=True)
class Measured:
    """By recipe and by where it ran. Changed in place, by `evolve` alone."""

    peaks: dict[tuple[str, bool], int] = field(default_factory=dict)  # recipe, on a GPU → bytes
    durations: dict[tuple[str, str, bool], Duration] = field(
        default_factory=dict
    )  # recipe, kind, whether of the estimate

    def peak(self, recipe: str, *, on_gpu: bool, peak_bytes: int) -> bool:
        """Note what an attempt needed: the most ever counts. Whether that has changed."""
        key = recipe, on_gpu
        if not recipe or peak_bytes <= self.peaks.get(key, 0):
            return False
        self.peaks[key] = peak_bytes
        return True

    def peak_of(self, shape: Shape, *, on_gpu: bool) -> int | None:
        """The most that a run of an equal recipe was measured to need; None: none was."""
        return self.peaks.get((shape.recipe, on_gpu))

    def duration(
        self, recipe: dict[str, Scalar], kind: str, seconds: float, estimate_s: float
    ) -> None:
        """Note how long a run took that succeeded."""
        key = time_key(recipe), kind, estimate_s > 0
        if not key[0] or seconds <= 0:
            return
        took = seconds / (estimate_s or 1.0)
        known = self.durations.get(key)
        if known is None:
            self.durations[key] = Duration(took, took * UNKNOWN_SPREAD)
            return
        off = took - known.mean
        known.mean += WEIGHT * off
        known.deviation += WEIGHT * (abs(off) - known.deviation)

    def need(self, policy: Policy, shape: Shape, *, on_gpu: bool, most: int | None = None) -> int:
        """The bytes that a job of this shape needs of each GPU, or of the machine's memory.

        What was asked for or estimated, until it was measured; then the measured peak and a margin.

        Args:
            policy: Where the margin stands.
            shape: Of the job.
            on_gpu: Where it would run.
            most: What the largest GPU there has. The margin alone never makes a job too big for
                it: whatever took nearly all of a GPU, be it until it ran out, may have all of it.
                Nor does an estimate make it too big for a machine without GPUs, whose memory is
                no hard limit: it may have all of it, alone.
        """
        peak = self.peak_of(shape, on_gpu=on_gpu)
        if peak is None:
            return self._asked(shape, on_gpu=on_gpu, most=most)
        need = math.ceil(peak * policy.memory_margin)
        return need if most is None else min(need, max(peak, most))

    def _asked(self, shape: Shape, *, on_gpu: bool, most: int | None) -> int:
        if on_gpu:
            return shape.memory_bytes
        if shape.estimated and most is not None:
            return min(shape.cpu_memory_bytes, most)
        return shape.cpu_memory_bytes

    def expected(
        self, policy: Policy, recipe: dict[str, Scalar], estimate_s: float, kind: str
    ) -> tuple[float, float]:
        """How long a job should run on a kind of GPU: seconds, and their mean deviation.

        As it was measured there; else as the submitter estimates; else as the pool assumes.
        """
        known = self.durations.get((time_key(recipe), kind, estimate_s > 0))
        if known is not None:
            unit = estimate_s or 1.0
            return known.mean * unit, known.deviation * unit
        seconds = estimate_s or policy.expected_s
        return seconds, seconds * UNKNOWN_SPREAD
