"""The projector's process loop on a real Kafka and a real Postgres."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from projections import jobs, live, parking, positions, projector, readiness
from projections.database import Database, open_database
from projections.rebuild import rebuild
from projections.verify import fingerprints
from schemas import topics
from schemas.errors import SupersededOwner
from streams.log import Log, Note, create_topics
from tests.projections.histories import Story, entry, granted, joined, person, submitted, turn


@pytest.fixture
async def log(kafka: str, prefix: str) -> AsyncIterator[Log]:
    await create_topics(kafka, prefix=prefix)
    async with Log.open(kafka, prefix=prefix, source="/test") as log:
        yield log


@contextlib.asynccontextmanager
async def projecting(database: Database, log: Log) -> AsyncIterator[asyncio.Task]:
    stop = asyncio.Event()
    task = asyncio.create_task(projector.run(database, log, stop=stop))
    try:
        yield task
    finally:
        stop.set()
        done, _ = await asyncio.wait([task], timeout=30)
        assert done
    with contextlib.suppress(SupersededOwner):
        task.result()


async def append_jobs(log: Log, first: int, count: int) -> None:
    notes = [
        (0, Note(data=submitted(f"job-{number}"), subject=f"job-{number}"))
        for number in range(first, first + count)
    ]
    await log.append_many(topics.JOB_EVENTS, notes)


async def until(database: Database, question, within_s: float = 30.0):
    """What a question of a snapshot answers, once it is not empty."""

    def asked():
        with contextlib.suppress(Exception), database.snapshot() as connection:
            return question(connection)

    async with asyncio.timeout(within_s):
        while not (answer := await asyncio.to_thread(asked)):
            await asyncio.sleep(0.05)
        return answer


def there_are(count: int):
    return lambda connection: len(jobs.newest(connection, limit=10_000)) == count


async def test_events_become_rows_and_the_projector_says_that_it_is_ready(database, log):
    async with projecting(database, log):
        await append_jobs(log, 0, 5)
        await until(database, there_are(5))
        found = await until(
            database,
            lambda connection: (it := readiness.find(connection)) and it.lag == 0 and it,
        )
    assert (found.error, found.parked) == (None, 0)
    assert found.seconds_ago < 10


async def test_a_second_projector_takes_over_and_the_first_one_stops(database, log):
    async with projecting(database, log) as first:
        await append_jobs(log, 0, 3)
        await until(database, there_are(3))
        async with projecting(database, log) as second:
            await asyncio.sleep(1)
            await append_jobs(log, 3, 3)
            await until(database, there_are(6))
            with pytest.raises(SupersededOwner):
                await asyncio.wait_for(first, 10)
            assert not second.done()


@pytest.mark.chaos
async def test_nothing_is_lost_when_postgres_is_killed_in_the_middle(mortal, log):
    with open_database(mortal.address) as database:
        async with projecting(database, log) as task:
            await append_jobs(log, 0, 300)
            await until(database, there_are(300))
            mortal.kill()
            await append_jobs(log, 300, 300)
            await asyncio.sleep(1)
            await asyncio.to_thread(mortal.start)
            await until(database, there_are(600))
            assert not task.done()
        new = await rebuild(database, log)
        with database.snapshot() as connection:
            assert [row.job_id for row in jobs.waiting(connection, "default")] == [
                f"job-{number}" for number in range(600)
            ]
            assert live.active(connection)[0] == new


async def test_rebuilt_tables_equal_the_live_ones(database, log):
    story = Story()
    async with projecting(database, log):
        for data in (joined(), submitted("a"), submitted("b", priority="high"), granted("b", 1)):
            recorded = story.job(data)
            await log.append(topics.JOB_EVENTS, 0, data, subject=recorded.envelope.subject)
        await log.append(topics.PEOPLE_EVENTS, 1, person())
        await log.append(topics.ENTRY_EVENTS, 1, entry("e"))
        await log.append(topics.CONVERSATION_EVENTS, 1, turn("t"))
        await log.append(topics.RUN_TELEMETRY, 1, story.telemetry("b", 1, 1, range(9)).data)
        ends = await log.ends([topics.JOB_EVENTS, topics.CONVERSATION_EVENTS])
        await until(
            database,
            lambda connection: all(
                positions.vector(connection).next[topic][partition] == end
                for (topic, partition), end in ends.items()
            ),
        )
        with database.snapshot() as connection:
            old = live.active(connection)[0]
        new = await rebuild(database, log)
        assert new != old
        with database.begin() as connection:
            assert fingerprints(connection, new) == fingerprints(connection, old)
        # The projector goes on from the new tables.
        await append_jobs(log, 0, 2)
        await until(database, there_are(4))
        with database.snapshot() as connection:
            assert live.active(connection)[0] == new


async def test_tables_of_other_code_are_made_anew_at_the_start(database, log, monkeypatch):
    async with projecting(database, log):
        await append_jobs(log, 0, 3)
        await until(database, there_are(3))
    monkeypatch.setattr(projector, "CODE_VERSION", projector.CODE_VERSION + 1)
    monkeypatch.setattr(live, "CODE_VERSION", live.CODE_VERSION + 1)
    async with projecting(database, log):
        await until(
            database,
            lambda connection: live.active(connection) == ("live_v2", live.CODE_VERSION),
        )
        await append_jobs(log, 3, 1)
        await until(database, there_are(4))


async def test_a_parked_record_is_copied_to_the_dead_letters(database, log):
    async with projecting(database, log):
        await log.append(topics.JOB_EVENTS, 0, granted("never submitted", 1), subject="it")
        await append_jobs(log, 0, 1)
        await until(database, there_are(1))
        (parked,) = await until(
            database, lambda connection: parking.of_schemas(connection, ["live_v1"])
        )
    assert (parked.subject, parked.code) == ("it", "record-corrupt")
    ends = await log.ends([topics.DEAD_LETTERS])
    letters = [
        one.data async for batch in log.read({("dead-letters", 0): 0}, until=ends) for one in batch
    ]
    assert [(letter.topic, letter.offset, letter.reader) for letter in letters] == [
        ("jobs.events", 0, "projector")
    ]


async def test_a_database_that_is_not_there_at_the_start_is_waited_for(mortal, log):
    mortal.running.stop(10)
    with open_database(mortal.address) as database:
        async with projecting(database, log) as task:
            await append_jobs(log, 0, 1)
            await asyncio.sleep(0.5)
            assert not task.done()
            await asyncio.to_thread(mortal.start)
            await until(database, there_are(1))


async def test_batches_that_postgres_forgot_in_a_crash_are_folded_again(database, log):
    async with projecting(database, log) as task:
        await append_jobs(log, 0, 20)
        await until(database, there_are(20))
        with database.begin() as connection:  # as a crash would: rows and positions together
            connection.execute(sa.text("DELETE FROM live_v1.jobs WHERE submitted_offset >= 5"))
            connection.execute(sa.text("DELETE FROM live_v1.job_events"))
            connection.execute(sa.text("DELETE FROM live_v1.answers"))
            connection.execute(
                sa.text(
                    "UPDATE projections.positions SET next_offset = 5"
                    " WHERE topic = 'jobs.events' AND partition = 0"
                )
            )
        await append_jobs(log, 20, 1)
        await until(database, there_are(21))
        assert not task.done()
