"""What happens to one attempt at a job, from its lease to its end."""

from typing import ClassVar

from msgspec import field

from schemas.events.base import Event, Money
from schemas.sealed import Reference
from schemas.types import Cause, Count, Device, Digest, Positive, Scalar, Seconds, StopReason
from schemas.why import Why


class LeaseGranted(Event, frozen=True, kw_only=True):
    """A worker may run the job until the lease ends; no other may."""

    TYPE: ClassVar[str] = "lifelog.lease.granted"

    job_id: str
    person_id: str
    attempt: Positive
    worker_id: str
    incarnation: str
    gpus: tuple[int, ...] = ()
    memory_bytes: Count = 0
    fencing_token: Positive  # a counter of the pool: it only rises
    ttl_s: Seconds
    reason: str  # why this job, on this worker, now
    checkpoint: Digest | None = None  # to resume from
    checkpoint_step: Count = 0
    dataset: Digest | None = None  # of an earlier attempt: trained on again
    recipe: dict[str, Scalar] = field(default_factory=dict)
    timeout_s: Seconds = 10_800.0  # of this attempt
    micro_batches: Positive = 1  # each batch in so many parts: the same gradient in less memory
    disk_bytes: Count = 0
    expected_s: Seconds = 0.0
    price_per_gpu_hour: Money = 0.0
    reserved_cost: Money = 0.0  # of the budget until the attempt ends: the most it can cost
    penalty_s: Seconds = 0.0  # GPU-seconds charged to the person's share in advance
    idle_after_s: Seconds = 0.0  # GPUs that do nothing for so long are to be told; 0: never
    why: tuple[Why, ...] = ()  # why this one, and who was passed over


class AboutAttempt(Event, frozen=True, kw_only=True):
    """What is said of one attempt of a job."""

    job_id: str
    person_id: str
    attempt: Positive
    worker_id: str
    fencing_token: Positive


class LeaseRenewed(AboutAttempt, frozen=True, kw_only=True):
    """The worker still holds the job; the lease now ends `ttl_s` after this event."""

    TYPE: ClassVar[str] = "lifelog.lease.renewed"

    ttl_s: Seconds


class LeasesExtended(Event, frozen=True, kw_only=True):
    """The log stood still; every lease of the pool ends that much later."""

    TYPE: ClassVar[str] = "lifelog.leases.extended"

    gap_s: Seconds


class JobStarted(AboutAttempt, frozen=True, kw_only=True):
    """The worker's child process runs the attempt."""

    TYPE: ClassVar[str] = "lifelog.job.started"

    device: Device
    resumed_from_step: Count = 0


class DatasetBuilt(AboutAttempt, frozen=True, kw_only=True):
    """The examples that this job trains on are fixed."""

    TYPE: ClassVar[str] = "lifelog.dataset.built"

    dataset: Digest
    manifest: Digest
    examples: Count
    entries: Count
    tokens: Count = 0


class CheckpointNoted(AboutAttempt, frozen=True, kw_only=True):
    """A checkpoint is stored; the next attempt resumes from it."""

    TYPE: ClassVar[str] = "lifelog.checkpoint.noted"

    step: Count
    total_steps: Positive
    checkpoint: Digest


class AttemptEnded(AboutAttempt, frozen=True, kw_only=True):
    """An attempt is over without an adapter: it failed, was given back, or its lease ended."""

    TYPE: ClassVar[str] = "lifelog.attempt.ended"

    outcome: str  # "failed", "released", "lost", "lease-expired", "cancelled"
    cause: Cause | None = None
    code: str | None = None
    detail: str = ""
    costs_attempt: bool = True  # whether it counts against `attempts_max`
    gpu_seconds: Seconds = 0.0
    cost: Money = 0.0
    energy_wh: Money | None = None
    peak_bytes: Count = 0
    why: tuple[Why, ...] = ()
    telemetry: Digest | None = None  # its points; none where the child died or took no step


class AttemptStopRequested(AboutAttempt, frozen=True, kw_only=True):
    """The worker was told to store a checkpoint and stop within the grace."""

    TYPE: ClassVar[str] = "lifelog.attempt.stop-requested"

    stop: StopReason
    grace_s: Seconds
    for_job: str | None = None  # that is to run instead
    held: bool = False  # of a pause: an operator's
    reason: str = ""
    why: tuple[Why, ...] = ()


class JobSucceeded(AboutAttempt, frozen=True, kw_only=True):
    """The job is over: its adapter is stored."""

    TYPE: ClassVar[str] = "lifelog.job.succeeded"

    version_id: str
    adapter: Digest
    adapter_config: Digest
    dataset: Digest
    manifest: Digest
    base: Digest
    template: Digest
    recipe: Digest
    entries: tuple[Reference, ...] = ()  # that the examples were made of
    steps: Count = 0
    training_tokens: Count = 0
    seconds: Seconds = 0.0
    telemetry: Digest | None = None
    scores: dict[str, float] = field(default_factory=dict)
    gpu_seconds: Seconds = 0.0
    cost: Money = 0.0
    energy_wh: Money | None = None
    peak_bytes: Count = 0


class ScoresRecorded(AboutAttempt, frozen=True, kw_only=True):
    """What the worker measured of the adapter it trained."""

    TYPE: ClassVar[str] = "lifelog.scores.recorded"

    version_id: str
    scores: dict[str, float]
