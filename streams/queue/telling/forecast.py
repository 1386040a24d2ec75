"""When a waiting job should start and end, and between which bounds.

The line is played forward three times on the workers that are there: with run times at the lower
end of what was measured, at the mean, and at the upper end. What nobody can know is left out: new
submissions, failures, workers that come and go.
"""

import datetime
from collections.abc import Mapping

import msgspec

from schemas.why import Why
from streams.queue.line.shapes import Shape
from streams.queue.placing.rooms import Room, Running, gpus_for, need_in, room, suits
from streams.queue.state import Job, QueueState
from streams.queue.telling.position import expected_s, in_line, waits_for

AHEAD_AT_MOST = 2_000  # jobs that are played forward; behind more than these no time is told
SPREADS = (-1.0, 0.0, 2.0)  # mean deviations from the mean: earliest, expected, latest


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A time that is not known yet, and its bounds."""

    earliest: datetime.datetime
    expected: datetime.datetime
    latest: datetime.datetime


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What may be expected of a job that is not over."""

    job_id: str
    position: int | None  # in line, from 1; None: it is not in line
    start: Span | None  # None: it does not wait in line, or nothing can be said
    end: Span | None
    waits_for: tuple[Why, ...]


def forecast(state: QueueState, job_id: str, now: datetime.datetime) -> Forecast | None:
    """When a job should start and end; None for one that is over or unknown.

    Args:
        state: Of its pool.
        job_id: The job.
        now: The time from which on the line is played forward.
    """
    job = state.jobs.get(job_id)
    if job is None:
        return None
    waits = waits_for(state, job_id, now)
    if job.lease is not None:
        ends = [_lease_end(state, job, spread, now) for spread in SPREADS]
        began = Span(**dict.fromkeys(Span.__struct_fields__, job.lease.granted))
        return Forecast(job_id=job_id, position=None, start=began, end=_span(ends), waits_for=waits)
    if job_id not in state.line:
        return Forecast(job_id=job_id, position=None, start=None, end=None, waits_for=waits)
    line = in_line(state)
    rank = line.index(job_id) + 1
    start = end = None
    if rank <= AHEAD_AT_MOST and not state.paused:
        played = [_play(state, line[:rank], spread, now) for spread in SPREADS]
        times = [one for one in played if one is not None]
        if len(times) == len(SPREADS):
            start, end = _span([one[0] for one in times]), _span([one[1] for one in times])
    return Forecast(job_id=job_id, position=rank, start=start, end=end, waits_for=waits)


def _span(times: list[datetime.datetime]) -> Span:
    earliest, expected, latest = sorted(times)
    return Span(earliest=earliest, expected=expected, latest=latest)


def _seconds(state: QueueState, job: Job, kind: str, spread: float) -> float:
    """A run time, so many deviations from the mean and never past the attempt's limit."""
    mean, deviation = expected_s(state, job, kind)
    left = 1.0 - job.checkpoint_step / job.total_steps if job.total_steps else 1.0
    return min(job.shape.limit_s, max(1.0, (mean + spread * deviation) * left))


def _lease_end(
    state: QueueState, job: Job, spread: float, now: datetime.datetime
) -> datetime.datetime:
    lease = job.lease
    if lease is None:
        return now
    worker = state.workers.get(lease.worker_id)
    kind = "" if worker is None else worker.joined.gpu_kind
    mean, deviation = expected_s(state, job, kind)
    seconds = min(lease.limit_s, max(1.0, mean + spread * deviation))
    return max(now, lease.granted + datetime.timedelta(seconds=seconds))


def _play(
    state: QueueState, line: list[str], spread: float, now: datetime.datetime
) -> tuple[datetime.datetime, datetime.datetime] | None:
    """Start and end of the last job of a line; None if no worker that is there can hold it."""
    rooms = {
        worker_id: _ending(state, room(state, worker), spread, now)
        for worker_id, worker in state.workers.items()
        if worker.open
    }
    clocks = dict.fromkeys(rooms, now)
    last = None
    for job_id in line:
        last = _next(state, state.jobs[job_id], rooms, clocks, spread)
    return last


def _ending(state: QueueState, found: Room, spread: float, now: datetime.datetime) -> Room:
    """A worker's room, with its leases ending when they should instead of at their limits."""
    for job_id, running in list(found.running.items()):
        ends = _lease_end(state, state.jobs[job_id], spread, now)
        found.running[job_id] = running._replace(ends=ends)
    return found


def _next(
    state: QueueState,
    job: Job,
    rooms: Mapping[str, Room],
    clocks: dict[str, datetime.datetime],
    spread: float,
) -> tuple[datetime.datetime, datetime.datetime] | None:
    """Put a job where it can start first."""
    best: tuple[datetime.datetime, str] | None = None
    for worker_id, found in rooms.items():
        start = _first_start(state, job.shape, found, clocks[worker_id])
        if start is not None and (best is None or (start, worker_id) < best):
            best = start, worker_id
    if best is None:
        return None
    start, worker_id = best
    found = rooms[worker_id]
    for other in [one.job_id for one in found.running.values() if one.ends <= start]:
        found.leave(other)
    clocks[worker_id] = start
    need = need_in(state, job.shape, found)
    gpus = tuple(gpus_for(found, job.shape, need, state.policy)[: job.shape.gpus])
    seconds = _seconds(state, job, found.joined.gpu_kind, spread)
    ends = start + datetime.timedelta(seconds=seconds)
    found.take(Running(ends, job.job_id, gpus, need, job.shape.disk_bytes))
    return start, ends


def _first_start(
    state: QueueState, shape: Shape, found: Room, clock: datetime.datetime
) -> datetime.datetime | None:
    if not suits(found, shape):
        return None
    need = need_in(state, shape, found)
    if gpus_for(found, shape, need, state.policy):
        return clock
    left = found.copy()
    for running in sorted(found.running.values()):
        left.leave(running.job_id)
        if gpus_for(left, shape, need, state.policy):
            return max(clock, running.ends)
    return None
