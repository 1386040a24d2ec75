"""A small real history on a real log: the queue's and the library's own rules, on a virtual clock.

The queue's events are those of a simulated world; the library's are decided from what follows from
them. They are written as their deciders write them: in transactions, some of which are aborted.
"""

import random
import uuid
from dataclasses import dataclass

import msgspec
from aiokafka import AIOKafkaProducer

from schemas import codec, commands, events, topics
from schemas.envelope import Envelope, Recorded
from schemas.ids import command_id, partition_of
from schemas.topics import PERSON_PARTITIONS, Topic
from streams.decisions import Received, enveloped, now_of
from streams.library.decide import library_decider
from streams.log import create_topics
from streams.process_manager import registration
from tests.projections.histories import DIGEST, entry, of_attempt, sealed
from tests.streams.sentences import at
from tests.streams.simulation import simulate

SEED = 5
JOBS = 24
ABORTED = "lifelog.test.aborted"
AT_ONCE = 100  # records of a transaction


@dataclass(frozen=True)
class Written:
    """A record to be."""

    topic: Topic
    partition: int
    envelope: Envelope
    data: msgspec.Struct


def history(seed: int = SEED, jobs: int = JOBS) -> list[Written]:
    """Jobs of some people, what came of them, and one sealed entry of each person."""
    world = simulate(seed, jobs=jobs, wild_s=6_000.0)
    told = [Written(topics.JOB_EVENTS, 0, envelope, event) for event, envelope in world.events]
    succeeded = [one for one in told if isinstance(one.data, events.JobSucceeded)]
    people = sorted({one.data.person_id for one in told if hasattr(one.data, "person_id")})
    library = _library(people, succeeded, random.Random(seed))
    return [*told, *library, *_scores(succeeded), *_entries(people)]


def _library(people: list[str], succeeded: list[Written], draw: random.Random) -> list[Written]:
    """People and versions, as the library decides them."""
    rules, states, offsets, said = library_decider(), {}, {}, []
    asked = [
        commands.AddPerson(person_id=one, name=sealed(f"person:{one}", "name")) for one in people
    ]
    for one in succeeded:
        recorded = Recorded("jobs.events", 0, 0, one.envelope.time, one.envelope, one.data)
        _, command = registration(recorded)
        asked.append(msgspec.structs.replace(command, scores={"recall": draw.random()}))
    for number, command in enumerate(asked):
        place = partition_of(command.person_id, PERSON_PARTITIONS)
        state = states.setdefault(place, rules.empty())
        offsets[place] = offsets.get(place, -1) + 1
        envelope = Envelope(
            id=command_id("test", "library", str(number)),
            type=codec.type_of(command),
            source="/test",
            time=at(number),
        )
        recorded = Recorded(
            "library.commands", place, offsets[place], at(number), envelope, command
        )
        received = Received(recorded, authentic=True)
        now = now_of(state, recorded)
        answer = list(rules.decide(state, received, now))
        for event, about in zip(
            answer, enveloped(rules, "/library", recorded, now, answer), strict=True
        ):
            rules.evolve(state, event, about)
            said.append(Written(rules.topic_of(event), place, about, event))
    return said


def _scores(succeeded: list[Written]) -> list[Written]:
    """What a worker measured of each version: twice, for the later word counts."""
    said = []
    for number, one in enumerate(succeeded):
        for again in (0, 1):
            data = of_attempt(
                events.ScoresRecorded,
                one.data.job_id,
                one.data.fencing_token,
                one.data.attempt,
                one.data.worker_id,
                version_id=one.data.version_id,
                scores={"recall": number / 100 + again / 10, "voice": 0.5},
            )
            data = msgspec.structs.replace(data, person_id=one.data.person_id)
            said.append(_written(topics.VALIDATION_EVENTS, data, 100_000 + 2 * number + again))
    return said


def _entries(people: list[str]) -> list[Written]:
    return [
        _written(topics.ENTRY_EVENTS, entry(f"entry-of-{one}", person_id=one), 200_000)
        for one in people
    ]


def _written(topic: Topic, data: msgspec.Struct, seconds: float) -> Written:
    envelope = Envelope(
        id=str(uuid.uuid4()), type=codec.type_of(data), source="/test", time=at(seconds)
    )
    return Written(topic, partition_of(data.person_id, PERSON_PARTITIONS), envelope, data)


async def write(kafka: str, prefix: str, records: list[Written]) -> None:
    """Make the topics and write the records, each transaction after one that is aborted."""
    await create_topics(kafka, prefix=prefix)
    await append(kafka, prefix, records)


async def append(kafka: str, prefix: str, records: list[Written]) -> None:
    """Write records in transactions, each after one that is aborted."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka, transactional_id=f"{prefix}{uuid.uuid4().hex}"
    )
    await producer.start()
    try:
        for start in range(0, len(records), AT_ONCE):
            portion = records[start : start + AT_ONCE]
            await producer.begin_transaction()
            await _send(producer, prefix, portion[0], ABORTED)
            await producer.flush()
            await producer.abort_transaction()
            async with producer.transaction():
                for one in portion:
                    await _send(producer, prefix, one, one.envelope.type)
    finally:
        await producer.stop()


async def _send(producer: AIOKafkaProducer, prefix: str, one: Written, kind: str) -> None:
    envelope = msgspec.structs.replace(one.envelope, type=kind)
    await producer.send(
        prefix + one.topic.name,
        value=codec.encode(one.data),
        partition=one.partition,
        headers=codec.encode_headers(envelope),
    )


__all__ = ["ABORTED", "DIGEST", "Written", "append", "history", "write"]
