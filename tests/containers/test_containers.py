"""The servers and a process of ours in containers, from the image that `docker-compose.yml` runs."""

import base64
import contextlib
import time

import pytest

from lifelog.servers.ports import free_ports
from projections import jobs
from projections.database import migrate, open_database
from schemas.events import JobSubmitted
from schemas.topics import JOB_COMMANDS, JOB_EVENTS
from streams.log import Log, create_topics
from tests.containers import servers
from tests.projections.histories import submitted
from tests.projections.test_projector import append_jobs, projecting, there_are, until
from tests.streams.queue_words import submit
from tests.streams.real import SECRET, answers, data_of, sender, whole

pytestmark = pytest.mark.containers


def opened(kafka: str, prefix: str) -> Log:
    return Log.open(kafka, prefix=prefix, source="/test")


async def test_a_record_is_read_where_it_was_appended(kafka: str, prefix: str) -> None:
    await create_topics(kafka, prefix=prefix)
    async with opened(kafka, prefix) as log:
        written = await log.append(JOB_EVENTS, 0, submitted("a"), subject="a")
        (found,) = await whole(log, [JOB_EVENTS])
    assert (found.partition, found.offset) == (written.partition, written.offset)
    assert found.data == submitted("a")


async def test_events_become_rows(kafka: str, prefix: str, database_url: str) -> None:
    await create_topics(kafka, prefix=prefix)
    with open_database(database_url) as database:
        migrate(database)
        async with opened(kafka, prefix) as log, projecting(database, log):
            await append_jobs(log, 0, 5)
            await until(database, there_are(5))
            with database.snapshot() as connection:
                row = jobs.find(connection, "job-0")
    assert row is not None
    assert row.person_id == "ann"


async def test_new_containers_find_what_the_old_ones_left_in_their_volumes(
    image: str, prefix: str
) -> None:
    broker, table = free_ports(2)
    with contextlib.ExitStack() as volumes:
        records, rows = (volumes.enter_context(servers.new_volume()) for _ in range(2))
        with (
            servers.kafka(image, port=broker, volume=records) as kafka,
            servers.postgres(image, port=table, volume=rows) as address,
            open_database(address) as database,
        ):
            await create_topics(kafka, prefix=prefix)
            migrate(database)
            async with opened(kafka, prefix) as log, projecting(database, log):
                await append_jobs(log, 0, 3)
                await until(database, there_are(3))
        with (
            servers.kafka(image, port=broker, volume=records) as kafka,
            servers.postgres(image, port=table, volume=rows) as address,
            open_database(address) as database,
        ):
            with database.snapshot() as connection:
                assert there_are(3)(connection)
            async with opened(kafka, prefix) as log:
                assert len(await whole(log, [JOB_EVENTS])) == 3
                async with projecting(database, log):
                    await append_jobs(log, 3, 2)
                    await until(database, there_are(5))


async def test_setup_prepares_for_a_decider_that_answers_and_stops_when_told(
    image: str, kafka: str, prefix: str, database_url: str
) -> None:
    settings = {
        "kafka": kafka,
        "database": database_url,
        "prefix": prefix,
        "command_secret": base64.b64encode(SECRET).decode(),
    }
    with servers.process(image, ["run", "setup"], settings) as setup:
        assert setup.wait() == 0, setup.get_logs()
    with servers.process(image, ["run", "decider"], settings) as decider:
        async with sender(kafka, prefix) as log:
            await log.append(JOB_COMMANDS, 0, submit("a"), identity="a")
            try:
                (event,) = data_of(await answers(log, [JOB_EVENTS], {"a"}))
            except TimeoutError as error:
                raise AssertionError(decider.get_logs()) from error
        began = time.monotonic()
        assert servers.end(decider) == 0, decider.get_logs()
        assert time.monotonic() - began < servers.GRACE_S
    assert isinstance(event, JobSubmitted)
    assert event.job_id == "a"
