"""The monitor: it says which workers have gone silent, and which are heard again.

Silence is shown, no more: no lease is taken away for it, but nothing new is given to a worker that
is silent.
"""

import asyncio
import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from schemas.commands import Command, NoteWorkerHeard, NoteWorkerSilent
from schemas.envelope import Recorded
from schemas.events import WorkerHeard, WorkerJoined, WorkerLeft, WorkerLost, WorkerSilent
from schemas.telemetry import WorkerHeartbeat
from schemas.topics import JOB_COMMANDS
from streams.log import Log

STALL_S = 5.0  # this long without looking at the log: the monitor was away, not the workers
AGAIN_AFTER_S = 30.0  # a note that nothing came of is repeated


@dataclass(slots=True)
class Watched:
    """What the monitor knows of a worker that is in a pool."""

    partition: int  # its pool's
    incarnation: str
    heard: float  # on the monitor's own clock, in s
    at: datetime.datetime  # of the last heartbeat, as the broker says
    silent: bool = False  # as the queue's history has it
    noted: float = float("-inf")  # when the monitor last sent a note


@dataclass(slots=True)
class Watch:
    """Every worker that is in a pool. Pure: the time is passed in, in s on a monotonic clock."""

    silent_after_s: float
    workers: dict[str, Watched] = field(default_factory=dict)
    looked: float | None = None

    def look(self, now: float) -> None:
        """Time goes on. A pause of the monitor's own is no worker's silence."""
        if self.looked is not None and now - self.looked > STALL_S:
            self.forgive(now)
        self.looked = now

    def forgive(self, now: float) -> None:
        """Count the silence of those that are not silent yet from now on."""
        for worker in self.workers.values():
            if not worker.silent:
                worker.heard = max(worker.heard, now)

    def see(self, recorded: Recorded, now: float) -> None:
        """Take in an event of the queue, or a heartbeat."""
        match recorded.data:
            case WorkerJoined(worker_id=name, incarnation=incarnation):
                at = recorded.timestamp
                self.workers[name] = Watched(recorded.partition, incarnation, now, at)
            case WorkerLeft(worker_id=name) | WorkerLost(worker_id=name):
                self.workers.pop(name, None)
            case WorkerSilent(worker_id=name) if name in self.workers:
                self.workers[name].silent = True
                self.workers[name].heard = float("-inf")  # only a heartbeat ends it
            case WorkerHeard(worker_id=name) if name in self.workers:
                self.workers[name].silent = False
                self.workers[name].heard = now
            case WorkerHeartbeat(worker_id=name, incarnation=incarnation):
                worker = self.workers.get(name)
                if worker is not None and worker.incarnation == incarnation:
                    worker.heard, worker.at = now, recorded.timestamp
            case _:
                pass

    def notes(self, now: float) -> list[tuple[int, Command]]:
        """What to tell the queue now: partition and command."""
        found: list[tuple[int, Command]] = []
        for name, worker in self.workers.items():
            quiet = now - worker.heard >= self.silent_after_s
            if quiet == worker.silent or now - worker.noted < AGAIN_AFTER_S:
                continue
            worker.noted = now
            if quiet:
                note: Command = NoteWorkerSilent(
                    worker_id=name, incarnation=worker.incarnation, last_heard=worker.at
                )
            else:
                note = NoteWorkerHeard(worker_id=name, incarnation=worker.incarnation)
            found.append((worker.partition, note))
        return found


class Monitor:
    """Tells the queue which workers have gone silent, and which are heard again."""

    def __init__(
        self, log: Log, silent_after: datetime.timedelta, now: Callable[[], float] | None = None
    ) -> None:
        """A monitor that has read nothing yet. Make it in a running loop.

        Args:
            log: Opened as the issuer `monitor`.
            silent_after: Without a heartbeat.
            now: A monotonic clock, in s; the event loop's if none is given.
        """
        self._log = log
        self._watch = Watch(silent_after.total_seconds())
        self._clock = now or asyncio.get_running_loop().time

    async def follow(self, batch: Sequence[Recorded], *, current: bool) -> None:
        """Take in what workers did, and say who has been silent for too long by now."""
        self._watch.look(self._clock())
        for recorded in batch:
            self._watch.see(recorded, self._clock())
        if current:
            for partition, note in self._watch.notes(self._clock()):
                await self._log.append(JOB_COMMANDS, partition, note)
