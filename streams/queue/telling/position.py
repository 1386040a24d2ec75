"""Where a job stands in line, and what it waits for. For readers: it looks at the whole line."""

import datetime

from schemas.why import Why
from streams.queue.money import cost
from streams.queue.order import OVERDUE
from streams.queue.placing.placement import could_hold, kept_back, least_need
from streams.queue.placing.rooms import empty_room, gpus_for, need_in, room, slots_of, suits
from streams.queue.state import Job, QueueState


def expected_s(state: QueueState, job: Job, kind: str = "") -> tuple[float, float]:
    """How long a job should run on a kind of GPU: seconds, and their mean deviation."""
    return state.measured.expected(state.policy, job.recipe, job.submitted.estimate_s, kind)


def in_line(state: QueueState) -> list[str]:
    """The jobs in line, in the order in which they should be leased.

    People take turns: each further job of a person counts as if those before it had been charged
    with what they should use. Sizes are left out: who fits first may go first.
    """
    scale = state.shares.scale(state.time)
    used: dict[str, float] = {}
    keys: list[tuple[int, float, int, str]] = []
    standings = sorted(state.line.standings.items(), key=lambda one: (one[1].level, one[1].number))
    for job_id, standing in standings:
        job = state.jobs[job_id]
        if standing.level == OVERDUE:
            keys.append((OVERDUE, 0.0, standing.number, job_id))
            continue
        before = used.get(job.person_id, 0.0)
        use = state.shares.standing(job.person_id, before)
        keys.append((standing.level, use, standing.number, job_id))
        used[job.person_id] = before + expected_s(state, job)[0] * job.shape.gpus * scale
    return [job_id for *_, job_id in sorted(keys)]


def position(state: QueueState, job_id: str) -> int | None:
    """A job's rank among those in line, from 1; None if it is not in line."""
    return in_line(state).index(job_id) + 1 if job_id in state.line else None


def waits_for(
    state: QueueState, job_id: str, now: datetime.datetime, *, rank: int | None = None
) -> tuple[Why, ...]:
    """What keeps a job from running, the nearest cause first; () for one that is over.

    Args:
        state: Of its pool.
        job_id: The job.
        now: The time from which on it waits.
        rank: Its position, where it is known already: without it the whole line is looked at.
    """
    job = state.jobs.get(job_id)
    if job is None:
        return ()
    if job.lease is not None:
        return (Why(code="running", subject=job.lease.worker_id),)
    found = _kept_out(state, job, now)
    if job_id in state.line:
        found += _in_line(state, job, rank)
    return tuple(found)


def _kept_out(state: QueueState, job: Job, now: datetime.datetime) -> list[Why]:
    """What keeps a job out of the line, or the whole line from moving."""
    found: list[Why] = []
    if job.held:
        found.append(Why(code="held"))
    if job.paused:
        found.append(Why(code="paused"))
    for other in job.submitted.after if job.state == "scheduled" else ():
        ended = state.over.get(other)
        if ended is None or ended.state != "succeeded":
            found.append(Why(code="after-job", subject=other))
    if job.blocked:
        found.append(_over_budget(state, job, now))
    if job.not_before is not None and job.not_before > now:
        left = (job.not_before - now).total_seconds()
        found.append(Why(code="until", subject=job.not_before.isoformat(), have=left))
    if job.person_id in state.paused_people:
        found.append(Why(code="person-paused", subject=job.person_id))
    if state.paused:
        found.append(Why(code="pool-paused"))
    return found


def _over_budget(state: QueueState, job: Job, now: datetime.datetime) -> Why:
    account = state.accounts.of(job.person_id, now.strftime("%Y-%m"))
    rooms = [
        empty_room(state.policy, state.prices, one) for one in state.workers.values() if one.present
    ]
    prices = [room.price for room in rooms if suits(room, job.shape)]
    least = cost(job.submitted.timeout_s, job.shape.gpus, min(prices, default=0.0))
    return Why(
        code="over-budget",
        subject=job.person_id,
        have=round(account.spent + account.reserved + least, 6),
        limit=state.accounts.cap(state.policy, job.person_id),
    )


def _in_line(state: QueueState, job: Job, rank: int | None) -> list[Why]:
    """What a job in line lacks: a worker, room on one, or its turn."""
    workers = [worker for worker in state.workers.values() if worker.open]
    if not workers:
        return [Why(code="no-worker")]
    empty = [empty_room(state.policy, state.prices, worker) for worker in workers]
    if not could_hold(state, job.shape, empty):
        need = float(least_need(state, job.shape, empty))
        why = Why(code="fits-no-worker", subject=job.job_id, limit=need)
        return [why, *kept_back(state, job.shape, empty)]
    found: list[Why] = []
    ahead = (rank or position(state, job.job_id) or 1) - 1
    if ahead:
        found.append(Why(code="ahead", have=float(ahead)))
    most, running = state.policy.max_concurrent_jobs, len(state.leased)
    if most is not None and running >= most:
        found.append(Why(code="most-at-once", have=float(running), limit=float(most)))
    rooms = [room(state, worker) for worker in workers]
    fitting = [one for one in rooms if suits(one, job.shape)]
    if all(one.slots < 1 for one in fitting):
        slots = sum(slots_of(state.policy, one.joined) for one in fitting)
        return [*found, Why(code="all-slots-taken", limit=float(slots))]
    for one in fitting:
        need = need_in(state, job.shape, one)
        if gpus_for(one, job.shape, need, state.policy):
            return found
    free = float(max(max(one.free) for one in fitting if one.slots > 0))
    limit = float(need_in(state, job.shape, fitting[0]))
    why = Why(code="no-room", subject=job.job_id, have=free, limit=limit)
    return [*found, why, *kept_back(state, job.shape, fitting)]
