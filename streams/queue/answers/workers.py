"""Workers join, leave, fall silent, grow hot, are drained or lost."""

from typing import TypeGuard

import msgspec

from schemas import commands, events
from schemas.errors import NotFound, Refused, StaleReport
from schemas.why import Why
from streams.queue.answers.reports import ask_to_stop
from streams.queue.draft import Draft
from streams.queue.ending import Ending
from streams.queue.state import QueueState, Worker

Noted = (
    commands.NoteWorkerSilent
    | commands.NoteWorkerHeard
    | commands.NoteWorkerHot
    | commands.NoteWorkerCooled
)


def come_and_go(
    draft: Draft, command: commands.JoinPool | commands.LeavePool | commands.DeclareWorkerLost
) -> None:
    """A worker's process starts, ends in good order, or is dead.

    Raises:
        NotFound: If there is no such worker.
        Refused: If it is not in the pool any more.
        StaleReport: If a later incarnation has joined since.
    """
    match command:
        case commands.JoinPool():
            _join(draft, command)
        case commands.LeavePool():
            _leave(draft, command)
        case commands.DeclareWorkerLost():
            _lost(draft, command)


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


def _leave(draft: Draft, command: commands.LeavePool) -> None:
    worker = _present(draft.state, command.worker_id)
    if worker.joined.incarnation != command.incarnation:
        raise StaleReport(f"{command.worker_id} has started anew since {command.incarnation}.")
    _void(draft, worker, Ending(outcome="released", why=f"{command.worker_id} left"))
    draft.note(
        events.WorkerLeft(worker_id=command.worker_id, incarnation=worker.joined.incarnation)
    )


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


def drain_or_resume(draft: Draft, command: commands.DrainWorker | commands.ResumeWorker) -> None:
    """Give a worker nothing more, or jobs again.

    Raises:
        NotFound: If there is no such worker.
        Refused: If it is so already.
    """
    worker = draft.state.workers.get(command.worker_id)
    if worker is None:
        raise NotFound(f"There is no worker {command.worker_id}.")
    if isinstance(command, commands.ResumeWorker):
        if not worker.draining:
            raise Refused(f"{command.worker_id} is not drained.")
        draft.note(events.WorkerResumed(worker_id=command.worker_id, reason=command.reason))
        if worker.present and not (worker.silent or worker.hot):
            draft.reopen(command.worker_id)
        return
    if worker.draining and command.grace_s is None:
        raise Refused(f"{command.worker_id} is drained already.")
    draft.note(events.WorkerDraining(worker_id=command.worker_id, reason=command.reason))
    draft.close(command.worker_id)
    if command.grace_s is not None:
        _stop_held(draft, worker, command.grace_s, command.reason)


def noted(draft: Draft, command: Noted) -> None:
    """What the monitor says of a worker; a note that says nothing new, gives nothing."""
    worker = draft.state.workers.get(command.worker_id)
    if not _is(worker, command.incarnation):
        return
    who = {"worker_id": command.worker_id, "incarnation": command.incarnation}
    match command:
        case commands.NoteWorkerSilent() if not worker.silent:
            draft.note(events.WorkerSilent(**who, last_heard=command.last_heard))
            draft.close(command.worker_id)
        case commands.NoteWorkerHot() if not worker.hot:
            draft.note(events.WorkerHot(**who, celsius=command.celsius))
            draft.close(command.worker_id)
        case commands.NoteWorkerHeard() if worker.silent:
            draft.note(events.WorkerHeard(**who))
            _reopen(draft, worker, worker.hot)
        case commands.NoteWorkerCooled() if worker.hot:
            draft.note(events.WorkerCooled(**who, celsius=command.celsius))
            _reopen(draft, worker, worker.silent)
        case _:
            pass


def _reopen(draft: Draft, worker: Worker, otherwise_closed: bool) -> None:
    if not (otherwise_closed or worker.draining):
        draft.reopen(worker.joined.worker_id)


def _stop_held(draft: Draft, worker: Worker, grace_s: float, reason: str) -> None:
    for job_id in worker.held:
        job = draft.state.jobs[job_id]
        if job.lease is not None and job.lease.stop is None and job.cancelling is None:
            why = Why(code="drained", subject=worker.joined.worker_id)
            ask_to_stop(draft, job, job.lease, "drained", why=why, grace_s=grace_s, reason=reason)


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
