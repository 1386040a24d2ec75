"""Deciders killed and frozen where it hurts most: between an answer and what makes it hold."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas import codec
from schemas.topics import JOB_COMMANDS, JOB_EVENTS
from streams.decider import DIED
from streams.log import Log, Note, create_topics
from tests.streams.barriers import UNEVEN, Barrier, Where
from tests.streams.proofs import TWICE, check_order, queue_history, replayed
from tests.streams.queue_words import submit
from tests.streams.real import answers, process, sender

pytestmark = pytest.mark.chaos

SOME = 20
ENDS_WITHIN_S = 30
LOST = "a command was never answered"
DISORDER = "commands came out of order, and the decider has ended"


class Line:
    """Jobs that are submitted, each with a command's id that tells them apart."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.sent: list[str] = []

    async def submit(self, count: int) -> None:
        numbers = range(len(self.sent), len(self.sent) + count)
        notes = [(0, Note(data=submit(f"j{n}"), identity=f"job-{n}")) for n in numbers]
        await self.log.append_many(JOB_COMMANDS, notes)
        self.sent += [note.identity for _, note in notes]

    async def answered(self) -> None:
        """Once the last one is."""
        await answers(self.log, [JOB_EVENTS], {self.sent[-1]})

    async def check(self) -> None:
        """Each was answered once, in order, as the rules say."""
        events = await queue_history(self.log, JOB_EVENTS)
        counted = Counter(event.envelope.id for event in events)
        assert max(counted.values()) == 1, TWICE
        check_order(events)
        assert {event.envelope.command for event in events} == set(self.sent), LOST
        replayed(await queue_history(self.log, JOB_COMMANDS), events)


async def test_a_decider_that_wakes_at_its_commit_is_fenced(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    barrier = Barrier(tmp_path, "frozen-at-commit")
    await create_topics(kafka, prefix=prefix)
    async with sender(kafka, prefix) as log:
        line = Line(log)
        with (
            process("decider", kafka, prefix, barrier.before) as one,
            process("decider", kafka, prefix, barrier.before) as other,
        ):
            await line.submit(SOME)
            await line.answered()
            barrier.arm()
            await line.submit(SOME)
            pid = await barrier.reached()
            frozen = next(each for each in (one, other) if each.running.pid == pid)
            # Its successor's answers stand beside its own: one of the two may ever be read.
            await written(kafka, prefix, line.sent[SOME], times=2)
            frozen.wake()

            await line.answered()  # nobody reads further while its transaction is open
            await line.check()
            assert await asyncio.to_thread(frozen.ended, ENDS_WITHIN_S) == DIED
            await line.check()


@pytest.mark.parametrize("where", ["killed-before-commit", "killed-after-commit"])
async def test_a_decider_that_is_killed_at_its_commit_answers_once(
    kafka: str, prefix: str, tmp_path: Path, where: Where
) -> None:
    barrier = Barrier(tmp_path, where)
    await create_topics(kafka, prefix=prefix)
    async with sender(kafka, prefix) as log:
        line = Line(log)
        with process("decider", kafka, prefix, barrier.before) as decider:
            await line.submit(SOME)
            await line.answered()
            barrier.arm()
            await line.submit(SOME)
            await barrier.reached()
            decider.kill()
            decider.start()
            await line.submit(1)
            await line.answered()
            await line.check()


async def test_commands_that_take_their_time_are_answered_in_order(kafka: str, prefix: str) -> None:
    await create_topics(kafka, prefix=prefix)
    async with sender(kafka, prefix) as log:
        line = Line(log)
        await line.submit(2 * SOME)
        with process("decider", kafka, prefix, UNEVEN.format(count=2 * SOME)) as decider:
            answered = asyncio.create_task(line.answered())
            while not answered.done():
                assert decider.alive(), DISORDER
                await asyncio.sleep(0.1)
            await answered
        await line.check()


async def written(kafka: str, prefix: str, command: str, times: int) -> None:
    """Wait until the answer to a command was written so often, committed or not.

    Raises:
        TimeoutError: If it was not within 120 s.
    """
    place = TopicPartition(prefix + JOB_EVENTS.name, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        async with asyncio.timeout(120):
            async for message in consumer:
                answer = codec.decode_headers(message.headers)
                times -= answer.command == command
                if not times:
                    return
    finally:
        await consumer.stop()
