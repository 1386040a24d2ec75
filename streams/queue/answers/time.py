"""What is due because time has passed."""

from schemas import events
from schemas.errors import TimedOut
from schemas.why import Why
from streams.queue.deadlines import next_deadline, over_at
from streams.queue.draft import Draft
from streams.queue.ending import Ending
from streams.queue.line.waiting import in_order
from streams.queue.settling import expires, starts
from streams.queue.state import Job, Lease, queue_limit_s

EXPIRED_AT_ONCE = 200  # jobs of one decision; the rest follows with the next one


def is_due(draft: Draft) -> bool:
    """Whether anything is due by now."""
    due = next_deadline(draft.state)
    return due is not None and due <= draft.now


def advance(draft: Draft) -> None:
    """Settle what is due. Something is always noted then, so that it is not due any more."""
    if not is_due(draft):
        return
    for job, lease in list(draft.lives()):
        if over_at(lease) > draft.now:
            continue
        if lease.ends <= draft.now:
            draft.end(job, lease, _timeout(job, lease))
        elif lease.expires + draft.extended <= draft.now:
            why = f"nothing was heard of attempt {lease.attempt} until its lease ended"
            draft.end(job, lease, Ending(outcome="lease-expired", why=why))
    _start(draft)
    if not draft.state.paused:
        _expire(draft)


def _timeout(job: Job, lease: Lease) -> Ending:
    return Ending(
        outcome="failed",
        why=f"attempt {job.attempt} ran past its limit",
        cause="infrastructure",
        code=TimedOut.code,
        detail=f"The attempt ran for {lease.limit_s:.0f} s, its limit.",
        costs=True,
    )


def _start(draft: Draft) -> None:
    """Scheduled jobs whose time has come, if what they wait for has succeeded."""
    for at, job_id in in_order(draft.state.starting):
        if at > draft.now:
            return
        if not starts(draft.state, at, job_id) or job_id in draft.ended:
            continue
        job = draft.state.jobs[job_id]
        lacking = draft.lacking(job.submitted.after)
        if lacking:
            draft.note(events.JobDeferred(job_id=job_id, person_id=job.person_id, after=lacking))
        else:
            draft.ready(job, Why(code="its-time-has-come"))


def _expire(draft: Draft) -> None:
    """Jobs that waited in line for longer than they were to."""
    expired = 0
    for at, job_id in in_order(draft.state.expiring):
        if at > draft.now or expired >= EXPIRED_AT_ONCE:
            return
        if not expires(draft.state, at, job_id) or job_id in draft.ended:
            continue
        job = draft.state.jobs[job_id]
        limit = queue_limit_s(draft.state, job)
        waited = (draft.now - job.since).total_seconds()
        draft.note(
            events.JobExpired(
                job_id=job_id,
                person_id=job.person_id,
                waited_s=waited,
                limit_s=limit,
                why=(Why(code="waited-too-long", have=waited, limit=limit),),
            )
        )
        draft.over(job, "expired")
        expired += 1
