"""When a job whose attempt ended is tried again."""

import datetime
import hashlib

from streams.queue.policy import Policy


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
    return datetime.timedelta(seconds=round(longest * share, 3))
