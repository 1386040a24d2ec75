"""Numbers that stream beside the history: progress, metrics and signs of life. No personal text."""

import datetime
from typing import ClassVar

import msgspec

from schemas.types import Count, Positive


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """One optimizer step's numbers.

    `metrics` holds `loss` (nats per label token, mean of the step), `learning_rate`, `epoch`,
    `tokens` (non-padding tokens so far), `tokens_per_second`, `seconds_left`.
    """

    step: Count
    total_steps: Positive
    at: datetime.datetime
    metrics: dict[str, float]


class TelemetryReported(msgspec.Struct, frozen=True, kw_only=True):
    """Up to 100 ticks of one attempt, as one record."""

    TYPE: ClassVar[str] = "lifelog.telemetry.reported"

    job_id: str
    person_id: str
    attempt: Positive
    fencing_token: Positive
    worker_id: str
    ticks: tuple[Tick, ...]


class RunPoints(msgspec.Struct, frozen=True, kw_only=True):
    """All of one attempt's ticks in columns: what is kept when the log has forgotten them.

    An artifact of the person's, named by `JobSucceeded.telemetry` or `AttemptEnded.telemetry`:
    Parquet, and JSON where an earlier version wrote it. Columns have one entry for each step that
    the attempt took, in their order; a value that is no number is null in JSON.
    """

    job_id: str
    attempt: Positive
    fencing_token: Positive
    total_steps: Positive
    micro_batches: Positive  # each step's batch was read in so many parts
    steps: tuple[Count, ...]
    at: tuple[float, ...]  # seconds since 1970, UTC
    metrics: dict[str, tuple[float | None, ...]]  # by the names of `Tick.metrics`


class GpuReading(msgspec.Struct, frozen=True, kw_only=True):
    """What NVML said of one GPU."""

    index: Count
    name: str
    memory_used_bytes: Count
    memory_total_bytes: Count
    utilization: float  # percent; these three are 0 where the GPU does not measure them
    temperature_c: float
    power_w: float


class WorkerHeartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """A worker is alive; every 3 s."""

    TYPE: ClassVar[str] = "lifelog.worker.heartbeat"

    worker_id: str
    incarnation: str
    pool: str
    job_id: str | None = None  # the first of `job_ids`
    job_ids: tuple[str, ...] = ()  # that run here
    free_memory_bytes: Count = 0
    gpus: tuple[GpuReading, ...] = ()


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A record that could not be read, with where it stood."""

    TYPE: ClassVar[str] = "lifelog.record.dead-lettered"

    topic: str
    partition: Count
    offset: Count
    reader: str
    error: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
