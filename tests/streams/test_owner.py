"""One partition's owner on a real broker: fenced, folded, atomic."""

import pytest
from aiokafka.errors import KafkaError

from schemas import commands, events
from schemas.errors import ClusterChanged
from schemas.events import CommandRejected, CommandRepeated, JobSubmitted
from schemas.topics import DEAD_LETTERS, JOB_COMMANDS, JOB_EVENTS, MODEL_EVENTS, PEOPLE_EVENTS
from streams.library.decide import library_decider
from streams.log import Log, Note, create_topics
from streams.owner import Owner
from streams.queue.decider import queue_decider
from tests.streams.queue_words import join, submit
from tests.streams.real import SECRET, data_of, events_of, raw, sender, whole
from tests.streams.test_library import add, register


def owner(log: Log, decider=None, cluster: str = "topic-id") -> Owner:
    chosen = decider or queue_decider()
    return Owner(chosen, 0, log=log, secret=SECRET, cluster=cluster)


async def submitted(log: Log, *names: str) -> int:
    """Append submissions; the offset after the last one."""
    notes = [(0, Note(data=submit(name), identity=f"id-{name}")) for name in names]
    return (await log.append_many(JOB_COMMANDS, notes))[-1].offset + 1


async def test_a_new_owner_folds_what_the_former_one_wrote(kafka: str, prefix: str) -> None:
    await create_topics(kafka, prefix=prefix)
    async with sender(kafka, prefix) as log:
        end = await submitted(log, "a", "b", "c")
        first, second = owner(log), owner(log)
        await first.acquire(1)
        await first.catch_up(end)
        await second.acquire(1)
        assert second.state == first.state
        assert second.next == first.next == 3
        assert second.state.jobs.keys() == {"a", "b", "c"}
        await second.release()
        await first.release()


async def test_a_former_owner_is_fenced_and_writes_nothing(kafka: str, prefix: str) -> None:
    await create_topics(kafka, prefix=prefix)
    async with sender(kafka, prefix) as log:
        zombie, current = owner(log), owner(log)
        await zombie.acquire(1)
        await zombie.catch_up(await submitted(log, "a"))
        await current.acquire(1)
        end = await submitted(log, "b")
        with pytest.raises(KafkaError):
            await zombie.catch_up(end)
        await current.catch_up(end)
        found = await events_of(log, [JOB_EVENTS], 2)
        assert [one.data.job_id for one in found] == ["a", "b"]
        await current.release()
        await zombie.release()


async def test_commands_that_were_delivered_twice_or_not_at_all_are_answered_once(
    kafka: str, prefix: str
) -> None:
    await create_topics(kafka, prefix=prefix)
    async with sender(kafka, prefix) as log:
        await submitted(log, "a", "b", "c", "d", "e", "f", "g")
        delivered = [one for one in await whole(log, [JOB_COMMANDS]) if one.partition == 0]
        one = owner(log)
        await one.acquire(1)
        await one.answer(delivered[:1])
        await one.answer(delivered[:1])
        await one.answer([delivered[3], delivered[3], delivered[4], delivered[6]])
        assert one.next == 7
        found = await events_of(log, [JOB_EVENTS], 7)
        assert [event.data.job_id for event in found] == ["a", "b", "c", "d", "e", "f", "g"]
        assert [event.envelope.answers for event in found] == [0, 1, 2, 3, 4, 5, 6]
        await one.release()


async def test_commands_that_are_delivered_out_of_order_are_not_answered(
    kafka: str, prefix: str
) -> None:
    await create_topics(kafka, prefix=prefix)
    async with sender(kafka, prefix) as log:
        await submitted(log, "a", "b", "c")
        delivered = [one for one in await whole(log, [JOB_COMMANDS]) if one.partition == 0]
        one = owner(log)
        await one.acquire(1)
        with pytest.raises(RuntimeError, match="out of order: 2, then 1"):
            await one.answer([delivered[2], delivered[1]])
        assert one.next == 0
        await one.release()


async def test_what_cannot_be_read_or_believed_is_answered_and_kept(
    kafka: str, prefix: str
) -> None:
    await create_topics(kafka, prefix=prefix)
    async with sender(kafka, prefix) as log, sender(kafka, prefix, "worker:w1") as worker:
        await raw(kafka, f"{prefix}jobs.commands", 0, b"\x00 no command")
        await worker.append(JOB_COMMANDS, 0, submit("a"), identity="stolen")
        await worker.append(JOB_COMMANDS, 0, join("w2"))
        await worker.append(JOB_COMMANDS, 0, join("w1"))
        one = owner(log)
        await one.acquire(1)
        await one.catch_up(4)
        found = data_of(await events_of(log, [JOB_EVENTS], 4))
        codes = [event.code for event in found if isinstance(event, CommandRejected)]
        assert codes == ["record-corrupt", "forged-command", "forged-command"]
        assert isinstance(found[3], events.WorkerJoined)
        (letter,) = data_of(await events_of(log, [DEAD_LETTERS], 1))
        assert (letter.topic, letter.offset, letter.value) == (
            "jobs.commands",
            0,
            b"\x00 no command",
        )
        await one.release()


async def test_the_library_writes_two_topics_and_folds_them_in_the_order_of_the_commands(
    kafka: str, prefix: str
) -> None:
    await create_topics(kafka, prefix=prefix)
    async with sender(kafka, prefix) as log, sender(kafka, prefix, "process-manager") as manager:
        library = library_decider()
        await log.append(library.commands, 0, add())
        await manager.append(library.commands, 0, register("v1"), identity="r")
        await manager.append(library.commands, 0, register("v1"), identity="r")
        back = commands.MoveAlias(person_id="ann", alias="best", version_id="v1")
        await log.append(library.commands, 0, back)
        first, second = owner(log, library), owner(log, library)
        await first.acquire(1)
        await first.catch_up(4)
        await second.acquire(1)
        assert second.state == first.state
        assert second.next == 4
        people = data_of(await events_of(log, [PEOPLE_EVENTS], 2))
        assert [type(event) for event in people] == [events.PersonAdded, CommandRepeated]
        assert await events_of(log, [MODEL_EVENTS], 3)
        await second.release()
        await first.release()


async def test_events_that_answer_another_topic_of_that_name_are_refused(
    kafka: str, prefix: str
) -> None:
    await create_topics(kafka, prefix=prefix)
    async with sender(kafka, prefix) as log:
        first, other = owner(log), owner(log, cluster="recreated")
        await first.acquire(1)
        await first.catch_up(await submitted(log, "a"))
        with pytest.raises(ClusterChanged, match="recreated"):
            await other.acquire(1)
        await other.release()
        await first.release()


async def test_time_is_the_brokers_and_the_same_after_a_new_start(kafka: str, prefix: str) -> None:
    await create_topics(kafka, prefix=prefix)
    async with sender(kafka, prefix) as log:
        one = owner(log)
        await one.acquire(1)
        await one.catch_up(await submitted(log, "a"))
        (command,) = await whole(log, [JOB_COMMANDS])
        (event,) = await events_of(log, [JOB_EVENTS], 1)
        assert isinstance(event.data, JobSubmitted)
        assert event.envelope.time == command.timestamp
        assert event.envelope.source == "/lifelog/queue/topic-id"
        await one.release()
