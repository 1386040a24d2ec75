"""What is asked and noted about workers."""

import datetime
from typing import Annotated, ClassVar

from msgspec import Meta

from schemas.commands.base import Command
from schemas.types import Count, Device, JobKind, Positive, Seconds


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
    """A worker's process started and takes jobs; from a present one: its GPUs have changed."""

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
    lost_gpus: tuple[Count, ...] = ()  # by index: they have stopped answering since it joined


class LeavePool(Command, frozen=True, kw_only=True):
    """A worker's process ends in good order and gives its jobs back."""

    TYPE: ClassVar[str] = "lifelog.worker.leave"

    worker_id: str
    incarnation: str


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
