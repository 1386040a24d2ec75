"""When a waiting job should start and end, and between which bounds.

The line is played forward three times on the workers that are there: with run times at the lower
end of what was measured, at the mean, and at the upper end. What nobody can know is left out: new
submissions, failures, workers that come and go.
"""

import datetime
import heapq
from collections.abc import Iterable, Mapping

import msgspec

from schemas.why import Why
from streams.queue.line.shapes import Shape
from streams.queue.placing.rooms import Room, gpus_for, need_in, room, suits
from streams.queue.state import Job, QueueState, Running
from streams.queue.telling.position import expected_s, in_line, waits_for

AHEAD_AT_MOST = 2_000  # jobs that are played forward; behind more than these no time is told
SPREADS = (-1.0, 0.0, 2.0)  # mean deviations from the mean: earliest, expected, latest

Times = dict[str, tuple[datetime.datetime, datetime.datetime]]  # job → start and end


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
    return forecasts(state, (job_id,), now).get(job_id)


def forecasts(
    state: QueueState,
    job_ids: Iterable[str],
    now: datetime.datetime,
    *,
    ahead_at_most: int = AHEAD_AT_MOST,
) -> dict[str, Forecast]:
    """When several jobs should start and end: the line is played forward once for all of them.

    Args:
        state: Of their pool.
        job_ids: The jobs; those that are over or unknown are left out.
        now: The time from which on the line is played forward.
        ahead_at_most: So many jobs are played forward; behind them no time is told.
    """
    wanted = [job_id for job_id in job_ids if job_id in state.jobs]
    # Whoever holds a lease stands in no line: then the line is not put in order.
    line = [] if all(state.jobs[job_id].lease for job_id in wanted) else in_line(state)
    ranks = {job_id: rank for rank, job_id in enumerate(line, 1)}
    known = (ranks.get(job_id, 0) for job_id in wanted)
    last = max((rank for rank in known if rank <= ahead_at_most), default=0)
    played: list[Times] = []
    if last and not state.paused:
        played = [_play(state, line[:last], spread, now) for spread in SPREADS]
    return {
        job_id: _forecast(state, state.jobs[job_id], ranks.get(job_id), played, now)
        for job_id in wanted
    }


def _forecast(
    state: QueueState, job: Job, rank: int | None, played: list[Times], now: datetime.datetime
) -> Forecast:
    job_id, start, end = job.job_id, None, None
    if job.lease is not None:
        start = Span(**dict.fromkeys(Span.__struct_fields__, job.lease.granted))
        end = _span([_lease_end(state, job, spread, now) for spread in SPREADS])
    elif played and all(job_id in times for times in played):
        start = _span([times[job_id][0] for times in played])
        end = _span([times[job_id][1] for times in played])
    waits = waits_for(state, job_id, now, rank=rank)
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


def _play(state: QueueState, line: list[str], spread: float, now: datetime.datetime) -> Times:
    """Start and end of the jobs of a line, but of those that no worker that is there can hold."""
    rooms = {
        worker_id: _ending(state, room(state, worker), spread, now)
        for worker_id, worker in state.workers.items()
        if worker.open
    }
    clocks = dict.fromkeys(rooms, now)
    ends = [_lease_end(state, state.jobs[job_id], spread, now) for job_id in state.leased]
    heapq.heapify(ends)
    most, found = state.policy.max_concurrent_jobs, Times()
    for job_id in line:
        first = now
        while most is not None and ends and len(ends) >= most:
            first = max(first, heapq.heappop(ends))
        times = (
            None if most == 0 else _next(state, state.jobs[job_id], rooms, clocks, spread, first)
        )
        if times is not None:
            found[job_id] = times
        if times is not None or first > now:
            heapq.heappush(ends, first if times is None else times[1])
    return found


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
    first: datetime.datetime,
) -> tuple[datetime.datetime, datetime.datetime] | None:
    """Put a job where it can start first, from a time on."""
    best: tuple[datetime.datetime, str] | None = None
    for worker_id, found in rooms.items():
        start = _first_start(state, job.shape, found, max(first, clocks[worker_id]))
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
