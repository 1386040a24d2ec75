"""Every topic: its one author, its partitions and how long it is kept.

Topics are created by an explicit step (`streams.log.create_topics`); the broker creates none by
itself. All use the broker's append time and none is compacted.
"""

from typing import Literal

import msgspec

from schemas import commands, events, telemetry

DAY_MS = 86_400_000
FOR_EVER = -1

PartitionedBy = Literal["pool", "person", "job", "worker", "one"]


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One topic, without the prefix of its installation."""

    name: str
    author: str  # the one kind of process that writes it; "anyone with authority" for commands
    by: PartitionedBy
    retention_ms: int
    types: tuple[type[msgspec.Struct], ...]
    answers: str | None = None  # the command topic that a decider's events answer
    transactional: bool = False  # written in transactions: read committed, offsets have gaps


JOB_COMMANDS = Topic(
    name="jobs.commands",
    author="anyone with authority: web, workers, clock, monitor",
    by="pool",
    retention_ms=FOR_EVER,
    types=commands.JOB_COMMANDS,
)
JOB_EVENTS = Topic(
    name="jobs.events",
    author="queue decider",
    by="pool",
    retention_ms=FOR_EVER,
    types=events.JOB_EVENTS,
    answers="jobs.commands",
    transactional=True,
)
LIBRARY_COMMANDS = Topic(
    name="library.commands",
    author="web, process manager",
    by="person",
    retention_ms=FOR_EVER,
    types=commands.LIBRARY_COMMANDS,
)
PEOPLE_EVENTS = Topic(
    name="people.events",
    author="library decider",
    by="person",
    retention_ms=FOR_EVER,
    types=events.PEOPLE_EVENTS,
    answers="library.commands",
    transactional=True,
)
MODEL_EVENTS = Topic(
    name="models.events",
    author="library decider",
    by="person",
    retention_ms=FOR_EVER,
    types=events.MODEL_EVENTS,
    answers="library.commands",
    transactional=True,
)
ENTRY_EVENTS = Topic(
    name="entries.events",
    author="web",
    by="person",
    retention_ms=FOR_EVER,
    types=events.ENTRY_EVENTS,
)
CONVERSATION_EVENTS = Topic(
    name="conversations.events",
    author="web",
    by="person",
    retention_ms=FOR_EVER,
    types=events.CONVERSATION_EVENTS,
)
VALIDATION_EVENTS = Topic(
    name="validations.events",
    author="the worker that holds the lease",
    by="person",
    retention_ms=FOR_EVER,
    types=events.VALIDATION_EVENTS,
)
RUN_TELEMETRY = Topic(
    name="runs.telemetry",
    author="the worker that holds the lease",
    by="job",
    retention_ms=14 * DAY_MS,
    types=(telemetry.TelemetryReported,),
)
WORKER_HEARTBEATS = Topic(
    name="workers.heartbeats",
    author="the worker",
    by="worker",
    retention_ms=DAY_MS,
    types=(telemetry.WorkerHeartbeat,),
)
AUDIT_EVENTS = Topic(
    name="audit.events",
    author="every process",
    by="one",
    retention_ms=FOR_EVER,
    types=events.AUDIT_EVENTS,
)
DEAD_LETTERS = Topic(
    name="dead-letters",
    author="whoever could not read the record",
    by="one",
    retention_ms=FOR_EVER,
    types=(telemetry.DeadLetter,),
)

TOPICS: tuple[Topic, ...] = (
    JOB_COMMANDS,
    JOB_EVENTS,
    LIBRARY_COMMANDS,
    PEOPLE_EVENTS,
    MODEL_EVENTS,
    ENTRY_EVENTS,
    CONVERSATION_EVENTS,
    VALIDATION_EVENTS,
    RUN_TELEMETRY,
    WORKER_HEARTBEATS,
    AUDIT_EVENTS,
    DEAD_LETTERS,
)
BY_NAME: dict[str, Topic] = {topic.name: topic for topic in TOPICS}

# A pool owns the index of its name in this tuple, for ever: append, never reorder.
POOLS: tuple[str, ...] = ("default",)
POOL_PARTITIONS = 4
PERSON_PARTITIONS = 8
JOB_PARTITIONS = 8


def partitions(topic: Topic) -> int:
    """How many partitions a topic has."""
    match topic.by:
        case "pool":
            return POOL_PARTITIONS
        case "person":
            return PERSON_PARTITIONS
        case "job":
            return JOB_PARTITIONS
        case "worker" | "one":
            return 1
