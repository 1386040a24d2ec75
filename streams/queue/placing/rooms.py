"""What a worker has left for further jobs, now and once those that run have ended."""

from dataclasses import dataclass, field

import msgspec

from schemas.events import WorkerJoined
from streams.queue.line.shapes import Shape
from streams.queue.money import price_of
from streams.queue.policy import Policy
from streams.queue.state import QueueState, Running, Worker


@dataclass(slots=True)
class Room:
    """A worker's room. A worker without GPUs has one entry: the machine's memory."""

    joined: WorkerJoined
    open: bool  # whether it is given jobs
    on_gpu: bool
    price: float  # of a GPU-hour
    slots: int
    free: list[int]  # bytes, by GPU
    jobs: list[int]  # how many, by GPU
    disk: int | None  # bytes; None: not limited
    most: int  # bytes of the largest GPU while the worker holds nothing
    lost: frozenset[int] = frozenset()  # GPUs that do not answer: nothing more is placed there
    running: dict[str, Running] = field(default_factory=dict)

    def take(self, running: Running) -> None:
        """A job runs here."""
        self.running[running.job_id] = running
        self._change(running, -1)

    def leave(self, job_id: str) -> None:
        """A job runs here no longer; one that does not is left alone."""
        running = self.running.pop(job_id, None)
        if running is not None:
            self._change(running, 1)

    def copy(self) -> "Room":
        """The same room, to be changed."""
        return Room(
            self.joined,
            self.open,
            self.on_gpu,
            self.price,
            self.slots,
            list(self.free),
            list(self.jobs),
            self.disk,
            self.most,
            self.lost,
            dict(self.running),
        )

    def _change(self, running: Running, sign: int) -> None:
        self.slots += sign
        for index in running.gpus:
            if index < len(self.free):
                self.free[index] += sign * running.memory_bytes
                self.jobs[index] -= sign
        if self.disk is not None:
            self.disk += sign * running.disk_bytes


def slots_of(policy: Policy, joined: WorkerJoined) -> int:
    """How many jobs a worker may hold at a time."""
    gpus = len(joined.gpu_bytes or joined.gpus)
    return at_once(joined.slots, gpus, policy.jobs_per_gpu_max)


def at_once(slots: int, gpus: int, jobs_per_gpu_max: int) -> int:
    """How many jobs fit a worker's slots, and share its GPUs as the pool lets them.

    Examples:
        >>> at_once(32, gpus=2, jobs_per_gpu_max=4), at_once(3, gpus=0, jobs_per_gpu_max=4)
        (8, 3)
    """
    return min(slots, jobs_per_gpu_max * gpus) if gpus else slots


def sizes_of(policy: Policy, joined: WorkerJoined) -> list[int]:
    """The bytes that jobs may use of each GPU of a worker, or of its memory.

    That is what inference does not keep of it, up to the pool's limit; of a lost GPU nothing.
    """
    sizes = list(joined.gpu_bytes) or [joined.memory_bytes] * max(1, len(joined.gpus))
    for index, kept in enumerate(joined.reserved_bytes[: len(sizes)]):
        sizes[index] = max(0, sizes[index] - kept)
    for index in joined.lost_gpus:
        if index < len(sizes):
            sizes[index] = 0
    most = policy.gpu_memory_bytes_max
    return sizes if most is None else [min(size, most) for size in sizes]


def as_if(policy: Policy, room: Room, **changes: tuple[int, ...]) -> Room:
    """The same room, if its worker had joined with something else, by the names of its fields."""
    joined = msgspec.structs.replace(room.joined, **changes)
    before, after = sizes_of(policy, room.joined), sizes_of(policy, joined)
    found = room.copy()
    found.joined, found.most, found.lost = joined, max(after), frozenset(joined.lost_gpus)
    for index, (had, has) in enumerate(zip(before, after, strict=True)):
        found.free[index] += has - had
    return found


def empty_room(policy: Policy, prices: dict[str, float], worker: Worker) -> Room:
    """What a worker has while it holds nothing: less what is kept for inference."""
    joined = worker.joined
    sizes, lost = sizes_of(policy, joined), frozenset(joined.lost_gpus)
    limits = [one for one in (joined.disk_bytes, policy.disk_bytes_max) if one is not None]
    return Room(
        joined=joined,
        open=worker.open,
        on_gpu=bool(joined.gpus or joined.gpu_bytes),
        price=price_of(policy, prices, joined),
        slots=slots_of(policy, joined),
        free=sizes,
        jobs=[0] * len(sizes),
        disk=min(limits, default=None),
        most=max(sizes),
        lost=lost,
    )


def room(state: QueueState, worker: Worker) -> Room:
    """What a worker has left, beside the leases it holds."""
    found = empty_room(state.policy, state.prices, worker)
    for running in worker.held.values():
        found.take(running)
    return found


def need_in(state: QueueState, shape: Shape, room: Room) -> int:
    """The bytes that a job needs of each GPU of a worker, or of its memory."""
    return state.measured.need(state.policy, shape, on_gpu=room.on_gpu, most=room.most)


def suits(room: Room, shape: Shape) -> bool:
    """Whether a worker is of the kind that a job asks for, however full it is.

    A job that names no device runs wherever it fits; several GPUs are GPUs of one worker.
    """
    joined = room.joined
    return (
        shape.kind in joined.job_kinds
        and (shape.device is None or shape.device == joined.device)
        and (not shape.gpu_kinds or joined.gpu_kind in shape.gpu_kinds)
        and set(shape.labels) <= set(joined.labels)
        and (shape.gpus == 1 or room.on_gpu)
    )


def gpus_for(room: Room, shape: Shape, need: int, policy: Policy) -> list[int]:
    """The GPUs of a worker that a job could take now, the one to take first first; [] if too few.

    First those that run the fewest jobs; of these, the one with the least left over, so that
    whole GPUs stay free for big jobs.
    """
    if room.slots < 1 or (room.disk is not None and shape.disk_bytes > room.disk):
        return []
    most = policy.jobs_per_gpu_max if room.on_gpu else room.joined.slots
    fitting = [
        index
        for index, free in enumerate(room.free)
        if free >= need and room.jobs[index] < most and index not in room.lost
    ]
    if len(fitting) < shape.gpus:
        return []
    return sorted(fitting, key=lambda index: (room.jobs[index], room.free[index], index))
