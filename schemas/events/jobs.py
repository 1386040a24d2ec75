"""What happens to a job as a whole."""

import datetime
from typing import ClassVar

from schemas.events.base import Event, Money
from schemas.types import BulkAction, Count, Device, JobKind, Positive, Priority, Scalar, Seconds
from schemas.why import Why


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
    memory_bytes: Count = 0  # what each GPU must have free
    cpu_memory_bytes: Count | None = None  # of a machine without GPUs; None: `memory_bytes`
    memory_estimated: bool = False  # by the recipe: nobody asked for these bytes
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


class JobsActedOn(Event, frozen=True, kw_only=True):
    """What came of a request about many jobs; the events before it say what happened to each."""

    TYPE: ClassVar[str] = "lifelog.jobs.acted-on"

    action: BulkAction
    matched: Count
    changed: Count
    reason: str = ""
