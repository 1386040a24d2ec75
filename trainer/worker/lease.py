"""What the log's events mean for this worker: pure, no clock and no socket.

A worker runs one job at a time. The decider's clock and this machine's never meet: an
acknowledgement counts from the moment before its request was sent, so this end of the lease always
comes first.
"""

import datetime

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
    held: Held | None = None


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """Run the attempt; whatever ran before it is void."""

    held: Held


class Prolong(msgspec.Struct, frozen=True, kw_only=True):
    """The child may run until the lease's new end."""

    ends: float


class Cancel(msgspec.Struct, frozen=True, kw_only=True):
    """Stop the child: somebody asked for it."""


class Halt(msgspec.Struct, frozen=True, kw_only=True):
    """Stop the child at a checkpoint: the queue asked for it."""

    why: StopReason
    within_s: float


class Drop(msgspec.Struct, frozen=True, kw_only=True):
    """Kill the child and say nothing: its lease is void."""


class Settle(msgspec.Struct, frozen=True, kw_only=True):
    """The job succeeded: the child may clear up and end."""


class Confirm(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint is noted: earlier ones are of no use."""

    checkpoint: str


class JoinAgain(msgspec.Struct, frozen=True, kw_only=True):
    """An operator declared this worker lost: it needs a new incarnation."""


class GiveUp(msgspec.Struct, frozen=True, kw_only=True):
    """Another process joined under this worker's id."""


Action = Start | Prolong | Cancel | Halt | Drop | Settle | Confirm | JoinAgain | GiveUp


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
    renewals: dict[str, float],
) -> tuple[Standing, list[Action]]:
    """Where the worker stands after an event of its pool, and what it must do.

    Args:
        standing: Where it stood.
        recorded: The event.
        now: Boot time in seconds: it goes on while the machine sleeps.
        wall: This machine's time of day; it tells how old a grant is.
        renewals: When each renewal was sent, boot time by the command's id.
    """
    event, envelope = recorded.data, recorded.envelope
    held = standing.held
    match event:
        case events.WorkerJoined() | events.WorkerLost() if _is_me(standing, event):
            return _about_me(standing, event)
        case events.LeaseGranted() if _is_mine(standing, event):
            return _granted(standing, event, now, (wall - envelope.time).total_seconds())
        case _ if held is None:
            return standing, []
        case events.CommandRejected() if _is_refused(event, envelope, renewals):
            return _without(standing), [Drop()]
        case events.JobCancelRequested() if event.job_id == held.grant.job_id:
            changed = msgspec.structs.replace(held, cancelling=True)
            return msgspec.structs.replace(standing, held=changed), [Cancel()]
        case events.AboutAttempt() if _is_current(held, event):
            return _of_attempt(standing, held, event, renewals.get(envelope.command or ""))
    return standing, []


def _of_attempt(
    standing: Standing, held: Held, event: events.AboutAttempt, sent: float | None
) -> tuple[Standing, list[Action]]:
    """After an event of the attempt that we hold; `sent`: when the renewal it answers was."""
    match event:
        case events.LeaseRenewed():
            return _renewed(standing, held, event.ttl_s, sent)
        case events.CheckpointNoted():
            return standing, [Confirm(checkpoint=event.checkpoint)]
        case events.AttemptStopRequested():
            # From now on, whatever this machine's clock says: a wrong one would cost the steps
            # since the last checkpoint. Too late is told by the next renewal, which is refused.
            within_s = event.grace_s - margin(event.grace_s)
            return standing, [Halt(why=event.stop, within_s=within_s)]
        case events.JobSucceeded():
            return _without(standing), [Settle()]
        case events.AttemptEnded():
            return _without(standing), [Drop()]
    return standing, []


def _about_me(
    standing: Standing, event: events.WorkerJoined | events.WorkerLost
) -> tuple[Standing, list[Action]]:
    if event.incarnation == standing.incarnation:
        if isinstance(event, events.WorkerLost):
            return _without(standing), [Drop(), JoinAgain()]
        return msgspec.structs.replace(standing, joined=True), []
    if standing.joined and isinstance(event, events.WorkerJoined):
        return _without(standing), [Drop(), GiveUp()]
    return standing, []  # of an earlier incarnation, from before we joined


def _granted(
    standing: Standing, grant: events.LeaseGranted, now: float, age_s: float
) -> tuple[Standing, list[Action]]:
    ends = now - max(age_s, 0.0) + grant.ttl_s - margin(grant.ttl_s)
    held = Held(grant=grant, ends=ends)
    if ends <= now:  # read so late that it is over: the decider will grant it again
        return _without(standing), [Drop()]
    return msgspec.structs.replace(standing, held=held), [Start(held=held)]


def _renewed(
    standing: Standing, held: Held, ttl_s: float, sent: float | None
) -> tuple[Standing, list[Action]]:
    if sent is None:
        return standing, []
    ends = max(held.ends, sent + ttl_s - margin(ttl_s))
    changed = msgspec.structs.replace(held, ends=ends)
    return msgspec.structs.replace(standing, held=changed), [Prolong(ends=ends)]


def _without(standing: Standing) -> Standing:
    return msgspec.structs.replace(standing, held=None)


def _is_me(standing: Standing, event: events.WorkerJoined | events.WorkerLost) -> bool:
    return event.worker_id == standing.worker_id


def _is_mine(standing: Standing, grant: events.LeaseGranted) -> bool:
    return (grant.worker_id, grant.incarnation) == (standing.worker_id, standing.incarnation)


def _is_current(held: Held, event: events.AboutAttempt) -> bool:
    grant = held.grant
    return (event.job_id, event.fencing_token) == (grant.job_id, grant.fencing_token)


def _is_refused(
    event: events.CommandRejected, envelope: Envelope, renewals: dict[str, float]
) -> bool:
    """Whether the decider says that a lease we renewed is not ours."""
    stale = event.kind == RenewLease.TYPE and event.code == StaleReport.code
    return stale and envelope.command in renewals
