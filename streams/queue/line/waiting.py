"""The line: heaps, so that thousands in it cost a decision next to nothing.

Jobs of one shape, level and person wait in a queue of their own, by the number of their submission;
per shape and level a heap orders the people, by what they have used. Overdue jobs are ordered by
their numbers alone, whoever's they are. A heap's entry is not searched for when it becomes
worthless: it stays until it comes to the top.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from streams.queue.line.shapes import Shape
from streams.queue.line.shares import Shares
from streams.queue.order import OVERDUE

SLACK = 64  # worthless entries that are not worth a clean-up
EVERYBODY = ""  # whose queue the overdue ones stand in

T = TypeVar("T")


class Standing(NamedTuple):
    """Where a job stands in line."""

    shape: Shape
    level: int
    group: str  # whose queue it is in
    number: int


class Turn(NamedTuple):
    """A group in the heap of its shape and level: who has the lowest, has the turn."""

    use: float
    number: int  # of the first in the group's queue
    group: str
    stamp: int


Queue = tuple[Shape, int, str]


@dataclass(slots=True)
class Line:
    """Who waits. Changed in place, by `evolve` alone."""

    standings: dict[str, Standing] = field(default_factory=dict)  # job → where it stands
    queues: dict[Queue, list[tuple[int, str]]] = field(default_factory=dict)  # heaps
    turns: dict[tuple[Shape, int], list[Turn]] = field(default_factory=dict)  # heaps
    stamps: dict[Queue, int] = field(default_factory=dict)  # of the queue's current turn
    of_group: dict[str, dict[tuple[Shape, int], None]] = field(default_factory=dict)
    shapes: dict[Shape, int] = field(default_factory=dict)  # how many wait of each
    last_stamp: int = 0

    def __contains__(self, job_id: object) -> bool:
        return job_id in self.standings

    def __len__(self) -> int:
        return len(self.standings)

    def add(self, job_id: str, standing: Standing, shares: Shares) -> None:
        """Let a job wait; one that does already stands there from now on."""
        self.remove(job_id, shares)
        queue = standing[:3]
        waiting = self.queues.setdefault(queue, [])
        heapq.heappush(waiting, (standing.number, job_id))
        self.standings[job_id] = standing
        self.shapes[standing.shape] = self.shapes.get(standing.shape, 0) + 1
        if waiting[0][1] == job_id:
            self._turn(queue, shares)

    def remove(self, job_id: str, shares: Shares) -> None:
        """Let a job wait no longer; one that does not wait is left alone."""
        standing = self.standings.pop(job_id, None)
        if standing is None:
            return
        left = self.shapes.pop(standing.shape) - 1
        if left:
            self.shapes[standing.shape] = left
        queue = standing[:3]
        waiting = self.queues[queue]
        if waiting[0][1] != job_id:
            return
        while waiting and not self.stands(waiting[0][1], queue):
            heapq.heappop(waiting)
        if waiting:
            self._turn(queue, shares)
        else:
            del self.queues[queue], self.stamps[queue]
            places = self.of_group[standing.group]
            del places[standing.shape, standing.level]
            if not places:
                del self.of_group[standing.group]
            self._tidy(standing.shape, standing.level)

    def reorder(self, person_id: str, shares: Shares) -> None:
        """A person's use has changed, and with it their turns."""
        for shape, level in self.of_group.get(person_id, ()):
            self._turn((shape, level, person_id), shares)

    def rebuild(self, shares: Shares) -> None:
        """Everybody's use has changed."""
        for group in list(self.of_group):
            self.reorder(group, shares)

    def first(self, queue: Queue) -> str:
        """The first job of a queue that is not empty."""
        return self.queues[queue][0][1]

    def in_queue(self, queue: Queue) -> Iterator[tuple[int, str]]:
        """The numbers and jobs of a queue, first in line first; the k-th costs O(log k)."""
        for entry in in_order(self.queues.get(queue, [])):
            if self.stands(entry[1], queue):
                yield entry

    def in_turn(self, shape: Shape, level: int) -> Iterator[Turn]:
        """The groups of a shape and level, whose turn it is first; the k-th costs O(log k)."""
        for turn in in_order(self.turns.get((shape, level), [])):
            if self.stamps.get((shape, level, turn.group)) == turn.stamp:
                yield turn

    def stands(self, job_id: str, queue: Queue) -> bool:
        """Whether a job waits in this very queue."""
        standing = self.standings.get(job_id)
        return standing is not None and standing[:3] == queue

    def _turn(self, queue: Queue, shares: Shares) -> None:
        shape, level, group = queue
        self.last_stamp += 1
        self.stamps[queue] = self.last_stamp
        self.of_group.setdefault(group, {})[shape, level] = None
        use = 0.0 if level == OVERDUE else shares.standing(group)
        turn = Turn(use, self.queues[queue][0][0], group, self.last_stamp)
        heapq.heappush(self.turns.setdefault((shape, level), []), turn)
        self._tidy(shape, level)

    def _tidy(self, shape: Shape, level: int) -> None:
        heap = self.turns[shape, level]
        while heap and self.stamps.get((shape, level, heap[0].group)) != heap[0].stamp:
            heapq.heappop(heap)
        if not heap:
            del self.turns[shape, level]
        elif len(heap) > SLACK and len(heap) > 2 * len(self.stamps):
            kept = [one for one in heap if self.stamps.get((shape, level, one.group)) == one.stamp]
            heapq.heapify(kept)
            self.turns[shape, level] = kept


def in_order(heap: list[T]) -> Iterator[T]:
    """A heap's entries from the lowest on, without changing it; the k-th costs O(log k)."""
    frontier: list[tuple[T, int]] = [(heap[0], 0)] if heap else []
    while frontier:
        entry, index = heapq.heappop(frontier)
        for child in (2 * index + 1, 2 * index + 2):
            if child < len(heap):
                heapq.heappush(frontier, (heap[child], child))
        yield entry
