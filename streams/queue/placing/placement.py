"""Where a job goes: the cheapest place that is free now, meets its deadline and delays nobody."""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from schemas.why import Why
from streams.queue.line.shapes import Shape
from streams.queue.money import cost
from streams.queue.placing.rooms import Room, as_if, gpus_for, need_in, suits
from streams.queue.state import Job, QueueState, Running


@dataclass(frozen=True, slots=True)
class Placement:
    """A worker and GPUs that are free for a job."""

    room: Room
    gpus: tuple[int, ...]  # indices into `Room.free`
    need: int  # bytes of each GPU
    expected_s: float
    expected_cost: float
    late: bool  # whether the job should end after its deadline here


@dataclass(slots=True)
class Reservation:
    """Where and when a job that cannot start now will find room: nobody may be in its way then."""

    job_id: str
    start: datetime.datetime
    room: Room  # as it will be then, with the job in it


def place(
    state: QueueState,
    job: Job,
    rooms: Mapping[str, Room],
    reservations: Sequence[Reservation],
    now: datetime.datetime,
) -> Placement | None:
    """The best of the places that are free for a job now; None if there is none.

    Of those where it ends by its deadline, if any, the one where it should cost least; of equal
    ones, the one whose GPU runs the fewest jobs, then the one with the least room left.
    """
    found: tuple[tuple[object, ...], Placement] | None = None
    ends = now + datetime.timedelta(seconds=job.shape.limit_s)
    for worker_id, room in rooms.items():
        if not room.open or room.slots < 1 or not suits(room, job.shape):
            continue
        in_the_way = [
            one.room
            for one in reservations
            if one.room.joined.worker_id == worker_id and one.start <= ends
        ]
        offer = _offer(state, job, room, in_the_way, now)
        if offer is not None:
            first = offer.gpus[0]
            rank = (offer.late, offer.expected_cost, room.jobs[first], room.free[first], worker_id)
            if found is None or rank < found[0]:
                found = rank, offer
    return None if found is None else found[1]


def _offer(
    state: QueueState, job: Job, room: Room, later: Sequence[Room], now: datetime.datetime
) -> Placement | None:
    need = need_in(state, job.shape, room)
    gpus = gpus_for(room, job.shape, need, state.policy)
    for then in later:
        spared = set(gpus_for(then, job.shape, need, state.policy))
        gpus = [index for index in gpus if index in spared]
    if len(gpus) < job.shape.gpus or not gpus:
        return None
    kind = room.joined.gpu_kind
    seconds, _ = state.measured.expected(state.policy, job.recipe, job.submitted.estimate_s, kind)
    deadline = job.submitted.deadline
    return Placement(
        room=room,
        gpus=tuple(sorted(gpus[: job.shape.gpus])),
        need=need,
        expected_s=seconds,
        expected_cost=cost(seconds, job.shape.gpus, room.price),
        late=deadline is not None and now + datetime.timedelta(seconds=seconds) > deadline,
    )


def reserve(
    state: QueueState,
    job: Job,
    rooms: Mapping[str, Room],
    reservations: Sequence[Reservation],
    now: datetime.datetime,
) -> Reservation | None:
    """Where a job will find room first if every attempt runs to its limit; None if nowhere.

    Attempts end by their limits, so the start is a promise, not a guess: what passes the job must
    end before it, or leave it the room.
    """
    found: Reservation | None = None
    for worker_id, room in rooms.items():
        if not room.open or not suits(room, job.shape):
            continue
        earlier = [one for one in reservations if one.room.joined.worker_id == worker_id]
        start, then = (earlier[-1].start, earlier[-1].room) if earlier else (now, room)
        offer = _reserved(state, job, then.copy(), start)
        if offer is not None and (found is None or offer.start < found.start):
            found = offer
    return found


def _reserved(
    state: QueueState, job: Job, room: Room, start: datetime.datetime
) -> Reservation | None:
    need = need_in(state, job.shape, room)
    ending = sorted(room.running.values(), reverse=True)
    while not (gpus := gpus_for(room, job.shape, need, state.policy)):
        if not ending:
            return None
        over = ending.pop()
        room.leave(over.job_id)
        start = max(start, over.ends)
    ends = start + datetime.timedelta(seconds=job.shape.limit_s)
    chosen = tuple(gpus[: job.shape.gpus])
    room.take(Running(ends, job.job_id, chosen, need, job.shape.disk_bytes))
    return Reservation(job.job_id, start, room)


def kept_back(state: QueueState, shape: Shape, rooms: Iterable[Room]) -> list[Why]:
    """What workers do not give that would be room for a job: inference's part, or lost GPUs."""
    found: list[Why] = []
    for room in rooms:
        joined, worker_id = room.joined, room.joined.worker_id
        kept, lost = float(sum(joined.reserved_bytes)), float(len(joined.lost_gpus))
        if kept and could_hold(state, shape, [as_if(state.policy, room, reserved_bytes=())]):
            found.append(Why(code="kept-for-inference", subject=worker_id, have=kept))
        if lost and could_hold(state, shape, [as_if(state.policy, room, lost_gpus=())]):
            found.append(Why(code="gpu-lost", subject=worker_id, have=lost))
    return found


def least_need(state: QueueState, shape: Shape, rooms: Iterable[Room]) -> int:
    """The fewest bytes that a job needs of a GPU, or of a machine, of these workers."""
    needs = [need_in(state, shape, room) for room in rooms if suits(room, shape)]
    return min(needs, default=shape.memory_bytes)


def could_hold(state: QueueState, shape: Shape, rooms: Iterable[Room]) -> bool:
    """Whether one of these workers has room for a job."""
    for room in rooms:
        need = need_in(state, shape, room)
        if suits(room, shape) and gpus_for(room, shape, need, state.policy):
            return True
    return False
