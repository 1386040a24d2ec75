"""When something is due by the passing of time alone."""

import datetime
from collections.abc import Iterator

from streams.queue.placing.rooms import slots_of
from streams.queue.state import Lease, QueueState


def over_at(lease: Lease) -> datetime.datetime:
    """When a lease ends, or its attempt runs past its limit, whichever comes first."""
    return min(lease.expires, lease.ends)


def next_deadline(state: QueueState) -> datetime.datetime | None:
    """When `AdvanceTime` is due next; None while time alone changes nothing.

    Due are the end of a lease, the limit of an attempt, the start of a scheduled job, the end of a
    wait in line, the time of a delayed job while some worker has a free slot, what follows from
    a changed number, and, while leases live, a note that the log still moves.
    """
    return min(_deadlines(state), default=None)


def _deadlines(state: QueueState) -> Iterator[datetime.datetime]:
    for job_id in state.leased:
        lease = state.jobs[job_id].lease
        if lease is not None:
            yield over_at(lease)
    if state.leased:
        yield state.time + datetime.timedelta(seconds=state.policy.beat_after_s)
    yield from (at for at, _ in state.starting[:1])
    if state.paused:
        return
    if state.restless and len(state.line):
        yield state.time
    yield from (at for at, _ in state.expiring[:1])
    if state.delayed and any(
        worker.open and len(worker.held) < slots_of(state.policy, worker.joined)
        for worker in state.workers.values()
    ):
        yield state.delayed[0][0]
