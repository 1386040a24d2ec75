"""A decision being made: what is settled so far, over a state that is left alone.

`decide` may not change the state, and yet one command can end several attempts and grant several
leases. A draft holds what its own events change: rooms on workers, and jobs that wait again.
"""

import datetime
import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from schemas import events
from schemas.events import Event
from schemas.types import Cause
from streams.queue.order import Key
from streams.queue.retries import backoff
from streams.queue.state import Job, Lease, QueueState, Worker


@dataclass(slots=True)
class Room:
    """What a worker has left for further jobs."""

    joined: events.WorkerJoined
    slots: int
    memory_bytes: int
    gpus: list[int]  # free indices, lowest first


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """A job that could be leased now."""

    key: Key
    job_id: str
    memory_bytes: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended. The fields are those of `AttemptEnded`."""

    outcome: str
    why: str  # in words, for the retry
    cause: Cause | None = None
    code: str | None = None
    detail: str = ""
    costs: bool = False
    retryable: bool = True


class Draft:
    """The events of one decision, and what they leave free."""

    def __init__(self, state: QueueState, now: datetime.datetime) -> None:
        self.state = state
        self.now = now
        self.events: list[Event] = []
        self.extended = datetime.timedelta(0)  # by how much this decision extends every lease
        self._rooms = {
            worker_id: room(state, worker)
            for worker_id, worker in state.workers.items()
            if worker.present and not worker.silent
        }
        self._fresh: dict[str, Job] = {}  # submitted by this very decision
        self._again: dict[int, list[Candidate]] = {}  # heaps of jobs that wait because of it
        self._gone: set[str] = set()  # granted by this decision
        self._lines: dict[int, Iterator[Candidate]] = {}
        self._heads: dict[int, Candidate | None] = {}

    def note(self, event: Event) -> None:
        """Add an event that leaves rooms and waiting line as they are."""
        self.events.append(event)

    def lives(self) -> Iterator[tuple[Job, Lease]]:
        """The leases that live, with their jobs."""
        for job_id in self.state.leased:
            job = self.state.jobs[job_id]
            if job.lease is not None:
                yield job, job.lease

    def enter(self, job: Job) -> None:
        """A new job waits."""
        self._fresh[job.job_id] = job
        self._wait(job)

    def join(self, joined: events.WorkerJoined) -> None:
        """A worker has room. What its earlier incarnation held must have ended before."""
        self.note(joined)
        known = self.state.workers.get(joined.worker_id)
        if known is not None and known.joined.incarnation == joined.incarnation and known.held:
            self._rooms[joined.worker_id] = room(self.state, Worker(joined, held=known.held))
        else:
            self._rooms[joined.worker_id] = room(self.state, Worker(joined))

    def hear(self, worker: Worker) -> None:
        """A silent worker may take jobs again."""
        self._rooms[worker.joined.worker_id] = room(self.state, worker)

    def close(self, worker_id: str) -> None:
        """A worker takes no more jobs."""
        self._rooms.pop(worker_id, None)

    def end(self, job: Job, lease: Lease, ending: Ending) -> None:
        """An attempt is over: the job is cancelled, tried again or given up."""
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
            )
        )
        self.vacate(lease)
        self.note(self._after(job, lease, ending))

    def vacate(self, lease: Lease) -> None:
        """A lease's slot, bytes and GPUs are free again."""
        left = self._rooms.get(lease.worker_id)
        if left is not None and left.joined.incarnation == lease.incarnation:
            left.slots += 1
            left.memory_bytes += lease.memory_bytes
            left.gpus = sorted([*left.gpus, *lease.gpus])

    def fill(self) -> None:
        """Grant leases until no worker that has room fits a job that is next in line for it."""
        if not any(left.slots > 0 for left in self._rooms.values()):
            return
        for memory, (key, job_id, _) in self.state.waiting.due(self.now):
            heapq.heappush(self._again.setdefault(memory, []), Candidate(key, job_id, memory))
        while (choice := self._choice()) is not None:
            self._grant(*choice)

    def _after(self, job: Job, lease: Lease, ending: Ending) -> Event:
        if job.cancelling is not None:
            return events.JobCancelled(
                job_id=job.job_id, person_id=job.person_id, reason=job.cancelling
            )
        policy = self.state.policy
        costly, free = job.costly + ending.costs, job.free + (not ending.costs)
        used_up = costly >= job.submitted.attempts_max or free >= policy.free_endings_max
        if not ending.retryable or used_up:
            return events.JobFailed(
                job_id=job.job_id,
                person_id=job.person_id,
                attempts=lease.attempt,
                code=ending.code or "run-failed",
                detail=ending.detail or ending.why,
            )
        endings = costly if ending.costs else max(0, free - policy.free_endings_at_once)
        not_before = self.now + backoff(policy, job.job_id, lease.attempt, endings)
        if not_before <= self.now:
            self._wait(job)
        return events.JobRetryScheduled(
            job_id=job.job_id,
            person_id=job.person_id,
            next_attempt=lease.attempt + 1,
            not_before=not_before,
            reason=ending.why,
        )

    def _wait(self, job: Job) -> None:
        candidate = Candidate(job.key, job.job_id, job.memory_bytes)
        heapq.heappush(self._again.setdefault(job.memory_bytes, []), candidate)

    def _choice(self) -> tuple[Candidate, Room, bool] | None:
        """The next job to lease, its worker, and whether nobody at all is before it in line.

        Each worker keeps itself for the first job in line that it could hold when it is empty, so
        no job is overtaken for ever by smaller ones, and one that fits no worker holds up nobody.
        """
        heads = [head for memory in self._sizes() if (head := self._head(memory)) is not None]
        if not heads:
            return None
        found: tuple[Candidate, int, str] | None = None
        for worker_id, left in self._rooms.items():
            fitting = [one for one in heads if one.memory_bytes <= left.joined.memory_bytes]
            if left.slots < 1 or not fitting:
                continue
            first = min(fitting)
            if first.memory_bytes > left.memory_bytes:
                continue
            offer = (first, left.memory_bytes, worker_id)  # of several workers, the one least free
            found = offer if found is None else min(found, offer)
        if found is None:
            return None
        return found[0], self._rooms[found[2]], found[0] == min(heads)

    def _sizes(self) -> set[int]:
        return self.state.waiting.ready.keys() | self._again.keys()

    def _head(self, memory: int) -> Candidate | None:
        """The first in line of one size, whether it waited before or waits because of this."""
        if memory not in self._lines:
            self._lines[memory] = (
                Candidate(key, job_id, memory)
                for key, job_id, _ in self.state.waiting.in_line(memory)
            )
            self._heads[memory] = next(self._lines[memory], None)
        head = self._heads[memory]
        again = self._again.get(memory)
        return min((one for one in (head, again[0] if again else None) if one), default=None)

    def _take(self, candidate: Candidate) -> None:
        memory = candidate.memory_bytes
        again = self._again.get(memory)
        if again and again[0] == candidate:
            heapq.heappop(again)
        else:
            self._heads[memory] = next(self._lines[memory], None)

    def _grant(self, candidate: Candidate, left: Room, nobody_before: bool) -> None:
        self._take(candidate)
        job = self._fresh.get(candidate.job_id) or self.state.jobs[candidate.job_id]
        gpus = tuple(left.gpus[:1])
        left.slots -= 1
        left.memory_bytes -= candidate.memory_bytes
        left.gpus = left.gpus[1:]
        self.note(self._lease(job, left.joined, gpus, nobody_before))

    def _lease(
        self, job: Job, worker: events.WorkerJoined, gpus: tuple[int, ...], nobody_before: bool
    ) -> events.LeaseGranted:
        granted = sum(isinstance(event, events.LeaseGranted) for event in self.events)
        return events.LeaseGranted(
            job_id=job.job_id,
            person_id=job.person_id,
            attempt=job.attempt + 1,
            worker_id=worker.worker_id,
            incarnation=worker.incarnation,
            gpus=gpus,
            memory_bytes=job.memory_bytes,
            fencing_token=self.state.token + granted + 1,
            ttl_s=self.state.policy.lease_ttl_s,
            reason=self._reason(job, worker, nobody_before),
            checkpoint=job.checkpoint,
            checkpoint_step=job.checkpoint_step,
            dataset=job.dataset,
            recipe=job.recipe,
            timeout_s=job.submitted.timeout_s,
        )

    def _reason(self, job: Job, worker: events.WorkerJoined, nobody_before: bool) -> str:
        place = "first in line" if nobody_before else "first of those that fit here"
        waited = 0 if job.lease is not None else max(0, (self.now - job.since).total_seconds())
        return (
            f"{place}: {job.submitted.priority}, waiting {waited:.0f} s;"
            f" {worker.worker_id} has a free slot"
        )


def room(state: QueueState, worker: Worker) -> Room:
    """What a worker has left, beside the leases it holds."""
    leases = [lease for held in worker.held if (lease := state.jobs[held].lease) is not None]
    taken = {index for lease in leases for index in lease.gpus}
    return Room(
        joined=worker.joined,
        slots=worker.joined.slots - len(leases),
        memory_bytes=worker.joined.memory_bytes - sum(lease.memory_bytes for lease in leases),
        gpus=[index for index in range(len(worker.joined.gpus)) if index not in taken],
    )
