"""What may be asked of the two deciders: imperative, one class each.

A worker's report is a command like a user's request. Who may send which kind stands in
`schemas.authority`.
"""

import datetime
from typing import ClassVar

import msgspec

from schemas.sealed import Reference, Sealed
from schemas.types import (
    Cause,
    Count,
    Device,
    Digest,
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
    timeout_s: Seconds = 10_800.0


class CancelJob(Command, frozen=True, kw_only=True):
    """End a job that has not ended. `person_id` is set where only its owner may."""

    TYPE: ClassVar[str] = "lifelog.job.cancel"

    job_id: str
    reason: str = ""
    person_id: str | None = None


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


class ReportFailed(Report, frozen=True, kw_only=True):
    """The attempt ended without an adapter."""

    TYPE: ClassVar[str] = "lifelog.job.report-failed"

    cause: Cause
    code: str
    detail: str = ""
    retryable: bool = True


class ReportStopped(Report, frozen=True, kw_only=True):
    """The child was stopped: by request, or because the worker gives the job back."""

    TYPE: ClassVar[str] = "lifelog.job.report-stopped"

    cancelled: bool
    detail: str = ""


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
)
LIBRARY_COMMANDS: tuple[type[Command], ...] = (
    AddPerson,
    SetConsent,
    RegisterVersion,
    MoveAlias,
)
