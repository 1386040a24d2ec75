"""What each event of `jobs.events` does to the queue's state.

No event is refused here: it happened. An event about a job or worker that is not known changes
nothing but the time.
"""

import datetime

import msgspec

from schemas import events
from schemas.envelope import Envelope
from schemas.events import AboutAttempt
from streams.queue.state import Job, Lease, Over, QueueState, Worker
from streams.queue.transitions import next_state

SUPERSEDED_KEPT = 16  # earlier incarnations of a worker that are told from new ones


def evolve(state: QueueState, event: msgspec.Struct, meta: Envelope) -> None:
    """Apply one event to the state, in place.

    Args:
        state: Of the pool whose event it is.
        event: In the order of the log.
        meta: Its envelope: the time at which it was decided, and the command that it answers.
    """
    state.time = max(state.time, meta.time)
    state.waiting.advance(state.time)
    if not isinstance(event, events.Event):
        return  # of a newer version: kept on the log, of no concern here
    state.remembered.note(event, meta)
    match event:
        case events.JobSubmitted():
            _submitted(state, event)
        case events.LeasesExtended():
            _extended(state, datetime.timedelta(seconds=event.gap_s))
        case events.WorkerJoined():
            _joined(state, event)
        case events.WorkerLeft() | events.WorkerLost() if event.worker_id in state.workers:
            state.workers[event.worker_id].present = False
        case events.WorkerSilent() if event.worker_id in state.workers:
            state.workers[event.worker_id].silent = True
        case events.WorkerHeard() if event.worker_id in state.workers:
            state.workers[event.worker_id].silent = False
        case _:
            job = state.jobs.get(getattr(event, "job_id", ""))
            if job is not None:
                _about(state, job, event)


def job_of(event: events.JobSubmitted, number: int, at: datetime.datetime) -> Job:
    """The job that an accepted submission makes."""
    return Job(
        job_id=event.job_id,
        person_id=event.person_id,
        submitted=event,
        number=number,
        state="queued",
        since=at,
    )


def _submitted(state: QueueState, event: events.JobSubmitted) -> None:
    state.submissions += 1
    job = job_of(event, state.submissions, state.time)
    state.jobs[job.job_id] = job
    state.waiting.add(job.job_id, job.key, job.memory_bytes, None)


def _extended(state: QueueState, gap: datetime.timedelta) -> None:
    for job_id in state.leased:
        lease = state.jobs[job_id].lease
        if lease is not None:
            lease.expires += gap


def _joined(state: QueueState, event: events.WorkerJoined) -> None:
    known = state.workers.get(event.worker_id)
    superseded: tuple[str, ...] = ()
    held: dict[str, None] = {}
    if known is not None:
        superseded, held = known.superseded, known.held
        if known.joined.incarnation != event.incarnation:
            superseded = (*superseded, known.joined.incarnation)[-SUPERSEDED_KEPT:]
    state.workers[event.worker_id] = Worker(joined=event, held=held, superseded=superseded)


def _about(state: QueueState, job: Job, event: events.Event) -> None:
    """What an event does to its job. Its state moves first, by the table."""
    moved = next_state(job.state, type(event))
    if moved is not None:
        job.state = moved
    match event:
        case AboutAttempt():
            _about_attempt(state, job, event)
        case events.LeaseGranted():
            _granted(state, job, event)
        case events.JobCancelRequested():
            job.cancelling = event.reason
        case events.JobRetryScheduled():
            job.since = state.time
            later = event.not_before if event.not_before > state.time else None
            state.waiting.add(job.job_id, job.key, job.memory_bytes, later)
        case events.JobFailed() | events.JobCancelled():
            _end(state, job)
        case _:
            pass


def _about_attempt(state: QueueState, job: Job, event: AboutAttempt) -> None:
    match event:
        case events.LeaseRenewed() if job.lease is not None:
            job.lease.expires = state.time + datetime.timedelta(seconds=event.ttl_s)
        case events.DatasetBuilt():
            job.dataset = event.dataset
        case events.CheckpointNoted():
            job.checkpoint, job.checkpoint_step = event.checkpoint, event.step
        case events.AttemptEnded():
            _release(state, job, event)
            job.costly += event.costs_attempt
            job.free += not event.costs_attempt
            job.since = state.time
        case events.JobSucceeded():
            _release(state, job, event)
            _end(state, job)
        case _:
            pass


def _granted(state: QueueState, job: Job, event: events.LeaseGranted) -> None:
    job.attempt = event.attempt
    job.lease = Lease(
        attempt=event.attempt,
        worker_id=event.worker_id,
        incarnation=event.incarnation,
        token=event.fencing_token,
        granted=state.time,
        expires=state.time + datetime.timedelta(seconds=event.ttl_s),
        gpus=event.gpus,
        memory_bytes=event.memory_bytes,
    )
    state.token = max(state.token, event.fencing_token)
    state.leased[job.job_id] = None
    state.waiting.remove(job.job_id, job.memory_bytes)
    if event.worker_id in state.workers:
        state.workers[event.worker_id].held[job.job_id] = None


def _release(state: QueueState, job: Job, event: AboutAttempt) -> None:
    job.lease = None
    state.leased.pop(job.job_id, None)
    if event.worker_id in state.workers:
        state.workers[event.worker_id].held.pop(job.job_id, None)


def _end(state: QueueState, job: Job) -> None:
    state.waiting.remove(job.job_id, job.memory_bytes)
    state.jobs.pop(job.job_id, None)
    state.over[job.job_id] = Over(job.person_id, job.state)
