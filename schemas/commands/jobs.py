"""What may be asked about jobs."""

import datetime
from typing import ClassVar

from msgspec import field

from schemas.commands.base import Command
from schemas.types import (
    BulkAction,
    Count,
    Device,
    JobKind,
    JobState,
    Positive,
    Priority,
    Scalar,
    Seconds,
)


class SubmitJob(Command, frozen=True, kw_only=True):
    """Train a person's next version."""

    TYPE: ClassVar[str] = "lifelog.job.submit"

    job_id: str
    person_id: str
    pool: str = "default"
    priority: Priority = "medium"
    recipe: dict[str, Scalar]
    requested: dict[str, dict[str, Scalar]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    memory_bytes: Count = 0  # of each GPU
    cpu_memory_bytes: Count | None = None  # of a machine without GPUs; None: `memory_bytes`
    memory_estimated: bool = False  # by the recipe: nobody asked for these bytes
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
