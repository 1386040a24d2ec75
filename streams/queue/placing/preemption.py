"""Who must make room for a job of a higher class.

Classes are compared as they were submitted: a job's age never makes it a victim's master, so of two
jobs at most one can ever preempt the other.
"""

import datetime
from collections.abc import Callable, Container, Mapping

from streams.queue.line.ordering import Candidate, standing_of
from streams.queue.placing.rooms import Room, gpus_for, need_in, suits
from streams.queue.state import Job, Lease, QueueState


def victims(
    state: QueueState,
    job: Job,
    candidate: Candidate,
    rooms: Callable[[], Mapping[str, Room]],
    now: datetime.datetime,
    *,
    but: Container[str] = (),
) -> list[Job]:
    """The jobs that must stop so that another one fits; [] if none may, or it would not help.

    All are on one worker. Those that lose the least work since their last checkpoint stop first,
    and no more of them than needed.
    """
    by_worker: dict[str, list[Job]] = {}
    for job_id in state.leased:
        other = state.jobs[job_id]
        if job_id not in but and may_preempt(state, job, candidate, other, now):
            worker_id = "" if other.lease is None else other.lease.worker_id
            by_worker.setdefault(worker_id, []).append(other)
    if not by_worker or stopping(state):
        return []
    found: tuple[float, list[Job]] | None = None
    for worker_id, possible in by_worker.items():
        room = rooms().get(worker_id)
        if room is None or not room.open or not suits(room, job.shape):
            continue
        chosen = _enough(state, job, room, possible, now)
        loss = sum(unsaved_s(one, now) for one in chosen)
        if chosen and (found is None or loss < found[0]):
            found = loss, chosen
    return [] if found is None else found[1]


def preemptible(state: QueueState, now: datetime.datetime) -> bool:
    """Whether there is a lease at all that a job of some class could end."""
    if state.policy.preemptions_max == 0:
        return False
    latest = now - datetime.timedelta(seconds=state.policy.preempt_after_s)
    for job_id in state.leased:  # in the order in which they were granted
        job = state.jobs[job_id]
        if job.lease is None or job.lease.granted > latest:
            return False
        if job.rank > 0:
            return True
    return False


def stopping(state: QueueState) -> bool:
    """Whether somebody already makes room: one at a time, or more would stop than needed."""
    leases = (state.jobs[job_id].lease for job_id in state.leased)
    return any(
        lease is not None and lease.stop is not None and lease.stop.reason == "preempted"
        for lease in leases
    )


def may_preempt(
    state: QueueState, job: Job, candidate: Candidate, victim: Job, now: datetime.datetime
) -> bool:
    """Whether a job may take the room of another one, whatever that room is.

    The victim's class as submitted is strictly lower; it has run for its minimum; it was not
    preempted too often; it is not being stopped; and in line it would stand behind the other.
    """
    lease = victim.lease
    if lease is None or lease.stop is not None or victim.cancelling is not None:
        return False
    safe_until = lease.granted + datetime.timedelta(seconds=state.policy.preempt_after_s)
    if victim.rank <= job.rank or safe_until > now:
        return False
    if victim.preempted >= state.policy.preemptions_max:
        return False
    return _level_after(state, victim, lease, now) > candidate.level


def unsaved_s(job: Job, now: datetime.datetime) -> float:
    """The GPU-seconds that would be lost: since the last checkpoint, or since the lease."""
    if job.lease is None:
        return 0.0
    return max(0.0, (now - job.lease.saved).total_seconds()) * job.lease.units


def _level_after(state: QueueState, victim: Job, lease: Lease, now: datetime.datetime) -> int:
    """Where a victim would stand in line: the time that it ran is no wait."""
    ran = now - lease.granted
    return standing_of(state, victim, now - ran)[0]


def _enough(
    state: QueueState, job: Job, room: Room, possible: list[Job], now: datetime.datetime
) -> list[Job]:
    possible.sort(key=lambda one: (unsaved_s(one, now), one.number))
    left = room.copy()
    need = need_in(state, job.shape, room)
    chosen: list[Job] = []
    for other in possible:
        left.leave(other.job_id)
        chosen.append(other)
        if gpus_for(left, job.shape, need, state.policy):
            return _needed(state, job, room, chosen, need)
    return []


def _needed(state: QueueState, job: Job, room: Room, chosen: list[Job], need: int) -> list[Job]:
    """Those of the chosen without whom there would be no room."""
    kept = list(chosen)
    for other in reversed(chosen[:-1]):
        left = room.copy()
        for one in kept:
            if one is not other:
                left.leave(one.job_id)
        if gpus_for(left, job.shape, need, state.policy):
            kept.remove(other)
    return kept
