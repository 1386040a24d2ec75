"""What the log's events mean for this worker: pure, no clock and no socket.

A worker may hold several leases, of a job each. The decider's clock and this machine's never meet:
an acknowledgement counts from the moment before its request was sent, so this end of the lease
always comes first.
"""

import datetime
from collections.abc import Mapping

import msgspec

from schemas import events
from schemas.commands import RenewLease
from schemas.envelope import Envelope, Recorded
from schemas.errors import StaleReport
from schemas.types import StopReason

MARGIN_MOST_S = 30.0
MARGIN_SHARE = 8  # of short leases, as tests have them


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """The attempt that this worker may run."""

    grant: events.LeaseGranted
    ends: float  # boot time in seconds at which its child must have stopped
    cancelling: bool = False


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where this worker stands on the log."""

    worker_id: str
    incarnation: str
    joined: bool = False
    held: Mapping[str, Held] = {}  # by job


class Renewal(msgspec.Struct, frozen=True, kw_only=True):
    """A renewal that is on its way, or was answered."""

    job_id: str
    fencing_token: int
    sent: float  # boot time in seconds


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """Run the attempt; whatever ran of its job before is void."""

    held: Held


class AboutChild(msgspec.Struct, frozen=True, kw_only=True):
    """Something that concerns one child alone: the one that runs this job."""

    job_id: str


class Prolong(AboutChild, frozen=True, kw_only=True):
    """The child may run until the lease's new end."""

    ends: float


class Cancel(AboutChild, frozen=True, kw_only=True):
    """Stop the child: somebody asked for it."""


class Halt(AboutChild, frozen=True, kw_only=True):
    """Stop the child at a checkpoint: the queue asked for it."""

    why: StopReason
    within_s: float


class Drop(AboutChild, frozen=True, kw_only=True):
    """Kill the child and say nothing: its lease is void."""


class Settle(AboutChild, frozen=True, kw_only=True):
    """The job succeeded: the child may clear up and end."""


class Confirm(AboutChild, frozen=True, kw_only=True):
    """A checkpoint is noted: earlier ones are of no use."""

    checkpoint: str


class JoinAgain(msgspec.Struct, frozen=True, kw_only=True):
    """An operator declared this worker lost: it needs a new incarnation."""


class GiveUp(msgspec.Struct, frozen=True, kw_only=True):
    """Another process joined under this worker's id."""


Action = Start | AboutChild | JoinAgain | GiveUp


def margin(ttl_s: float) -> float:
    """How long before the end of a lease, or of a grace, its child must have stopped, in seconds.

    Examples:
        >>> margin(720.0), margin(8.0)
        (30.0, 1.0)
    """
    return min(MARGIN_MOST_S, ttl_s / MARGIN_SHARE)


def observe(
    standing: Standing,
    recorded: Recorded,
    *,
    now: float,
    wall: datetime.datetime,
    renewals: Mapping[str, Renewal],
) -> tuple[Standing, list[Action]]:
    """Where the worker stands after an event of its pool, and what it must do.

    What is said of one job changes nothing for another one.

    Args:
        standing: Where it stood.
        recorded: The event.
        now: Boot time in seconds: it goes on while the machine sleeps.
        wall: This machine's time of day; it tells how old a grant is.
        renewals: Those that were sent, by the command's id.
    """
    event, envelope = recorded.data, recorded.envelope
    match event:
        case events.WorkerJoined() | events.WorkerLost() if _is_me(standing, event):
            return _about_me(standing, event)
        case events.LeaseGranted() if _is_mine(standing, event):
            return _granted(standing, event, now, (wall - envelope.time).total_seconds())
        case events.CommandRejected() if _is_stale(event):
            return _refused(standing, renewals.get(envelope.command or ""))
        case events.JobCancelRequested() | events.AboutAttempt() if event.job_id in standing.held:
            return _of_job(standing, event, envelope, renewals)
    return standing, []


def _of_job(
    standing: Standing,
    event: events.JobCancelRequested | events.AboutAttempt,
    envelope: Envelope,
    renewals: Mapping[str, Renewal],
) -> tuple[Standing, list[Action]]:
    """After an event of a job that we hold."""
    held = standing.held[event.job_id]
    if isinstance(event, events.JobCancelRequested):
        changed = msgspec.structs.replace(held, cancelling=True)
        return _with(standing, changed), [Cancel(job_id=event.job_id)]
    if event.fencing_token != held.grant.fencing_token:
        return standing, []
    renewal = renewals.get(envelope.command or "")
    return _of_attempt(standing, held, event, None if renewal is None else renewal.sent)


def _of_attempt(
    standing: Standing, held: Held, event: events.AboutAttempt, sent: float | None
) -> tuple[Standing, list[Action]]:
    """After an event of the attempt that we hold; `sent`: when the renewal it answers was."""
    job_id = event.job_id
    match event:
        case events.LeaseRenewed():
            return _renewed(standing, held, event.ttl_s, sent)
        case events.CheckpointNoted():
            return standing, [Confirm(job_id=job_id, checkpoint=event.checkpoint)]
        case events.AttemptStopRequested():
            # From now on, whatever this machine's clock says: a wrong one would cost the steps
            # since the last checkpoint. Too late is told by the next renewal, which is refused.
            within_s = event.grace_s - margin(event.grace_s)
            return standing, [Halt(job_id=job_id, why=event.stop, within_s=within_s)]
        case events.JobSucceeded():
            return _without(standing, job_id), [Settle(job_id=job_id)]
        case events.AttemptEnded():
            return _without(standing, job_id), [Drop(job_id=job_id)]
    return standing, []


def _about_me(
    standing: Standing, event: events.WorkerJoined | events.WorkerLost
) -> tuple[Standing, list[Action]]:
    drops: list[Action] = [Drop(job_id=job_id) for job_id in standing.held]
    holding_nothing = msgspec.structs.replace(standing, held={})
    if event.incarnation == standing.incarnation:
        if isinstance(event, events.WorkerLost):
            return holding_nothing, [*drops, JoinAgain()]
        return msgspec.structs.replace(standing, joined=True), []
    if standing.joined and isinstance(event, events.WorkerJoined):
        return holding_nothing, [*drops, GiveUp()]
    return standing, []  # of an earlier incarnation, from before we joined


def _granted(
    standing: Standing, grant: events.LeaseGranted, now: float, age_s: float
) -> tuple[Standing, list[Action]]:
    ends = now - max(age_s, 0.0) + grant.ttl_s - margin(grant.ttl_s)
    held = Held(grant=grant, ends=ends)
    if ends <= now:  # read so late that it is over: the decider will grant it again
        return _without(standing, grant.job_id), [Drop(job_id=grant.job_id)]
    return _with(standing, held), [Start(held=held)]


def _renewed(
    standing: Standing, held: Held, ttl_s: float, sent: float | None
) -> tuple[Standing, list[Action]]:
    if sent is None:
        return standing, []
    ends = max(held.ends, sent + ttl_s - margin(ttl_s))
    changed = msgspec.structs.replace(held, ends=ends)
    return _with(standing, changed), [Prolong(job_id=held.grant.job_id, ends=ends)]


def _refused(standing: Standing, renewal: Renewal | None) -> tuple[Standing, list[Action]]:
    """After the decider said that a lease is not ours; of ours, if it is the one we hold now."""
    held = None if renewal is None else standing.held.get(renewal.job_id)
    if renewal is None or held is None or held.grant.fencing_token != renewal.fencing_token:
        return standing, []
    return _without(standing, renewal.job_id), [Drop(job_id=renewal.job_id)]


def _with(standing: Standing, held: Held) -> Standing:
    return msgspec.structs.replace(standing, held={**standing.held, held.grant.job_id: held})


def _without(standing: Standing, job_id: str) -> Standing:
    left = {name: held for name, held in standing.held.items() if name != job_id}
    return msgspec.structs.replace(standing, held=left)


def _is_me(standing: Standing, event: events.WorkerJoined | events.WorkerLost) -> bool:
    return event.worker_id == standing.worker_id


def _is_mine(standing: Standing, grant: events.LeaseGranted) -> bool:
    return (grant.worker_id, grant.incarnation) == (standing.worker_id, standing.incarnation)


def _is_stale(event: events.CommandRejected) -> bool:
    return event.kind == RenewLease.TYPE and event.code == StaleReport.code
