"""Tables made anew: gone on with after a kill, equal to the live ones, and compared with them."""

import asyncio
import contextlib
import signal
import sys

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from projections import jobs, live, positions
from projections.database import Database
from projections.positions import Source
from projections.projection import Projection
from projections.rebuild import rebuild
from projections.verify import fingerprints, verify
from schemas import events, topics
from schemas.envelope import Recorded
from schemas.errors import ClusterChanged, Refused, SupersededOwner, WrongState
from streams.log import Log, Note
from tests.projections.histories import (
    Story,
    entry,
    granted,
    joined,
    of_attempt,
    person,
    registered,
    split,
    stories,
    submitted,
)
from tests.projections.test_projection import SOURCE
from tests.projections.test_projector import append_jobs, log, projecting, there_are, until

__all__ = ["log"]


def interleaved(draw, records: list[Recorded]) -> list[Recorded]:
    """The records in another order that is the same within each partition."""
    queues: dict[tuple[str, int], list[Recorded]] = {}
    for one in records:
        queues.setdefault((one.topic, one.partition), []).append(one)
    order = draw(some.permutations([(one.topic, one.partition) for one in records]))
    rest = {place: iter(queue) for place, queue in queues.items()}
    return [next(rest[place]) for place in order]


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(story=stories(longest=40), data=some.data())
def test_any_interleaving_of_the_topics_gives_equal_tables(database: Database, story, data):
    # One command that both of the library's topics answer: neither may depend on the other.
    answer = {"answers": 10_000, "command": "both"}
    story.of_person(topics.PEOPLE_EVENTS, person("bob"), **answer)
    story.of_person(topics.MODEL_EVENTS, registered("v", "a", person_id="bob"), **answer)
    records = [one for one in story.records if one.topic != topics.RUN_TELEMETRY.name]
    straight = Projection.of_new(database, SOURCE, "one")
    mixed = Projection.of_new(database, SOURCE, "other")
    straight.apply(records)
    for batch in split(data.draw, interleaved(data.draw, records)):
        mixed.apply(batch)
    with database.begin() as connection:
        expected = fingerprints(connection, straight.schema)
        assert fingerprints(connection, mixed.schema) == expected
        live.drop(connection, straight.schema)
        live.drop(connection, mixed.schema)


def told() -> list[Recorded]:
    story = Story()
    for data in (joined(), submitted("a"), submitted("b"), granted("a", 7)):
        story.job(data)
    return story.records


def test_a_rebuild_goes_on_where_another_one_ended(database: Database):
    Projection.of_active(database, SOURCE, "live").apply(told())
    first = Projection.of_rebuild(database, SOURCE, "first")
    first.apply(told()[:2])
    second = Projection.of_rebuild(database, SOURCE, "second")
    assert second.schema == first.schema
    assert [one.offset for one in second.missing(told())] == [4, 6]
    with pytest.raises(SupersededOwner):
        first.apply(told()[2:])
    second.apply(told()[2:])
    with database.begin() as connection:
        assert fingerprints(connection, second.schema) == fingerprints(connection, "live_v1")


def test_tables_half_made_by_other_code_or_from_another_log_are_not_gone_on_with(database):
    Projection.of_active(database, SOURCE, "live")
    other_log = Source(cluster="another", topic_ids=SOURCE.topic_ids)
    Projection.of_rebuild(database, other_log, "first").apply(told()[:2])
    fresh = Projection.of_rebuild(database, SOURCE, "second")
    assert fresh.missing(told()) == told()
    fresh.apply(told()[:2])
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE projections.rebuilds SET code_version = -1"))
    assert Projection.of_rebuild(database, SOURCE, "third").missing(told()) == told()
    with database.begin() as connection:
        known = connection.execute(sa.text("SELECT count(*) FROM projections.rebuilds"))
        assert known.scalar_one() == 1


@pytest.mark.chaos
async def test_a_rebuild_that_is_killed_three_times_under_load_equals_the_live_tables(
    database: Database, log: Log, kafka: str, prefix: str, database_url: str
):
    arguments = (kafka, prefix, database_url, "40")

    async def started() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.projections.rebuilder", *arguments)
        )

    def folded() -> int:
        with database.begin() as connection:
            schema = live.unfinished(connection)
            return sum(positions.reached(connection, schema).values()) if schema else 0

    async def load(stop: asyncio.Event) -> int:
        number = 2_000
        while not stop.is_set():
            await append_jobs(log, number, 5)
            number += 5
            await asyncio.sleep(0.05)
        return number

    async with projecting(database, log) as projector:
        await append_jobs(log, 0, 2_000)
        await until(database, there_are(2_000), within_s=120)
        stop = asyncio.Event()
        loading = asyncio.create_task(load(stop))
        seen = [0]
        for _ in range(3):
            process = await started()
            async with asyncio.timeout(120):
                while await asyncio.to_thread(folded) <= seen[-1]:  # it gets further each time
                    assert process.returncode is None
                    await asyncio.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            assert await process.wait() == -signal.SIGKILL
            seen.append(await asyncio.to_thread(folded))
        last = await started()
        async with asyncio.timeout(240):
            assert await last.wait() == 0
        stop.set()
        count = await loading
        await until(
            database,
            lambda found: len(jobs.newest(found, limit=100_000)) == count,
            within_s=120,
        )
        assert not projector.done()
    assert seen == sorted(set(seen))
    with database.begin() as connection:
        assert live.active(connection)[0] == "live_v2"
        assert live.unfinished(connection) is None
    verified = await verify(database, log)
    assert (verified.schema, verified.difference) == ("live_v2", None)
    assert verified.rows > count


async def live_tables(database: Database, log: Log) -> None:
    async with projecting(database, log):
        for data in (joined(), submitted("a"), submitted("b"), granted("a", 1)):
            subject = getattr(data, "job_id", "worker-1")
            await log.append(topics.JOB_EVENTS, 0, data, subject=subject)
        await log.append(topics.PEOPLE_EVENTS, 1, person())
        await log.append(topics.ENTRY_EVENTS, 1, entry("e"), subject="ann")
        await log.append(topics.JOB_EVENTS, 0, submitted("c"), subject="c")
        await until(database, there_are(3))
        await until(database, lambda found: positions.vector(found).next["entries.events"][1])


@pytest.mark.parametrize(
    ("harm", "table", "key", "found"),
    [
        (
            "UPDATE live_v1.jobs SET priority = 'high' WHERE job_id = 'b'",
            "jobs",
            {"job_id": "b"},
            "differs",
        ),
        (
            "DELETE FROM live_v1.attempts",
            "attempts",
            {"job_id": "a", "fencing_token": 1},
            "only on the log",
        ),
        (
            "INSERT INTO live_v1.people (person_id, name, role, added_at, consent)"  # noqa: ISC004
            " SELECT E'x\\\\y\\t\"z', name, role, added_at, consent FROM live_v1.people",
            "people",
            {"person_id": 'x\\y\t"z'},
            "only in the live tables",
        ),
    ],
)
async def test_a_row_that_the_log_does_not_make_is_named(
    database: Database, log: Log, harm, table, key, found
):
    await live_tables(database, log)
    whole = await verify(database, log)
    assert whole.difference is None
    assert whole.positions.next["jobs.events"][0] == 5
    with database.begin() as connection:
        connection.execute(sa.text(harm))
    harmed = (await verify(database, log)).difference
    assert (harmed.table, harmed.key, harmed.found) == (table, key, found)
    with database.begin() as connection:  # nothing was switched, and nothing is left
        assert live.active(connection)[0] == "live_v1"
        left = connection.execute(
            sa.text("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'verify%'")
        )
        assert left.scalar_one() == 0


async def test_tables_of_other_code_or_of_another_log_are_not_compared(
    database: Database, log: Log, monkeypatch
):
    Projection.of_active(database, SOURCE, "me")
    with pytest.raises(ClusterChanged):
        await verify(database, log)
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE public.lifelog_projection SET code_version = 0"))
    with pytest.raises(WrongState):
        await verify(database, log)


async def test_one_verification_runs_at_a_time(database: Database, log: Log):
    await live_tables(database, log)
    both = await asyncio.gather(
        verify(database, log), verify(database, log), return_exceptions=True
    )
    refused = [one for one in both if isinstance(one, Refused)]
    verified = [one for one in both if not isinstance(one, BaseException)]
    assert len(refused) + len(verified) == 2
    assert all(one.difference is None for one in verified)
    assert verified


async def test_tables_are_equal_while_the_projector_goes_on(database: Database, log: Log):
    async with projecting(database, log):
        await append_jobs(log, 0, 50)
        await until(database, there_are(50))
        task = asyncio.create_task(append_jobs(log, 50, 200))
        assert (await verify(database, log)).difference is None
        await task
        await log.append_many(
            topics.JOB_EVENTS,
            [
                (0, Note(data=granted("job-1", 1), subject="job-1")),
                (
                    0,
                    Note(
                        data=of_attempt(events.AttemptEnded, "job-1", 1, outcome="lost"),
                        subject="job-1",
                    ),
                ),
            ],
        )
        await until(database, there_are(250))
        await rebuild(database, log)
        assert (await verify(database, log)).difference is None
    with contextlib.suppress(SupersededOwner), database.begin() as connection:
        assert live.active(connection)[0] == "live_v2"
