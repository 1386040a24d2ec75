"""A decision being made: what is settled so far, over a state that is left alone.

`decide` may not change the state, and yet one command can end several attempts and grant several
leases. A draft holds what its own events change: rooms on workers, the line, what people have used
and may spend. `streams.queue.filling` grants what there is room for.
"""

import datetime
from collections.abc import Iterator

from schemas import events
from schemas.errors import DependencyFailed
from schemas.events import Event
from schemas.types import JobState
from schemas.why import Why
from streams.queue import money
from streams.queue.ending import Ending
from streams.queue.line.ordering import Ordering
from streams.queue.line.waiting import in_order
from streams.queue.placing.rooms import Room, empty_room, room, slots_of
from streams.queue.retries import following
from streams.queue.settling import delays
from streams.queue.state import Job, Lease, QueueState, Worker
from streams.queue.usage import due_s, settled


class Draft:
    """The events of one decision, and what they leave free."""

    def __init__(self, state: QueueState, now: datetime.datetime) -> None:
        self.state = state
        self.now = now
        self.events: list[Event] = []
        self.extended = datetime.timedelta(0)  # by how much this decision extends every lease
        self.order = Ordering(state, now)
        self.fresh: dict[str, Job] = {}  # submitted by this very decision
        self.ended: dict[str, JobState] = {}  # jobs that it ends
        self.datasets: dict[str, str] = {}  # of those of them that succeed
        self.granted = 0
        self.paused = state.paused
        self.again = False  # numbers change by it: what follows from them, the next one decides
        self.kept_out: set[str] = set()  # people whose jobs it keeps out of the line
        self.reserved: dict[str, float] = {}  # of budgets, by person: what is added
        self.spent: dict[str, float] = {}
        self.vacated: dict[str, None] = {}  # jobs whose leases it ends
        self._joined: dict[str, events.WorkerJoined] = {}
        self._opened: set[str] = set()  # workers that are given jobs again
        self._closed: set[str] = set()
        self._rooms: dict[str, Room] | None = None

    def note(self, event: Event) -> None:
        """Add an event."""
        self.events.append(event)

    def job(self, job_id: str) -> Job:
        """A job that is not over, or was submitted just now."""
        return self.fresh.get(job_id) or self.state.jobs[job_id]

    def lives(self) -> Iterator[tuple[Job, Lease]]:
        """The leases that live, with their jobs."""
        for job_id in self.state.leased:
            job = self.state.jobs[job_id]
            if job.lease is not None:
                yield job, job.lease

    def concurrent(self) -> int:
        """How many leases there are in the pool now."""
        return len(self.state.leased) - len(self.vacated) + self.granted

    def rooms(self) -> dict[str, Room]:
        """What every worker that is present has left. Asked for when all endings are noted."""
        if self._rooms is None:
            self._rooms = {
                worker_id: self._room(worker)
                for worker_id, worker in self._workers()
                if worker.present
            }
        return self._rooms

    def has_room(self) -> bool:
        """Whether any worker that is given jobs has a free slot: told without its whole room."""
        if self._rooms is not None:
            return any(room.open and room.slots > 0 for room in self._rooms.values())
        return any(
            self._is_open(worker)
            and self._holds(worker) < slots_of(self.state.policy, worker.joined)
            for _, worker in self._workers()
        )

    def empty_rooms(self) -> list[Room]:
        """What every worker that is present would have if it held nothing."""
        state = self.state
        return [
            empty_room(state.policy, state.prices, worker)
            for _, worker in self._workers()
            if worker.present
        ]

    def wait(self, job: Job) -> None:
        """A job waits in line from now on, unless its person's jobs are paused."""
        if job.person_id not in self.state.paused_people and job.person_id not in self.kept_out:
            self.order.add(job)

    def join(self, joined: events.WorkerJoined) -> None:
        """A worker has room. What its earlier incarnation held must have ended before."""
        self.note(joined)
        self._joined[joined.worker_id] = joined
        self._closed.discard(joined.worker_id)

    def reopen(self, worker_id: str) -> None:
        """A worker takes jobs again."""
        self._opened.add(worker_id)

    def close(self, worker_id: str) -> None:
        """A worker takes no more jobs."""
        self._closed.add(worker_id)

    def end(self, job: Job, lease: Lease, ending: Ending) -> None:
        """An attempt is over: the job is cancelled, paused, tried again or given up."""
        use = settled(lease, self.now)
        self.note(
            events.AttemptEnded(
                job_id=job.job_id,
                person_id=job.person_id,
                attempt=lease.attempt,
                worker_id=lease.worker_id,
                fencing_token=lease.token,
                outcome=ending.outcome,
                cause=ending.cause,
                code=ending.code,
                detail=ending.detail,
                costs_attempt=ending.costs,
                gpu_seconds=use.gpu_seconds,
                cost=use.cost,
                energy_wh=ending.energy_wh,
                peak_bytes=ending.peak_bytes,
                telemetry=ending.telemetry,
            )
        )
        self.vacate(job, lease)
        after = following(self.state, job, lease, ending, self.now)
        self.note(after)
        match after:
            case events.JobRetryScheduled() if after.not_before <= self.now:
                self.wait(job)
            case events.JobFailed():
                self.over(job, "failed")
            case events.JobCancelled():
                self.over(job, "cancelled")
            case _:
                pass

    def vacate(self, job: Job, lease: Lease) -> None:
        """A lease's room, and what it kept of the budget, are free again."""
        self.vacated[job.job_id] = None
        use = settled(lease, self.now)
        self.order.charge(job.person_id, due_s(lease, self.now, over=True))
        if lease.month == money.month_of(self.now):
            who = job.person_id
            self.reserved[who] = self.reserved.get(who, 0.0) - lease.reserved_cost
            self.spent[who] = self.spent.get(who, 0.0) + use.cost
        if lease.reserved_cost > use.cost:
            self.unblock(job.person_id)

    def unblock(self, person_id: str) -> None:
        """A person may spend more: what waited for that is in line again."""
        for job_id in self.state.blocked.get(person_id, ()):
            if not self.order.left(job_id):
                self.wait(self.state.jobs[job_id])

    def over(self, job: Job, state: JobState) -> None:
        """A job has ended; those that wait for it go on, or end with it."""
        self.ended[job.job_id] = state
        self.order.drop(job.job_id)
        for job_id in self.state.dependants.get(job.job_id, ()):
            other = self.state.jobs.get(job_id)
            if other is None or job_id in self.ended:
                continue
            if state != "succeeded":
                self._fall(other, job.job_id, state)
            elif other.state == "scheduled" and not self.lacking(other.submitted.after):
                self.ready(other, Why(code="dependency-succeeded", subject=job.job_id))

    def ready(self, job: Job, why: Why) -> None:
        """A scheduled job has what it waited for, unless its time has not come."""
        if job.not_before is not None and job.not_before > self.now:
            return
        self.note(events.JobReadied(job_id=job.job_id, person_id=job.person_id, why=(why,)))
        self.wait(job)

    def lacking(self, job_ids: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the jobs that have not succeeded yet."""
        return tuple(one for one in job_ids if self.state_of(one) != "succeeded")

    def state_of(self, job_id: str) -> JobState | None:
        """The state of a job that is over; None for one that is not."""
        known = self.state.over.get(job_id)
        return self.ended.get(job_id) if known is None else known.state

    def due(self) -> Iterator[Job]:
        """The jobs in line again whose time came since the last event."""
        for at, job_id in in_order(self.state.delayed):
            if at > self.now:
                return
            if delays(self.state, at, job_id) and not self.order.left(job_id):
                yield self.state.jobs[job_id]

    def _fall(self, job: Job, cause: str, state: JobState) -> None:
        self.note(
            events.JobCancelled(
                job_id=job.job_id,
                person_id=job.person_id,
                reason=f"job {cause}, which it waits for, has {state}",
                code=DependencyFailed.code,
            )
        )
        self.over(job, "cancelled")

    def _workers(self) -> Iterator[tuple[str, Worker]]:
        for worker_id, worker in self.state.workers.items():
            if worker_id not in self._joined:
                yield worker_id, worker
        for worker_id, joined in self._joined.items():
            known = self.state.workers.get(worker_id)
            draining = known is not None and known.draining
            hot = known is not None and known.hot and _same(known, joined)
            held = {} if known is None else known.held
            yield worker_id, Worker(joined, draining=draining, hot=hot, held=held)

    def _room(self, worker: Worker) -> Room:
        found = (
            room(self.state, worker)
            if worker.held
            else empty_room(self.state.policy, self.state.prices, worker)
        )
        for job_id in self.vacated:
            found.leave(job_id)
        found.open = self._is_open(worker)
        return found

    def _is_open(self, worker: Worker) -> bool:
        name = worker.joined.worker_id
        return name not in self._closed and (worker.open or name in self._opened)

    def _holds(self, worker: Worker) -> int:
        return len(worker.held) - sum(job_id in worker.held for job_id in self.vacated)


def _same(known: Worker, joined: events.WorkerJoined) -> bool:
    """Whether it is the process that is known, which tells anew what it has."""
    return known.joined.incarnation == joined.incarnation
