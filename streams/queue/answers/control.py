"""What people and operators ask of one job: cancel, pause, hold, retry, another priority."""

import dataclasses
from collections.abc import Callable
from typing import Any

from schemas import commands, events
from schemas.errors import JobAlreadyOver, NotFound, VersionConflict, WrongState
from schemas.types import Priority
from schemas.why import Why
from streams.queue.answers.submission import defer
from streams.queue.draft import Draft
from streams.queue.state import Job

Asked = commands.CancelJob | commands.AboutJob


def act(draft: Draft, command: Asked) -> None:
    """Do what is asked of a job.

    Raises:
        NotFound: If there is no such job, or it is somebody else's.
        JobAlreadyOver: If it has ended.
        VersionConflict: If it has changed since the caller read it.
        WrongState: If its state does not allow this.
    """
    job = _asked_for(draft, command)
    match command:
        case commands.CancelJob():
            cancel(draft, job, command.reason)
        case commands.PauseJob():
            pause(draft, job, command.reason)
        case commands.HoldJob():
            hold(draft, job, command.reason)
        case commands.ResumeJob():
            resume(draft, job, command.reason)
        case commands.ReleaseJob():
            release(draft, job, command.reason)
        case commands.RetryJob():
            _retry(draft, job)
        case commands.ReprioritiseJob():
            reprioritise(draft, job, command.priority, command.reason)
        case _:
            raise NotFound(f"{type(command).__name__} is nothing that can be asked of a job.")


def cancel(draft: Draft, job: Job, reason: str) -> None:
    """A waiting job ends at once; one that runs, when its worker has stopped it."""
    if job.lease is not None:
        draft.note(events.JobCancelRequested(**_who(job), reason=reason))
        return
    draft.note(events.JobCancelled(**_who(job), reason=reason))
    draft.over(job, "cancelled")


def pause(draft: Draft, job: Job, reason: str) -> None:
    """Let a job wait until its owner lets it go on."""
    _stop_or_pause(draft, job, reason, held=False)


def hold(draft: Draft, job: Job, reason: str) -> None:
    """Let a job wait until an operator lets it go on."""
    _stop_or_pause(draft, job, reason, held=True)


def resume(draft: Draft, job: Job, reason: str) -> None:
    """End a pause; an operator's hold stays."""
    if not job.paused:
        raise WrongState(_not_waiting(job, "paused"))
    draft.note(events.JobResumed(**_who(job), reason=reason))
    if job.held:
        draft.note(events.JobPaused(**_who(job), held=True, reason="an operator holds it"))
    else:
        _line_up(draft, job)


def release(draft: Draft, job: Job, reason: str) -> None:
    """End an operator's hold; the owner's pause stays."""
    if not job.held:
        raise WrongState(_not_waiting(job, "held"))
    draft.note(events.JobResumed(**_who(job), held=True, reason=reason))
    if job.paused:
        draft.note(events.JobPaused(**_who(job), reason="its owner paused it"))
    else:
        _line_up(draft, job)


def reprioritise(draft: Draft, job: Job, priority: Priority, reason: str) -> None:
    """Give a job another class: it stands there with the age that it has."""
    if job.priority == priority:
        raise WrongState(f"priority: job {job.job_id} is {priority} already.")
    draft.note(
        events.JobReprioritised(
            **_who(job), priority=priority, previous=job.priority, reason=reason
        )
    )
    if job.job_id in draft.state.line:
        draft.order.drop(job.job_id)
        moved = dataclasses.replace(job, priority=priority)
        draft.fresh[job.job_id] = moved
        draft.wait(moved)


BULK: dict[str, Callable[[Draft, Job, str], None]] = {
    "cancel": cancel,
    "pause": pause,
    "resume": resume,
    "hold": hold,
    "release": release,
}


def _asked_for(draft: Draft, command: Asked) -> Job:
    state = draft.state
    found = state.jobs.get(command.job_id) or state.over.get(command.job_id)
    if found is None or command.person_id not in {None, found.person_id}:
        raise NotFound(f"There is no job {command.job_id} of yours.")
    if not isinstance(found, Job):
        asked = "be cancelled" if isinstance(command, commands.CancelJob) else "be changed"
        raise JobAlreadyOver(
            f"Job {command.job_id} has ended ({found.state}) and cannot {asked}: submit a new one."
        )
    if command.expected_version not in {None, found.version}:
        raise VersionConflict(
            f"expected_version: job {command.job_id} is at version {found.version}, not"
            f" {command.expected_version}: read it again."
        )
    return found


def _who(job: Job) -> dict[str, Any]:
    return {"job_id": job.job_id, "person_id": job.person_id}


def _stop_or_pause(draft: Draft, job: Job, reason: str, *, held: bool) -> None:
    if job.held if held else job.paused:
        raise WrongState(f"Job {job.job_id} is {'held' if held else 'paused'} already.")
    lease = job.lease
    if lease is None:
        draft.note(events.JobPaused(**_who(job), held=held, reason=reason))
        draft.order.drop(job.job_id)
        return
    if job.cancelling is not None or (lease.stop is not None and lease.stop.reason == "paused"):
        raise WrongState(f"Job {job.job_id} is being stopped already.")
    draft.note(
        events.AttemptStopRequested(
            **_who(job),
            attempt=lease.attempt,
            worker_id=lease.worker_id,
            fencing_token=lease.token,
            stop="paused",
            grace_s=draft.state.policy.stop_grace_s,
            held=held,
            reason=reason,
            why=(Why(code="asked-for"),),
        )
    )


def _line_up(draft: Draft, job: Job) -> None:
    if not defer(draft, job):
        draft.wait(job)


def _not_waiting(job: Job, word: str) -> str:
    if job.lease is not None and job.lease.stop is not None:
        return f"Job {job.job_id} is not {word} yet: its worker stores a checkpoint first."
    return f"Job {job.job_id} is {job.state}, not {word}."


def _retry(draft: Draft, job: Job) -> None:
    if job.state != "retrying" or job.not_before is None or job.blocked:
        raise WrongState(f"Job {job.job_id} is {job.state}: it does not wait for a retry.")
    draft.note(events.JobReadied(**_who(job), why=(Why(code="asked-for"),)))
    draft.wait(job)
