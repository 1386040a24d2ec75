"""What each event of `jobs.events` does to the queue's state.

No event is refused here: it happened. An event about a job or worker that is not known changes
nothing but the time.
"""

import datetime
import heapq

import msgspec

from schemas import events
from schemas.envelope import Envelope
from schemas.events import AboutAttempt
from schemas.types import JobState
from streams.queue.ending import AS_TOLD
from streams.queue.money import month_of
from streams.queue.policy import folded
from streams.queue.presence import about_worker
from streams.queue.settling import resettle, ripen, settle, tidy, unblock
from streams.queue.state import (
    BEGINNING,
    Job,
    Lease,
    Over,
    QueueState,
    Running,
    Stop,
    job_of,
)
from streams.queue.transitions import next_state
from streams.queue.usage import due_s, settled


def evolve(state: QueueState, event: msgspec.Struct, meta: Envelope) -> None:
    """Apply one event to the state, in place.

    Args:
        state: Of the pool whose event it is.
        event: In the order of the log.
        meta: Its envelope: the time at which it was decided, and the command that it answers.
    """
    _advance(state, max(state.time, meta.time))
    if not isinstance(event, events.Event):
        return  # of a newer version: kept on the log, of no concern here
    state.remembered.note(event, meta)
    state.restless = isinstance(event, events.PoolConfigured | events.BudgetSet)
    _apply(state, event)
    tidy(state)


def _apply(state: QueueState, event: events.Event) -> None:
    match event:
        case events.JobSubmitted():
            _submitted(state, event)
        case events.LeasesExtended():
            _extended(state, datetime.timedelta(seconds=event.gap_s))
        case (
            events.WorkerJoined()
            | events.WorkerLeft()
            | events.WorkerLost()
            | events.WorkerSilent()
            | events.WorkerHeard()
            | events.WorkerDraining()
            | events.WorkerResumed()
            | events.WorkerHot()
            | events.WorkerCooled()
        ):
            about_worker(state, event)
        case _ if hasattr(event, "job_id"):
            job = state.jobs.get(event.job_id)
            if job is not None:
                job.version += 1
                _about(state, job, event)
                settle(state, job)
        case _:
            _about_pool(state, event)


def _advance(state: QueueState, now: datetime.datetime) -> None:
    if state.time == BEGINNING or state.shares.overflows(now):
        state.shares.rebase(now, state.policy.half_life_s)
        state.line.rebuild(state.shares)
    state.time = now
    ripen(state)


def _submitted(state: QueueState, event: events.JobSubmitted) -> None:
    state.submissions += 1
    job = job_of(event, state.submissions, state.time)
    state.jobs[job.job_id] = job
    state.by_person.setdefault(job.person_id, {})[job.job_id] = None
    for other in event.after:
        state.dependants.setdefault(other, []).append(job.job_id)
    if event.dedupe_key:
        state.dedupe[job.person_id, event.dedupe_key] = job.job_id
    settle(state, job)


def _extended(state: QueueState, gap: datetime.timedelta) -> None:
    for job_id in state.leased:
        lease = state.jobs[job_id].lease
        if lease is not None:
            lease.expires += gap


def _about_pool(state: QueueState, event: events.Event) -> None:
    match event:
        case events.PoolPaused():
            state.paused = True
        case events.PoolResumed():
            state.paused = False
            for job_id in state.line.standings:
                state.jobs[job_id].since = state.time
            resettle(state)
        case events.PersonPaused():
            state.paused_people.setdefault(event.person_id, state.time)
            _settle_all_of(state, event.person_id)
        case events.PersonResumed():
            _person_resumed(state, event.person_id)
        case events.PoolConfigured():
            _configured(state, event)
        case events.BudgetSet():
            state.accounts.caps.pop(event.person_id, None)
            if event.per_month is not None:
                state.accounts.caps[event.person_id] = event.per_month
            unblock(state, event.person_id)
        case events.ShareSet():
            state.shares.weights[event.person_id] = event.weight
            state.line.reorder(event.person_id, state.shares)
        case _:
            pass


def _configured(state: QueueState, event: events.PoolConfigured) -> None:
    state.name = event.pool or state.name
    state.policy = folded(state.policy, event.changes)
    state.prices.update(event.prices)
    state.shares.rebase(state.time, state.policy.half_life_s)
    resettle(state)
    for person_id in list(state.blocked):
        unblock(state, person_id)


def _person_resumed(state: QueueState, person_id: str) -> None:
    """The time of a pause makes no job older."""
    began = state.paused_people.pop(person_id, None)
    if began is None:
        return
    for job_id in state.by_person.get(person_id, ()):
        job = state.jobs[job_id]
        if job.lease is None:
            job.ages_from += state.time - max(job.since, began)
            job.since = state.time
    _settle_all_of(state, person_id)


def _settle_all_of(state: QueueState, person_id: str) -> None:
    for job_id in state.by_person.get(person_id, ()):
        settle(state, state.jobs[job_id])


def _about(state: QueueState, job: Job, event: events.Event) -> None:
    """What an event does to its job. Its state moves first, by the table."""
    before = job.state
    moved = next_state(before, type(event))
    if moved is not None:
        job.state = moved
    match event:
        case AboutAttempt():
            _about_attempt(state, job, event)
        case events.LeaseGranted():
            _granted(state, job, event)
        case events.JobCancelRequested():
            job.cancelling = event.reason
            job.cancel_by = state.time + datetime.timedelta(seconds=state.policy.stop_grace_s)
        case events.JobReprioritised():
            job.priority = event.priority
        case events.JobPaused() | events.JobResumed():
            _paused_or_resumed(state, job, event)
        case events.JobFailed() | events.JobCancelled() | events.JobExpired():
            _end(state, job)
        case _:
            _delayed(state, job, event, before)


def _delayed(state: QueueState, job: Job, event: events.Event, before: JobState) -> None:
    """What keeps a job out of line for a time, or lets it in again."""
    match event:
        case events.JobRetryScheduled():
            job.since = state.time
            job.not_before = event.not_before if event.not_before > state.time else None
        case events.JobDeferred():
            job.not_before = event.not_before
            if event.not_before is not None:
                heapq.heappush(state.starting, (event.not_before, job.job_id))
        case events.JobReadied():
            job.not_before, job.since = None, state.time
            if before == "scheduled":
                job.ages_from = state.time
        case events.JobBlocked():
            job.blocked, job.not_before, job.since = True, event.until, state.time
            state.blocked.setdefault(job.person_id, {})[job.job_id] = None
            heapq.heappush(state.delayed, (event.until, job.job_id))
        case _:
            pass


def _paused_or_resumed(
    state: QueueState, job: Job, event: events.JobPaused | events.JobResumed
) -> None:
    """A job's time out of line makes it no older."""
    job.not_before = None
    if isinstance(event, events.JobResumed):
        job.paused = job.held = False
        job.ages_from += state.time - job.since
        job.since = state.time
        return
    if not (job.paused or job.held):
        job.since = state.time
    job.paused, job.held = job.paused or not event.held, job.held or event.held
    job.blocked = False
    state.blocked.get(job.person_id, {}).pop(job.job_id, None)


def _about_attempt(state: QueueState, job: Job, event: AboutAttempt) -> None:
    lease = job.lease
    if lease is None:
        if isinstance(event, events.JobSucceeded):
            _end(state, job)
        return
    match event:
        case events.LeaseRenewed():
            lease.expires = state.time + datetime.timedelta(seconds=event.ttl_s)
            _charge(state, job, lease, over=False)
        case events.DatasetBuilt():
            job.dataset = event.dataset
        case events.CheckpointNoted():
            job.checkpoint, job.checkpoint_step = event.checkpoint, event.step
            job.total_steps = event.total_steps
            lease.saved = state.time
        case events.AttemptStopRequested():
            by = state.time + datetime.timedelta(seconds=event.grace_s)
            lease.stop = Stop(event.stop, by, event.for_job, event.held)
        case events.AttemptEnded():
            _attempt_ended(state, job, lease, event)
        case events.JobSucceeded():
            _measure(state, job, event.worker_id, lease, event.peak_bytes)
            kind = _kind(state, event.worker_id)
            estimate_s = job.submitted.estimate_s
            state.measured.duration(job.recipe, kind, event.seconds, estimate_s)
            job.dataset = event.dataset
            _release(state, job, lease, event.cost)
            _end(state, job)
        case _:
            pass


def _attempt_ended(state: QueueState, job: Job, lease: Lease, event: events.AttemptEnded) -> None:
    _measure(state, job, event.worker_id, lease, event.peak_bytes)
    if event.costs_attempt and event.cause == "out-of-memory":
        job.out_of_memory += 1
    elif event.costs_attempt:
        job.costly += 1
    elif event.outcome not in AS_TOLD:
        job.free += 1
    job.preempted += event.outcome == "preempted"
    _release(state, job, lease, event.cost)


def _measure(state: QueueState, job: Job, worker_id: str, lease: Lease, peak_bytes: int) -> None:
    if job.micro_batches == 1:  # else less was needed than the next such job will need
        state.restless |= state.measured.peak(
            job.shape.recipe, on_gpu=bool(lease.gpus), peak_bytes=peak_bytes
        )


def _kind(state: QueueState, worker_id: str) -> str:
    worker = state.workers.get(worker_id)
    return "" if worker is None else worker.joined.gpu_kind


def _granted(state: QueueState, job: Job, event: events.LeaseGranted) -> None:
    now = state.time
    job.attempt = event.attempt
    job.not_before = None
    job.lease = Lease(
        attempt=event.attempt,
        worker_id=event.worker_id,
        incarnation=event.incarnation,
        token=event.fencing_token,
        granted=now,
        expires=now + datetime.timedelta(seconds=event.ttl_s),
        gpus=event.gpus,
        memory_bytes=event.memory_bytes,
        limit_s=event.timeout_s,
        disk_bytes=event.disk_bytes,
        price=event.price_per_gpu_hour,
        reserved_cost=event.reserved_cost,
        month=month_of(now),
        prepaid_s=event.penalty_s,
        charged_to=now,
        saved=now,
    )
    state.token = max(state.token, event.fencing_token)
    state.leased[job.job_id] = None
    if event.worker_id in state.workers:
        state.workers[event.worker_id].held[job.job_id] = Running(
            job.lease.ends,
            job.job_id,
            event.gpus or (0,),
            event.memory_bytes,
            event.disk_bytes,
        )
    state.shares.charge(job.person_id, event.penalty_s, now)
    state.line.reorder(job.person_id, state.shares)
    state.accounts.reserve(job.person_id, job.lease.month, event.reserved_cost)


def _charge(state: QueueState, job: Job, lease: Lease, *, over: bool) -> None:
    """Running use counts: what was used since the last time, beyond what was paid in advance."""
    due = due_s(lease, state.time, over=over)
    used = (state.time - lease.charged_to).total_seconds() * lease.units
    lease.prepaid_s = max(0.0, lease.prepaid_s - used)
    lease.charged_to = state.time
    if due:
        state.shares.charge(job.person_id, due, state.time)
        state.line.reorder(job.person_id, state.shares)


def _release(state: QueueState, job: Job, lease: Lease, cost: float) -> None:
    _charge(state, job, lease, over=True)
    state.accounts.settle(job.person_id, lease.month, lease.reserved_cost, cost)
    job.used_s += settled(lease, state.time).gpu_seconds / lease.units
    job.ages_from += state.time - lease.granted
    job.since = state.time
    job.lease = None
    state.leased.pop(job.job_id, None)
    if lease.worker_id in state.workers:
        state.workers[lease.worker_id].held.pop(job.job_id, None)
    unblock(state, job.person_id)


def _end(state: QueueState, job: Job) -> None:
    """A job is over: what is kept of it is its end."""
    state.line.remove(job.job_id, state.shares)
    state.jobs.pop(job.job_id, None)
    state.over[job.job_id] = Over(job.person_id, job.state, job.dataset)
    state.dependants.pop(job.job_id, None)
    state.blocked.get(job.person_id, {}).pop(job.job_id, None)
    own = state.by_person[job.person_id]
    del own[job.job_id]
    if not own:
        del state.by_person[job.person_id]
    key = job.person_id, job.submitted.dedupe_key
    if state.dedupe.get(key) == job.job_id:
        del state.dedupe[key]
    for other in job.submitted.after:
        waiting = state.dependants.get(other)
        if waiting is not None and job.job_id in waiting:
            waiting.remove(job.job_id)
