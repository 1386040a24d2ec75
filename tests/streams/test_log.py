"""The log's client against a real broker."""

import asyncio
import datetime

import pytest

from schemas import authority, commands, events, ids
from schemas.errors import ClusterChanged, LogUnavailable
from schemas.topics import ENTRY_EVENTS, JOB_COMMANDS, TOPICS
from streams.log import Log, Note, Unreadable, administration, create_topics
from streams.verdict import verdict

SECRET = b"s" * 32


async def _first(log: Log, topic: str, partition: int, count: int) -> list:
    found: list = []
    async with asyncio.timeout(20):
        async for batch in log.read({(topic, partition): 0}):
            found += batch
            if len(found) >= count:
                return found
    return found


async def test_what_is_appended_is_read_back_with_its_envelope(kafka: str, prefix: str) -> None:
    await create_topics(kafka, prefix=prefix)
    async with Log.open(kafka, prefix=prefix, source="/test") as log:
        event = events.AccessRecorded(actor="a", action="read", subject="s", allowed=True)
        position = await log.append(
            ENTRY_EVENTS, 3, event, identity="one", subject="s", owner="p", body_hash="h"
        )
        (record,) = await _first(log, "entries.events", 3, 1)

    assert str(position) == "entries.events/3/0"
    assert record.data == event
    assert (record.envelope.id, record.envelope.subject, record.envelope.owner) == ("one", "s", "p")
    assert record.envelope.body_hash == "h"
    assert abs(record.timestamp - datetime.datetime.now(datetime.UTC)).total_seconds() < 60


async def test_records_of_a_partition_keep_their_order(kafka: str, prefix: str) -> None:
    await create_topics(kafka, prefix=prefix)
    async with Log.open(kafka, prefix=prefix, source="/test") as log:
        notes = [
            (0, Note(data=commands.CancelJob(job_id=str(number)), identity=str(number)))
            for number in range(500)
        ]
        positions = await log.append_many(JOB_COMMANDS, notes)
        found = await _first(log, "jobs.commands", 0, 500)

    assert [record.envelope.id for record in found] == [str(number) for number in range(500)]
    assert [position.offset for position in positions] == list(range(500))


async def test_only_the_issuer_that_may_send_a_command_is_believed(kafka: str, prefix: str) -> None:
    await create_topics(kafka, prefix=prefix)
    command = commands.CancelJob(job_id="j")
    for issuer, key in [
        ("web", authority.issuer_key(SECRET, "web")),
        ("clock", authority.issuer_key(SECRET, "clock")),  # may not cancel
        ("web", b"x" * 32),  # not web's key
    ]:
        async with Log.open(kafka, prefix=prefix, source="/t", issuer=issuer, key=key) as log:
            await log.append(JOB_COMMANDS, 0, command, identity=ids.command_id("a", "b", issuer))
    async with Log.open(kafka, prefix=prefix, source="/test") as log:
        await log.append(JOB_COMMANDS, 0, command)  # unsigned
        found = await _first(log, "jobs.commands", 0, 4)

    assert [verdict(record, SECRET) for record in found] == [True, False, False, False]


async def test_a_reader_can_stop_where_the_log_ended(kafka: str, prefix: str) -> None:
    await create_topics(kafka, prefix=prefix)
    async with Log.open(kafka, prefix=prefix, source="/test") as log:
        for partition in (0, 5):
            event = events.AccessRecorded(actor="a", action="r", subject="s", allowed=True)
            await log.append(ENTRY_EVENTS, partition, event)
        ends = await log.ends([ENTRY_EVENTS])
        start = dict.fromkeys(ends, 0)
        found = [record async for batch in log.read(start, until=ends) for record in batch]

    assert sorted(record.partition for record in found) == [0, 5]
    assert ends["entries.events", 0] == 1


async def test_a_recreated_topic_has_another_identity(kafka: str, prefix: str) -> None:
    await create_topics(kafka, prefix=prefix)
    async with Log.open(kafka, prefix=prefix, source="/test") as log:
        cluster, before = await log.identity()
        async with administration(kafka) as admin:
            await admin.delete_topics([prefix + "entries.events"])
        with pytest.raises(ClusterChanged):
            await log.identity()
        await create_topics(kafka, prefix=prefix)
        again, after = await log.identity()

    assert cluster == again
    assert set(before) == {topic.name for topic in TOPICS}
    assert before["entries.events"] != after["entries.events"]
    assert before["jobs.events"] == after["jobs.events"]


async def test_a_record_that_no_schema_reads_is_handed_on_as_it_is(kafka: str, prefix: str) -> None:
    from aiokafka import AIOKafkaProducer

    await create_topics(kafka, prefix=prefix)
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    await producer.send_and_wait(prefix + "entries.events", b"\xff not json", partition=0)
    await producer.stop()
    async with Log.open(kafka, prefix=prefix, source="/test") as log:
        (record,) = await _first(log, "entries.events", 0, 1)

    assert isinstance(record.data, Unreadable)
    assert record.data.value == b"\xff not json"


async def test_a_broker_that_is_not_there_is_named(prefix: str) -> None:
    async with Log.open("127.0.0.1:1", prefix=prefix, source="/test") as log:
        with pytest.raises(LogUnavailable, match=r"127\.0\.0\.1:1"):
            await log.append(
                ENTRY_EVENTS,
                0,
                events.AccessRecorded(actor="", action="", subject="", allowed=True),
            )
