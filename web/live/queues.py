"""The queues as the log tells them: each pool's history, folded by the queue's own `evolve`.

Positions follow from ageing and shares, and expected times from what was measured: all of that is
in the queue's state and in no single event. So this process folds the same events by the same
function as the decider, and answers from the state. It decides nothing and writes nothing.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TypeVar

from schemas.envelope import Recorded
from schemas.errors import ClusterChanged, LogUnavailable, NotCaughtUp
from schemas.positions import Partition, Position
from schemas.topics import JOB_COMMANDS, JOB_EVENTS, POOLS
from streams.log import Log
from streams.queue.decider import queue_decider
from streams.queue.state import QueueState
from streams.queue.telling.forecast import AHEAD_AT_MOST, Forecast, forecasts
from streams.queue.telling.position import in_line

RECONNECT_S = 1.0
POLL_S = 0.005
BATCH = 500  # events folded at once; readers wait meanwhile
PLAYED_AT_MOST = 300  # jobs in line whose times are told together

T = TypeVar("T")

_log = logging.getLogger("lifelog.web.queues")


class Queues:
    """Folds every pool's history. `run` it as one task; ask it from any thread."""

    def __init__(self, log: Log, clock: Callable[[], datetime]) -> None:
        self._log = log
        self._clock = clock
        self._decider = queue_decider()
        self._lock = threading.Lock()
        self._cluster: str | None = None
        self._states: dict[int, QueueState] = {}
        self._next: dict[Partition, int] = {}
        self._answered: dict[int, int] = {}
        self._told = False  # the history was folded to its end once
        self._forget()

    async def run(self) -> None:
        """Follow the log until cancelled; a log that goes away is waited for."""
        while True:
            try:
                await self._follow()
            except (LogUnavailable, ClusterChanged) as error:
                _log.warning("%s: %s", error.code, error)
            await asyncio.sleep(RECONNECT_S)

    def ask(self, partition: int, question: Callable[[QueueState, datetime], T]) -> T:
        """What a question about a pool's state answers. It changes nothing of it. Blocks.

        Raises:
            NotCaughtUp: If the pool's history is not folded yet.
        """
        with self._state(partition) as state:
            if state is None:
                raise NotCaughtUp("The queue's history is still being read: try again in a moment.")
            return question(state, self._clock())

    def forecasts(
        self, partition: int, job_ids: Iterable[str], *, ahead_at_most: int = PLAYED_AT_MOST
    ) -> dict[str, Forecast]:
        """Position, expected times and causes of waiting of some jobs, by job.

        Args:
            partition: Of their pool.
            job_ids: The jobs; those that are over or not known here are left out.
            ahead_at_most: Behind so many jobs no time is told.
        """
        with self._state(partition) as state:
            if state is None:
                return {}
            return forecasts(state, job_ids, self._clock(), ahead_at_most=ahead_at_most)

    async def forecast(self, partition: int, job_id: str) -> Forecast | None:
        """The same of one job; None for one that is over, and where the history is not known yet.

        For a job with a lease there is nothing to play, and no thread is worth its start.
        """
        if self._lock.acquire(blocking=False):
            try:
                state = self._states.get(partition) if self._told else None
                job = None if state is None else state.jobs.get(job_id)
                if state is None or job is None:
                    return None
                if job.lease is not None:
                    return forecasts(state, (job_id,), self._clock()).get(job_id)
            finally:
                self._lock.release()
        found = await asyncio.to_thread(
            self.forecasts, partition, (job_id,), ahead_at_most=AHEAD_AT_MOST
        )
        return found.get(job_id)

    def order(self, partition: int) -> list[str]:
        """The jobs of a pool that are in line, in the order in which they should be leased."""
        with self._state(partition) as state:
            return [] if state is None else in_line(state)

    async def reached(self, position: Position, within_s: float) -> bool:
        """Whether the state has what stands at a position, waiting for it so long at most.

        A position of another topic than the queue's is none of its concern.
        """
        end = time.monotonic() + within_s
        while not self._has(position):
            if time.monotonic() > end:
                return False
            await asyncio.sleep(POLL_S)
        return True

    def _has(self, position: Position) -> bool:
        if position.topic == JOB_COMMANDS.name:
            return self._answered.get(position.partition, -1) >= position.offset
        if position.topic == JOB_EVENTS.name:
            return self._next.get((position.topic, position.partition), 0) > position.offset
        return True

    @contextlib.contextmanager
    def _state(self, partition: int) -> Iterator[QueueState | None]:
        """A pool's state, left alone meanwhile; None where its history is not known yet."""
        with self._lock:
            yield self._states.get(partition) if self._told else None

    def _forget(self) -> None:
        with self._lock:
            self._told = False
            self._states = {index: self._decider.empty() for index in range(len(POOLS))}
            self._next = {(JOB_EVENTS.name, index): 0 for index in self._states}
            self._answered = {}

    async def _follow(self) -> None:
        cluster, _ = await self._log.identity()
        if cluster != self._cluster:
            self._forget()
            self._cluster = cluster
        if not self._told:
            ends = await self._log.ends((JOB_EVENTS,))
            until = {partition: ends[partition] for partition in self._next}
            async for batch in self._log.read(dict(self._next), until=until, batch=BATCH):
                await asyncio.to_thread(self._fold, batch)
            self._told = True
        async for batch in self._log.read(dict(self._next), batch=BATCH):
            if batch:
                await asyncio.to_thread(self._fold, batch)

    def _fold(self, batch: list[Recorded]) -> None:
        with self._lock:
            for recorded in batch:
                place = recorded.topic, recorded.partition
                if recorded.offset < self._next[place]:
                    continue
                self._decider.evolve(
                    self._states[recorded.partition], recorded.data, recorded.envelope
                )
                self._next[place] = recorded.offset + 1
                if recorded.envelope.answers is not None:
                    known = self._answered.get(recorded.partition, -1)
                    self._answered[recorded.partition] = max(known, recorded.envelope.answers)
