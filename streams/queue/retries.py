"""Whether and when a job whose attempt ended is tried again."""

import datetime
import hashlib

from schemas import events
from schemas.errors import TimedOut
from schemas.events import Event
from schemas.types import Cause
from schemas.why import Why
from streams.queue.ending import AS_TOLD, Ending
from streams.queue.policy import Policy
from streams.queue.state import Job, Lease, QueueState, total_limit_s
from streams.queue.usage import settled

SHORTEST_S = 0.001  # so that no attempt that failed is followed by another in the same decision
NEVER: frozenset[Cause] = frozenset({"bad-data", "user-error"})  # it would fail the same way


def following(
    state: QueueState, job: Job, lease: Lease, ending: Ending, now: datetime.datetime
) -> Event:
    """What an attempt's end means for its job: cancelled, paused, given up, or tried again.

    Each cause has a budget of its own: `attempts_max` for the infrastructure, a number of the
    policy for memory, none for bad data and user errors. An attempt that was stopped because the
    queue asked for it costs nothing; one that was lost or given back costs nothing up to a number.
    """
    who = {"job_id": job.job_id, "person_id": job.person_id}
    if job.cancelling is not None:
        return events.JobCancelled(**who, reason=job.cancelling)
    final = _final(state, job, lease, ending, now)
    if final is not None:
        return events.JobFailed(
            **who,
            attempts=lease.attempt,
            code=TimedOut.code if final.code == "total-timeout" else ending.code or "run-failed",
            detail=ending.detail or ending.why,
            why=(final,),
        )
    if lease.stop is not None and lease.stop.reason == "paused":
        return events.JobPaused(**who, held=lease.stop.held, reason=ending.why)
    endings, budget = _counted(state.policy, job, ending)
    not_before = now + backoff(state.policy, job.job_id, lease.attempt, endings)
    return events.JobRetryScheduled(
        **who,
        next_attempt=lease.attempt + 1,
        not_before=not_before,
        reason=ending.why,
        why=(budget,),
    )


def backoff(policy: Policy, job_id: str, attempt: int, endings: int) -> datetime.timedelta:
    """How long a job waits before its next attempt: exponential, with full jitter.

    A share of `base * 2 ** (endings - 1)`, at most of the cap. The share, in [0, 1), is a hash of
    job and attempt, so that a replay of the commands waits as long.

    Args:
        policy: Where base and cap stand.
        job_id: Whose next attempt it is.
        attempt: The number of the attempt that ended.
        endings: How many attempts ended this way, this one included; none means no wait.

    Source:
        Brooker, Exponential Backoff And Jitter: aws.amazon.com/blogs/architecture

    Examples:
        >>> backoff(Policy(), "a", 1, 0)
        datetime.timedelta(0)
        >>> backoff(Policy(), "a", 9, 9) <= datetime.timedelta(seconds=5 * 2**8)
        True
    """
    if endings < 1:
        return datetime.timedelta(0)
    longest = min(policy.retry_cap_s, policy.retry_base_s * 2.0 ** min(endings - 1, 32))
    drawn = hashlib.sha256(f"{job_id}\n{attempt}".encode()).digest()
    share = int.from_bytes(drawn[:6]) / 2**48
    return datetime.timedelta(seconds=max(SHORTEST_S, round(longest * share, 3)))


def memory_retries(policy: Policy, job: Job) -> int:
    """How often a job may run out of memory and be tried again; never where one attempt is all."""
    return 0 if job.submitted.attempts_max == 1 else policy.out_of_memory_retries


def _final(
    state: QueueState, job: Job, lease: Lease, ending: Ending, now: datetime.datetime
) -> Why | None:
    """Why there is no further attempt; None if there is one."""
    if not ending.retryable or ending.cause in NEVER:
        return Why(code="no-retry", subject=ending.cause)
    used = job.used_s + settled(lease, now).gpu_seconds / lease.units
    limit = total_limit_s(state, job)
    if used >= limit:
        return Why(code="total-timeout", have=used, limit=limit)
    _, budget = _counted(state.policy, job, ending)
    if budget.have is None or budget.limit is None:
        return None
    retries = budget.code == "out-of-memory"  # a number of retries, where others are of attempts
    if budget.have < budget.limit + retries:
        return None
    return Why(code=f"{budget.code}-used-up", have=budget.have, limit=budget.limit)


def _counted(policy: Policy, job: Job, ending: Ending) -> tuple[int, Why]:
    """How many endings the wait grows with, and the budget that this one counts against."""
    if ending.outcome in AS_TOLD:
        return 0, Why(code=ending.outcome)
    if not ending.costs:
        free = job.free + 1
        why = Why(code="no-cost", have=free, limit=policy.free_endings_max)
        return max(0, free - policy.free_endings_at_once), why
    if ending.cause == "out-of-memory":
        count = job.out_of_memory + 1
        limit = memory_retries(policy, job)
        return count, Why(code="out-of-memory", have=count, limit=limit)
    count = job.costly + 1
    return count, Why(code="attempts", have=count, limit=job.submitted.attempts_max)
