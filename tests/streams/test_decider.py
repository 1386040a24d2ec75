"""The decider's processes on a real broker, in good order."""

import asyncio
import time

from schemas import ids
from schemas.events import (
    AttemptEnded,
    CommandRepeated,
    JobSubmitted,
    LeaseGranted,
    VersionRegistered,
    WorkerSilent,
)
from schemas.topics import (
    JOB_COMMANDS,
    JOB_EVENTS,
    LIBRARY_COMMANDS,
    MODEL_EVENTS,
    PEOPLE_EVENTS,
    PERSON_PARTITIONS,
    TOPICS,
)
from streams.log import administration, create_topics
from tests.streams.queue_words import join, submit, succeeded
from tests.streams.real import answers, data_of, events_of, process, sender
from tests.streams.test_library import add


async def test_a_decider_answers_both_kinds_of_commands_and_stops_when_told(
    kafka: str, prefix: str
) -> None:
    await create_topics(kafka, prefix=prefix)
    with process("decider", kafka, prefix) as decider:
        async with sender(kafka, prefix) as log:
            await log.append(JOB_COMMANDS, 0, submit("a"), identity="a", body_hash="h")
            await log.append(JOB_COMMANDS, 0, submit("a"), identity="a", body_hash="h")
            person = ids.partition_of("ann", PERSON_PARTITIONS)
            await log.append(LIBRARY_COMMANDS, person, add(), identity="p")
            await answers(log, [PEOPLE_EVENTS], {"p"})
            found = data_of(await events_of(log, [JOB_EVENTS], 2))
            assert [type(event) for event in found] == [JobSubmitted, CommandRepeated]
            began = time.monotonic()
            assert decider.stop() == 0
            assert time.monotonic() - began < 10

    async with administration(kafka) as admin:
        ours = {name for name in await admin.list_topics() if name.startswith(prefix)}
    assert ours == {prefix + topic.name for topic in TOPICS}


async def test_a_decider_that_starts_late_answers_what_waits(kafka: str, prefix: str) -> None:
    await create_topics(kafka, prefix=prefix)
    async with sender(kafka, prefix) as log:
        await log.append(JOB_COMMANDS, 0, submit("a"), identity="a")
        with process("decider", kafka, prefix) as decider:
            await answers(log, [JOB_EVENTS], {"a"})
            assert decider.stop() == 0
        await log.append(JOB_COMMANDS, 0, submit("b"), identity="b")
        with process("decider", kafka, prefix):
            found = await answers(log, [JOB_EVENTS], {"a", "b"})
        assert [event.job_id for event in data_of(found)] == ["a", "b"]


async def test_the_clocks_process_ends_leases_notes_silence_and_registers_versions(
    kafka: str, prefix: str
) -> None:
    await create_topics(kafka, prefix=prefix)
    short = {"lease_ttl_s": 4, "silent_after_s": 60}
    person = ids.partition_of("ann", PERSON_PARTITIONS)
    with process("decider", kafka, prefix, **short), process("clock", kafka, prefix, **short):
        async with (
            sender(kafka, prefix) as log,
            sender(kafka, prefix, "worker:w1") as worker,
            asyncio.timeout(90),
        ):
            await log.append(LIBRARY_COMMANDS, person, add())
            await worker.append(JOB_COMMANDS, 0, join())
            await log.append(JOB_COMMANDS, 0, submit("a"))
            leases: list[LeaseGranted] = []
            async for batch in log.read({(JOB_EVENTS.name, 0): 0, (MODEL_EVENTS.name, person): 0}):
                events = data_of(batch)
                leases += [event for event in events if isinstance(event, LeaseGranted)]
                ended = [event for event in events if isinstance(event, AttemptEnded)]
                assert all(event.outcome == "lease-expired" for event in ended)
                if len(leases) == 2:
                    await worker.append(JOB_COMMANDS, 0, succeeded(leases[1]))
                    leases.append(leases[1])
                if any(isinstance(event, VersionRegistered) for event in events):
                    break
            assert [lease.fencing_token for lease in leases[:2]] == [1, 2]


async def test_a_worker_without_heartbeats_is_shown_as_silent(kafka: str, prefix: str) -> None:
    await create_topics(kafka, prefix=prefix)
    short = {"silent_after_s": 1}
    with process("decider", kafka, prefix, **short), process("clock", kafka, prefix, **short):
        async with sender(kafka, prefix, "worker:w1") as worker, asyncio.timeout(90):
            await worker.append(JOB_COMMANDS, 0, join())
            async for batch in worker.read({(JOB_EVENTS.name, 0): 0}):
                if any(isinstance(event, WorkerSilent) for event in data_of(batch)):
                    break
