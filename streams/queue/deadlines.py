"""When something is due by the passing of time alone."""

import datetime
from collections.abc import Iterator

from streams.queue.draft import room
from streams.queue.state import Job, Lease, QueueState


def over_at(job: Job, lease: Lease) -> datetime.datetime:
    """When a lease ends, or its attempt runs past its limit, whichever comes first."""
    return min(lease.expires, times_out(job, lease))


def times_out(job: Job, lease: Lease) -> datetime.datetime:
    """When an attempt has run for as long as one may, counted from its lease."""
    return lease.granted + datetime.timedelta(seconds=job.submitted.timeout_s)


def next_deadline(state: QueueState) -> datetime.datetime | None:
    """When `AdvanceTime` is due next; None while time alone changes nothing.

    Due are the end of a lease, the limit of an attempt, the time of a delayed job while some worker
    has a free slot, and, while leases live, a note that the log still moves.
    """
    return min(_deadlines(state), default=None)


def _deadlines(state: QueueState) -> Iterator[datetime.datetime]:
    for job_id in state.leased:
        job = state.jobs[job_id]
        if job.lease is not None:
            yield over_at(job, job.lease)
    if state.leased:
        yield state.time + datetime.timedelta(seconds=state.policy.beat_after_s)
    delayed = state.waiting.next_due()
    if delayed is not None and any(
        worker.present and not worker.silent and room(state, worker).slots > 0
        for worker in state.workers.values()
    ):
        yield delayed
