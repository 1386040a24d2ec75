"""Who is in line: one rule, asked after every event that may change it.

A job is in line while it is queued or retrying, its time has come, and neither its budget nor a
pause of its person keeps it out.
"""

import datetime
import heapq

from streams.queue.line.ordering import standing_of
from streams.queue.line.waiting import Standing
from streams.queue.order import next_rise
from streams.queue.state import Job, QueueState, queue_limit_s, waited_s

SHORTEST = datetime.timedelta(milliseconds=1)
SLACK = 64  # worthless entries of a heap that are not worth a clean-up


def settle(state: QueueState, job: Job) -> None:
    """Let a job stand in line where it belongs, or not at all."""
    waits = (
        job.job_id in state.jobs
        and job.state in {"queued", "retrying"}
        and job.lease is None
        and not job.blocked
        and job.person_id not in state.paused_people
    )
    if waits and job.not_before is not None and job.not_before > state.time:
        waits = False
        _push(state.delayed, (job.not_before, job.job_id), state)
    if not waits:
        state.line.remove(job.job_id, state.shares)
        return
    at, group = standing_of(state, job, state.time)
    standing = Standing(job.shape, at, group, job.number)
    known = state.line.standings.get(job.job_id)
    if known != standing:
        state.line.add(job.job_id, standing, state.shares)
    if known is None:
        limit = datetime.timedelta(seconds=queue_limit_s(state, job))
        _push(state.expiring, (job.since + limit, job.job_id), state)
        _rise(state, job)


def ripen(state: QueueState) -> None:
    """What the passing of time alone does: jobs rise a class, delays are over."""
    while state.delayed and state.delayed[0][0] <= state.time:
        _, job_id = heapq.heappop(state.delayed)
        job = state.jobs.get(job_id)
        if job is not None and job.state in {"queued", "retrying"}:
            _ripen(state, job)
    while state.rising and state.rising[0][0] <= state.time:
        _, job_id = heapq.heappop(state.rising)
        job = state.jobs.get(job_id)
        if job is not None and job_id in state.line:
            settle(state, job)
            _rise(state, job)
    tidy(state)


def tidy(state: QueueState) -> None:
    """Let the first entry of each heap be one that counts: the next deadline is read there."""
    for heap, counts in (
        (state.expiring, expires),
        (state.starting, starts),
        (state.delayed, delays),
    ):
        while heap and not counts(state, *heap[0]):
            heapq.heappop(heap)


def starts(state: QueueState, at: datetime.datetime, job_id: str) -> bool:
    """Whether an entry of `starting` still says when a scheduled job's time comes."""
    job = state.jobs.get(job_id)
    return job is not None and job.state == "scheduled" and job.not_before == at


def delays(state: QueueState, at: datetime.datetime, job_id: str) -> bool:
    """Whether an entry of `delayed` still says when a job is in line again."""
    job = state.jobs.get(job_id)
    return job is not None and job.not_before == at and job.state in {"queued", "retrying"}


def expires(state: QueueState, at: datetime.datetime, job_id: str) -> bool:
    """Whether an entry of `expiring` still says when a job's wait in line is over."""
    job = state.jobs.get(job_id)
    if job is None or job_id not in state.line:
        return False
    return at == job.since + datetime.timedelta(seconds=queue_limit_s(state, job))


def resettle(state: QueueState) -> None:
    """Every job anew: a number has changed that all stand by."""
    for job_id in list(state.line.standings):
        state.line.remove(job_id, state.shares)
    state.rising, state.expiring = [], []
    for job in state.jobs.values():
        settle(state, job)


def unblock(state: QueueState, person_id: str) -> None:
    """A person may spend more, or spends in a new month: their jobs are in line again."""
    for job_id in state.blocked.pop(person_id, {}):
        job = state.jobs.get(job_id)
        if job is not None and job.blocked:
            _back_in_line(state, job)
            settle(state, job)


def _back_in_line(state: QueueState, job: Job) -> None:
    """A job's time out of line makes it no older."""
    job.blocked = False
    job.not_before = None
    job.ages_from += state.time - job.since
    job.since = state.time


def _rise(state: QueueState, job: Job) -> None:
    """Note when a job in line reaches its next class."""
    after = next_rise(state.policy, waited_s(job, state.time))
    if after is not None:
        _push(state.rising, (state.time + max(after, SHORTEST), job.job_id), state)


def _ripen(state: QueueState, job: Job) -> None:
    if job.not_before is not None and job.not_before <= state.time:
        if job.blocked:
            state.blocked.get(job.person_id, {}).pop(job.job_id, None)
            _back_in_line(state, job)
        else:
            job.since = job.not_before
            job.not_before = None
    settle(state, job)


def _push(
    heap: list[tuple[datetime.datetime, str]],
    entry: tuple[datetime.datetime, str],
    state: QueueState,
) -> None:
    heapq.heappush(heap, entry)
    if len(heap) > 4 * len(state.jobs) + SLACK:
        kept = sorted({one for one in heap if one[1] in state.jobs})
        heap[:] = kept
