"""What follows from a command, by the state of its pool: the rules of the queue.

Pure: no clock, no socket, no random number. The state is only read; what changes, changes by the
events, in `evolve`.
"""

import datetime
from typing import Any, TypeGuard, TypeVar

import msgspec

from schemas import commands, events
from schemas.errors import (
    AlreadyExists,
    JobAlreadyOver,
    LifelogError,
    NotFound,
    RecordCorrupt,
    Refused,
    StaleReport,
    TimedOut,
)
from schemas.events import Event
from schemas.topics import POOLS
from streams.decisions import Received, command_of, rejection
from streams.queue.deadlines import next_deadline, over_at, times_out
from streams.queue.draft import Draft, Ending
from streams.queue.evolve import job_of
from streams.queue.state import Job, Lease, QueueState, Worker

SUBJECTS = ("job_id", "worker_id")

E = TypeVar("E", bound=events.AboutAttempt)


def decide(state: QueueState, received: Received, now: datetime.datetime) -> list[Event]:
    """The events that answer a command, in order.

    Args:
        state: Of the command's pool; it is not changed.
        received: A record of `jobs.commands`, whatever it holds.
        now: `streams.decisions.now_of`.

    Returns:
        At least one event for whatever a user or a worker asks. None for a note of clock or monitor
        that says nothing new: deciding it again gives nothing again.
    """
    draft = Draft(state, now)
    _note_gap(draft)
    try:
        command = command_of(received)
        envelope = received.recorded.envelope
        repeat = state.remembered.answer(envelope.id, envelope.type, envelope.body_hash, now)
        if repeat is not None:
            draft.note(repeat)
        else:
            _answer(draft, command, received.recorded.partition)
    except LifelogError as error:
        draft.note(rejection(received, error, SUBJECTS))
    return draft.events


def _answer(draft: Draft, command: msgspec.Struct, partition: int) -> None:
    """The whole policy, one line per kind of command.

    Raises:
        LifelogError: If the answer is no; then nothing was noted yet.
    """
    match command:
        case commands.SubmitJob():
            _submit(draft, command, partition)
        case commands.CancelJob():
            _cancel(draft, command)
        case commands.Report():
            _report(draft, command)
        case commands.JoinPool():
            _join(draft, command)
        case commands.LeavePool():
            _leave(draft, command)
        case commands.NoteWorkerSilent():
            _silent(draft, command)
        case commands.NoteWorkerHeard():
            _heard(draft, command)
        case commands.DeclareWorkerLost():
            _lost(draft, command)
        case commands.AdvanceTime():
            _advance(draft)
        case _:
            raise RecordCorrupt(f"{type(command).__name__} is no command for the queue.")


def _note_gap(draft: Draft) -> None:
    """An outage of the log is nobody's silence: every lease ends that much later."""
    state = draft.state
    gap = draft.now - state.time
    if state.leased and gap > datetime.timedelta(seconds=state.policy.gap_after_s):
        draft.extended = gap
        draft.note(events.LeasesExtended(gap_s=gap.total_seconds()))


def _submit(draft: Draft, command: commands.SubmitJob, partition: int) -> None:
    state = draft.state
    if command.job_id in state.jobs or command.job_id in state.over:
        raise AlreadyExists(f"There is a job {command.job_id} already: a new job needs a new id.")
    if POOLS[partition : partition + 1] != (command.pool,):
        raise NotFound(f"pool {command.pool!r} is not one of this installation's: {POOLS}")
    submitted = msgspec.convert(command, events.JobSubmitted, from_attributes=True)
    draft.note(submitted)
    draft.enter(job_of(submitted, state.submissions + 1, draft.now))
    draft.fill()


def _cancel(draft: Draft, command: commands.CancelJob) -> None:
    state = draft.state
    found = state.jobs.get(command.job_id) or state.over.get(command.job_id)
    if found is None or command.person_id not in {None, found.person_id}:
        raise NotFound(f"There is no job {command.job_id} of yours.")
    if not isinstance(found, Job):
        raise JobAlreadyOver(f"Job {command.job_id} has {found.state} and cannot be cancelled.")
    if found.lease is None:
        kind: type[events.JobCancelRequested | events.JobCancelled] = events.JobCancelled
    else:
        kind = events.JobCancelRequested
    draft.note(kind(job_id=found.job_id, person_id=found.person_id, reason=command.reason))


def _report(draft: Draft, command: commands.Report) -> None:
    """Reports count while they quote the current fencing token, and change nothing otherwise."""
    job, lease = _current(draft.state, command)
    match command:
        case commands.RenewLease():
            ttl_s = draft.state.policy.lease_ttl_s
            draft.note(_noted(events.LeaseRenewed, command, job, ttl_s=ttl_s))
        case commands.ReportStarted():
            draft.note(_noted(events.JobStarted, command, job))
        case commands.ReportDataset():
            draft.note(_noted(events.DatasetBuilt, command, job))
        case commands.NoteCheckpoint():
            draft.note(_noted(events.CheckpointNoted, command, job))
        case commands.ReportSucceeded() if job.cancelling is None:
            draft.note(_noted(events.JobSucceeded, command, job))
            draft.vacate(lease)
            draft.fill()
        case commands.ReportFailed():
            draft.end(job, lease, _failure(command))
            draft.fill()
        case commands.ReportSucceeded() | commands.ReportStopped():
            draft.end(job, lease, _stop(job, command))
            draft.fill()
        case _:
            raise RecordCorrupt(f"{type(command).__name__} is no report that the queue knows.")


def _current(state: QueueState, report: commands.Report) -> tuple[Job, Lease]:
    job = state.jobs.get(report.job_id)
    if job is None and report.job_id not in state.over:
        raise NotFound(f"There is no job {report.job_id}.")
    if job is None or job.lease is None:
        raise StaleReport(f"Nobody holds job {report.job_id}: stop its child process.")
    lease = job.lease
    quoted = (report.attempt, report.worker_id, report.fencing_token)
    if quoted != (lease.attempt, lease.worker_id, lease.token):
        raise StaleReport(
            f"The report quotes attempt {report.attempt} on {report.worker_id} with token"
            f" {report.fencing_token}; {lease.worker_id} holds attempt {lease.attempt} with token"
            f" {lease.token}: stop the child process."
        )
    return job, lease


def _noted(kind: type[E], report: commands.Report, job: Job, **further: Any) -> E:
    """The event that says what a report said."""
    return kind(person_id=job.person_id, **msgspec.structs.asdict(report), **further)


def _failure(command: commands.ReportFailed) -> Ending:
    return Ending(
        outcome="failed",
        why=f"attempt {command.attempt} failed: {command.code}",
        cause=command.cause,
        code=command.code,
        detail=command.detail,
        costs=True,
        retryable=command.retryable,
    )


def _stop(job: Job, command: commands.ReportStopped | commands.ReportSucceeded) -> Ending:
    """An attempt that ended because it should. Whoever asked for the end first, has it."""
    detail = command.detail if isinstance(command, commands.ReportStopped) else ""
    if job.cancelling is not None:
        return Ending(outcome="cancelled", why="it was cancelled", detail=detail)
    return Ending(outcome="released", why=f"{command.worker_id} gave it back", detail=detail)


def _join(draft: Draft, command: commands.JoinPool) -> None:
    """A new incarnation's children are new: whatever the earlier one held is free at once."""
    known = draft.state.workers.get(command.worker_id)
    if known is not None and command.incarnation in known.superseded:
        raise StaleReport(
            f"{command.worker_id} has started anew since incarnation {command.incarnation}:"
            " end this process."
        )
    if known is not None and known.joined.incarnation != command.incarnation:
        _void(draft, known, Ending(outcome="lost", why=f"{command.worker_id} started anew"))
    draft.join(msgspec.convert(command, events.WorkerJoined, from_attributes=True))
    draft.fill()


def _leave(draft: Draft, command: commands.LeavePool) -> None:
    worker = _present(draft.state, command.worker_id)
    if worker.joined.incarnation != command.incarnation:
        raise StaleReport(f"{command.worker_id} has started anew since {command.incarnation}.")
    _void(draft, worker, Ending(outcome="released", why=f"{command.worker_id} left"))
    draft.note(
        events.WorkerLeft(worker_id=command.worker_id, incarnation=worker.joined.incarnation)
    )
    draft.fill()


def _lost(draft: Draft, command: commands.DeclareWorkerLost) -> None:
    worker = _present(draft.state, command.worker_id)
    _void(draft, worker, Ending(outcome="lost", why=f"{command.worker_id} was declared lost"))
    draft.note(
        events.WorkerLost(
            worker_id=command.worker_id,
            incarnation=worker.joined.incarnation,
            reason=command.reason,
        )
    )
    draft.fill()


def _present(state: QueueState, worker_id: str) -> Worker:
    worker = state.workers.get(worker_id)
    if worker is None:
        raise NotFound(f"There is no worker {worker_id}.")
    if not worker.present:
        raise Refused(f"{worker_id} is not in the pool any more: it holds nothing.")
    return worker


def _void(draft: Draft, worker: Worker, ending: Ending) -> None:
    draft.close(worker.joined.worker_id)
    for job_id in worker.held:
        job = draft.state.jobs[job_id]
        if job.lease is not None:
            draft.end(job, job.lease, ending)


def _is(worker: Worker | None, incarnation: str) -> TypeGuard[Worker]:
    return worker is not None and worker.present and worker.joined.incarnation == incarnation


def _silent(draft: Draft, command: commands.NoteWorkerSilent) -> None:
    worker = draft.state.workers.get(command.worker_id)
    if _is(worker, command.incarnation) and not worker.silent:
        draft.note(
            events.WorkerSilent(
                worker_id=command.worker_id,
                incarnation=command.incarnation,
                last_heard=command.last_heard,
            )
        )


def _heard(draft: Draft, command: commands.NoteWorkerHeard) -> None:
    worker = draft.state.workers.get(command.worker_id)
    if _is(worker, command.incarnation) and worker.silent:
        draft.note(events.WorkerHeard(worker_id=command.worker_id, incarnation=command.incarnation))
        draft.hear(worker)
        draft.fill()


def _advance(draft: Draft) -> None:
    """Settle what is due. Something is always noted then, so that it is not due any more."""
    due = next_deadline(draft.state)
    if due is None or due > draft.now:
        return
    for job, lease in list(draft.lives()):
        if over_at(job, lease) > draft.now:
            continue
        if times_out(job, lease) <= draft.now:
            draft.end(job, lease, _timeout(job))
        elif lease.expires + draft.extended <= draft.now:
            why = f"nothing was heard of attempt {lease.attempt} until its lease ended"
            draft.end(job, lease, Ending(outcome="lease-expired", why=why))
    draft.fill()
    if not draft.events:
        draft.note(events.TimeAdvanced())


def _timeout(job: Job) -> Ending:
    return Ending(
        outcome="failed",
        why=f"attempt {job.attempt} ran past its limit",
        cause="infrastructure",
        code=TimedOut.code,
        detail=f"The attempt ran for {job.submitted.timeout_s:.0f} s, its limit.",
        costs=True,
    )
