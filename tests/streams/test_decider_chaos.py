"""The decider's processes killed and frozen, on a real broker: nothing lost, nothing doubled."""

import asyncio
import itertools
import signal
from typing import Self

import pytest

from schemas.topics import JOB_COMMANDS, LIBRARY_COMMANDS
from streams.decider import DIED
from streams.log import Log, Note, create_topics
from tests.streams.proofs import check
from tests.streams.queue_words import join, submit
from tests.streams.real import Process, process, sender
from tests.streams.test_library import add

pytestmark = pytest.mark.chaos

BATCH = 20


class Flood:
    """Commands for both deciders, some of them sent twice, for as long as the block runs."""

    def __init__(self, kafka: str, prefix: str) -> None:
        self.log = sender(kafka, prefix)
        self.worker = sender(kafka, prefix, "worker:w1")
        self.sent = {"join"}
        self.over = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.worker.append(JOB_COMMANDS, 0, join(slots=50), identity="join")
        self.task = asyncio.create_task(self.flow())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.over.set()
        try:
            await self.task
        finally:
            await self.log.close()
            await self.worker.close()

    async def flow(self) -> None:
        for first in itertools.count(step=BATCH):
            if self.over.is_set():
                break
            numbers = range(first, first + BATCH)
            jobs = [(0, Note(data=submit(f"j{n}"), identity=f"job-{n}")) for n in numbers]
            people = [(n % 8, Note(data=add(f"p{n}"), identity=f"person-{n}")) for n in numbers]
            await self.log.append_many(JOB_COMMANDS, [*jobs, jobs[0]])
            await self.log.append_many(LIBRARY_COMMANDS, people)
            self.sent |= {note.identity for _, note in jobs + people}
            await asyncio.sleep(0.1)

    async def finish(self) -> tuple[Log, set[str]]:
        """What was sent, once all of it is."""
        self.over.set()
        await self.task
        return self.log, self.sent


async def test_killed_three_times_a_decider_loses_and_doubles_nothing(
    kafka: str, prefix: str
) -> None:
    await create_topics(kafka, prefix=prefix)
    with process("decider", kafka, prefix) as decider:
        async with Flood(kafka, prefix) as flood:
            for after in (6.0, 9.0, 8.0):
                await asyncio.sleep(after)
                decider.kill()
                decider.start()
            await asyncio.sleep(8)
            await check(*await flood.finish())
        assert decider.alive()
        assert decider.stop() == 0


async def test_a_frozen_decider_is_replaced_and_writes_nothing_when_it_wakes(
    kafka: str, prefix: str
) -> None:
    await create_topics(kafka, prefix=prefix)
    with process("decider", kafka, prefix) as one, process("decider", kafka, prefix) as other:
        async with Flood(kafka, prefix) as flood:
            for frozen in (one, other):
                await asyncio.sleep(8)
                frozen.signal(signal.SIGSTOP)
                await asyncio.sleep(11)
                frozen.signal(signal.SIGCONT)
                await asyncio.sleep(4)
                revive(frozen)
            await check(*await flood.finish())


def revive(decider: Process) -> None:
    """A zombie that was writing has ended itself; the supervisor starts it anew."""
    if not decider.alive():
        assert decider.running.returncode == DIED
        decider.start()
