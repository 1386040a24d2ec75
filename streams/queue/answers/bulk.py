"""One request about many jobs."""

import datetime
from collections.abc import Iterable

import msgspec

from schemas import commands, events
from schemas.errors import InvalidBody, LifelogError
from streams.queue.answers.control import BULK, reprioritise
from streams.queue.draft import Draft
from streams.queue.state import Job, QueueState


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a request about many jobs would come to."""

    matched: tuple[str, ...]  # jobs that the filter lets through
    changed: int  # those of them whose state allows it


def preview(state: QueueState, command: commands.ActOnJobs, now: datetime.datetime) -> Preview:
    """What a request would do, were it decided now; the state is not changed.

    Raises:
        InvalidBody: As `act`.
    """
    draft = Draft(state, now)
    act(draft, command)
    told = draft.events[-1]
    changed = told.changed if isinstance(told, events.JobsActedOn) else 0
    return Preview(matched=tuple(job.job_id for job in matching(state, command)), changed=changed)


def act(draft: Draft, command: commands.ActOnJobs) -> None:
    """Do one thing to every job that the filter lets through, in the order of their submission.

    A job whose state does not allow it is left alone; the last event counts both.

    Raises:
        InvalidBody: If a new priority is asked for and none is named.
    """
    if command.action == "reprioritise" and command.priority is None:
        raise InvalidBody("priority: name the new one.", field="priority")
    matched = matching(draft.state, command)
    changed = sum(_done(draft, job, command) for job in matched)
    draft.note(
        events.JobsActedOn(
            action=command.action, matched=len(matched), changed=changed, reason=command.reason
        )
    )


def matching(state: QueueState, command: commands.ActOnJobs) -> list[Job]:
    """The jobs that a filter lets through, in the order of their submission."""
    found = (job for job in _candidates(state, command) if _matches(job, command))
    return sorted(found, key=lambda job: job.number)[: command.limit]


def _done(draft: Draft, job: Job, command: commands.ActOnJobs) -> bool:
    if job.job_id in draft.ended:
        return False
    try:
        if command.action == "reprioritise" and command.priority is not None:
            reprioritise(draft, job, command.priority, command.reason)
        else:
            BULK[command.action](draft, job, command.reason)
    except LifelogError:
        return False
    return True


def _candidates(state: QueueState, command: commands.ActOnJobs) -> Iterable[Job]:
    ids: Iterable[str] = state.jobs
    if command.job_ids:
        ids = dict.fromkeys(command.job_ids)
    elif command.worker_id is not None:
        worker = state.workers.get(command.worker_id)
        ids = worker.held if worker is not None else ()
    elif command.person_id is not None:
        ids = state.by_person.get(command.person_id, ())
    return [state.jobs[job_id] for job_id in ids if job_id in state.jobs]


def _matches(job: Job, command: commands.ActOnJobs) -> bool:
    on = None if job.lease is None else job.lease.worker_id
    return (
        command.person_id in {None, job.person_id}
        and command.worker_id in {None, on}
        and (not command.states or job.state in command.states)
        and (not command.priorities or job.priority in command.priorities)
        and (not command.kinds or job.submitted.kind in command.kinds)
    )
