"""What a worker reports of an attempt, and asks for it."""

from typing import Annotated, ClassVar

from msgspec import Meta, field

from schemas.commands.base import Command
from schemas.sealed import Reference
from schemas.types import Cause, Count, Device, Digest, Positive, Seconds


class Report(Command, frozen=True, kw_only=True):
    """What the worker that holds a lease says of its attempt."""

    job_id: str
    attempt: Positive
    worker_id: str
    fencing_token: Positive


class RenewLease(Report, frozen=True, kw_only=True):
    """The child still runs."""

    TYPE: ClassVar[str] = "lifelog.lease.renew"


class ReportStarted(Report, frozen=True, kw_only=True):
    """The child runs."""

    TYPE: ClassVar[str] = "lifelog.job.report-started"

    device: Device
    resumed_from_step: Count = 0


class ReportDataset(Report, frozen=True, kw_only=True):
    """The examples are built and stored."""

    TYPE: ClassVar[str] = "lifelog.dataset.report"

    dataset: Digest
    manifest: Digest
    examples: Count
    entries: Count
    tokens: Count = 0


class NoteCheckpoint(Report, frozen=True, kw_only=True):
    """A checkpoint is stored."""

    TYPE: ClassVar[str] = "lifelog.checkpoint.note"

    step: Count
    total_steps: Positive
    checkpoint: Digest


class ReportSucceeded(Report, frozen=True, kw_only=True):
    """The adapter is stored."""

    TYPE: ClassVar[str] = "lifelog.job.report-succeeded"

    version_id: str
    adapter: Digest
    adapter_config: Digest
    dataset: Digest
    manifest: Digest
    base: Digest
    template: Digest
    recipe: Digest
    entries: tuple[Reference, ...] = ()
    steps: Count = 0
    training_tokens: Count = 0
    seconds: Seconds = 0.0
    telemetry: Digest | None = None
    scores: dict[str, float] = field(default_factory=dict)
    peak_bytes: Count = 0  # of the fullest GPU, measured; 0: not measured
    energy_wh: Annotated[float, Meta(ge=0)] | None = None  # as NVML counts it


class ReportFailed(Report, frozen=True, kw_only=True):
    """The attempt ended without an adapter."""

    TYPE: ClassVar[str] = "lifelog.job.report-failed"

    cause: Cause
    code: str
    detail: str = ""
    retryable: bool = True
    peak_bytes: Count = 0
    energy_wh: Annotated[float, Meta(ge=0)] | None = None
    telemetry: Digest | None = None  # the attempt's points, where it could store them


class ReportIdle(Report, frozen=True, kw_only=True):
    """The child's GPU has done nothing for a while."""

    TYPE: ClassVar[str] = "lifelog.job.report-idle"

    idle_s: Seconds


class ReportStopped(Report, frozen=True, kw_only=True):
    """The child was stopped: by request, or because the worker gives the job back."""

    TYPE: ClassVar[str] = "lifelog.job.report-stopped"

    cancelled: bool
    detail: str = ""
    peak_bytes: Count = 0
    energy_wh: Annotated[float, Meta(ge=0)] | None = None
    telemetry: Digest | None = None
