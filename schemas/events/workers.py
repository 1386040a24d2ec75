"""What happens to a worker."""

import datetime
from typing import ClassVar

from schemas.events.base import Event, Money
from schemas.types import Count, Device, JobKind, Positive


class WorkerJoined(Event, frozen=True, kw_only=True):
    """A worker's process started; whatever its earlier incarnation held is void.

    Of the incarnation that is there: it has told anew what it has, and holds what it held.
    """

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
    lost_gpus: tuple[Count, ...] = ()  # by index: they have stopped answering since it joined


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
