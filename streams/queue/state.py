"""What the history of one pool comes to: its jobs, workers, leases and waiting line."""

import datetime
from dataclasses import dataclass, field

from schemas.events import JobSubmitted, WorkerJoined
from schemas.types import JobState, Scalar
from streams.queue.order import Key, sort_key
from streams.queue.policy import Policy
from streams.queue.waiting import Waiting
from streams.remembered import Remembered

BEGINNING = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)  # before any record


@dataclass(slots=True)
class Lease:
    """Who may run a job, until when."""

    attempt: int
    worker_id: str
    incarnation: str
    token: int
    granted: datetime.datetime
    expires: datetime.datetime
    gpus: tuple[int, ...]
    memory_bytes: int


@dataclass(slots=True)
class Job:
    """A job that is not over."""

    job_id: str
    person_id: str
    submitted: JobSubmitted
    number: int  # the how-manieth of the pool, counted from 1
    state: JobState
    since: datetime.datetime  # when it last began to wait
    attempt: int = 0  # of the last lease
    costly: int = 0  # attempts that count against `attempts_max`
    free: int = 0  # attempts that were given back or lost
    lease: Lease | None = None
    cancelling: str | None = None  # the reason, once its end was asked for
    checkpoint: str | None = None
    checkpoint_step: int = 0
    dataset: str | None = None

    @property
    def key(self) -> Key:
        """Its place in line."""
        return sort_key(self.submitted.priority, self.number)

    @property
    def memory_bytes(self) -> int:
        """What a worker must have free."""
        return self.submitted.memory_bytes

    @property
    def recipe(self) -> dict[str, Scalar]:
        """Effective values."""
        return self.submitted.recipe


@dataclass(frozen=True, slots=True)
class Over:
    """What is kept of a job that is over."""

    person_id: str
    state: JobState


@dataclass(slots=True)
class Worker:
    """A worker that joined at some time."""

    joined: WorkerJoined  # its newest incarnation
    present: bool = True  # neither left nor lost
    silent: bool = False
    held: dict[str, None] = field(default_factory=dict)  # the jobs it holds leases of, in order
    superseded: tuple[str, ...] = ()  # earlier incarnations, newest last


@dataclass(slots=True)
class QueueState:
    """One pool. Changed in place, by `evolve` alone."""

    policy: Policy = field(default_factory=Policy)
    time: datetime.datetime = BEGINNING  # of the last folded event
    token: int = 0  # the last fencing token
    submissions: int = 0
    jobs: dict[str, Job] = field(default_factory=dict)
    over: dict[str, Over] = field(default_factory=dict)
    leased: dict[str, None] = field(default_factory=dict)  # the jobs with a lease, in order
    workers: dict[str, Worker] = field(default_factory=dict)
    waiting: Waiting = field(default_factory=Waiting)
    remembered: Remembered = field(default_factory=Remembered)
