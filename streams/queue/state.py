"""What the history of one pool comes to: its jobs, workers, leases, accounts and waiting line."""

import datetime
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.events import JobSubmitted, WorkerJoined
from schemas.types import JobState, Priority, Scalar, StopReason
from streams.queue.line.shapes import Shape, shape_of
from streams.queue.line.shares import Shares
from streams.queue.line.waiting import Line
from streams.queue.measured import Measured
from streams.queue.money import Accounts
from streams.queue.order import RANK
from streams.queue.policy import Policy
from streams.remembered import Remembered

BEGINNING = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)  # before any record


@dataclass(slots=True)
class Stop:
    """A worker was told to stop an attempt."""

    reason: StopReason
    by: datetime.datetime  # later renewals are refused
    for_job: str | None = None
    held: bool = False  # of a pause: an operator's


class Running(NamedTuple):
    """A lease, as far as its worker's room is concerned."""

    ends: datetime.datetime  # at the latest, unless its worker is unreachable
    job_id: str
    gpus: tuple[int, ...]  # indices into `Room.free`
    memory_bytes: int
    disk_bytes: int


@dataclass(slots=True)
class Lease:
    """Who may run a job, until when, and what it has been charged for."""

    attempt: int
    worker_id: str
    incarnation: str
    token: int
    granted: datetime.datetime
    expires: datetime.datetime
    gpus: tuple[int, ...]
    memory_bytes: int  # of each GPU
    limit_s: float  # the attempt may run for so long
    disk_bytes: int
    price: float  # of a GPU-hour
    reserved_cost: float
    month: str  # whose budget it is charged to
    prepaid_s: float  # GPU-seconds that were charged in advance and not used yet
    charged_to: datetime.datetime  # use up to here is charged
    saved: datetime.datetime  # when its work was last stored
    stop: Stop | None = None

    @property
    def ends(self) -> datetime.datetime:
        """When the attempt has run for as long as it may."""
        return self.granted + datetime.timedelta(seconds=self.limit_s)

    @property
    def units(self) -> int:
        """How many GPUs its use counts for; a worker without GPUs counts as one."""
        return max(1, len(self.gpus))


@dataclass(slots=True)
class Job:
    """A job that is not over."""

    job_id: str
    person_id: str
    submitted: JobSubmitted
    number: int  # the how-manieth of the pool, counted from 1
    state: JobState
    since: datetime.datetime  # when it last began to wait in line
    ages_from: datetime.datetime  # its age in line is counted from here: waits only
    priority: Priority
    shape: Shape
    version: int = 1  # how many events are about it
    attempt: int = 0  # of the last lease
    costly: int = 0  # attempts that count against `attempts_max`
    out_of_memory: int = 0  # attempts that ran out of memory: they have a budget of their own
    free: int = 0  # attempts that were given back or lost
    preempted: int = 0
    used_s: float = 0.0  # of all attempts
    lease: Lease | None = None
    cancelling: str | None = None  # the reason, once its end was asked for
    cancel_by: datetime.datetime | None = None  # later renewals are refused
    paused: bool = False
    held: bool = False
    not_before: datetime.datetime | None = None  # it is not in line until then
    blocked: bool = False  # by its person's budget, until `not_before` at the latest
    checkpoint: str | None = None
    checkpoint_step: int = 0
    total_steps: int = 0
    dataset: str | None = None

    @property
    def rank(self) -> int:
        """Of its priority: 0 is the highest."""
        return RANK[self.priority]

    @property
    def recipe(self) -> dict[str, Scalar]:
        """Effective values."""
        return self.submitted.recipe

    @property
    def micro_batches(self) -> int:
        """In how many parts a batch is computed: twice as many after each time out of memory."""
        return int(2**self.out_of_memory)


@dataclass(frozen=True, slots=True)
class Over:
    """What is kept of a job that is over."""

    person_id: str
    state: JobState
    dataset: str | None = None


@dataclass(slots=True)
class Worker:
    """A worker that joined at some time."""

    joined: WorkerJoined  # its newest incarnation
    present: bool = True  # neither left nor lost
    silent: bool = False
    draining: bool = False
    hot: bool = False
    held: dict[str, Running] = field(default_factory=dict)  # by the job it holds a lease of
    superseded: tuple[str, ...] = ()  # earlier incarnations, newest last

    @property
    def open(self) -> bool:
        """Whether it is given jobs."""
        return self.present and not (self.silent or self.draining or self.hot)


Ripens = tuple[datetime.datetime, str]  # when something happens to a job by time alone


@dataclass(slots=True)
class QueueState:
    """One pool. Changed in place, by `evolve` alone."""

    policy: Policy = field(default_factory=Policy)
    name: str | None = None  # of the pool, where it was given one
    paused: bool = False
    restless: bool = False  # a number has changed, and nothing was decided by it yet
    paused_people: dict[str, datetime.datetime] = field(default_factory=dict)  # since when
    time: datetime.datetime = BEGINNING  # of the last folded event
    token: int = 0  # the last fencing token
    submissions: int = 0
    jobs: dict[str, Job] = field(default_factory=dict)
    over: dict[str, Over] = field(default_factory=dict)
    by_person: dict[str, dict[str, None]] = field(default_factory=dict)  # jobs that are not over
    dedupe: dict[tuple[str, str], str] = field(default_factory=dict)  # person and key → job
    dependants: dict[str, list[str]] = field(default_factory=dict)  # job → jobs that wait for it
    leased: dict[str, None] = field(default_factory=dict)  # the jobs with a lease, in order
    workers: dict[str, Worker] = field(default_factory=dict)
    line: Line = field(default_factory=Line)
    delayed: list[Ripens] = field(default_factory=list)  # heap: jobs that wait for a time
    starting: list[Ripens] = field(default_factory=list)  # heap: scheduled jobs with a time
    rising: list[Ripens] = field(default_factory=list)  # heap: jobs in line, next level
    expiring: list[Ripens] = field(default_factory=list)  # heap: jobs in line, end of their wait
    blocked: dict[str, dict[str, None]] = field(default_factory=dict)  # person → jobs
    shares: Shares = field(default_factory=lambda: Shares(Policy().half_life_s, BEGINNING))
    accounts: Accounts = field(default_factory=Accounts)
    prices: dict[str, float] = field(default_factory=dict)  # of a GPU-hour, by kind
    measured: Measured = field(default_factory=Measured)
    remembered: Remembered = field(default_factory=Remembered)


def job_of(event: JobSubmitted, number: int, at: datetime.datetime) -> Job:
    """The job that an accepted submission makes."""
    return Job(
        job_id=event.job_id,
        person_id=event.person_id,
        submitted=event,
        number=number,
        state="queued",
        since=at,
        ages_from=at,
        priority=event.priority,
        shape=shape_of(event),
    )


def waited_s(job: Job, now: datetime.datetime) -> float:
    """How long a job that is in line has waited in all, in seconds."""
    return max(0.0, (now - job.ages_from).total_seconds())


def queue_limit_s(state: QueueState, job: Job) -> float:
    """How long a job may wait in line."""
    own = job.submitted.queue_timeout_s
    return state.policy.queue_timeout_s if own is None else own


def total_limit_s(state: QueueState, job: Job) -> float:
    """How long all attempts of a job may run together."""
    own = job.submitted.total_timeout_s
    return state.policy.total_timeout_s if own is None else own


def attempt_limit_s(state: QueueState, job: Job, ran_s: float = 0.0) -> float:
    """How long the next attempt of a job may run, `ran_s` after what is counted already."""
    left = total_limit_s(state, job) - job.used_s - ran_s
    return min(job.submitted.timeout_s, max(0.0, left))
