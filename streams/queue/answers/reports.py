"""What workers say of their attempts: it counts while it quotes the current fencing token."""

from typing import Any, TypeVar

import msgspec

from schemas import commands, events
from schemas.errors import GpuIdle, NotFound, RecordCorrupt, StaleReport, WrongState
from schemas.types import StopReason
from schemas.why import Why
from streams.queue.draft import Draft
from streams.queue.ending import Ending
from streams.queue.state import Job, Lease, QueueState
from streams.queue.usage import settled

E = TypeVar("E", bound=events.AboutAttempt)

IN_WORDS = {
    "preempted": "it made room for a job of a higher class",
    "paused": "it was paused",
    "drained": "its worker is drained",
    "idle": "its GPU did nothing",
}


def report(draft: Draft, command: commands.Report) -> None:
    """Reports count while they quote the current fencing token, and change nothing otherwise.

    Raises:
        NotFound: If there never was such a job.
        StaleReport: If the lease is somebody else's or nobody's, or was to be given up by now.
        WrongState: If a GPU is not idle for long enough.
    """
    job, lease = current(draft.state, command)
    match command:
        case commands.RenewLease():
            _renew(draft, command, job, lease)
        case commands.ReportStarted():
            draft.note(_noted(events.JobStarted, command, job))
        case commands.ReportDataset():
            draft.note(_noted(events.DatasetBuilt, command, job))
        case commands.NoteCheckpoint():
            draft.note(_noted(events.CheckpointNoted, command, job))
        case commands.ReportSucceeded() if job.cancelling is None:
            use = settled(lease, draft.now)
            told = {"gpu_seconds": use.gpu_seconds, "cost": use.cost}
            draft.note(_noted(events.JobSucceeded, command, job, **told))
            draft.vacate(job, lease)
            draft.datasets[job.job_id] = command.dataset
            draft.over(job, "succeeded")
        case commands.ReportFailed():
            draft.end(job, lease, _failure(command))
        case commands.ReportSucceeded() | commands.ReportStopped():
            draft.end(job, lease, _stop(job, lease, command))
        case commands.ReportIdle():
            _idle(draft, command, job, lease)
        case _:
            raise RecordCorrupt(f"{type(command).__name__} is no report that the queue knows.")


def current(state: QueueState, command: commands.Report) -> tuple[Job, Lease]:
    """The job and the lease that a report is about.

    Raises:
        NotFound: If there never was such a job.
        StaleReport: If its lease is not this one any more.
    """
    job = state.jobs.get(command.job_id)
    if job is None and command.job_id not in state.over:
        raise NotFound(f"There is no job {command.job_id}.")
    if job is None or job.lease is None:
        raise StaleReport(f"Nobody holds job {command.job_id}: stop its child process.")
    lease = job.lease
    quoted = (command.attempt, command.worker_id, command.fencing_token)
    if quoted != (lease.attempt, lease.worker_id, lease.token):
        raise StaleReport(
            f"The report quotes attempt {command.attempt} on {command.worker_id} with token"
            f" {command.fencing_token}; {lease.worker_id} holds attempt {lease.attempt} with token"
            f" {lease.token}: stop the child process."
        )
    return job, lease


def _renew(draft: Draft, command: commands.RenewLease, job: Job, lease: Lease) -> None:
    """First the worker is asked to stop; once the grace is over, it is not let go on."""
    stop_by = job.cancel_by if lease.stop is None else lease.stop.by
    if stop_by is not None and draft.now > stop_by:
        raise StaleReport(f"Attempt {lease.attempt} was to stop by {stop_by}: kill its child.")
    draft.note(_noted(events.LeaseRenewed, command, job, ttl_s=draft.state.policy.lease_ttl_s))


def _noted(kind: type[E], command: commands.Report, job: Job, **further: Any) -> E:
    """The event that says what a report said."""
    return kind(person_id=job.person_id, **msgspec.structs.asdict(command), **further)


def _failure(command: commands.ReportFailed) -> Ending:
    return Ending(
        outcome="failed",
        why=f"attempt {command.attempt} failed: {command.code}",
        cause=command.cause,
        code=command.code,
        detail=command.detail,
        costs=True,
        retryable=command.retryable,
        energy_wh=command.energy_wh,
        peak_bytes=command.peak_bytes,
        telemetry=command.telemetry,
    )


def _stop(
    job: Job, lease: Lease, command: commands.ReportStopped | commands.ReportSucceeded
) -> Ending:
    """An attempt that ended because it should. Whoever asked for the end first, has it."""
    names = ("energy_wh", "peak_bytes", "telemetry")
    told: dict[str, Any] = {name: getattr(command, name) for name in names}
    told["detail"] = command.detail if isinstance(command, commands.ReportStopped) else ""
    if job.cancelling is not None:
        return Ending(outcome="cancelled", why="it was cancelled", **told)
    if lease.stop is None:
        return Ending(outcome="released", why=f"{command.worker_id} gave it back", **told)
    why = IN_WORDS[lease.stop.reason]
    if lease.stop.reason == "idle":
        told["detail"] = told["detail"] or why
        failure: dict[str, Any] = {"cause": "infrastructure", "code": GpuIdle.code, "costs": True}
        return Ending(outcome="failed", why=why, **told, **failure)
    return Ending(outcome=lease.stop.reason, why=why, **told)


def _idle(draft: Draft, command: commands.ReportIdle, job: Job, lease: Lease) -> None:
    """An idle GPU ends its attempt: the worker stops the child and says so."""
    limit = draft.state.policy.idle_after_s
    if lease.stop is not None or job.cancelling is not None:
        raise WrongState(f"Attempt {lease.attempt} is being stopped already.")
    if command.idle_s < limit:
        raise WrongState(f"idle_s: {command.idle_s:.0f} s; from {limit:.0f} s on it is too long.")
    ask_to_stop(draft, job, lease, "idle", why=Why(code="idle", have=command.idle_s, limit=limit))


def ask_to_stop(
    draft: Draft,
    job: Job,
    lease: Lease,
    stop: StopReason,
    *,
    why: Why,
    grace_s: float | None = None,
    reason: str = "",
) -> None:
    """Tell the worker that holds a job to store a checkpoint and stop."""
    draft.note(
        events.AttemptStopRequested(
            job_id=job.job_id,
            person_id=job.person_id,
            attempt=lease.attempt,
            worker_id=lease.worker_id,
            fencing_token=lease.token,
            stop=stop,
            grace_s=draft.state.policy.stop_grace_s if grace_s is None else grace_s,
            reason=reason,
            why=(why,),
        )
    )
