"""The queue's numbers. Replaying commands gives the same events under the same policy.

What is given here is where a pool starts; `PoolConfigured` changes it. `docs/scheduling.md`
explains each number.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.errors import InvalidPolicy
from schemas.types import Count, Positive, Scalar, Seconds

Lasting = Annotated[float, Meta(gt=0)]  # seconds, more than none
Money = Annotated[float, Meta(ge=0)]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How a pool decides. What an event carries of it holds for ever; see `LeaseGranted`."""

    lease_ttl_s: Lasting = 720.0  # a lease lasts this long after its last renewal
    gap_after_s: Lasting = 180.0  # no event for longer, while leases live: the log stood still
    beat_after_s: Lasting = 120.0  # no event for so long, while leases live: note that time passes

    retry_base_s: Seconds = 5.0
    retry_cap_s: Seconds = 1_800.0
    free_endings_at_once: Count = 3  # attempts given back or lost before the next one has to wait
    free_endings_max: Positive = 20  # then the job is given up: it may be what takes workers down
    out_of_memory_retries: Count = 2  # each with batches in twice as many parts

    ageing_after_s: Lasting = 1_800.0  # of waiting for the next class up
    ageing_classes_max: Count = 2  # a job rises by so many classes at most
    overdue_after_s: Lasting = 7_200.0  # of waiting; then it is served before all that are not
    half_life_s: Lasting = 604_800.0  # after so long, half of a person's use counts
    entry_penalty_s: Seconds = 900.0  # GPU-seconds that a lease is charged with in advance
    backfill_depth: Count = 8  # sizes of job that have a reservation while others pass them

    queue_timeout_s: Lasting = 10_800.0  # in line; then the job has expired
    total_timeout_s: Lasting = 43_200.0  # of all attempts of a job together
    idle_after_s: Lasting = 600.0  # a GPU that does nothing for so long ends its attempt
    stop_grace_s: Seconds = 120.0  # to store a checkpoint and stop
    preempt_after_s: Seconds = 900.0  # a lease is safe from preemption for so long
    preemptions_max: Count = 3  # of one job; 0: nothing is preempted

    max_concurrent_jobs: Count | None = None  # in the pool
    jobs_per_gpu_max: Positive = 4
    gpu_memory_bytes_max: Count | None = None  # that jobs may use of one GPU
    disk_bytes_max: Count | None = None  # that jobs may use of one worker
    memory_margin: Annotated[float, Meta(ge=1)] = 1.05  # times the measured peak
    expected_s: Lasting = 5_400.0  # of a job of which nothing is known

    price_per_gpu_hour: Money = 0.0  # where neither the worker nor its kind has one
    budget_per_month: Money | None = None  # of a person who has none of their own


def changed(policy: Policy, changes: dict[str, Scalar]) -> Policy:
    """A policy with some numbers changed.

    Raises:
        InvalidPolicy: If there is no such number, or it is out of its range.

    Examples:
        >>> changed(Policy(), {"backfill_depth": 3}).backfill_depth
        3
    """
    unknown = changes.keys() - set(Policy.__struct_fields__)
    if unknown:
        raise InvalidPolicy(
            f"{', '.join(sorted(unknown))}: no such number; there are"
            f" {', '.join(Policy.__struct_fields__)}."
        )
    try:
        return msgspec.convert(msgspec.structs.asdict(policy) | changes, Policy)
    except msgspec.ValidationError as error:
        raise InvalidPolicy(f"{error}: see docs/scheduling.md for its range.") from error


def folded(policy: Policy, changes: dict[str, Scalar]) -> Policy:
    """`changed`, by an event: what this version does not know is of no concern to it."""
    known = {name: value for name, value in changes.items() if name in Policy.__struct_fields__}
    try:
        return changed(policy, known)
    except InvalidPolicy:
        return policy
