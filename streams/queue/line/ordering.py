"""Whose turn it is, as a decision sees it: the line of the state, and what the decision changes.

A decision may let jobs wait, take them out and charge people, while the state is left alone. Who is
touched by that is looked at one by one; everybody else stands as the state's heaps have them.
"""

import bisect
import datetime
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from streams.queue.line.shapes import Shape
from streams.queue.line.waiting import EVERYBODY, Queue, Turn
from streams.queue.order import LEVELS, OVERDUE, level
from streams.queue.state import Job, QueueState, waited_s


class Candidate(NamedTuple):
    """A job that could be leased now; the lowest is the first in line."""

    level: int
    use: float  # of its person, in scaled units; 0 for overdue jobs
    number: int
    job_id: str
    shape: Shape


def standing_of(state: QueueState, job: Job, now: datetime.datetime) -> tuple[int, str]:
    """The level of a job that is in line, and whose queue it stands in."""
    at = level(state.policy, job.priority, waited_s(job, now))
    return at, EVERYBODY if at == OVERDUE else job.person_id


def aged_until(state: QueueState, job: Job, now: datetime.datetime) -> datetime.datetime:
    """Up to when the age of a job that waits from now on is counted: what `evolve` comes to.

    Time that it ran, was paused, waited for its budget or for its start makes it no older.
    """
    if job.lease is not None:
        return job.lease.granted
    if job.state == "scheduled":
        return job.ages_from
    if job.paused or job.held or job.blocked:
        return job.since
    paused = state.paused_people.get(job.person_id)
    return now if paused is None else max(job.since, paused)


class Ordering:
    """The line during one decision."""

    def __init__(self, state: QueueState, now: datetime.datetime) -> None:
        self._state = state
        self._now = now
        self._added: dict[Queue, list[tuple[int, str]]] = {}
        self._place: dict[str, Queue] = {}  # job → where it was added
        self._gone: set[str] = set()
        self._moved: set[str] = set()  # they stand elsewhere than the state's line has them
        self._extra: dict[str, float] = {}  # scaled use by person
        self._touched: set[str] = set()  # groups
        self._turns: dict[tuple[Shape, int], Iterator[Turn]] = {}
        self._next: dict[tuple[Shape, int], Turn | None] = {}
        self._heads: dict[Shape, Candidate | None] = {}  # as long as nothing changes

    def add(self, job: Job) -> None:
        """A job waits from now on."""
        self._heads.clear()
        until = aged_until(self._state, job, self._now)
        at, group = standing_of(self._state, job, until)
        queue, known = (job.shape, at, group), self._state.line.standings.get(job.job_id)
        self._take_back(job.job_id)  # several causes of one decision may let it wait
        bisect.insort(self._added.setdefault(queue, []), (job.number, job.job_id))
        self._place[job.job_id] = queue
        if known is not None:
            self._moved.add(job.job_id)
            self._touched.add(known.group)
        self._gone.discard(job.job_id)
        self._touched.add(group)

    def drop(self, job_id: str) -> None:
        """A job is out of the line."""
        self._heads.clear()
        self._take_back(job_id)
        self._gone.add(job_id)
        standing = self._state.line.standings.get(job_id)
        if standing is not None:
            self._touched.add(standing.group)

    def left(self, job_id: str) -> bool:
        """Whether a job was taken out of the line by this decision."""
        return job_id in self._gone

    def take(self, chosen: Candidate, person_id: str) -> None:
        """A job's turn has come. Nobody has used more by that yet: other heads stay."""
        self._heads.pop(chosen.shape, None)
        group = EVERYBODY if chosen.level == OVERDUE else person_id
        self._take_back(chosen.job_id)
        self._gone.add(chosen.job_id)
        self._touched.add(group)

    def charge(self, person_id: str, gpu_seconds: float) -> None:
        """A person's use changes."""
        self._heads.clear()
        scaled = gpu_seconds * self._state.shares.scale(self._now)
        self._extra[person_id] = self._extra.get(person_id, 0.0) + scaled
        self._touched.add(person_id)

    def share(self, person_id: str) -> float:
        """A person's part of the pool's decayed use, with what this decision adds."""
        shares = self._state.shares
        total = shares.total + sum(self._extra.values())
        use = shares.scaled.get(person_id, 0.0) + self._extra.get(person_id, 0.0)
        return max(0.0, use) / total if total > 0 else 0.0

    def shapes(self) -> list[Shape]:
        """What is waited for."""
        shapes = dict.fromkeys(self._state.line.shapes)
        shapes.update(dict.fromkeys(queue[0] for queue, jobs in self._added.items() if jobs))
        return list(shapes)

    def first(self, shapes: Iterable[Shape]) -> Candidate | None:
        """The first in line of those with one of these shapes."""
        heads = (self.head(shape) for shape in shapes)
        return min((head for head in heads if head is not None), default=None)

    def head(self, shape: Shape) -> Candidate | None:
        """The first in line of one shape."""
        if shape not in self._heads:
            heads = (self._head(shape, at) for at in range(LEVELS))
            self._heads[shape] = next((head for head in heads if head is not None), None)
        return self._heads[shape]

    def _head(self, shape: Shape, at: int) -> Candidate | None:
        found = self._untouched(shape, at)
        for group in self._touched:
            own = self._of_group((shape, at, group))
            if own is not None and (found is None or own < found):
                found = own
        return found

    def _untouched(self, shape: Shape, at: int) -> Candidate | None:
        place = shape, at
        if place not in self._turns:
            if place not in self._state.line.turns:
                return None
            self._turns[place] = self._state.line.in_turn(shape, at)
            self._next[place] = next(self._turns[place], None)
        turn = self._next[place]
        while turn is not None and turn.group in self._touched:
            turn = self._next[place] = next(self._turns[place], None)
        if turn is None:
            return None
        job_id = self._state.line.first((shape, at, turn.group))
        return Candidate(at, turn.use, turn.number, job_id, shape)

    def _of_group(self, queue: Queue) -> Candidate | None:
        added = self._added.get(queue)
        waiting = self._state.line.queues.get(queue)
        if not added and not waiting:
            return None
        shape, at, group = queue
        found = added[0] if added else None
        if waiting:
            kept: tuple[int, str] | None = waiting[0]
            if self._is_out(waiting[0][1]):
                left = self._state.line.in_queue(queue)
                kept = next((one for one in left if not self._is_out(one[1])), None)
            if kept is not None and (found is None or kept < found):
                found = kept
        if found is None:
            return None
        use = 0.0
        if at != OVERDUE:
            use = self._state.shares.standing(group, self._extra.get(group, 0.0))
        return Candidate(at, use, found[0], found[1], shape)

    def _is_out(self, job_id: str) -> bool:
        """Whether a job no longer stands where the state's line has it."""
        return job_id in self._gone or job_id in self._moved

    def _take_back(self, job_id: str) -> None:
        """Undo an earlier `add` of this decision, if there was one."""
        queue = self._place.pop(job_id, None)
        if queue is not None:
            self._added[queue] = [one for one in self._added[queue] if one[1] != job_id]
