"""The brief's queue configuration: accepted as written, and what of it takes effect on one job."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from projections.workers import WorkerRow
from schemas.types import Positive, Scalar
from streams.queue.placing.rooms import at_once
from streams.queue.policy import Policy, folded
from web.routing import Body, Wire

ATTEMPTS_MAX = 3
TIMEOUT_S = 10_800.0
PRIORITY_RANKS = {"high": 1, "medium": 2, "low": 3}

Retries = Annotated[int, Meta(ge=0, le=20)]
Minutes = Annotated[float, Meta(gt=0, le=10_080)]
GIGABYTE = 1_000_000_000  # bytes, as the brief counts memory and disks
Gigabytes = Annotated[float, Meta(gt=0)]


class PriorityWeights(Body, frozen=True, kw_only=True):
    """`priorityWeights`: the lower goes first."""

    high: Positive | UnsetType = UNSET
    medium: Positive | UnsetType = UNSET
    low: Positive | UnsetType = UNSET


class ResourceLimits(Body, frozen=True, kw_only=True):
    """`resourceLimits`."""

    gpu_memory: Gigabytes | UnsetType = msgspec.field(name="gpuMemoryGB", default=UNSET)
    disk_space: Gigabytes | UnsetType = msgspec.field(name="diskSpaceGB", default=UNSET)


class QueueConfig(Body, frozen=True, kw_only=True):
    """The brief's queue configuration; every key may be left out."""

    max_concurrent_jobs: Positive | UnsetType = UNSET
    priority_weights: PriorityWeights | UnsetType = UNSET
    retry_attempts: Retries | UnsetType = UNSET  # attempts after the first
    timeout_minutes: Minutes | UnsetType = UNSET  # of one attempt
    resource_limits: ResourceLimits | UnsetType = UNSET


class EffectiveQueue(Wire, frozen=True, kw_only=True):
    """The queue configuration as it takes effect in a pool."""

    max_concurrent_jobs: int  # the pool's limit, at most the slots of the workers that are there
    priority_weights: dict[str, int]  # strict: the lower goes first, then who came first
    retry_attempts: int  # of a job that says nothing else
    timeout_minutes: float
    resource_limits: dict[str, float]  # what the workers that are there have, and the pool allows


def slots_of(row: WorkerRow, changes: Mapping[str, Scalar]) -> int:
    """How many jobs a worker takes at a time in a pool with these numbers."""
    policy = folded(Policy(), dict(changes))
    return at_once(row.slots, len(row.gpus), policy.jobs_per_gpu_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What one job may use up, and a sentence for each value that has no effect."""

    attempts_max: int
    timeout_s: float
    notes: tuple[str, ...]


def terms(config: QueueConfig) -> Terms:
    """What a queue configuration means for the job that it came with.

    Examples:
        >>> terms(QueueConfig(retry_attempts=3, timeout_minutes=180)).attempts_max
        4
    """
    retries, minutes = config.retry_attempts, config.timeout_minutes
    return Terms(
        attempts_max=ATTEMPTS_MAX if retries is UNSET else retries + 1,
        timeout_s=TIMEOUT_S if minutes is UNSET else minutes * 60,
        notes=tuple(_without_effect(config)),
    )


def without_effect(
    weights: PriorityWeights | UnsetType, retries: int | UnsetType
) -> tuple[str, ...]:
    """What of a pool's configuration has no effect, in sentences."""
    notes = []
    if weights is not UNSET and _ranks(weights) != PRIORITY_RANKS:
        notes.append("priorityWeights has no effect: high goes before medium, medium before low.")
    if retries is not UNSET:
        notes.append("retryAttempts has no effect on a pool: each job is submitted with its own.")
    return tuple(notes)


def _without_effect(config: QueueConfig) -> list[str]:
    notes = []
    if config.max_concurrent_jobs is not UNSET:
        notes.append("maxConcurrentJobs has no effect on one job: it is the pool's.")
    notes += without_effect(config.priority_weights, UNSET)
    if config.resource_limits is not UNSET:
        notes.append("resourceLimits has no effect on one job: it is the pool's.")
    return notes


def _ranks(weights: PriorityWeights) -> dict[str, int]:
    written = msgspec.structs.asdict(weights)
    return {
        name: rank if written[name] is UNSET else written[name]
        for name, rank in PRIORITY_RANKS.items()
    }
