"""The jobs that wait: heaps, so that thousands in line cost a decision next to nothing.

One heap for each size of job (the bytes that it needs free), one for the jobs that wait for a time.
A heap's entry is not searched for when its job leaves: it stays until it comes to the top, and
counts only while its stamp is the job's current one.
"""

import datetime
import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from streams.queue.order import Key

Entry = tuple[Key, str, int]  # place in line, job id, stamp
Delayed = tuple[datetime.datetime, Key, str, int, int]  # not before, ..., stamp, memory

SLACK = 64  # left-over entries that are not worth a clean-up


@dataclass(slots=True)
class Waiting:
    """Who waits. Changed in place, by `evolve` alone."""

    ready: dict[int, list[Entry]] = field(default_factory=dict)  # bytes needed → heap
    delayed: list[Delayed] = field(default_factory=list)  # heap
    stamps: dict[str, int] = field(default_factory=dict)  # job → stamp of its current entry
    last_stamp: int = 0
    held: int = 0  # entries in all heaps, left-over ones included

    def __contains__(self, job_id: object) -> bool:
        return job_id in self.stamps

    def __len__(self) -> int:
        return len(self.stamps)

    def add(self, job_id: str, key: Key, memory: int, not_before: datetime.datetime | None) -> None:
        """Let a job wait, from `not_before` on where it is given."""
        self.last_stamp += 1
        self.held += 1
        self.stamps[job_id] = self.last_stamp
        if not_before is None:
            heapq.heappush(self.ready.setdefault(memory, []), (key, job_id, self.last_stamp))
        else:
            heapq.heappush(self.delayed, (not_before, key, job_id, self.last_stamp, memory))

    def remove(self, job_id: str, memory: int) -> None:
        """Let a job of this size wait no longer; one that does not wait is left alone."""
        if self.stamps.pop(job_id, None) is None:
            return
        heap = self.ready.get(memory, [])
        while heap and self.stamps.get(heap[0][1]) != heap[0][2]:
            heapq.heappop(heap)
            self.held -= 1
        if not heap:
            self.ready.pop(memory, None)
        self._tidy_delayed()
        if self.held > 2 * len(self.stamps) + SLACK:
            self._rebuild()

    def advance(self, now: datetime.datetime) -> None:
        """Put the jobs whose time has come in line."""
        while self.delayed and self.delayed[0][0] <= now:
            _, key, job_id, stamp, memory = heapq.heappop(self.delayed)
            if self.stamps.get(job_id) == stamp:
                heapq.heappush(self.ready.setdefault(memory, []), (key, job_id, stamp))
            else:
                self.held -= 1

    def in_line(self, memory: int) -> Iterator[Entry]:
        """The jobs of one size, first in line first; the k-th costs O(log k)."""
        heap = self.ready.get(memory, [])
        frontier: list[tuple[Entry, int]] = [(heap[0], 0)] if heap else []
        while frontier:
            entry, index = heapq.heappop(frontier)
            for child in (2 * index + 1, 2 * index + 2):
                if child < len(heap):
                    heapq.heappush(frontier, (heap[child], child))
            if self.stamps.get(entry[1]) == entry[2]:
                yield entry

    def due(self, now: datetime.datetime) -> Iterator[tuple[int, Entry]]:
        """The delayed jobs whose time has come but that are not in line yet, with their sizes."""
        unseen = [0]
        while unseen:
            index = unseen.pop()
            if index < len(self.delayed) and self.delayed[index][0] <= now:
                _, key, job_id, stamp, memory = self.delayed[index]
                if self.stamps.get(job_id) == stamp:
                    yield memory, (key, job_id, stamp)
                unseen += (2 * index + 1, 2 * index + 2)

    def next_due(self) -> datetime.datetime | None:
        """When the next delayed job's time comes."""
        return self.delayed[0][0] if self.delayed else None

    def _tidy_delayed(self) -> None:
        while self.delayed and self.stamps.get(self.delayed[0][2]) != self.delayed[0][3]:
            heapq.heappop(self.delayed)
            self.held -= 1

    def _rebuild(self) -> None:
        for memory in list(self.ready):
            heap = [one for one in self.ready.pop(memory) if self.stamps.get(one[1]) == one[2]]
            if heap:
                heapq.heapify(heap)
                self.ready[memory] = heap
        self.delayed = [one for one in self.delayed if self.stamps.get(one[2]) == one[3]]
        heapq.heapify(self.delayed)
        self.held = len(self.stamps)
