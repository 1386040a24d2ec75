"""The attempts that a worker runs at the same time, each with a child of its own."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from trainer.worker import lease
from trainer.worker.attempt import Attempt, Places
from trainer.worker.machine.gpus import Gpu
from trainer.worker.outbox import Outbox
from trainer.worker.telemetry import Telemetry


class Say(Protocol):
    """One line for whoever watches the process; no personal text."""

    def __call__(self, line: str, /) -> None:
        """Show the line."""


class Running(NamedTuple):
    """An attempt and the task that runs it."""

    attempt: Attempt
    task: asyncio.Task[None]


class Attempts:
    """One attempt a job: what becomes of one, touches no other.

    Args:
        places: What each child needs.
        environ: Each child's environment.
        outbox: Takes the reports of all.
        telemetry: Takes the ticks of all.
        say: Shows a line.
        tasks: Where the attempts run.
    """

    def __init__(
        self,
        places: Places,
        environ: Mapping[str, str],
        outbox: Outbox,
        telemetry: Telemetry,
        say: Say,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._places = places
        self._environ = environ
        self._outbox = outbox
        self._telemetry = telemetry
        self._say = say
        self._tasks = tasks
        self._running: dict[str, Running] = {}

    def jobs(self) -> tuple[str, ...]:
        """The jobs whose attempts run, the longest first."""
        return tuple(self._running)

    def start(self, held: lease.Held, gpus: Sequence[Gpu]) -> None:
        """Run an attempt, once the children are gone whose room the queue may have given it.

        Those are of leases that are over: they clear up, or are being killed.
        """
        job_id = held.grant.job_id
        before = self._running.get(job_id)
        if before is not None and not before.attempt.is_over:
            before.attempt.drop()
        ending = [one.task for one in self._running.values() if one.attempt.is_over]
        attempt = Attempt(
            held,
            self._places,
            self._environ,
            gpus,
            self._outbox,
            self._telemetry,
            self._say,
        )
        task = self._tasks.create_task(self._run(attempt, ending))
        self._running.pop(job_id, None)
        self._running[job_id] = Running(attempt, task)

    def tell(self, action: lease.AboutChild) -> None:
        """Do what concerns one attempt; nothing if it is gone."""
        found = self._running.get(action.job_id)
        if found is not None:
            _tell(action, found.attempt)

    async def watch(self, utilization: Mapping[int, float | None]) -> None:
        """Tell the queue of each attempt whose GPUs idle; see `Attempt.watch`."""
        for running in list(self._running.values()):
            await running.attempt.watch(utilization)

    async def give_back(self) -> None:
        """Stop all of them at a checkpoint, and wait until that is reported."""
        found = list(self._running.values())
        await asyncio.gather(*(running.attempt.give_back() for running in found))

    def drop(self) -> None:
        """Kill every child, without a word."""
        for running in self._running.values():
            running.attempt.drop()

    async def _run(self, attempt: Attempt, ending: Sequence[asyncio.Task[None]]) -> None:
        if ending:
            await asyncio.wait(ending)
        grant = attempt.grant
        self._say(f"job {grant.job_id}: attempt {grant.attempt} starts")
        ended = await attempt.run()
        self._say(f"job {grant.job_id}: attempt {grant.attempt} {ended}")
        found = self._running.get(grant.job_id)
        if found is not None and found.attempt is attempt:
            del self._running[grant.job_id]


def _tell(action: lease.AboutChild, attempt: Attempt) -> None:
    match action:
        case lease.Prolong():
            attempt.prolong(action.ends)
        case lease.Confirm():
            attempt.confirm(action.checkpoint)
        case lease.Cancel():
            attempt.cancel()
        case lease.Halt():
            attempt.halt(action.why, action.within_s)
        case lease.Drop():
            attempt.drop()
        case lease.Settle():
            attempt.settle()
