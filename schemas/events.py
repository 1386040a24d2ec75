"""Every life-cycle event: past tense, one class each, its `type` for ever.

To add a field, give it a default; to change a meaning, add a new event. Times and causes stand in
the envelope (`schemas.envelope`): an event's time is the time of the command that it answers.
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
    EntryKind,
    JobKind,
    Positive,
    Priority,
    Role,
    Scalar,
    Scope,
    Seconds,
    StopReason,
)
from schemas.why import Why

Money = Annotated[float, Meta(ge=0)]  # in the currency of the pool's prices


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened. Subclasses name their `ce_type`."""

    TYPE: ClassVar[str] = ""


class CommandRejected(Event, frozen=True, kw_only=True):
    """A command was answered with no; nothing changed."""

    TYPE: ClassVar[str] = "lifelog.command.rejected"

    kind: str  # the command's type
    code: str  # of `schemas.errors`
    detail: str
    subject: str | None = None  # the job, person or version it was about


class CommandRepeated(Event, frozen=True, kw_only=True):
    """A command came again with the same body; it had its effect the first time."""

    TYPE: ClassVar[str] = "lifelog.command.repeated"

    kind: str


class JobSubmitted(Event, frozen=True, kw_only=True):
    """A job was accepted and waits in the queue."""

    TYPE: ClassVar[str] = "lifelog.job.submitted"

    job_id: str
    person_id: str
    pool: str
    priority: Priority
    recipe: dict[str, Scalar]  # effective values, see `schemas.recipe`
    requested: dict[str, dict[str, Scalar]]  # the training configuration as it was written
    notes: tuple[str, ...] = ()  # where the effective values differ from the requested ones
    memory_bytes: Count = 0  # what a worker must have free
    attempts_max: Positive = 3
    timeout_s: Seconds = 10_800.0  # of one attempt
    kind: JobKind = "train"
    gpus: Positive = 1
    device: Device | None = None
    gpu_kinds: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    disk_bytes: Count = 0
    estimate_s: Seconds = 0.0
    total_timeout_s: Seconds | None = None
    queue_timeout_s: Seconds | None = None
    not_before: datetime.datetime | None = None
    deadline: datetime.datetime | None = None
    after: tuple[str, ...] = ()
    dedupe_key: str = ""
    hold: bool = False
    expected_s: Seconds = 0.0  # how long it should run, as the pool knew then
    expected_cost: Money = 0.0  # on the cheapest worker that it fits; 0: no price is known


class JobDeferred(Event, frozen=True, kw_only=True):
    """The job is not in line yet: it waits for a time, or for other jobs to succeed."""

    TYPE: ClassVar[str] = "lifelog.job.deferred"

    job_id: str
    person_id: str
    not_before: datetime.datetime | None = None
    after: tuple[str, ...] = ()  # those that had not succeeded yet


class JobReadied(Event, frozen=True, kw_only=True):
    """What the job waited for has come: it is in line."""

    TYPE: ClassVar[str] = "lifelog.job.readied"

    job_id: str
    person_id: str
    why: tuple[Why, ...] = ()


class JobPaused(Event, frozen=True, kw_only=True):
    """The job waits until it is let go on."""

    TYPE: ClassVar[str] = "lifelog.job.paused"

    job_id: str
    person_id: str
    held: bool = False  # by an operator, who alone releases it
    reason: str = ""


class JobResumed(Event, frozen=True, kw_only=True):
    """The pause or hold is over: the job waits in line again."""

    TYPE: ClassVar[str] = "lifelog.job.resumed"

    job_id: str
    person_id: str
    held: bool = False  # whether it was a hold that ended
    reason: str = ""


class JobReprioritised(Event, frozen=True, kw_only=True):
    """The job has another priority from now on."""

    TYPE: ClassVar[str] = "lifelog.job.reprioritised"

    job_id: str
    person_id: str
    priority: Priority
    previous: Priority
    reason: str = ""


class JobBlocked(Event, frozen=True, kw_only=True):
    """The job leaves the line until its person's budget allows it."""

    TYPE: ClassVar[str] = "lifelog.job.blocked"

    job_id: str
    person_id: str
    until: datetime.datetime  # at the latest: the next month
    why: tuple[Why, ...] = ()


class JobExpired(Event, frozen=True, kw_only=True):
    """The job is over: it waited in line for longer than it was to."""

    TYPE: ClassVar[str] = "lifelog.job.expired"

    job_id: str
    person_id: str
    waited_s: Seconds
    limit_s: Seconds
    why: tuple[Why, ...] = ()


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
    recipe: dict[str, Scalar] = {}
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


class TimeAdvanced(Event, frozen=True, kw_only=True):
    """The log moved on, and nobody had anything to say: an outage would have left a gap."""

    TYPE: ClassVar[str] = "lifelog.time.advanced"


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


class AttemptStopRequested(AboutAttempt, frozen=True, kw_only=True):
    """The worker was told to store a checkpoint and stop within the grace."""

    TYPE: ClassVar[str] = "lifelog.attempt.stop-requested"

    stop: StopReason
    grace_s: Seconds
    for_job: str | None = None  # that is to run instead
    held: bool = False  # of a pause: an operator's
    reason: str = ""
    why: tuple[Why, ...] = ()


class JobRetryScheduled(Event, frozen=True, kw_only=True):
    """The job waits again, and is not leased before `not_before`."""

    TYPE: ClassVar[str] = "lifelog.job.retry-scheduled"

    job_id: str
    person_id: str
    next_attempt: Positive
    not_before: datetime.datetime
    reason: str
    why: tuple[Why, ...] = ()


class JobCancelRequested(Event, frozen=True, kw_only=True):
    """The worker that holds the job was told to stop it."""

    TYPE: ClassVar[str] = "lifelog.job.cancel-requested"

    job_id: str
    person_id: str
    reason: str


class JobCancelled(Event, frozen=True, kw_only=True):
    """The job is over: somebody asked for it."""

    TYPE: ClassVar[str] = "lifelog.job.cancelled"

    job_id: str
    person_id: str
    reason: str
    code: str | None = None  # where nobody asked: what it waited for did not succeed


class JobFailed(Event, frozen=True, kw_only=True):
    """The job is over: no further attempt would help, or none is left."""

    TYPE: ClassVar[str] = "lifelog.job.failed"

    job_id: str
    person_id: str
    attempts: Positive
    code: str
    detail: str
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
    scores: dict[str, float] = {}
    gpu_seconds: Seconds = 0.0
    cost: Money = 0.0
    energy_wh: Money | None = None
    peak_bytes: Count = 0


class WorkerJoined(Event, frozen=True, kw_only=True):
    """A worker's process started; whatever its earlier incarnation held is void."""

    TYPE: ClassVar[str] = "lifelog.worker.joined"

    worker_id: str
    incarnation: str
    host: str
    device: Device
    gpus: tuple[str, ...] = ()  # names, by index
    memory_bytes: Count = 0
    slots: Positive = 1
    gpu_kind: str = ""
    gpu_bytes: tuple[Count, ...] = ()
    reserved_bytes: tuple[Count, ...] = ()
    labels: tuple[str, ...] = ()
    disk_bytes: Count | None = None
    price_per_gpu_hour: Money | None = None
    spot: bool = False
    job_kinds: tuple[JobKind, ...] = ("train",)


class WorkerLeft(Event, frozen=True, kw_only=True):
    """A worker's process ended in good order."""

    TYPE: ClassVar[str] = "lifelog.worker.left"

    worker_id: str
    incarnation: str


class WorkerSilent(Event, frozen=True, kw_only=True):
    """No heartbeat for 15 s. Shown, no more: unreachable is not failed."""

    TYPE: ClassVar[str] = "lifelog.worker.silent"

    worker_id: str
    incarnation: str
    last_heard: datetime.datetime


class WorkerHeard(Event, frozen=True, kw_only=True):
    """A silent worker's heartbeat came again."""

    TYPE: ClassVar[str] = "lifelog.worker.heard"

    worker_id: str
    incarnation: str


class WorkerLost(Event, frozen=True, kw_only=True):
    """An operator declared the worker lost: its leases are void at once."""

    TYPE: ClassVar[str] = "lifelog.worker.lost"

    worker_id: str
    incarnation: str
    reason: str


class WorkerDraining(Event, frozen=True, kw_only=True):
    """The worker is given no more jobs."""

    TYPE: ClassVar[str] = "lifelog.worker.draining"

    worker_id: str
    reason: str = ""


class WorkerResumed(Event, frozen=True, kw_only=True):
    """The worker is given jobs again."""

    TYPE: ClassVar[str] = "lifelog.worker.resumed"

    worker_id: str
    reason: str = ""


class WorkerHot(Event, frozen=True, kw_only=True):
    """The worker is given nothing new until its GPUs have cooled."""

    TYPE: ClassVar[str] = "lifelog.worker.hot"

    worker_id: str
    incarnation: str
    celsius: float


class WorkerCooled(Event, frozen=True, kw_only=True):
    """The worker's GPUs are cool enough again."""

    TYPE: ClassVar[str] = "lifelog.worker.cooled"

    worker_id: str
    incarnation: str
    celsius: float


class PersonPaused(Event, frozen=True, kw_only=True):
    """None of the person's jobs is leased; what runs goes on."""

    TYPE: ClassVar[str] = "lifelog.person.paused"

    person_id: str
    reason: str = ""


class PersonResumed(Event, frozen=True, kw_only=True):
    """The person's jobs are leased again."""

    TYPE: ClassVar[str] = "lifelog.person.resumed"

    person_id: str
    reason: str = ""


class PoolPaused(Event, frozen=True, kw_only=True):
    """No job of the pool is leased; what runs goes on."""

    TYPE: ClassVar[str] = "lifelog.pool.paused"

    reason: str = ""


class PoolResumed(Event, frozen=True, kw_only=True):
    """The pool's jobs are leased again."""

    TYPE: ClassVar[str] = "lifelog.pool.resumed"

    reason: str = ""


class PoolConfigured(Event, frozen=True, kw_only=True):
    """The pool's numbers from now on: those named, the others as before."""

    TYPE: ClassVar[str] = "lifelog.pool.configured"

    pool: str | None = None
    changes: dict[str, Scalar] = {}
    prices: dict[str, float] = {}
    reason: str = ""


class BudgetSet(Event, frozen=True, kw_only=True):
    """What a person may spend in this pool in a month; None: the pool's own limit."""

    TYPE: ClassVar[str] = "lifelog.budget.set"

    person_id: str
    per_month: Money | None = None


class ShareSet(Event, frozen=True, kw_only=True):
    """The weight of a person's use in the fair share."""

    TYPE: ClassVar[str] = "lifelog.share.set"

    person_id: str
    weight: float


class JobsActedOn(Event, frozen=True, kw_only=True):
    """What came of a request about many jobs; the events before it say what happened to each."""

    TYPE: ClassVar[str] = "lifelog.jobs.acted-on"

    action: BulkAction
    matched: Count
    changed: Count
    reason: str = ""


class PersonAdded(Event, frozen=True, kw_only=True):
    """A person whose life is kept here."""

    TYPE: ClassVar[str] = "lifelog.person.added"

    person_id: str
    name: Sealed
    role: Role = "member"
    consent: tuple[Scope, ...] = ("train", "retrieve")  # of entries that do not say otherwise


class ConsentSet(Event, frozen=True, kw_only=True):
    """What one entry may be used for from now on; no scope at all: never."""

    TYPE: ClassVar[str] = "lifelog.consent.set"

    person_id: str
    entry_id: str
    scopes: tuple[Scope, ...]


class VersionRegistered(Event, frozen=True, kw_only=True):
    """A succeeded job's adapter is an immutable version of the person's model."""

    TYPE: ClassVar[str] = "lifelog.version.registered"

    version_id: str
    person_id: str
    number: Positive  # the person's first version is 1
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


class AliasMoved(Event, frozen=True, kw_only=True):
    """A name such as `current` now means another version."""

    TYPE: ClassVar[str] = "lifelog.alias.moved"

    person_id: str
    alias: str
    version_id: str
    previous: str | None = None
    reason: str = ""


class EntryWritten(Event, frozen=True, kw_only=True):
    """A revision of an entry; earlier revisions stay."""

    TYPE: ClassVar[str] = "lifelog.entry.written"

    person_id: str
    entry_id: str
    revision: Positive
    kind: EntryKind
    title: Sealed
    text: Sealed
    question: Sealed | None = None
    occasion: Sealed | None = None
    dated: datetime.date | None = None  # the day it tells of
    words: Count = 0


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer was made of: kept with every turn."""

    version_id: str | None  # None: the base answered
    base: Digest
    adapter: Digest | None
    template: Digest
    manifest: Digest | None  # of the examples that the version was trained on
    temperature: float
    top_p: float
    max_tokens: Positive
    seed: int
    entries: tuple[Reference, ...] = ()  # that stood in the prompt
    prompt_tokens: Count = 0
    answer_tokens: Count = 0
    finish_reason: str = "stop"
    instructed: bool = False  # a system message of the caller's stood in the prompt too


class TurnRecorded(Event, frozen=True, kw_only=True):
    """A question and its answer, with the receipt."""

    TYPE: ClassVar[str] = "lifelog.turn.recorded"

    person_id: str  # whose model answered
    conversation_id: str
    turn_id: str
    asked_by: str
    question: Sealed
    answer: Sealed
    receipt: Receipt


class ScoresRecorded(AboutAttempt, frozen=True, kw_only=True):
    """What the worker measured of the adapter it trained."""

    TYPE: ClassVar[str] = "lifelog.scores.recorded"

    version_id: str
    scores: dict[str, float]


class AccessRecorded(Event, frozen=True, kw_only=True):
    """Who did what to what, from where, and whether it was allowed."""

    TYPE: ClassVar[str] = "lifelog.access.recorded"

    actor: str
    action: str
    subject: str
    allowed: bool
    address: str = ""


JOB_EVENTS: tuple[type[Event], ...] = (
    CommandRejected,
    CommandRepeated,
    JobSubmitted,
    LeaseGranted,
    LeaseRenewed,
    LeasesExtended,
    TimeAdvanced,
    JobStarted,
    DatasetBuilt,
    CheckpointNoted,
    AttemptEnded,
    JobRetryScheduled,
    JobCancelRequested,
    JobCancelled,
    JobFailed,
    JobSucceeded,
    WorkerJoined,
    WorkerLeft,
    WorkerSilent,
    WorkerHeard,
    WorkerLost,
    JobDeferred,
    JobReadied,
    JobPaused,
    JobResumed,
    JobReprioritised,
    JobBlocked,
    JobExpired,
    AttemptStopRequested,
    WorkerDraining,
    WorkerResumed,
    WorkerHot,
    WorkerCooled,
    PersonPaused,
    PersonResumed,
    PoolPaused,
    PoolResumed,
    PoolConfigured,
    BudgetSet,
    ShareSet,
    JobsActedOn,
)
PEOPLE_EVENTS: tuple[type[Event], ...] = (
    CommandRejected,
    CommandRepeated,
    PersonAdded,
    ConsentSet,
)
MODEL_EVENTS: tuple[type[Event], ...] = (VersionRegistered, AliasMoved)
ENTRY_EVENTS: tuple[type[Event], ...] = (EntryWritten,)
CONVERSATION_EVENTS: tuple[type[Event], ...] = (TurnRecorded,)
VALIDATION_EVENTS: tuple[type[Event], ...] = (ScoresRecorded,)
AUDIT_EVENTS: tuple[type[Event], ...] = (AccessRecorded,)
