"""From a record to what a page is sent of it: ids, states and numbers, never a person's words.

Pure. A frame is encoded once, whoever reads it: `data` for those who may see the person's own, and
`anonymous`, where the queue moved, for everybody else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from schemas import events
from schemas.envelope import Recorded
from schemas.telemetry import TelemetryReported, Tick
from schemas.topics import JOB_EVENTS, POOLS, RUN_TELEMETRY
from schemas.types import JobState

POINTS = 200  # ticks a frame holds at most: of more, the newest
_ATTEMPT = ("job_id", "person_id", "attempt", "worker_id", "fencing_token")
_JOB = ("job_id", "person_id")

# What pages are shown of each event, field by field: what is not named here is never sent.
SHOWN: Mapping[type[msgspec.Struct], tuple[str, ...]] = {
    events.CommandRejected: ("kind", "code", "subject"),
    events.CommandRepeated: ("kind",),
    events.JobSubmitted: (*_JOB, "pool", "priority", "attempts_max"),
    events.LeaseGranted: (*_ATTEMPT, "ttl_s", "checkpoint_step"),
    events.LeaseRenewed: (*_ATTEMPT, "ttl_s"),
    events.LeasesExtended: ("gap_s",),
    events.JobStarted: (*_ATTEMPT, "device", "resumed_from_step"),
    events.DatasetBuilt: (*_ATTEMPT, "examples", "entries", "tokens"),
    events.CheckpointNoted: (*_ATTEMPT, "step", "total_steps"),
    events.AttemptEnded: (*_ATTEMPT, "outcome", "cause", "code", "costs_attempt"),
    events.JobRetryScheduled: (*_JOB, "next_attempt", "not_before"),
    events.JobCancelRequested: _JOB,
    events.JobCancelled: _JOB,
    events.JobFailed: (*_JOB, "attempts", "code"),
    events.JobSucceeded: (*_ATTEMPT, "version_id", "steps", "training_tokens", "seconds", "scores"),
    events.WorkerJoined: ("worker_id", "incarnation", "device", "gpus", "memory_bytes", "slots"),
    events.WorkerLeft: ("worker_id", "incarnation"),
    events.WorkerSilent: ("worker_id", "incarnation", "last_heard"),
    events.WorkerHeard: ("worker_id", "incarnation"),
    events.WorkerLost: ("worker_id", "incarnation"),
    events.JobDeferred: (*_JOB, "not_before", "after"),
    events.JobReadied: _JOB,
    events.JobPaused: (*_JOB, "held"),
    events.JobResumed: (*_JOB, "held"),
    events.JobReprioritised: (*_JOB, "priority", "previous"),
    events.JobBlocked: (*_JOB, "until"),
    events.JobExpired: (*_JOB, "waited_s", "limit_s"),
    events.AttemptStopRequested: (*_ATTEMPT, "stop", "grace_s"),
    events.WorkerDraining: ("worker_id",),
    events.WorkerResumed: ("worker_id",),
    events.WorkerHot: ("worker_id", "incarnation", "celsius"),
    events.WorkerCooled: ("worker_id", "incarnation", "celsius"),
    events.PersonPaused: ("person_id",),
    events.PersonResumed: ("person_id",),
    events.PoolPaused: (),
    events.PoolResumed: (),
    events.PoolConfigured: ("pool",),
    events.BudgetSet: ("person_id",),
    events.ShareSet: ("person_id", "weight"),
    events.JobsActedOn: ("action", "matched", "changed"),
    events.PersonAdded: ("person_id", "role"),
    events.ConsentSet: ("person_id", "entry_id", "scopes"),
    events.VersionRegistered: ("version_id", "person_id", "number", "job_id", "scores"),
    events.AliasMoved: ("person_id", "alias", "version_id", "previous"),
    events.EntryWritten: ("person_id", "entry_id", "revision", "kind", "words"),
    events.TurnRecorded: ("person_id", "conversation_id", "turn_id"),
}
HIDDEN = frozenset({events.TimeAdvanced})  # the clock's, about nothing that a page shows
# The state in which an event leaves its job; where it depends on more, none is said.
STATE_AFTER: Mapping[type[msgspec.Struct], JobState] = {
    events.JobSubmitted: "queued",
    events.LeaseGranted: "leased",
    events.JobStarted: "running",
    events.JobRetryScheduled: "retrying",
    events.JobCancelled: "cancelled",
    events.JobDeferred: "scheduled",
    events.JobReadied: "queued",
    events.JobPaused: "paused",
    events.JobExpired: "expired",
    events.JobFailed: "failed",
    events.JobSucceeded: "succeeded",
}
PROGRESS = "job.progress"
QUEUE_CHANGED = "queue.changed"
QUIET = (events.LeaseRenewed, events.CheckpointNoted, events.DatasetBuilt, events.CommandRepeated)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One message of the stream, with what decides who is sent it."""

    topic: str
    partition: int
    first: int  # offset of the first record that it tells of
    after: int  # the partition's next offset once it is sent
    kind: str  # the SSE event's name: the event's type without "lifelog."
    person_id: str | None  # None: only an admin sees `data`
    job_id: str | None
    data: bytes
    anonymous: bytes | None = None  # for those who may not see `data`; None: they get nothing


def lifecycle(recorded: Recorded, token: str) -> Frame | None:
    """A life-cycle event as a frame; None where pages are told nothing of its kind.

    Args:
        recorded: A record of one of the topics that pages follow.
        token: The vector of positions after it, as `schemas.positions.encode_vector` gives it.
    """
    event = recorded.data
    fields = SHOWN.get(type(event))
    if fields is None:
        return None
    kind = recorded.envelope.type.removeprefix("lifelog.")
    shown = {field: getattr(event, field) for field in fields}
    state = STATE_AFTER.get(type(event))
    told: dict[str, Any] = {"type": kind, "at": recorded.timestamp} | _camel(shown)
    if state is not None:
        told["state"] = state
    return Frame(
        topic=recorded.topic,
        partition=recorded.partition,
        first=recorded.offset,
        after=recorded.offset + 1,
        kind=kind,
        person_id=shown.get("person_id") or recorded.envelope.owner,
        job_id=shown.get("job_id"),
        data=encoded(kind, told, token),
        anonymous=_anonymous(recorded, kind, token),
    )


def progress(reports: Sequence[Recorded], after: int, token: str) -> Frame | None:
    """What one attempt's telemetry says, all its records since the last frame in one.

    Args:
        reports: Records of one attempt, in order.
        after: The partition's next offset once this frame is sent.
        token: The vector of positions after it.
    """
    known = [(one.offset, one.data) for one in reports if isinstance(one.data, TelemetryReported)]
    ticks = [tick for _, report in known for tick in report.ticks][-POINTS:]
    if not ticks:
        return None
    first, report = known[0]
    last = ticks[-1]
    told = {
        "type": PROGRESS,
        "jobId": report.job_id,
        "personId": report.person_id,
        "attempt": report.attempt,
        "fencingToken": report.fencing_token,
        "workerId": report.worker_id,
        "step": last.step,
        "totalSteps": last.total_steps,
        "at": last.at,
        **_camel(last.metrics),
        "points": [_point(tick) for tick in ticks],
    }
    return Frame(
        topic=RUN_TELEMETRY.name,
        partition=reports[0].partition,
        first=first,
        after=after,
        kind=PROGRESS,
        person_id=report.person_id,
        job_id=report.job_id,
        data=encoded(PROGRESS, told, token),
    )


def encoded(kind: str, told: Mapping[str, Any], token: str | None = None) -> bytes:
    """One message of `text/event-stream` (WHATWG HTML, section 9.2.5)."""
    name = b"" if token is None else b"id: " + token.encode() + b"\n"
    return name + b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(told) + b"\n\n"


def _anonymous(recorded: Recorded, kind: str, token: str) -> bytes | None:
    if recorded.topic != JOB_EVENTS.name or isinstance(recorded.data, QUIET):
        return None
    if isinstance(recorded.data, events.CommandRejected):
        return None
    pool = POOLS[recorded.partition] if recorded.partition < len(POOLS) else None
    told = {"type": QUEUE_CHANGED, "at": recorded.timestamp, "pool": pool, "cause": kind}
    return encoded(QUEUE_CHANGED, told, token)


def _point(tick: Tick) -> dict[str, Any]:
    return {"step": tick.step, "at": tick.at} | _camel(tick.metrics)


def _camel(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {camel_name(name): value for name, value in fields.items()}


def camel_name(name: str) -> str:
    """A field of the log as HTTP spells it."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
