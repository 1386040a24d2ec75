"""Every state of a job and every event that moves it: the one table, from which docs are drawn.

An event that is not in the table for a job's state leaves the state as it is.
"""

from schemas import events
from schemas.events import Event
from schemas.types import JobState

TRANSITIONS: dict[tuple[JobState | None, type[Event]], JobState] = {
    (None, events.JobSubmitted): "queued",
    ("queued", events.JobDeferred): "scheduled",
    ("queued", events.LeaseGranted): "leased",
    ("queued", events.JobPaused): "paused",
    ("queued", events.JobCancelled): "cancelled",
    ("queued", events.JobExpired): "expired",
    ("scheduled", events.JobReadied): "queued",
    ("scheduled", events.JobPaused): "paused",
    ("scheduled", events.JobCancelled): "cancelled",
    ("paused", events.JobResumed): "queued",
    ("paused", events.JobCancelled): "cancelled",
    ("leased", events.JobStarted): "running",
    ("leased", events.AttemptEnded): "retrying",
    ("leased", events.JobSucceeded): "succeeded",
    ("running", events.AttemptEnded): "retrying",
    ("running", events.JobSucceeded): "succeeded",
    ("retrying", events.LeaseGranted): "leased",
    ("retrying", events.JobPaused): "paused",
    ("retrying", events.JobFailed): "failed",
    ("retrying", events.JobCancelled): "cancelled",
    ("retrying", events.JobExpired): "expired",
}


def next_state(state: JobState | None, kind: type[Event]) -> JobState | None:
    """The state of a job after an event of this kind; None while there is no job.

    Examples:
        >>> next_state("queued", events.LeaseGranted)
        'leased'
        >>> next_state("running", events.CheckpointNoted)
        'running'
    """
    return TRANSITIONS.get((state, kind), state)
