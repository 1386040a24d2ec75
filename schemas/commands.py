"""What may be asked of the two deciders: imperative, one class each.

A worker's report is a command like a user's request. Who may send which kind stands in
`schemas.authority`.
"""

import datetime
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from schemas.sealed import Reference, Sealed
from schemas.types import (
    BulkAction,
    Cause,
    Count,
    Device,
    Digest,
    JobKind,
    JobState,
    Positive,
    Priority,
    Role,
    Scalar,
    Scope,
    Seconds,
)


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is asked for. Subclasses name their `ce_type`."""

    TYPE: ClassVar[str] = ""


class SubmitJob(Command, frozen=True, kw_only=True):
    """Train a person's next version."""

    TYPE: ClassVar[str] = "lifelog.job.submit"

    job_id: str
    person_id: str
    pool: str = "default"
    priority: Priority = "medium"
    recipe: dict[str, Scalar]
    requested: dict[str, dict[str, Scalar]] = {}
    notes: tuple[str, ...] = ()
    memory_bytes: Count = 0
    attempts_max: Positive = 3
    timeout_s: Seconds = 10_800.0  # of one attempt
    kind: JobKind = "train"
    gpus: Positive = 1  # all or none of them, on one worker
    device: Device | None = None  # where it must run; None: wherever it fits
    gpu_kinds: tuple[str, ...] = ()  # any of these; none named: any
    labels: tuple[str, ...] = ()  # a worker must have all of them
    disk_bytes: Count = 0
    estimate_s: Seconds = 0.0  # how long it should run; 0: as the pool measured or assumes
    total_timeout_s: Seconds | None = None  # of all attempts together; None: the pool's
    queue_timeout_s: Seconds | None = None  # how long it may wait in line; None: the pool's
    not_before: datetime.datetime | None = None  # a scheduled start
    deadline: datetime.datetime | None = None  # by when it should be done
    after: tuple[str, ...] = ()  # jobs that must have succeeded before
    dedupe_key: str = ""  # while a person's job with this key is not over, no second is taken
    hold: bool = False  # wait until an operator releases it


class CancelJob(Command, frozen=True, kw_only=True):
    """End a job that has not ended. `person_id` is set where only its owner may."""

    TYPE: ClassVar[str] = "lifelog.job.cancel"

    job_id: str
    reason: str = ""
    person_id: str | None = None
    expected_version: Count | None = None  # the number of the job's events; None: whatever it is


class AboutJob(Command, frozen=True, kw_only=True):
    """Something that is asked of one job. `person_id` is set where only its owner may."""

    job_id: str
    reason: str = ""
    person_id: str | None = None
    expected_version: Count | None = None  # the number of the job's events; None: whatever it is


class PauseJob(AboutJob, frozen=True, kw_only=True):
    """Let a job wait; if it runs, its worker stops it at a checkpoint."""

    TYPE: ClassVar[str] = "lifelog.job.pause"


class ResumeJob(AboutJob, frozen=True, kw_only=True):
    """Let a paused job go on."""

    TYPE: ClassVar[str] = "lifelog.job.resume"


class HoldJob(AboutJob, frozen=True, kw_only=True):
    """Keep a job from being leased until an operator releases it."""

    TYPE: ClassVar[str] = "lifelog.job.hold"


class ReleaseJob(AboutJob, frozen=True, kw_only=True):
    """End an operator's hold."""

    TYPE: ClassVar[str] = "lifelog.job.release"


class RetryJob(AboutJob, frozen=True, kw_only=True):
    """Put a job that waits for its next attempt in line at once."""

    TYPE: ClassVar[str] = "lifelog.job.retry"


class ReprioritiseJob(AboutJob, frozen=True, kw_only=True):
    """Give a job another priority."""

    TYPE: ClassVar[str] = "lifelog.job.reprioritise"

    priority: Priority


class ActOnJobs(Command, frozen=True, kw_only=True):
    """Do one thing to every job that the filter lets through; what is not set lets all through."""

    TYPE: ClassVar[str] = "lifelog.jobs.act"

    action: BulkAction
    reason: str = ""
    priority: Priority | None = None  # the new one, to reprioritise
    person_id: str | None = None
    job_ids: tuple[str, ...] = ()
    states: tuple[JobState, ...] = ()
    priorities: tuple[Priority, ...] = ()
    kinds: tuple[JobKind, ...] = ()
    worker_id: str | None = None  # that holds them
    limit: Positive = 500  # of the jobs that match, the first submitted ones


class PausePerson(Command, frozen=True, kw_only=True):
    """Lease none of a person's jobs; what runs goes on."""

    TYPE: ClassVar[str] = "lifelog.person.pause"

    person_id: str
    reason: str = ""


class ResumePerson(Command, frozen=True, kw_only=True):
    """Lease a person's jobs again."""

    TYPE: ClassVar[str] = "lifelog.person.resume"

    person_id: str
    reason: str = ""


class PausePool(Command, frozen=True, kw_only=True):
    """Lease no job of the pool; what runs goes on."""

    TYPE: ClassVar[str] = "lifelog.pool.pause"

    reason: str = ""


class ResumePool(Command, frozen=True, kw_only=True):
    """Lease the pool's jobs again."""

    TYPE: ClassVar[str] = "lifelog.pool.resume"

    reason: str = ""


class ConfigurePool(Command, frozen=True, kw_only=True):
    """Change a pool's numbers: those named, by the names of `streams.queue.policy`."""

    TYPE: ClassVar[str] = "lifelog.pool.configure"

    pool: str | None = None  # its name from now on
    changes: dict[str, Scalar] = {}
    prices: dict[str, float] = {}  # of a GPU-hour, by kind of GPU
    reason: str = ""


class SetBudget(Command, frozen=True, kw_only=True):
    """Say what a person may spend in this pool in a month (UTC); None: the pool's own limit."""

    TYPE: ClassVar[str] = "lifelog.budget.set-cap"

    person_id: str
    per_month: Annotated[float, Meta(ge=0)] | None = None


class SetShare(Command, frozen=True, kw_only=True):
    """Give a person's use another weight: with 2, twice the GPU time counts as much."""

    TYPE: ClassVar[str] = "lifelog.share.set-weight"

    person_id: str
    weight: Annotated[float, Meta(ge=0.01)] = 1.0


class DrainWorker(Command, frozen=True, kw_only=True):
    """Give a worker no more jobs; with a grace, stop those that it holds at a checkpoint."""

    TYPE: ClassVar[str] = "lifelog.worker.drain"

    worker_id: str
    reason: str = ""
    grace_s: Seconds | None = None  # None: what runs goes on to its end


class ResumeWorker(Command, frozen=True, kw_only=True):
    """Give a drained worker jobs again."""

    TYPE: ClassVar[str] = "lifelog.worker.resume"

    worker_id: str
    reason: str = ""


class NoteWorkerHot(Command, frozen=True, kw_only=True):
    """A worker's GPU is too warm to take more work."""

    TYPE: ClassVar[str] = "lifelog.worker.note-hot"

    worker_id: str
    incarnation: str
    celsius: float


class NoteWorkerCooled(Command, frozen=True, kw_only=True):
    """A worker's GPUs are cool enough again."""

    TYPE: ClassVar[str] = "lifelog.worker.note-cooled"

    worker_id: str
    incarnation: str
    celsius: float


class JoinPool(Command, frozen=True, kw_only=True):
    """A worker's process started and takes jobs."""

    TYPE: ClassVar[str] = "lifelog.worker.join"

    worker_id: str
    incarnation: str  # new for each process
    host: str
    device: Device
    gpus: tuple[str, ...] = ()
    memory_bytes: Count = 0
    slots: Positive = 1
    gpu_kind: str = ""  # one for all its GPUs
    gpu_bytes: tuple[Count, ...] = ()  # by index; not told: each has `memory_bytes`
    reserved_bytes: tuple[Count, ...] = ()  # by index, kept free for inference
    labels: tuple[str, ...] = ()
    disk_bytes: Count | None = None  # for jobs; None: not told, not limited
    price_per_gpu_hour: Annotated[float, Meta(ge=0)] | None = None  # None: the pool's
    spot: bool = False  # it may be taken away at any time
    job_kinds: tuple[JobKind, ...] = ("train",)


class LeavePool(Command, frozen=True, kw_only=True):
    """A worker's process ends in good order and gives its jobs back."""

    TYPE: ClassVar[str] = "lifelog.worker.leave"

    worker_id: str
    incarnation: str


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
    scores: dict[str, float] = {}
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


class NoteWorkerSilent(Command, frozen=True, kw_only=True):
    """The monitor heard nothing of a worker for 15 s."""

    TYPE: ClassVar[str] = "lifelog.worker.note-silent"

    worker_id: str
    incarnation: str
    last_heard: datetime.datetime


class NoteWorkerHeard(Command, frozen=True, kw_only=True):
    """The monitor heard a silent worker again."""

    TYPE: ClassVar[str] = "lifelog.worker.note-heard"

    worker_id: str
    incarnation: str


class DeclareWorkerLost(Command, frozen=True, kw_only=True):
    """An operator says that a worker will not come back."""

    TYPE: ClassVar[str] = "lifelog.worker.declare-lost"

    worker_id: str
    reason: str = ""


class AdvanceTime(Command, frozen=True, kw_only=True):
    """A deadline is due; the record's own time says that it has passed."""

    TYPE: ClassVar[str] = "lifelog.time.advance"

    due: datetime.datetime


class AddPerson(Command, frozen=True, kw_only=True):
    """Keep a person's life here."""

    TYPE: ClassVar[str] = "lifelog.person.add"

    person_id: str
    name: Sealed
    role: Role = "member"
    consent: tuple[Scope, ...] = ("train", "retrieve")


class SetConsent(Command, frozen=True, kw_only=True):
    """Say what one entry may be used for."""

    TYPE: ClassVar[str] = "lifelog.consent.set-scopes"

    person_id: str
    entry_id: str
    scopes: tuple[Scope, ...]


class RegisterVersion(Command, frozen=True, kw_only=True):
    """A job succeeded: its adapter becomes a version."""

    TYPE: ClassVar[str] = "lifelog.version.register"

    version_id: str
    person_id: str
    job_id: str
    adapter: Digest
    adapter_config: Digest
    dataset: Digest
    manifest: Digest
    base: Digest
    template: Digest
    recipe: Digest
    entries: tuple[Reference, ...] = ()
    scores: dict[str, float] = {}


class MoveAlias(Command, frozen=True, kw_only=True):
    """Let a name such as `current` mean another version."""

    TYPE: ClassVar[str] = "lifelog.alias.move"

    person_id: str
    alias: str
    version_id: str
    reason: str = ""


JOB_COMMANDS: tuple[type[Command], ...] = (
    SubmitJob,
    CancelJob,
    JoinPool,
    LeavePool,
    RenewLease,
    ReportStarted,
    ReportDataset,
    NoteCheckpoint,
    ReportSucceeded,
    ReportFailed,
    ReportStopped,
    NoteWorkerSilent,
    NoteWorkerHeard,
    DeclareWorkerLost,
    AdvanceTime,
    PauseJob,
    ResumeJob,
    HoldJob,
    ReleaseJob,
    RetryJob,
    ReprioritiseJob,
    ActOnJobs,
    PausePerson,
    ResumePerson,
    PausePool,
    ResumePool,
    ConfigurePool,
    SetBudget,
    SetShare,
    DrainWorker,
    ResumeWorker,
    NoteWorkerHot,
    NoteWorkerCooled,
    ReportIdle,
)
LIBRARY_COMMANDS: tuple[type[Command], ...] = (
    AddPerson,
    SetConsent,
    RegisterVersion,
    MoveAlias,
)
